//! Tests that need what not every machine has: those that cannot run are counted as ignored, and why is said once.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Conclusion, Failed, FormatSetting, Trial};

/// A test that runs where `needed` is there. Where not, it is ignored, for that reason; or fails, if `$NORM_REQUIRE`, a
/// list of names, has `name_of_needed` in it.
pub fn trial<T, R>(name: &str, name_of_needed: &str, needed: &Result<T, String>, run: R) -> Trial
where
    T: Clone + Send + 'static,
    R: FnOnce(T) -> Result<(), Failed> + Send + 'static,
{
    let required = std::env::var("NORM_REQUIRE").unwrap_or_default();
    let required = required.split_whitespace().any(|required| required == name_of_needed);
    trial_or_failure(name, required, needed, run)
}

/// The same, which fails where `needed` is not there but `required`.
pub fn trial_or_failure<T, R>(name: &str, required: bool, needed: &Result<T, String>, run: R) -> Trial
where
    T: Clone + Send + 'static,
    R: FnOnce(T) -> Result<(), Failed> + Send + 'static,
{
    match needed.clone() {
        Ok(needed) => Trial::test(name, move || run(needed)),
        Err(reason) => {
            // Its kind carries the reason to `run`. With `--include-ignored` it is run, and must not pass.
            let kind = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            let trial = Trial::test(name, || Err(reason.into()));
            if required { trial } else { trial.with_kind(kind).with_ignored_flag(true) }
        }
    }
}

/// Runs tests as libtest does. Behind its result stand the reasons for which tests were ignored, and how many for each.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let (conclusion, reasons) = run_with(Arguments::from_args(), trials);
    print!("{reasons}");
    conclusion.exit_code()
}

/// The same with these arguments. The text names the reasons.
pub fn run_with(mut arguments: Arguments, trials: Vec<Trial>) -> (Conclusion, String) {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    let mut run_any = false;
    let trials = trials.into_iter().map(|trial| {
        let reason = trial.kind().to_owned();
        // In front of each name it would be told as often, and filters would find it.
        let trial = trial.with_kind("");
        if arguments.is_filtered_out(&trial) {
            return trial;
        }
        if !trial.has_ignored_flag() || !arguments.is_ignored(&trial) {
            run_any = true;
        } else if let Some((_, count)) = reasons.iter_mut().find(|(known, _)| *known == reason) {
            *count += 1;
        } else {
            reasons.push((reason, 1));
        }
        trial
    });
    let trials = trials.collect();
    let silent = arguments.list || arguments.format == Some(FormatSetting::Json);
    // Where none runs a letter for each says as much as its name.
    arguments.quiet |= !run_any && arguments.format.is_none();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let lines = reasons.iter().map(|(reason, count)| format!("{count} ignored: {reason}\n"));
    let text: String =
        if silent || reasons.is_empty() { String::new() } else { lines.chain(["\n".to_owned()]).collect() };
    (conclusion, text)
}

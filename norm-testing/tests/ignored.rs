//! Tests that cannot run on a machine are counted, with each reason once.

use libtest_mimic::{Arguments, Conclusion, Trial};
use norm_testing::trials as runner;

const NO_GPU: &str = "no GPU\n  (error 100)";

/// So many tests that cannot run, and, if `there`, one that can.
fn trials(missing: usize, there: bool, required: bool) -> Vec<Trial> {
    let cannot = |index: usize| {
        let reason = if index == 1 { "no ptxas" } else { NO_GPU };
        let needed: Result<(), String> = Err(reason.to_owned());
        runner::trial_or_failure(&format!("cannot_{index}"), required, &needed, |()| Ok(()))
    };
    let can = there.then(|| runner::trial_or_failure("can", required, &Ok(()), |()| Ok(())));
    (0..missing).map(cannot).chain(can).collect()
}

/// Runs them with these arguments: the counts, the reasons, and what libtest-mimic printed.
fn run(arguments: &[&str], trials: Vec<Trial>) -> (Conclusion, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let program = ["ignored", "--logfile", log.to_str().unwrap()];
    let (conclusion, reasons) =
        runner::run_with(Arguments::from_iter(program.iter().chain(arguments)), trials);
    (conclusion, reasons, std::fs::read_to_string(&log).unwrap())
}

#[test]
fn each_reason_is_said_once_with_its_tests_counted() {
    let (conclusion, reasons, log) = run(&[], trials(4, false, false));
    assert_eq!((conclusion.num_passed, conclusion.num_ignored, conclusion.num_failed), (0, 4, 0));
    assert_eq!(reasons, "3 ignored: no GPU (error 100)\n1 ignored: no ptxas\n\n");
    // A letter for each, and the line that CI adds up.
    assert!(log.contains("running 4 tests\niiii\n"), "{log}");
    assert!(log.contains("\ntest result: ok. 0 passed; 0 failed; 4 ignored; "), "{log}");
}

#[test]
fn tests_that_run_keep_their_lines() {
    let (conclusion, reasons, log) = run(&["--test-threads=1"], trials(2, true, false));
    assert_eq!((conclusion.num_passed, conclusion.num_ignored), (1, 2));
    assert_eq!(reasons, "1 ignored: no GPU (error 100)\n1 ignored: no ptxas\n\n");
    assert!(log.contains("test can      ... ok\n") && log.contains("test cannot_0 ... ignored\n"), "{log}");
    let (conclusion, reasons, _) = run(&[], trials(0, true, false));
    assert_eq!((conclusion.num_passed, reasons.as_str()), (1, ""));
}

#[test]
fn what_is_filtered_out_is_not_counted() {
    let (conclusion, reasons, _) = run(&["cannot_1"], trials(4, true, false));
    assert_eq!((conclusion.num_ignored, conclusion.num_filtered_out), (1, 4));
    assert_eq!(reasons, "1 ignored: no ptxas\n\n");
    // The filter applies to names, not to reasons.
    assert_eq!(run(&["ptxas"], trials(4, true, false)).0.num_filtered_out, 5);
}

#[test]
fn what_must_run_and_cannot_fails_with_the_reason() {
    for (arguments, required) in [(&[][..], true), (&["--include-ignored"], false), (&["--ignored"], false)] {
        let (conclusion, reasons, log) = run(arguments, trials(2, false, required));
        assert_eq!((conclusion.num_failed, conclusion.num_ignored, reasons.as_str()), (2, 0, ""));
        assert!(log.contains("---- cannot_0 ----\nno GPU\n  (error 100)"), "{log}");
    }
}

#[test]
fn a_list_is_a_list() {
    let (_, reasons, log) = run(&["--list"], trials(2, true, false));
    assert_eq!((reasons.as_str(), log.as_str()), ("", "cannot_0: test\ncannot_1: test\ncan: test\n"));
}

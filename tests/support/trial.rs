//! A test that says, and counts apart, what it had to skip.

use libtest_mimic::{Failed, Trial};

/// A test that runs where `needed` is there. Where not, it is counted apart, with the reason;
/// or fails, if `$NORM_REQUIRE`, a list of names, has `name_of_needed` in it.
pub fn trial<T, R>(name: &str, name_of_needed: &str, needed: &Result<T, String>, run: R) -> Trial
where
    T: Clone + Send + 'static,
    R: FnOnce(T) -> Result<(), Failed> + Send + 'static,
{
    let required = std::env::var("NORM_REQUIRE").unwrap_or_default();
    match needed.clone() {
        Ok(needed) => Trial::test(name, move || run(needed)),
        Err(reason) if required.split_whitespace().any(|required| required == name_of_needed) => {
            Trial::test(name, || Err(reason.into()))
        }
        Err(reason) => {
            Trial::test(name, || Ok(())).with_kind(format!("skipped: {reason}")).with_ignored_flag(true)
        }
    }
}

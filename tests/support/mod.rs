//! Tests that need what not every machine has.

use libtest_mimic::{Failed, Trial};

/// A test that runs where `needed` is there, and is counted apart, with the reason, where not.
pub fn trial<T, R>(name: &str, needed: &Result<T, String>, run: R) -> Trial
where
    T: Clone + Send + 'static,
    R: FnOnce(T) -> Result<(), Failed> + Send + 'static,
{
    match needed.clone() {
        Ok(needed) => Trial::test(name, move || run(needed)),
        Err(reason) => {
            Trial::test(name, || Ok(())).with_kind(format!("skipped: {reason}")).with_ignored_flag(true)
        }
    }
}

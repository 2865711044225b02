//! The mutation run: small changes planted in shipped kernels, one at a time, and all that `norm check` has for the kernel
//! run on each (docs/MUTANTS.md).

pub mod operator;
mod pool;
mod reason;
mod report;
pub mod statement;
mod trial;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use norm::testing::RandomCases;

use operator::Operator;
use pool::{Mutant, Pool};
use report::Report;
use trial::{Outcome, Trial};

/// What to run.
pub struct Options {
    /// How many changes that the simulator reads.
    pub count: u64,
    pub seed: u64,
    pub threads: usize,
    /// Parts of names, with commas between them: only such kernels.
    pub kernel: String,
    /// The numbers of changes, as the report lists them: these alone, in place of the first `count`.
    pub only: Vec<u64>,
    /// No change is begun after so many.
    pub minutes: u64,
    /// Only this operator.
    pub operator: Option<Operator>,
    /// Random cases of `norm check`, of seed 1.
    pub cases: u64,
    /// Where ptxas is, which finds changes that make no difference in machine code.
    pub ptxas: Option<PathBuf>,
}

/// Plants and tries changes, and says what became of them, in Markdown.
///
/// # Errors
/// If the shipped kernels do not pass, or there is no kernel of such a name.
pub fn run(options: &Options) -> Result<String, String> {
    let cases = RandomCases::new(1, options.cases)?;
    let pool = Pool::new(&cases, &options.kernel, options.operator)?;
    let trial = Trial::new(&cases, options.ptxas.clone());
    let indices = if options.only.is_empty() { (0..options.count).collect() } else { options.only.clone() };
    let end = Instant::now() + Duration::from_secs(60 * options.minutes);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::<(u64, Mutant, Outcome)>::new()));
    let work = || {
        while Instant::now() < end
            && let Some(&index) = indices.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let Some(mutant) = pool.draw(options.seed, index) else { continue };
            let outcome = trial.outcome(&mutant);
            if matches!(
                outcome,
                Outcome::Survived { reason: None } | Outcome::FalseAlarm { .. } | Outcome::Panicked { .. }
            ) {
                eprintln!("{index}: {}: {outcome:?}", mutant.shown());
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, mutant, outcome));
        }
    };
    thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, ..)| *index);
    Ok(Report::of(&done).text())
}

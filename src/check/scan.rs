//! Many cases, on many threads.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use norm_host::Error;

use super::call::Executor;
use super::case::Case;
use super::examine::{Fault, Findings, Memory, examine};
use super::generate;

/// Which cases to examine.
pub enum Cases {
    /// The first so many that a seed makes.
    Random { seed: u64, count: u64 },
    /// These.
    Given(Vec<Case>),
}

impl Cases {
    pub fn len(&self) -> u64 {
        match self {
            Cases::Random { count, .. } => *count,
            Cases::Given(cases) => cases.len() as u64,
        }
    }

    pub fn seed(&self) -> Option<u64> {
        match self {
            Cases::Random { seed, .. } => Some(*seed),
            Cases::Given(_) => None,
        }
    }

    fn get(&self, index: u64) -> Option<Case> {
        match self {
            Cases::Random { seed, count } => (index < *count).then(|| generate::case(*seed, index)),
            Cases::Given(cases) => cases.get(usize::try_from(index).ok()?).cloned(),
        }
    }
}

/// A case that failed.
pub struct Failing {
    pub index: u64,
    pub case: Case,
    pub fault: Fault,
}

/// What a scan came to.
pub struct Scanned {
    /// Cases examined: all of them, or all up to the first that failed and a few more.
    pub examined: u64,
    pub findings: Findings,
    /// The first of the cases that fails.
    pub failing: Option<Failing>,
}

/// Examines all cases up to the first that fails, each thread on an executor of its own.
///
/// Threads and not a pool's tasks: the CPU backend waits for its own pool, and a waiting pool
/// thread would take up another case, and another, on top of the one it waits for.
pub fn scan<E: Executor>(
    cases: &Cases,
    executor: &(impl Fn() -> Result<E, Error> + Sync),
    done: &(impl Fn() + Sync),
) -> Result<Scanned, Error> {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failing: Mutex<Option<Failing>> = Mutex::new(None);
    let work = || -> Result<(u64, Findings), Error> {
        let mut executor = executor()?;
        let mut memory = Memory::default();
        let (mut examined, mut findings) = (0, Findings::default());
        while !stop.load(Ordering::Relaxed) {
            // Handed out in order, so that all before a failing one are examined too and the
            // first that fails is the same on every run.
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(index) else { break };
            match examine(&case, &mut executor, &mut memory) {
                Ok(found) => findings = findings.and(found),
                Err(fault) => {
                    stop.store(true, Ordering::Relaxed);
                    let mut first = failing.lock().unwrap_or_else(|poison| poison.into_inner());
                    if first.as_ref().is_none_or(|first| index < first.index) {
                        *first = Some(Failing { index, case, fault });
                    }
                }
            }
            examined += 1;
            done();
        }
        Ok((examined, findings))
    };

    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join()).collect()
    });
    let (mut examined, mut findings) = (0, Findings::default());
    for result in results {
        // A worker's panic is a fault of this program; it goes on as one.
        let (count, found) = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        examined += count;
        findings = findings.and(found);
    }
    let failing = failing.into_inner().unwrap_or_else(|poison| poison.into_inner());
    Ok(Scanned { examined, findings, failing })
}

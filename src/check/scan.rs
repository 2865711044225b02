//! Examines many cases on many threads.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use norm_host::Error;

use super::any::AnyCase;
use super::call::Executor;
use super::examine::{CaseFault, CaseStats, ImageBuffers};

/// Which cases to examine.
pub enum Cases {
    /// The first `count` random cases of a seed.
    Random { seed: u64, count: u64 },
    /// The cases of the command line.
    Given(Vec<AnyCase>),
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

    fn get(&self, index: u64) -> Option<AnyCase> {
        match self {
            Cases::Random { seed, count } => (index < *count).then(|| AnyCase::random(*seed, index)),
            Cases::Given(cases) => cases.get(usize::try_from(index).ok()?).cloned(),
        }
    }
}

/// A case that failed.
pub struct Failing {
    pub index: u64,
    pub case: AnyCase,
    pub fault: CaseFault,
}

/// The result of a scan.
pub struct Scanned {
    /// The number of cases examined: all, or all up to the first that fails and a few that other threads had begun.
    pub examined: u64,
    pub stats: CaseStats,
    /// The first of the cases that fails.
    pub failing: Option<Failing>,
}

/// Examines all cases up to the first that fails. Each thread has an executor of its own, and `done` is called after
/// each case.
///
/// These are plain threads rather than tasks of rayon's pool, because the CPU backend waits for tasks of that pool: a
/// pool thread that waits takes up other tasks meanwhile, so that cases would pile up on its stack.
pub fn scan<E: Executor>(
    cases: &Cases,
    executor: &(impl Fn() -> Result<E, Error> + Sync),
    done: &(impl Fn() + Sync),
) -> Result<Scanned, Error> {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failing: Mutex<Option<Failing>> = Mutex::new(None);
    let work = || -> Result<(u64, CaseStats), Error> {
        let mut executor = executor()?;
        let mut memory = ImageBuffers::default();
        let (mut examined, mut stats) = (0, CaseStats::default());
        while !stop.load(Ordering::Relaxed) {
            // Threads take cases in order. So all cases in front of a failing one are examined too, and the first that
            // fails is the same in every run.
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(index) else { break };
            match case.examine(&mut executor, &mut memory) {
                Ok(found) => stats = stats.merged(found),
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
        Ok((examined, stats))
    };

    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join()).collect()
    });
    let (mut examined, mut stats) = (0, CaseStats::default());
    for result in results {
        // A panic is a bug of this program, and ends it as one.
        let (count, found) = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        examined += count;
        stats = stats.merged(found);
    }
    let failing = failing.into_inner().unwrap_or_else(|poison| poison.into_inner());
    Ok(Scanned { examined, stats, failing })
}

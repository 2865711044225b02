//! Tasks that the calling thread and those of rayon's current pool take one after the other.
//!
//! rayon's own loops hand all work to the pool and put the caller to sleep. Until a sleeping thread of the pool has woken up, a
//! short operation could have been done. Here the caller begins at once, helpers join when they are awake, and nobody waits for
//! one that comes too late. Each takes the tasks of a share of its own first, and then what others have left.

use std::{
    hint::spin_loop,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
};

use rayon::prelude::*;

/// Calls `task` with ranges of at most `per_task` rows that together are all `rows`, from several threads where there are some.
pub(super) fn share(rows: u64, per_task: u64, task: &(dyn Fn(Range<u64>) + Sync)) {
    for_each(rows.div_ceil(per_task), &|number| {
        let first = number * per_task;
        task(first..rows.min(first + per_task));
    });
}

/// Calls `task` once for each number below `count`.
fn for_each(count: u64, task: &(dyn Fn(u64) + Sync)) {
    // A thread of the pool must not sleep while the pool has other work: rayon's loop has it help there.
    if rayon::current_thread_index().is_some() {
        return (0..count).into_par_iter().for_each(task);
    }
    let threads = (rayon::current_num_threads() as u64).min(count);
    if threads <= 1 {
        return (0..count).for_each(task);
    }
    // SAFETY: only the lifetime is changed. `Team::work` calls the task for a number below `count` alone, and `Leave` waits until
    // the last such call has returned.
    let task = unsafe { std::mem::transmute::<&(dyn Fn(u64) + Sync), &'static (dyn Fn(u64) + Sync)>(task) };
    let share = |number: u64| Share {
        next: AtomicU64::new(count * number / threads),
        end: count * (number + 1) / threads,
    };
    let team = Arc::new(Team {
        task,
        count,
        shares: (0..threads).map(share).collect(),
        done: AtomicU64::new(0),
        wanted: AtomicUsize::new(threads as usize - 1),
        caller: thread::current(),
    });
    let leave = Leave(&team);
    Team::call_helper(&team);
    team.work(0);
    drop(leave);
}

/// An operation's tasks, and who works on them.
struct Team {
    task: &'static (dyn Fn(u64) + Sync),
    count: u64,
    /// All tasks.
    shares: Vec<Share>,
    /// How many tasks are finished.
    done: AtomicU64,
    /// How many helpers are still to be called.
    wanted: AtomicUsize,
    caller: Thread,
}

/// Neighbouring tasks, which one thread takes first. It is the same one in each operation of as many tasks, so that the caches of its
/// core may hold their rows. Aligned to two cache lines, which are fetched together.
#[repr(align(128))]
struct Share {
    /// The first task that nobody has taken, or a number from `end` on.
    next: AtomicU64,
    end: u64,
}

impl Team {
    /// Takes tasks until all are taken: at first those of a share, then those that others have left.
    fn work(&self, first: usize) {
        let (before, after) = self.shares.split_at(first % self.shares.len());
        for share in after.iter().chain(before) {
            loop {
                let number = share.next.fetch_add(1, Ordering::Relaxed);
                if number >= share.end {
                    break;
                }
                let _finish = Finish { team: self, tasks: 1 };
                (self.task)(number);
            }
        }
    }

    /// Calls a helper, if one is wanted. Each calls two more, so that many are awake soon.
    fn call_helper(team: &Arc<Team>) {
        let fewer = |wanted: usize| wanted.checked_sub(1);
        let order = Ordering::Relaxed;
        if team.done.load(order) < team.count && team.wanted.fetch_update(order, order, fewer).is_ok() {
            let team = Arc::clone(team);
            rayon::spawn(move || {
                Team::call_helper(&team);
                Team::call_helper(&team);
                // The caller has the first share.
                team.work(rayon::current_thread_index().map_or(0, |index| index + 1));
            });
        }
    }
}

/// Counts tasks as finished when it is dropped, and wakes the caller up after the last, also where a task has panicked.
struct Finish<'a> {
    team: &'a Team,
    tasks: u64,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        // What the tasks have written is to be seen by the caller, whose loads acquire.
        let before = self.team.done.fetch_add(self.tasks, Ordering::Release);
        if before + self.tasks == self.team.count {
            self.team.caller.unpark();
        }
    }
}

/// Waits, when it is dropped, until all tasks that were taken are finished, and lets nobody take another.
struct Leave<'a>(&'a Team);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        /// Some microseconds, which is less than it takes to fall asleep and wake up.
        const SPINS: usize = 500;
        let team = self.0;
        let take = |share: &Share| share.end.saturating_sub(share.next.swap(share.end, Ordering::Relaxed));
        let untaken = team.shares.iter().map(take).sum();
        drop(Finish { team, tasks: untaken });
        let finished = || team.done.load(Ordering::Acquire) == team.count;
        for _ in 0..SPINS {
            if finished() {
                return;
            }
            spin_loop();
        }
        while !finished() {
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// How often each task was carried out.
    fn carried_out(count: u64) -> Vec<u64> {
        let times: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
        for_each(count, &|number| {
            times[number as usize].fetch_add(1, Ordering::Relaxed);
        });
        times.into_iter().map(AtomicU64::into_inner).collect()
    }

    #[test]
    fn each_task_is_carried_out_once() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for count in [0, 1, 2, 3, 100] {
            assert_eq!(carried_out(count), vec![1; count as usize], "from outside");
            assert_eq!(
                pool.install(|| carried_out(count)),
                vec![1; count as usize],
                "from a thread of the pool"
            );
        }
    }

    #[test]
    fn a_panic_of_the_caller_leaves_after_all_who_work() {
        let caller = thread::current().id();
        let working = AtomicUsize::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for_each(50, &|_| {
                working.fetch_add(1, Ordering::SeqCst);
                if thread::current().id() == caller {
                    working.fetch_sub(1, Ordering::SeqCst);
                    panic!("expected by this test");
                }
                thread::yield_now();
                working.fetch_sub(1, Ordering::SeqCst);
            });
        }));
        // The helpers may have taken everything.
        assert!(outcome.is_err() || working.load(Ordering::SeqCst) == 0);
        assert_eq!(working.load(Ordering::SeqCst), 0);
    }
}

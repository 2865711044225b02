//! The threads that the CPU backend runs on.
//!
//! They are rayon's global pool, until the process forks: a child has none of its parent's threads, and would wait for
//! them for ever. It takes a pool of its own.

use std::{
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

static FORKED: AtomicBool = AtomicBool::new(false);

/// The pool of a process that was forked, once it has one. Never freed.
static POOL: AtomicPtr<ThreadPool> = AtomicPtr::new(ptr::null_mut());

/// Says that this process is the child of a `fork()`. `norm_gpu` has it called.
#[pyfunction]
pub fn after_fork() {
    FORKED.store(true, Ordering::Relaxed);
    // The parent's, if that was a child itself.
    POOL.store(ptr::null_mut(), Ordering::Release);
}

/// Runs an operation where rayon has threads.
pub(crate) fn run<R: Send>(operation: impl FnOnce() -> R + Send) -> R {
    if !FORKED.load(Ordering::Relaxed) {
        return operation();
    }
    match pool() {
        Some(pool) => pool.install(operation),
        // The system starts no more threads. Operations of one task, of up to some 32,000 elements, need none.
        None => operation(),
    }
}

/// This process's own pool. Of two that threads make at the same time the first stays.
fn pool() -> Option<&'static ThreadPool> {
    let mut pool = POOL.load(Ordering::Acquire);
    if pool.is_null() {
        let new = Box::into_raw(Box::new(ThreadPoolBuilder::new().build().ok()?));
        let stored = POOL.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire);
        pool = match stored {
            Ok(_) => new,
            Err(first) => {
                // SAFETY: made above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
                first
            }
        };
    }
    // SAFETY: a pool that was made by this function, and is never freed.
    unsafe { pool.as_ref() }
}

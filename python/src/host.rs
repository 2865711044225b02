//! The thread pool of the CPU backend.
//!
//! It is rayon's global pool, except in the child of a `fork()`: a child has none of its parent's threads, and would wait
//! for them for ever. It gets a pool of its own.

use std::{
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

static FORKED: AtomicBool = AtomicBool::new(false);

/// The pool of a forked process; null until its first operation. Never freed.
static POOL: AtomicPtr<ThreadPool> = AtomicPtr::new(ptr::null_mut());

/// Records that this process is the child of a `fork()`. The package `norm_gpu` registers it to be called after a fork.
#[pyfunction]
pub fn after_fork() {
    FORKED.store(true, Ordering::Relaxed);
    // If the parent is a forked process itself, this is the parent's pool, whose threads do not exist here.
    POOL.store(ptr::null_mut(), Ordering::Release);
}

/// Runs an operation on a pool whose threads exist in this process.
pub(crate) fn run<R: Send>(operation: impl FnOnce() -> R + Send) -> R {
    if !FORKED.load(Ordering::Relaxed) {
        return operation();
    }
    match pool() {
        Some(pool) => pool.install(operation),
        // The system refuses more threads. Operations of up to some 32,000 elements, which are one task, need none.
        None => operation(),
    }
}

/// The pool of this forked process. If two threads create one at the same time, the first is kept.
fn pool() -> Option<&'static ThreadPool> {
    let mut pool = POOL.load(Ordering::Acquire);
    if pool.is_null() {
        let new = Box::into_raw(Box::new(ThreadPoolBuilder::new().build().ok()?));
        let stored = POOL.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire);
        pool = match stored {
            Ok(_) => new,
            Err(first) => {
                // SAFETY: the pool was created above, and its address has been stored nowhere.
                drop(unsafe { Box::from_raw(new) });
                first
            }
        };
    }
    // SAFETY: the pointer is that of a pool that this function has created and that is never freed.
    unsafe { pool.as_ref() }
}

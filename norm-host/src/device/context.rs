//! Guards that change the calling thread's current context for a while.

use std::marker::PhantomData;

use cuda_driver::{Driver, sys::CUcontext};

use crate::error::Result;

/// While it lives, a device's context is current on this thread; dropped, it restores the previous
/// context. Drop guards in the reverse order of their creation.
#[must_use = "the former context is restored as soon as this is dropped"]
pub struct ContextGuard {
    driver: &'static Driver,
    /// False where the context was already current and nothing was pushed.
    pushed: bool,
    /// A context is current on one thread, so that a guard must not leave it: neither `Send` nor `Sync`.
    on_thread: PhantomData<*const ()>,
}

impl ContextGuard {
    /// # Safety
    /// The context is alive for as long as the guard.
    pub(crate) unsafe fn enter(driver: &'static Driver, context: CUcontext) -> Result<ContextGuard> {
        let pushed = driver.context_current()? != context;
        if pushed {
            // SAFETY: the caller guarantees that the context is alive.
            unsafe { driver.context_push(context) }?;
        }
        Ok(ContextGuard { driver, pushed, on_thread: PhantomData })
    }
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        if self.pushed {
            // This fails only if other code has popped the context already.
            let _ = self.driver.context_pop();
        }
    }
}

/// While it lives, other code, such as a library, may change this thread's current context; dropped, it restores the
/// previous one.
pub(crate) struct RestoreContext {
    driver: &'static Driver,
    before: CUcontext,
}

impl RestoreContext {
    pub(crate) fn save() -> Result<RestoreContext> {
        let driver = cuda_driver::driver()?;
        Ok(RestoreContext { driver, before: driver.context_current()? })
    }
}

impl Drop for RestoreContext {
    fn drop(&mut self) {
        // SAFETY: the context was current when this was created, so that it was alive, or null. Primary contexts, with
        // which NCCL and engines work, are not destroyed while they are in use.
        let _ = unsafe { self.driver.context_set_current(self.before) };
    }
}

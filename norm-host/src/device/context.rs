//! The calling thread's current context, changed for a while.

use std::marker::PhantomData;

use cuda_driver::{Driver, sys::CUcontext};

use crate::error::Result;

/// While it lives, a device's context is current on this thread; dropped, it restores the one
/// that was. Drop guards in the reverse order of their making.
#[must_use = "the former context is restored as soon as this is dropped"]
pub struct ContextGuard {
    driver: &'static Driver,
    /// False where the context was current already and nothing was done.
    pushed: bool,
    /// Contexts are current on a thread, so guards stay on theirs.
    on_thread: PhantomData<*const ()>,
}

impl ContextGuard {
    /// # Safety
    /// The context is alive for as long as the guard.
    pub(crate) unsafe fn enter(driver: &'static Driver, context: CUcontext) -> Result<ContextGuard> {
        let pushed = driver.context_current()? != context;
        if pushed {
            // SAFETY: it is alive.
            unsafe { driver.context_push(context) }?;
        }
        Ok(ContextGuard { driver, pushed, on_thread: PhantomData })
    }
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        if self.pushed {
            // Fails only if somebody else has taken the context away, and then it is gone.
            let _ = self.driver.context_pop();
        }
    }
}

/// While it lives, others may make contexts current on this thread; dropped, it restores the one that
/// was.
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
        // SAFETY: it was current when this was made, so it was alive, or null; contexts that libraries
        // work with are not destroyed.
        let _ = unsafe { self.driver.context_set_current(self.before) };
    }
}

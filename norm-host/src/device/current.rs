//! The calling thread's current context, changed for a while.

use std::marker::PhantomData;

use cuda_driver::{Driver, sys::CUcontext};

use crate::error::Result;

/// While it lives, a device's context is current on this thread; dropped, it restores the one
/// that was. Drop guards in the reverse order of their making.
#[must_use = "the former context is restored as soon as this is dropped"]
pub struct Current {
    driver: &'static Driver,
    /// False where the context was current already and nothing was done.
    pushed: bool,
    /// Contexts are current on a thread, so guards stay on theirs.
    on_thread: PhantomData<*const ()>,
}

impl Current {
    /// # Safety
    /// The context is alive for as long as the guard.
    pub(crate) unsafe fn enter(driver: &'static Driver, context: CUcontext) -> Result<Current> {
        let pushed = driver.context_current()? != context;
        if pushed {
            // SAFETY: it is alive.
            unsafe { driver.context_push(context) }?;
        }
        Ok(Current { driver, pushed, on_thread: PhantomData })
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        if self.pushed {
            // Fails only if somebody else has taken the context away, and then it is gone.
            let _ = self.driver.context_pop();
        }
    }
}

/// While it lives, others may make contexts current on this thread; dropped, it restores the one that
/// was.
pub(crate) struct Kept {
    driver: &'static Driver,
    before: CUcontext,
}

impl Kept {
    pub(crate) fn current() -> Result<Kept> {
        let driver = cuda_driver::driver()?;
        Ok(Kept { driver, before: driver.context_current()? })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: it was current when this was made, so it was alive, or null; contexts that libraries
        // work with are not destroyed.
        let _ = unsafe { self.driver.context_set_current(self.before) };
    }
}

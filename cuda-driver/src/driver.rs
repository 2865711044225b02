//! The opened driver.

use crate::functions::{Common, Extra};
use crate::library::{self, NoDriver};
use libloading::Library;
use std::sync::OnceLock;

/// The driver's library and its functions.
///
/// Methods that take handles (contexts, streams, modules: raw pointers that the driver dereferences) are `unsafe`; those
/// that take numbers and addresses, which the driver checks, are not. All but those of devices and contexts work on the
/// calling thread's current context.
pub struct Driver {
    pub(crate) common: Common,
    pub(crate) extra: Extra,
    /// The open library, without which the function pointers would dangle.
    #[cfg_attr(not(feature = "cust"), expect(dead_code, reason = "kept open"))]
    pub(crate) library: Library,
}

/// The driver, opened by the first call and kept until the process ends.
///
/// # Errors
/// What the dynamic linker said if the library cannot be opened. The first result is kept: later calls do not try again.
pub fn driver() -> Result<&'static Driver, NoDriver> {
    opened().map_err(Clone::clone)
}

pub(crate) fn opened() -> Result<&'static Driver, &'static NoDriver> {
    static DRIVER: OnceLock<Result<Driver, NoDriver>> = OnceLock::new();
    DRIVER.get_or_init(open).as_ref()
}

fn open() -> Result<Driver, NoDriver> {
    let library = library::open()?;
    // SAFETY: the signatures are those of cuda.h, in which a function never changes its type (a new type gets a new name,
    // such as `_v2`), and the library is kept open beside the tables.
    let (common, extra) = unsafe { (Common::load(&library), Extra::load(&library)) };
    Ok(Driver { common, extra, library })
}

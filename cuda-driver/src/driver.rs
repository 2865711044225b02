//! The opened driver.

use crate::error::DriverError;
use crate::functions::{Common, Extra};
use crate::library::{self, NoDriver};
use libloading::Library;
use std::sync::OnceLock;

/// The driver's library and its functions.
///
/// Methods that take handles (contexts, streams, modules: raw pointers that the driver follows)
/// are `unsafe`; those that take numbers and addresses, which the driver checks, are not. Apart
/// from the questions about devices they work on the calling thread's current context.
pub struct Driver {
    pub(crate) common: Common,
    pub(crate) extra: Extra,
    /// Keeps the functions where they are.
    #[cfg_attr(not(feature = "cust"), expect(dead_code, reason = "kept open"))]
    pub(crate) library: Library,
}

/// The driver, opened by the first call and kept until the process ends.
///
/// # Errors
/// What the dynamic linker said if the library cannot be opened. It is not tried again.
pub fn driver() -> Result<&'static Driver, NoDriver> {
    opened().map_err(Clone::clone)
}

pub(crate) fn opened() -> Result<&'static Driver, &'static NoDriver> {
    static DRIVER: OnceLock<Result<Driver, NoDriver>> = OnceLock::new();
    DRIVER.get_or_init(open).as_ref()
}

fn open() -> Result<Driver, NoDriver> {
    let library = library::open()?;
    // SAFETY: the signatures are those of cuda.h, whose names keep their type for ever (a new type
    // gets a new name), and the library is kept beside the table.
    let (common, extra) = unsafe { (Common::load(&library), Extra::load(&library)) };
    Ok(Driver { common, extra, library })
}

/// `Ok` for success, the error otherwise.
pub(crate) fn check(call: &'static str, code: u32) -> Result<(), DriverError> {
    if code == 0 { Ok(()) } else { Err(DriverError::new(call, code)) }
}

/// Calls one of the driver's functions and checks what it returns: `call!(self.extra.cuX(a, b))`.
/// To be used inside `unsafe`.
macro_rules! call {
    ($driver:ident.$table:ident.$name:ident($($arg:expr),* $(,)?)) => {
        match $driver.$table.$name {
            Some(function) => crate::driver::check(stringify!($name), function($($arg),*)),
            None => Err(crate::error::DriverError::missing(stringify!($name))),
        }
    };
}

pub(crate) use call;

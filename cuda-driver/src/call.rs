//! Calling one of the driver's functions, with its code as a `Result`.

use crate::error::DriverError;

/// The code that `call` returned as a `Result`.
pub(crate) fn check(call: &'static str, code: u32) -> Result<(), DriverError> {
    if code == 0 { Ok(()) } else { Err(DriverError::new(call, code)) }
}

/// Calls one of the driver's functions, inside `unsafe`, and checks the code that it returns:
/// `call!(self.extra.cuX(a, b))`. A function that the driver lacks is an error, too.
macro_rules! call {
    ($driver:ident.$table:ident.$name:ident($($arg:expr),* $(,)?)) => {
        match $driver.$table.$name {
            Some(function) => crate::call::check(stringify!($name), function($($arg),*)),
            None => Err(crate::error::DriverError::missing(stringify!($name))),
        }
    };
}

pub(crate) use call;

//! The CUDA driver, opened at run time.
//!
//! libcuda is not linked: [`driver`] opens `libcuda.so.1` when it is first called, and the methods of
//! [`Driver`] call its functions. Programs are built without a CUDA toolkit and start without a driver.
//! `NORM_LIBCUDA` names another library to open, as a path or as a name for the dynamic linker.
//! Linux only.
//!
//! # With cust (feature `cust`)
//! `cust` links to libcuda: a program that uses it cannot be built without a CUDA toolkit, and does not start without a
//! driver. With this feature this crate stands in for the library. It defines every function that cust 0.3.2 calls and
//! forwards each to the opened driver. Without a driver they return `CUDA_ERROR_NO_DEVICE`, so that cust reports an error
//! and the program goes on. Without the feature this crate defines no symbol of the driver's.
//!
//! A crate that depends on cust has to depend on this one, too, and mention it (`use cuda_driver as _;` is enough), so that
//! it is linked. cust's own build script requires that `CUDA_LIBRARY_PATH` names a folder with a `lib64` in it; an empty
//! one will do.
//!
//! This crate defines only the functions that cust calls. Where another crate of the program links to libcuda by name, such
//! as cudarc with its feature `dynamic-linking`, which candle enables, either have that crate open the library at run time,
//! or enable the feature `linked`. The linker is then given the CUDA toolkit's libcuda beside this crate, and the program
//! needs the driver to start. Without `cust`, `linked` changes nothing.
#![warn(missing_docs)]

mod call;
mod driver;
mod error;
mod error_text;
#[cfg(feature = "cust")]
mod for_cust;
mod functions;
mod launch_config;
mod library;
pub mod sys;
mod table;

mod context;
mod device;
mod graph;
mod launch;
mod memory;
mod module;
mod peers;
mod stream;

pub use driver::{Driver, driver};
pub use error::DriverError;
#[cfg(feature = "cust")]
pub use for_cust::take_unknown_code;
pub use launch::Launch;
pub use launch_config::LaunchAttribute;
pub use library::{LIBRARY_VARIABLE, NoDriver};
pub use module::LoadError;
pub use stream::CaptureMode;

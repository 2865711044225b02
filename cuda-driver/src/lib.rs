//! The CUDA driver, opened at run time.
//!
//! Nothing is linked: [`driver`] opens `libcuda.so.1` when it is first called, and the methods of
//! [`Driver`] call it. Programs are built without a CUDA toolkit and start without a driver.
//! `NORM_LIBCUDA` names another library to open, as a path or as a name for the dynamic linker.
//! Linux only.
//!
//! # With cust (feature `cust`)
//! `cust` links against libcuda: a program that uses it is not built without a CUDA toolkit, and
//! does not start without a driver. With this feature this crate takes the library's place. It defines
//! every function that cust 0.3.2 calls and forwards each to the opened driver. Where there is none they
//! return `CUDA_ERROR_NO_DEVICE`, so that cust reports an error and the program goes on. Without the
//! feature no symbol of the driver's is defined.
//!
//! A crate that depends on cust depends on this one too and mentions it (`use cuda_driver as _;`
//! is enough); the linker does the rest. cust's own build script insists on a folder with a
//! `lib64` in it, which `CUDA_LIBRARY_PATH` names: an empty one will do.
//!
//! A program that has, beside cust, another crate that links to libcuda by name (such
//! as cudarc with its `dynamic-linking` feature, which candle asks for) gets from here only the
//! functions that cust calls: let such a crate open the library at run time as well, or enable the
//! feature `linked`. The linker is then given the CUDA toolkit's libcuda beside this crate, and the
//! program needs the driver to start. Without `cust`, `linked` changes nothing.
#![warn(missing_docs)]

mod driver;
mod error;
mod error_text;
#[cfg(feature = "cust")]
mod for_cust;
mod functions;
mod library;
pub mod sys;
mod table;

mod context;
mod device;
mod graph;
mod launch;
mod memory;
mod module;
mod stream;

pub use driver::{Driver, driver};
pub use error::DriverError;
#[cfg(feature = "cust")]
pub use for_cust::take_unknown_code;
pub use launch::{Launch, LaunchAttribute};
pub use library::{LIBRARY_VARIABLE, NoDriver};
pub use module::LoadError;
pub use stream::CaptureMode;

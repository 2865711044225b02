//! The CUDA driver, opened at run time.
//!
//! `cust` links against libcuda: a program that uses it is not built without a CUDA toolkit, and
//! does not start without a driver. This crate takes the library's place. It defines every
//! function that cust 0.3.2 calls and forwards each to `libcuda.so.1`, which is opened when the
//! first of them is called. Where there is no such library they return `CUDA_ERROR_NO_DEVICE`, so
//! that cust reports an error and the program goes on.
//!
//! It also offers, as methods of [`Driver`], the calls that cust lacks or cannot make safely:
//! launches on streams that somebody else owns, stream capture, module loading with the
//! compiler's messages, and questions about pointers.
//!
//! # Using it
//! A crate that depends on cust depends on this one too and mentions it (`use cuda_driver as _;`
//! is enough); the linker does the rest. cust's own build script insists on a folder with a
//! `lib64` in it, which `CUDA_LIBRARY_PATH` names: an empty one will do.
//!
//! `NORM_LIBCUDA` names another library to open, as a path or as a name for the dynamic linker.
//!
//! Linux only. A program that has, beside cust, another crate that links to libcuda by name (such
//! as cudarc with its `dynamic-linking` feature, which candle asks for) gets from here only the
//! functions that cust calls: let such a crate open the library at run time as well, or enable the
//! feature `linked`. The linker is then given the CUDA toolkit's libcuda beside this crate, and the
//! program needs the driver to start.
#![warn(missing_docs)]

mod code;
mod driver;
mod error;
mod error_text;
mod extra;
mod forward;
mod library;
mod table;

mod context;
mod device;
mod graph;
mod launch;
mod memory;
mod module;
mod stream;

pub use code::take_unknown_code;
pub use cust_raw as sys;
pub use driver::{Driver, driver};
pub use error::DriverError;
pub use launch::{Launch, LaunchAttribute};
pub use library::{LIBRARY_VARIABLE, NoDriver};
pub use module::LoadError;
pub use stream::CaptureMode;

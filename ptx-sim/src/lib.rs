//! Runs PTX kernels on a CPU, checks every access they make, and counts what they do.
//!
//! ```
//! use ptx_sim::{Launch, Memory, Module};
//!
//! let module = Module::parse(
//!     ".version 8.0
//!     .target sm_80
//!     .address_size 64
//!     .visible .entry double(.param .u64 values) {
//!         .reg .b32 %r<3>;
//!         .reg .b64 %rd<4>;
//!         ld.param.u64 %rd1, [values];
//!         mov.u32 %r1, %tid.x;
//!         mul.wide.u32 %rd2, %r1, 4;
//!         add.s64 %rd3, %rd1, %rd2;
//!         ld.global.u32 %r2, [%rd3];
//!         shl.b32 %r2, %r2, 1;
//!         st.global.u32 [%rd3], %r2;
//!         ret;
//!     }",
//! )?;
//! let mut memory = Memory::new();
//! let values = memory.upload("values", &[1, 0, 0, 0, 2, 0, 0, 0]);
//! let counts = Launch::new(&module.kernel("double")?).block([2, 1, 1]).arg(values).run(&mut memory)?;
//! assert_eq!(memory.read(values, 8)?, [2, 0, 0, 0, 4, 0, 0, 0]);
//! assert_eq!(counts.global["values"].loads.sectors, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Module::parse`] finds a text's kernels, [`Module::kernel`] decodes one, [`Launch`] runs it on
//! [`Memory`]. What goes wrong is a [`LoadError`] or a [`LaunchError`], whose [`Fault`] names the
//! line, the block, the thread and the address; what went well leaves [`Counts`].

mod check;
mod counts;
mod decode;
mod error;
mod fault;
mod kernel;
mod memory;
mod module;
mod number;
mod run;
mod text;

pub use counts::{Counts, InstructionKind, LineCounts, Requests, SECTOR, SharedTraffic, Traffic};
pub use decode::instruction_table;
pub use error::{LaunchError, LoadError};
pub use fault::{Element, Fault, FaultKind, Party};
pub use kernel::{Kernel, Parameter};
pub use memory::{Memory, MemoryError};
pub use module::Module;
pub use run::launch::{Argument, Launch};
pub use run::stream::Stream;
pub use run::together::{Together, TogetherError};

// The README's example is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

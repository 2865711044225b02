//! What operations compute and what they refuse: on the CPU backend and, with the feature `sim`, on the simulator.
//!
//! All are modules of one program: to link another takes longer than most of them run. None asks the driver, whose state is
//! the process's; tests that do are programs by themselves.

#[cfg(feature = "sim")]
mod capabilities;
mod cpu_against_reference;
mod cpu_bits;
mod error_texts;
mod errors;
#[cfg(feature = "sim")]
mod far_from_zero;
mod heads;
mod misuse;
mod misuse_residuals;
mod orders;
#[cfg(feature = "sim")]
mod pseudo_instructions;
mod quantized;
mod residual_functions;
mod rounding;
mod sandwich;
mod sharded;
#[cfg(feature = "gpu")]
mod threads;

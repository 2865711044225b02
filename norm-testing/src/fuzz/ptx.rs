//! The readers of PTX: any text is a module or an error, and so is each of its kernels; and as a template it is
//! specialized for any types or refused.

use norm_host::ptx::specialize::specialize;
use norm_kernels::abi::EntryPoint;
use ptx_sim::Module;

/// One text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    simulate(text);
    // Of each number of bits and elements, and each way to store y.
    for entry in EntryPoint::all().step_by(13) {
        match specialize(text, entry, (8, 0)) {
            Ok(kernel) => assert!(!kernel.lines().any(|line| line.trim_ascii().starts_with("norm."))),
            Err(error) => assert!(error.line as usize <= 1 + text.matches('\n').count()),
        }
    }
}

/// Reads it as the simulator does.
fn simulate(text: &str) {
    let Ok(module) = Module::parse(text) else { return };
    for name in module.kernels() {
        match module.kernel(name) {
            Ok(_) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

//! The reader of PTX: any text is a module or an error, and so is each of its kernels.

use ptx_sim::Module;

/// One text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(module) = Module::parse(text) else { return };
    for name in module.kernels() {
        match module.kernel(name) {
            Ok(_) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

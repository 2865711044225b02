//! What neither compiler can say about a kernel.

use std::fmt::Write;

use norm_kernels::abi::EntryPoint;

/// Drops comments that carry nothing, and states each kernel's largest block: neither compiler
/// can, and without it ptxas may take more registers than such a block has. The `registers` that it may
/// take at most are [`EntryPoint::max_registers`], or what the compiler's output needs besides.
///
/// # Errors
/// A kernel that `abi` does not list.
pub fn add(assembly: &str, registers: impl Fn(EntryPoint) -> Option<u32>) -> Result<String, String> {
    let mut text = String::with_capacity(assembly.len());
    let mut entry = None;
    for line in assembly.lines() {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix(".visible .entry ") {
            let name = rest.trim_end_matches('(');
            let kernel = EntryPoint::all().find(|kernel| kernel.to_string() == name);
            entry = Some(kernel.ok_or_else(|| format!("kernel '{name}' is none that abi lists"))?);
        }
        if line == "{"
            && let Some(kernel) = entry.take()
        {
            let _ = writeln!(text, ".maxntid {}", kernel.max_threads());
            if let Some(registers) = registers(kernel) {
                let _ = writeln!(text, ".maxnreg {registers}");
            }
            if let Some(blocks) = kernel.min_blocks() {
                let _ = writeln!(text, ".minnctapersm {blocks}");
            }
        }
        let comment = line.trim_start().starts_with("//");
        if !(comment || line.is_empty() && text.ends_with("\n\n")) {
            let _ = writeln!(text, "{line}");
        }
    }
    Ok(text.trim_start().to_owned())
}

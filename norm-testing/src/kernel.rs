//! Small kernels for tests.

use std::collections::BTreeSet;
use std::sync::Arc;

use ptx_sim::{Counts, Fault, Kernel, Launch, LaunchError, Memory, Module};

/// A module with a kernel `k` of these parameters and instructions, and registers of each kind.
pub fn text(parameters: &str, body: &str) -> String {
    format!(
        ".version 8.0\n.target sm_90\n.address_size 64\n\
         .shared .align 16 .b8 scratch[1024];\n\
         .visible .entry k({parameters})\n{{\n\
         .reg .pred %p<8>;\n.reg .b16 %h<16>;\n.reg .b32 %r<32>;\n.reg .b64 %d<32>;\n{body}\n}}\n"
    )
}

/// The kernel `k` of such a module.
pub fn kernel(parameters: &str, body: &str) -> Arc<Kernel> {
    Module::parse(text(parameters, body)).unwrap().kernel("k").unwrap()
}

/// The line of a text, from 1, that has this mark in it; 0 if none has.
pub fn marked(text: &str, mark: &str) -> u32 {
    text.lines().position(|line| line.contains(mark)).map_or(0, |line| line as u32 + 1)
}

/// The variants of an enum of this crate, by its source: `#[non_exhaustive]` keeps a test from
/// matching them all.
pub fn variants(source: &str, name: &str) -> BTreeSet<String> {
    let begin = format!("pub enum {name} {{\n");
    let body = source.split_once(&begin).and_then(|(_, rest)| rest.split_once("\n}")).unwrap().0;
    let variants = body.lines().filter_map(|line| line.strip_prefix("    "));
    variants.filter(|line| line.starts_with(char::is_uppercase)).map(variant).collect()
}

/// The variant's name in front of its fields, in Rust or as `Debug` writes it.
pub fn variant(value: &str) -> String {
    value.chars().take_while(|letter| letter.is_alphanumeric()).collect()
}

/// The text `out[tid] = <register>` for a kernel with a parameter `out`; uses %d30 and %d31.
pub fn store_result(register: &str) -> String {
    format!(
        "ld.param.u64 %d30, [out];\nmov.u32 %r31, %tid.x;\nmul.wide.u32 %d31, %r31, 4;\n\
         add.s64 %d30, %d30, %d31;\nst.global.b32 [%d30], {register};\nret;"
    )
}

/// Runs a kernel with a parameter `out` of a word a thread, in one block; what it wrote.
pub fn words(body: &str, threads: u32) -> Result<Vec<u32>, LaunchError> {
    let kernel = kernel(".param .u64 out", body);
    let mut memory = Memory::new();
    let out = memory.output("out", u64::from(threads) * 4);
    Launch::new(&kernel).block([threads, 1, 1]).arg(out).run(&mut memory)?;
    let bytes = memory.read(out, u64::from(threads) * 4).unwrap();
    Ok(bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect())
}

/// Runs a kernel with one pointer to 4096 bytes of zeros.
pub fn run(body: &str, grid: u32, block: u32) -> Result<Counts, LaunchError> {
    let kernel = kernel(".param .u64 data", body);
    let mut memory = Memory::new();
    let data = memory.upload("data", &[0; 4096]);
    Launch::new(&kernel).grid([grid, 1, 1]).block([block, 1, 1]).arg(data).run(&mut memory)
}

/// The fault that this must be.
pub fn fault(result: Result<Counts, LaunchError>) -> Fault {
    match result {
        Err(LaunchError::Fault(fault)) => *fault,
        other => panic!("expected a fault, got {other:?}"),
    }
}

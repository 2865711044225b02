#![no_main]
// The command uses more of its own modules.
#![allow(dead_code)]

#[path = "../../src/bytes.rs"]
mod bytes;
#[path = "../src/safetensors.rs"]
mod case;
#[path = "../../src/apply/input/mod.rs"]
mod input;
#[path = "../../src/nearest.rs"]
mod nearest;
#[path = "../../src/printable.rs"]
mod printable;
#[path = "../../src/regular.rs"]
mod regular;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::run(data));

#![no_main]
// The command uses more of its own modules.
#![allow(dead_code)]

#[path = "../../src/bytes.rs"]
mod bytes;
#[path = "../src/safetensors.rs"]
mod case;
#[path = "../../src/apply/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| case::run(data));

//! The lock files against the bundles that they lock, which nobody can read.

use std::fs;
use std::path::Path;

use norm_host::ptx::EMBEDDED;
use xtask::lock::{self, Assembly};
use xtask::set::{Set, kernels};

/// All but registers is made anew, which ptxas alone knows: `tests/toolchain.rs` has it count them.
#[test]
fn lock_files_say_what_the_bundles_hold() {
    let set = Set::stock(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")));
    let unpacked = set.unpack().unwrap();
    let expected = kernels(unpacked.each_ref().map(|unpacked| &unpacked.text));
    for (ptx, unpacked) in EMBEDDED.iter().zip(&unpacked) {
        assert_eq!(unpacked.kernels, expected, "{}", ptx.target);
        let kept = fs::read_to_string(set.lock(ptx.target)).unwrap();
        let fresh = lock::of(&expected, &unpacked.text, ptx, &Assembly::in_lock(&kept)).unwrap();
        let differences = lock::differences(&kept, &fresh);
        assert!(kept == fresh, "`cargo xtask ptx lock` writes it anew:\n{}", differences.join("\n"));
        assert!(!kept.contains('?'), "{}: registers are missing", ptx.target);
    }
}

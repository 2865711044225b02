//! `norm ptx`.

use std::path::Path;

use crate::run::norm;

const KERNEL: &str = "rms_f16_f16_f16_block2";

#[test]
fn the_list_names_the_kernels_of_every_target() {
    let targets = norm(Path::new("."), &["ptx", "list", "--json"]).json();
    let targets = targets.as_array().unwrap();
    assert!(!targets.is_empty());
    let text = norm(Path::new("."), &["ptx"]).good();
    for target in targets {
        let kernels = target["kernels"].as_array().unwrap();
        assert!(kernels.iter().any(|kernel| kernel == KERNEL), "{}", target["target"]);
        let head = format!("{}: {} kernels", target["target"].as_str().unwrap(), kernels.len());
        assert!(text.contains(&head), "{head}");
    }
}

#[test]
fn a_kernel_is_shown_as_a_module() {
    let text = norm(Path::new("."), &["ptx", "show", KERNEL]).good();
    assert!(text.contains(".version") && text.contains(".target"), "the header is there");
    let entries: Vec<&str> = text.lines().filter(|line| line.contains(".entry")).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert!(entries[0].contains(KERNEL), "{entries:?}");
}

#[test]
fn a_kernel_or_target_there_is_not_is_bad_input() {
    let message = norm(Path::new("."), &["ptx", "show", "rms_f16_f16_f16_blck2"]).bad_input();
    assert!(message.contains("given 'rms_f16_f16_f16_blck2'; near it is 'rms_f16_f16_f16_"), "{message}");
    for (args, expected) in [
        (&["show", KERNEL, "--target", "sm_10"][..], "--target: expected sm_80 or sm_90, given 'sm_10'"),
        (&["show", KERNEL, "--target", "-1"], "--target: expected sm_80 or sm_90, given '-1'"),
        (&["stats", "--target", "-1"], "--target: expected sm_80 or sm_90, given '-1'"),
        (&["show", "-1"], "KERNEL: expected a name that `norm ptx list` prints, given '-1'"),
        (&["stats", "-1"], "FILTER: expected a part of a kernel's name, given '-1'"),
        (&["report", "-1"], "FILTER: expected a part of a kernel's name, given '-1'"),
        (&["list", "--ptx", "-1"], "--ptx: expected stock, rust-cuda or a file of PTX, given '-1'"),
    ] {
        let message = norm(Path::new("."), &[&["ptx"], args].concat()).bad_input();
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

#[test]
fn counts_of_a_kernel_parse() {
    let counts = norm(Path::new("."), &["ptx", "stats", KERNEL, "--json"]).json();
    assert!(counts.to_string().contains(KERNEL));
}

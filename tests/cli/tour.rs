//! `norm` without a subcommand.

use std::path::Path;

use crate::run::norm;

const NO_ARGS: [&str; 0] = [];

#[test]
fn the_tour_shows_the_seven_functions() {
    let text = norm(Path::new("."), &NO_ARGS).good();
    for function in ["rms_norm ", "rms_norm_ ", "layer_norm ", "layer_norm_ ", "head_norm ", "head_norm_ "] {
        let line = text.lines().find(|line| line.starts_with(function)).expect(function);
        assert!(line.contains(" ULP") && line.contains(" GB/s") && line.ends_with("ok"), "{line}");
    }
    let tp = text.lines().find(|line| line.starts_with("rms_norm_tp")).unwrap();
    assert!(tp.ends_with("skipped: needs a CUDA device"), "{tp}");
    assert!(text.contains("6 ok, 1 skipped."), "{text}");
    assert!(text.contains("Why not on a GPU: no CUDA driver"), "{text}");
    assert!(text.contains("seed 1"), "{text}");
}

#[test]
fn one_seed_makes_one_tour() {
    let errors = |seed: &str| {
        let report = norm(Path::new("."), &["--seed", seed, "--json", "--device", "cpu"]).json();
        assert_eq!(report["seed"].to_string(), seed);
        let functions = report["functions"].as_array().unwrap().clone();
        assert_eq!(functions.len(), 7);
        assert_eq!(functions[2]["outcome"], "skipped");
        functions.iter().map(|line| line["largest_error_ulp"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(errors("3"), errors("3"));
    assert_ne!(errors("3"), errors("4"));
}

#[test]
fn wrong_arguments_are_named() {
    for (args, expected) in [
        (["--seed", "-1"], "'-1' for '--seed <S>': expected a whole number from 0 to 18446744073709551615"),
        (["--seed", "1.5"], "'1.5' for '--seed <S>': expected a whole number"),
        (["--device", "-1"], "'-1' for '--device <DEVICE>': expected auto, cpu, sim or cuda:N"),
        (["--ptx", "-1"], "--ptx: expected"),
    ] {
        let message = norm(Path::new("."), &args).bad_input();
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

#[test]
fn a_device_that_is_not_there_is_bad_input() {
    let message = norm(Path::new("."), &["--device", "cuda:0"]).bad_input();
    assert!(message.contains("no CUDA driver"), "{message}");
}

//! `norm check`.

use crate::run::{here, norm};

#[test]
fn random_cases_pass_on_the_cpu() {
    let report = norm(here(), &["check", "--cases", "60", "--seed", "5", "--json"]).json();
    assert_eq!(report["cases"], 60);
    assert_eq!(report["seed"], 5);
    assert_eq!(report["device"], "cpu");
    assert!(report["failure"].is_null());
    assert!(report["outputs"].as_u64().unwrap() > 1000);
}

#[test]
fn one_seed_makes_one_set_of_cases() {
    let outputs = |seed: &str| {
        norm(here(), &["check", "--cases", "20", "--seed", seed, "--json"]).json()["outputs"].clone()
    };
    assert_eq!(outputs("8"), outputs("8"));
    assert_ne!(outputs("8"), outputs("9"));
}

#[test]
fn cases_can_be_given() {
    let case = "op=layer over=heads shape=3x2x65 x=f16 y=f16 w=f32 b=f32 eps=1e-5 xgap=1,2 data=shifted seed=4 inplace alone=5";
    let wrong = norm(here(), &["check", "--case", case]).bad_input();
    assert!(wrong.contains("'1,2' is no value of xgap: expected three whole numbers"), "{wrong}");
    let case = case.replace("1,2 ", "1,2,0 ");
    let text = norm(here(), &["check", "--case", &case, "--case", &case]).good();
    assert!(text.starts_with("ok: 2 cases in ") && text.contains(" s on the CPU"), "{text}");
    let split = "op=rms shape=3x65 x=f16 y=bf16 w=f32 b=f32 eps=1e-5 offset=1 roundoffset rounding=before-bias data=wide shards=3";
    norm(here(), &["check", "--device", "cpu", "--case", split]).good();
}

/// At once: none of these cases is begun.
#[test]
fn wrong_arguments_are_named() {
    let case = "op=layer shape=2x3 x=f32 y=f32 eps=0 data=normal";
    let with = |from: &str, to: &str| case.replace(from, to);
    for (args, expected) in [
        (["--cases", "0"], "'0' for '--cases <N>': expected a whole number from 1 to 18446744073709551615"),
        (["--cases", "-1"], "'-1' for '--cases <N>': expected a whole number"),
        (["--cases", "1e3"], "'1e3' for '--cases <N>': expected a whole number"),
        (["--cases", "--json"], "'--json' for '--cases <N>': expected a whole number"),
        (["--seed", "-1"], "'-1' for '--seed <S>': expected a whole number from 0 to 18446744073709551615"),
        (["--device", "-1"], "'-1' for '--device <DEVICE>': expected auto, cpu, sim or cuda:N"),
        (["--ptx", "-1"], "--ptx: expected stock, rust-cuda or a file of PTX, given '-1'"),
        (["--case", "-1"], "'-1' for '--case <CASE>': '-1' is not a part of a case"),
        (["--case", &with("2x3", "1x16777217")], "has 16777217 elements, and a row at most 16777216"),
        (["--case", &with("2x3", "2147483648x1")], "its tensors and gaps take more than 512 MiB"),
        (["--case", &with("eps=0", "eps=nan")], "'nan' is no value of eps: expected a number of 0 or more"),
        (["--case", &with("eps=0", "eps=-1e-6")], "'-1e-6' is no value of eps"),
        (["--case", &with("eps=0", "eps=1e-50")], "'1e-50' is no value of eps"),
        (
            ["--case", &with("eps=0", "eps=0 offset=inf")],
            "'inf' is no value of offset: expected a finite number",
        ),
        (["--case", &with("2x3", "2x3 x=f16")], "x is there twice"),
        (["--case", &with("eps=0", "eps=0 rounding=t5")], "rounding=t5 needs w"),
        (["--case", &with("eps=0", "eps=0 roundoffset")], "roundoffset needs an offset other than 0"),
    ] {
        let message = norm(here(), &[&["check"], &args[..]].concat()).bad_input();
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

#[test]
fn cases_are_random_or_given_but_not_both() {
    let case = "op=rms shape=2 x=f16 y=f16 eps=0 data=normal";
    let message = norm(here(), &["check", "--cases", "5", "--case", case]).bad_input();
    assert!(message.contains("cannot be used with"), "{message}");
}

#[test]
fn a_device_that_is_not_there_is_bad_input() {
    let message = norm(here(), &["check", "--device", "cuda:0"]).bad_input();
    assert!(message.contains("no CUDA driver"), "{message}");
}

#[test]
fn kernels_can_be_asked_for_by_name_where_they_run() {
    let name = "rms_f16_f32_bf16_warp2";
    let run = norm(here(), &["check", "--device", "sim", "--kernel", name, "--kernel", name]);
    assert_eq!((run.status, run.stderr), (Some(0), format!("norm: tries {name}\n").repeat(2)));
    assert!(run.stdout.starts_with("ok: 2 of 2 kernels in "), "{}", run.stdout);
    for (args, expected) in [
        (
            &["--device", "cpu", "--every-kernel"][..],
            "expected --device sim, where all kernels run, given cpu",
        ),
        (
            &["--device", "sim", "--kernel", "rms"],
            "expected an entry point of the set, as `norm ptx` lists them, given rms",
        ),
        (&["--device", "sim", "--every-kernel", "--kernel", name], "cannot be used with"),
        (&["--device", "sim", "--every-kernel", "--cases", "5"], "cannot be used with"),
    ] {
        let message = norm(here(), &[&["check"], args].concat()).bad_input();
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

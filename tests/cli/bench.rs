//! `norm bench`: what can be tested without a device, and no times.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{here, norm};

const OURS: &str = "tests/cli/bench/ours.json";
const PEERS: &str = "tests/cli/bench/peers.json";

fn recorded(path: &str) -> Value {
    let text = fs::read_to_string(here().join(path)).expect("the recorded results are there");
    serde_json::from_str(&text).expect("they are JSON")
}

/// Writes results changed by `change` to a file of the folder.
fn changed(folder: &Path, change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut record = recorded(OURS);
    change(&mut record);
    let path = folder.join("changed.json");
    fs::write(&path, record.to_string()).unwrap();
    path
}

#[test]
fn without_a_device_it_says_what_it_needs() {
    for args in [&["bench"][..], &["bench", "--quick", "--json"], &["bench", "--host"]] {
        let message = norm(here(), args).bad_input();
        assert!(message.contains("norm bench needs a CUDA device (no CUDA driver"), "{message}");
        assert!(message.contains("--device cpu"), "{message}");
    }
    let message = norm(here(), &["bench", "--device", "cuda:0"]).bad_input();
    assert!(message.contains("no CUDA driver"), "{message}");
}

#[test]
fn what_takes_a_device_is_refused_on_the_cpu() {
    let sweep = norm(here(), &["bench", "--device", "cpu", "--sweep", "--shape", "2x8"]).bad_input();
    assert!(sweep.contains("--sweep: needs a CUDA device"), "{sweep}");
    let unfused = norm(here(), &["bench", "--device", "cpu", "--unfused"]).bad_input();
    assert!(unfused.contains("--unfused: needs a CUDA device"), "{unfused}");
    let host = norm(here(), &["bench", "--device", "cpu", "--host"]).bad_input();
    assert!(host.contains("--host: needs a CUDA device"), "{host}");
}

#[test]
fn wrong_arguments_are_named() {
    for (args, expected) in [
        (&["--dtype", "f64"][..], "expected f16, bf16 or f32, or three of them as X:W:Y"),
        (&["--shape", "4096"], "expected ROWSxDIM or ROWSxHEADSxHEAD_DIM"),
        (&["--shape", "0x4096"], "expected extents of 1 or more"),
        (&["--shape", "1x16777217"], "expected a last extent of at most 16777216"),
        (&["--repeats", "0"], "'0' for '--repeats <N>': expected a whole number from 1 to 4294967295"),
        (&["--repeats", "-1"], "'-1' for '--repeats <N>': expected a whole number"),
        (&["--copy", "-1"], "'-1' for '--copy <MIB>': expected a whole number from 1 to 65536"),
        (&["--copy", "65537"], "'65537' for '--copy <MIB>': expected a whole number"),
        (&["--dtype", "-1"], "'-1' for '--dtype <TYPES>': expected f16"),
        (&["--shape", "-1x4096"], "'-1x4096' for '--shape <SHAPE>': expected ROWSxDIM"),
        (
            &["--rounding", "twice"],
            "'twice' for '--rounding <ORDER>': expected one of single, before-weight, before-bias, t5",
        ),
        (&["--device", "-1"], "'-1' for '--device <DEVICE>': expected auto"),
        (&["--ptx", "-1"], "--ptx: expected stock, rust-cuda or a file of PTX, given '-1'"),
        (&["--from", "-1"], "cannot read -1"),
        (&["--join", "-1"], "cannot read -1"),
        (&["-1"], "'-1' for '[OP]...'"),
        (&["--plot", "-1"], "'-1' for '--plot <FILE.svg>': plots are drawn as SVG"),
        (
            &["--plot", "x.png"],
            "'x.png' for '--plot <FILE.svg>': plots are drawn as SVG: expected a file whose name ends in",
        ),
        (&["--plot", "svg"], "'svg' for '--plot <FILE.svg>'"),
        (&["softmax"], "possible values: rms, rms_, layer, head, add_rms, add_layer, add_rms_to,"),
        (&["--sweep"], "--shape"),
        (&["--quick", "--shape", "2x8"], "cannot be used with"),
        (&["--device", "cpu", "head", "--shape", "2x8"], "--shape: head takes ROWSxHEADSxHEAD_DIM"),
        (
            &["--device", "cpu", "rms", "--shape", "65536x16777216"],
            "--shape: takes 8388736 MiB of memory on the CPU, and",
        ),
        (&["--device", "cpu", "rms_", "--dtype", "f16:f16:f32"], "--dtype: rms_ works in place"),
        (
            &["--device", "cpu", "add_rms_f32", "--dtype", "f32"],
            "--dtype: add_rms_f32 takes x and y of 16 bits",
        ),
        (&["--unfused", "--sweep", "--shape", "2x8"], "cannot be used with"),
    ] {
        let message = norm(here(), &[&["bench"], args].concat()).bad_input();
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

#[test]
fn json_says_what_was_measured_and_how() {
    let args = ["bench", "--device", "cpu", "--copy", "1", "--repeats", "2", "--json", "--label", "a test"];
    let shapes = [
        "rms",
        "rms_",
        "layer",
        "head",
        "add_rms",
        "add_layer",
        "add_rms_to",
        "add_layer_to",
        "add_rms_f32",
        "sandwich_rms",
        "gated_rms",
        "gated_head",
        "gate_first_rms",
        "rms_fp8_token",
        "qk_rope",
        "--shape",
        "3x100",
        "--shape",
        "2x4x33",
        "--dtype",
        "f16:f32:f16",
    ];
    let record = norm(here(), &[&args[..], &shapes].concat()).json();
    assert_eq!(record["schema"], 1);
    assert_eq!(record["label"], "a test");
    assert_eq!(record["device"]["place"], "cpu");
    assert_eq!(record["memcpy"]["bytes"], 1 << 20);
    assert!(record["program"].as_str().unwrap().starts_with("norm "));
    let date = record["date"].as_str().unwrap();
    assert!(date.len() == 20 && date.ends_with('Z') && &date[10..11] == "T", "{date}");
    let lines = record["lines"].as_array().unwrap();
    let ops: Vec<&str> = lines.iter().map(|line| line["op"].as_str().unwrap()).collect();
    assert_eq!(
        ops,
        [
            "rms_norm",
            "rms_norm_",
            "layer_norm",
            "head_norm",
            "add_rms_norm",
            "add_layer_norm",
            "add_rms_norm_to",
            "add_layer_norm_to",
            "add_rms_norm:f32",
            "sandwich_rms_norm",
            "gated_rms_norm",
            "gated_head_norm",
            "gated_rms_norm:gate_first",
            "rms_norm_quantized:fp8-token",
            "qk_norm_rope"
        ]
    );
    for (line, op) in lines.iter().zip(ops) {
        let of_heads = op.ends_with("head_norm") || op == "qk_norm_rope";
        let elements = if of_heads { 2 * 4 * 33 } else { 300 };
        // x read and y written, 2 bytes each; a residual read and written, 2 bytes each unless it is f32.
        let residual = match op {
            "add_rms_norm:f32" => 8,
            op if op.starts_with("add_") || op.starts_with("sandwich_") => 4,
            // A gate is read.
            op if op.starts_with("gated_") => 2,
            _ => 0,
        };
        // Codes have a byte, and each row has a scale.
        let is_quantized = op.contains("quantized");
        let bytes = if is_quantized { 3 * elements + 4 * 3 } else { (4 + residual) * elements };
        assert_eq!(line["bytes"], bytes);
        let y = if is_quantized { "e4m3" } else { "f16" };
        assert_eq!((&line["x"], &line["w"], &line["y"]), (&"f16".into(), &"f32".into(), &y.into()));
        assert_eq!((&line["implementation"], &line["verdict"]), (&"norm".into(), &"ok".into()));
        assert_eq!(line["us_rounds"].as_array().unwrap().len(), 2);
        let [us, tb_s] = ["us", "tb_s"].map(|name| line[name].as_f64().unwrap());
        let expected = f64::from(bytes) / us / 1e6;
        assert!((tb_s / expected - 1.0).abs() < 1e-9, "{line}");
    }
}

#[test]
fn recorded_results_make_the_table_again() {
    let text = norm(here(), &["bench", "--from", OURS]).good();
    assert!(text.starts_with("NVIDIA H200 (cuda:0), CUDA 13.0, driver 580.95.05"), "{text}");
    assert!(text.contains("memcpy of 256 MiB: 4.250 TB/s"), "{text}");
    let line = text.lines().find(|line| line.contains("32768 × 4096 ")).unwrap();
    for figure in ["rms_norm", "f16", "128.70", "4.171", "0.982", "3.0 %"] {
        assert!(line.contains(figure), "{figure}: {line}");
    }
    // What is printed as JSON is what was read.
    assert_eq!(norm(here(), &["bench", "--from", OURS, "--json"]).json(), recorded(OURS));
}

#[test]
fn a_wrong_line_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = changed(folder.path(), |record| {
        record["lines"][0]["verdict"] = "fail".into();
        record["lines"][0]["note"] = "row 3 is off".into();
    });
    let run = norm(folder.path(), &["bench".as_ref(), "--from".as_ref(), path.as_os_str()]);
    assert_eq!(run.status, Some(1), "{}", run.stderr);
    assert!(run.stdout.contains("FAIL  row 3 is off") && run.stdout.contains("1 FAILED."), "{}", run.stdout);
}

#[test]
fn results_of_another_form_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = changed(folder.path(), |record| record["schema"] = 2.into());
    let newer = norm(folder.path(), &["bench".as_ref(), "--from".as_ref(), path.as_os_str()]).bad_input();
    assert!(newer.contains("expected results of schema 1, given schema 2"), "{newer}");
    let none = norm(here(), &["bench", "--from", "no-such-file.json"]).bad_input();
    assert!(none.contains("cannot read no-such-file.json"), "{none}");
    let endless = norm(here(), &["bench", "--from", "/dev/zero"]).bad_input();
    assert_eq!(endless, "norm: /dev/zero: expected a regular file of results, given a device\n");
    let fifo = folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for args in [["--from", "fifo"], ["--join", "fifo"]] {
        let message = norm(folder.path(), &[&["bench"], &args[..]].concat()).bad_input();
        assert_eq!(message, "norm: fifo: expected a regular file of results, given a FIFO\n");
    }
    let other = norm(here(), &["bench", "--from", "Cargo.toml"]).bad_input();
    assert!(other.contains("Cargo.toml: expected results as `norm bench --json` prints them"), "{other}");
}

#[test]
fn the_plot_draws_each_op_and_the_ceiling() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plot.svg");
    norm(here(), &["bench".as_ref(), "--from".as_ref(), OURS.as_ref(), "--plot".as_ref(), path.as_os_str()])
        .good();
    let svg = fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    let texts: Vec<&str> =
        svg.split("<text").skip(1).map(|rest| rest.split(['>', '<']).nth(1).unwrap().trim()).collect();
    for label in [
        "rms_norm f16",
        "layer_norm f16",
        "head_norm f16",
        "memcpy of 256 MiB, 4.25 TB/s",
        "Throughput over dim: NVIDIA H200, norm 0.1.0, 2026-11-22",
        "dim: elements of a row (log scale)",
        "4096",
        "128k",
        "4.0",
    ] {
        assert!(texts.contains(&label), "{label}: {texts:?}");
    }
    // A curve for each op, and a mark for each dim of it: of 4096's two shapes the larger.
    assert_eq!(svg.matches("<circle").count(), 8 + 3 + 2);
}

/// Before anything is measured, and whatever it is.
#[test]
fn a_plot_replaces_nothing_but_a_plot() {
    let folder = tempfile::tempdir().unwrap();
    let results = here().join(OURS);
    let plot = |to: &str| {
        let args = ["bench".as_ref(), "--from".as_ref(), results.as_os_str(), "--plot".as_ref(), to.as_ref()];
        norm(folder.path(), &args)
    };
    let path = folder.path().join("plot.SVG");
    fs::write(&path, "").unwrap();
    plot("plot.SVG").good();
    let drawn = fs::read(&path).unwrap();
    fs::write(&path, [&drawn[..], b"<!-- older -->"].concat()).unwrap();
    plot("plot.SVG").good();
    assert!(fs::read(&path).unwrap() == drawn, "it is drawn again");

    for other in [&b"notes"[..], b"<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>", b"\xff\xfe"] {
        fs::write(&path, other).unwrap();
        let message = plot("plot.SVG").bad_input();
        assert!(message.contains("--plot: plot.SVG is there and is no plot of `norm bench`"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), other);
    }
    fs::create_dir(folder.path().join("folder.svg")).unwrap();
    assert!(plot("folder.svg").bad_input().contains("folder.svg is there and is no plot"));
    assert!(plot("none/plot.svg").bad_input().contains("--plot: cannot write none/plot.svg: No such file"));
}

#[test]
fn results_without_times_have_no_plot() {
    let folder = tempfile::tempdir().unwrap();
    let path = changed(folder.path(), |record| record["lines"] = Value::Array(Vec::new()));
    let run = norm(
        folder.path(),
        &["bench".as_ref(), "--from".as_ref(), path.as_os_str(), "--plot".as_ref(), "x.svg".as_ref()],
    );
    assert_eq!(run.status, Some(2));
    assert!(run.stderr.contains("--plot: no case has a time to draw"), "{}", run.stderr);
    assert!(!folder.path().join("x.svg").exists());
}

#[test]
fn joined_results_have_the_fastest_peers_ratio() {
    let table = norm(here(), &["bench", "--join", OURS, PEERS]).good();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(rows[0], "| op | x:w:y | shape | norm | torch | quack | triton | ratio |");
    let row = |shape: &str| rows.iter().find(|row| row.contains(shape)).expect(shape);
    // 130.9 / 128.7; a wrong peer has no time.
    assert_eq!(
        *row("| 32768 × 4096 |"),
        "| rms_norm | f16 | 32768 × 4096 | 128.70 (4.17) | 153.10 (3.51) | 130.90 (4.10) | FAIL | 1.02 |"
    );
    // 515.6 / 600.
    assert!(row("| 8192 × 65536 |").ends_with("| – | 515.60 (4.17) | – | 0.86 |"));
    assert!(row("| layer_norm |").contains("| 75.80 (1.77) |"));
    // Cases that only one has are left out.
    assert_eq!(rows.len(), 2 + 5);
    assert!(table.contains(
        "- norm: norm 0.1.0, NVIDIA H200, 2026-11-22T10:00:00Z, a fixture; memcpy of 256 MiB 4.25 TB/s"
    ));
    assert!(table.contains("- peers: peers.py, torch 2.11.0"), "{table}");
}

/// What an operation's parts take stands among the peers, not as another line of ours.
#[test]
fn parts_of_our_own_are_joined_as_peers() {
    let folder = tempfile::tempdir().unwrap();
    let path = changed(folder.path(), |record| {
        let lines = record["lines"].as_array_mut().unwrap();
        let mut parts = lines[0].clone();
        parts["implementation"] = "norm, unfused".into();
        lines.push(parts);
    });
    let joined = |args: &[&std::ffi::OsStr]| {
        let args = [&["bench".as_ref(), "--join".as_ref(), path.as_os_str()], args].concat();
        norm(here(), &args).good()
    };
    let with_peers = joined(&[PEERS.as_ref()]);
    assert!(
        with_peers.contains("| shape | norm | norm, unfused | torch | quack | triton | ratio |"),
        "{with_peers}"
    );
    let count = |table: &str| table.lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(count(&with_peers), 1 + 5, "{with_peers}");
    let alone = joined(&[]);
    assert!(alone.contains("| shape | norm | norm, unfused | ratio |"), "{alone}");
    assert!(alone.lines().last().unwrap().ends_with("| 1.00 |"), "{alone}");
}

#[test]
fn results_with_nothing_in_common_are_not_joined() {
    let folder = tempfile::tempdir().unwrap();
    let path = changed(folder.path(), |record| {
        record["lines"].as_array_mut().unwrap().iter_mut().for_each(|line| line["x"] = "f32".into());
    });
    let ours = here().join(OURS);
    let message =
        norm(folder.path(), &["bench".as_ref(), "--join".as_ref(), ours.as_os_str(), path.as_os_str()]);
    assert!(message.bad_input().contains("no case in common"));
}

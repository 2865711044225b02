//! Mistakes planted in the shipped PTX, and `norm check` on it: each is found, and what is shipped passes.
//!
//! The mistakes are such as values hide from each other where all rows are of one manner: what a warp does if one of its
//! rows needs it, a NaN that is lost at one place, and how results are rounded.

use norm_host::DType;
use norm_host::ptx::EMBEDDED;
use norm_kernels::abi::{EntryPoint, Kernel, NormKind, Variant};

use crate::run::{Run, norm, shipped};

/// `norm check` of these kernels' text.
fn check(text: &str, options: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k.ptx"), text).unwrap();
    let check = ["check", "--device", "sim", "--ptx", "k.ptx", "--json"];
    norm(folder.path(), &[&check[..], options].concat())
}

/// The kernels of a text that fail where each is run.
fn failing(text: &str) -> Vec<String> {
    let run = check(text, &["--every-kernel"]);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect(&run.stderr);
    assert_eq!(report["not_reached"], serde_json::json!([]), "{report}");
    let failures = report["failures"].as_array().expect("a list");
    failures.iter().map(|failure| failure["kernel"].as_str().expect("a name").to_owned()).collect()
}

/// The shipped text of these kernels for sm_90, in one module.
fn text_of<K: ToString>(kernels: &[K]) -> String {
    let entries: Vec<_> = EMBEDDED[1].entries().unwrap().collect();
    let named = |kernel: &K| {
        let name = kernel.to_string();
        entries.iter().find(|entry| entry.name() == name).expect("it is there").clone()
    };
    EMBEDDED[1].module_of(kernels.iter().map(named)).unwrap()
}

fn kernel(name: &str) -> Kernel {
    match EntryPoint::named(name) {
        Some(EntryPoint::Norm(kernel)) => kernel,
        _ => panic!("{name}: no kernel"),
    }
}

const ANY: &str = "vote.sync.any.pred";
const ALL: &str = "vote.sync.all.pred";

/// The second pass of LayerNorm if all rows of a warp need it: wrong where one of them does. But not in bf16: its squares
/// have 16 bits, so that those of a warp's row, near each other as they are where a second pass is needed, add up exactly.
#[test]
fn a_vote_of_all_rows_for_one_of_any_is_found_in_each_kernel_that_votes() {
    let votes = |kernel: &Kernel| {
        let of_warps = matches!(kernel.variant, Variant::Warp2 | Variant::Warp4);
        kernel.kind == NormKind::Layer && of_warps && kernel.x != DType::BF16
    };
    let voting: Vec<Kernel> = Kernel::all().filter(votes).collect();
    let text = text_of(&voting);
    assert_eq!(text.matches(ANY).count(), voting.len(), "each of them votes once");
    assert_eq!(failing(&text), [""; 0]);
    let found = failing(&text.replace(ANY, ALL));
    assert_eq!(found, voting.iter().map(Kernel::to_string).collect::<Vec<_>>());
}

#[test]
fn a_vote_of_all_rows_for_one_of_any_is_found_by_random_cases() {
    let (text, cases) = (shipped(), ["--cases", "240", "--seed", "2"]);
    let failure = |text: &str| {
        let run = check(text, &cases);
        let report: serde_json::Value = serde_json::from_str(&run.stdout).expect(&run.stderr);
        report["failure"].clone()
    };
    assert!(failure(&text).is_null());
    let failure = failure(&text.replace(ANY, ALL));
    let case = failure["case"].as_str().expect("it is found");
    assert!(case.contains("op=layer") && case.contains("data=mixed"), "{failure}");
}

/// A NaN that is lost at one of the places of a vector, on its way to the sum of squares: the other elements of its row
/// should be NaN, and are not. In LayerNorm of bf16 and f32 the mean tells of it all the same: in f64 a NaN there counts as
/// a number so large that squares about it are infinite.
#[test]
fn a_nan_that_is_lost_at_one_place_of_a_vector_is_found() {
    for name in [
        "rms_f16_f16_f16_warp2",
        "layer_f16_f16_f16_warp2",
        "rms_f16_f16_f16_block2",
        "rms_f16_f16_f16_block4",
        "layer_f16_f16_f16_block4",
        "rms_bf16_bf16_bf16_block2",
        "layer_f16_f16_f16_short4",
    ] {
        let text = text_of(&[kernel(name)]);
        assert_eq!(failing(&text), [""; 0]);
        let squares = squares(&text);
        assert!(!squares.is_empty() && squares.len().is_multiple_of(PLACES), "{name}: {}", squares.len());
        for place in 0..PLACES {
            let mut losing = text.clone();
            for square in squares.iter().skip(place).step_by(PLACES) {
                losing = losing.replace(&square.line, &square.without_nan());
            }
            assert_eq!(failing(&losing), [name], "place {place}");
        }
    }
}

/// Elements of a vector of 16 bits.
const PLACES: usize = 8;

/// The addition of an element's square.
struct Square {
    line: String,
    sum: String,
    element: String,
    onto: String,
}

impl Square {
    /// The same, with 0 instead of a NaN.
    fn without_nan(&self) -> String {
        let Square { sum, element, onto, .. } = self;
        format!(
            "\t{{ .reg .pred %is_nan; .reg .b32 %kept; setp.nan.f32 %is_nan, {element}, {element};\n\
             \tselp.b32 %kept, 0, {element}, %is_nan; fma.rn.f32 {sum}, %kept, %kept, {onto}; }}"
        )
    }
}

/// The squares of elements that a kernel adds up, vector by vector.
fn squares(text: &str) -> Vec<Square> {
    let square = |line: &str| {
        let operands = line.trim().strip_prefix("fma.rn.f32")?.trim().strip_suffix(';')?;
        let operands: Vec<&str> = operands.split(", ").collect();
        let &[sum, element, factor, onto] = &operands[..] else { return None };
        let [sum, element, onto] = [sum, element, onto].map(str::to_owned);
        (element == factor).then(|| Square { line: line.to_owned(), sum, element, onto })
    };
    text.lines().filter_map(square).collect()
}

/// Rounding to nearest is promised of 16 bits, and so is not passed by rounding towards 0, which is off by up to an ULP:
/// in each kernel with an output of 16 bits, but not where there is none.
#[test]
fn a_rounding_towards_0_is_found_in_each_kernel_that_rounds_to_16_bits() {
    let short =
        |kernel: &Kernel| matches!(kernel.variant, Variant::Warp2 | Variant::Block2 | Variant::Scalar);
    let kernels: Vec<Kernel> = Kernel::all().filter(short).collect();
    let text = text_of(&kernels);
    let narrow = ["f16x2", "bf16x2", "f16", "bf16"].map(|to| (format!("cvt.rn.{to}.f32"), to));
    let towards_0 =
        narrow.iter().fold(text, |text, (nearest, to)| text.replace(nearest, &format!("cvt.rz.{to}.f32")));
    let rounding: Vec<String> =
        kernels.iter().filter(|kernel| kernel.y != DType::F32).map(Kernel::to_string).collect();
    assert!(!rounding.is_empty() && rounding.len() < kernels.len());
    assert_eq!(failing(&towards_0), rounding);
}

/// What dense rows with weights, out of place, hide: each of these mistakes is found in one kernel.
#[test]
fn mistakes_that_show_with_gaps_in_place_or_without_weights_alone_are_found() {
    let mistakes = [
        // In place a kernel writes what it has loaded.
        ("rms_f16_f16_f16_warp2", "ld.global.v4", "ld.global.nc.v4"),
        ("layer_f16_f16_f16_short4", "ld.global.v4", "ld.global.nc.v4"),
        // The distance of rows of `y` along the first axis, in place of that along the second.
        ("rms_f16_f16_f16_block2", "_param_0+192]", "_param_0+232]"),
        // Absent weights count as 1.
        ("rms_f16_f16_f16_block2", "0x3c003c00", "0x3c013c01"),
    ];
    for (name, from, to) in mistakes {
        let text = text_of(&[kernel(name)]);
        assert!(text.contains(from), "{name}: {from}");
        assert_eq!(failing(&text), [""; 0]);
        assert_eq!(failing(&text.replace(from, to)), [name], "{from}");
    }
}

/// What the case by which a kernel is reached hides, since its rows end where they do, have no residual behind them, or have one
/// scale each: each of these mistakes is found by a case beside it.
#[test]
fn mistakes_that_the_first_case_of_a_kernel_hides_are_found() {
    let mistakes = [
        // The distance of rows of a residual behind the norm along the first axis, in place of that along the second.
        ("rms_f16_f16_f16_staged", "_param_0+200]", "_param_0+240]"),
        ("layer_f16_f16_f16_scalar", "_param_0+200]", "_param_0+240]"),
        // Absent weights beside biases count as 1.
        ("rms_f16_f16_f16_staged", ", 0x3c003c00;", ", 0x3c013c01;"),
        // Which of a row's blocks an element belongs to: of 64 elements, or of 128.
        ("rms_f16_f16_quant2_e4m3", ", 7, 6, ", ", 6, 7, "),
        // A head that all lanes of a warp share.
        ("rope_f16_f16_f16_halves_vector", ", 16, 31, -1;", ", 8, 31, -1;"),
    ];
    for (name, from, to) in mistakes {
        let text = text_of(&[name]);
        assert!(text.contains(from), "{name}: {from}");
        assert_eq!(failing(&text), [""; 0], "{name}");
        assert_eq!(failing(&text.replace(from, to)), [name], "{name}: {from}");
    }
}

/// What orders the ranks of a group: a flag that is released and acquired for the whole system, behind a barrier of the block; a
/// number for each call, of which the lowest bit says whose turn a buffer is; and the other ranks' parts in their order.
#[test]
fn mistakes_between_the_ranks_of_a_group_are_found() {
    let name = "all_reduce_f16_stream";
    let text = text_of(&[name]);
    assert_eq!(failing(&text), [""; 0]);
    let mistakes = [
        ("st.release.sys.", "st.relaxed.sys."),
        ("ld.acquire.sys.", "ld.relaxed.sys."),
        ("st.release.sys.", "st.release.gpu."),
        ("ld.acquire.sys.", "ld.acquire.gpu."),
        ("bar.sync", "// bar.sync"),
        // The number of completed calls, which the block counts.
        ("st.global.b32", "// st.global.b32"),
        ("griddepcontrol.wait", "// griddepcontrol.wait"),
    ];
    for (from, to) in mistakes {
        assert!(text.contains(from), "{from}");
        assert_eq!(failing(&text.replace(from, to)), [name], "{to}");
    }
    // The lowest bit of the call's number, which alone is taken of a register that is read from memory.
    let parities: Vec<&str> = text.lines().filter(|line| is_parity(line)).collect();
    assert!(!parities.is_empty());
    let one_buffer =
        parities.iter().fold(text.clone(), |text, line| text.replace(line, &line.replace(", 1;", ", 0;")));
    assert_eq!(failing(&one_buffer), [name], "one buffer for all calls");
}

/// The word that has a failure's number for ranks and hosts, and packets, where an access names one device as its scope.
#[test]
fn a_relaxed_access_of_one_device_between_ranks_is_found() {
    let text = text_of(&["all_reduce_f16_stream"]);
    let case =
        "op=rms over=rows shape=1x88 x=f16 y=f16 eps=0 data=normal seed=1 ranks=2 packets strays=absent sum";
    let failure = |text: &str| {
        let run = check(text, &["--case", case]);
        let report: serde_json::Value = serde_json::from_str(&run.stdout).expect(&run.stderr);
        report["failure"]["fault"].as_str().map(str::to_owned)
    };
    assert_eq!(failure(&text), None);
    for access in
        ["st.relaxed.sys.global.u32", "st.relaxed.sys.global.v2.b64", "ld.relaxed.sys.global.v2.b64"]
    {
        assert!(text.contains(access), "{access}");
        let fault = failure(&text.replace(access, &access.replace("sys", "gpu"))).expect(access);
        assert!(fault.contains("with no barrier between"), "{access}: {fault}");
    }
}

/// Whether a line takes the lowest bit of a number that is no rank's.
fn is_parity(line: &str) -> bool {
    line.trim().starts_with("and.b32") && line.ends_with(", 1;") && !line.contains("%masked")
}

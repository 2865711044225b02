//! Every pseudo-instruction, run by the simulator in a template written by hand, against conversions on the host.

use half::{bf16, f16};
use norm_host::ptx::specialize::specialize;
use norm_host::quantize::{Factor, Formula, decode_e4m3};
use norm_host::{
    Activation, DType, EpilogueRounding, Gating, NormKind, QuantFormat, QuantRecipe, RopeRounding, Rounding,
};
use norm_kernels::abi::{
    Addition, EntryPoint, GatedKernel, GroupKernel, Kernel, QuantKernel, QuantVariant, RopeKernel,
    ShardKernel, Template,
};
use norm_testing::template::{self, RESULTS, VALUES, result};
use proptest::prelude::*;
use ptx_sim::{Launch, Memory, Module};

/// What codes there are, by whose formulas.
const QUANTIZED: [(QuantFormat, QuantRecipe); 7] = [
    (QuantFormat::E4m3, QuantRecipe::Exact),
    (QuantFormat::E4m3, QuantRecipe::VllmStatic),
    (QuantFormat::E4m3, QuantRecipe::VllmDynamic),
    (QuantFormat::E4m3, QuantRecipe::FlashInferStatic),
    (QuantFormat::E4m3, QuantRecipe::FlashInferBlock),
    (QuantFormat::Int8, QuantRecipe::Exact),
    (QuantFormat::Int8, QuantRecipe::VllmDynamic),
];

const TARGETS: [(&str, (u32, u32)); 2] = [("sm_80", (8, 0)), ("sm_90", (9, 0))];

/// What threads read: a word each, and [`VALUES`] numbers.
struct Inputs {
    words: Vec<u32>,
    values: Vec<f32>,
}

/// What threads wrote.
fn run(entry: EntryPoint, (target, capability): (&str, (u32, u32)), inputs: &Inputs) -> Vec<[u32; RESULTS]> {
    let template = template::entry(entry.template());
    let kernel = specialize(&template, entry, capability).unwrap_or_else(|error| panic!("{error}"));
    let module =
        Module::parse(template::header(target) + &kernel).unwrap_or_else(|error| panic!("{entry}: {error}"));
    let kernel = module.kernel(&entry.to_string()).unwrap_or_else(|error| panic!("{entry}: {error}"));

    let mut memory = Memory::new();
    let words: Vec<u8> = inputs.words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let values: Vec<u8> = inputs.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let words_at = memory.upload_read_only("words", &words);
    let values_at = memory.upload_read_only("values", &values);
    let results_at = memory.upload("results", &vec![0; inputs.words.len() * RESULTS * 4]);
    let threads = inputs.words.len() as u32;
    let block = threads.min(512);
    assert_eq!(threads % block, 0);
    Launch::new(&kernel)
        .grid([threads / block, 1, 1])
        .block([block, 1, 1])
        .arg(words_at)
        .arg(values_at)
        .arg(results_at)
        .run(&mut memory)
        .unwrap_or_else(|error| panic!("{entry}: {error}"));

    let results = memory.read(results_at, (inputs.words.len() * RESULTS * 4) as u64).unwrap();
    let of_thread =
        |words: &[u8]| std::array::from_fn(|at| u32::from_le_bytes(words[4 * at..][..4].try_into().unwrap()));
    results.chunks_exact(RESULTS * 4).map(of_thread).collect()
}

/// An element's bits as f32.
fn to_f32(dtype: DType, bits: u32) -> f32 {
    match dtype {
        DType::F16 => f16::from_bits(bits as u16).to_f32(),
        DType::BF16 => bf16::from_bits(bits as u16).to_f32(),
        DType::F32 => f32::from_bits(bits),
    }
}

/// Rounded to nearest even.
fn from_f32(dtype: DType, value: f32) -> u32 {
    match dtype {
        DType::F16 => f16::from_f32(value).to_bits().into(),
        DType::BF16 => bf16::from_f32(value).to_bits().into(),
        DType::F32 => value.to_bits(),
    }
}

/// Rounded to a type and back.
fn round(dtype: DType, value: f32) -> f32 {
    to_f32(dtype, from_f32(dtype, value))
}

/// The bits are those, or both are NaN, of which there are many. What they are is written only of those that differ: it takes
/// longer than all else here.
#[track_caller]
fn same_element(dtype: DType, given: u32, expected: u32, what: impl FnOnce() -> String) {
    let is_nan = |bits| to_f32(dtype, bits).is_nan();
    let same = given == expected || is_nan(given) && is_nan(expected);
    assert!(same, "{}: {given:#x}, expected {expected:#x}", what());
}

fn halves(word: u32) -> [u32; 2] {
    [word & 0xffff, word >> 16]
}

/// What a kernel is made for.
#[derive(Clone, Copy)]
struct Made {
    entry: EntryPoint,
    types: [DType; 3],
    addition: Addition,
    gating: Option<Gating>,
    epilogue: EpilogueRounding,
}

impl Made {
    fn of(entry: EntryPoint) -> Made {
        let (types, epilogue) = match entry {
            EntryPoint::Norm(Kernel { x, w, y, epilogue, .. })
            | EntryPoint::Shard(ShardKernel::Apply { x, w, y, epilogue, .. }) => ([x, w, y], epilogue),
            EntryPoint::Shard(ShardKernel::Partial { x, .. }) | EntryPoint::Quant(QuantKernel { x, .. }) => {
                ([x; 3], EpilogueRounding::SINGLE)
            }
            EntryPoint::Gated(GatedKernel { x, w, epilogue, .. })
            | EntryPoint::Group(GroupKernel { x, w, epilogue, .. }) => ([x, w, x], epilogue),
            // What is done to weights is checked apart.
            EntryPoint::Rope(kernel) => {
                let order = kernel.norm_rounding();
                ([kernel.x, DType::F32, kernel.x], EpilogueRounding { order, offset: false })
            }
        };
        let addition = match entry {
            EntryPoint::Norm(Kernel { addition, .. }) => addition,
            EntryPoint::Shard(_)
            | EntryPoint::Gated(_)
            | EntryPoint::Quant(_)
            | EntryPoint::Rope(_)
            | EntryPoint::Group(_) => Addition::PLAIN,
        };
        let gating = match entry {
            EntryPoint::Gated(GatedKernel { gating, .. }) => Some(gating),
            EntryPoint::Norm(_)
            | EntryPoint::Quant(_)
            | EntryPoint::Shard(_)
            | EntryPoint::Rope(_)
            | EntryPoint::Group(_) => None,
        };
        Made { entry, types, addition, gating, epilogue }
    }

    /// Holds all that it wrote to what the host computes of its inputs.
    fn check(self, inputs: &Inputs, results: &[[u32; RESULTS]]) {
        for (thread, (&word, given)) in inputs.words.iter().zip(results).enumerate() {
            let values: [f32; VALUES] = inputs.values[thread * VALUES..][..VALUES].try_into().unwrap();
            let what =
                |operation: &str| format!("{}, {operation} of {word:#010x} and {values:?}", self.entry);
            self.check_inputs(thread, word, values, given, what);
            if let EntryPoint::Quant(kernel) = self.entry {
                check_quantized(kernel, word, values, given, what);
            }
            if !matches!(self.entry.template(), Template::Partial { .. } | Template::Quant { .. }) {
                self.check_outputs(word, values, given, what);
            }
            if let Some(gating) = self.gating {
                self.check_gate(gating, values, given, what);
            }
            if let EntryPoint::Rope(kernel) = self.entry {
                check_rope(kernel, values, given, what);
            }
        }
    }

    /// What is done to x.
    fn check_inputs(
        self,
        thread: usize,
        word: u32,
        values: [f32; VALUES],
        given: &[u32; RESULTS],
        what: impl Fn(&str) -> String,
    ) {
        let [x, _, y] = self.types;
        if x == DType::F32 {
            return;
        }
        let mut sum = 0.0;
        for (at, bits) in halves(word).into_iter().enumerate() {
            let exact = to_f32(x, bits);
            same_element(DType::F32, given[result::UNPACK_X + at], exact.to_bits(), || what("unpack.x"));
            same_element(x, halves(given[result::PACK_X])[at], from_f32(x, values[at]), || what("pack.x"));
            let clamped = if x == DType::F16 { exact.clamp(-65504.0, 65504.0) } else { exact };
            same_element(x, halves(given[result::CLAMP])[at], from_f32(x, clamped), || what("clamp.x"));
            sum += f64::from(exact);
        }
        let mean = (2.0 * sum) as f32;
        if mean.is_finite() {
            for at in [result::MEAN, result::MEAN + 1, result::MOMENTS, result::MOMENTS + 1] {
                assert_eq!(f32::from_bits(given[at]), mean, "{}", what("mean and moments"));
            }
        }
        let narrow = matches!(self.entry.template(), Template::Partial { .. }) || y.size() == 2;
        let stores = if x == DType::F16 { if narrow { 4 } else { 2 } } else { 0 };
        let clamped = [given[result::CLAMP], word, given[result::CLAMP], word];
        for at in 0..4 {
            let expected = if at < stores { clamped[at] } else { thread as u32 };
            assert_eq!(given[result::ST_CLAMPED + at], expected, "{}", what("st_clamped.x"));
        }
    }

    /// What is done to the weights, to y, and on the way to it.
    fn check_outputs(
        self,
        word: u32,
        values: [f32; VALUES],
        given: &[u32; RESULTS],
        what: impl Fn(&str) -> String,
    ) {
        let [x, w, y] = self.types;
        let EpilogueRounding { order, offset } = self.epilogue;
        let normalized = match order {
            Rounding::Single | Rounding::BeforeBias => DType::F32,
            Rounding::BeforeWeight => x,
            Rounding::T5 => w,
        };
        let weight = if offset { w } else { DType::F32 };
        for (at, bits) in halves(word).into_iter().enumerate() {
            for (role, dtype, unpacked, packed) in
                [("w", w, result::UNPACK_W, result::PACK_W), ("y", y, result::UNPACK_Y, result::PACK_Y)]
            {
                if dtype != DType::F32 {
                    let exact = to_f32(dtype, bits).to_bits();
                    same_element(DType::F32, given[unpacked + at], exact, || what(&format!("unpack.{role}")));
                    let expected = from_f32(dtype, values[at]);
                    same_element(dtype, halves(given[packed])[at], expected, || {
                        what(&format!("pack.{role}"))
                    });
                }
            }
            if w != DType::F32 {
                assert_eq!(to_f32(w, halves(given[result::ONES])[at]), 1.0, "{}", what("ones.w"));
            }
            for (role, dtype, rounded) in [("n", normalized, result::ROUND_N), ("w", weight, result::ROUND_W)]
            {
                let expected = round(dtype, values[at]).to_bits();
                same_element(DType::F32, given[rounded + at], expected, || what(&format!("round.{role}")));
            }
            let [n, w, b] = [values[at], values[2 + at], values[4 + at]];
            let rounds = order == Rounding::BeforeBias && y != DType::F32;
            let expected = if rounds { round(y, n * w) + b } else { n.mul_add(w, b) };
            same_element(DType::F32, given[result::AFFINE_Y + at], expected.to_bits(), || what("affine.y"));
        }
        self.check_additions(values, given, what);
    }

    /// What is done with a residual.
    fn check_additions(self, values: [f32; VALUES], given: &[u32; RESULTS], what: impl Fn(&str) -> String) {
        let [x, _, y] = self.types;
        let Addition { wide, scaled } = self.addition;
        // An element of x has its type; what is rounded beside it is where the kernel is scaled.
        let unless_single = |dtype| if self.epilogue.order == Rounding::Single { DType::F32 } else { dtype };
        let [x, y] = [x, y].map(unless_single);
        let sum_of_x = if wide { DType::F32 } else { x };
        let [branch, scale] = [values[2], values[3]];
        for (role, first, product, sum, results) in [
            ("x", DType::F32, x, sum_of_x, result::ADD_X),
            ("y", y, y, y, result::ADD_Y),
            ("n", x, x, x, result::ADD_N),
        ] {
            for at in 0..2 {
                let (a, r) = (round(first, values[at]), values[4 + at]);
                let expected =
                    if scaled { round(sum, round(product, a * branch) + r) * scale } else { a + r };
                let what = || what(&format!("add.{role}"));
                same_element(DType::F32, given[results + at], expected.to_bits(), what);
            }
        }
        // What no kernel uses that is not scaled is no load.
        let loaded = if scaled { values[0] } else { branch };
        let scales = [loaded, branch].map(f32::to_bits);
        assert_eq!(given[result::LD_SCALE..][..2], scales, "{}", what("ld_scale.x"));
    }
}

impl Made {
    /// What a gate does.
    fn check_gate(
        self,
        gating: Gating,
        values: [f32; VALUES],
        given: &[u32; RESULTS],
        what: impl Fn(&str) -> String,
    ) {
        let [_, _, y] = self.types;
        let rounded = if self.epilogue.order == Rounding::Single { DType::F32 } else { y };
        for at in 0..2 {
            let [value, g] = [values[at], values[2 + at]];
            let expected = activate(gating.activation, g).to_bits();
            same_element(DType::F32, given[result::ACTIVATE + at], expected, || what("activate.x"));
            let first = gating.gates_first();
            let in_front = if first { value * g } else { value };
            same_element(DType::F32, given[result::GATE_X + at], in_front.to_bits(), || what("gate.x"));
            let behind = if first { value } else { round(rounded, value) * g };
            same_element(DType::F32, given[result::GATE_Y + at], behind.to_bits(), || what("gate.y"));
            assert_eq!(given[result::GATES_FIRST], u32::from(first), "{}", what("gates_first.x"));
        }
    }
}

/// As the instructions have it, the approximate ones rounded to nearest: subnormal numbers count as 0 there.
fn activate(activation: Activation, g: f32) -> f32 {
    let flush = |value: f32| if value.is_subnormal() { 0.0_f32.copysign(value) } else { value };
    let power = f64::from(flush(g * f32::from_bits(0xBFB8_AA3B))).exp2() as f32;
    let sigmoid = flush((1.0 / f64::from(flush(power) + 1.0)) as f32);
    if activation == Activation::Silu { sigmoid * g } else { sigmoid }
}

/// What is done between norm and rotation, in the rotation, and to weights and tables.
fn check_rope(
    RopeKernel { x, w, table, rounding, rms_only, short, .. }: RopeKernel,
    values: [f32; VALUES],
    given: &[u32; RESULTS],
    what: impl Fn(&str) -> String,
) {
    assert_eq!(given[result::GENERAL], if rms_only { 0 } else { u32::MAX }, "{}", what("general.p"));
    assert_eq!(given[result::SHORT], if short { u32::MAX } else { 0 }, "{}", what("short.p"));
    let unless = |is_not: bool| if is_not { DType::F32 } else { x };
    for (role, dtype, at) in [
        ("m", unless(rounding == RopeRounding::Single), result::ROUND_M),
        ("p", unless(rounding != RopeRounding::Products), result::ROUND_P),
    ] {
        for (value, given) in values.iter().zip(&given[at..][..2]) {
            let expected = round(dtype, *value).to_bits();
            same_element(DType::F32, *given, expected, || what(&format!("round.{role}")));
        }
    }
    for (role, dtype, absent, at) in [("w", w, 1.0, result::LD_W), ("t", table, f32::NAN, result::LD_T)] {
        // The first two elements at the address of the thread's values.
        let elements = match dtype {
            DType::F32 => [values[0], values[1]],
            DType::F16 | DType::BF16 => halves(values[0].to_bits()).map(|bits| to_f32(dtype, bits)),
        };
        for (place, expected) in [elements[1], elements[0], elements[1], absent].into_iter().enumerate() {
            let what = || what(&format!("ld.{role}, result {place}"));
            same_element(DType::F32, given[at + place], expected.to_bits(), what);
        }
    }
    let [a, b, cos, sin, ..] = values;
    let product = |value: f32, factor: f32| round(x, value * factor);
    let turned = match rounding {
        RopeRounding::Products if x != DType::F32 => {
            [product(a, cos) - product(b, sin), product(b, cos) + product(a, sin)]
        }
        _ => [a.mul_add(cos, -(b * sin)), b.mul_add(cos, a * sin)],
    };
    for (at, expected) in turned.into_iter().enumerate() {
        same_element(DType::F32, given[result::TURN_P + at], expected.to_bits(), || what("turn.p"));
    }
}

/// What a kernel does that quantizes.
fn check_quantized(
    QuantKernel { x, w, format, recipe, .. }: QuantKernel,
    word: u32,
    values: [f32; VALUES],
    given: &[u32; RESULTS],
    what: impl Fn(&str) -> String,
) {
    let [a, b, scale, magnitude, max, _] = values;
    let as_value = |value: f32| if recipe.rounds_value() { round(x, value) } else { value };
    let clamps = recipe.clamps() && x == DType::F16;
    for (at, value) in [a, b].into_iter().enumerate() {
        let sum = if recipe.rounds_sum() { round(x, value) } else { value };
        let sum = if clamps { sum.clamp(-65504.0, 65504.0) } else { sum };
        same_element(DType::F32, given[result::SUM_X + at], sum.to_bits(), || what("sum.x"));
        let value = as_value(value);
        same_element(DType::F32, given[result::VALUE_V + at], value.to_bits(), || what("value.v"));
        // No scale is so small or so large, nor is a value beside it.
        let usual = |number: f32| number == 0.0 || (1e-18..1e18).contains(&number.abs());
        if usual(value) && usual(scale) && scale != 0.0 {
            let expected = if recipe.divides(format) { value / scale } else { value * (1.0 / scale) };
            same_element(DType::F32, given[result::QUOTIENT + at], expected.to_bits(), || what("quotient.q"));
            let reciprocal = f32::from_bits(given[result::RECIPROCAL]);
            let exact = if recipe == QuantRecipe::FlashInferBlock { max / magnitude } else { 1.0 / scale };
            let is_near = (reciprocal - exact).abs() <= exact.abs() * f32::EPSILON;
            let is_exact = reciprocal.to_bits() == exact.to_bits() || reciprocal.is_nan() && exact.is_nan();
            assert!(is_exact || recipe == QuantRecipe::Exact && is_near, "{}", what("reciprocal.q"));
        }
    }
    let counts = format == QuantFormat::Int8 && recipe.keeps_nan();
    let has_range = recipe.divides(format) || counts;
    assert_eq!(given[result::HAS_RANGE], u32::from(has_range), "{}", what("has_range.q"));
    for (at, value) in [a, b].map(|value| round(x, value)).into_iter().enumerate() {
        let is_in_range = (1e-18..1e18).contains(&scale) && (value / scale).abs() <= format.max();
        // A value so small has a quotient that is rounded to the code of 0.
        if is_in_range && (value == 0.0 || value.abs() > 1e-18) {
            let expected = if recipe.divides(format) { value / scale } else { value * (1.0 / scale) };
            let what = || what("quotient_in_range.q");
            same_element(DType::F32, given[result::QUOTIENT_IN_RANGE + at], expected.to_bits(), what);
        }
    }
    if !counts || [a, b, scale, magnitude].iter().all(|value| value.abs() < 127.5) {
        assert_eq!(given[result::CODES_IN_RANGE], given[result::CODES], "{}", what("codes_in_range.q"));
    }
    let larger = |one: f32, other: f32| {
        let [one, other] = [one, other].map(|value| as_value(value).abs());
        let keeps = recipe.keeps_nan() && (one.is_nan() || other.is_nan());
        if keeps { f32::NAN } else { one.max(other) }
    };
    for (at, expected) in [larger(a, scale), larger(b, magnitude)].into_iter().enumerate() {
        // Of either sign.
        let magnitude = given[result::LARGER + at] & 0x7fff_ffff;
        same_element(DType::F32, magnitude, expected.to_bits(), || what("larger.q"));
    }
    // Two NaNs that are left out leave 0.
    let largest = if recipe.keeps_nan() { larger(a, b) } else { larger(a, b).max(0.0) };
    same_element(DType::F32, given[result::LARGEST], largest.to_bits(), || what("largest.q"));
    if w != DType::F32 {
        for (at, (value, weight)) in [a, b].into_iter().zip(halves(word)).enumerate() {
            let normalized = if recipe.rounds_before_weight() { round(x, value) } else { value };
            let expected = as_value(normalized * to_f32(w, weight));
            same_element(DType::F32, given[result::WEIGH_W + at], expected.to_bits(), || what("weigh.w"));
        }
    }
    let formula = Formula::new(format, recipe);
    let codes = [a, b, scale, magnitude].map(|value| formula.code(value, Factor::Multiply(1.0)));
    assert_eq!(given[result::CODES].to_le_bytes(), codes, "{}", what("codes.q"));
}

/// Each number of E4M3, half the way to the next, and what is next to that on either side; and what lies beyond.
fn to_quantize() -> Vec<f32> {
    let around = |code: u8| {
        let (exact, next) = (decode_e4m3(code), decode_e4m3(code + 1));
        let middle = (exact + if next.is_nan() { 480.0 } else { next }) / 2.0;
        let bits = middle.to_bits();
        [exact, middle, f32::from_bits(bits - 1), f32::from_bits(bits + 1)]
    };
    let beyond = [0.0, f32::MIN_POSITIVE, 1e-40, 449.0, 1e30, f32::INFINITY, f32::NAN, 127.5];
    let positive = (0..0x7f).flat_map(around).chain(beyond).chain((0..260).map(|half| half as f32 / 2.0));
    positive.flat_map(|value| [value, -value]).collect()
}

#[test]
fn every_number_of_e4m3_and_its_neighbours_have_their_codes() {
    let mut values = to_quantize();
    values.resize(values.len().next_multiple_of(4 * 64), 0.0);
    let values: Vec<f32> =
        values.chunks(4).flat_map(|four| [four[0], four[1], four[2], four[3], 448.0, 0.0]).collect();
    let inputs = Inputs { words: vec![0; values.len() / VALUES], values };
    for (target, kernel) in
        TARGETS.into_iter().flat_map(|target| QuantKernel::every().map(move |kernel| (target, kernel)))
    {
        let is_one_of_its_form =
            kernel.x == DType::F16 && kernel.w == DType::F16 && kernel.kind == NormKind::Rms;
        if is_one_of_its_form && kernel.variant == QuantVariant::Scalar {
            let made = Made::of(EntryPoint::Quant(kernel));
            made.check(&inputs, &run(made.entry, target, &inputs));
        }
    }
}

/// Values that a 16-bit type has to round: for each of its numbers that number, half the way to the next, and what is
/// next to that on either side. Infinities, NaN and subnormal numbers are among them.
fn to_round(dtype: DType) -> Vec<f32> {
    let around = |bits: u32| {
        let exact = to_f32(dtype, bits);
        // In f64, and with what would be the next number where there is none.
        let next = match to_f32(dtype, bits + 1) {
            next if next.is_finite() => f64::from(next),
            _ => 2.0 * f64::from(exact) - f64::from(to_f32(dtype, bits.saturating_sub(1))),
        };
        let middle = ((f64::from(exact) + next) / 2.0) as f32;
        [
            exact,
            middle,
            f32::from_bits(middle.to_bits().wrapping_sub(1)),
            f32::from_bits(middle.to_bits() + 1),
        ]
    };
    (0..1 << 16).flat_map(around).collect()
}

/// Words whose halves are `2 i` and `2 i + 1`, which are each number of a 16-bit type once, as often as there are pairs
/// of values.
fn all_halves(threads: usize) -> Vec<u32> {
    let pairs = (0..1 << 15).map(|pair: u32| (2 * pair) | ((2 * pair + 1) << 16));
    pairs.cycle().take(threads).collect()
}

fn named(name: &str) -> EntryPoint {
    EntryPoint::named(name).unwrap()
}

#[test]
fn every_number_of_the_16_bit_types_is_converted_exactly_and_rounded_to_nearest_even() {
    for target in TARGETS {
        for (name, dtype) in [
            ("rms_f16_f16_f16_block4_before_weight_round_offset", DType::F16),
            ("rms_bf16_bf16_bf16_block4_before_bias", DType::BF16),
            // Nothing is multiplied but by 1, or added but -0.
            ("rms_f16_f16_f16_sandwich4_scaled_before_weight", DType::F16),
            ("layer_bf16_bf16_bf16_add4_scaled_before_bias", DType::BF16),
        ] {
            // Two to round a thread, with weights and biases that change nothing.
            let values: Vec<f32> =
                to_round(dtype).chunks(2).flat_map(|pair| [pair[0], pair[1], 1.0, 1.0, -0.0, -0.0]).collect();
            let inputs = Inputs { words: all_halves(values.len() / VALUES), values };
            let made = Made::of(named(name));
            made.check(&inputs, &run(made.entry, target, &inputs));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every kernel by random bits, in one order of roundings after the other.
    #[test]
    fn every_entry_point_converts_by_its_types(
        words in proptest::collection::vec(any::<u32>(), 64),
        values in proptest::collection::vec(any::<u32>().prop_map(f32::from_bits), 64 * VALUES),
        first in 0..EpilogueRounding::COUNT,
    ) {
        let inputs = Inputs { words, values };
        let epilogues = EpilogueRounding::all().cycle().skip(first);
        for (index, (entry, epilogue)) in EntryPoint::all().zip(epilogues).enumerate() {
            let scaled = entry.scaled().filter(|_| (index / 3 + first).is_multiple_of(2));
            let gated = entry.gated(Gating::ALL[(index / 5 + first) % Gating::ALL.len()]);
            let (format, recipe) = QUANTIZED[(index + first) % QUANTIZED.len()];
            let quantizing = entry.quantizing(format, recipe);
            let mut entry = scaled.or(gated).or(quantizing).unwrap_or(entry).with_epilogue(epilogue);
            if let EntryPoint::Rope(kernel) = &mut entry {
                kernel.rounding = RopeRounding::ALL[(index + first) % RopeRounding::ALL.len()];
            }
            let made = Made::of(entry);
            for target in TARGETS {
                made.check(&inputs, &run(made.entry, target, &inputs));
            }
        }
    }
}

/// What `quotient_in_range` rests on. The significands of f16, with divisors whose significands are powers of two, one next to
/// them, a few bits in a row, and drawn ones: 2.4 million quotients. All 2^33 pairs have been tried once.
#[test]
fn a_quotient_of_eleven_bits_needs_one_correction() {
    let mut state = 1_u32;
    let drawn = std::iter::repeat_with(|| {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        state >> 9
    });
    let runs = (0..23).flat_map(|from| (from..23).map(move |to| (1 << (to + 1)) - (1 << from)));
    let near = (0..23).flat_map(|bit| [1 << bit, (1 << bit) + 1, (1 << bit) - 1, (1 << 23) - (1 << bit)]);
    for bits in runs.chain(near).map(|bits: u32| bits & 0x7f_ffff).chain(drawn.take(2_000)) {
        let divisor = f32::from_bits(0x3f80_0000 | bits);
        let reciprocal = 1.0 / divisor;
        for significand in 0..1024 {
            let value = f32::from_bits(0x3f80_0000 | significand << 13);
            let near = value * reciprocal;
            let rest = divisor.mul_add(near, -value);
            assert_eq!(rest.mul_add(-reciprocal, near), value / divisor, "{value} / {divisor}");
        }
    }
}

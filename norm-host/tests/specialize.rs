//! Every pseudo-instruction, run by the simulator in a template written by hand, against conversions on the host.

#[path = "common/template.rs"]
mod template;

use half::{bf16, f16};
use norm_host::DType;
use norm_host::ptx::specialize::specialize;
use norm_kernels::abi::{EntryPoint, Template};
use proptest::prelude::*;
use ptx_sim::{Launch, Memory, Module};
use template::{RESULTS, VALUES, result};

const TARGETS: [(&str, (u32, u32)); 2] = [("sm_80", (8, 0)), ("sm_90", (9, 0))];

/// What threads read.
struct Inputs {
    words: Vec<u32>,
    values: Vec<f32>,
    /// Elements of y, as the kernel reads them one by one.
    y: Vec<u8>,
    /// And a vector at a time.
    y_vectors: Vec<u8>,
}

/// What they wrote, laid out likewise.
struct Outputs {
    results: Vec<[u32; RESULTS]>,
    y: Vec<u8>,
    y_vectors: Vec<u8>,
}

fn run(entry: EntryPoint, (target, capability): (&str, (u32, u32)), inputs: &Inputs) -> Outputs {
    let template = template::entry(entry.template());
    let kernel = specialize(&template, entry, capability).unwrap_or_else(|error| panic!("{error}"));
    let module =
        Module::parse(template::header(target) + &kernel).unwrap_or_else(|error| panic!("{entry}: {error}"));
    let kernel = module.kernel(&entry.to_string()).unwrap_or_else(|error| panic!("{entry}: {error}"));

    let mut memory = Memory::new();
    let words: Vec<u8> = inputs.words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let values: Vec<u8> = inputs.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let behind = inputs.y.len().next_multiple_of(16);
    let y = [&inputs.y[..], &vec![0; behind - inputs.y.len()], &inputs.y_vectors].concat();
    let words_at = memory.upload_read_only("words", &words);
    let values_at = memory.upload_read_only("values", &values);
    let read_at = memory.upload_read_only("y read", &y);
    let written_at = memory.upload("y written", &vec![0; y.len()]);
    let results_at = memory.upload("results", &vec![0; inputs.words.len() * RESULTS * 4]);
    let threads = inputs.words.len() as u32;
    let block = threads.min(512);
    assert_eq!(threads % block, 0);
    Launch::new(&kernel)
        .grid([threads / block, 1, 1])
        .block([block, 1, 1])
        .arg(words_at)
        .arg(values_at)
        .arg(read_at)
        .arg(written_at)
        .arg(results_at)
        .arg(behind as u64)
        .run(&mut memory)
        .unwrap_or_else(|error| panic!("{entry}: {error}"));

    let read = |at, bytes: usize| memory.read(at, bytes as u64).unwrap();
    let results = read(results_at, inputs.words.len() * RESULTS * 4);
    let results = results.chunks_exact(RESULTS * 4).map(|of_thread| {
        std::array::from_fn(|at| u32::from_le_bytes(of_thread[4 * at..][..4].try_into().unwrap()))
    });
    let results = results.collect();
    let y = read(written_at, y.len());
    Outputs { results, y: y[..inputs.y.len()].to_vec(), y_vectors: y[behind..].to_vec() }
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

/// The bits are those, or both are NaN, of which there are many.
#[track_caller]
fn same_element(dtype: DType, given: u32, expected: u32, what: &str) {
    let (a, b) = (to_f32(dtype, given), to_f32(dtype, expected));
    assert!(given == expected || a.is_nan() && b.is_nan(), "{what}: {given:#x}, expected {expected:#x}");
}

fn halves(word: u32) -> [u32; 2] {
    [word & 0xffff, word >> 16]
}

/// The numbers that a word of results or y of that type holds.
fn elements(dtype: DType, bytes: &[u8]) -> Vec<u32> {
    match dtype {
        DType::F32 => {
            bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
        }
        _ => bytes.chunks_exact(2).map(|half| u16::from_le_bytes(half.try_into().unwrap()).into()).collect(),
    }
}

/// Holds all that a kernel wrote to what the host computes of its inputs.
fn check(entry: EntryPoint, [x, w, y]: [DType; 3], inputs: &Inputs, outputs: &Outputs) {
    let (has_w, width) = match entry.template() {
        Template::Norm { w, width, .. } | Template::Apply { w, width, .. } => (w == 16, Some(width as usize)),
        Template::Partial { .. } => (false, None),
    };
    for (thread, (&word, given)) in inputs.words.iter().zip(&outputs.results).enumerate() {
        let values = &inputs.values[thread * VALUES..][..VALUES];
        let what = |operation: &str| format!("{entry}, {operation} of {word:#010x} and {values:?}");
        if x != DType::F32 {
            for (at, bits) in halves(word).into_iter().enumerate() {
                let exact = to_f32(x, bits);
                same_element(DType::F32, given[result::UNPACK_X + at], exact.to_bits(), &what("unpack.x"));
                let packed = halves(given[result::PACK_X])[at];
                same_element(x, packed, from_f32(x, values[at]), &what("pack.x"));
                let clamped = if x == DType::F16 { exact.clamp(-65504.0, 65504.0) } else { exact };
                let given_clamped = halves(given[result::CLAMP])[at];
                same_element(x, given_clamped, from_f32(x, clamped), &what("clamp.x"));
                let unit = u64::from(given[result::UNIT]) | u64::from(given[result::UNIT + 1]) << 32;
                let wide = f64::from_bits(u64::from(given[result::WIDEN + at]) << 32) * f64::from_bits(unit);
                assert!(wide.is_finite(), "{}", what("widen.x"));
                if exact.is_finite() {
                    assert_eq!(wide.to_bits(), f64::from(exact).to_bits(), "{}", what("widen.x"));
                }
            }
            let stored = &given[result::ST_CLAMPED..][..4];
            let stores = if x == DType::F16 { if width == Some(4) { 2 } else { 4 } } else { 0 };
            let clamped = [given[result::CLAMP], word, given[result::CLAMP], word];
            for at in 0..4 {
                let expected = if at < stores { clamped[at] } else { thread as u32 };
                assert_eq!(stored[at], expected, "{}", what("st_clamped.x"));
            }
        }
        if has_w {
            for (at, bits) in halves(word).into_iter().enumerate() {
                let exact = to_f32(w, bits).to_bits();
                same_element(DType::F32, given[result::UNPACK_W + at], exact, &what("unpack.w"));
                let packed = halves(given[result::PACK_W])[at];
                same_element(w, packed, from_f32(w, values[at]), &what("pack.w"));
                assert_eq!(to_f32(w, halves(given[result::ONES])[at]), 1.0, "{}", what("ones.w"));
            }
        }
        if width.is_some() {
            for at in [result::BYTES, result::OFFSET] {
                let bytes = u64::from(given[at]) | u64::from(given[at + 1]) << 32;
                assert_eq!(bytes, (thread * y.size()) as u64, "{}", what("bytes.y and offset.y"));
            }
        }
    }
    let Some(width) = width else { return };
    let [read, written] = [&inputs.y, &outputs.y].map(|y_bytes| elements(y, y_bytes));
    let [read_vectors, written_vectors] =
        [&inputs.y_vectors, &outputs.y_vectors].map(|bytes| elements(y, bytes));
    for (thread, given) in outputs.results.iter().enumerate() {
        let values = &inputs.values[thread * VALUES..][..VALUES];
        let exact = |bits: u32| to_f32(y, bits).to_bits();
        same_element(DType::F32, given[result::LD], exact(read[thread]), &format!("{entry}, ld.y"));
        let what = format!("{entry}, st.y of {}", values[0]);
        same_element(y, written[thread], from_f32(y, values[0]), &what);
        for at in 0..width {
            let (loaded, wanted) = (given[result::LD_VECTOR + at], read_vectors[thread * width + at]);
            same_element(DType::F32, loaded, exact(wanted), &format!("{entry}, ld.y.v{width}"));
            assert_eq!(given[result::LD_NOTHING + at], 0, "{entry}, ld.y.v{width}");
            let what = format!("{entry}, st.y.v{width} of {}", values[at]);
            same_element(y, written_vectors[thread * width + at], from_f32(y, values[at]), &what);
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

/// All words whose halves are `2 i` and `2 i + 1`: each number of a 16-bit type once.
fn all_halves() -> Vec<u32> {
    (0..1 << 15).map(|pair: u32| (2 * pair) | ((2 * pair + 1) << 16)).collect()
}

fn types(entry: EntryPoint) -> [DType; 3] {
    use norm_kernels::abi::{Kernel, ShardKernel};
    match entry {
        EntryPoint::Norm(Kernel { x, w, y, .. }) => [x, w, y],
        EntryPoint::Shard(ShardKernel::Partial { x, .. }) => [x; 3],
        EntryPoint::Shard(ShardKernel::Apply { x, w, y, .. }) => [x, w, y],
    }
}

fn named(name: &str) -> EntryPoint {
    EntryPoint::all().find(|entry| entry.to_string() == name).unwrap()
}

#[test]
fn every_number_of_the_16_bit_types_is_converted_exactly_and_rounded_to_nearest_even() {
    for target in TARGETS {
        for (name, dtype) in
            [("rms_f16_f16_f16_block4", DType::F16), ("rms_bf16_bf16_bf16_block4", DType::BF16)]
        {
            let words = all_halves();
            let y: Vec<u8> = words.iter().map(|&word| word as u16).flat_map(u16::to_le_bytes).collect();
            // Each number in each place of a vector.
            let vectors = (0..words.len() as u32).flat_map(|thread| (0..8).map(move |at| thread * 2 + at));
            let y_vectors = vectors.map(|number| number as u16).flat_map(u16::to_le_bytes).collect();
            let inputs = Inputs { words, values: to_round(dtype), y, y_vectors };
            let entry = named(name);
            check(entry, types(entry), &inputs, &run(entry, target, &inputs));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    /// Of each template one entry point for each types, by random bits.
    #[test]
    fn every_entry_point_converts_by_its_types(
        words in proptest::collection::vec(any::<u32>(), 64),
        values in proptest::collection::vec(any::<u32>().prop_map(f32::from_bits), 64 * VALUES),
        y in proptest::collection::vec(any::<u8>(), 64 * 4),
        y_vectors in proptest::collection::vec(any::<u8>(), 64 * 16),
    ) {
        for entry in EntryPoint::all() {
            let [x, w, dtype] = types(entry);
            let inputs = Inputs {
                words: words.clone(),
                values: values.clone(),
                y: y[..64 * dtype.size()].to_vec(),
                y_vectors: match entry.template() {
                    Template::Norm { width, .. } | Template::Apply { width, .. } => {
                        y_vectors[..64 * dtype.size() * width as usize].to_vec()
                    }
                    Template::Partial { .. } => Vec::new(),
                },
            };
            for target in TARGETS {
                check(entry, [x, w, dtype], &inputs, &run(entry, target, &inputs));
            }
        }
    }
}

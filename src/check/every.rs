//! `norm check --every-kernel`: runs each entry point of a kernel set at least once, and checks its outputs.
//!
//! Random cases select most kernels rarely, and some never. So each entry point gets cases of its own: short rows that it
//! can take, and a device profile with which planning selects it. Its cases are tried until one has run it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use norm_host::plan::{DeviceProfile, Tile};
use norm_host::{DType, NormKind, QuantFormat, QuantPreset, QuantRecipe, Rounding, Simulator};
use norm_kernels::abi::{
    EntryPoint, GatedKernel, GatedVariant, Kernel, QuantKernel, QuantVariant, RopeKernel, ShardKernel,
    Variant, width,
};
use serde::Serialize;

use super::any::AnyCase;
use super::call::OnSimulator;
use super::case::{
    AdditionOptions, CheckCase, MAX_LEADING, ParamPlacement, Placement, ResidualForm, SecondNorm,
    ValuePattern,
};
use super::examine::ImageBuffers;
use super::gate::GateForm;
use super::heads::HeadsCase;
use super::quantized::Quantized;
use crate::apply::QuantForm;
use crate::failure::Failure;
use crate::output;

/// Why no entry points were tried.
#[derive(Debug, thiserror::Error)]
pub enum EveryError {
    #[error("--every-kernel and --kernel: expected --device sim, where all kernels run, given {given}")]
    Device { given: String },
    #[error("--kernel: expected an entry point of the set, as `norm ptx` lists them, given {given}")]
    Unknown { given: String },
}

/// The results of all entry points.
#[derive(Debug, Serialize)]
pub struct EveryKernelReport {
    device: String,
    entries: usize,
    /// The number of outputs that were compared with the reference.
    outputs: u64,
    seconds: f64,
    /// Entry points that no case selected.
    not_reached: Vec<String>,
    failures: Vec<KernelFailure>,
}

/// An entry point that failed.
#[derive(Debug, Serialize)]
struct KernelFailure {
    kernel: String,
    case: String,
    fault: String,
    command: String,
}

/// The entry points of the simulator's kernel set: all, or those with these names.
pub fn entries(simulator: &Simulator, names: &[String]) -> Result<Vec<EntryPoint>, Failure> {
    let mut in_set = Vec::new();
    for entry in simulator.ptx().entries()? {
        in_set.extend(EntryPoint::named(entry.name()));
    }
    if names.is_empty() {
        return Ok(in_set);
    }
    let find = |name: &String| {
        let entry = EntryPoint::named(name).filter(|entry| in_set.contains(entry));
        entry.ok_or_else(|| EveryError::Unknown { given: name.clone() }.into())
    };
    names.iter().map(find).collect()
}

/// Tries entry points on all of the machine's threads. Each is named on stderr before it is tried.
pub fn run(simulator: &Simulator, entries: &[EntryPoint], device: &str, options: &str) -> EveryKernelReport {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Tried)>> = Mutex::default();
    let work = || {
        let mut memory = ImageBuffers::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(&entry) = entries.get(index) else { break };
            output::note(&format!("tries {entry}"));
            let tried = attempt(simulator, entry, &mut memory);
            found.lock().unwrap_or_else(|poison| poison.into_inner()).push((index, tried));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().unwrap_or_else(|poison| poison.into_inner());
    found.sort_by_key(|(index, _)| *index);
    let mut report = EveryKernelReport {
        device: device.to_owned(),
        entries: entries.len(),
        outputs: 0,
        seconds: 0.0,
        not_reached: Vec::new(),
        failures: Vec::new(),
    };
    for (index, tried) in found {
        let kernel = entries[index].to_string();
        match tried {
            Tried::Passed { outputs } => report.outputs += outputs,
            Tried::NotReached => report.not_reached.push(kernel),
            Tried::Failed { case, fault } => {
                let command = format!("norm check {options} --kernel {kernel}");
                report.failures.push(KernelFailure { kernel, case, fault, command });
            }
        }
    }
    report.seconds = start.elapsed().as_secs_f64();
    report
}

/// The result of an entry point.
pub(super) enum Tried {
    Passed { outputs: u64 },
    NotReached,
    Failed { case: String, fault: String },
}

/// Runs an entry point's cases until one has run it.
pub(super) fn attempt(simulator: &Simulator, entry: EntryPoint, memory: &mut ImageBuffers) -> Tried {
    // If the kernel is never reached, another one may be why: of a call's two kernels, the first may have failed.
    let mut unreached = Tried::NotReached;
    for (case, profile) in cases(entry, simulator.profile()) {
        let simulator = simulator.on(profile);
        // Many or long rows are done once, those with gaps unless planning selects another kernel for them. Heads have all
        // manners of gaps among them.
        let norm = if let AnyCase::Norm(norm) = &case { Some(norm) } else { None };
        let is_small = norm.is_some_and(|norm| norm.dim() < LONG && norm.rows() < MANY_ROWS);
        let strided = norm.map(|norm| strided(norm, false));
        let out_of_place = |case: &CheckCase| CheckCase { in_place: false, alone: None, ..case.clone() };
        let gaps_first = strided.as_ref().filter(|_| !is_small).map(out_of_place).map(AnyCase::Norm);
        for first in gaps_first.iter().chain([&case]) {
            let tried = once(&simulator, first, memory);
            match tried {
                Tried::Passed { .. } if simulator.has_run(entry) => {
                    let gaps = strided.filter(|_| is_small).map(AnyCase::Norm);
                    let beside_it = super::beside::cases(entry, &case);
                    // A few rows are enough there for what is a long grid.
                    let few = simulator.on(DeviceProfile { short_grid: 1, ..profile });
                    let is_long = norm.is_some_and(|norm| norm.rows() >= MANY_ROWS);
                    let others = harder(&case).into_iter().chain(gaps).map(|case| (&simulator, case));
                    let others = others.chain(beside_it.into_iter().map(|case| {
                        let of_long = if is_long { &few } else { &simulator };
                        (of_long, case)
                    }));
                    return others.fold(tried, |tried, (simulator, case)| match tried {
                        Tried::Passed { .. } => tried.and(beside(simulator, &case, memory)),
                        failed => failed,
                    });
                }
                _ if simulator.has_run(entry) => return tried,
                Tried::Failed { .. } => unreached = tried,
                Tried::Passed { .. } | Tried::NotReached => {}
            }
        }
    }
    unreached
}

/// Runs an entry point's cases with gaps in place, and a row without weights, which takes longer for long rows.
pub(super) fn in_place(simulator: &Simulator, entry: EntryPoint, memory: &mut ImageBuffers) -> Tried {
    for (case, profile) in cases(entry, simulator.profile()) {
        let simulator = simulator.on(profile);
        let tried = match &case {
            AnyCase::Norm(norm) => {
                // Of long rows each kernel adds a residual in front, along the same axes.
                let is_plain = norm.residual == ResidualForm::None && norm.shards == 1;
                let is_long = norm.dim() >= LONG && norm.gate.is_none() && norm.quantize.is_none();
                let residual = ResidualForm::PreNorm { gaps: [0; MAX_LEADING], at: 0 };
                let added =
                    (is_plain && is_long).then(|| strided(&CheckCase { residual, ..norm.clone() }, true));
                let gaps = strided(norm, true);
                let cases = [Some(without_weights(norm)), Some(gaps), added].into_iter().flatten();
                cases.fold(Tried::Passed { outputs: 0 }, |tried, case| {
                    tried.and(beside(&simulator, &AnyCase::Norm(case), memory))
                })
            }
            AnyCase::Heads(_) | AnyCase::Group(_) => beside(&simulator, &case, memory),
        };
        if simulator.has_run(entry) {
            return tried;
        }
    }
    Tried::NotReached
}

fn once(simulator: &Simulator, case: &AnyCase, memory: &mut ImageBuffers) -> Tried {
    match case.examine(&mut OnSimulator { simulator }, memory) {
        Ok(findings) => Tried::Passed { outputs: findings.outputs },
        Err(fault) => Tried::Failed { case: case.to_string(), fault: fault.to_string() },
    }
}

/// A case that is done beside the one that has run the entry point. Planning may select another kernel for it, which the
/// set need not have.
fn beside(simulator: &Simulator, case: &AnyCase, memory: &mut ImageBuffers) -> Tried {
    match case.examine(&mut OnSimulator { simulator }, memory) {
        Err(fault) if fault.of_kernels().is_some() => Tried::Passed { outputs: 0 },
        Err(fault) => Tried::Failed { case: case.to_string(), fault: fault.to_string() },
        Ok(findings) => Tried::Passed { outputs: findings.outputs },
    }
}

impl Tried {
    /// What came of both, the first of two that are at fault.
    fn and(self, other: Tried) -> Tried {
        match (self, other) {
            (Tried::Passed { outputs: a }, Tried::Passed { outputs: b }) => Tried::Passed { outputs: a + b },
            (Tried::Passed { .. }, other) => other,
            (first, _) => first,
        }
    }
}

/// The same case with other values, as far as time allows: rows that are far from 0, which LayerNorm measures in a second
/// pass, unless some are already among the others; and rows with a NaN or an infinity among ordinary elements, so many
/// of them that each place of a vector has one, unless they are long. Then an ordinary row is done beside it, as a NaN
/// hides all else; others are done without weights.
fn harder(case: &AnyCase) -> Vec<AnyCase> {
    // Heads have all manners of rows among them.
    let AnyCase::Norm(case) = case else { return Vec::new() };
    let of =
        |data: ValuePattern, rows: usize| CheckCase { data, shape: vec![rows, case.dim()], ..case.clone() };
    let is_far = case.kind == NormKind::Layer && case.data != ValuePattern::Mixed;
    let far = is_far.then(|| of(ValuePattern::Shifted, 1));
    let others = match (case.rows() < MANY_ROWS, case.dim()) {
        (true, ..SHORT) => vec![of(ValuePattern::Spot, 3 * ROWS), without_weights(case)],
        (true, SHORT..LONG) => vec![of(ValuePattern::Spot, ROWS), without_weights(case)],
        (true, LONG..) if !is_far => vec![of(ValuePattern::Spot, 1), of(ValuePattern::Normal, 1)],
        (true, LONG..) => vec![of(ValuePattern::Normal, 1)],
        _ => Vec::new(),
    };
    // Short rows of odd length are a warp's each. Of a longer one all warps of a block have a part.
    let is_odd = case.dim() % 4 == 1 && case.dim() < SHORT && case.shards == 1;
    // LayerNorm has more of them then, which are a cluster.
    let least = if case.kind == NormKind::Layer { 17_001 } else { 0 };
    let long = least.max(20 * case.dim() + 1);
    let of_block = is_odd.then(|| CheckCase { shape: vec![1, long], ..case.clone() });
    far.into_iter().chain(others).chain(of_block).chain(other_recipes(case)).map(AnyCase::Norm).collect()
}

/// One row without weights, and in LayerNorm with biases, whose type then decides which kernel it is.
fn without_weights(case: &CheckCase) -> CheckCase {
    let rounding = if case.rounding == Rounding::T5 { Rounding::Single } else { case.rounding };
    let b = case.w.filter(|_| case.kind == NormKind::Layer);
    CheckCase {
        shape: vec![1, case.dim()],
        data: ValuePattern::Normal,
        w: None,
        b,
        weight_offset: 0.0,
        round_offset: false,
        rounding,
        ..case.clone()
    }
}

/// The same rows along up to three axes, with gaps behind the positions of each, and of each head where a norm may be over heads;
/// with a bias or an offset, in place, and one row alone. Many or long rows have fewer axes, unless
/// `outermost`.
fn strided(case: &CheckCase, outermost: bool) -> CheckCase {
    let is_quantized = case.quantize.is_some();
    let is_plain = case.residual == ResidualForm::None && case.shards == 1 && !is_quantized;
    let leading = match (case.rows(), case.dim()) {
        (1, _) if outermost => [2, 1, 2],
        (1, _) => [1, 1, 1],
        // Of an axis of two positions the half of a row's number would do.
        (rows, ..LONG) if rows < MANY_ROWS => [2, 3, rows.div_ceil(6).max(2)],
        (rows, _) if outermost => [2, 2, rows.div_ceil(4).max(2)],
        (..MANY_ROWS, _) => [1, 1, 2],
        (rows, _) => [1, 2, rows.div_ceil(2)],
    };
    let placement = |placement: Placement, gaps| Placement { gaps, ..placement };
    let of_heads = is_plain && case.rows() < MANY_ROWS;
    // The kernels of RMSNorm that are fast have no bias, those of LayerNorm no offset.
    let is_layer = case.kind == NormKind::Layer;
    let param = |gap| case.w.map(|w| ParamPlacement { gap: if of_heads { gap } else { 0 }, ..w });
    let (residual, b) = match case.residual {
        ResidualForm::PreNorm { .. } => (ResidualForm::PreNorm { gaps: [16, 40, 8], at: 0 }, param(0)),
        ResidualForm::Sandwich { r, next } => {
            (ResidualForm::Sandwich { r: placement(r, [16, 40, 8]), next }, None)
        }
        other => (other, param(16)),
    };
    let b = b.filter(|_| is_layer && case.shards == 1);
    let separate = (case.residual != ResidualForm::None).then_some(([24, 8, 32], 0));
    let scale_in_memory = case.addition.sum_scale != 1.0;
    CheckCase {
        heads: of_heads,
        shape: [&leading[..], &[case.dim()]].concat(),
        x: placement(case.x, [32, 24, 8]),
        y: placement(case.y, [40, 8, 16]),
        w: param(8),
        b,
        weight_offset: if is_layer { 0.0 } else { 1.0 },
        in_place: case.x.dtype == case.y.dtype && !is_quantized,
        alone: (case.dim() < LONG).then_some(leading.iter().product::<usize>() - 1),
        residual,
        addition: AdditionOptions { separate, scale_in_memory, ..case.addition },
        gate: case.gate.map(|gate| GateForm { g: placement(gate.g, [24, 8, 32]), ..gate }),
        ..case.clone()
    }
}

/// The same case in the other formats and recipes, which make other kernels of one template.
fn other_recipes(case: &CheckCase) -> impl Iterator<Item = CheckCase> {
    let others = RECIPES.into_iter().filter(|_| case.quantize.is_some()).skip(1);
    others.map(|recipe| CheckCase { quantize: Some(quantized(recipe)), ..case.clone() })
}

/// Elements of rows of which many are done.
const SHORT: usize = 1 << 10;
/// Elements of rows that are done one at a time.
const LONG: usize = 1 << 13;
/// Rows of which some have each manner, and some an element unlike the others in each place of a vector.
const ROWS: usize = 16;
/// Rows of which `ValuePattern::Mixed` makes as many so.
const MANY_ROWS: usize = 256;

/// Cases that may take an entry, the likeliest first, each with the profile of the device.
pub(super) fn cases(entry: EntryPoint, device: DeviceProfile) -> Vec<(AnyCase, DeviceProfile)> {
    let norm = |(case, profile)| (AnyCase::Norm(case), profile);
    match entry {
        EntryPoint::Norm(kernel) => of_norm(kernel, device).into_iter().map(norm).collect(),
        EntryPoint::Quant(kernel) => of_quant(kernel, device).into_iter().map(norm).collect(),
        EntryPoint::Shard(shard) => of_shard(shard).into_iter().map(|case| norm((case, device))).collect(),
        EntryPoint::Gated(kernel) => vec![norm((of_gated(kernel), device))],
        EntryPoint::Rope(kernel) => of_rope(kernel, device),
        EntryPoint::Group(kernel) => vec![(AnyCase::Group(super::group::every::case(kernel)), device)],
    }
}

fn of_norm(kernel: Kernel, device: DeviceProfile) -> Vec<(CheckCase, DeviceProfile)> {
    let Kernel { kind, x, w, y, variant, addition, epilogue } = kernel;
    let mut cases = Vec::new();
    // Planning selects kernels by the device's memory bandwidth, and by limits such as its shared memory.
    for memory_bytes_per_clock in [12, 18] {
        let profile = DeviceProfile { memory_bytes_per_clock, ..device };
        let profile = match variant {
            Variant::Stream => DeviceProfile { max_shared_bytes: 0, ..profile },
            Variant::Mixed => DeviceProfile { max_cluster: profile.max_cluster.min(2), ..profile },
            _ => profile,
        };
        for (rows, dim) in shapes(kernel, profile) {
            let plain = plain(kind, [x, w, y], rows, dim);
            let data = if rows < ROWS { ValuePattern::Normal } else { ValuePattern::Mixed };
            let mut case = CheckCase { rounding: epilogue.order, data, ..plain };
            case.addition = AdditionOptions {
                wide: addition.wide,
                sum_scale: if addition.scaled { 0.5 } else { 1.0 },
                ..AdditionOptions::PLAIN
            };
            if variant.is_sandwich() {
                let next = SecondNorm { kind: NormKind::Rms, w: Some(w), eps: 1e-3 };
                case.residual = ResidualForm::Sandwich { r: placement(x), next };
            } else if variant.adds() || addition.wide || addition.scaled {
                case.residual = ResidualForm::PreNorm { gaps: [0; MAX_LEADING], at: 0 };
            }
            cases.push((case, profile));
        }
    }
    cases
}

/// Rows and dims for which planning may select a variant. The dims leave some threads of a row without a vector, and the
/// rows leave a part of the last block idle.
fn shapes(kernel: Kernel, profile: DeviceProfile) -> Vec<(usize, usize)> {
    let Kernel { kind, variant, y, .. } = kernel;
    let width = Tile::new(kind, kernel.normalized(), y, 1, profile).width as usize;
    let vectors: &[(usize, usize)] = match variant {
        Variant::Warp2 => &[(19, 7), (19, 40)],
        Variant::Warp4 => &[(11, 50)],
        Variant::Block2 | Variant::Add2 | Variant::Sandwich2 => &[(3, 100)],
        Variant::Block4 if kind == NormKind::Rms => &[(2, 600)],
        Variant::Block4 => &[(profile.short_grid as usize + 2, 200)],
        Variant::Short4 | Variant::Add4 | Variant::Sandwich4 => &[(2, 600), (2, 100)],
        Variant::Staged => &[(2, 9005)],
        Variant::Mixed => &[(1, 9005 * profile.max_cluster.max(2) as usize)],
        Variant::Stream => &[(2, 9005)],
        Variant::Scalar => return vec![(3, 100 * width + 1), (3, 9005 * width + 1)],
    };
    vectors.iter().map(|&(rows, vectors)| (rows, vectors * width)).collect()
}

/// A case of queries, keys and values, of whole vectors if the kernel requires that. Of keys a thread has the last alone, where
/// others have two.
fn of_rope(kernel: RopeKernel, device: DeviceProfile) -> Vec<(AnyCase, DeviceProfile)> {
    let RopeKernel { x, w, table, pairing, vectors, before_weight, rounding, rms_only, short } = kernel;
    let of_keys = if rms_only { NormKind::Rms } else { NormKind::Layer };
    let dim = if vectors { 64 } else { 35 };
    let case = HeadsCase {
        heads: [8, 3, 2],
        tokens: 9,
        dim,
        x,
        w: Some(w),
        norms: [Some(NormKind::Rms), Some(of_keys), Some(NormKind::Rms)],
        pairs: if vectors { dim / 2 } else { 13 },
        pairing,
        table,
        before_weight,
        rounding,
        data: ValuePattern::Mixed,
        in_place: true,
        ..HeadsCase::SIMPLEST
    };
    // A thread has two heads in a grid as long as this one.
    let short_grid = if short { 4 } else { 0 };
    vec![(AnyCase::Heads(case), DeviceProfile { short_grid, ..device })]
}

/// Cases of a kernel whose output is quantized, of rows of whole blocks. What a kernel that holds rows in registers leaves to
/// others, biases of RMSNorm and offsets of LayerNorm, has the one that streams rows; unaligned rows the one that goes element
/// by element.
fn of_quant(kernel: QuantKernel, device: DeviceProfile) -> Vec<(CheckCase, DeviceProfile)> {
    let QuantKernel { kind, x, w, variant, format, recipe } = kernel;
    let quantize = Some(quantized((format, recipe)));
    let (dims, profile) = match variant {
        // All threads have all vectors that there is room for, in grids that count as long from three rows on.
        QuantVariant::Long4 | QuantVariant::Long8 => {
            (&[4096, 8192, 5120, 2048, 16384, 1024][..], DeviceProfile { short_grid: 2, ..device })
        }
        // The threads of a block have up to two and up to four vectors, some of them none.
        _ => (&[896, 4864, 9088][..], device),
    };
    let case = |&dim: &usize| CheckCase { quantize, ..plain(kind, [x, w, x], 3, dim) };
    let mut cases: Vec<CheckCase> = dims.iter().map(case).collect();
    for case in &mut cases {
        if matches!(variant, QuantVariant::Add2 | QuantVariant::Add4) {
            case.residual = ResidualForm::PreNorm { gaps: [0; MAX_LEADING], at: 0 };
        }
        match (variant, kind) {
            (QuantVariant::Scalar, _) => case.x.at = 1,
            (QuantVariant::Stream, NormKind::Rms) | (QuantVariant::Long8, NormKind::Layer) => case.b = case.w,
            (QuantVariant::Stream, NormKind::Layer) => case.weight_offset = 1.0,
            _ => {}
        }
    }
    cases.into_iter().map(|case| (case, profile)).collect()
}

/// Every format with each of its recipes, that of the templates first.
const RECIPES: [(QuantFormat, QuantRecipe); 7] = [
    (QuantFormat::E4m3, QuantRecipe::Exact),
    (QuantFormat::E4m3, QuantRecipe::VllmStatic),
    (QuantFormat::E4m3, QuantRecipe::VllmDynamic),
    (QuantFormat::E4m3, QuantRecipe::FlashInferStatic),
    (QuantFormat::E4m3, QuantRecipe::FlashInferBlock),
    (QuantFormat::Int8, QuantRecipe::Exact),
    (QuantFormat::Int8, QuantRecipe::VllmDynamic),
];

/// A quantization of that format and recipe.
fn quantized((format, recipe): (QuantFormat, QuantRecipe)) -> Quantized {
    let (index, preset) = match (recipe, format) {
        (QuantRecipe::Exact, QuantFormat::E4m3) => (1, QuantPreset::Exact),
        (QuantRecipe::Exact, QuantFormat::Int8) => (6, QuantPreset::Exact),
        (QuantRecipe::VllmStatic, _) => (0, QuantPreset::Vllm),
        (QuantRecipe::VllmDynamic, QuantFormat::E4m3) => (2, QuantPreset::Vllm),
        (QuantRecipe::VllmDynamic, QuantFormat::Int8) => (5, QuantPreset::Vllm),
        (QuantRecipe::FlashInferStatic, _) => (0, QuantPreset::FlashInfer),
        (QuantRecipe::FlashInferBlock, _) => (3, QuantPreset::FlashInfer),
    };
    Quantized { preset, copies: true, ..Quantized::plain(QuantForm::ALL[index]) }
}

/// A case of two shards. Each consists of whole vectors if the kernel requires that.
fn of_shard(shard: ShardKernel) -> Option<CheckCase> {
    let (types, vectors, rounding) = match shard {
        ShardKernel::Partial { x, vectors } => ([x; 3], vectors, Rounding::Single),
        ShardKernel::Apply { x, w, y, vectors, epilogue } => ([x, w, y], vectors, epilogue.order),
    };
    let dim = 2 * 33 * width(types[0], types[2]) as usize + if vectors { 0 } else { 1 };
    let case = plain(NormKind::Rms, types, 3, dim);
    Some(CheckCase { shards: 2, rounding, ..case })
}

/// A case of gated rows. The dims leave some threads without a vector, the rows a part of the last block idle.
fn of_gated(kernel: GatedKernel) -> CheckCase {
    let GatedKernel { x, w, variant, gating, epilogue } = kernel;
    let width = width(x, x) as usize;
    let (rows, dim) = match variant {
        GatedVariant::Warp => (19, 40 * width),
        GatedVariant::Block => (3, 600 * width),
        GatedVariant::Stream => (2, 9005 * width),
        GatedVariant::Scalar => (3, 600 * width + 1),
    };
    let g = placement(kernel.gate());
    let case = plain(NormKind::Rms, [x, w, x], rows, dim);
    CheckCase { rounding: epilogue.order, gate: Some(GateForm { gating, g }), ..case }
}

/// A case of dense rows of normal values, with weights.
pub(super) fn plain(kind: NormKind, [x, w, y]: [DType; 3], rows: usize, dim: usize) -> CheckCase {
    CheckCase {
        kind,
        heads: false,
        shape: vec![rows, dim],
        x: placement(x),
        y: placement(y),
        w: Some(ParamPlacement { dtype: w, gap: 0, at: 0, shared: false }),
        b: None,
        eps: 1e-5,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        data: ValuePattern::Normal,
        seed: dim as u64,
        in_place: false,
        alone: None,
        residual: ResidualForm::None,
        addition: AdditionOptions::PLAIN,
        gate: None,
        shards: 1,
        quantize: None,
    }
}

fn placement(dtype: DType) -> Placement {
    Placement { dtype, gaps: [0; MAX_LEADING], at: 0 }
}

impl EveryKernelReport {
    /// Whether every entry point was reached and passed.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty() && self.not_reached.is_empty()
    }

    pub fn text(&self, device: &str) -> String {
        let EveryKernelReport { entries, outputs, seconds, not_reached, failures, .. } = self;
        let passed = entries - not_reached.len() - failures.len();
        let kernels = if *entries == 1 { "kernel" } else { "kernels" };
        let verdict = if self.is_good() { "ok" } else { "FAILED" };
        let mut text = format!(
            "{verdict}: {passed} of {entries} {kernels} in {seconds:.1} s on {device}. All {outputs} outputs of theirs keep \
             the accuracy promise.\n"
        );
        for KernelFailure { kernel, case, fault, command } in failures {
            text += &format!(
                "{kernel}\n\x20 case:  {case}\n\x20 fault: {fault}\n\x20 repeat it with: {command}\n"
            );
        }
        if !not_reached.is_empty() {
            text += &format!("Not reached, by any case tried: {}\n", not_reached.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use norm_kernels::abi::GroupKernel;

    use super::*;

    /// One of each kind of entry point.
    fn some() -> Vec<EntryPoint> {
        let mut kinds = std::collections::HashSet::new();
        let is_new = |entry: &EntryPoint| match *entry {
            EntryPoint::Norm(Kernel { kind, variant, addition, .. }) => {
                kinds.insert(format!("{kind:?} {variant:?} {addition:?}"))
            }
            EntryPoint::Quant(QuantKernel { kind, variant, format, recipe, .. }) => {
                kinds.insert(format!("{kind:?} {variant:?}")) | kinds.insert(format!("{format:?} {recipe:?}"))
            }
            EntryPoint::Shard(ShardKernel::Partial { vectors, .. }) => {
                kinds.insert(format!("partial {vectors}"))
            }
            EntryPoint::Shard(ShardKernel::Apply { vectors, .. }) => kinds.insert(format!("apply {vectors}")),
            EntryPoint::Gated(GatedKernel { variant, .. }) => kinds.insert(format!("gated {variant:?}")),
            EntryPoint::Rope(RopeKernel { x, pairing, vectors, rms_only, short, .. }) => {
                kinds.insert(format!("rope {x} {pairing} {vectors} {rms_only} {short}"))
            }
            EntryPoint::Group(GroupKernel { norm, variant, .. }) => {
                kinds.insert(format!("group {norm:?} {variant:?}"))
            }
        };
        EntryPoint::all().filter(is_new).collect()
    }

    #[test]
    fn one_entry_of_each_kind_is_reached_and_passes() {
        let report = run(&Simulator::new(), &some(), "sim", "--device sim");
        assert!(report.is_good(), "{report:?}");
        assert!(report.entries > 20 && report.outputs > 0, "{report:?}");
    }

    #[test]
    fn rows_with_gaps_in_place_reach_one_entry_of_each_kind() {
        let (simulator, mut memory) = (Simulator::new(), ImageBuffers::default());
        let mut reaches = |&entry: &EntryPoint| match in_place(&simulator, entry, &mut memory) {
            Tried::Passed { .. } => true,
            Tried::NotReached => false,
            Tried::Failed { case, fault } => panic!("{case}: {fault}"),
        };
        // Long rows in place take longer than all else.
        let is_short = |entry: &&EntryPoint| match entry {
            EntryPoint::Norm(kernel) => {
                !matches!(kernel.variant, Variant::Staged | Variant::Mixed | Variant::Stream)
            }
            EntryPoint::Shard(_) | EntryPoint::Gated(_) | EntryPoint::Rope(_) | EntryPoint::Group(_) => true,
            // Those for long grids are not selected for rows with gaps.
            EntryPoint::Quant(kernel) => {
                !matches!(kernel.variant, QuantVariant::Stream | QuantVariant::Long4 | QuantVariant::Long8)
            }
        };
        let unreached: Vec<String> = some()
            .iter()
            .filter(is_short)
            .filter(|entry| !reaches(entry))
            .map(EntryPoint::to_string)
            .collect();
        assert_eq!(unreached, [""; 0]);
    }

    #[test]
    fn a_broken_entry_is_found_and_its_command_repeats_it() {
        let simulator = Simulator::new();
        let name = "rms_f16_f16_f16_block4";
        let entry = EntryPoint::named(name).unwrap();
        let text = simulator.ptx().module(entry).unwrap();
        let (head, tail) = text.split_once("bar.sync").unwrap();
        let (_, tail) = tail.split_once(';').unwrap();
        let ptx = norm_host::ptx::Ptx::from_text(format!("{head}//{tail}").leak()).unwrap();
        let broken = Simulator::with_ptx(ptx);
        let held = entries(&broken, &[]).unwrap();
        assert_eq!(held, [entry]);
        let report = run(&broken, &held, "sim", "--device sim --ptx k.ptx");
        let [KernelFailure { fault, command, .. }] = &report.failures[..] else { panic!("{report:?}") };
        assert!(fault.contains("with no barrier between"), "{fault}");
        assert_eq!(*command, format!("norm check --device sim --ptx k.ptx --kernel {name}"));
        assert_eq!(entries(&broken, &[name.to_owned()]).unwrap(), [entry]);
        assert!(entries(&broken, &["rms_f16_f16_f16_block2".to_owned()]).is_err());
    }

    #[test]
    fn a_recipe_is_that_of_its_quantization() {
        for (format, recipe) in RECIPES {
            let quantized = quantized((format, recipe));
            assert_eq!((quantized.form.format, quantized.recipe()), (format, Some(recipe)));
        }
        let all = QuantFormat::ALL.into_iter().flat_map(|format| {
            QuantRecipe::ALL
                .into_iter()
                .filter(move |recipe| recipe.takes(format))
                .map(move |recipe| (format, recipe))
        });
        assert_eq!(all.collect::<Vec<_>>(), RECIPES);
    }
}

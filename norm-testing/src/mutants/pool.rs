//! Which changes are planted: of a family of kernels, then of an operator, one after another drawn from a seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use norm::testing::RandomCases;
use norm_host::ptx::{EMBEDDED, Ptx};
use norm_kernels::abi::{
    EntryPoint, EpilogueRounding, GatedKernel, Gating, GroupKernel, QuantFormat, QuantKernel, QuantRecipe,
    RopeKernel, RopeRounding, ShardKernel,
};

use super::operator::{Change, Operator};
use super::statement::{Statement, statements};

/// A change of a kernel.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub entry: EntryPoint,
    pub family: String,
    pub operator: Operator,
    pub module: Arc<Parsed>,
    /// Which statement.
    pub at: usize,
    pub change: Change,
}

/// A kernel's module and the kernel's statements.
#[derive(Debug)]
pub struct Parsed {
    pub text: String,
    pub kernel: Vec<Statement>,
    /// Of its outputs as it is shipped.
    pub digest: u64,
}

impl Mutant {
    pub fn statement(&self) -> &Statement {
        &self.module.kernel[self.at]
    }

    /// The statement in front of the change and the change itself, on one line.
    pub fn shown(&self) -> String {
        let here = self.statement();
        let moved = if self.change.behind.is_some() { " (moved behind the next access)" } else { "" };
        let (entry, operator, line) = (self.entry, self.operator.name(), here.line);
        format!(
            "{entry}, {operator}, line {line}: {} → {}{moved}",
            here.with_opcode(&here.opcode),
            self.change.text
        )
    }
}

/// The kernels to draw from.
pub struct Pool<'a> {
    cases: &'a RandomCases,
    families: Vec<(String, Vec<EntryPoint>)>,
    operator: Option<Operator>,
    /// The kernels that were drawn; `None` for one that no case runs.
    parsed: Mutex<BTreeMap<String, Option<Arc<Parsed>>>>,
}

impl Pool<'_> {
    /// The kernels whose names contain one of `parts`, which commas separate, and none of those that follow a `-`.
    pub fn new<'a>(
        cases: &'a RandomCases,
        parts: &str,
        operator: Option<Operator>,
    ) -> Result<Pool<'a>, String> {
        let mut families = BTreeMap::<String, Vec<EntryPoint>>::new();
        let is_named = |name: String| {
            let is_there = |part: &str| name.contains(part);
            let mut wanted = parts.split(',').filter(|part| !part.starts_with('-'));
            let mut unwanted = parts.split(',').filter_map(|part| part.strip_prefix('-'));
            wanted.any(is_there) && !unwanted.any(is_there)
        };
        for entry in every_entry().filter(|&entry| is_named(entry.to_string())) {
            families.entry(family(entry)).or_default().push(entry);
        }
        if families.is_empty() {
            return Err(format!("expected parts of kernels' names with commas between them, given {parts}"));
        }
        Ok(Pool { cases, families: families.into_iter().collect(), operator, parsed: Mutex::default() })
    }

    /// The change of this seed and index; `None` if a kernel that was drawn has no statement for the operator.
    pub fn draw(&self, seed: u64, index: u64) -> Option<Mutant> {
        let mut random = Random(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ index);
        let (family, entries) = &self.families[random.below(self.families.len())];
        // Some operators find no statement in most kernels.
        for _ in 0..8 {
            let entry = entries[random.below(entries.len())];
            let Some(module) = self.parsed(entry) else { continue };
            let operators = match entry {
                EntryPoint::Group(_) => &Operator::ALL[..],
                _ => Operator::OF_ONE_DEVICE,
            };
            let operator = self.operator.unwrap_or_else(|| operators[random.below(operators.len())]);
            let changes: Vec<(usize, Change)> = (0..module.kernel.len())
                .flat_map(|at| {
                    operator.changes(&module.kernel, at).into_iter().map(move |change| (at, change))
                })
                .collect();
            if changes.is_empty() {
                continue;
            }
            let (at, change) = changes[random.below(changes.len())].clone();
            return Some(Mutant { entry, family: family.clone(), operator, module, at, change });
        }
        None
    }

    /// A kernel's statements, if its cases run it as it is shipped, and pass.
    fn parsed(&self, entry: EntryPoint) -> Option<Arc<Parsed>> {
        let name = entry.to_string();
        if let Some(parsed) = self.parsed.lock().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return parsed.clone();
        }
        let text = module(entry);
        let digest = Ptx::from_text(text.clone().leak()).and_then(|ptx| self.cases.run(entry, ptx).ok());
        let parsed = digest.map(|digest| Arc::new(Parsed { kernel: statements(&text, &name), text, digest }));
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner).insert(name, parsed.clone());
        parsed
    }
}

/// Every entry point of each order of roundings, scaled and not, of each gating, format and recipe. Those that round an
/// offset are those that do not, with one argument more.
fn every_entry() -> impl Iterator<Item = EntryPoint> {
    EntryPoint::all().flat_map(|entry| -> Vec<EntryPoint> {
        match entry {
            EntryPoint::Group(GroupKernel { norm: Some(_), .. }) => with_epilogues(entry).collect(),
            EntryPoint::Group(_) => vec![entry],
            EntryPoint::Norm(_) | EntryPoint::Shard(_) => {
                let scaled = [Some(entry), entry.scaled()].into_iter().flatten();
                scaled.flat_map(with_epilogues).collect()
            }
            EntryPoint::Gated(kernel) => Gating::ALL
                .into_iter()
                .map(|gating| EntryPoint::Gated(GatedKernel { gating, ..kernel }))
                .flat_map(with_epilogues)
                .collect(),
            EntryPoint::Rope(kernel) => kernel.roundings().map(EntryPoint::Rope).collect(),
            EntryPoint::Quant(_) => QuantFormat::ALL
                .into_iter()
                .flat_map(|format| QuantRecipe::ALL.map(|recipe| entry.quantizing(format, recipe)))
                .flatten()
                .collect(),
        }
    })
}

fn with_epilogues(entry: EntryPoint) -> impl Iterator<Item = EntryPoint> {
    let epilogues = EpilogueRounding::all().filter(|epilogue| !epilogue.offset);
    epilogues.map(move |epilogue| entry.with_epilogue(epilogue))
}

/// What a kernel's name has beside its types, its order of roundings, its gating and its recipe.
fn family(entry: EntryPoint) -> String {
    let plain = match entry.with_epilogue(EpilogueRounding::SINGLE) {
        EntryPoint::Gated(kernel) => EntryPoint::Gated(GatedKernel { gating: Gating::DEFAULT, ..kernel }),
        EntryPoint::Rope(kernel) => {
            EntryPoint::Rope(RopeKernel { before_weight: false, rounding: RopeRounding::Single, ..kernel })
        }
        EntryPoint::Quant(kernel) => {
            EntryPoint::Quant(QuantKernel { format: QuantFormat::E4m3, recipe: QuantRecipe::Exact, ..kernel })
        }
        other => other,
    };
    let name = plain.to_string();
    let parts: Vec<&str> = name.split('_').filter(|part| !["f16", "bf16", "f32"].contains(part)).collect();
    parts.join("_")
}

/// The kernel's module as the driver gets it, and behind it, for a step of a norm that is split over devices, the other
/// step's kernel, without which no case runs.
fn module(entry: EntryPoint) -> String {
    let [_, newest] = &EMBEDDED;
    let text = |entry: EntryPoint| newest.module(entry).unwrap_or_default();
    let other = match entry {
        EntryPoint::Norm(_)
        | EntryPoint::Quant(_)
        | EntryPoint::Gated(_)
        | EntryPoint::Rope(_)
        | EntryPoint::Group(_) => return text(entry),
        EntryPoint::Shard(ShardKernel::Partial { x, vectors }) => {
            ShardKernel::Apply { x, w: x, y: x, vectors, epilogue: EpilogueRounding::SINGLE }
        }
        EntryPoint::Shard(ShardKernel::Apply { x, vectors, .. }) => ShardKernel::Partial { x, vectors },
    };
    let other = text(EntryPoint::Shard(other));
    let body = other.find(".visible .entry").map_or("", |at| &other[at..]);
    format!("{}\n{body}", text(entry))
}

/// Numbers that a seed decides: SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

//! The kernels of gated RMSNorms, and their names.

use super::{DType, EpilogueRounding, MAX_BLOCK_THREADS};

/// What a gate goes through before it multiplies a row, in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `g / (1 + exp(-g))`, also called swish.
    #[default]
    Silu,
    /// `1 / (1 + exp(-g))`.
    Sigmoid,
}

impl Activation {
    /// Both, in the order of kernel numbers.
    pub const ALL: [Activation; 2] = [Activation::Silu, Activation::Sigmoid];

    /// The name used in kernel names and on the command line: `silu` or `sigmoid`.
    pub const fn name(self) -> &'static str {
        match self {
            Activation::Silu => "silu",
            Activation::Sigmoid => "sigmoid",
        }
    }
}

/// Whether a row is normalized before the gate multiplies it, or after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GateOrder {
    /// `y = norm(x) * w * act(g)`: Qwen3-Next, Kimi Linear.
    #[default]
    NormFirst,
    /// `y = norm(x * act(g)) * w`, whose statistics are those of the product, which is not rounded: Mamba 2, Nemotron-H.
    GateFirst,
}

impl GateOrder {
    /// Both, in the order of kernel numbers.
    pub const ALL: [GateOrder; 2] = [GateOrder::NormFirst, GateOrder::GateFirst];

    /// The name used in kernel names and on the command line: `norm-first` or `gate-first`.
    pub const fn name(self) -> &'static str {
        match self {
            GateOrder::NormFirst => "norm-first",
            GateOrder::GateFirst => "gate-first",
        }
    }
}

/// What a gate does to a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gating {
    /// What the gate goes through.
    pub activation: Activation,
    /// Where it multiplies.
    pub order: GateOrder,
}

impl Gating {
    /// SiLU behind the norm.
    pub const DEFAULT: Gating = Gating { activation: Activation::Silu, order: GateOrder::NormFirst };

    /// Every one, in the order of [`index`](Gating::index).
    pub const ALL: [Gating; 4] = [
        Gating::DEFAULT,
        Gating { activation: Activation::Sigmoid, order: GateOrder::NormFirst },
        Gating { activation: Activation::Silu, order: GateOrder::GateFirst },
        Gating { activation: Activation::Sigmoid, order: GateOrder::GateFirst },
    ];

    /// Its index in [`ALL`](Gating::ALL).
    pub const fn index(self) -> usize {
        self.activation as usize + 2 * self.order as usize
    }

    /// Whether the gate multiplies in front of the norm.
    pub const fn gates_first(self) -> bool {
        matches!(self.order, GateOrder::GateFirst)
    }
}

/// How a gated kernel works on a row. All variants deal a row to threads as the launch's tile says, and add in the same
/// order, so that all give the same bits for one tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GatedVariant {
    /// At most [`REGISTER_VECTORS`](GatedVariant::REGISTER_VECTORS) vectors a thread, held in registers; lanes of a warp
    /// share a row, and a block has several rows.
    Warp,
    /// The same, but that a block has one row.
    Block,
    /// Any row of whole, aligned vectors, which every pass loads again.
    Stream,
    /// Any row, element by element. Every pass loads it again.
    Scalar,
}

impl GatedVariant {
    /// Every variant, in the order of kernel numbers.
    pub const ALL: [GatedVariant; 4] =
        [GatedVariant::Warp, GatedVariant::Block, GatedVariant::Stream, GatedVariant::Scalar];

    /// Vectors that a thread of [`Warp`](GatedVariant::Warp) and [`Block`](GatedVariant::Block) holds.
    pub const REGISTER_VECTORS: u32 = 2;

    /// The name used in kernel names.
    pub const fn name(self) -> &'static str {
        match self {
            GatedVariant::Warp => "warp",
            GatedVariant::Block => "block",
            GatedVariant::Stream => "stream",
            GatedVariant::Scalar => "scalar",
        }
    }

    /// Whether it loads rows again for each pass, and the blocks of a cluster may share one.
    pub const fn reloads(self) -> bool {
        matches!(self, GatedVariant::Stream | GatedVariant::Scalar)
    }
}

/// A kernel of a gated RMSNorm: `y = norm(x) * (w + weight_offset) * act(g)`, or `y = norm(x * act(g)) * (w +
/// weight_offset)`.
///
/// Its parameter is [`Args`](super::Args), where the gate stands in place of the residual: `r` is its address, and
/// `r_stride` of each axis its stride. `y` has the type of `x`, and the gate has [`GatedKernel::gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GatedKernel {
    /// Element type of `x` and `y`.
    pub x: DType,
    /// Element type of the weights; without weights that of the gate.
    pub w: DType,
    /// How it works on a row.
    pub variant: GatedVariant,
    /// What the gate does.
    pub gating: Gating,
    /// Where it rounds.
    pub epilogue: EpilogueRounding,
}

/// One more than the largest [`GatedKernel::index`].
pub const GATED_KERNEL_SLOTS: usize = EpilogueRounding::COUNT * Gating::ALL.len() * PLAIN_SLOTS;

/// Numbers of the kernels with one gating that round once.
const PLAIN_SLOTS: usize = DType::ALL.len() * DType::ALL.len() * GatedVariant::ALL.len();

impl GatedKernel {
    /// Whether there are kernels for these types of `x` and the weights: weights of the type of `x`, or of f32, or of 16 bits
    /// beside an `x` of f32.
    pub const fn takes(x: DType, w: DType) -> bool {
        x.size() == 4 || w.size() == 4 || x as u32 == w as u32
    }

    /// The type of the gate: that of `x`, or beside an `x` of f32 that of the weights, as the Mamba 2 family calls it.
    pub const fn gate(self) -> DType {
        if self.x.size() == 4 { self.w } else { self.x }
    }

    /// The largest block that launches it. A thread holds the more registers the more elements a vector has.
    pub const fn max_threads(self) -> u32 {
        match self.variant {
            GatedVariant::Warp => 512,
            GatedVariant::Block if self.x.size() == 2 => 512,
            GatedVariant::Block | GatedVariant::Stream | GatedVariant::Scalar => MAX_BLOCK_THREADS,
        }
    }

    /// A number below [`GATED_KERNEL_SLOTS`] that no other kernel has.
    pub const fn index(self) -> usize {
        let [x, w] = [self.x as usize - 1, self.w as usize - 1];
        let kernel = (x * DType::ALL.len() + w) * GatedVariant::ALL.len() + self.variant as usize;
        let form = self.epilogue.index() * Gating::ALL.len() + self.gating.index();
        form * PLAIN_SLOTS + kernel
    }

    /// Every one with [`Gating::DEFAULT`] that rounds once, in the order of [`GatedKernel::index`]; the others are these with
    /// other [`Gating`] and [`EpilogueRounding`].
    pub fn all() -> impl Iterator<Item = GatedKernel> {
        let kernels = (0..PLAIN_SLOTS).map(|index| GatedKernel {
            x: DType::ALL[index / GatedVariant::ALL.len() / DType::ALL.len()],
            w: DType::ALL[index / GatedVariant::ALL.len() % DType::ALL.len()],
            variant: GatedVariant::ALL[index % GatedVariant::ALL.len()],
            gating: Gating::DEFAULT,
            epilogue: EpilogueRounding::SINGLE,
        });
        kernels.filter(|kernel| GatedKernel::takes(kernel.x, kernel.w))
    }
}

/// The kernel's name in the PTX, such as `gated_f16_f32_warp_silu` or `gated_f32_bf16_block_silu_gate_first`: x, w,
/// variant, activation, and where it gates and rounds if that is not behind the norm and once.
impl core::fmt::Display for GatedKernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let GatedKernel { x, w, variant, gating: Gating { activation, order }, epilogue } = self;
        let first = match order {
            GateOrder::NormFirst => "",
            GateOrder::GateFirst => "_gate_first",
        };
        write!(f, "gated_{x}_{w}_{}_{}{first}{epilogue}", variant.name(), activation.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_has_its_own_number() {
        let mut below = 0;
        for kernel in GatedKernel::all() {
            assert!(kernel.index() >= below, "{kernel:?}");
            below = kernel.index() + 1;
        }
        assert_eq!(GatedKernel::all().count(), 7 * GatedVariant::ALL.len());
        for (index, gating) in Gating::ALL.into_iter().enumerate() {
            assert_eq!(gating.index(), index);
        }
        let last = GatedKernel {
            x: DType::F32,
            w: DType::F32,
            variant: GatedVariant::Scalar,
            gating: Gating::ALL[3],
            epilogue: EpilogueRounding::all().last().expect("there are some"),
        };
        assert_eq!(last.index() + 1, GATED_KERNEL_SLOTS);
    }

    #[test]
    fn the_gate_has_the_type_of_x_or_of_the_weights() {
        use DType::{BF16, F16, F32};
        for (x, w, gate) in [(F16, F16, F16), (BF16, F32, BF16), (F32, BF16, BF16), (F32, F32, F32)] {
            let kernel = GatedKernel::all().find(|kernel| (kernel.x, kernel.w) == (x, w));
            assert_eq!(kernel.map(GatedKernel::gate), Some(gate));
        }
        assert!(!GatedKernel::takes(F16, BF16));
    }
}

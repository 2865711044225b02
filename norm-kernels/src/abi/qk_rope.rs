//! The kernels that norm the heads of queries and keys and rotate them by their positions (QK norm and RoPE).

use core::fmt;

use super::{DType, Divisor, MAX_BLOCK_THREADS, Rounding};

/// The most elements of a head: those that a warp holds in registers, 16 a lane.
pub const MAX_HEAD_DIM: u32 = 512;

/// Which two elements of a head are rotated together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// Elements `i` and `i + rotary / 2` (NeoX): Llama, Qwen, Gemma, Mistral and most others in transformers.
    #[default]
    Halves,
    /// Elements `2i` and `2i + 1` (GPT-J): Llama 4, Cohere, GLM-4, and Llama in Meta's own layout.
    Neighbours,
}

impl Pairing {
    /// Both, the default first.
    pub const ALL: [Pairing; 2] = [Pairing::Halves, Pairing::Neighbours];

    /// The name used in kernel names and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Pairing::Halves => "halves",
            Pairing::Neighbours => "neighbours",
        }
    }
}

impl fmt::Display for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where a rotation rounds, beside the last step. T is the type of the heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RopeRounding {
    /// Nowhere: norm and rotation are computed in `f32`, and rounded once, when they are stored. The most exact.
    #[default]
    Single,
    /// What goes from the norm to the rotation, or from the rotation to the norm, is rounded to T, as if it had been stored
    /// between two kernels. Cohere and Llama 4 in transformers, and engines that rotate in a kernel of its own.
    Between,
    /// That, and both products of the rotation: `T(T(a · cos) - T(b · sin))`. Rotations in transformers that compute in the
    /// model's type: Llama, Qwen 2 and 3, Gemma, Mistral and most others.
    Products,
}

impl RopeRounding {
    /// Every one, the default first.
    pub const ALL: [RopeRounding; 3] = [RopeRounding::Single, RopeRounding::Between, RopeRounding::Products];

    /// The name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            RopeRounding::Single => "single",
            RopeRounding::Between => "between",
            RopeRounding::Products => "products",
        }
    }
}

impl fmt::Display for RopeRounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A kernel for the heads of queries, keys and values: norms them, and rotates those of queries and keys. Its parameter is
/// [`RopeArgs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RopeKernel {
    /// Element type of the heads, and of what is written.
    pub x: DType,
    /// Element type of the weights, that of `x` or `f32`; that of `x` where there are none.
    pub w: DType,
    /// Element type of the tables of cosines and sines, that of `x` or `f32`; that of `x` where nothing is rotated.
    pub table: DType,
    /// Which elements are rotated together.
    pub pairing: Pairing,
    /// Whether heads, weights and tables are whole, aligned vectors.
    pub vectors: bool,
    /// Whether the normalized value is rounded to the type of `x` before the weight multiplies it:
    /// [`Rounding::BeforeWeight`].
    pub before_weight: bool,
    /// Where the rotation rounds.
    pub rounding: RopeRounding,
    /// Whether it serves nothing but heads that are all normed by RMSNorm, in front of the rotation, as most models have it:
    /// then all else is left out of the text, which takes fewer registers. Of whole vectors alone.
    pub rms_only: bool,
    /// Whether it is for grids whose blocks nearly all run at once: these fetch their heads into the L2 while the kernel in front
    /// still finishes. Of a kernel for RMSNorm alone.
    pub short: bool,
}

const TYPES: usize = DType::ALL.len();
/// Element by element, and of whole vectors: for all forms; for one, in long grids and in short ones.
const ACCESSES: [[bool; 3]; 4] =
    [[false, false, false], [true, false, false], [true, true, false], [true, true, true]];
/// Kernels that round once.
const PLAIN: usize = TYPES.pow(3) * Pairing::ALL.len() * ACCESSES.len();

/// A number above every [`RopeKernel::index`].
pub const ROPE_KERNEL_SLOTS: usize = 2 * RopeRounding::ALL.len() * PLAIN;

impl RopeKernel {
    /// The largest block that launches it.
    pub const MAX_THREADS: u32 = 256;

    /// A number below [`ROPE_KERNEL_SLOTS`], different for every kernel.
    pub const fn index(self) -> usize {
        let [x, w, table] = [self.x as usize - 1, self.w as usize - 1, self.table as usize - 1];
        let kernel = ((x * TYPES + w) * TYPES + table) * 2 + self.pairing as usize;
        let order = self.rounding as usize * 2 + self.before_weight as usize;
        let access = self.vectors as usize + self.rms_only as usize + self.short as usize;
        order * PLAIN + kernel * ACCESSES.len() + access
    }

    /// Every kernel that rounds once, in the order of [`index`](Self::index). The others are these with other roundings:
    /// [`roundings`](Self::roundings).
    pub fn all() -> impl Iterator<Item = RopeKernel> {
        let kernels = (0..PLAIN).map(|index| {
            let (index, [vectors, rms_only, short]) =
                (index / ACCESSES.len(), ACCESSES[index % ACCESSES.len()]);
            RopeKernel {
                x: DType::ALL[index / 2 / TYPES / TYPES],
                w: DType::ALL[index / 2 / TYPES % TYPES],
                table: DType::ALL[index / 2 % TYPES],
                pairing: Pairing::ALL[index % 2],
                vectors,
                before_weight: false,
                rounding: RopeRounding::Single,
                rms_only,
                short,
            }
        });
        kernels.filter(|kernel| kernel.exists())
    }

    /// The same kernel with each combination of roundings, itself among them.
    pub fn roundings(self) -> impl Iterator<Item = RopeKernel> {
        RopeRounding::ALL.into_iter().flat_map(move |rounding| {
            [false, true].map(|before_weight| RopeKernel { before_weight, rounding, ..self })
        })
    }

    /// Whether weights or tables of type `given` can stand beside heads of type `x`.
    pub const fn takes(x: DType, given: DType) -> bool {
        given as u32 == x as u32 || given as u32 == DType::F32 as u32
    }

    const fn exists(self) -> bool {
        RopeKernel::takes(self.x, self.w) && RopeKernel::takes(self.x, self.table)
    }

    /// Where the norm rounds.
    pub const fn norm_rounding(self) -> Rounding {
        if self.before_weight { Rounding::BeforeWeight } else { Rounding::Single }
    }

    /// Its suffix for accesses.
    pub(super) const fn access(vectors: bool) -> &'static str {
        if vectors { "vector" } else { "scalar" }
    }
}

const _: () = assert!(RopeKernel::MAX_THREADS <= MAX_BLOCK_THREADS);

/// The entry point's name in the PTX, such as `rope_f16_f16_f32_halves_vector_rms_before_weight_products`: types of heads,
/// weights and tables, pairing, access, whether it serves RMSNorm alone, and then whether short grids, and where it rounds beside
/// the last step.
impl fmt::Display for RopeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RopeKernel { x, w, table, pairing, vectors, before_weight, rounding, rms_only, short } = self;
        write!(f, "rope_{x}_{w}_{table}_{pairing}_{}", RopeKernel::access(*vectors))?;
        f.write_str(if *rms_only { "_rms" } else { "" })?;
        f.write_str(if *short { "_short" } else { "" })?;
        f.write_str(if *before_weight { "_before_weight" } else { "" })?;
        match rounding {
            RopeRounding::Single => Ok(()),
            RopeRounding::Between | RopeRounding::Products => write!(f, "_{rounding}"),
        }
    }
}

/// The heads of queries, keys or values. Strides are in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeHeads {
    /// Device address at which head 0 of all would be: that of the first head of these, minus `x_head` times its number. Wraps
    /// around where that is below 0.
    pub x: u64,
    /// The same of what is written.
    pub y: u64,
    /// The same of the weights.
    pub w: u64,
    /// From a token's heads to those of the next.
    pub x_token: u64,
    /// From a head to the next.
    pub x_head: u64,
    /// From a token's heads to those of the next in what is written.
    pub y_token: u64,
    /// From a head to the next in what is written.
    pub y_head: u64,
    /// From a head's weights to those of the next, 0 where all share theirs.
    pub w_head: u64,
    /// Added to the mean of squares, or the variance, before the square root.
    pub eps: f32,
    /// Added to every weight in `f32`; -0, which changes no weight, if there is no offset.
    pub weight_offset: f32,
    /// What is done with them: [`IS_NORMED`], [`LAYER_NORM`], [`HAS_WEIGHTS`] and [`ROTATES`], added up.
    pub flags: u32,
    /// One more than the number of the last head of these.
    pub end: u32,
}

/// Heads are divided by the root of their mean square.
pub const IS_NORMED: u32 = 1;
/// Their mean is subtracted first. Beside [`IS_NORMED`].
pub const LAYER_NORM: u32 = 2;
/// There are weights. Beside [`IS_NORMED`].
pub const HAS_WEIGHTS: u32 = 4;
/// Heads are rotated.
pub const ROTATES: u32 = 8;

impl RopeHeads {
    /// No heads.
    pub const NONE: RopeHeads = RopeHeads {
        x: 0,
        y: 0,
        w: 0,
        x_token: 0,
        x_head: 0,
        y_token: 0,
        y_head: 0,
        w_head: 0,
        eps: 0.0,
        weight_offset: -0.0,
        flags: 0,
        end: 0,
    };
}

/// The argument of a [`RopeKernel`].
///
/// A row is a group of heads of a token: the heads of a token are those of `q`, then those of `k`, then those of `v`, where the
/// first of each has the next number that is a multiple of `heads_a_group`. The lanes of a warp share a row, `blockDim.x` of them, a power of two; `blockDim.y` rows of a block fill whole warps.
///
/// Of each head a lane has a **unit**, or two where `x` is `f32`: two vectors of 16 bytes, so that the elements which are rotated
/// together are in one thread. With [`Pairing::Halves`] the first `rotating` units are vector `u` of the first half of the
/// rotated elements and vector `u` of the second, and the units behind them are two vectors of the rest of the head,
/// `distance` vectors apart. With [`Pairing::Neighbours`] every unit is two vectors that are `distance` vectors apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeArgs {
    /// Device address of the positions, one a token, of 4 or 8 bytes; of these the lower 4 count.
    pub positions: u64,
    /// Device address of the cosines, `(table_rows, half)`.
    pub cos: u64,
    /// Device address of the sines.
    pub sin: u64,
    /// Bytes from a row of the cosines to the next.
    pub cos_stride: u64,
    /// Bytes from a row of the sines to the next.
    pub sin_stride: u64,
    /// Bytes of a position.
    pub position_bytes: u32,
    /// Rows of the tables. What a position of at least this many would rotate becomes NaN.
    pub table_rows: u32,
    /// Groups of heads of all tokens: below 2³¹.
    pub rows: u32,
    /// Groups of a token's heads.
    pub groups: Divisor,
    /// Heads of a group, 1 or 2, of which the last of `q`, of `k` or of `v` may have fewer; 1 where heads have weights of their
    /// own, and where heads are not whole vectors.
    pub heads_a_group: u32,
    /// The number of the first head of `k` among all heads of a token.
    pub k_from: u32,
    /// The number of the first head of `v`.
    pub v_from: u32,
    /// Elements of a head.
    pub dim: u32,
    /// Half the rotated elements of a head.
    pub half: u32,
    /// Units of a head that are rotated, with [`Pairing::Halves`].
    pub rotating: u32,
    /// Vectors between those of a unit.
    pub distance: u32,
    /// `1 / dim`.
    pub reciprocal: f32,
    /// Not 0 if any heads are normed.
    pub norms: u32,
    /// Not 0 if any heads are normed by LayerNorm.
    pub centers: u32,
    /// Not 0 if heads are rotated before they are normed.
    pub norm_behind: u32,
    /// The queries.
    pub q: RopeHeads,
    /// The keys.
    pub k: RopeHeads,
    /// The values.
    pub v: RopeHeads,
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{collections::BTreeSet, string::ToString};

    #[test]
    fn every_kernel_has_a_number_and_a_name_of_its_own() {
        let kernels = || RopeKernel::all().flat_map(RopeKernel::roundings);
        let numbers: BTreeSet<_> = kernels().map(RopeKernel::index).collect();
        let names: BTreeSet<_> = kernels().map(|kernel| kernel.to_string()).collect();
        assert_eq!((RopeKernel::all().count(), kernels().count()), (72, 432));
        assert_eq!((numbers.len(), names.len()), (432, 432));
        assert!(numbers.iter().all(|&number| number < ROPE_KERNEL_SLOTS));
    }

    #[test]
    fn all_of_them_are_in_the_order_of_their_numbers() {
        assert!(RopeKernel::all().is_sorted_by_key(RopeKernel::index));
    }
}

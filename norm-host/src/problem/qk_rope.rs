//! QK norm and RoPE: a checked operation over the heads of queries, keys and values.

use norm_kernels::abi::{NormKind, Pairing, RopeRounding};

use crate::DType;

/// A checked operation that norms the heads of queries, keys and values, each with parameters of its own, and rotates
/// those of queries and keys by the positions of their tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QkRopeProblem {
    /// The queries.
    pub q: Heads,
    /// The keys.
    pub k: Option<Heads>,
    /// The values, which are not rotated.
    pub v: Option<Heads>,
    /// The type of all heads, read and written.
    pub dtype: DType,
    /// Number of tokens. With 0 there is nothing to do.
    pub tokens: u64,
    /// Elements in a head, 1 to [`MAX_HEAD_DIM`](crate::MAX_HEAD_DIM).
    pub head_dim: u32,
    /// The rotation of queries and keys, if they are rotated.
    pub rotation: Option<Rotation>,
    /// Whether they are rotated before they are normed.
    pub norm_behind: bool,
    /// Whether normalized values are rounded to the heads' type before the weights multiply them.
    pub before_weight: bool,
    /// Where it rounds between norm and rotation, and in the rotation.
    pub rounding: RopeRounding,
    /// Whether a device may start the kernel before its predecessor has finished. No output depends on it.
    pub overlap: bool,
}

/// The heads of queries, keys or values, `(tokens, heads, head_dim)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// Heads of a token.
    pub heads: u64,
    /// What is read.
    pub x: HeadsOperand,
    /// What is written: the same, or apart from everything that is read.
    pub y: HeadsOperand,
    /// The norm, if they are normed.
    pub norm: Option<HeadNorm>,
}

/// A tensor of heads, each of contiguous elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadsOperand {
    /// Address of the first element.
    pub address: u64,
    /// Elements from a token to the next.
    pub token_stride: u64,
    /// Elements from a head to the next.
    pub head_stride: u64,
}

/// The norm of heads: `n = norm(x) * (w + weight_offset)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadNorm {
    /// Which normalization.
    pub kind: NormKind,
    /// Added to the mean of squares, or the variance, before the square root.
    pub eps: f32,
    /// The weights, `(head_dim,)` for all heads or `(heads, head_dim)`, of the heads' type or `f32`: 1 where there are
    /// none. All norms of an operation have weights of one type.
    pub w: Option<super::Param>,
    /// Added to every weight in `f32`. Without weights it has no effect: the factor is 1.
    pub weight_offset: f32,
}

/// The rotation of heads: of a pair of elements `(a, b)` it makes `(a cos - b sin, b cos + a sin)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotation {
    /// The cosines.
    pub cos: Table,
    /// The sines.
    pub sin: Table,
    /// The type of both tables: the heads' type or `f32`.
    pub dtype: DType,
    /// Rows of both tables.
    pub rows: u32,
    /// Elements of a row of a table: pairs that are rotated, at most half of `head_dim`.
    pub half: u32,
    /// Which elements of a head are rotated together.
    pub pairing: Pairing,
    /// Address of the positions, one a token: rows of the tables.
    pub positions: u64,
    /// Bytes of a position: 4 or 8.
    pub position_bytes: u32,
}

/// A table of cosines or sines, `(positions, pairs)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Address of the first element.
    pub address: u64,
    /// Elements from a row to the next.
    pub stride: u64,
}

impl QkRopeProblem {
    /// Queries, keys and values, and whether they are rotated.
    pub fn parts(&self) -> [Option<(Heads, bool)>; 3] {
        let rotates = self.rotation.is_some();
        [Some((self.q, rotates)), self.k.map(|k| (k, rotates)), self.v.map(|v| (v, false))]
    }

    /// Heads of a token, of queries, keys and values together.
    pub fn heads(&self) -> u64 {
        self.parts().into_iter().flatten().map(|(part, _)| part.heads).sum()
    }

    /// The norms of queries, keys and values that there are.
    pub fn norms(&self) -> impl Iterator<Item = HeadNorm> {
        self.parts().into_iter().flatten().filter_map(|(part, _)| part.norm)
    }

    /// The type of the weights, if there are any.
    pub fn weight_dtype(&self) -> Option<DType> {
        self.norms().find_map(|norm| norm.w).map(|w| w.dtype)
    }

    /// Whether normalized values are rounded before the weights multiply them, as far as there is something to round.
    pub fn rounds_before_weight(&self) -> bool {
        self.before_weight && self.dtype != DType::F32 && self.norms().next().is_some()
    }

    /// Where it rounds between norm and rotation, and in the rotation, as far as there is something to round.
    pub fn roundings(&self) -> RopeRounding {
        if self.dtype == DType::F32 || self.rotation.is_none() { RopeRounding::Single } else { self.rounding }
    }

    /// Whether heads are rotated before they are normed, as far as both are done.
    pub fn is_norm_behind(&self) -> bool {
        self.norm_behind && self.rotation.is_some() && self.norms().next().is_some()
    }
}

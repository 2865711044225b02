//! The plan of QK norm and RoPE.

use norm_kernels::abi::{
    Divisor, HAS_WEIGHTS, LAYER_NORM, NO_NORM, NormKind, Pairing, RMS_NORM, RopeArgs, RopeHeads, RopeKernel,
    WARP,
};

use super::{
    DeviceProfile, MAX_GRID,
    alignment::is_aligned,
    kernel_offset,
    ladders::{ROPE_GROUPS, ROPE_THREADS},
};
use crate::{
    DType,
    error::{Arg, Error, Result},
    problem::{HeadNorm, Heads, HeadsOperand, Param, QkRopeProblem, Rotation, Table},
};

/// Threads of as many blocks as make a short grid, so that four of them fill a multiprocessor.
const FULL_BLOCK: u64 = 256;

/// A launch that norms and rotates heads.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QkRopePlan {
    /// The entry point.
    pub kernel: RopeKernel,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block: along a head, for each of its heads, 1.
    pub block: [u32; 3],
    /// Whether the kernel may start before its predecessor has finished (programmatic dependent launch), on devices
    /// that support it.
    pub overlap: bool,
    /// The kernel's parameter.
    pub args: RopeArgs,
}

/// How a head is dealt to lanes: see [`RopeArgs`]. It follows from the type, `head_dim`, the number of pairs and their order
/// alone, and decides the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deal {
    /// Elements in a vector.
    width: u32,
    rotating: u32,
    distance: u32,
    lanes: u32,
}

impl Deal {
    fn new(dtype: DType, dim: u32, half: u32, pairing: Pairing) -> Deal {
        let width = 16 / dtype.size() as u32;
        let (rotating, distance) = match pairing {
            Pairing::Halves => (half.div_ceil(width), (dim - 2 * half).div_ceil(width).div_ceil(2)),
            Pairing::Neighbours => (0, dim.div_ceil(width).div_ceil(2)),
        };
        // Lanes have one unit of 16-bit elements, two of f32.
        let units_a_lane = 8 / width;
        let lanes = (rotating + distance).div_ceil(units_a_lane).next_power_of_two().min(WARP);
        Deal { width, rotating, distance, lanes }
    }
}

impl QkRopePlan {
    /// The launch for at least one head, on a device of that profile.
    ///
    /// # Errors
    ///
    /// [`GridTooLarge`](Error::GridTooLarge) if there are more heads than blocks in the largest grid.
    pub fn new(problem: &QkRopeProblem, profile: DeviceProfile) -> Result<QkRopePlan> {
        let QkRopeProblem { q, k, v, dtype, tokens, head_dim, rotation, overlap, .. } = *problem;
        let (half, pairing) = rotation.map_or((0, Pairing::Halves), |it| (it.half, it.pairing));
        let deal = Deal::new(dtype, head_dim, half, pairing);
        // A grid may have a block that is not full.
        let max = MAX_GRID - u64::from(RopeKernel::MAX_THREADS);
        let of_token = problem.heads();
        let all = of_token.checked_mul(tokens).filter(|&all| all <= max);
        let Some(all) = all.and_then(|all| u32::try_from(all).ok()) else {
            return Err(Error::GridTooLarge { arg: Arg::Q, blocks: of_token.saturating_mul(tokens), max });
        };
        let heads_a_group = heads_a_group(problem, all, deal.lanes, profile);
        let rows = all / heads_a_group;
        let rows_a_block = ROPE_THREADS / deal.lanes;
        let kernel = RopeKernel {
            x: dtype,
            w: problem.weight_dtype().unwrap_or(dtype),
            table: rotation.map_or(dtype, |rotation| rotation.dtype),
            pairing,
            vectors: takes_vectors(problem, deal),
            before_weight: problem.rounds_before_weight(),
            rounding: problem.roundings(),
        };
        let k_from = q.heads as u32;
        let v_from = k_from + k.map_or(0, |k| k.heads as u32);
        let rotates = rotation.is_some();
        let of = |part: Option<Heads>, from: u32, rotates: bool| {
            part.map_or(RopeHeads::NONE, |part| heads(&part, dtype, from, rotates))
        };
        let table = |table: fn(&Rotation) -> Table| {
            rotation.map_or((0, 0), |it| {
                let Table { address, stride } = table(&it);
                (address, stride * it.dtype.size() as u64)
            })
        };
        let ((cos, cos_stride), (sin, sin_stride)) = (table(|it| it.cos), table(|it| it.sin));
        let any = |is: fn(&HeadNorm) -> bool| u32::from(problem.norms().any(|norm| is(&norm)));
        Ok(QkRopePlan {
            kernel,
            grid: [rows.div_ceil(rows_a_block), 1, 1],
            block: [deal.lanes, rows_a_block, 1],
            overlap,
            args: RopeArgs {
                positions: rotation.map_or(0, |it| it.positions),
                cos,
                sin,
                cos_stride,
                sin_stride,
                position_bytes: rotation.map_or(0, |it| it.position_bytes),
                table_rows: rotation.map_or(0, |it| it.rows),
                rows,
                groups: Divisor::new(of_token as u32 / heads_a_group),
                heads_a_group,
                k_from,
                v_from,
                dim: head_dim,
                half,
                rotating: deal.rotating,
                distance: deal.distance,
                reciprocal: (1.0 / f64::from(head_dim)) as f32,
                norms: any(|_| true),
                centers: any(|norm| norm.kind == NormKind::Layer),
                norm_behind: problem.is_norm_behind().into(),
                q: of(Some(q), 0, rotates),
                k: of(k, k_from, rotates),
                v: of(v, v_from, false),
            },
        })
    }
}

/// Heads that a thread goes through. More of them share what is set up once, but leave fewer threads, which must still fill
/// the device.
fn heads_a_group(problem: &QkRopeProblem, all: u32, lanes: u32, profile: DeviceProfile) -> u32 {
    let parts = || problem.parts().into_iter().flatten().map(|(part, _)| part);
    let have_own_weights = problem.norms().any(|norm| norm.w.is_some_and(|w| w.stride != 0));
    let fits = |heads: u32| {
        let is_whole = parts().all(|part| part.heads.is_multiple_of(heads.into()));
        let threads = u64::from(all / heads) * u64::from(lanes);
        is_whole && !have_own_weights && threads >= FULL_BLOCK * profile.short_grid
    };
    ROPE_GROUPS.into_iter().find(|&heads| fits(heads)).unwrap_or(1)
}

/// The kernel's numbers of queries, keys or values, the first of which is head `from` of all.
fn heads(Heads { x, y, norm, .. }: &Heads, dtype: DType, from: u32, rotates: bool) -> RopeHeads {
    let base = |address: u64, head: u64| address.wrapping_sub(head.wrapping_mul(from.into()));
    let operand = |HeadsOperand { address, token_stride, head_stride }: HeadsOperand| {
        let [token, head] = [token_stride, head_stride].map(|stride| stride * dtype.size() as u64);
        (base(address, head), token, head)
    };
    let ((x, x_token, x_head), (y, y_token, y_head)) = (operand(*x), operand(*y));
    let w = norm.and_then(|norm| norm.w);
    let w_head = w.map_or(0, |w| w.stride * w.dtype.size() as u64);
    let kind = norm.map_or(NO_NORM, |norm| match norm.kind {
        NormKind::Rms => RMS_NORM,
        NormKind::Layer => LAYER_NORM,
    });
    RopeHeads {
        x,
        y,
        w: w.map_or(0, |w| base(w.address, w_head)),
        x_token,
        x_head,
        y_token,
        y_head,
        w_head,
        eps: norm.map_or(0.0, |norm| norm.eps),
        weight_offset: kernel_offset(w, norm.map_or(0.0, |norm| norm.weight_offset)),
        norm: kind | if w.is_some() { HAS_WEIGHTS } else { 0 },
        rotates: rotates.into(),
    }
}

/// Whether heads, weights and tables are whole, aligned vectors.
fn takes_vectors(problem: &QkRopeProblem, deal: Deal) -> bool {
    let width = u64::from(deal.width);
    let is_whole = |elements: u32| elements.is_multiple_of(deal.width);
    let rotation = problem.rotation.as_ref();
    let whole = is_whole(problem.head_dim)
        && rotation.is_none_or(|it| match it.pairing {
            Pairing::Halves => is_whole(it.half),
            Pairing::Neighbours => is_whole(2 * it.half),
        });
    let of_heads = |part: &Heads| {
        let operand = |HeadsOperand { address, token_stride, head_stride }: HeadsOperand| {
            // The stride of an axis with one position is never used.
            let token = if problem.tokens > 1 { token_stride } else { 0 };
            let head = if part.heads > 1 { head_stride } else { 0 };
            is_aligned(width, problem.dtype, address, [token, head])
        };
        let w = part.norm.and_then(|norm| norm.w);
        operand(part.x)
            && operand(part.y)
            && w.is_none_or(|Param { address, dtype, stride }| is_aligned(width, dtype, address, [stride]))
    };
    // A unit of neighbours has two pieces of a table's row, each half as long.
    let of_tables = |it: &Rotation| {
        let piece = if it.pairing == Pairing::Halves { width } else { width / 2 };
        [it.cos, it.sin]
            .iter()
            .all(|&Table { address, stride }| is_aligned(piece, it.dtype, address, [stride]))
    };
    whole
        && problem.parts().iter().flatten().all(|(part, _)| part.heads == 0 || of_heads(part))
        && rotation.is_none_or(of_tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_dealt_to_whole_lanes() {
        let deal = |dtype, dim, half, pairing| {
            let Deal { width, rotating, distance, lanes } = Deal::new(dtype, dim, half, pairing);
            [width, rotating, distance, lanes]
        };
        use DType::{BF16, F16, F32};
        use Pairing::{Halves, Neighbours};
        assert_eq!(deal(F16, 128, 64, Halves), [8, 8, 0, 8]);
        assert_eq!(deal(BF16, 256, 32, Halves), [8, 4, 12, 16]);
        assert_eq!(deal(F16, 512, 256, Halves), [8, 32, 0, 32]);
        assert_eq!(deal(F16, 128, 64, Neighbours), [8, 0, 8, 8]);
        assert_eq!(deal(F32, 512, 256, Halves), [4, 64, 0, 32]);
        assert_eq!(deal(F32, 128, 0, Halves), [4, 0, 16, 8]);
        assert_eq!(deal(F16, 1, 0, Halves), [8, 0, 1, 1]);
    }

    /// However odd a head, its units fit the lanes: one more a lane than in whole vectors, where they are not whole.
    #[test]
    fn every_head_fits_the_units_of_its_lanes() {
        for dtype in DType::ALL {
            for (dim, pairing) in (1..=norm_kernels::abi::MAX_HEAD_DIM)
                .flat_map(|dim| Pairing::ALL.map(|pairing| (dim, pairing)))
            {
                for half in (0..=dim / 2).step_by(3).chain([dim / 2]) {
                    let Deal { width, rotating, distance, lanes } = Deal::new(dtype, dim, half, pairing);
                    let is_whole = dim.is_multiple_of(width) && half.is_multiple_of(width);
                    let units_a_lane = 8 / width + u32::from(!is_whole);
                    assert!(rotating + distance <= lanes * units_a_lane, "{dtype} {dim} {half} {pairing}");
                }
            }
        }
    }
}

//! The cases by which `norm check --every-kernel` reaches a kernel of groups, and those beside them.

use norm_host::{NormKind, Stray};
use norm_kernels::abi::{Exchange, GroupKernel, GroupVariant, width};

use super::super::case::{CheckCase, Placement, ResidualForm, ValuePattern};
use super::super::every::plain;
use super::GroupCase;

/// Three calls of two ranks, whose blocks have several rows each: the third call has the first one's buffer again. Rows are
/// dense, and of vectors that are no multiple of a warp's lanes.
pub fn case(kernel: GroupKernel) -> GroupCase {
    let GroupKernel { norm, x, w, variant, epilogue } = kernel;
    let width = width(x, x) as usize;
    let (rows, dim) = match variant {
        GroupVariant::Block => (5, 203 * width),
        // Several rows a block of threads.
        GroupVariant::Stream => (37, 11 * width),
        GroupVariant::Scalar => (37, 10 * width + 3),
    };
    let rows = CheckCase {
        data: ValuePattern::Mixed,
        rounding: epilogue.order,
        w: plain(NormKind::Rms, [x, w, x], 1, 1).w.filter(|_| norm.is_some()),
        ..plain(norm.unwrap_or(NormKind::Rms), [x, w, x], rows, dim)
    };
    GroupCase {
        rows,
        sum: norm.is_none(),
        ranks: 2,
        calls: 3,
        blocks: 2,
        exchange: Exchange::OneShot,
        piece: None,
        stray: None,
        completed: 0,
    }
}

/// The cases beside that one: two-shot by three ranks, whose count of calls wraps, in place and with gaps, in several launches a
/// call; eight ranks; long rows; a norm with a residual, with biases, and without weights; and the exchange of one sum a row of
/// rows that are split over devices. Rows in place, with gaps and long ones, also as packets.
pub fn beside(kernel: GroupKernel, case: &GroupCase) -> Vec<GroupCase> {
    let GroupKernel { norm, x, variant, .. } = kernel;
    let dim = case.rows.dim();
    let of = |rows: usize, dim: usize| CheckCase {
        shape: vec![rows, dim],
        data: ValuePattern::Normal,
        ..case.rows.clone()
    };
    let has_norm = norm.is_some();
    let added = |gaps| if has_norm { ResidualForm::PreNorm { gaps, at: 0 } } else { ResidualForm::None };
    let gaps = |placement: Placement, gaps| Placement { gaps, ..placement };
    let strided = CheckCase {
        shape: vec![2, 3, 2, dim],
        x: gaps(case.rows.x, [32, 24, 8]),
        y: gaps(case.rows.y, [32, 24, 8]),
        residual: added([16, 40, 8]),
        in_place: true,
        ..of(1, dim)
    };
    let two_shot = |rows: CheckCase, ranks: usize| GroupCase {
        rows,
        ranks,
        exchange: Exchange::TwoShot,
        ..case.clone()
    };
    let width = width(x, x) as usize;
    // One row a block at a time, so that each rank has its turn to reduce; in kernels that reload rows since they have what others
    // do not add.
    let single = CheckCase {
        data: ValuePattern::Spot,
        b: case.rows.w.filter(|_| norm == Some(NormKind::Rms) && variant != GroupVariant::Block),
        weight_offset: if norm == Some(NormKind::Layer) && variant != GroupVariant::Block {
            1.0
        } else {
            0.0
        },
        ..of(9, 67 * width + if variant == GroupVariant::Scalar { 3 } else { 0 })
    };
    let mut cases = vec![
        GroupCase { calls: 1, completed: u32::MAX - 1, piece: Some(5), ..two_shot(strided.clone(), 3) },
        GroupCase { calls: 1, blocks: 1, ..two_shot(single, 8) },
    ];
    // Packets, by blocks that have several rows, as their number wraps, in place.
    let shape = match variant {
        GroupVariant::Block => vec![2, 1, 2, dim],
        GroupVariant::Stream | GroupVariant::Scalar => vec![2, 3, 6, dim],
    };
    let rows = CheckCase { shape, ..strided.clone() };
    cases.push(GroupCase { rows, completed: u32::MAX - 1, exchange: Exchange::Packets, ..case.clone() });
    let once = |rows: CheckCase, ranks: usize| GroupCase { rows, ranks, calls: 1, ..case.clone() };
    if variant != GroupVariant::Block {
        // More vectors than a block's threads have at a time, or than a thread adds up at a time.
        let odd = usize::from(variant == GroupVariant::Scalar);
        let vectors = match norm {
            None => 1600,
            // Shorter ones are held in registers.
            Some(NormKind::Layer) if variant == GroupVariant::Stream => 2100,
            Some(_) => 1100,
        };
        let long = of(1, vectors * width + odd);
        // Without a norm a thread has four vectors of each rank at a time.
        let ranks = if has_norm { 2 } else { 8 };
        let in_place = CheckCase { in_place: true, ..long.clone() };
        let by_packets = CheckCase { residual: added([0; 3]), ..in_place.clone() };
        cases.push(GroupCase { exchange: Exchange::Packets, ..once(by_packets, 3) });
        cases.push(once(CheckCase { residual: added([0; 3]), ..long }, ranks));
        cases.push(GroupCase { calls: 1, ..two_shot(in_place, 2) });
    }
    if let Some(kind) = norm {
        let far = if kind == NormKind::Layer { ValuePattern::Shifted } else { ValuePattern::Hard };
        cases.push(once(CheckCase { residual: added([0; 3]), data: far, ..of(3, dim) }, 3));
        let is_bare = case.rows.rounding == norm_host::Rounding::Single;
        if kind == NormKind::Layer || variant != GroupVariant::Block {
            cases.push(once(CheckCase { b: case.rows.w, ..of(2, dim) }, 2));
        }
        if is_bare {
            // Without weights a kernel is that for weights of the type of x.
            cases.push(once(CheckCase { w: None, ..of(2, dim) }, 2));
        }
        if kind == NormKind::Rms || variant != GroupVariant::Block {
            cases.push(once(CheckCase { weight_offset: 1.0, ..of(2, dim) }, 2));
        }
    } else {
        // One f32 a row, in place.
        let sums =
            CheckCase { in_place: true, ..of(1, 16 * width + usize::from(variant == GroupVariant::Scalar)) };
        cases.push(GroupCase { calls: 3, ..once(sums, 3) });
    }
    // The last ones have the fewest elements.
    let strays = [Stray::Absent, Stray::OtherCall, Stray::OtherEpoch];
    for (case, stray) in cases.iter_mut().rev().zip(strays) {
        (case.stray, case.ranks) = (Some(stray), case.ranks.max(3));
    }
    cases
}

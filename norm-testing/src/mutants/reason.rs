//! Why a change may survive that leaves every output as it is.

use norm_kernels::abi::{EntryPoint, ShardKernel, Variant};

use super::operator::Operator;
use super::pool::Mutant;
use super::statement::Statement;

/// The reason, where a rule tells it. That the outputs have the same bits is known.
pub fn of(mutant: &Mutant) -> Option<&'static str> {
    let here = mutant.statement();
    match mutant.operator {
        Operator::Rounding if here.opcode.ends_with("f32") || here.opcode.ends_with("f64") => {
            Some("an intermediate result rounded the other way, of which the outputs show nothing")
        }
        Operator::Constant if is_small(mutant) => Some("a constant changed by less than the outputs show"),
        Operator::Shuffle if is_low_half(mutant) => {
            Some("of the low half of an f64, less than 2⁻²⁰ of it, of which the outputs show nothing")
        }
        Operator::Shuffle if is_another_order(mutant) => Some("a sum over the same lanes in another order"),
        Operator::Shuffle if !is_of_warps(mutant) && leaves_lane_0(mutant) => {
            Some("of a warp's sum lane 0 alone goes on, and it gets the same elements")
        }
        Operator::VectorOrder if here.base() == "ld" => {
            Some("elements that are only summed, here in another order")
        }
        Operator::NonCoherent if is_never_written(mutant) => Some("no call writes what it loads"),
        Operator::Offset | Operator::Width if is_share(mutant) => Some(
            "the share of a row that a block has, where one block has all of it: any number that is no less",
        ),
        Operator::Constant | Operator::Comparison if is_of_slots(mutant) => {
            Some("of the warps' sums in shared memory there is one more, which is 0")
        }
        _ => None,
    }
}

/// Whether a constant changes in its last bits, from 0 to the smallest number or to -0, or below the bits of a bf16.
fn is_small(mutant: &Mutant) -> bool {
    let (here, changed) = (mutant.statement(), &mutant.change.text);
    let float = |text: &str| {
        let at = text.find("0f")?;
        u32::from_str_radix(text.get(at + 2..at + 10)?, 16).ok().map(f32::from_bits)
    };
    let before = here.operands.iter().find_map(|operand| float(operand));
    let after = float(changed);
    let is_near = before.zip(after).is_some_and(|(a, b)| (a - b).abs() <= f32::MIN_POSITIVE + 2e-7 * a.abs());
    let of_half = ["0xffff0001", "0xffff0010"].iter().any(|mask| changed.contains(mask));
    // The smallest number of any type in place of 0, for elements past a row.
    let is_smallest = here.opcode == "mov.b32" && here.operands[1] == "0" && changed.ends_with(", 1;");
    is_near || of_half || is_smallest
}

/// Whether the statement loads `Args::share`, in a kernel that is not launched in clusters.
fn is_share(mutant: &Mutant) -> bool {
    let here = mutant.statement();
    let loads = here.opcode == "ld.param.b64" && here.operands[1].ends_with("_param_0+40]");
    let clusters = match mutant.entry {
        EntryPoint::Norm(kernel) => {
            matches!(kernel.variant, Variant::Staged | Variant::Mixed | Variant::Stream | Variant::Scalar)
        }
        EntryPoint::Shard(_) => false,
        // The argument of other kernels has other fields there, or their blocks may be clusters.
        EntryPoint::Quant(_) | EntryPoint::Gated(_) | EntryPoint::Rope(_) | EntryPoint::Group(_) => {
            return false;
        }
    };
    loads && !clusters
}

/// Whether the statement rounds the number of warps up to a multiple of 4 or 8 sums, or compares with that number.
fn is_of_slots(mutant: &Mutant) -> bool {
    let around =
        &mutant.module.kernel[mutant.at.saturating_sub(1)..(mutant.at + 2).min(mutant.module.kernel.len())];
    let here = mutant.statement();
    let is_mask = |other: &Statement| {
        other.opcode == "and.b32" && other.operands.last().is_some_and(|mask| mask == "120" || mask == "124")
    };
    let is_addition =
        here.opcode == "add.s32" && [", 4;", ", 8;"].iter().any(|end| mutant.change.text.ends_with(end));
    let is_more = is_addition || mutant.change.text.starts_with("setp.gt.u32");
    around.iter().any(is_mask) && is_more && !is_mask(here)
}

/// Whether what is shuffled is the low half of a number of 64 bits.
fn is_low_half(mutant: &Mutant) -> bool {
    let register = &mutant.statement().operands[1];
    let before = mutant.module.kernel[..mutant.at].iter().rev();
    let written = before.into_iter().find(|other| other.operands.first() == Some(register));
    written.is_some_and(|written| written.opcode == "cvt.u32.u64")
}

/// Whether the lane is another one, with which the lanes of all steps still add up to all lanes of a warp: with 1, 2, 4, 8 and
/// 16, of which this step has one, every lane is reached as long as the step has that bit.
fn is_another_order(mutant: &Mutant) -> bool {
    let lane = |text: &str| text.trim().parse::<u32>().ok();
    let before = lane(&mutant.statement().operands[2]);
    let after = mutant.change.text.split(", ").nth(2).and_then(lane);
    mutant.change.text.contains(".bfly.")
        && before.zip(after).is_some_and(|(before, after)| before != after && before & after == before)
}

/// Whether a warp has rows of its own, so that each of its lanes needs the sum.
fn is_of_warps(mutant: &Mutant) -> bool {
    match mutant.entry {
        EntryPoint::Norm(kernel) => matches!(kernel.variant, Variant::Warp2 | Variant::Warp4),
        EntryPoint::Quant(_) | EntryPoint::Shard(_) | EntryPoint::Group(_) => false,
        // Rows and heads that share a warp.
        EntryPoint::Gated(_) | EntryPoint::Rope(_) => true,
    }
}

/// Whether lane 0 gets what it got: from the lane that is as far up, or of the lower half, or the sum over the same
/// lanes in another order.
fn leaves_lane_0(mutant: &Mutant) -> bool {
    let lane = mutant.statement().operands[2].parse::<u32>().unwrap_or(0);
    let changed = &mutant.change.text;
    let is_same_lane = changed.contains(&format!(", {lane}, "));
    let downwards = changed.contains(".down.") || changed.contains(".idx.") && lane == 1;
    let clamped = changed.contains(".bfly.") && changed.contains(", 15, ") && lane < 16;
    is_same_lane && (downwards || clamped)
}

/// Whether the load is of the factor of a sum, or of an `x` that `y`, of another type, is never.
fn is_never_written(mutant: &Mutant) -> bool {
    let is_scale = mutant.statement().opcode == "ld.global.b32";
    is_scale
        || match mutant.entry {
            EntryPoint::Norm(kernel) => kernel.x != kernel.y,
            EntryPoint::Shard(ShardKernel::Apply { x, y, .. }) => x != y,
            EntryPoint::Shard(ShardKernel::Partial { .. }) => true,
            EntryPoint::Quant(_) | EntryPoint::Gated(_) | EntryPoint::Rope(_) | EntryPoint::Group(_) => false,
        }
}

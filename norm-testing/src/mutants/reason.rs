//! Why a change may survive that leaves every output as it is.

use norm_kernels::abi::{DType, EntryPoint, QuantFormat, QuantRecipe, ShardKernel, Variant};

use super::operator::Operator;
use super::pool::Mutant;
use super::statement::Statement;

/// The reason, where a rule tells it. That the outputs have the same bits is known.
pub fn of(mutant: &Mutant) -> Option<&'static str> {
    let here = mutant.statement();
    let is_norm = matches!(mutant.entry, EntryPoint::Norm(_));
    match mutant.operator {
        Operator::Rounding if here.opcode.ends_with("f32") || here.opcode.ends_with("f64") => {
            Some("an intermediate result rounded the other way, of which the outputs show nothing")
        }
        Operator::Constant if is_small(mutant) => Some("a constant changed by less than the outputs show"),
        Operator::Constant if is_another_nan(mutant) => Some("one NaN for another"),
        Operator::Guard if is_of_second_pass(mutant) => {
            Some("a second pass over a row that needs none, which comes to the same")
        }
        Operator::Shuffle if is_low_half(mutant) => {
            Some("of the low half of an f64, less than 2⁻²⁰ of it, of which the outputs show nothing")
        }
        Operator::Shuffle if is_another_order(mutant) => Some("a sum over the same lanes in another order"),
        Operator::Shuffle if !is_of_warps(mutant) && leaves_lane_0(mutant) => {
            Some("of a warp's sum lane 0 alone goes on, and it gets the same elements")
        }
        Operator::Vote if is_of_exact_squares(mutant) => {
            Some("bf16's squares, of 16 bits, add up exactly where a second pass would be needed")
        }
        Operator::Vote if is_of_one_row(mutant) => Some("lanes that all have the same row's scale agree"),
        Operator::VectorOrder if here.base() == "ld" || is_norm && here.base() == "mov" => {
            Some("elements that are only summed, here in another order")
        }
        Operator::NonCoherent if is_never_written(mutant) => Some("no call writes what it loads"),
        Operator::Offset | Operator::Width if is_share(mutant) => Some(
            "the share of a row that a block has, where one block has all of it: any number that is no less",
        ),
        Operator::Width if is_of_prefetch(mutant) => {
            Some("the half of a parameter by which rows are prefetched, a hint")
        }
        Operator::Width if is_of_exchange(mutant) => Some(
            "the half of a parameter that says how rows are exchanged: all ranks stage them, with the same bits",
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
    // Of integers that stand for f16, whose last bits are not among these.
    let of_half = ["0xffff0001", "0xffff0010", "0x81fffc01"].iter().any(|mask| changed.contains(mask));
    // An ULP of the number that f16 is clamped to is an eighth of one of bf16.
    let is_narrow = matches!(mutant.entry, EntryPoint::Norm(kernel) if kernel.y == DType::BF16);
    let of_clamp = is_narrow && here.operands.get(1).is_some_and(|bound| bound == "0x7bff7bff");
    let of_half = of_half || of_clamp && changed.ends_with("0x7bff7bfe;");
    // The smallest number of any type in place of 0, for elements past a row.
    let is_smallest = here.opcode == "mov.b32" && here.operands[1] == "0" && changed.ends_with(", 1;");
    // The same of two -0 in 16 bits each.
    let of_pair = here.opcode == "mov.b32" && here.operands[1] == "-2147450880";
    let is_smallest = is_smallest || of_pair && changed.ends_with(", -2147450879;");
    // Where magnitudes are compared by their bits, for a lane that has none.
    let is_quantized = matches!(mutant.entry, EntryPoint::Quant(_));
    let of_none = here.opcode == "selp.b32" && here.operands[1] == "0" && changed.contains(", 1, ");
    let is_smallest = is_smallest || is_quantized && of_none;
    is_near || of_half || is_smallest
}

/// Whether rows of bf16 vote on LayerNorm's second pass.
fn is_of_exact_squares(mutant: &Mutant) -> bool {
    matches!(mutant.entry, EntryPoint::Norm(kernel) if kernel.x == DType::BF16 && is_of_warps(mutant))
}

/// Whether a vote is on codes of a row that has one scale, so that no lane of a warp votes unlike the others.
fn is_of_one_row(mutant: &Mutant) -> bool {
    let EntryPoint::Quant(kernel) = mutant.entry else { return false };
    let of_blocks = matches!(kernel.recipe, QuantRecipe::Exact | QuantRecipe::FlashInferBlock);
    kernel.format == QuantFormat::Int8 || !of_blocks
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

/// Whether the statement loads `Args::share` without `Args::l2_prefetch_rows`, which is behind it.
fn is_of_prefetch(mutant: &Mutant) -> bool {
    let here = mutant.statement();
    let has_args = !matches!(mutant.entry, EntryPoint::Rope(_));
    has_args && here.opcode == "ld.param.b64" && here.operands[1].ends_with("_param_0+40]")
}

/// Whether the statement loads `GroupArgs::signature` without `GroupArgs::exchange`, which is behind it.
fn is_of_exchange(mutant: &Mutant) -> bool {
    let here = mutant.statement();
    matches!(mutant.entry, EntryPoint::Group(_))
        && here.opcode == "ld.param.b64"
        && here.operands[1].ends_with("_param_1+112]")
}

/// Whether the statement rounds the number of warps up to a multiple of 4 or 8 sums, or compares with that number.
fn is_of_slots(mutant: &Mutant) -> bool {
    let around =
        &mutant.module.kernel[mutant.at.saturating_sub(1)..(mutant.at + 2).min(mutant.module.kernel.len())];
    let here = mutant.statement();
    // Of a block along two axes the compiler knows no largest number of warps, and keeps more bits.
    let masks = ["120", "124", "131064", "131068"];
    let is_mask = |other: &Statement| {
        other.opcode == "and.b32" && other.operands.last().is_some_and(|mask| masks.contains(&mask.as_str()))
    };
    let is_addition =
        here.opcode == "add.s32" && [", 4;", ", 8;"].iter().any(|end| mutant.change.text.ends_with(end));
    let is_comparison =
        ["setp.gt.u32", "setp.eq.u32"].iter().any(|start| mutant.change.text.starts_with(start));
    let is_more = is_addition || is_comparison;
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
            // Codes have another type than x, and no output may lie where a gate, weights or a table do. What else a call may
            // write where it reads, a residual, x and heads, it does in some case, and the change is found.
            EntryPoint::Quant(_) | EntryPoint::Gated(_) | EntryPoint::Rope(_) => true,
            EntryPoint::Group(_) => false,
        }
}

/// Whether a register gets one NaN in place of another, be it read as an f32 or as 16 bits.
fn is_another_nan(mutant: &Mutant) -> bool {
    let here = mutant.statement();
    let is_nan = |text: &str| {
        let digits = text.trim_end_matches(';').rsplit(' ').next().and_then(|last| last.strip_prefix("0x"));
        let Some(bits) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else { return false };
        // Of f16 as of bf16, whose exponent has all bits of that of f16.
        let is_half = bits & 0x7fff > 0x7f80;
        is_half && (here.opcode == "mov.b16" || here.opcode == "mov.b32" && f32::from_bits(bits).is_nan())
    };
    is_nan(&here.with_opcode(&here.opcode)) && is_nan(&mutant.change.text)
}

/// Whether a branch to LayerNorm's second pass, which is taken where the variance is too small a part of the squares or
/// infinite, is always taken.
fn is_of_second_pass(mutant: &Mutant) -> bool {
    let kernel = &mutant.module.kernel;
    let here = mutant.statement();
    let register = here.guard.as_deref().map(|guard| guard.trim_start_matches("@").to_owned());
    let written = |register: &String| {
        let before = kernel[..mutant.at].iter().rev().take(8);
        before.into_iter().find(|other| other.operands.first() == Some(register))
    };
    let Some(either) = register.as_ref().and_then(written) else { return false };
    let is_of_infinity = |source: &String| {
        written(source).is_some_and(|compared| {
            compared.opcode == "setp.equ.f32"
                && compared.operands.last().is_some_and(|bound| bound == "0f7F800000")
        })
    };
    here.base() == "bra"
        && !mutant.change.text.starts_with('@')
        && either.opcode == "or.pred"
        && either.operands[1..].iter().any(is_of_infinity)
}

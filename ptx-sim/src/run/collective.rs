//! Shuffles and votes: exchange between the lanes of a warp.

use super::access::lanes;
use super::cluster::Abort;
use super::warp::Warp;
use crate::fault::FaultKind;
use crate::kernel::file::{Mask, Row, WARP};
use crate::kernel::op::{Reduction, Shuffle, ShuffleMode, Vote, VoteMode};

/// `None` if all lanes of the member mask have come, else the lanes to wait for.
///
/// All lanes must bring the same mask, and each must be in its own.
pub fn members(
    warp: &Warp,
    instruction: &'static str,
    slot: u32,
    active: Mask,
) -> Result<Option<Mask>, Abort> {
    let masks = warp.file.words[slot as usize];
    let first = active.trailing_zeros();
    let wanted = masks[first as usize % WARP];
    for lane in lanes(active) {
        if masks[lane] != wanted || wanted >> lane & 1 == 0 {
            let (lane, members) = (lane as u32, masks[lane]);
            return Err(Abort::new(lane, FaultKind::Members { instruction, lane, members, present: active }));
        }
    }
    // Threads that have exited are not waited for.
    let missing = wanted & warp.live & !active;
    Ok((missing != 0).then_some(wanted & warp.live))
}

/// `shfl.sync` (PTX ISA, its pseudocode): all lanes of `active` are members.
pub fn shuffle(warp: &mut Warp, shuffle: &Shuffle, active: Mask) -> Result<(), Abort> {
    let file = &warp.file;
    let [source, lane_row, clamp] =
        [shuffle.source, shuffle.lane, shuffle.clamp].map(|slot| file.words[slot as usize]);
    let mut result: Row<u32> = [0; WARP];
    let mut in_range: Mask = 0;
    for lane in lanes(active) {
        let here = lane as i64;
        let (b, c) = (i64::from(lane_row[lane] & 0x1f), clamp[lane]);
        let (clamp, segment) = (i64::from(c & 0x1f), i64::from(c >> 8 & 0x1f));
        let most = here & segment | clamp & !segment;
        let least = here & segment;
        let (from, inside) = match shuffle.mode {
            ShuffleMode::Up => (here - b, here - b >= most),
            ShuffleMode::Down => (here + b, here + b <= most),
            ShuffleMode::Butterfly => (here ^ b, here ^ b <= most),
            ShuffleMode::Index => (least | b & !segment, (least | b & !segment) <= most),
        };
        let from = if inside { from } else { here } as usize % WARP;
        if active >> from & 1 == 0 {
            let kind = FaultKind::ShuffleSource { lane: lane as u32, source_lane: from as u32 };
            return Err(Abort::new(lane as u32, kind));
        }
        result[lane] = source[from];
        in_range |= Mask::from(inside) << lane;
    }
    warp.file.write(shuffle.target, &result, active);
    if let Some(predicate) = shuffle.in_range {
        warp.file.write_predicate(predicate, in_range, active);
    }
    Ok(())
}

/// Votes and their like: all lanes of `active` are members.
pub fn vote(warp: &mut Warp, vote: &Vote, active: Mask) {
    let values: Row<u32> = match vote.source {
        Some(register)
            if !matches!(vote.mode, VoteMode::MatchAny | VoteMode::MatchAll | VoteMode::Reduce(_)) =>
        {
            let lanes =
                warp.file.predicates[register.slot as usize] ^ if vote.negated { Mask::MAX } else { 0 };
            std::array::from_fn(|lane| lanes >> lane & 1)
        }
        Some(register) => warp.file.words[register.slot as usize],
        None => [0; WARP],
    };
    let yes = lanes(active).fold(0, |found: Mask, lane| found | (values[lane] & 1) << lane);
    let all = |holds: bool| if holds { Mask::MAX } else { 0 };
    let slot = vote.target.slot;
    let first = active.trailing_zeros();
    match vote.mode {
        VoteMode::All => warp.file.write_predicate(slot, all(yes == active), active),
        VoteMode::Any => warp.file.write_predicate(slot, all(yes != 0), active),
        VoteMode::Uniform => warp.file.write_predicate(slot, all(yes == 0 || yes == active), active),
        VoteMode::Ballot => warp.file.write(slot, &[yes; WARP], active),
        VoteMode::ActiveMask => warp.file.write(slot, &[active; WARP], active),
        VoteMode::Elect => {
            warp.file.write_predicate(slot, 1 << first, active);
            if let Some(lane) = vote.second {
                warp.file.write(lane.slot, &[first; WARP], active);
            }
        }
        VoteMode::MatchAny => {
            let equal = |value: u32| {
                lanes(active)
                    .filter(|&lane| values[lane] == value)
                    .fold(0, |found: Mask, lane| found | 1 << lane)
            };
            let row: Row<u32> = std::array::from_fn(|lane| equal(values[lane]));
            warp.file.write(slot, &row, active);
        }
        VoteMode::MatchAll => {
            let equal = lanes(active).all(|lane| values[lane] == values[first as usize % WARP]);
            warp.file.write(slot, &[if equal { active } else { 0 }; WARP], active);
            if let Some(predicate) = vote.second {
                warp.file.write_predicate(predicate.slot, all(equal), active);
            }
        }
        VoteMode::Reduce(reduction) => {
            let result = lanes(active).map(|lane| values[lane]).reduce(|a, b| match reduction {
                Reduction::Add => a.wrapping_add(b),
                Reduction::And => a & b,
                Reduction::Or => a | b,
                Reduction::Xor => a ^ b,
                Reduction::MinUnsigned => a.min(b),
                Reduction::MaxUnsigned => a.max(b),
                Reduction::MinSigned => (a as i32).min(b as i32) as u32,
                Reduction::MaxSigned => (a as i32).max(b as i32) as u32,
            });
            warp.file.write(slot, &[result.unwrap_or(0); WARP], active);
        }
    }
}

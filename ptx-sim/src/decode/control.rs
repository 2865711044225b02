//! Branches, barriers, shuffles and votes (PTX ISA, "Control Flow Instructions", "Parallel
//! Synchronization and Communication Instructions").

use super::builder::{Builder, shown};
use super::signature::Signature;
use super::types::Type;
use crate::counts::InstructionKind;
use crate::error::LoadError;
use crate::kernel::op::{self, Op, Reduction, ShuffleMode, VoteMode};
use crate::text::operand::Operand;
use crate::text::registers::Class;

macro_rules! signature {
    ($kind:ident, $name:literal, $modifiers:literal, $types:literal, $operands:expr, $build:expr) => {
        Signature {
            name: $name,
            modifiers: $modifiers,
            types: $types,
            from: "",
            operands: $operands,
            kind: InstructionKind::$kind,
            build: $build,
        }
    };
}

pub const SIGNATURES: &[Signature] = &[
    signature!(Branch, "bra", "uni?", "", (1, 1), |i| Ok(Op::Branch { target: i.label(0)? })),
    signature!(Branch, "ret", "uni?", "", (0, 0), |_| Ok(Op::Exit)),
    signature!(Branch, "exit", "", "", (0, 0), |_| Ok(Op::Exit)),
    signature!(Branch, "trap", "", "", (0, 0), |_| Ok(Op::Trap)),
    signature!(Barrier, "bar", "cta? sync", "", (1, 2), |i| barrier(i, true, true)),
    signature!(Barrier, "bar", "cta? arrive", "", (2, 2), |i| barrier(i, true, false)),
    signature!(Barrier, "bar", "warp sync", "", (1, 1), |i| {
        Ok(Op::WarpBarrier { members: i.source(0, Type::B32)? })
    }),
    signature!(Barrier, "barrier", "cta? sync aligned?", "", (1, 2), |i| barrier(i, i.has("aligned"), true)),
    signature!(Barrier, "barrier", "cta? arrive aligned?", "", (2, 2), |i| barrier(
        i,
        i.has("aligned"),
        false
    )),
    signature!(Barrier, "barrier", "cluster arrive release|relaxed? aligned?", "", (0, 0), |i| {
        Ok(Op::ClusterArrive { aligned: i.has("aligned"), release: !i.has("relaxed") })
    }),
    signature!(Barrier, "barrier", "cluster wait acquire? aligned?", "", (0, 0), |i| {
        Ok(Op::ClusterWait { aligned: i.has("aligned") })
    }),
    signature!(Fence, "membar", "cta|gl|sys", "", (0, 0), |_| Ok(Op::Nothing)),
    signature!(Fence, "fence", "sc|acq_rel? cta|cluster|gpu|sys", "", (0, 0), |_| Ok(Op::Nothing)),
    signature!(Fence, "fence", "mbarrier_init release cluster", "", (0, 0), |_| Ok(Op::FenceMbarriers)),
    signature!(DependentLaunch, "griddepcontrol", "wait|launch_dependents", "", (0, 0), |i| {
        Ok(if i.has("wait") { Op::WaitForLaunches } else { Op::LaunchDependents })
    }),
    signature!(Shuffle, "shfl", "sync up|down|bfly|idx", "b32", (5, 5), shuffle),
    signature!(Vote, "activemask", "", "b32", (1, 1), active_mask),
    signature!(Vote, "vote", "sync all|any|uni", "pred", (3, 3), vote),
    signature!(Vote, "vote", "sync ballot", "b32", (3, 3), vote),
    signature!(Vote, "elect", "sync", "", (2, 2), elect),
    signature!(Vote, "match", "any|all sync", "b32", (3, 3), matching),
    signature!(Vote, "redux", "sync add|min|max", "u32 s32", (3, 3), reduce),
    signature!(Vote, "redux", "sync and|or|xor", "b32", (3, 3), reduce),
];

type Built = Result<Op, LoadError>;

fn barrier(i: &mut Builder<'_, '_>, aligned: bool, waits: bool) -> Built {
    let number = i.source(0, Type::U32)?;
    let threads = if i.count() == 2 { Some(i.source(1, Type::U32)?) } else { None };
    Ok(Op::Barrier(op::Barrier { number, threads, aligned, waits }))
}

fn shuffle(i: &mut Builder<'_, '_>) -> Built {
    let mode = match () {
        _ if i.has("up") => ShuffleMode::Up,
        _ if i.has("down") => ShuffleMode::Down,
        _ if i.has("bfly") => ShuffleMode::Butterfly,
        _ => ShuffleMode::Index,
    };
    let (target, in_range) = match i.operand(0)? {
        Operand::Pair(pair) => {
            let [target, in_range] = &**pair;
            let target = i.target_of(target, Class::Word)?.slot;
            (target, Some(i.target_of(in_range, Class::Predicate)?.slot))
        }
        _ => (i.target(0, Class::Word)?, None),
    };
    let [source, lane, clamp, members] = i.sources(1, Type::B32)?;
    Ok(Op::Shuffle(op::Shuffle { mode, target, in_range, source, lane, clamp, members }))
}

fn active_mask(i: &mut Builder<'_, '_>) -> Built {
    let operand = i.operand(0)?;
    let target = i.target_of(operand, Class::Word)?;
    let mode = VoteMode::ActiveMask;
    Ok(Op::Vote(op::Vote { mode, target, second: None, source: None, negated: false, members: None }))
}

fn vote(i: &mut Builder<'_, '_>) -> Built {
    let (mode, class) = match () {
        _ if i.has("all") => (VoteMode::All, Class::Predicate),
        _ if i.has("any") => (VoteMode::Any, Class::Predicate),
        _ if i.has("uni") => (VoteMode::Uniform, Class::Predicate),
        _ => (VoteMode::Ballot, Class::Word),
    };
    let operand = i.operand(0)?;
    let target = i.target_of(operand, class)?;
    let condition = i.condition(1)?;
    let members = Some(i.source(2, Type::B32)?);
    let (source, negated) = (Some(condition.predicate), condition.negated);
    Ok(Op::Vote(op::Vote { mode, target, second: None, source, negated, members }))
}

/// `elect.sync lane|p, members`: true in the lowest member.
fn elect(i: &mut Builder<'_, '_>) -> Built {
    let Operand::Pair(pair) = i.operand(0)? else {
        return Err(i.wrong("a pair of a register and a predicate", shown(i.operand(0)?)));
    };
    let [lane, elected] = &**pair;
    let second = Some(i.target_of(lane, Class::Word)?);
    let target = i.target_of(elected, Class::Predicate)?;
    let members = Some(i.source(1, Type::B32)?);
    Ok(Op::Vote(op::Vote { mode: VoteMode::Elect, target, second, source: None, negated: false, members }))
}

fn matching(i: &mut Builder<'_, '_>) -> Built {
    let (operand, all) = (i.operand(0)?, i.has("all"));
    let (target, second) = match operand {
        Operand::Pair(pair) if all => {
            let [target, second] = &**pair;
            (i.target_of(target, Class::Word)?, Some(i.target_of(second, Class::Predicate)?))
        }
        _ => (i.target_of(operand, Class::Word)?, None),
    };
    let source = i.operand(1)?;
    let source = Some(i.source_of(source, Type::B32, Class::Word)?);
    let members = Some(i.source(2, Type::B32)?);
    let mode = if all { VoteMode::MatchAll } else { VoteMode::MatchAny };
    Ok(Op::Vote(op::Vote { mode, target, second, source, negated: false, members }))
}

fn reduce(i: &mut Builder<'_, '_>) -> Built {
    let reduction = match (i.opcode.modifiers.last().copied(), i.ty()) {
        (Some("add"), _) => Reduction::Add,
        (Some("and"), _) => Reduction::And,
        (Some("or"), _) => Reduction::Or,
        (Some("xor"), _) => Reduction::Xor,
        (Some("min"), Type::S32) => Reduction::MinSigned,
        (Some("max"), Type::S32) => Reduction::MaxSigned,
        (Some("min"), _) => Reduction::MinUnsigned,
        _ => Reduction::MaxUnsigned,
    };
    let (target, source) = (i.operand(0)?, i.operand(1)?);
    let target = i.target_of(target, Class::Word)?;
    let source = Some(i.source_of(source, i.ty(), Class::Word)?);
    let members = Some(i.source(2, Type::B32)?);
    let mode = VoteMode::Reduce(reduction);
    Ok(Op::Vote(op::Vote { mode, target, second: None, source, negated: false, members }))
}

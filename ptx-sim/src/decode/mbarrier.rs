//! Mbarriers (PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier").

use super::builder::Builder;
use super::memory::space;
use super::signature::Signature;
use super::types::Type;
use crate::counts::InstructionKind;
use crate::error::LoadError;
use crate::kernel::op::{Mbarrier, MbarrierAction, Op, Phase, Scope};
use crate::text::operand::Operand;
use crate::text::registers::Class;

macro_rules! signature {
    ($modifiers:literal, $operands:expr, $build:expr) => {
        Signature {
            name: "mbarrier",
            modifiers: $modifiers,
            types: "b64",
            from: "",
            operands: $operands,
            kind: InstructionKind::Mbarrier,
            build: $build,
        }
    };
}

pub const SIGNATURES: &[Signature] = &[
    signature!("init shared|shared::cta?", (2, 2), |i| {
        let count = i.source(1, Type::U32)?;
        mbarrier(i, 0, MbarrierAction::Initialize { count })
    }),
    signature!("inval shared|shared::cta?", (1, 1), |i| mbarrier(i, 0, MbarrierAction::Invalidate)),
    signature!("expect_tx relaxed? cta|cluster? shared|shared::cta|shared::cluster?", (2, 2), |i| {
        let bytes = i.source(1, Type::U32)?;
        mbarrier(i, 0, MbarrierAction::Expect { bytes })
    }),
    signature!(
        "arrive expect_tx? release|relaxed? cta|cluster? shared|shared::cta|shared::cluster?",
        (2, 3),
        arrive
    ),
    signature!("test_wait parity? acquire|relaxed? cta|cluster? shared|shared::cta?", (3, 3), |i| test(
        i, false
    )),
    signature!("try_wait parity? acquire|relaxed? cta|cluster? shared|shared::cta?", (3, 4), |i| test(
        i, true
    )),
];

type Built = Result<Op, LoadError>;

fn mbarrier(i: &mut Builder<'_, '_>, address: usize, action: MbarrierAction) -> Built {
    let space = space(i);
    Ok(Op::Mbarrier(Mbarrier { space, place: i.place(address, space)?, action }))
}

fn scope(i: &Builder<'_, '_>) -> Scope {
    match () {
        _ if i.has("relaxed") => Scope::Relaxed,
        _ if i.has("cluster") => Scope::Cluster,
        _ => Scope::Block,
    }
}

/// `mbarrier.arrive state, [address]{, count}`, or with `.expect_tx` the bytes.
fn arrive(i: &mut Builder<'_, '_>) -> Built {
    let state = match i.operand(0)? {
        Operand::Sink => None,
        _ => Some(i.target(0, Class::Wide)?),
    };
    let (mut count, mut bytes) = (None, None);
    match (i.has("expect_tx"), i.count()) {
        (true, 3) => bytes = Some(i.source(2, Type::U32)?),
        (true, _) => return Err(i.wrong("3 operands", "2")),
        (false, 3) => count = Some(i.source(2, Type::U32)?),
        (false, _) => {}
    }
    let scope = scope(i);
    mbarrier(i, 1, MbarrierAction::Arrive { count, bytes, state, scope })
}

/// `mbarrier.try_wait done, [address], state or parity{, time}`.
fn test(i: &mut Builder<'_, '_>, waits: bool) -> Built {
    let done = i.target(0, Class::Predicate)?;
    let phase = if i.has("parity") {
        Phase::Parity(i.source(2, Type::U32)?)
    } else {
        Phase::State(i.source(2, Type::B64)?)
    };
    if i.count() == 4 {
        i.source(3, Type::U32)?;
    }
    let scope = scope(i);
    mbarrier(i, 1, MbarrierAction::Test { done, phase, waits, scope })
}

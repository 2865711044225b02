//! From statements to instructions that run.

mod bits;
mod builder;
mod compare;
pub mod context;
mod control;
mod convert;
mod data;
mod float;
mod half;
mod integer;
mod mbarrier;
mod memory;
mod signature;
mod types;

use builder::Builder;
use context::Context;
use signature::{Opcode, Signature};

use crate::error::LoadError;
use crate::kernel::op::Instruction;
use crate::text::body::Statement;

/// Everything that is supported.
const SIGNATURES: &[&[Signature]] = &[
    integer::SIGNATURES,
    bits::SIGNATURES,
    float::SIGNATURES,
    half::SIGNATURES,
    compare::SIGNATURES,
    convert::SIGNATURES,
    data::SIGNATURES,
    memory::SIGNATURES,
    control::SIGNATURES,
    mbarrier::SIGNATURES,
];

/// The supported instructions as a Markdown table, made from what the decoder goes by. Words in
/// brackets may be left out; a second type is the one converted or compared from.
pub fn instruction_table() -> String {
    signature::table(SIGNATURES)
}

/// Decodes one statement.
pub fn decode<'a>(statement: &Statement<'a>, context: &mut Context<'a>) -> Result<Instruction, LoadError> {
    let opcode = Opcode::parse(statement.opcode);
    let line = statement.line;
    let instruction = || statement.opcode.to_owned();
    let signature = signature::find(SIGNATURES, &opcode).map_err(|reason| LoadError::Instruction {
        line,
        instruction: instruction(),
        reason,
    })?;
    let (fewest, most) = signature.operands;
    let given = statement.operands.len();
    if given < fewest || given > most {
        let expected = if fewest == most {
            format!("{fewest} operands")
        } else {
            format!("{fewest} to {most} operands")
        };
        return Err(LoadError::Operand {
            line,
            instruction: instruction(),
            expected,
            found: given.to_string(),
        });
    }
    let mut builder = Builder { statement, opcode, context, reads: Vec::new(), writes: Vec::new() };
    let op = (signature.build)(&mut builder)?;
    let Builder { mut reads, writes, .. } = builder;
    reads.extend(statement.guard.map(|guard| guard.predicate));
    Ok(Instruction {
        line,
        kind: signature.kind,
        guard: statement.guard,
        op,
        reads: reads.into(),
        writes: writes.into(),
    })
}

//! From statements to instructions that run.

mod bits;
mod compare;
pub mod context;
mod control;
mod convert;
mod data;
mod float;
mod form;
mod half;
mod integer;
mod mbarrier;
mod memory;
mod request;
mod types;

use context::Context;
use form::{Form, Opcode};
use request::Request;

use crate::error::LoadError;
use crate::kernel::op::Instruction;
use crate::text::body::Statement;

/// Everything that is supported.
const FORMS: &[&[Form]] = &[
    integer::FORMS,
    bits::FORMS,
    float::FORMS,
    half::FORMS,
    compare::FORMS,
    convert::FORMS,
    data::FORMS,
    memory::FORMS,
    control::FORMS,
    mbarrier::FORMS,
];

/// The supported instructions as a Markdown table, made from what the decoder goes by. Words in
/// brackets may be left out; a second type is the one converted or compared from.
pub fn instruction_table() -> String {
    form::table(FORMS)
}

/// Decodes one statement.
pub fn decode<'a>(statement: &Statement<'a>, context: &mut Context<'a>) -> Result<Instruction, LoadError> {
    let opcode = Opcode::parse(statement.opcode);
    let line = statement.line;
    let instruction = || statement.opcode.to_owned();
    let form = form::find(FORMS, &opcode).map_err(|reason| LoadError::Instruction {
        line,
        instruction: instruction(),
        reason,
    })?;
    let (fewest, most) = form.operands;
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
    let mut request = Request { statement, opcode, context, reads: Vec::new(), writes: Vec::new() };
    let op = (form.build)(&mut request)?;
    let Request { mut reads, writes, .. } = request;
    reads.extend(statement.guard.map(|guard| guard.predicate));
    Ok(Instruction {
        line,
        kind: form.kind,
        guard: statement.guard,
        op,
        reads: reads.into(),
        writes: writes.into(),
    })
}

//! Operands of instructions (PTX ISA, "Instruction Operands").

use crate::error::LoadError;
use crate::text::lexer::{Kind, Lexer};
use crate::text::literal::Literal;
use crate::text::registers::{Register, Registers};

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand<'a> {
    Register(Register),
    /// `!%p`.
    Not(Register),
    /// `%p|%q`: two results.
    Pair(Box<[Operand<'a>; 2]>),
    /// `{%r1, %r2}`.
    Vector(Vec<Operand<'a>>),
    Literal(Literal),
    /// A label, a variable, or a special register, with an offset in bytes.
    Name(&'a str, i64),
    /// `[...]`.
    Address(Address<'a>),
    /// `_`: a result that is dropped.
    Sink,
}

/// An address: what it counts from, and an offset in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Address<'a> {
    pub base: Base<'a>,
    pub offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Base<'a> {
    Zero,
    Register(Register),
    Symbol(&'a str),
}

/// Reads an operand.
pub fn operand<'a>(lexer: &mut Lexer<'a>, registers: &Registers<'a>) -> Result<Operand<'a>, LoadError> {
    let first = simple(lexer, registers)?;
    if lexer.takes(b'|')? {
        return Ok(Operand::Pair(Box::new([first, simple(lexer, registers)?])));
    }
    Ok(first)
}

fn simple<'a>(lexer: &mut Lexer<'a>, registers: &Registers<'a>) -> Result<Operand<'a>, LoadError> {
    let token = lexer.next()?;
    let line = token.line;
    match token.kind {
        Kind::Word("_") => Ok(Operand::Sink),
        Kind::Word(name) => match registers.find(name) {
            Some(register) => Ok(Operand::Register(register)),
            None if name.starts_with('%') && !is_special(name) => {
                Err(LoadError::UndeclaredRegister { line, name: name.to_owned() })
            }
            None => Ok(Operand::Name(name, offset(lexer)?)),
        },
        Kind::Number(_) | Kind::Mark(b'-') => literal(lexer, token.kind, line).map(Operand::Literal),
        Kind::Mark(b'!') => {
            let name = lexer.word("a predicate")?;
            let register = registers.find(name);
            register.map(Operand::Not).ok_or(LoadError::UndeclaredRegister { line, name: name.to_owned() })
        }
        Kind::Mark(b'{') => {
            let mut elements = Vec::new();
            loop {
                elements.push(element(lexer, registers)?);
                if !lexer.takes(b',')? {
                    lexer.mark(b'}', "'}'")?;
                    return Ok(Operand::Vector(elements));
                }
            }
        }
        Kind::Mark(b'[') => {
            let address = address(lexer, registers)?;
            lexer.mark(b']', "']'")?;
            Ok(Operand::Address(address))
        }
        found => Err(LoadError::Syntax { line, expected: "an operand", found: found.shown() }),
    }
}

/// An element of a vector, which holds no vector itself.
fn element<'a>(lexer: &mut Lexer<'a>, registers: &Registers<'a>) -> Result<Operand<'a>, LoadError> {
    let token = lexer.peek()?;
    match token.kind {
        Kind::Mark(b'{' | b'[') => {
            Err(LoadError::Syntax { line: token.line, expected: "an element", found: token.kind.shown() })
        }
        _ => simple(lexer, registers),
    }
}

fn address<'a>(lexer: &mut Lexer<'a>, registers: &Registers<'a>) -> Result<Address<'a>, LoadError> {
    let token = lexer.next()?;
    let line = token.line;
    let base = match token.kind {
        Kind::Word(name) => match registers.find(name) {
            Some(register) => Base::Register(register),
            None if name.starts_with('%') => {
                return Err(LoadError::UndeclaredRegister { line, name: name.to_owned() });
            }
            None => Base::Symbol(name),
        },
        Kind::Number(_) | Kind::Mark(b'-') => match literal(lexer, token.kind, line)? {
            Literal::Integer(value) => return Ok(Address { base: Base::Zero, offset: value as i64 }),
            _ => return Err(LoadError::Syntax { line, expected: "an address", found: token.kind.shown() }),
        },
        found => return Err(LoadError::Syntax { line, expected: "an address", found: found.shown() }),
    };
    Ok(Address { base, offset: offset(lexer)? })
}

/// `+8`, `-8`, `+-8` or nothing.
fn offset(lexer: &mut Lexer<'_>) -> Result<i64, LoadError> {
    let plus = lexer.takes(b'+')?;
    let minus = lexer.takes(b'-')?;
    if !plus && !minus {
        return Ok(0);
    }
    let value = lexer.integer("an offset")? as i64;
    Ok(if minus { value.wrapping_neg() } else { value })
}

fn literal(lexer: &mut Lexer<'_>, kind: Kind<'_>, line: u32) -> Result<Literal, LoadError> {
    let (negative, kind) = match kind {
        Kind::Mark(b'-') => (true, lexer.next()?.kind),
        kind => (false, kind),
    };
    let literal = match kind {
        Kind::Number(text) => Literal::parse(text),
        _ => None,
    };
    match literal {
        Some(literal) if negative => Ok(literal.negated()),
        Some(literal) => Ok(literal),
        None => Err(LoadError::Syntax { line, expected: "a number", found: kind.shown() }),
    }
}

/// Whether PTX gives the name a meaning of its own. Which of these are supported is the
/// decoder's matter.
fn is_special(name: &str) -> bool {
    const FAMILIES: [&str; 22] = [
        "%tid",
        "%ntid",
        "%laneid",
        "%warpid",
        "%nwarpid",
        "%ctaid",
        "%nctaid",
        "%smid",
        "%nsmid",
        "%gridid",
        "%cluster",
        "%ncluster",
        "%nclusterid",
        "%is_explicit",
        "%lanemask",
        "%clock",
        "%globaltimer",
        "%pm",
        "%envreg",
        "%reserved_smem",
        "%total_smem",
        "%dynamic_smem",
    ];
    FAMILIES.iter().any(|family| name.starts_with(family)) || name.starts_with("%aggr_smem")
}

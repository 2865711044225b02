//! The body of an entry point as a flat list of instructions.

use std::collections::HashMap;

use crate::error::LoadError;
use crate::text::lexer::{Kind, Lexer};
use crate::text::operand::{Operand, operand};
use crate::text::registers::{Class, Register, Registers};
use crate::text::variable::{self, Variable};

/// A body.
#[derive(Debug)]
pub struct Body<'a> {
    pub statements: Vec<Statement<'a>>,
    /// The statement that each label stands before.
    pub labels: HashMap<&'a str, u32>,
    /// Variables declared inside: shared and local ones.
    pub variables: Vec<Variable>,
    pub registers: Registers<'a>,
}

/// An instruction.
#[derive(Debug)]
pub struct Statement<'a> {
    pub line: u32,
    pub guard: Option<Guard>,
    /// The opcode with its modifiers, such as `ld.global.nc.v4.b32`.
    pub opcode: &'a str,
    pub operands: Vec<Operand<'a>>,
}

/// `@%p` or `@!%p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    pub predicate: Register,
    pub negated: bool,
}

/// Reads a body behind its opening brace.
pub fn body<'a>(lexer: &mut Lexer<'a>) -> Result<Body<'a>, LoadError> {
    let mut body = Body {
        statements: Vec::new(),
        labels: HashMap::new(),
        variables: Vec::new(),
        registers: Registers::new(),
    };
    loop {
        let token = lexer.next()?;
        let line = token.line;
        let found = match token.kind {
            Kind::Mark(b'{') => {
                body.registers.open();
                continue;
            }
            Kind::Mark(b'}') => {
                if body.registers.close() {
                    continue;
                }
                return Ok(body);
            }
            // An empty statement.
            Kind::Mark(b';') => continue,
            Kind::Mark(b'@') => {
                let guard = guard(lexer, &body.registers)?;
                let opcode = lexer.word("an instruction")?;
                let statement = statement(lexer, &body.registers, line, Some(guard), opcode)?;
                body.statements.push(statement);
                continue;
            }
            Kind::Word(word) => word,
            found => {
                return Err(LoadError::Syntax { line, expected: "an instruction", found: found.shown() });
            }
        };
        if found.starts_with('.') {
            directive(lexer, &mut body, found, line)?;
        } else if lexer.takes(b':')? {
            if body.labels.insert(found, body.statements.len() as u32).is_some() {
                return Err(LoadError::Redeclared { line, name: found.to_owned() });
            }
        } else {
            let statement = statement(lexer, &body.registers, line, None, found)?;
            body.statements.push(statement);
        }
    }
}

fn guard(lexer: &mut Lexer<'_>, registers: &Registers<'_>) -> Result<Guard, LoadError> {
    let negated = lexer.takes(b'!')?;
    let line = lexer.peek()?.line;
    let name = lexer.word("a predicate")?;
    match registers.find(name) {
        Some(predicate) if predicate.class == Class::Predicate => Ok(Guard { predicate, negated }),
        Some(_) => Err(LoadError::Syntax { line, expected: "a predicate", found: format!("'{name}'") }),
        None => Err(LoadError::UndeclaredRegister { line, name: name.to_owned() }),
    }
}

fn statement<'a>(
    lexer: &mut Lexer<'a>,
    registers: &Registers<'a>,
    line: u32,
    guard: Option<Guard>,
    opcode: &'a str,
) -> Result<Statement<'a>, LoadError> {
    let mut operands = Vec::new();
    if !lexer.takes(b';')? {
        loop {
            operands.push(operand(lexer, registers)?);
            if !lexer.takes(b',')? {
                lexer.mark(b';', "',' or ';'")?;
                break;
            }
        }
    }
    Ok(Statement { line, guard, opcode, operands })
}

fn directive<'a>(
    lexer: &mut Lexer<'a>,
    body: &mut Body<'a>,
    word: &'a str,
    line: u32,
) -> Result<(), LoadError> {
    match word {
        ".reg" => body.registers.declare(lexer),
        ".loc" => {
            // A place in the source; it ends with the line.
            while lexer.peek()?.line == line && lexer.peek()?.kind != Kind::End {
                lexer.next()?;
            }
            Ok(())
        }
        ".pragma" => {
            lexer.next()?;
            lexer.mark(b';', "';'")
        }
        _ => match variable::space(word) {
            Some(space) => {
                let variable = variable::declaration(lexer, space)?;
                body.variables.push(variable);
                lexer.mark(b';', "';'")
            }
            None => Err(LoadError::Directive { line, directive: word.to_owned() }),
        },
    }
}

//! Builds an operation from an instruction: its modifiers, types and operands, resolved to registers.

use super::context::Context;
use super::signature::Opcode;
use super::types::Type;
use crate::error::LoadError;
use crate::kernel::op::{InitialValue, Place, Space};
use crate::number::round::Rounding;
use crate::text::body::{Guard, Statement};
use crate::text::literal::Literal;
use crate::text::operand::{Address, Base, Operand};
use crate::text::registers::{Class, Register};

/// An instruction being decoded: its words, its operands, and the registers it turns out to
/// read and write.
pub struct Builder<'s, 'a> {
    pub statement: &'s Statement<'a>,
    pub opcode: Opcode<'a>,
    pub context: &'s mut Context<'a>,
    pub reads: Vec<Register>,
    pub writes: Vec<Register>,
}

type Result<T> = std::result::Result<T, LoadError>;

impl<'s, 'a> Builder<'s, 'a> {
    pub fn has(&self, modifier: &str) -> bool {
        self.opcode.modifiers.contains(&modifier)
    }

    /// The first type; for signatures that have none this is not called.
    pub fn ty(&self) -> Type {
        self.opcode.types.first().copied().unwrap_or(Type::B32)
    }

    /// The second type, or the first where there is one only.
    pub fn from(&self) -> Type {
        self.opcode.types.get(1).copied().unwrap_or(self.ty())
    }

    pub fn rounding(&self) -> Rounding {
        match () {
            _ if self.has("rz") => Rounding::Zero,
            _ if self.has("rm") => Rounding::Down,
            _ if self.has("rp") => Rounding::Up,
            _ => Rounding::Nearest,
        }
    }

    pub fn count(&self) -> usize {
        self.statement.operands.len()
    }

    pub fn operand(&self, index: usize) -> Result<&'s Operand<'a>> {
        self.statement.operands.get(index).ok_or_else(|| self.wrong(format!("operand {}", index + 1), "none"))
    }

    /// A complaint about the operands.
    pub fn wrong(&self, expected: impl Into<String>, found: impl Into<String>) -> LoadError {
        LoadError::Operand {
            line: self.statement.line,
            instruction: self.opcode.text.to_owned(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// A complaint about the instruction.
    pub fn unsupported(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Instruction {
            line: self.statement.line,
            instruction: self.opcode.text.to_owned(),
            reason: reason.into(),
        }
    }

    /// A complaint where the text is for a target that lacks the instruction: one below `sm_{least}`. A text that names no
    /// target is for any.
    pub fn requires(&self, least: u32) -> Result<()> {
        match self.context.target {
            Some(target) if target < least => {
                Err(self.unsupported(format!("it needs sm_{least}, and the text is for sm_{target}")))
            }
            _ => Ok(()),
        }
    }

    /// The slot of operand `index`, a result of that class.
    pub fn target(&mut self, index: usize, class: Class) -> Result<u32> {
        let operand = self.operand(index)?;
        Ok(self.target_of(operand, class)?.slot)
    }

    pub fn target_of(&mut self, operand: &Operand<'a>, class: Class) -> Result<Register> {
        let register = match operand {
            Operand::Sink => self.context.registers.fresh(class),
            Operand::Register(register) if register.class == class => *register,
            other => return Err(self.wrong(class.name(), shown(other))),
        };
        self.writes.push(register);
        Ok(register)
    }

    /// The slot of operand `index`, read as a value of that type. Literals and special registers
    /// get registers of their own.
    pub fn source(&mut self, index: usize, ty: Type) -> Result<u32> {
        let operand = self.operand(index)?;
        Ok(self.source_of(operand, ty, ty.class())?.slot)
    }

    /// The slots of any number of operands of one type.
    pub fn sources<const N: usize>(&mut self, first: usize, ty: Type) -> Result<[u32; N]> {
        let mut slots = [0; N];
        for (at, slot) in slots.iter_mut().enumerate() {
            *slot = self.source(first + at, ty)?;
        }
        Ok(slots)
    }

    /// Reads an operand of a class; a literal is of that type.
    pub fn source_of(&mut self, operand: &Operand<'a>, ty: Type, class: Class) -> Result<Register> {
        let expected = || format!("{} or a literal of type .{}", class.name(), ty.name());
        match operand {
            Operand::Register(register) if register.class == class => {
                self.reads.push(*register);
                Ok(*register)
            }
            Operand::Literal(literal) => match bits(*literal, ty) {
                Some(bits) => Ok(self.context.holding(InitialValue::Constant(bits), class)),
                None => Err(self.wrong(expected(), shown(operand))),
            },
            Operand::Name(name, offset) => match self.context.named(name, *offset, class) {
                Some(value) => Ok(self.context.holding(value, class)),
                None if name.starts_with('%') => {
                    Err(self.unsupported(format!("special register {name} is not, as {}", class.name())))
                }
                None => {
                    let line = self.statement.line;
                    Err(LoadError::UndeclaredName { line, name: (*name).to_owned() })
                }
            },
            other => Err(self.wrong(expected(), shown(other))),
        }
    }

    /// A predicate that is read, plain or negated.
    pub fn condition(&mut self, index: usize) -> Result<Guard> {
        let operand = self.operand(index)?;
        let (predicate, negated) = match operand {
            Operand::Register(register) => (*register, false),
            Operand::Not(register) => (*register, true),
            other => return Err(self.wrong("a predicate", shown(other))),
        };
        if predicate.class != Class::Predicate {
            return Err(self.wrong("a predicate", predicate.class.name()));
        }
        self.reads.push(predicate);
        Ok(Guard { predicate, negated })
    }

    /// A literal from 0 to `max`.
    pub fn number(&self, index: usize, max: u32) -> Result<u32> {
        let found = self.operand(index)?;
        match found {
            Operand::Literal(Literal::Integer(value)) if (0..=i128::from(max)).contains(value) => {
                Ok(*value as u32)
            }
            other => Err(self.wrong(format!("a number from 0 to {max}"), shown(other))),
        }
    }

    /// The instruction that a label stands before.
    pub fn label(&self, index: usize) -> Result<u32> {
        match self.operand(index)? {
            Operand::Name(name, 0) => self.context.labels.get(name).copied().ok_or_else(|| {
                LoadError::UndeclaredName { line: self.statement.line, name: (*name).to_owned() }
            }),
            other => Err(self.wrong("a label", shown(other))),
        }
    }

    /// The address that operand `index` holds between brackets.
    pub fn place(&mut self, index: usize, space: Space) -> Result<Place> {
        let Address { base, offset } = match self.operand(index)? {
            Operand::Address(address) => *address,
            other => return Err(self.wrong("an address in brackets", shown(other))),
        };
        match base {
            Base::Zero => Ok(Place { base: None, offset }),
            Base::Register(register) if matches!(register.class, Class::Word | Class::Wide) => {
                self.reads.push(register);
                Ok(Place { base: Some(register), offset })
            }
            Base::Register(register) => Err(self.wrong("a 32-bit or 64-bit register", register.class.name())),
            Base::Symbol(name) => match self.context.placed(name, space) {
                Some(InitialValue::Constant(at)) => {
                    Ok(Place { base: None, offset: (at as i64).wrapping_add(offset) })
                }
                Some(value) => Ok(Place { base: Some(self.context.holding(value, Class::Wide)), offset }),
                None => {
                    let line = self.statement.line;
                    Err(LoadError::UndeclaredName { line, name: name.to_owned() })
                }
            },
        }
    }
}

/// The bits of a literal as a value of that type.
fn bits(literal: Literal, ty: Type) -> Option<u64> {
    let mask = if ty.bits() == 64 { u64::MAX } else { (1 << ty.bits()) - 1 };
    Some(match literal {
        Literal::Integer(value) => {
            // A float takes no integer.
            if matches!(ty, Type::F32 | Type::F64 | Type::F16 | Type::Bf16) {
                return None;
            }
            value as u64 & mask
        }
        Literal::Single(bits) if matches!(ty, Type::F32 | Type::B32) => u64::from(bits),
        Literal::Double(bits) if matches!(ty, Type::F64 | Type::B64) => bits,
        Literal::Decimal(value) if ty == Type::F32 => u64::from((value as f32).to_bits()),
        Literal::Decimal(value) if ty == Type::F64 => value.to_bits(),
        _ => return None,
    })
}

/// How a message names an operand.
pub fn shown(operand: &Operand<'_>) -> String {
    match operand {
        Operand::Register(register) => register.class.name().to_owned(),
        Operand::Not(_) => "a negated predicate".to_owned(),
        Operand::Pair(_) => "a pair".to_owned(),
        Operand::Vector(elements) => format!("a vector of {}", elements.len()),
        Operand::Literal(literal) => literal.to_string(),
        Operand::Name(name, _) => (*name).to_owned(),
        Operand::Address(_) => "an address in brackets".to_owned(),
        Operand::Sink => "_".to_owned(),
    }
}

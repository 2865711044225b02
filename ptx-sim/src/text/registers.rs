//! Registers by name, scope by scope.

use std::collections::HashMap;

use crate::error::LoadError;
use crate::text::lexer::Lexer;

/// How a register is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// `.pred`.
    Predicate,
    /// 8 or 16 bits, at the bottom of a 32-bit word.
    Half,
    /// 32 bits.
    Word,
    /// 64 bits.
    Wide,
}

impl Class {
    /// The file that holds it: of predicates, words or wides.
    pub fn file(self) -> usize {
        match self {
            Class::Predicate => 0,
            Class::Half | Class::Word => 1,
            Class::Wide => 2,
        }
    }

    /// How a message names it.
    pub fn name(self) -> &'static str {
        match self {
            Class::Predicate => "a predicate",
            Class::Half => "a 16-bit register",
            Class::Word => "a 32-bit register",
            Class::Wide => "a 64-bit register",
        }
    }
}

/// A register: its class and its place in the file of that class. 16-bit registers share the
/// file of the 32-bit ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register {
    pub class: Class,
    pub slot: u32,
}

/// Registers that a kernel declares, innermost scope last.
#[derive(Debug)]
pub struct Registers<'a> {
    scopes: Vec<HashMap<&'a str, Declared>>,
    counts: [u32; 3],
    /// All that have been declared, those of closed scopes too.
    names: Vec<(&'a str, Declared)>,
}

/// What registers are called, for messages.
#[derive(Clone, Debug, Default)]
pub struct Names(Vec<(String, Declared)>);

impl Names {
    /// The name of a register. A register that no `.reg` declares has an initial value, so no fault is about it; it gets the
    /// name of its class.
    pub fn of(&self, register: Register) -> String {
        let found = self.0.iter().find_map(|(name, Declared { first, count })| {
            let number = register.slot.checked_sub(first.slot)?;
            let is_it = first.class.file() == register.class.file() && number < count.unwrap_or(1);
            is_it.then(|| if count.is_some() { format!("{name}{number}") } else { name.clone() })
        });
        found.unwrap_or_else(|| register.class.name().to_owned())
    }
}

/// `%r<10>` declares `%r0` to `%r9`; a plain name has no count.
#[derive(Clone, Copy, Debug)]
struct Declared {
    first: Register,
    count: Option<u32>,
}

/// No kernel that fits a GPU comes near; a file of them would not fit memory.
const MOST: u64 = 1 << 20;

impl<'a> Registers<'a> {
    pub fn new() -> Self {
        Registers { scopes: vec![HashMap::new()], counts: [0; 3], names: Vec::new() }
    }

    pub fn open(&mut self) {
        self.scopes.push(HashMap::new());
    }

    /// Closes the innermost scope; false if only the outermost is left.
    pub fn close(&mut self) -> bool {
        self.scopes.pop();
        !self.scopes.is_empty()
    }

    /// Reads a declaration behind `.reg`, with its semicolon.
    pub fn declare(&mut self, lexer: &mut Lexer<'a>) -> Result<(), LoadError> {
        let line = lexer.peek()?.line;
        let kind = lexer.word("a register type")?;
        let class = match kind {
            ".pred" => Class::Predicate,
            ".b8" | ".u8" | ".s8" | ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => Class::Half,
            ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => Class::Word,
            ".b64" | ".u64" | ".s64" | ".f64" => Class::Wide,
            _ => return Err(LoadError::Directive { line, directive: format!(".reg {kind}") }),
        };
        loop {
            let name = lexer.word("a register's name")?;
            let count = if lexer.takes(b'<')? {
                let count = lexer.integer("a number of registers")?;
                lexer.mark(b'>', "'>'")?;
                Some(count)
            } else {
                None
            };
            let file = self.file(class);
            let slot = *file;
            let end = u64::from(slot).saturating_add(count.unwrap_or(1));
            if end > MOST {
                return Err(LoadError::Syntax {
                    line,
                    expected: "at most 2^20 registers",
                    found: format!("'{name}'"),
                });
            }
            *file = end as u32;
            let declared =
                Declared { first: Register { class, slot }, count: count.map(|count| count as u32) };
            self.names.push((name, declared));
            let scope = self.scopes.last_mut();
            if scope.is_none_or(|scope| scope.insert(name, declared).is_some()) {
                return Err(LoadError::Redeclared { line, name: name.to_owned() });
            }
            if !lexer.takes(b',')? {
                return lexer.mark(b';', "';'");
            }
        }
    }

    /// A register without a name, for the kernel's constants.
    pub fn fresh(&mut self, class: Class) -> Register {
        let file = self.file(class);
        let slot = *file;
        *file += 1;
        Register { class, slot }
    }

    /// The register of that name.
    pub fn find(&self, name: &str) -> Option<Register> {
        let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (prefix, number) = name.split_at(digits);
        self.scopes.iter().rev().find_map(|scope| {
            if let Some(declared) = scope.get(name).filter(|declared| declared.count.is_none()) {
                return Some(declared.first);
            }
            let declared = scope.get(prefix)?;
            let number: u32 = number.parse().ok()?;
            let Register { class, slot } = declared.first;
            (number < declared.count?).then_some(Register { class, slot: slot + number })
        })
    }

    /// What they are called.
    pub fn names(&self) -> Names {
        Names(self.names.iter().map(|&(name, declared)| (name.to_owned(), declared)).collect())
    }

    /// Registers of each file: predicates, words, wides.
    pub fn counts(&self) -> [u32; 3] {
        self.counts
    }

    fn file(&mut self, class: Class) -> &mut u32 {
        &mut self.counts[class.file()]
    }
}

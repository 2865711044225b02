//! From a parsed body to a kernel: variables get addresses, statements get decoded.

use std::collections::HashMap;

use super::{Kernel, Limits, ModuleVariable, Parameter, initialized, op, order::Order};
use crate::counts::InstructionKind;
use crate::decode::context::{Context, Symbol};
use crate::decode::decode;
use crate::error::LoadError;
use crate::text::body::Body;
use crate::text::operand::{Base, Operand};
use crate::text::variable::{Variable, VariableSpace};

/// Decodes a body.
pub fn compile(
    name: &str,
    parameters: &[Variable],
    limits: Limits,
    target: Option<u32>,
    module: &[Variable],
    body: Body<'_>,
) -> Result<Kernel, LoadError> {
    let Body { statements, labels, variables: inner, registers } = body;
    let mut layout = Layout::default();
    let mut listed = Vec::new();
    for parameter in parameters {
        let offset = layout.place(parameter)?;
        let size = parameter.size.unwrap_or(0);
        listed.push(Parameter { name: parameter.name.clone(), offset, size, align: parameter.align });
    }
    // A kernel has the module's variables that it names, as an assembler would give it.
    let used = names(&statements);
    let outer = module.iter().filter(|variable| used.contains(&variable.name.as_str()));
    let (fixed, open): (Vec<_>, Vec<_>) = outer.chain(&inner).partition(|variable| variable.size.is_some());
    for variable in fixed {
        layout.place(variable)?;
    }
    // All arrays of open size begin where static shared memory ends.
    let align = open.iter().map(|variable| variable.align).max().unwrap_or(16);
    let dynamic_start = layout.shared.next_multiple_of(align);
    for variable in open {
        if variable.space != VariableSpace::Shared {
            let found = format!("'{}'", variable.name);
            return Err(LoadError::Syntax { line: variable.line, expected: "a size", found });
        }
        layout.symbols.insert(variable.name.clone(), Symbol { space: variable.space, at: dynamic_start });
    }

    let mut context = Context::new(target, registers, labels, layout.symbols);
    let mut code = Vec::with_capacity(statements.len() + 1);
    for statement in &statements {
        code.push(decode(statement, &mut context)?);
    }
    // A body may end without `ret`, and a label may stand behind its last instruction.
    let line = code.last().map_or(1, |last| last.line);
    code.push(op::Instruction {
        line,
        kind: InstructionKind::Branch,
        guard: None,
        op: op::Op::Exit,
        reads: Box::default(),
        writes: Box::default(),
    });
    let order = Order::of(&code);
    let Context { registers, initial_values, .. } = context;
    initialized::mark(&mut code, &initial_values, &order);
    Ok(Kernel {
        name: name.to_owned(),
        parameters: listed,
        code,
        order,
        files: registers.counts(),
        names: registers.names(),
        initial_values,
        variables: layout.variables,
        static_shared: layout.shared,
        dynamic_start,
        local: layout.local,
        limits,
    })
}

/// Names that operands mention.
fn names<'a>(statements: &[crate::text::body::Statement<'a>]) -> std::collections::HashSet<&'a str> {
    let operands = statements.iter().flat_map(|statement| &statement.operands);
    operands
        .filter_map(|operand| match operand {
            Operand::Name(name, _) => Some(*name),
            Operand::Address(address) => match address.base {
                Base::Symbol(name) => Some(name),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// Where variables lie in their spaces.
#[derive(Default)]
struct Layout {
    symbols: HashMap<String, Symbol>,
    param: u64,
    shared: u64,
    local: u64,
    /// Bytes of global and of constant variables.
    global: u64,
    constant: u64,
    variables: Vec<ModuleVariable>,
}

impl Layout {
    /// Gives a variable of known size the next address of its space.
    fn place(&mut self, variable: &Variable) -> Result<u64, LoadError> {
        let Variable { line, name, space, align, size, initial } = variable;
        let size = size.unwrap_or(0);
        let end = match space {
            VariableSpace::Param => &mut self.param,
            VariableSpace::Shared => &mut self.shared,
            VariableSpace::Local => &mut self.local,
            VariableSpace::Global => &mut self.global,
            VariableSpace::Constant => &mut self.constant,
        };
        let mut at = end.next_multiple_of(*align);
        *end = at.saturating_add(size);
        // Before any memory is allocated for it.
        let (given, max) = (*end, space.most());
        if given > max {
            let (line, name, space) = (*line, name.clone(), space.name());
            return Err(LoadError::Size { line, name, space, max, given });
        }
        if matches!(space, VariableSpace::Global | VariableSpace::Constant) {
            // The launch allocates these, each by itself.
            at = self.variables.len() as u64;
            let mut bytes = initial.clone();
            bytes.resize(size as usize, 0);
            let constant = *space == VariableSpace::Constant;
            self.variables.push(ModuleVariable { name: name.clone(), bytes, align: *align, constant });
        }
        self.insert(*line, name, Symbol { space: *space, at })?;
        Ok(at)
    }

    fn insert(&mut self, line: u32, name: &str, symbol: Symbol) -> Result<(), LoadError> {
        match self.symbols.insert(name.to_owned(), symbol) {
            None => Ok(()),
            Some(_) => Err(LoadError::Redeclared { line, name: name.to_owned() }),
        }
    }
}

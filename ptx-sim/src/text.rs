//! PTX text: tokens, modules, bodies of entry points.

pub mod body;
pub mod lexer;
pub mod literal;
pub mod operand;
pub mod registers;
pub mod variable;

//! What can be wrong with a module, and with a launch.

use crate::fault::Fault;

/// Why a module or one of its kernels was not loaded. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The text is not PTX as this parser knows it.
    #[error("line {line}: expected {expected}, found {found}")]
    Syntax {
        /// Where.
        line: u32,
        /// What could stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A directive that changes what the module means and is not supported.
    #[error("line {line}: directive {directive} is not supported")]
    Directive {
        /// Where.
        line: u32,
        /// The directive.
        directive: String,
    },
    /// An instruction that is not supported, with these modifiers or at all.
    #[error("line {line}: instruction {instruction} is not supported: {reason}")]
    Instruction {
        /// Where.
        line: u32,
        /// The opcode with its modifiers.
        instruction: String,
        /// What of it is unknown.
        reason: String,
    },
    /// An operand that does not fit its instruction.
    #[error("line {line}: instruction {instruction}: expected {expected}, found {found}")]
    Operand {
        /// Where.
        line: u32,
        /// The opcode with its modifiers.
        instruction: String,
        /// What could stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A register that no `.reg` declares.
    #[error("line {line}: register {name} is not declared")]
    UndeclaredRegister {
        /// Where.
        line: u32,
        /// Its name.
        name: String,
    },
    /// A label or variable that is not declared.
    #[error("line {line}: {name} is not declared")]
    UndeclaredName {
        /// Where.
        line: u32,
        /// Its name.
        name: String,
    },
    /// A name that is declared twice.
    #[error("line {line}: {name} is declared a second time")]
    Redeclared {
        /// Where.
        line: u32,
        /// The name.
        name: String,
    },
    /// A variable with which the kernel's variables exceed the size of a state space.
    #[error("line {line}: {name}: expected at most {max} bytes of {space} memory a kernel, given {given}")]
    Size {
        /// Where it is declared.
        line: u32,
        /// Its name.
        name: String,
        /// The space.
        space: &'static str,
        /// The most, in bytes.
        max: u64,
        /// Those of all the kernel's variables up to this one, in bytes.
        given: u64,
    },
    /// The module has no such kernel.
    #[error("no kernel is called {name}")]
    NoKernel {
        /// The name.
        name: String,
    },
}

/// Why a launch did not finish.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Too many or too few arguments.
    #[error("kernel {kernel}: expected {expected} arguments, given {given}")]
    ArgumentCount {
        /// The kernel.
        kernel: String,
        /// Its parameters.
        expected: usize,
        /// The arguments.
        given: usize,
    },
    /// An argument of another size than its parameter.
    #[error("kernel {kernel}: parameter {index} ({parameter}): expected {expected} bytes, given {given}")]
    ArgumentSize {
        /// The kernel.
        kernel: String,
        /// Which, from 0.
        index: usize,
        /// Its name in the PTX.
        parameter: String,
        /// Bytes of the parameter.
        expected: u64,
        /// Bytes of the argument.
        given: u64,
    },
    /// An argument whose type is less aligned than its parameter.
    #[error(
        "kernel {kernel}: parameter {index} ({parameter}): expected alignment to {expected} bytes, given {given}"
    )]
    ArgumentAlignment {
        /// The kernel.
        kernel: String,
        /// Which, from 0.
        index: usize,
        /// Its name in the PTX.
        parameter: String,
        /// Alignment of the parameter in bytes.
        expected: u64,
        /// Alignment of the argument's type in bytes.
        given: u64,
    },
    /// A grid, block or cluster that no device takes, or that the kernel's directives exclude.
    #[error("kernel {kernel}: {what}: expected {expected}, given {given:?}")]
    Shape {
        /// The kernel.
        kernel: String,
        /// Which extents.
        what: &'static str,
        /// What they must be.
        expected: String,
        /// What they are, along x, y and z.
        given: [u32; 3],
    },
    /// More shared memory than a block may have.
    #[error("kernel {kernel}: expected at most {max} bytes of shared memory a block, given {given}")]
    SharedMemory {
        /// The kernel.
        kernel: String,
        /// The most, in bytes.
        max: u64,
        /// Static and dynamic together, in bytes.
        given: u64,
    },
    /// A fault: the kernel did something wrong.
    #[error(transparent)]
    Fault(Box<Fault>),
    /// A buffer declared as output has bytes that the kernel did not write.
    #[error(
        "kernel {kernel}: output {buffer}: {count} bytes were not written, the first at {address:#x} (byte {offset})"
    )]
    Unwritten {
        /// The kernel.
        kernel: String,
        /// The buffer's name.
        buffer: String,
        /// The first such byte.
        address: u64,
        /// Its offset in the buffer.
        offset: u64,
        /// How many there are.
        count: u64,
    },
}

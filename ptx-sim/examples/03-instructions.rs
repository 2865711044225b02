//! Prints the table of supported instructions, as the README has it.

fn main() {
    print!("{}", ptx_sim::instruction_table());
}

//! The README's table is what the decoder goes by.

#[test]
fn the_table_of_instructions_is_the_decoders() {
    let readme = include_str!("../README.md");
    let table = ptx_sim::instruction_table();
    assert!(
        readme.contains(&table),
        "README.md has another table than `cargo run -p ptx-sim --example 03-instructions` prints"
    );
    let rows = |text: &str| text.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows(readme), rows(&table), "README.md lists instructions that the decoder does not know");
}

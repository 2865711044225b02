//! Help, as it is printed.

#[test]
fn help_reads_as_written() {
    trycmd::TestCases::new().case("tests/cli/help/*.toml");
}

//! docs/ERRORS.md has every error, and no other.

use std::collections::BTreeSet;

/// The variants of `pub enum Error`, from the source: lines with four spaces and a capital.
fn variants() -> BTreeSet<&'static str> {
    let source = include_str!("../../src/error.rs");
    let body = source.split_once("pub enum Error {\n").expect("the enum").1;
    let body = body.split_once("\n}\n").expect("its end").0;
    let name = |line: &'static str| {
        let line =
            line.strip_prefix("    ").filter(|line| line.starts_with(|first: char| first.is_uppercase()))?;
        line.split(|c: char| !c.is_alphanumeric()).next()
    };
    body.lines().filter_map(name).collect()
}

/// The first column of the tables.
fn documented() -> Vec<&'static str> {
    let text = include_str!("../../../docs/ERRORS.md");
    text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn every_error_is_explained_once() {
    let documented = documented();
    let once = BTreeSet::from_iter(documented.iter().copied());
    assert_eq!(once.len(), documented.len(), "an error has two rows");
    let variants = variants();
    assert!(variants.contains("Overlap") && variants.contains("Tp"), "{variants:?}");
    let missing: Vec<_> = variants.difference(&once).collect();
    assert!(missing.is_empty(), "docs/ERRORS.md lacks {missing:?}");
    let unknown: Vec<_> = once.difference(&variants).collect();
    assert!(unknown.is_empty(), "docs/ERRORS.md has {unknown:?}, which is no error");
}

#[test]
fn every_row_says_what_to_do() {
    let rows = include_str!("../../../docs/ERRORS.md").lines().filter(|line| line.starts_with("| `"));
    for row in rows {
        let columns: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(columns.len() == 3 && columns.iter().all(|column| !column.is_empty()), "{row}");
    }
}

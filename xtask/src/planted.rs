//! Faults of host code that were once planted by hand and not found, and others of their kind: planted again, one at a time,
//! each must fail the tests that are to find it.
//!
//! They are planted in a copy of the repository, `target/planted`, so that whatever happens its own files stay as they are.
//! Both share the folder for what is built, so that dependencies are compiled once. Faults that a program can choose among
//! ([`edit`]) are all compiled into it, and one a run is switched on; the others are compiled one by one.

mod adapters;
mod checks;
mod edit;
mod groups;
mod launches;
mod plans;
mod promise;
mod sums;
mod texts;
mod tree;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use xtask::Error;

use crate::step::root;
use trial::Outcome;

/// A small change of the source, and the tests that must find it.
pub struct Fault {
    /// What is wrong with it.
    name: &'static str,
    /// The file, from the repository's root.
    file: &'static str,
    kind: Kind,
    /// What stands there once. If a part of it is between « and », that part is replaced, otherwise all of it.
    old: &'static str,
    /// What stands there in its place.
    new: &'static str,
    /// What `cargo test` is given.
    test: &'static str,
}

/// What a change replaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An expression.
    Value,
    /// Statements.
    Statement,
    /// Anything else, such as a pattern: a program cannot choose.
    Text,
}

/// The tests that are to find them, as `cargo test` is told which.
mod programs {
    pub const LIB: &str = "-p norm-host --features sim --lib device::";
    pub const PLANS: &str = "-p norm-host --features sim --lib plan::";
    pub const CHECKS: &str = "-p norm-host --features sim,candle --lib check::";
    pub const PROMISE: &str = "-p norm-host --features sim --lib accuracy:: -- --skip each_order_keeps";
    pub const SUMS: &str = "-p norm-host --features sim --lib cpu:: -- --skip dispatch";
    pub const TEXTS: &str = "-p norm-host --features sim --test operations error_texts::";
    pub const DRIVER: &str = "-p norm-host --features sim --test driver";
    pub const FAILURES: &str = "-p norm-host --features sim --test failures";
    pub const GROUPS: &str = "-p norm-host --features sim --test tensor_parallel";
    pub const SHARDED: &str = "-p norm-host --features sim --test operations sharded::";
    pub const MISUSE: &str = "-p norm-host --features sim --test operations misuse::";
    pub const CUDARC: &str = "-p norm-host --features cudarc --test cudarc";
    pub const CANDLE: &str = "-p norm-candle --test ops";
    pub const ORDER: &str = "--test simulated order::";
    pub const RANKS: &str = "--test simulated reductions::";
    pub const APPLY: &str = "--test cli apply::";
}

/// Faults of files and the tests that are to find them: `"what is wrong": kind "what stands there" => "what is planted";`.
macro_rules! faults {
    ($(in $file:literal by $test:ident { $($name:literal: $kind:ident $old:literal => $new:literal;)* })*) => {
        pub const FAULTS: &[super::Fault] = &[$($(super::Fault {
            name: $name,
            file: $file,
            kind: faults!(@ $kind),
            old: $old,
            new: $new,
            test: $test,
        },)*)*];
    };
    (@ value) => { super::Kind::Value };
    (@ statement) => { super::Kind::Statement };
    (@ text) => { super::Kind::Text };
}
use faults;

/// Faults by what they are in.
const GROUPS: [(&str, &[Fault]); 8] = [
    ("plans and tiles", plans::FAULTS),
    ("launches and streams", launches::FAULTS),
    ("groups of devices", groups::FAULTS),
    ("adapters", adapters::FAULTS),
    ("checks and files", checks::FAULTS),
    ("texts of errors", texts::FAULTS),
    ("the promise", promise::FAULTS),
    ("sums in f64", sums::FAULTS),
];

/// Plants the faults whose group or name has one of these words, or all of them where there are none.
///
/// # Errors
///
/// The faults that are missed; and what the table of faults has that is no longer so: a text that does not stand once in its
/// file, a change that does not compile, tests that fail without one.
pub fn run(words: &[String]) -> Result<(), Error> {
    let is_asked_for = |group: &str, fault: &Fault| {
        words.is_empty() || words.iter().any(|word| group.contains(&**word) || fault.name.contains(&**word))
    };
    let all = GROUPS.iter().flat_map(|&(group, faults)| faults.iter().map(move |fault| (group, fault)));
    let asked_for: Vec<_> = all.filter(|(group, fault)| is_asked_for(group, fault)).collect();
    let mut sources = BTreeMap::new();
    let mut switched = BTreeMap::new();
    for (_, Fault { file, .. }) in &asked_for {
        let source = fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
        let here = asked_for.iter().map(|(_, fault)| *fault).filter(|fault| fault.file == *file);
        switched.insert(Path::new(file), edit::with_switches(&source, here)?);
        sources.insert(*file, source);
    }
    let tree = root().join("target/planted");
    tree::copy(root(), &tree, &switched)?;

    // [planted, caught] of each group.
    let mut counts: BTreeMap<&str, [u32; 2]> = BTreeMap::new();
    let mut missed = Vec::new();
    let mut count = |group: &'static str, fault: &Fault, outcome: Outcome| {
        let [planted, caught] = counts.entry(group).or_default();
        *planted += 1;
        match outcome {
            Outcome::Missed => {
                eprintln!("MISSED: {}", fault.name);
                missed.push(fault.name);
                return;
            }
            Outcome::Caught(tests) => eprintln!("caught: {}: by {}", fault.name, tests.join(", ")),
            Outcome::Hangs => eprintln!("caught: {}: tests hang", fault.name),
        }
        *caught += 1;
    };

    let tests: BTreeSet<_> = asked_for.iter().map(|(_, fault)| fault.test).collect();
    for test in tests {
        eprintln!("cargo test {test}");
        match trial::outcome(&tree, test, None)? {
            Outcome::Missed => {}
            Outcome::Caught(tests) => return Err(format!("without a fault {} fail", tests.join(", ")).into()),
            Outcome::Hangs => return Err("without a fault tests take too long".into()),
        }
        for (group, fault) in
            asked_for.iter().filter(|(_, fault)| fault.test == test && fault.kind != Kind::Text)
        {
            count(group, fault, trial::outcome(&tree, test, Some(fault.name))?);
        }
    }
    // With the newer date of what is written cargo compiles it again.
    sources.iter().try_for_each(|(file, source)| fs::write(tree.join(file), source))?;
    for (group, fault) in asked_for.iter().filter(|(_, fault)| fault.kind == Kind::Text) {
        let source = &sources[fault.file];
        fs::write(tree.join(fault.file), edit::planted(source, fault)?)?;
        let outcome = trial::outcome(&tree, fault.test, None);
        fs::write(tree.join(fault.file), source)?;
        count(group, fault, outcome.map_err(|error| format!("{}: {error}", fault.name))?);
    }

    println!("| in | planted | caught |\n|---|--:|--:|");
    for (group, [planted, caught]) in GROUPS.iter().filter_map(|(group, _)| counts.get_key_value(group)) {
        println!("| {group} | {planted} | {caught} |");
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", missed.join("; ")).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fault whose place is no longer there is planted nowhere.
    #[test]
    fn what_faults_replace_stands_in_its_file_once() {
        let faults: Vec<_> = GROUPS.iter().flat_map(|(_, faults)| *faults).collect();
        let wrong = faults.iter().filter_map(|fault| {
            let source = fs::read_to_string(root().join(fault.file)).map_err(Error::from);
            source.and_then(|source| edit::place(&source, fault)).err()
        });
        let wrong: Vec<_> = wrong.collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let names: BTreeSet<_> = faults.iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), faults.len(), "two faults have one name");
    }
}

//! Faults in a source.

use std::collections::BTreeMap;
use std::ops::Range;

use xtask::Error;

use super::{Fault, Kind};

/// The variable that says which of the faults that were compiled in is there.
pub const SWITCH: &str = "NORM_FAULT";

/// Where in a source a fault is.
///
/// # Errors
///
/// If what the fault replaces does not stand there once.
pub fn place(source: &str, fault: &Fault) -> Result<Range<usize>, Error> {
    let Fault { name, file, old, .. } = fault;
    let (before, replaced, after) = match old.split_once('«').zip(old.split_once('»')) {
        Some(((before, rest), (_, after))) => {
            (before, &rest[..rest.len() - after.len() - '»'.len_utf8()], after)
        }
        None => ("", *old, ""),
    };
    let text = [before, replaced, after].concat();
    let mut found = source.match_indices(&text);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at + before.len()..at + before.len() + replaced.len()),
        (first, _) => {
            let times = if first.is_none() { "not there" } else { "there several times" };
            Err(format!("{name}: expected once in {file}, {times}: {text}").into())
        }
    }
}

/// The source with a fault.
pub fn planted(source: &str, fault: &Fault) -> Result<String, Error> {
    let mut source = source.to_owned();
    source.replace_range(place(&source, fault)?, fault.new);
    Ok(source)
}

/// The source with those of the faults that a program can choose, each of which is there if [`SWITCH`] has its name.
pub fn with_switches<'a>(source: &str, faults: impl Iterator<Item = &'a Fault>) -> Result<String, Error> {
    let mut places: BTreeMap<(usize, usize), Vec<&Fault>> = BTreeMap::new();
    for fault in faults {
        let Range { start, end } = place(source, fault)?;
        if fault.kind == Kind::Text {
            continue;
        }
        places.entry((start, end)).or_default().push(fault);
    }
    let mut switched = source.to_owned();
    let mut behind = usize::MAX;
    for ((start, end), faults) in places.into_iter().rev() {
        if end > behind {
            return Err(format!("{}: another fault is in what it replaces", faults[0].name).into());
        }
        behind = start;
        let choices = faults.iter().map(|Fault { name, new, .. }| {
            format!("if std::env::var_os({SWITCH:?}).is_some_and(|it| it == {name:?}) {{ {new} }} else ")
        });
        let choice = format!("{}{{ {} }}", choices.collect::<String>(), &source[start..end]);
        let is_value = faults[0].kind == Kind::Value;
        switched.replace_range(start..end, &if is_value { format!("({choice})") } else { choice });
    }
    Ok(switched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &'static str, old: &'static str, new: &'static str) -> Fault {
        Fault { name, file: "some.rs", kind: Kind::Value, old, new, test: "" }
    }

    #[test]
    fn a_fault_is_planted_in_its_place() {
        let source = "let a = 1; let b = 1;";
        assert_eq!(planted(source, &fault("a", "a = «1»;", "2")).unwrap(), "let a = 2; let b = 1;");
        assert_eq!(planted(source, &fault("b", "b = 1", "b = 3")).unwrap(), "let a = 1; let b = 3;");
        for (old, expected) in [("1", "there several times"), ("c = «1»", "not there")] {
            let refused = planted(source, &fault("x", old, "2")).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn faults_that_are_switched_share_a_place_or_have_their_own() {
        let faults =
            [fault("one", "a = «1»;", "2"), fault("other", "a = «1»;", "3"), fault("b", "b = «1»", "4")];
        let is = |name| format!("if std::env::var_os(\"NORM_FAULT\").is_some_and(|it| it == {name:?})");
        assert_eq!(
            with_switches("let a = 1; let b = 1;", faults.iter()).unwrap(),
            format!(
                "let a = ({} {{ 2 }} else {} {{ 3 }} else {{ 1 }}); let b = ({} {{ 4 }} else {{ 1 }});",
                is("one"),
                is("other"),
                is("b"),
            )
        );
        let meet = [fault("whole", "a + 1", "2"), fault("part", "«a» + 1", "b")];
        assert!(with_switches("a + 1", meet.iter()).is_err());
    }
}

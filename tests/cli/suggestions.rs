//! What is offered to somebody who mistypes a command.

use std::path::Path;

use crate::run::norm;

#[test]
fn a_mistyped_command_gets_the_nearest_one_or_none() {
    for (typed, expected) in [
        (&["rsm"][..], Some("rms")),
        (&["doctr"], Some("doctor")),
        (&["chek"], Some("check")),
        (&["Bench"], Some("bench")),
        (&["nosuch"], None),
        (&["x"], None),
        (&["ptx", "lits"], Some("list")),
        (&["ptx", "--ptx", "stock", "shwo"], Some("show")),
        (&["ptx", "rms"], None),
    ] {
        let message = norm(Path::new("."), typed).bad_input();
        let given = typed[typed.len() - 1];
        assert!(message.starts_with(&format!("error: unrecognized subcommand '{given}'\n")), "{message}");
        let tips: Vec<&str> = message.lines().filter(|line| line.contains("tip:")).collect();
        let tip = expected.map(|expected| format!("  tip: a similar subcommand exists: '{expected}'"));
        assert_eq!(tips, Vec::from_iter(tip.as_deref()), "{typed:?}");
    }
}

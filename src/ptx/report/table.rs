//! The report as a text table.

use std::fmt::Write;

use super::bound::of_shots;
use super::kernel_run::{KernelRun, Traffic};

const HEAD: &str = "\
Each kernel on the rows of two blocks or of a cluster, at the typical lengths that operations take it for: heads
of 32 to 128, hidden states of 2048 to 8192, long rows of 16384, 131072 and 1048576 elements (4095 where it goes
element by element); with a residual (r) where that takes it too, in f32 where the name ends in r32, between two norms
where it has sandwich in it. LayerNorm has biases (b). The second norm's weights are moved as the first's (w).

requested: sectors of 32 bytes that warps' requests touch, over those that hold the tensor (w, b: once a row).
           2.00 of w: each half of a thread's 32 bytes is a request of its own; less than 1: rows of a warp share
           requests. 2.00 and more of x or r: a kernel that streams reads them once a pass.
distinct:  sectors that the launch touches, over those that hold the tensor: what memory moves at least.
access:    bytes that a thread moves at a time.

Kernels of groups are those of the first of four ranks, whose blocks add up a row for each; behind the shape, /1 is
one-shot and /2 two-shot. staged: distinct sectors that it stores in its buffer for the others, peers: that it loads
of theirs, both over those that hold x.

";

/// The table with its legend, a line for each run.
pub fn table(runs: &[KernelRun]) -> String {
    let mut text = String::from(HEAD);
    let names = ["x", "w", "b", "r", "y", "r out"];
    let columns = names.map(|name| format!(" {name:>5}")).concat();
    let groups = [("requested", 6 * names.len()), ("distinct", 6 * names.len()), ("access", 15)];
    let groups = groups.map(|(name, width)| format!(" |{name:^width$}")).concat();
    let is_group = runs.iter().any(|run| run.group.is_some());
    let _ = writeln!(text, "{:<31} {:>10}{groups} |", "", "");
    let _ = write!(
        text,
        "{:<31} {:>10} |{columns} |{columns} |{:>5}{:>5}{:>5} |{:>10}{:>10}{:>9}{:>8}{:>11}",
        "kernel", "shape", "x", "w", "y", "conflicts", "divergent", "barriers", "longest", "an element"
    );
    text += if is_group { "  staged   peers\n" } else { "\n" };
    for run in runs {
        let KernelRun { kernel, rows, dim, x, w, b, y, r, r_stored, .. } = run;
        let traffic = [x, w, b, r, y, r_stored];
        let shots = of_shots(run.group.as_ref().map(|group| group.two_shot));
        let shape = format!("{rows}x{dim}{shots}");
        let _ = write!(
            text,
            "{kernel:<31} {shape:>10} |{} |{} |{} |{:>10}{:>10}{:>9}{:>8}{:>11.1}",
            traffic.map(|traffic| number(traffic, 6, 2, |traffic| traffic.requested)).concat(),
            traffic.map(|traffic| number(traffic, 6, 2, |traffic| traffic.distinct)).concat(),
            [x, w, y].map(|traffic| number(traffic, 5, 0, |traffic| traffic.bytes_an_access)).concat(),
            run.bank_conflicts,
            run.divergent_branches,
            run.barriers,
            run.longest_warp,
            run.thread_instructions_an_element
        );
        if let Some(group) = &run.group {
            let of_group = [&group.staged, &group.peers];
            text += &of_group.map(|traffic| number(traffic, 8, 2, |traffic| traffic.distinct)).concat();
        }
        text.push('\n');
    }
    text
}

/// A column's text: a number of the traffic, or a dash if there is none.
fn number(traffic: &Option<Traffic>, width: usize, decimals: usize, of: fn(&Traffic) -> f64) -> String {
    match traffic {
        Some(traffic) => format!("{:>width$.decimals$}", of(traffic)),
        None => format!("{:>width$}", "-"),
    }
}

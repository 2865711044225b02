//! Two results side by side, as a Markdown table of ratios.

use std::fmt::Write;

use super::error::BenchError;
use super::record::{Measurement, Record, Verdict, shape_text};

/// The table: a row for each case that both have, with the time of every peer and the ratio of the
/// fastest one's to ours.
///
/// # Errors
/// [`BenchError::NothingInCommon`] where no case is in both.
pub fn markdown(ours: &Record, peers: &Record) -> Result<String, BenchError> {
    let names = names(peers);
    let mut rows = String::new();
    for line in ours.lines.iter().filter(|line| time(line).is_some()) {
        let of_case: Vec<&Measurement> =
            peers.lines.iter().filter(|peer| peer.is_of_the_case_of(line)).collect();
        if !of_case.is_empty() {
            rows += &row(line, &of_case, &names);
        }
    }
    if rows.is_empty() {
        return Err(BenchError::NothingInCommon);
    }
    let mut table = opening(ours, peers);
    let _ = writeln!(table, "| op | x:w:y | shape | norm | {} | ratio |", names.join(" | "));
    let _ = writeln!(table, "|---|---|---|---|{}---|", "---|".repeat(names.len()));
    Ok(table + &rows)
}

/// The peers, in the order of their first measurements.
fn names(peers: &Record) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in &peers.lines {
        if !names.contains(&line.implementation) {
            names.push(line.implementation.clone());
        }
    }
    names
}

fn opening(ours: &Record, peers: &Record) -> String {
    let mut text = String::new();
    for (whose, record) in [("norm", ours), ("peers", peers)] {
        let Record { device, memcpy, label, commit, .. } = record;
        let named: String = [commit, label].into_iter().flatten().map(|name| format!(", {name}")).collect();
        let _ = writeln!(
            text,
            "- {whose}: {}, {}, {}{named}; memcpy of {} MiB {:.2} TB/s",
            record.program,
            device.name,
            record.date,
            memcpy.bytes >> 20,
            memcpy.tb_s
        );
    }
    text += "\nMicroseconds a call, median of the rounds (TB/s). Ratio: the fastest peer's time to norm's; above 1 norm is \
             faster.\n\n";
    text
}

fn row(line: &Measurement, peers: &[&Measurement], names: &[String]) -> String {
    let mut row =
        format!("| {} | {} | {} | {} |", line.op, line.types(), shape_text(&line.shape), cell(line));
    for name in names {
        let peer = peers.iter().find(|peer| peer.implementation == *name);
        let _ = write!(row, " {} |", peer.map_or("–".to_owned(), |peer| cell(peer)));
    }
    let best = peers.iter().filter_map(|peer| time(peer)).min_by(f64::total_cmp);
    let ratio = best.zip(time(line)).map_or("–".to_owned(), |(best, ours)| format!("{:.2}", best / ours));
    let _ = writeln!(row, " {ratio} |");
    row
}

/// `130.12 (4.13)`.
fn cell(line: &Measurement) -> String {
    match (&line.figures, line.verdict) {
        (_, Verdict::Fail) => "FAIL".to_owned(),
        (Some(figures), _) => format!("{:.2} ({:.2})", figures.times.us, figures.tb_s),
        (None, _) => "–".to_owned(),
    }
}

/// The time of a measurement whose output was right.
fn time(line: &Measurement) -> Option<f64> {
    line.figures.as_ref().filter(|_| line.verdict == Verdict::Ok).map(|figures| figures.times.us)
}

//! Results as a text table.

use std::fmt::Write;

use super::record::{Figures, Measurement, Record, TileRecord, Times, Verdict, shape_text};
use super::unit::Unit;

/// The table, with lines above and below it.
pub fn text(record: &Record) -> String {
    let mut text = opening(record);
    let swept = record.lines.iter().any(|line| line.tile.is_some());
    text += &if swept { sweeps(record) } else { lines(record) };
    text + &closing(record)
}

/// The lines above the table: device, method, copy and empty kernel.
fn opening(record: &Record) -> String {
    let Record { device, memcpy, method, .. } = record;
    let unit = Unit::of(record);
    let mut text = format!("{} ({})", device.name, device.place);
    if let Some(cuda) = &device.cuda {
        let driver = device.driver.as_ref().map_or(String::new(), |driver| format!(", driver {driver}"));
        let _ = write!(text, ", CUDA {cuda}{driver}");
    }
    let _ = write!(text, "; {}, {}", record.program, record.date);
    for known in [&record.commit, &record.label].into_iter().flatten() {
        let _ = write!(text, ", {known}");
    }
    let mib = memcpy.bytes as f64 / f64::from(1 << 20);
    let _ = writeln!(
        text,
        "\nmemcpy of {mib} MiB: {} {}{}",
        unit.text(memcpy.tb_s),
        unit.name,
        spread_text(&memcpy.times)
    );
    if let Some(empty) = &record.empty_kernel {
        let _ = writeln!(text, "empty kernel: {:.2} µs{}", empty.us, spread_text(empty));
    }
    let order = method.rounding.as_ref().map_or(String::new(), |order| format!("; rounding {order}"));
    let _ = writeln!(text, "{} rounds; {}{order}\n", method.repeats, method.description);
    text
}

/// ` (1.2 % from least to most)`.
fn spread_text(times: &Times) -> String {
    format!(" ({:.1} % from least to most)", 100.0 * spread(times))
}

/// The longest round's time minus the shortest's, as a fraction of the median.
fn spread(times: &Times) -> f64 {
    (times.us_max - times.us_min) / times.us
}

/// A line for each measurement.
fn lines(record: &Record) -> String {
    let several = record.lines.iter().any(|line| line.implementation != "norm");
    let by = |name: &str| if several { format!("{name:<16} ") } else { String::new() };
    // As wide as the longest name, and at least 14 so that most tables have the same columns.
    let op_width = record.lines.iter().map(|line| line.op.len()).max().unwrap_or(0).max(14);
    let mut text = format!(
        "{}{:<op_width$} {:<13} {:<17} {:>9} {:>6} {:>10} {:>8}\n",
        by("by"),
        "op",
        "x:w:y",
        "shape",
        "µs",
        Unit::of(record).name,
        "of memcpy",
        "spread"
    );
    for line in &record.lines {
        let (types, shape) = (line.types(), shape_text(&line.shape));
        let _ = write!(text, "{}{:<op_width$} {types:<13} {shape:<17} ", by(&line.implementation), line.op);
        text += &outcome(line, Unit::of(record));
    }
    text
}

/// The figures of a measurement, or what was wrong.
fn outcome(line: &Measurement, unit: Unit) -> String {
    let Measurement { verdict, figures, note, .. } = line;
    let note = note.as_ref().map_or(String::new(), |note| format!("  {note}"));
    match (verdict, figures) {
        (Verdict::Ok, Some(Figures { tb_s, share_of_memcpy, times })) => {
            let percent = 100.0 * spread(times);
            format!(
                "{:>9.2} {:>6} {share_of_memcpy:>10.3} {percent:>6.1} %{note}\n",
                times.us,
                unit.text(*tb_s)
            )
        }
        (Verdict::Ok, None) => format!("not timed{note}\n"),
        (Verdict::Fail, _) => format!("FAIL{note}\n"),
    }
}

/// For each case the tiles that were swept, fastest first.
fn sweeps(record: &Record) -> String {
    let mut text = String::new();
    let mut rest: Vec<&Measurement> = record.lines.iter().collect();
    while let Some(&first) = rest.first() {
        let (mut tiles, others): (Vec<&Measurement>, Vec<&Measurement>) =
            rest.into_iter().partition(|line| line.is_of_the_case_of(first));
        rest = others;
        let time =
            |line: &&Measurement| line.figures.as_ref().map_or(f64::INFINITY, |figures| figures.times.us);
        tiles.sort_by(|a, b| time(a).total_cmp(&time(b)));
        let _ = writeln!(
            text,
            "{} {} {}, fastest first; * is what operations take\n  {:<8} {:>6} {:>7} {:>7} {:>5} {:>9} {:>6} {:>10} {:>8}",
            first.op,
            first.types(),
            shape_text(&first.shape),
            "access",
            "blocks",
            "threads",
            "vectors",
            "rows",
            "µs",
            Unit::of(record).name,
            "of memcpy",
            "spread"
        );
        for line in tiles {
            let Some(tile) = &line.tile else { continue };
            let mark = if tile.chosen { '*' } else { ' ' };
            let TileRecord { access, blocks, threads, vectors, rows, .. } = tile;
            let _ = write!(text, "{mark} {access:<8} {blocks:>6} {threads:>7} {vectors:>7} {rows:>5} ");
            text += &outcome(line, Unit::of(record));
        }
        text.push('\n');
    }
    text
}

/// The lines below the table: what failed, and what the columns mean.
fn closing(record: &Record) -> String {
    let failed = record.lines.iter().filter(|line| line.verdict == Verdict::Fail).count();
    let failed = if failed == 0 { String::new() } else { format!("{failed} FAILED. ") };
    format!(
        "\n{failed}µs: median of the rounds. {}: x read once and y written once, a residual both (a copy: read and written), \
         {} bytes a second.\nOf memcpy: this throughput beside the copy's; 0.667 is 1.5 times the copy's time for as many bytes.\n\
         Spread: from the shortest round to the longest, of the median.\n",
        Unit::of(record).name,
        if record.device.place == "cpu" { "10⁹" } else { "10¹²" }
    )
}

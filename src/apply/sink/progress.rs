//! The progress bar of writing.

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// Files below this size are written before a bar could be read.
const WORTH_A_BAR: u64 = 128 << 20;

/// A bar on stderr of the bytes that are written, where that is a terminal.
pub fn bar(bytes: u64) -> ProgressBar {
    if bytes < WORTH_A_BAR {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    // An error's message stands where the bar was.
    ProgressBar::new(bytes).with_style(style).with_finish(ProgressFinish::AndClear)
}

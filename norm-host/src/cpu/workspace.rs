//! What a thread keeps from row to row.

use super::{part::PART, wide::Wide};

/// Where parts of rows of 16-bit types are while they are worked on. One for each thread, reused
/// row after row: rows that share weights convert them once.
pub(super) struct Workspace {
    pub(super) x: Wide,
    pub(super) w: Wide,
    pub(super) b: Wide,
    /// [`PART`] outputs on their way to memory.
    pub(super) y: Vec<f32>,
}

impl Workspace {
    pub(super) fn new() -> Workspace {
        Workspace { x: Wide::new(), w: Wide::new(), b: Wide::new(), y: vec![0.0; PART] }
    }

    /// Forgets what the last step left: the memory may hold something else by now.
    pub(super) fn forget(&mut self) {
        self.x.forget();
        self.w.forget();
        self.b.forget();
    }
}

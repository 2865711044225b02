//! What a thread keeps from row to row.

use super::{
    line::Run,
    part::PART,
    wide::{Wide, elements_mut},
};
use crate::DType;

/// Where parts of rows of 16-bit types are while they are worked on. One for each thread, reused
/// row after row: rows that share weights convert them once.
pub(super) struct Workspace {
    pub(super) x: Wide,
    pub(super) w: Wide,
    pub(super) b: Wide,
    /// What is added to the residual, or to the norm: the input, or what the output held.
    pub(super) addend: Wide,
    /// [`PART`] outputs on their way to memory.
    pub(super) y: Vec<f32>,
}

impl Workspace {
    pub(super) fn new() -> Workspace {
        Workspace { x: Wide::new(), w: Wide::new(), b: Wide::new(), addend: Wide::new(), y: vec![0.0; PART] }
    }

    /// Where to write elements `from` on of `run`: where they lie if they are `f32`, and else to
    /// `y`, from where [`narrow`](super::wide::narrow) takes them.
    #[inline(always)]
    pub(super) fn output(&mut self, run: Run, from: usize) -> *mut f32 {
        match run.dtype {
            DType::F32 => elements_mut(run.at(from)),
            DType::F16 | DType::BF16 => self.y.as_mut_ptr(),
        }
    }

    /// Forgets what the last step left: the memory may hold something else by now.
    pub(super) fn forget(&mut self) {
        self.x.forget();
        self.w.forget();
        self.b.forget();
        self.addend.forget();
    }
}

//! What a thread keeps from row to row.

use std::cell::RefCell;

use super::{chunk::CHUNK, widen::Widened};

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace::new());
}

/// Where chunks of 16-bit rows are while they are worked on. Each thread has one and reuses it row after row, so that weights
/// that rows share are converted once.
pub(super) struct Workspace {
    pub(super) x: Widened,
    pub(super) w: Widened,
    pub(super) b: Widened,
    /// What is added: the input to a residual in front of the norm, or the residual to the norm in front of it.
    pub(super) addend: Widened,
    /// A chunk of outputs on their way to memory.
    pub(super) y: Vec<f32>,
}

impl Workspace {
    pub(super) fn new() -> Workspace {
        let [x, w, b, addend] = std::array::from_fn(|_| Widened::new());
        Workspace { x, w, b, addend, y: vec![0.0; CHUNK] }
    }

    /// Lets the next reads go to memory: since the last call it may have changed.
    fn invalidate(&mut self) {
        self.x.invalidate();
        self.w.invalidate();
        self.b.invalidate();
        self.addend.invalidate();
    }
}

/// Calls `f` with this thread's workspace. `f` must not call this function in turn.
#[inline]
pub(super) fn with_workspace<T>(f: impl FnOnce(&mut Workspace) -> T) -> T {
    WORKSPACE.with_borrow_mut(|space| {
        space.invalidate();
        f(space)
    })
}

//! From normalized elements to outputs.

use super::{
    round::Between,
    sum::Center,
    vector::{Vector, WIDTH, load_some, store_some},
};

/// What a row has one of.
#[derive(Clone, Copy)]
pub(super) struct Scale<C> {
    pub(super) center: C,
    pub(super) rstd: f32,
    pub(super) weight_offset: f32,
}

impl<C: Center> Scale<C> {
    /// The outputs for `x`, with the roundings of `between` on the way.
    ///
    /// # Safety
    ///
    /// The machine has the instructions of `V`.
    #[inline(always)]
    unsafe fn apply<V: Vector>(self, x: V, w: Option<V>, b: Option<V>, between: impl Between) -> V {
        // SAFETY: handed on.
        let (x, rstd, offset) =
            unsafe { (self.center.leave(x), V::splat(self.rstd), V::splat(self.weight_offset)) };
        let normalized = between.normalized(x.mul(rstd));
        match (w, b) {
            (None, None) => normalized,
            (Some(w), None) => normalized.mul(w.add(offset)),
            (None, Some(b)) => between.product(normalized).add(b),
            (Some(w), Some(b)) if between.rounds_product() => {
                between.product(normalized.mul(w.add(offset))).add(b)
            }
            (Some(w), Some(b)) => normalized.mul_add(w.add(offset), b),
        }
    }
}

/// Elements of a cache line.
const LINE: usize = 16;

/// How far ahead of the output the next input is fetched at least: shorter rows lie close enough
/// together for the hardware to do it, but for the first lines of a page.
const AHEAD: usize = 1024;

/// `y = (x - center) * rstd * (w + weight_offset) + b` for `len` elements, with the roundings of `between`. Weights
/// and biases are compiled in (`W`, `B`) or left out. `y` may be `x`: an element is read before it is written.
/// With `stream`, `y` goes past the caches.
///
/// # Safety
///
/// The elements of all that are compiled in are there, aligned to an `f32`, and those of `y` are no
/// other's but `x`'s own. With `stream`, `y` is aligned to
/// [`STREAM_ALIGN`](super::vector::STREAM_ALIGN). The machine has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn affine<V: Vector, C: Center, const W: bool, const B: bool>(
    y: *mut f32,
    (x, w, b): (*const f32, *const f32, *const f32),
    len: usize,
    scale: Scale<C>,
    between: impl Between,
    stream: bool,
) {
    let ahead = len.max(AHEAD);
    // SAFETY: handed on; no index reaches `len`.
    unsafe {
        let mut at = 0;
        while at + WIDTH <= len {
            if at % LINE == 0 {
                // Memory is idle while the caches feed this loop: most often what comes after this
                // part is the next row.
                V::prefetch(x.wrapping_add(at + ahead));
            }
            let w = if W { Some(V::load(w.add(at))) } else { None };
            let b = if B { Some(V::load(b.add(at))) } else { None };
            let out = scale.apply::<V>(V::load(x.add(at)), w, b, between);
            match stream {
                true => out.stream(y.add(at)),
                false => out.store(y.add(at)),
            }
            at += WIDTH;
        }
        if at < len {
            let some = len - at;
            let w = if W { Some(load_some::<V>(w.add(at), some)) } else { None };
            let b = if B { Some(load_some::<V>(b.add(at), some)) } else { None };
            let x = load_some::<V>(x.add(at), some);
            store_some(scale.apply::<V>(x, w, b, between), y.add(at), some);
        }
    }
}

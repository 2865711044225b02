//! Sums of two rows, element by element.

use super::vector::{Vector, WIDTH, load_some, store_some};

/// `to = a + b` for `len` elements. `to` may be `a` or `b`: an element is read before it is
/// written.
///
/// # Safety
///
/// The elements of all three are there, aligned to an `f32`, and those of `to` are no other's but
/// `a`'s or `b`'s own. The machine has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn add<V: Vector>(to: *mut f32, a: *const f32, b: *const f32, len: usize) {
    // SAFETY: handed on; no index reaches `len`.
    unsafe {
        let mut at = 0;
        while at + WIDTH <= len {
            V::load(a.add(at)).add(V::load(b.add(at))).store(to.add(at));
            at += WIDTH;
        }
        if at < len {
            let some = len - at;
            let sum = load_some::<V>(a.add(at), some).add(load_some::<V>(b.add(at), some));
            store_some(sum, to.add(at), some);
        }
    }
}

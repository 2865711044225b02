//! Sums of two rows, element by element.

use super::{
    round::rounded,
    vector::{Vector, WIDTH, load_some, store_some},
};
use crate::DType;

/// What is multiplied in an addition to a residual, and rounded to 16 bits in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaling {
    pub(super) branch: f32,
    pub(super) sum: f32,
    /// The type to which the first product is rounded.
    pub(super) rounded_branch: Option<DType>,
    /// That to which the sum is, before it is multiplied.
    pub(super) rounded_sum: Option<DType>,
}

/// `to = branch + r` for `len` elements, or what `scaling` makes of them. `to` may be `branch` or `r`: an element is read
/// before it is written.
///
/// # Safety
///
/// The elements of all three are there, aligned to an `f32`, and those of `to` are no other's but
/// `branch`'s or `r`'s own. The machine has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn add<V: Vector>(
    to: *mut f32,
    (branch, r): (*const f32, *const f32),
    len: usize,
    scaling: Option<Scaling>,
) {
    // SAFETY: the caller keeps the elements there and the instructions of `V`.
    unsafe {
        match scaling {
            None => combine::<V>(to, (branch, r), len, |branch, r| branch.add(r)),
            Some(Scaling { branch: by, sum, rounded_branch, rounded_sum }) => {
                let (by, scale) = (V::splat(by), V::splat(sum));
                combine::<V>(to, (branch, r), len, |branch, r| {
                    let sum = rounded(branch.mul(by), rounded_branch).add(r);
                    rounded(sum, rounded_sum).mul(scale)
                });
            }
        }
    }
}

/// `to = f(a, b)` for `len` elements.
///
/// # Safety
///
/// As [`add`].
#[inline(always)]
unsafe fn combine<V: Vector>(
    to: *mut f32,
    (a, b): (*const f32, *const f32),
    len: usize,
    f: impl Fn(V, V) -> V,
) {
    // SAFETY: the caller keeps the elements there; no index reaches `len`.
    unsafe {
        let mut at = 0;
        while at + WIDTH <= len {
            f(V::load(a.add(at)), V::load(b.add(at))).store(to.add(at));
            at += WIDTH;
        }
        if at < len {
            let some = len - at;
            let sum = f(load_some::<V>(a.add(at), some), load_some::<V>(b.add(at), some));
            store_some(sum, to.add(at), some);
        }
    }
}

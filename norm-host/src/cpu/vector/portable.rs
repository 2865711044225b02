//! Vectors of whatever the target has.

use std::array::from_fn;

use half::{bf16, f16};

use super::{Doubles, Vector, WIDTH};

/// Elements side by side, left to the compiler.
#[derive(Clone, Copy)]
pub struct Portable<T>([T; WIDTH]);

impl Vector for Portable<f32> {
    type Doubles = Portable<f64>;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: handed on.
        Portable(unsafe { from.cast::<[f32; WIDTH]>().read() })
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Portable([value; WIDTH])
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: handed on.
        unsafe { to.cast::<[f32; WIDTH]>().write(self.0) };
    }

    #[inline(always)]
    unsafe fn load_f16(from: &[f16; WIDTH]) -> Self {
        Portable(from.map(f16::to_f32))
    }

    #[inline(always)]
    fn store_f16(self, to: &mut [f16; WIDTH]) {
        *to = self.0.map(f16::from_f32);
    }

    #[inline(always)]
    fn round_f16(self) -> Self {
        Portable(self.0.map(|x| f16::from_f32(x).to_f32()))
    }

    #[inline(always)]
    fn round_bf16(self) -> Self {
        Portable(self.0.map(|x| bf16::from_f32(x).to_f32()))
    }

    #[inline(always)]
    fn clamp(self, limit: f32) -> Self {
        Portable(self.0.map(|x| x.clamp(-limit, limit)))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Portable(from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Portable(from_fn(|i| self.0[i] - other.0[i]))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Portable(from_fn(|i| self.0[i] * other.0[i]))
    }

    // A slow function call where the compiler may not assume the instruction.
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Portable(from_fn(|i| self.0[i].mul_add(factor.0[i], addend.0[i])))
    }

    #[inline(always)]
    fn widen(self) -> Portable<f64> {
        Portable(self.0.map(f64::from))
    }
}

impl Doubles for Portable<f64> {
    #[inline(always)]
    unsafe fn zero() -> Self {
        Portable([0.0; WIDTH])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Portable(from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    fn add_square(self, x: Self) -> Self {
        Portable(from_fn(|i| self.0[i] + x.0[i] * x.0[i]))
    }

    #[inline(always)]
    fn total(self) -> f64 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    #[inline(always)]
    fn to_array(self) -> [f64; WIDTH] {
        self.0
    }
}

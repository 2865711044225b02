//! Arrays, which the compiler turns into whatever vectors the target has.

use std::array::from_fn;

use half::{bf16, f16};

use super::{Arithmetic, Doubles, Floats, Simd, Total, Vector, WIDTH, pair::Twice};

/// The instructions that every machine of the target has.
#[derive(Clone, Copy)]
pub struct Portable;

/// A vector as an array.
#[derive(Clone, Copy)]
pub struct Array<T>([T; WIDTH]);

// Without instructions for them these are long, and there are hundreds of places for them: a function for each took 0.2 MB less
// of an engine for x86-64, where few machines come here. Elsewhere the compiler has the choice.

#[cfg_attr(target_arch = "x86_64", inline(never))]
fn from_f16(from: &[f16; WIDTH]) -> [f32; WIDTH] {
    from.map(f16::to_f32)
}

#[cfg_attr(target_arch = "x86_64", inline(never))]
fn to_f16(from: &[f32; WIDTH]) -> [f16; WIDTH] {
    from.map(f16::from_f32)
}

#[cfg_attr(target_arch = "x86_64", inline(never))]
fn to_bf16(from: &[f32; WIDTH]) -> [bf16; WIDTH] {
    from.map(bf16::from_f32)
}

#[cfg_attr(target_arch = "x86_64", inline(never))]
fn mul_add(a: &[f32; WIDTH], b: &[f32; WIDTH], c: &[f32; WIDTH]) -> [f32; WIDTH] {
    from_fn(|i| a[i].mul_add(b[i], c[i]))
}

impl Arithmetic for Portable {
    type F32 = Array<f32>;
    type F64 = Array<f64>;

    #[inline(always)]
    fn splat(self, value: f32) -> Array<f32> {
        Array([value; WIDTH])
    }

    #[inline(always)]
    fn zero(self) -> Array<f64> {
        Array([0.0; WIDTH])
    }
}

impl Simd for Portable {
    type Pair = Twice<Portable>;

    #[inline(always)]
    fn pair(self) -> Twice<Portable> {
        Twice(self)
    }

    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> Array<f32> {
        Array(*from)
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; WIDTH]) -> Array<f32> {
        Array(from_f16(from))
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; WIDTH]) -> Array<f32> {
        Array(from.map(bf16::to_f32))
    }
}

impl Floats for Array<f32> {
    type F64 = Array<f64>;

    #[inline(always)]
    fn round_f16(self) -> Self {
        Array(from_f16(&to_f16(&self.0)))
    }

    #[inline(always)]
    fn round_bf16(self) -> Self {
        Array(to_bf16(&self.0).map(bf16::to_f32))
    }

    #[inline(always)]
    fn clamp(self, limit: f32) -> Self {
        Array(self.0.map(|x| x.clamp(-limit, limit)))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Array(from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Array(from_fn(|i| self.0[i] - other.0[i]))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Array(from_fn(|i| self.0[i] * other.0[i]))
    }

    // A slow function call where the compiler may not assume the instruction.
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Array(mul_add(&self.0, &factor.0, &addend.0))
    }

    #[inline(always)]
    fn reciprocal(self) -> Self {
        Array(self.0.map(|x| 1.0 / x))
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        Array(self.0.map(|x| f32::from_bits(((x as i32 + 127) as u32) << 23)))
    }

    #[inline(always)]
    fn widen(self) -> Array<f64> {
        Array(self.0.map(f64::from))
    }
}

impl Vector for Array<f32> {
    #[inline(always)]
    fn to_array(self) -> [f32; WIDTH] {
        self.0
    }

    #[inline(always)]
    fn store_f16(self, to: &mut [f16; WIDTH]) {
        *to = to_f16(&self.0);
    }

    #[inline(always)]
    fn store_bf16(self, to: &mut [bf16; WIDTH]) {
        *to = to_bf16(&self.0);
    }
}

impl Doubles for Array<f64> {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Array(from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    fn add_square(self, x: Self) -> Self {
        Array(from_fn(|i| self.0[i] + x.0[i] * x.0[i]))
    }
}

impl Total for Array<f64> {
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

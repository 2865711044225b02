//! From a function of one thread's values to an instruction of a warp.
//!
//! The function is computed in all 32 lanes, whether they take part or not, so that the loop has
//! no branch and becomes vector code. It must not panic for any value, since idle lanes may hold anything.

use super::file::{File, Mask, Raw, Row, WARP};

/// Carries an instruction out in the lanes of a mask.
pub type Compute = Box<dyn Fn(&mut File, Mask) + Send + Sync>;

/// A value as it lies in a register.
pub trait Value: Copy + Send + Sync + 'static {
    type Raw: Raw;
    fn of(raw: Self::Raw) -> Self;
    fn raw(self) -> Self::Raw;
}

macro_rules! values {
    ($($type:ty, $raw:ty, $of:expr, $to:expr;)*) => { $(
        impl Value for $type {
            type Raw = $raw;
            #[inline(always)]
            fn of(raw: $raw) -> Self {
                let of: fn($raw) -> $type = $of;
                of(raw)
            }
            #[inline(always)]
            fn raw(self) -> $raw {
                let to: fn($type) -> $raw = $to;
                to(self)
            }
        }
    )* };
}

values! {
    u16, u32, |raw| raw as u16, u32::from;
    i16, u32, |raw| raw as i16, |value| u32::from(value as u16);
    u32, u32, |raw| raw, |value| value;
    i32, u32, |raw| raw as i32, |value| value as u32;
    f32, u32, f32::from_bits, f32::to_bits;
    [u16; 2], u32, |raw| [raw as u16, (raw >> 16) as u16], |[low, high]| u32::from(low) | u32::from(high) << 16;
    u64, u64, |raw| raw, |value| value;
    i64, u64, |raw| raw as i64, |value| value as u64;
    f64, u64, f64::from_bits, f64::to_bits;
    [u32; 2], u64, |raw| [raw as u32, (raw >> 32) as u32], |[low, high]| u64::from(low) | u64::from(high) << 32;
}

/// `d = f(a)`.
pub fn unary<A: Value, D: Value>(d: u32, a: u32, f: impl Fn(A) -> D + Send + Sync + 'static) -> Compute {
    Box::new(move |file, active| {
        let a = A::Raw::row(file, a);
        let row: Row<D::Raw> = std::array::from_fn(|lane| f(A::of(a[lane])).raw());
        file.write(d, &row, active);
    })
}

/// `d = f(a, b)`.
pub fn binary<A: Value, B: Value, D: Value>(
    d: u32,
    [a, b]: [u32; 2],
    f: impl Fn(A, B) -> D + Send + Sync + 'static,
) -> Compute {
    Box::new(move |file, active| {
        let (a, b) = (A::Raw::row(file, a), B::Raw::row(file, b));
        let row: Row<D::Raw> = std::array::from_fn(|lane| f(A::of(a[lane]), B::of(b[lane])).raw());
        file.write(d, &row, active);
    })
}

/// `d = f(a, b, c)`.
pub fn ternary<A: Value, B: Value, C: Value, D: Value>(
    d: u32,
    [a, b, c]: [u32; 3],
    f: impl Fn(A, B, C) -> D + Send + Sync + 'static,
) -> Compute {
    Box::new(move |file, active| {
        let (a, b, c) = (A::Raw::row(file, a), B::Raw::row(file, b), C::Raw::row(file, c));
        let row: Row<D::Raw> =
            std::array::from_fn(|lane| f(A::of(a[lane]), B::of(b[lane]), C::of(c[lane])).raw());
        file.write(d, &row, active);
    })
}

/// `d = f(a, b, c, d)`.
pub fn quaternary<A: Value, C: Value>(
    d: u32,
    [a, b, c, e]: [u32; 4],
    f: impl Fn(A, A, C, C) -> A + Send + Sync + 'static,
) -> Compute {
    Box::new(move |file, active| {
        let (a, b) = (A::Raw::row(file, a), A::Raw::row(file, b));
        let (c, e) = (C::Raw::row(file, c), C::Raw::row(file, e));
        let row: Row<A::Raw> = std::array::from_fn(|lane| {
            f(A::of(a[lane]), A::of(b[lane]), C::of(c[lane]), C::of(e[lane])).raw()
        });
        file.write(d, &row, active);
    })
}

/// One bit a lane: whether `f(a, b)`.
pub fn test<A: Value, B: Value>(
    [a, b]: [u32; 2],
    f: impl Fn(A, B) -> bool + Send + Sync + 'static,
) -> Box<dyn Fn(&File) -> Mask + Send + Sync> {
    Box::new(move |file| {
        let (a, b) = (A::Raw::row(file, a), B::Raw::row(file, b));
        let mut lanes = 0;
        for lane in 0..WARP {
            lanes |= Mask::from(f(A::of(a[lane]), B::of(b[lane]))) << lane;
        }
        lanes
    })
}

/// `d = if p { a } else { b }`.
pub fn select<R: Raw>(d: u32, [a, b]: [u32; 2], p: u32) -> Compute {
    Box::new(move |file, active| {
        let chosen = file.predicates[p as usize];
        let (a, b) = (R::row(file, a), R::row(file, b));
        let row: Row<R> = std::array::from_fn(|lane| if chosen >> lane & 1 == 1 { a[lane] } else { b[lane] });
        file.write(d, &row, active);
    })
}

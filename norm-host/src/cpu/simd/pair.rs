//! Two vectors at a time, one after the other.

use half::{bf16, f16};

use super::{Arithmetic, Doubles, Floats, PAIR, Pairs, Simd, Vector, WIDTH};

/// The instructions of `S`, each twice.
#[derive(Clone, Copy)]
pub struct Twice<S>(pub(super) S);

/// Two vectors.
#[derive(Clone, Copy)]
pub struct Two<V>(V, V);

/// The halves of some elements.
#[inline(always)]
fn halves<E>(from: &[E; PAIR]) -> [&[E; WIDTH]; 2] {
    let (halves, _) = from.as_chunks();
    [&halves[0], &halves[1]]
}

impl<S: Simd> Arithmetic for Twice<S> {
    type F32 = Two<S::F32>;
    type F64 = Two<S::F64>;

    #[inline(always)]
    fn splat(self, value: f32) -> Two<S::F32> {
        Two(self.0.splat(value), self.0.splat(value))
    }

    #[inline(always)]
    fn zero(self) -> Two<S::F64> {
        Two(self.0.zero(), self.0.zero())
    }
}

impl<S: Simd> Pairs<S> for Twice<S> {
    #[inline(always)]
    fn load(self, from: &[f32; PAIR]) -> Two<S::F32> {
        let [low, high] = halves(from);
        Two(self.0.load(low), self.0.load(high))
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; PAIR]) -> Two<S::F32> {
        let [low, high] = halves(from);
        Two(self.0.load_f16(low), self.0.load_f16(high))
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; PAIR]) -> Two<S::F32> {
        let [low, high] = halves(from);
        Two(self.0.load_bf16(low), self.0.load_bf16(high))
    }

    #[inline(always)]
    unsafe fn store(self, pair: Two<S::F32>, to: *mut [f32; PAIR], stream: bool) {
        let to = to.cast::<[f32; WIDTH]>();
        // SAFETY: the caller promises the memory of both halves, and with `stream` that its address is a multiple of the pair's size, so
        // that each half's is one of a vector's.
        unsafe {
            if stream {
                pair.0.stream(to);
                pair.1.stream(to.add(1));
            } else {
                to.write(pair.0.to_array());
                to.add(1).write(pair.1.to_array());
            }
        }
    }

    #[inline(always)]
    unsafe fn store_f16(self, pair: Two<S::F32>, to: *mut [f16; PAIR], stream: bool) {
        let to = to.cast::<[f16; WIDTH]>();
        // SAFETY: the caller promises the memory of both halves, to which nothing else refers meanwhile, and with `stream` that its
        // address is a multiple of the pair's size, so that each half's is one of a vector's.
        unsafe {
            if stream {
                pair.0.stream_f16(to);
                pair.1.stream_f16(to.add(1));
            } else {
                pair.0.store_f16(&mut *to);
                pair.1.store_f16(&mut *to.add(1));
            }
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, pair: Two<S::F32>, to: *mut [bf16; PAIR], stream: bool) {
        let to = to.cast::<[bf16; WIDTH]>();
        // SAFETY: the caller promises the memory of both halves, to which nothing else refers meanwhile, and with `stream` that its
        // address is a multiple of the pair's size, so that each half's is one of a vector's.
        unsafe {
            if stream {
                pair.0.stream_bf16(to);
                pair.1.stream_bf16(to.add(1));
            } else {
                pair.0.store_bf16(&mut *to);
                pair.1.store_bf16(&mut *to.add(1));
            }
        }
    }

    #[inline(always)]
    fn split(self, pair: Two<S::F64>) -> [S::F64; 2] {
        [pair.0, pair.1]
    }
}

/// Methods that do on both vectors what they do on one.
macro_rules! on_both {
    ($($name:ident($($operand:ident),*; $($same:ident: $type:ty),*);)*) => {
        $(#[inline(always)]
        fn $name(self $(, $operand: Self)* $(, $same: $type)*) -> Self {
            Two(self.0.$name($($operand.0,)* $($same,)*), self.1.$name($($operand.1,)* $($same,)*))
        })*
    };
}

impl<V: Floats> Floats for Two<V> {
    type F64 = Two<V::F64>;

    on_both! {
        round_f16(;);
        round_bf16(;);
        clamp(; limit: f32);
        add(other;);
        sub(other;);
        mul(other;);
        mul_add(factor, addend;);
        reciprocal(;);
        power_of_two(;);
    }

    #[inline(always)]
    fn widen(self) -> Two<V::F64> {
        Two(self.0.widen(), self.1.widen())
    }
}

impl<V: Doubles> Doubles for Two<V> {
    on_both! {
        add(other;);
        add_square(x;);
    }
}

//! Weights and biases, whose element type a kernel learns when it runs: a type parameter each
//! would multiply the kernels by nine to save one branch that all threads take alike.

use crate::abi::{DType, PARAM_NONE};
use crate::access::{Access, unpack};
use crate::each::each;
use crate::element::{BF16, Element, F16, F32};
use crate::gpu::Reuse;

/// The weights or the biases of one row.
#[derive(Clone, Copy)]
pub struct Param {
    address: u64,
    dtype: u32,
}

impl Param {
    /// The parameters of a row that is `place`-th of those that do not share them.
    #[inline(always)]
    pub fn of_row(address: u64, dtype: u32, stride: u64, place: u64) -> Param {
        let size = if dtype == DType::F32 as u32 { F32::SIZE } else { F16::SIZE };
        Param { address: address + place * stride * size, dtype }
    }

    /// Whether there are any.
    #[inline(always)]
    pub fn is_present(self) -> bool {
        self.dtype != PARAM_NONE
    }

    /// Loads `V` vectors, the `v`-th being the `valid(v)` elements from `at(v)` on; all
    /// `absent` where there are no parameters.
    ///
    /// # Safety
    /// As [`Access::fetch`] for each.
    #[inline(always)]
    pub unsafe fn load<A: Access, const N: usize, const V: usize>(
        self,
        at: impl Fn(usize) -> (u32, u32),
        absent: f32,
    ) -> [[f32; N]; V] {
        const F16_TAG: u32 = DType::F16 as u32;
        const BF16_TAG: u32 = DType::BF16 as u32;
        const F32_TAG: u32 = DType::F32 as u32;
        // SAFETY: handed on.
        unsafe {
            match self.dtype {
                F16_TAG => self.load_as::<A, F16, N, V>(at),
                BF16_TAG => self.load_as::<A, BF16, N, V>(at),
                F32_TAG => self.load_as::<A, F32, N, V>(at),
                _ => [[absent; N]; V],
            }
        }
    }

    /// # Safety
    /// As [`Param::load`], the elements being `E`.
    #[inline(always)]
    unsafe fn load_as<A: Access, E: Element, const N: usize, const V: usize>(
        self,
        at: impl Fn(usize) -> (u32, u32),
    ) -> [[f32; N]; V] {
        let fetch = |v| {
            let (at, valid) = at(v);
            // SAFETY: handed on.
            unsafe { A::fetch::<E, N>(self.address + at as u64 * E::SIZE, valid, Reuse::Shared) }
        };
        let mut fetched = [fetch(0); V];
        each::<V>(|v| {
            if v > 0 {
                fetched[v] = fetch(v);
            }
        });
        let mut values = [[0.0; N]; V];
        each::<V>(|v| values[v] = unpack::<E, N>(fetched[v]));
        values
    }
}

//! Rows added up over ranks whose tensors are all on the host.

use half::{bf16, f16};

use super::Cpu;
use crate::{
    DType,
    check::{self, Form, ResidualArgs},
    error::{Arg, Error, Result},
    norm::Norm,
    problem::Problem,
    tensor::{Place, View, ViewMut},
};

impl Cpu {
    /// The sum over the ranks of a group, `y = Σ x`, with the bits of [`all_reduce`](crate::all_reduce) on every device: added in
    /// f32 in the order of `x`, rounded once.
    ///
    /// `x[i]`, `y`: `(…, dim)`, rank 1 to 4, f16, bf16 or f32, all of one type and shape. `y` may be one of `x` itself. Followed by
    /// [`Norm::add_then_norm`] it is [`all_reduce_add_rms_norm`](crate::all_reduce_add_rms_norm), whose residual has the same
    /// bits.
    ///
    /// ```
    /// use norm_host::{Cpu, View, ViewMut};
    ///
    /// let (ranks, mut y) = ([[1.0_f32, 2.0], [0.5, -2.0]], [0.0_f32; 2]);
    /// let x = [View::from_slice(&ranks[0], &[2])?, View::from_slice(&ranks[1], &[2])?];
    /// Cpu.all_reduce(&x, &mut ViewMut::from_slice(&mut y, &[2])?)?;
    /// assert_eq!(y, [1.5, 0.0]);
    /// # Ok::<(), norm_host::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ListLength`](Error::ListLength) without ranks; otherwise as for [`Norm::rows`].
    pub fn all_reduce(&self, x: &[View<'_>], y: &mut ViewMut<'_>) -> Result<()> {
        if x.is_empty() {
            return Err(Error::ListLength { arg: Arg::X, expected: 1, given: 0 });
        }
        let mut problems = Vec::with_capacity(x.len());
        for x in x {
            if x.raw.dtype != y.raw.dtype {
                return Err(Error::DType { arg: Arg::X, expected: y.raw.dtype, given: x.raw.dtype });
            }
            let norm = Norm::rms(0.0);
            problems.push(check::apart(&norm, Form::Rows, &x.raw, &y.raw, ResidualArgs::None, Place::Host)?);
        }
        let first = problems[0];
        let mut parts = vec![0; problems.len()];
        for row in 0..first.rows {
            let (_, y) = addresses(&first, row);
            for (part, problem) in parts.iter_mut().zip(&problems) {
                // Axes of different tensors may have been merged differently.
                *part = addresses(problem, row).0;
            }
            for index in 0..first.dim as usize {
                // SAFETY: the checks have established that every view has this element, aligned; its memory may be read as long
                // as it is borrowed, and that of `y` written. An element is read of all before it is written.
                unsafe {
                    let sum = parts.iter().fold(-0.0, |sum, &part| sum + load(part, index, first.x.dtype));
                    store(y, index, first.x.dtype, sum);
                }
            }
        }
        Ok(())
    }
}

/// The addresses of a row of `x` and of `y`.
fn addresses(problem: &Problem, row: u64) -> (u64, u64) {
    let [outer, middle, inner] = &problem.axes;
    let (rest, c) = (row / inner.extent, row % inner.extent);
    let (a, b) = (rest / middle.extent, rest % middle.extent);
    let size = problem.x.dtype.size() as u64;
    let x = a * outer.x_stride + b * middle.x_stride + c * inner.x_stride;
    let y = a * outer.y_stride + b * middle.y_stride + c * inner.y_stride;
    (problem.x.address + x * size, problem.y.address + y * size)
}

/// # Safety
///
/// There are more than `index` readable elements of that type at the address.
unsafe fn load(address: u64, index: usize, dtype: DType) -> f32 {
    let at = address as usize + index * dtype.size();
    // SAFETY: the caller guarantees an element of that type.
    unsafe {
        match dtype {
            DType::F16 => std::ptr::with_exposed_provenance::<f16>(at).read().to_f32(),
            DType::BF16 => std::ptr::with_exposed_provenance::<bf16>(at).read().to_f32(),
            DType::F32 => std::ptr::with_exposed_provenance::<f32>(at).read(),
        }
    }
}

/// # Safety
///
/// As [`load`], of writable elements.
unsafe fn store(address: u64, index: usize, dtype: DType, value: f32) {
    let at = address as usize + index * dtype.size();
    // SAFETY: the caller guarantees an element of that type.
    unsafe {
        match dtype {
            DType::F16 => std::ptr::with_exposed_provenance_mut::<f16>(at).write(f16::from_f32(value)),
            DType::BF16 => std::ptr::with_exposed_provenance_mut::<bf16>(at).write(bf16::from_f32(value)),
            DType::F32 => std::ptr::with_exposed_provenance_mut::<f32>(at).write(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::Element;

    const SHAPE: [usize; 4] = [2, 3, 2, 5];

    /// Gaps along every axis, along some, and none: of two ranks and of what they add up to.
    const STRIDES: [[usize; 4]; 3] = [[90, 22, 9, 1], [60, 20, 10, 1], [30, 10, 5, 1]];

    /// Every index, and where it is in a tensor of these strides.
    fn each(strides: [usize; 4]) -> impl Iterator<Item = usize> {
        let [a, b, c, d] = SHAPE;
        (0..a * b * c * d).map(move |at| {
            let index = [at / (b * c * d), at / (c * d) % b, at / d % c, at % d];
            index.iter().zip(strides).map(|(index, stride)| index * stride).sum()
        })
    }

    fn holds<E: Element + Copy + Debug + PartialEq>(of: impl Fn(usize) -> E) {
        for turn in 0..3 {
            let [first, second, sum] = [0, 1, 2].map(|at| STRIDES[(at + turn) % 3]);
            let ranks = [1, 200].map(|from| (0..160).map(|at| of(from + at)).collect::<Vec<E>>());
            let mut y = vec![of(0); 160];
            let x = [(&ranks[0], first), (&ranks[1], second)].map(|(rank, strides)| {
                View::from_slice(rank, &SHAPE).unwrap().with_strides(&strides).unwrap()
            });
            let view = ViewMut::from_slice(&mut y, &SHAPE).unwrap();
            Cpu.all_reduce(&x, &mut view.with_strides(&sum).unwrap()).unwrap();
            let mut expected = vec![of(0); 160];
            for ((a, b), to) in each(first).zip(each(second)).zip(each(sum)) {
                expected[to] = of(1 + a + 200 + b);
            }
            assert_eq!(y, expected, "turn {turn}");
        }
    }

    #[test]
    fn rows_are_added_up_wherever_they_lie() {
        holds(|value| value as f32);
        // Of eleven bits, exact up to 2048.
        holds(|value| f16::from_f32(value as f32));
    }

    #[test]
    fn what_cannot_be_added_up_is_refused() {
        let (x, mut y) = ([1.0_f32; 4], [f16::ZERO; 4]);
        let x = View::from_slice(&x, &[2, 2]).unwrap();
        let mut y = ViewMut::from_slice(&mut y, &[2, 2]).unwrap();
        let none = Error::ListLength { arg: Arg::X, expected: 1, given: 0 };
        assert_eq!(Cpu.all_reduce(&[], &mut y), Err(none));
        let other = Error::DType { arg: Arg::X, expected: DType::F16, given: DType::F32 };
        assert_eq!(Cpu.all_reduce(&[x], &mut y), Err(other));
    }
}

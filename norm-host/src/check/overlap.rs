//! Checks that what is written shares no memory with anything else.
//!
//! Two tensors share a byte when one index into each leads to the same address: when integers
//! `c_k`, each from the range that the extents leave it, satisfy `Σ c_k · stride_k = distance`.
//! [`solvable`] searches for them from the largest stride down. The smaller strides together can
//! bridge only a limited distance, which leaves one or two candidates for each `c_k` in any layout that
//! nests (rows within heads within tokens, columns of a wider buffer): for those the answer is
//! exact. A search that exceeds its budget counts as an overlap, so that no write is ever
//! accepted that could touch an element of another row or another tensor.
//!
//! Nearly every call needs no search: one tensor ends before the other begins, and each stride of a tensor is larger than
//! the extent in memory of all axes behind it.

#[cfg(test)]
mod tests;

use crate::{
    error::{Arg, Error, Result},
    tensor::{Codes, Layout, Raw},
};

/// A tensor as memory: where its elements are, and how many bytes each has.
pub(super) trait Extent {
    fn address(&self) -> u64;
    fn element(&self) -> u64;
    fn layout(&self) -> &Layout;
}

impl Extent for Raw {
    fn address(&self) -> u64 {
        self.address
    }

    fn element(&self) -> u64 {
        self.dtype.size() as u64
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl Extent for Codes {
    fn address(&self) -> u64 {
        self.address
    }

    fn element(&self) -> u64 {
        1
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// Candidates to try before the search gives up. Nested layouts need 2⁵ at most.
const BUDGET: u32 = 4096;

/// The most strides in one equation: four axes of each tensor, and the bytes within their rows or elements.
const MAX_TERMS: usize = 10;

/// `c · stride` for some `c` from `low` to `high`, which include 0.
#[derive(Clone, Copy, Debug, Default)]
struct Term {
    stride: i128,
    low: i128,
    high: i128,
}

/// Checks that the second of two tensors, which is written, shares no memory with the first, or is the same tensor.
pub(super) fn same_or_apart((a, first): (Arg, &Raw), (b, second): (Arg, &Raw)) -> Result<()> {
    if !share_bytes(first, second) {
        return Ok(());
    }
    if first.address != second.address || !same_elements(&first.layout, &second.layout) {
        return Err(Error::Overlap { a, b });
    }
    if first.dtype != second.dtype {
        return Err(Error::DType { arg: b, expected: first.dtype, given: second.dtype });
    }
    Ok(())
}

/// Checks that two tensors, of which the second is written, share no memory.
pub(super) fn apart((a, first): (Arg, &impl Extent), (b, second): (Arg, &impl Extent)) -> Result<()> {
    if share_bytes(first, second) { Err(Error::Overlap { a, b }) } else { Ok(()) }
}

/// Checks that no two indices into the tensor lead to the same element.
pub(super) fn within(arg: Arg, tensor: &impl Extent) -> Result<()> {
    let layout = tensor.layout();
    if nested(layout) {
        return Ok(());
    }
    let Layout { shape, strides } = *layout;
    let mut terms = Terms::default();
    for (&extent, &stride) in shape.iter().zip(&*strides) {
        let reach = extent.saturating_sub(1) as i128;
        // Unlike in `share_bytes`, equal strides stay apart: they are two ways to one element.
        terms.push(Term { stride: stride as i128, low: -reach, high: reach });
    }
    if !layout.is_empty() && terms.solvable(0, true) {
        return Err(Error::SelfOverlap { arg, shape, strides });
    }
    Ok(())
}

/// Whether one ends before the other starts.
fn far_apart(a: &impl Extent, b: &impl Extent) -> bool {
    let end = |tensor: &Layout, address: u64, element: u64| {
        let bytes = tensor.span().ok().and_then(|span| span.checked_mul(element));
        bytes.and_then(|bytes| address.checked_add(bytes))
    };
    if a.address() <= b.address() {
        end(a.layout(), a.address(), a.element()).is_some_and(|end| end <= b.address())
    } else {
        end(b.layout(), b.address(), b.element()).is_some_and(|end| end <= a.address())
    }
}

/// Whether each stride is larger than the distance that the axes behind it span, so that every index leads to an element
/// of its own.
fn nested(Layout { shape, strides }: &Layout) -> bool {
    let mut reach = Some(0_usize);
    shape.iter().zip(&**strides).rev().filter(|(extent, _)| **extent > 1).all(|(&extent, &stride)| {
        let fits = reach.is_some_and(|reach| stride > reach);
        reach = reach.and_then(|reach| stride.checked_mul(extent - 1)?.checked_add(reach));
        fits
    })
}

/// Whether equal indices lead to equal elements; the strides of axes with one position do not matter.
fn same_elements(a: &Layout, b: &Layout) -> bool {
    let strides = a.strides.iter().zip(&*b.strides);
    a.shape == b.shape && a.shape.iter().zip(strides).all(|(&extent, (a, b))| extent <= 1 || a == b)
}

/// Whether a byte belongs to both, or the search could not exclude it.
fn share_bytes(a: &impl Extent, b: &impl Extent) -> bool {
    if a.layout().is_empty() || b.layout().is_empty() || far_apart(a, b) {
        return false;
    }
    let mut terms = Terms::default();
    terms.tensor(a.layout(), a.element() as i128, 1);
    terms.tensor(b.layout(), b.element() as i128, -1);
    terms.solvable(b.address() as i128 - a.address() as i128, false)
}

/// The terms of one equation, axes with one position left out.
#[derive(Default)]
struct Terms {
    terms: [Term; MAX_TERMS],
    count: usize,
}

impl Terms {
    /// The bytes of a tensor, on that side of the equation.
    fn tensor(&mut self, layout: &Layout, size: i128, sign: i128) {
        let (front, dim) = layout.shape.split_last();
        let (outer, last) = layout.strides.split_last();
        for (&extent, &stride) in front.iter().zip(outer) {
            self.combine(stride as i128 * size, sign * (extent as i128 - 1));
        }
        if dim <= 1 || last == 1 {
            // A dense row: one run of bytes.
            self.combine(1, sign * (dim as i128 * size - 1));
        } else {
            self.combine(last as i128 * size, sign * (dim as i128 - 1));
            self.combine(1, sign * (size - 1));
        }
    }

    fn push(&mut self, term: Term) {
        if term.low < term.high {
            self.terms[self.count] = term;
            self.count += 1;
        }
    }

    /// Adds a term of `stride` times anything from 0 to `to`, which may be negative. It is combined with an existing
    /// term of that stride, so that two tensors with the same strides take no more terms than one tensor.
    fn combine(&mut self, stride: i128, to: i128) {
        let (low, high) = (to.min(0), to.max(0));
        match self.terms[..self.count].iter_mut().find(|term| term.stride == stride) {
            Some(term) => {
                term.low += low;
                term.high += high;
            }
            None => self.push(Term { stride, low, high }),
        }
    }

    /// Whether the terms can add up to `distance`, with some factor other than 0 if `nonzero`;
    /// also true if the budget does not suffice to decide.
    fn solvable(mut self, distance: i128, nonzero: bool) -> bool {
        let terms = &mut self.terms[..self.count];
        terms.sort_unstable_by_key(|term| -term.stride);
        search(terms, distance, nonzero, &mut { BUDGET })
    }
}

fn search(terms: &[Term], distance: i128, nonzero: bool, budget: &mut u32) -> bool {
    let Some((term, smaller)) = terms.split_first() else {
        return distance == 0 && !nonzero;
    };
    if term.stride == 0 {
        // Only zero strides are left, and each reaches an element from more than one index.
        return distance == 0;
    }
    let (mut low_rest, mut high_rest) = (0, 0);
    for term in smaller {
        low_rest += term.low * term.stride;
        high_rest += term.high * term.stride;
    }
    // The rest must bridge `distance - c * stride`.
    let from = (distance - high_rest).div_euclid(term.stride)
        + i128::from((distance - high_rest).rem_euclid(term.stride) != 0);
    let to = (distance - low_rest).div_euclid(term.stride);
    for c in from.max(term.low)..=to.min(term.high) {
        *budget = budget.saturating_sub(1);
        if *budget == 0 || search(smaller, distance - c * term.stride, nonzero && c == 0, budget) {
            return true;
        }
    }
    false
}

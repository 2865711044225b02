//! Queries, keys and values as the arguments of one operation.

use crate::{
    error::{Arg, Error, Result},
    tensor::{Raw, View, ViewMut},
};

/// Queries, and keys and values where they are there: each `(tokens, heads, head_dim)`. Layers that share the keys of an earlier
/// one, as in Gemma 3n, have queries alone.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Qkv<T> {
    /// The queries.
    pub q: T,
    /// The keys.
    pub k: Option<T>,
    /// The values, which are normed, where they have a norm, and never rotated.
    pub v: Option<T>,
}

impl<T> Qkv<T> {
    /// Queries alone.
    pub fn new(q: T) -> Qkv<T> {
        Qkv { q, k: None, v: None }
    }

    /// With keys.
    pub fn k(self, k: impl Into<Option<T>>) -> Qkv<T> {
        Qkv { k: k.into(), ..self }
    }

    /// With values.
    pub fn v(self, v: impl Into<Option<T>>) -> Qkv<T> {
        Qkv { v: v.into(), ..self }
    }
}

impl<'a> Qkv<View<'a>> {
    /// The queries, keys and values of a packed tensor, `(tokens, columns)`, in this order, of as many heads each, 0 for none
    /// of keys or values, of `head_dim` elements. There may be more columns, which belong to none of them.
    ///
    /// # Errors
    ///
    /// [`Rank`](Error::Rank) unless there are two axes, [`OutOfBounds`](Error::OutOfBounds) if there are fewer columns than
    /// heads take, [`LastAxisStrided`](Error::LastAxisStrided) if they are not contiguous.
    pub fn packed(packed: View<'a>, heads: [usize; 3], head_dim: usize) -> Result<Qkv<View<'a>>> {
        let [q, k, v] = slices(&packed.raw, heads, head_dim)?;
        let view = |(raw, heads): (Raw, usize)| (heads > 0).then(|| View::from_raw(raw));
        Ok(Qkv { q: View::from_raw(q.0), k: view(k), v: view(v) })
    }
}

impl<'a> Qkv<ViewMut<'a>> {
    /// As for [`View`]s.
    ///
    /// # Errors
    ///
    /// As for [`View`]s.
    pub fn packed(packed: ViewMut<'a>, heads: [usize; 3], head_dim: usize) -> Result<Qkv<ViewMut<'a>>> {
        let [q, k, v] = slices(&packed.raw, heads, head_dim)?;
        // Each view leads to columns of its own, so that none can write what another has.
        let view = |(raw, heads): (Raw, usize)| (heads > 0).then(|| ViewMut::from_raw(raw));
        Ok(Qkv { q: ViewMut::from_raw(q.0), k: view(k), v: view(v) })
    }
}

/// The slices of columns of a packed tensor, and their heads.
fn slices(packed: &Raw, heads: [usize; 3], head_dim: usize) -> Result<[(Raw, usize); 3]> {
    let arg = Arg::View;
    let [tokens, columns] = *packed.layout.shape else {
        return Err(Error::Rank { arg, expected: 2..=2, given: packed.layout.shape.len() });
    };
    let [token_stride, stride] = *packed.layout.strides else {
        return Err(Error::Rank { arg, expected: 2..=2, given: packed.layout.shape.len() });
    };
    if columns > 1 && stride != 1 {
        return Err(Error::LastAxisStrided { arg, stride });
    }
    let too_many = Error::TooManyElements { arg, shape: packed.layout.shape };
    let [q, k, v] = heads.map(|heads| heads.checked_mul(head_dim));
    let (Some(q), Some(k), Some(v)) = (q, k, v) else { return Err(too_many) };
    let needed = q.checked_add(k).and_then(|sum| sum.checked_add(v)).ok_or(too_many)?;
    if needed > columns {
        return Err(Error::OutOfBounds { arg, needed: needed as u64, available: columns as u64 });
    }
    let slice = |from: usize, heads: usize| -> Result<(Raw, usize)> {
        // Without tokens there may be more columns than memory has bytes.
        let bytes = (from as u64).wrapping_mul(packed.dtype.size() as u64);
        let address = packed.address.wrapping_add(bytes);
        let (shape, strides) = ([tokens, heads, head_dim], [token_stride, head_dim, 1]);
        let raw = Raw::strided(packed.place, address, packed.dtype, (&shape, &strides), None)?;
        Ok((raw, heads))
    };
    Ok([slice(0, heads[0])?, slice(q, heads[1])?, slice(q + k, heads[2])?])
}

//! The search against a list of every byte.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{DType, tensor::Place};

fn tensor() -> impl Strategy<Value = Raw> {
    let axis = (0_usize..4, 0_usize..14);
    (vec(axis, 0..4), 1_usize..5, 0_u64..60, select(&DType::ALL)).prop_map(|(front, dim, element, dtype)| {
        let shape: Vec<usize> = front.iter().map(|axis| axis.0).chain([dim]).collect();
        let strides: Vec<usize> = front.iter().map(|axis| axis.1).chain([1]).collect();
        raw(1000 + element * 2, dtype, &shape, &strides)
    })
}

fn raw(address: u64, dtype: DType, shape: &[usize], strides: &[usize]) -> Raw {
    Raw::strided(Place::Host, address, dtype, (shape, strides), None).unwrap()
}

/// The address of every element, as often as indices lead to it.
fn addresses(tensor: &Raw) -> Vec<u64> {
    let Layout { shape, strides } = tensor.layout;
    let mut offsets = vec![0];
    for (&extent, &stride) in shape.iter().zip(&*strides) {
        offsets = offsets.iter().flat_map(|o| (0..extent).map(move |i| o + i * stride)).collect();
    }
    let size = tensor.dtype.size();
    offsets.into_iter().map(|offset| tensor.address + (offset * size) as u64).collect()
}

fn bytes(tensor: &Raw) -> HashSet<u64> {
    let size = tensor.dtype.size() as u64;
    addresses(tensor).into_iter().flat_map(|address| address..address + size).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn tensors_share_bytes_exactly_if_they_do((a, b) in (tensor(), tensor())) {
        prop_assert_eq!(share_bytes(&a, &b), !bytes(&a).is_disjoint(&bytes(&b)));
    }

    #[test]
    fn elements_coincide_exactly_if_they_do(a in tensor()) {
        let addresses = addresses(&a);
        let distinct: HashSet<_> = addresses.iter().collect();
        prop_assert_eq!(within(Arg::Y, &a).is_err(), distinct.len() < addresses.len());
    }
}

/// Rows by the million, whose halves are different tensors.
#[test]
fn halves_of_rows_are_apart() {
    let (rows, dim) = (1 << 30, 4096);
    let half = |at: usize, dtype| raw(4096 + at as u64, dtype, &[rows, dim], &[2 * dim, 1]);
    assert!(!share_bytes(&half(0, DType::F16), &half(2 * dim, DType::F16)));
    assert!(share_bytes(&half(0, DType::F16), &half(2 * dim - 2, DType::F16)));
    assert!(share_bytes(&half(2 * dim, DType::F16), &half(2, DType::F16)));
}

/// Heads of q, k and v in one buffer, `(tokens, 3, heads, head_dim)`.
#[test]
fn queries_are_apart_from_keys() {
    let (tokens, heads, dim) = (100_000, 32, 128);
    let part = |part: usize| {
        let at = 4096 + (part * heads * dim * 2) as u64;
        raw(at, DType::BF16, &[tokens, heads, dim], &[3 * heads * dim, dim, 1])
    };
    assert!(!share_bytes(&part(0), &part(1)));
    assert!(!share_bytes(&part(2), &part(0)));
    assert!(share_bytes(&part(1), &part(1)));
}

/// Strides that share no factor take a long search: it ends, and on the safe side.
#[test]
fn what_cannot_be_told_counts_as_overlap() {
    let a = raw(1 << 20, DType::F16, &[1 << 20, 1 << 20, 1], &[1_000_003, 999_983, 1]);
    let b = raw(1 << 21, DType::F16, &[1 << 20, 1 << 20, 1], &[999_979, 1_000_033, 1]);
    assert!(share_bytes(&a, &b));
}

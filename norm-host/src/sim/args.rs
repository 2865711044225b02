//! The kernels' parameters as bytes.

use std::mem::offset_of;

use norm_kernels::abi::{Args, Axis, Divisor, GroupArgs, QuantArgs, RopeArgs, RopeHeads, SecondNorm};

/// The bytes of `args` as a kernel reads them: `repr(C)`, with zeros for padding.
pub fn bytes(args: &Args) -> Vec<u8> {
    // Destructured, so that a new field cannot be forgotten here.
    let Args { x, y, w, b, rows, dim, share, l2_prefetch_rows, eps, weight_offset, .. } = *args;
    let Args { reciprocal_f32, accumulate, share_reciprocal, w_stride, b_stride, inner, r, s, .. } = *args;
    let Args { sum_scale_at, branch_scale, sum_scale, reciprocal, last_share_reciprocal, .. } = *args;
    let Args { outer, divisors, .. } = *args;
    let axis = |Axis { extent, x_stride, y_stride, r_stride, s_stride }| {
        [extent, x_stride, y_stride, r_stride, s_stride].into_iter().flat_map(u64::to_le_bytes)
    };
    let mut bytes = Vec::with_capacity(size_of::<Args>());
    bytes.extend([x, y, w, b].into_iter().flat_map(u64::to_le_bytes));
    bytes.extend([rows, dim, share, l2_prefetch_rows].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend([eps, weight_offset, reciprocal_f32].into_iter().flat_map(f32::to_le_bytes));
    bytes.extend(accumulate.to_le_bytes());
    bytes.extend(share_reciprocal.to_le_bytes());
    bytes.extend([w_stride, b_stride].into_iter().flat_map(u64::to_le_bytes));
    bytes.extend(axis(inner));
    bytes.extend([r, s, sum_scale_at].into_iter().flat_map(u64::to_le_bytes));
    bytes.extend([branch_scale, sum_scale].into_iter().flat_map(f32::to_le_bytes));
    bytes.extend([reciprocal, last_share_reciprocal].into_iter().flat_map(f64::to_le_bytes));
    bytes.extend(outer.into_iter().flat_map(axis));
    bytes.extend(divisors.into_iter().flat_map(Divisor::words).flat_map(u32::to_le_bytes));
    debug_assert!(bytes.len().next_multiple_of(8) == size_of::<Args>(), "a field is missing");
    bytes.resize(size_of::<Args>(), 0);
    bytes
}

/// The bytes of the second norm's argument.
pub fn second_bytes(second: &SecondNorm) -> Vec<u8> {
    let SecondNorm { w, eps, weight_offset } = *second;
    let floats = [eps, weight_offset].into_iter().flat_map(f32::to_le_bytes);
    w.to_le_bytes().into_iter().chain(floats).collect()
}

/// The bytes of the argument of a kernel that norms and rotates heads.
pub fn rope_bytes(args: &RopeArgs) -> Vec<u8> {
    let RopeArgs { positions, cos, sin, cos_stride, sin_stride, position_bytes, table_rows, rows, .. } =
        *args;
    let RopeArgs { groups, heads_a_group, k_from, v_from, dim, half, rotating, distance, reciprocal, .. } =
        *args;
    let RopeArgs { norms, centers, norm_behind, q, k, v, .. } = *args;
    let mut bytes = Vec::with_capacity(size_of::<RopeArgs>());
    bytes.extend([positions, cos, sin, cos_stride, sin_stride].into_iter().flat_map(u64::to_le_bytes));
    bytes.extend([position_bytes, table_rows, rows].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(groups.words().into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(
        [heads_a_group, k_from, v_from, dim, half, rotating, distance].into_iter().flat_map(u32::to_le_bytes),
    );
    bytes.extend(reciprocal.to_le_bytes());
    bytes.extend([norms, centers, norm_behind].into_iter().flat_map(u32::to_le_bytes));
    debug_assert_eq!(bytes.len().next_multiple_of(8), offset_of!(RopeArgs, q), "a field is missing");
    bytes.resize(offset_of!(RopeArgs, q), 0);
    for part in [q, k, v] {
        let RopeHeads { x, y, w, x_token, x_head, y_token, y_head, w_head, .. } = part;
        let RopeHeads { eps, weight_offset, flags, end, .. } = part;
        let words = [x, y, w, x_token, x_head, y_token, y_head, w_head];
        bytes.extend(words.into_iter().flat_map(u64::to_le_bytes));
        bytes.extend([eps, weight_offset].into_iter().flat_map(f32::to_le_bytes));
        bytes.extend([flags, end].into_iter().flat_map(u32::to_le_bytes));
    }
    debug_assert_eq!(bytes.len(), size_of::<RopeArgs>(), "a field is missing");
    bytes
}

/// The bytes of the argument that says how an output is quantized.
pub fn quant_bytes(quant: &QuantArgs) -> Vec<u8> {
    let QuantArgs { scales, row_stride, block_stride, bound_at, normed, normed_stride, .. } = *quant;
    let QuantArgs { granularity, block, bound, floor, max, max_reciprocal, least, sharing, .. } = *quant;
    let mut bytes = Vec::with_capacity(size_of::<QuantArgs>());
    let words = [scales, row_stride, block_stride, bound_at, normed, normed_stride];
    bytes.extend(words.into_iter().flat_map(u64::to_le_bytes));
    bytes.extend([granularity, block].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend([bound, floor, max, max_reciprocal, least].into_iter().flat_map(f32::to_le_bytes));
    bytes.extend(sharing.to_le_bytes());
    debug_assert!(bytes.len() == size_of::<QuantArgs>(), "a field is missing");
    bytes
}

/// The bytes of the argument that tells a rank of its group.
pub fn group_bytes(group: &GroupArgs) -> Vec<u8> {
    let GroupArgs { workspaces, failure, patience, buffer, pitch, blocks, ranks, rank, .. } = *group;
    let GroupArgs { rows, signature, exchange, packets, early, .. } = *group;
    let mut bytes = Vec::with_capacity(size_of::<GroupArgs>());
    bytes.extend(workspaces.into_iter().chain([failure, patience, buffer]).flat_map(u64::to_le_bytes));
    let words = [pitch, blocks, ranks, rank, rows[0], rows[1], signature, exchange, packets, early];
    bytes.extend(words.into_iter().flat_map(u32::to_le_bytes));
    debug_assert!(bytes.len() == size_of::<GroupArgs>(), "a field is missing");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_lies_where_the_struct_has_it() {
        let axis = |extent| Axis {
            extent,
            x_stride: extent + 1,
            y_stride: extent + 2,
            r_stride: extent + 3,
            s_stride: extent + 4,
        };
        let args = Args {
            x: 1,
            y: 2,
            w: 3,
            b: 4,
            r: 9,
            s: 13,
            sum_scale_at: 14,
            outer: [axis(10), axis(20)],
            inner: axis(30),
            divisors: [Divisor::new(20), Divisor::new(30)],
            w_stride: 6,
            b_stride: 7,
            reciprocal: 0.125,
            share_reciprocal: 0.5,
            last_share_reciprocal: 0.25,
            reciprocal_f32: 0.125,
            rows: 5,
            dim: 8,
            share: 6,
            l2_prefetch_rows: 11,
            eps: 0.5,
            weight_offset: 0.25,
            branch_scale: 2.0,
            sum_scale: 3.0,
            accumulate: 12,
        };
        let bytes = bytes(&args);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(bytes.len(), size_of::<Args>());
        assert_eq!(word(offset_of!(Args, b)), 4);
        assert_eq!(word(offset_of!(Args, outer) + size_of::<Axis>() + 16), 22);
        assert_eq!(word(offset_of!(Args, inner) + 32), 34);
        assert_eq!(half(offset_of!(Args, divisors) + size_of::<Divisor>()), 30);
        assert_eq!(word(offset_of!(Args, share_reciprocal)), 0.5f64.to_bits());
        assert_eq!(word(offset_of!(Args, last_share_reciprocal)), 0.25f64.to_bits());
        assert_eq!(word(offset_of!(Args, sum_scale_at)), 14);
        assert_eq!(half(offset_of!(Args, sum_scale)), 3.0f32.to_bits());
        assert_eq!(half(offset_of!(Args, rows)), 5);
        assert_eq!(half(offset_of!(Args, accumulate)), 12);
        assert_eq!(word(offset_of!(Args, reciprocal)), 0.125f64.to_bits());
        assert_eq!(half(offset_of!(Args, dim)), 8);
        assert_eq!(half(offset_of!(Args, weight_offset)), 0.25f32.to_bits());
    }

    #[test]
    fn so_does_every_field_of_a_group() {
        let bytes = group_bytes(&GroupArgs {
            workspaces: [1, 2, 3, 4, 5, 6, 7, 8],
            failure: 9,
            patience: 10,
            buffer: 11,
            pitch: 12,
            blocks: 13,
            ranks: 14,
            rank: 15,
            rows: [16, 17],
            signature: 18,
            exchange: 19,
            packets: 20,
            early: 21,
        });
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(bytes.len(), size_of::<GroupArgs>());
        assert_eq!(word(offset_of!(GroupArgs, workspaces) + 56), 8);
        assert_eq!(word(offset_of!(GroupArgs, failure)), 9);
        assert_eq!(word(offset_of!(GroupArgs, patience)), 10);
        assert_eq!(word(offset_of!(GroupArgs, buffer)), 11);
        assert_eq!(half(offset_of!(GroupArgs, pitch)), 12);
        assert_eq!(half(offset_of!(GroupArgs, blocks)), 13);
        assert_eq!(half(offset_of!(GroupArgs, ranks)), 14);
        assert_eq!(half(offset_of!(GroupArgs, rank)), 15);
        assert_eq!(half(offset_of!(GroupArgs, rows) + 4), 17);
        assert_eq!(half(offset_of!(GroupArgs, signature)), 18);
        assert_eq!(half(offset_of!(GroupArgs, exchange)), 19);
        assert_eq!(half(offset_of!(GroupArgs, packets)), 20);
        assert_eq!(half(offset_of!(GroupArgs, early)), 21);
    }

    #[test]
    fn so_does_every_field_of_the_second_norm() {
        let bytes = second_bytes(&SecondNorm { w: 1, eps: 0.5, weight_offset: 0.25 });
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(bytes.len(), size_of::<SecondNorm>());
        assert_eq!(half(offset_of!(SecondNorm, w)), 1);
        assert_eq!(half(offset_of!(SecondNorm, eps)), 0.5f32.to_bits());
        assert_eq!(half(offset_of!(SecondNorm, weight_offset)), 0.25f32.to_bits());
    }
}

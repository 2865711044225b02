//! The limit of instructions for a warp, beyond which its kernel counts as an endless loop.

use norm_kernels::abi::Args;

/// For a thread's work outside the passes over its row: addresses, reductions, barriers. The kernels take some hundreds.
const PER_THREAD: u64 = 10_000;

/// For each element of a thread, in all passes together. The kernels take 79 where rows are long, and 153 with nine
/// elements a thread, where the work of [`PER_THREAD`] counts. PTX from another compiler may take more.
///
/// A row of [`MAX_DIM`](crate::MAX_DIM) elements in one block gives a thread 16,384: the longest launch there is,
/// 1.28 million instructions a warp (LayerNorm, element by element), against a limit of 16.4 million.
const PER_ELEMENT: u64 = 1000;

/// The limit for a launch in blocks of these extents.
pub fn instructions(args: &Args, block: [u32; 3]) -> u64 {
    for_elements(args.share.div_ceil(block[0]))
}

/// The limit for a launch of a group whose blocks have so many rows, and wait for another rank for so many instructions each
/// of two times.
pub fn for_group(args: &Args, block: [u32; 3], rows: u32, patience: u64) -> u64 {
    u64::from(rows.max(1)) * instructions(args, block) + 2 * patience
}

/// The limit for a launch that norms and rotates heads, so many a thread: of each at most three units of eight elements.
pub fn for_heads(heads: u32) -> u64 {
    for_elements(24 * heads)
}

/// The limit for threads with that many elements of a row.
fn for_elements(elements: u32) -> u64 {
    PER_THREAD + PER_ELEMENT * u64::from(elements)
}

#[cfg(test)]
mod tests {
    use half::f16;
    use norm_kernels::abi::Kernel;

    use super::*;
    use crate::{
        MAX_DIM, Norm, NormKind, Simulator, View, ViewMut, ops,
        plan::{DeviceProfile, Tile},
        ptx::Ptx,
        tensor::Element,
    };

    /// The limit is at least so many times what a kernel takes.
    const HEADROOM: u64 = 8;

    /// What the longest warp ran, and the elements of each of its threads, for one row with everything an operation
    /// can be given, `shift` elements off an address that suits vectors.
    fn longest_warp<X: Element, Y: Element>(
        (kind, profile): (NormKind, DeviceProfile),
        (dim, shift): (usize, usize),
        (one, y): (X, Y),
    ) -> (u64, u32) {
        let (x, mut r, w, mut y) =
            (vec![one; dim + 1], vec![one; dim + 1], vec![1.0_f32; dim + 1], vec![y; dim + 1]);
        let row = shift..shift + dim;
        let shape = [1, dim];
        let x = View::from_slice(&x[row.clone()], &shape).unwrap();
        let mut r = ViewMut::from_slice(&mut r[row.clone()], &shape).unwrap();
        let w = View::from_slice(&w[row.clone()], &shape[1..]).unwrap();
        let mut y = ViewMut::from_slice(&mut y[row], &shape).unwrap();
        let simulator = Simulator::with_profile(profile);
        let norm = Norm::new(kind, 1e-5).weight(w).weight_offset(1.0).bias(w);
        norm.add_then_norm(x, &mut r, &mut y, &simulator).unwrap();
        let tile = Tile::new(kind, X::DTYPE, Y::DTYPE, dim as u32, profile);
        (simulator.counts().unwrap().longest_warp, tile.share(dim as u32).div_ceil(tile.threads))
    }

    /// The same for each pair of types of 16 and 32 bits.
    fn longest_warps(on: (NormKind, DeviceProfile), row: (usize, usize)) -> [(u64, u32); 4] {
        [
            longest_warp(on, row, (f16::ONE, f16::ONE)),
            longest_warp(on, row, (f16::ONE, 1.0_f32)),
            longest_warp(on, row, (1.0_f32, f16::ONE)),
            longest_warp(on, row, (1.0_f32, 1.0_f32)),
        ]
    }

    #[test]
    fn no_kernel_comes_near_its_limit() {
        for profile in [DeviceProfile::LEAST, DeviceProfile::of_capability((9, 0))] {
            for (kind, shift) in NormKind::ALL.into_iter().flat_map(|kind| [(kind, 0), (kind, 1)]) {
                for dim in [1, 33, 1000, 8200, 70_001] {
                    for (taken, elements) in longest_warps((kind, profile), (dim, shift)) {
                        assert!(
                            taken * HEADROOM <= for_elements(elements),
                            "{kind:?}, {profile:?}: {taken} for {elements} of {dim}, {shift} off"
                        );
                    }
                }
            }
        }
    }

    /// The longest launch there is takes a minute to simulate; two shorter ones of its kernel tell what it takes.
    #[test]
    fn the_longest_row_does_not_come_near_its_limit() {
        for kind in NormKind::ALL {
            let [short, long] =
                [70_001, 140_001].map(|dim| longest_warps((kind, DeviceProfile::LEAST), (dim, 1)));
            for ((short, few), (long, many)) in short.into_iter().zip(long) {
                let an_element = (long - short).div_ceil(u64::from(many - few));
                let most = MAX_DIM.div_ceil(1024);
                let taken = long + an_element * u64::from(most - many);
                assert!(taken * HEADROOM <= for_elements(most), "{kind:?}: {taken}");
            }
        }
    }

    #[test]
    fn a_kernel_without_end_is_at_fault() {
        let bytes = size_of::<Args>();
        let endless = |kernel: Kernel| {
            format!(".visible .entry {kernel}(.param .align 8 .b8 args[{bytes}])\n{{\nLOOP: bra LOOP;\n}}\n")
        };
        let kernels: String = Kernel::all().map(endless).collect();
        let text = format!(".version 8.1\n.target sm_90\n.address_size 64\n{kernels}").leak();
        let simulator = Simulator::with_ptx(Ptx::from_text(text).unwrap());
        let shape = [4, 1 << 16];
        let (x, mut y) = (vec![1.0_f32; 4 << 16], vec![0.0_f32; 4 << 16]);
        let x = View::from_slice(&x, &shape).unwrap();
        let mut y = ViewMut::from_slice(&mut y, &shape).unwrap();
        let error = ops::rms_norm(x, None, &mut y, 1e-5, &simulator).unwrap_err();
        assert!(error.to_string().contains("the launch's limit"), "{error}");
    }
}

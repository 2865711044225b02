//! Whichever version of the code this machine takes, the bits are the same.

use super::*;

fn run(address: *const f32) -> Run {
    Run { address: address.expose_provenance() as u64, dtype: DType::F32 }
}

#[test]
fn the_fastest_version_gives_the_bits_of_the_plain_one() {
    for dim in [1, 7, 16, 100, PART - 1, PART + 17] {
        let values = |seed: usize| -> Vec<f32> {
            (0..dim).map(|i| ((i * 7919 + seed) % 10_007) as f32 / 997.0 - 5.0).collect()
        };
        let (x, w, b) = (values(1), values(2), values(3));
        for kind in NormKind::ALL {
            let bits = |normalize: Normalize| {
                let mut y = vec![0.0_f32; dim];
                let line = Line {
                    kind,
                    x: run(x.as_ptr()),
                    y: run(y.as_mut_ptr()),
                    w: Some(run(w.as_ptr())),
                    b: Some(run(b.as_ptr())),
                    dim,
                    eps: 1e-6,
                    weight_offset: 1.0,
                };
                // SAFETY: all four are vectors of `dim` elements, `y` reached from here alone.
                unsafe { normalize(&line, &mut Workspace::new()) };
                y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            assert_eq!(bits(normalizer()), bits(normalize));
        }
    }
}

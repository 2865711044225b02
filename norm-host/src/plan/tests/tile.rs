//! How rows are dealt to threads.

use super::*;

/// On both sides of every length from which on rows are laid out otherwise: vectors in a row; then the tile's blocks,
/// threads, vectors and rows.
#[rustfmt::skip]
const RMS: &[[u32; 5]] = &[
    [1, 1, 1, 2, 512], [64, 1, 32, 2, 16],
    [65, 1, 64, 2, 1], [512, 1, 256, 2, 1],
    [513, 1, 160, 4, 1], [2048, 1, 512, 4, 1],
    [2049, 2, 288, 4, 1], [4096, 2, 512, 4, 1],
    [4097, 4, 288, 4, 1], [8192, 4, 512, 4, 1],
    [8193, 8, 160, 8, 1], [32_768, 8, 512, 8, 1],
    [32_769, 16, 288, 8, 1], [65_536, 16, 512, 8, 1],
    [65_537, 16, 288, 16, 1], [300_000, 16, 992, 19, 1],
];

#[rustfmt::skip]
const LAYER: &[[u32; 5]] = &[
    [1, 1, 1, 2, 256], [8, 1, 4, 2, 64],
    [9, 1, 4, 4, 64], [128, 1, 32, 4, 8],
    [129, 1, 64, 4, 1], [2048, 1, 512, 4, 1],
    [2049, 2, 160, 8, 1], [4096, 2, 256, 8, 1],
    [4097, 4, 160, 8, 1], [8192, 4, 256, 8, 1],
    [8193, 8, 160, 8, 1], [32_768, 8, 512, 8, 1],
    [32_769, 16, 288, 8, 1], [65_536, 16, 512, 8, 1],
    [65_537, 16, 288, 16, 1], [300_000, 16, 992, 19, 1],
];

/// Without clusters.
const ONE_BLOCK: &[[u32; 5]] = &[[2049, 1, 288, 8, 1], [8193, 1, 928, 9, 1], [65_537, 1, 1024, 65, 1]];

/// Another tile is another order of additions, and so other bits of the same row.
#[test]
fn rows_are_dealt_out_as_they_were() {
    for (kind, profile, tiles) in [
        (NormKind::Rms, H200, RMS),
        (NormKind::Layer, H200, LAYER),
        (NormKind::Rms, DeviceProfile::LEAST, ONE_BLOCK),
        (NormKind::Layer, DeviceProfile::LEAST, ONE_BLOCK),
    ] {
        for (x, y) in DTYPES.into_iter().flat_map(|x| DTYPES.map(|y| (x, y))) {
            let width = 16 / u32::max(x.size() as u32, y.size() as u32);
            for &[row, blocks, threads, vectors, rows] in tiles {
                let expected = Tile { width, blocks, threads, vectors, rows };
                assert_eq!(Tile::new(kind, x, y, row * width, profile), expected, "{kind:?}, {row} vectors");
                assert_eq!(
                    Tile::new(kind, x, y, row * width - 1, profile),
                    expected,
                    "{kind:?}, {row} vectors"
                );
            }
        }
    }
}

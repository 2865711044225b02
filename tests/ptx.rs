//! What the checked-in PTX may hold, read from its text.

use std::collections::BTreeSet;

use norm_host::{
    DType, MAX_DIM, NormKind,
    plan::{DeviceProfile, LaunchShape, Tile},
    ptx::{self, InstructionKind},
};
use norm_kernels::abi::{EntryPoint, GatedVariant, Kernel, Pairing, RopeKernel, ShardKernel, Variant};

/// What a compiler made of the kernels.
pub struct Set {
    compiler: &'static str,
    texts: &'static [ptx::Ptx],
}

const STOCK: Set = Set { compiler: "stock", texts: &ptx::EMBEDDED };

/// For `tests/compilers.rs`, where it is known whether there is such a set.
pub const RUST_CUDA: Set = Set { compiler: "rust-cuda", texts: &ptx::RUST_CUDA };

impl Set {
    /// Every entry point with what is in it, and whose it is: `stock sm_90`.
    fn entry_points(&self) -> impl Iterator<Item = (EntryPoint, String, ptx::Stats)> {
        self.texts.iter().flat_map(|ptx| {
            let target = format!("{} {}", self.compiler, ptx.target);
            // Listed in that order.
            EntryPoint::all().zip(ptx.entries().unwrap()).map(move |(entry, listed)| {
                assert_eq!(listed.name(), entry.to_string(), "every kernel is there");
                (entry, target.clone(), listed.stats().unwrap())
            })
        })
    }

    /// Those of norms over whole rows.
    fn kernels(&self) -> impl Iterator<Item = (Kernel, String, ptx::Stats)> {
        self.entry_points().filter_map(|(entry, target, stats)| match entry {
            EntryPoint::Norm(kernel) => Some((kernel, target, stats)),
            EntryPoint::Quant(_)
            | EntryPoint::Shard(_)
            | EntryPoint::Gated(_)
            | EntryPoint::Rope(_)
            | EntryPoint::Group(_) => None,
        })
    }
}

#[test]
fn no_kernel_uses_local_memory_or_calls_anything() {
    uses_no_local_memory(&STOCK);
}

/// Local memory is where arrays go that did not stay in registers.
pub fn uses_no_local_memory(set: &Set) {
    for (kernel, target, stats) in set.entry_points() {
        assert_eq!(stats.foreign, 0, "{kernel} for {target}");
        assert_eq!(stats.count(InstructionKind::Local), 0, "{kernel} for {target}");
        assert_eq!(stats.count(InstructionKind::Call), 0, "{kernel} for {target}");
    }
}

/// Shuffles that a compiler copies where a sum is over as many lanes as the launch says: libNVVM knows
/// that more than 16 are more than 8, and goes on with copies of what follows. A launch says the same to
/// all lanes, so none parts there.
fn copies(target: &str) -> usize {
    if target.starts_with("rust-cuda") { 4 } else { 0 }
}

#[test]
fn barriers_and_shuffles_are_as_many_as_in_the_source() {
    barriers_and_shuffles(&STOCK);
}

/// A compiler that copies a barrier or shuffle into both branches of a condition leaves more of
/// them than the source has; inside a divergent branch they hang or give wrong sums.
pub fn barriers_and_shuffles(set: &Set) {
    for (kernel, target, stats) in set.kernels() {
        // A sum over 32 lanes takes five exchanges a word. RMSNorm sums one word (the squares);
        // LayerNorm that and a sum in two words (the mean), and perhaps the squares again. Of two RMSNorms each has its own.
        let (sums, words) = match kernel.kind {
            NormKind::Rms if kernel.variant.is_sandwich() => (2, 2),
            NormKind::Rms => (1, 1),
            NormKind::Layer => (2, 4),
        };
        // A block's warps meet at one barrier a sum.
        let barriers = match kernel.variant {
            Variant::Warp2 | Variant::Warp4 => 0,
            _ => sums,
        };
        assert_eq!(stats.count(InstructionKind::Barrier), barriers, "{kernel} for {target}");
        // Those of a cluster arrive and wait once: having started.
        let clusters = kernel.variant.takes_clusters() && target.ends_with("sm_90");
        assert_eq!(stats.count(InstructionKind::ClusterBarrier), if clusters { 2 } else { 0 }, "{kernel}");
        let narrow = !matches!(
            kernel.variant,
            Variant::Block2
                | Variant::Block4
                | Variant::Short4
                | Variant::Add2
                | Variant::Add4
                | Variant::Sandwich2
                | Variant::Sandwich4
        );
        let shuffles = 5 * words + if narrow { copies(&target) } else { 0 };
        assert_eq!(stats.count(InstructionKind::Shuffle), shuffles, "{kernel} for {target}");
    }
}

#[test]
fn steps_over_shards_have_no_more_barriers_than_the_source() {
    steps_over_shards(&STOCK);
}

/// The first step of a norm over split rows sums once, the second not at all.
pub fn steps_over_shards(set: &Set) {
    for (entry, target, stats) in set.entry_points() {
        let EntryPoint::Shard(kernel) = entry else { continue };
        let (sums, widths) = match kernel {
            ShardKernel::Partial { x, vectors } => (1, if vectors { vec![4, 16] } else { vec![x.size(), 4] }),
            ShardKernel::Apply { x, w, y, vectors: true, .. } => {
                let width = 16 / x.size().max(y.size());
                let narrow = [x, w, y].iter().any(|dtype| dtype.size() * width < 16);
                (0, if narrow { vec![4, 8, 16] } else { vec![4, 16] })
            }
            ShardKernel::Apply { x, w, y, vectors: false, .. } => {
                (0, Vec::from_iter(BTreeSet::from([x.size(), w.size(), y.size(), 4])))
            }
        };
        assert_eq!(stats.count(InstructionKind::Barrier), sums, "{kernel} for {target}");
        assert_eq!(stats.count(InstructionKind::Shuffle), 5 * sums, "{kernel} for {target}");
        assert_eq!(stats.count(InstructionKind::ClusterBarrier), 0, "{kernel} for {target}");
        let given = BTreeSet::from_iter(stats.global_access_bytes.keys().copied());
        assert_eq!(given, BTreeSet::from_iter(widths), "{kernel} for {target}");
    }
}

#[test]
fn gated_norms_have_no_more_barriers_than_the_source() {
    gated_norms(&STOCK);
}

/// A gated norm sums once.
pub fn gated_norms(set: &Set) {
    for (entry, target, stats) in set.entry_points() {
        let EntryPoint::Gated(kernel) = entry else { continue };
        let barriers = usize::from(kernel.variant != GatedVariant::Warp);
        assert_eq!(stats.count(InstructionKind::Barrier), barriers, "{kernel} for {target}");
        let narrow = matches!(kernel.variant, GatedVariant::Warp | GatedVariant::Scalar);
        let shuffles = 5 + if narrow { copies(&target) } else { 0 };
        assert_eq!(stats.count(InstructionKind::Shuffle), shuffles, "{kernel} for {target}");
        let clusters = kernel.variant.reloads() && target.ends_with("sm_90");
        assert_eq!(stats.count(InstructionKind::ClusterBarrier), if clusters { 2 } else { 0 }, "{kernel}");
    }
}

#[test]
fn heads_are_summed_by_shuffles_and_move_in_whole_vectors() {
    heads(&STOCK);
}

/// LayerNorm's mean in two parts and the squares are three sums over lanes of a warp, for each head.
pub fn heads(set: &Set) {
    for (entry, target, stats) in set.entry_points() {
        let EntryPoint::Rope(RopeKernel { x, w, table, pairing, vectors, .. }) = entry else { continue };
        assert_eq!(stats.count(InstructionKind::Barrier), 0, "{entry} for {target}");
        // Of whole vectors a thread has two heads.
        let shuffles = 3 * 5 * if vectors { 2 } else { 1 };
        assert_eq!(stats.count(InstructionKind::Shuffle), shuffles, "{entry} for {target}");
        // Positions have 4 bytes. A unit of neighbours has two pieces of a table, of half a vector's elements each.
        let of_table =
            if pairing == Pairing::Neighbours { (8 / x.size() * table.size()).min(16) } else { 16 };
        let expected = match vectors {
            true => BTreeSet::from([4, 16, of_table]),
            false => BTreeSet::from([4, x.size(), w.size(), table.size()]),
        };
        let given = BTreeSet::from_iter(stats.global_access_bytes.keys().copied());
        assert_eq!(given, expected, "{entry} for {target}");
    }
}

#[test]
fn aligned_rows_move_in_16_byte_accesses() {
    widths_of_accesses(&STOCK);
}

/// A tensor's element alone, or a whole vector.
pub fn widths_of_accesses(set: &Set) {
    for (kernel, target, stats) in set.kernels() {
        let widths: Vec<_> = stats.global_access_bytes.keys().copied().collect();
        match kernel.variant {
            Variant::Scalar => {
                let tensors = [kernel.x, kernel.w, kernel.y, kernel.normalized()];
                let sizes = BTreeSet::from(tensors.map(DType::size));
                assert_eq!(widths, Vec::from_iter(sizes), "{kernel} for {target}");
            }
            // A tensor whose elements are narrower than the widest of what is normalized and y moves in 8.
            _ => {
                let width = 16 / kernel.normalized().size().max(kernel.y.size());
                let narrow = [kernel.x, kernel.w, kernel.y].map(|dtype| dtype.size() * width < 16);
                let expected: &[usize] = if narrow.contains(&true) { &[8, 16] } else { &[16] };
                assert_eq!(widths, expected, "{kernel} for {target}");
            }
        }
        assert_ne!(stats.count(InstructionKind::GlobalStore), 0);
        let staged = stats.count(InstructionKind::AsyncCopy) > 0;
        // A sum in f32 beside 16-bit x is staged from registers.
        let stages = matches!(kernel.variant, Variant::Staged | Variant::Mixed) && !kernel.addition.wide;
        assert_eq!(staged, stages, "{kernel} for {target}");
    }
}

/// An addition of a warp in f64 takes sixteen clocks where there are two lanes of it. There no kernel has one, and at most
/// conversions of reciprocals that the launch passes, outside of loops over elements.
#[test]
fn no_kernel_for_few_doubles_calculates_in_f64() {
    for ptx in ptx::EMBEDDED.map(ptx::Ptx::for_few_doubles) {
        for entry in ptx.entries().unwrap() {
            let stats = entry.stats().unwrap();
            let doubles =
                [InstructionKind::Double, InstructionKind::DoubleConvert].map(|kind| stats.count(kind));
            assert!(doubles[0] == 0 && doubles[1] <= 3, "{} for {}: {doubles:?}", entry.name(), ptx.target);
        }
    }
}

/// Where there are many, LayerNorm adds in it. RMSNorm does so nowhere.
#[test]
fn layer_norm_alone_calculates_in_f64() {
    for (entry, target, stats) in STOCK.entry_points() {
        let is_layer = match entry {
            EntryPoint::Norm(kernel) => kernel.kind == NormKind::Layer,
            EntryPoint::Quant(kernel) => kernel.kind == NormKind::Layer,
            EntryPoint::Group(kernel) => kernel.norm == Some(NormKind::Layer),
            EntryPoint::Shard(_) | EntryPoint::Gated(_) | EntryPoint::Rope(_) => false,
        };
        assert_eq!(stats.count(InstructionKind::Double) > 0, is_layer, "{entry} for {target}");
    }
}

#[test]
fn every_kernel_states_its_largest_block() {
    largest_blocks(&STOCK);
}

/// Without it ptxas may take more registers than such a block has.
pub fn largest_blocks(set: &Set) {
    for (kernel, target, stats) in set.entry_points() {
        assert_eq!(stats.max_threads, Some(kernel.max_threads()), "{kernel} for {target}");
    }
}

#[test]
fn every_tile_fits_its_kernel() {
    let types = DType::ALL.into_iter().flat_map(|x| DType::ALL.map(|y| (x, y)));
    let norms = types.flat_map(|(x, y)| NormKind::ALL.map(|kind| (kind, x, y)));
    let mut chosen = BTreeSet::new();
    for (kind, x, y) in norms {
        for dim in (1..70_000).chain((70_000..=MAX_DIM).step_by(4093)) {
            let h200 = DeviceProfile::of_capability((9, 0));
            let h100 = DeviceProfile { memory_bytes_per_clock: 12, ..h200 };
            for profile in [DeviceProfile::LEAST, DeviceProfile::of_capability((8, 0)), h100, h200] {
                let tile = Tile::new(kind, x, y, dim, profile);
                let threads = tile.threads * tile.rows;
                assert!(threads.is_multiple_of(32), "dim {dim}: {tile:?}");
                let launches = [x, DType::F32].into_iter().flat_map(|w| {
                    let types = [x, w, y];
                    let inputs = [(false, 1), (false, u64::MAX), (true, 1), (true, u64::MAX)];
                    inputs.map(|(residual, blocks)| LaunchShape {
                        kind,
                        types,
                        tile,
                        residual,
                        wide: false,
                        extras: false,
                        blocks,
                    })
                });
                for launch in launches {
                    let variant = launch.select(profile);
                    chosen.insert((kind.name(), variant.name()));
                    assert!(variant.serves(kind), "dim {dim}: {tile:?}");
                    let threads = tile.for_variant(variant).threads * tile.for_variant(variant).rows;
                    assert!(threads <= variant.max_threads(), "{x} to {y}, dim {dim}: {tile:?}");
                    let held = variant.register_vectors();
                    assert!(held.is_none_or(|held| tile.vectors <= held), "dim {dim}: {tile:?}");
                    assert!(tile.blocks == 1 || variant.takes_clusters(), "dim {dim}: {tile:?}");
                    assert!(tile.fits(variant, x, profile), "dim {dim}: {tile:?}");
                }
                assert!(tile.threads * tile.vectors * tile.width >= tile.share(dim), "dim {dim}: {tile:?}");
                assert!(tile.share(dim) * tile.blocks >= dim, "dim {dim}: {tile:?}");
                assert!(
                    tile.share(dim) * (tile.blocks - 1) < dim,
                    "dim {dim}: {tile:?}: the last has nothing"
                );
                assert!(tile.blocks <= profile.max_cluster, "dim {dim}: {tile:?}");
                assert!(tile.rows == 1 || tile.threads <= 32, "dim {dim}: {tile:?}");
            }
        }
    }
    // Every kernel has its tiles, but the one for rows that are not made of whole vectors.
    for kind in NormKind::ALL {
        // Those for two norms are selected apart: norm-host's own tests hold theirs.
        let selected = |variant: &Variant| *variant != Variant::Scalar && !variant.is_sandwich();
        for variant in Variant::ALL.into_iter().filter(selected) {
            assert_eq!(variant.serves(kind), chosen.contains(&(kind.name(), variant.name())), "{variant:?}");
        }
    }
}

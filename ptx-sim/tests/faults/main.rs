//! Every fault that there is, planted in a small kernel and found where it is; and the same
//! kernel without it, clean.

mod barriers;
mod control;
mod launches;
mod memory;
mod non_coherent;
mod plant;
mod prefetches;
mod races;
mod streams;
mod together;
mod warps;

use std::collections::BTreeSet;

use norm_testing::kernel::{variant, variants};
use plant::Plant;

fn all() -> impl Iterator<Item = &'static Plant> {
    [
        memory::PLANTS,
        non_coherent::PLANTS,
        prefetches::PLANTS,
        races::PLANTS,
        warps::PLANTS,
        barriers::PLANTS,
        control::PLANTS,
    ]
    .into_iter()
    .flatten()
}

#[test]
fn each_is_found_where_it_is() {
    for plant in all() {
        assert_eq!(plant.run(), Err(plant.expected()), "{}", plant.name);
    }
}

#[test]
fn each_kernel_is_clean_without_it() {
    for plant in all() {
        if let Err(error) = plant.run_mended() {
            panic!("{}: {error}", plant.name);
        }
    }
}

#[test]
fn none_is_left_out() {
    let mut planted: BTreeSet<String> = all().map(|plant| variant(&format!("{:?}", plant.kind()))).collect();
    // Which takes two launches: `streams.rs`.
    planted.insert("DependentLaunch".to_owned());
    assert_eq!(planted, variants(include_str!("../../src/fault.rs"), "FaultKind"));
}

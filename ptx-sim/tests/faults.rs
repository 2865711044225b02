//! Every fault that there is, planted in a small kernel and found where it is; and the same
//! kernel without it, clean.

#[path = "faults/barriers.rs"]
mod barriers;
mod common;
#[path = "faults/control.rs"]
mod control;
#[path = "faults/launches.rs"]
mod launches;
#[path = "faults/memory.rs"]
mod memory;
#[path = "faults/non_coherent.rs"]
mod non_coherent;
#[path = "faults/plant.rs"]
mod plant;
#[path = "faults/prefetches.rs"]
mod prefetches;
#[path = "faults/races.rs"]
mod races;
#[path = "faults/streams.rs"]
mod streams;
#[path = "faults/warps.rs"]
mod warps;

use std::collections::BTreeSet;

use common::{variant, variants};
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
    assert_eq!(planted, variants(include_str!("../src/fault.rs"), "FaultKind"));
}

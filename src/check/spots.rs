//! Rows unlike their neighbours, and single elements unlike the rest of their row.
//!
//! Where all rows of a case, or many elements of a row, are hard, one hides what becomes of the other: a warp whose rows
//! all need a second pass says nothing about a vote among them, and one of many NaN may get lost. So cases here have
//! one hard row among ordinary ones, and one hard element among ordinary ones. Both go by turns, row by row, so that a
//! few dozen rows have all of them, whatever the seed.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_pcg::Pcg64;

use super::case::{CheckCase, ValuePattern};
use super::generate;

/// The tensor that `x` is, among those of a case.
const X: u64 = 0;
/// Rows after which the turns of single elements begin again: one has none, one has it in the first column, one in the last.
const TURNS: usize = 8;
/// Of so many rows one is unlike the others.
const ORDINARY: usize = 4;
/// Elements of the widest vector.
const PLACES: usize = 8;

/// Where a case's rows and elements that are unlike the others are.
pub struct Spots {
    data: ValuePattern,
    /// Whether it is about `x`, rather than what is added.
    is_x: bool,
    /// The turn of the first row.
    phase: usize,
    /// The first of the columns between the first and the last.
    base: usize,
    dim: usize,
}

impl Spots {
    /// Those of the tensor `which` of a case.
    pub fn of(case: &CheckCase, which: u64) -> Spots {
        // Of its own, so that no other value depends on how many are drawn here. All tensors are at the same turn.
        let rng = &mut generate::values(case.seed, u64::MAX);
        let phase = rng.random_range(0..TURNS * ORDINARY);
        let base = rng.random_range(0..case.dim());
        Spots { data: case.data, is_x: which == X, phase, base, dim: case.dim() }
    }

    /// The manner of a row's values.
    pub fn manner(&self, row: usize, rng: &mut Pcg64) -> ValuePattern {
        let turn = row + self.phase;
        match self.data {
            ValuePattern::Mixed => match turn % (4 * ORDINARY) {
                // Far from 0, for LayerNorm's second pass.
                0 | 8 => ValuePattern::Shifted,
                4 => *ValuePattern::OF_ROWS.choose(rng).unwrap_or(&ValuePattern::Constant),
                _ => ValuePattern::Normal,
            },
            data => data,
        }
    }

    /// The column of a row whose element is unlike the others, if it has one.
    ///
    /// Columns that are neither the first nor the last are about 0.618 of the row apart, and a place of a vector: so
    /// many rows one after the other as a vector has places have each place, in vectors all over the row.
    pub fn column(&self, row: usize) -> Option<usize> {
        let turn = row + self.phase;
        let next = match (self.data, turn % TURNS, self.is_x) {
            (ValuePattern::Mixed, ..) if turn % (4 * ORDINARY) == 12 && self.is_x => turn / (4 * ORDINARY),
            // Of a sum only one term has such an element.
            (ValuePattern::Spot | ValuePattern::Hard | ValuePattern::Lifted, 0, false) => turn / TURNS,
            (ValuePattern::Spot | ValuePattern::Hard | ValuePattern::Lifted, 1, true) => return Some(0),
            (ValuePattern::Spot | ValuePattern::Hard | ValuePattern::Lifted, 2, true) => {
                return Some(self.dim - 1);
            }
            (ValuePattern::Spot | ValuePattern::Hard | ValuePattern::Lifted, 3.., true) => {
                turn / TURNS * (TURNS - 3) + turn % TURNS - 3
            }
            _ => return None,
        };
        let step = self.dim * 309 / 500 / PLACES * PLACES + 1;
        Some((self.base + next * step) % self.dim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn spots(data: ValuePattern, dim: usize, seed: u64, which: u64) -> Spots {
        let text = format!("op=rms shape=1x{dim} x=f16 y=f16 eps=0 data={} seed={seed}", data.name());
        Spots::of(&text.parse().unwrap(), which)
    }

    #[test]
    fn sixteen_rows_have_an_element_in_each_place_of_a_vector_the_first_and_the_last() {
        for dim in [8, 56, 400, 4800, 72_040] {
            for seed in 0..50 {
                let spots = spots(ValuePattern::Spot, dim, seed, X);
                let columns: Vec<usize> = (0..16).filter_map(|row| spots.column(row)).collect();
                assert_eq!(columns.len(), 14, "two rows have none");
                assert!(columns.iter().all(|&column| column < dim));
                assert!(columns.contains(&0) && columns.contains(&(dim - 1)));
                let places: HashSet<usize> = columns.iter().map(|column| column % PLACES).collect();
                assert_eq!(places.len(), PLACES, "{dim}, seed {seed}: {columns:?}");
            }
        }
    }

    #[test]
    fn one_term_of_a_sum_has_it() {
        for dim in [1, 2, 7, 400] {
            for seed in 0..20 {
                let [x, r] = [X, 3].map(|which| spots(ValuePattern::Hard, dim, seed, which));
                assert!((0..64).all(|row| x.column(row).is_some() != r.column(row).is_some()));
            }
        }
        assert_eq!(spots(ValuePattern::Normal, 400, 1, X).column(1), None);
    }

    #[test]
    fn one_row_of_four_is_unlike_the_others_and_one_of_eight_is_shifted() {
        for seed in 0..20 {
            let (spots, rng) = (spots(ValuePattern::Mixed, 400, seed, X), &mut generate::values(seed, X));
            let manners: Vec<ValuePattern> = (0..64).map(|row| spots.manner(row, rng)).collect();
            let of = |data: ValuePattern| manners.iter().filter(|&&manner| manner == data).count();
            let with_spots: Vec<usize> = (0..64).filter(|&row| spots.column(row).is_some()).collect();
            assert_eq!((of(ValuePattern::Normal), with_spots.len()), (48 + 4, 4));
            assert!(with_spots.iter().all(|&row| manners[row] == ValuePattern::Normal));
            assert!(of(ValuePattern::Shifted) >= 8);
        }
    }
}

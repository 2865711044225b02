//! Nothing but the elements of y is written.

use libtest_mimic::Failed;
use norm_host::Device;
use rayon::prelude::*;

use norm_testing::{
    case::Case,
    cases::{dtypes_and_kinds, plain},
    device::on_device::{Shifts, judge, normalize},
};

/// Bytes in front of, between and behind the rows of y keep what they held, and so do all of x,
/// w, b and what surrounds them; at addresses that take vectors and at others.
pub fn untouched(device: Device) -> Result<(), Failed> {
    let dims = [1, 3, 8, 63, 64, 65, 127, 250, 512, 1023, 4096, 4097, 8200, 16384, 40_001];
    let cases: Vec<Case> = dims
        .into_iter()
        .flat_map(|dim| dtypes_and_kinds().step_by(5).map(move |(dtypes, kind)| (dtypes, kind, dim)))
        .map(|(dtypes, kind, dim)| {
            // In y at least 16 bytes: wide enough for a vector stored past the end of a row to show.
            let gaps = vec![(1, 40), (8, 8), (0, 8)];
            let case = Case { front: vec![3, 5], gaps, heads: dim % 2 == 0, ..plain(kind, dtypes, 1, dim) };
            Case { b: case.w, ..case }
        })
        .collect();
    cases.par_iter().try_for_each(|case| {
        for by in [Shifts::NONE, Shifts::ALL, Shifts { y: 3, ..Shifts::NONE }] {
            judge(case, &normalize(device, case, by)?)?;
        }
        Ok(())
    })
}

//! Rows that are easy, and rows that are hard.

use norm_host::{
    DType,
    accuracy::{round, ulp},
};
use proptest::{prelude::*, sample::select};

/// What a row is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Within ±4.
    Plain,
    /// One value throughout: every rounding of a plain sum goes the same way.
    Constant,
    /// Large values of both signs whose sum all but cancels, and small ones.
    Cancelling,
    /// One value a thousand times the others.
    Spike,
    /// Near 1000, apart by few ULPs.
    Offset,
    /// As far from 0 as it is beside what the elements differ by: neighbours of a large number, in some rows all
    /// but one element the same.
    Far,
    /// Within ±4 about a value: of some rows it is most of what their squares are, of some little.
    Shifted,
    /// Smallest normal and subnormal numbers of the type.
    Subnormal,
    Zero,
    /// Largest finite numbers, as far as squares allow, among plain ones.
    Extreme,
    /// Plain, with infinities.
    Infinite,
    /// Plain, with one NaN.
    Nan,
}

impl Values {
    pub const ALL: [Values; 12] = [
        Values::Plain,
        Values::Constant,
        Values::Cancelling,
        Values::Spike,
        Values::Offset,
        Values::Far,
        Values::Shifted,
        Values::Subnormal,
        Values::Zero,
        Values::Extreme,
        Values::Infinite,
        Values::Nan,
    ];

    pub fn any() -> impl Strategy<Value = Values> {
        select(&Values::ALL)
    }

    /// A row of `dim` numbers that `dtype` has.
    pub fn row(self, dtype: DType, dim: usize, random: &mut Random) -> Vec<f64> {
        let special = random.below(dim);
        let constant = random.signed(4.0);
        let shift = 2.5 * constant;
        let huge = match dtype {
            DType::F16 => 60000.0,
            DType::BF16 | DType::F32 => 1e14,
        };
        let smallest = match dtype {
            DType::F16 => 2_f64.powi(-24),
            DType::BF16 => 2_f64.powi(-133),
            DType::F32 => 2_f64.powi(-149),
        };
        let (far, neighbours) = match self {
            // Below f16's largest number, and where neighbours are far enough apart for every `eps`.
            Values::Far => {
                let far = f64::from(1 << (10 + random.below(5))) * (1.0 + random.below(1000) as f64 / 1024.0);
                (round(dtype, far.copysign(constant)), random.below(2) * random.below(9) + 1)
            }
            _ => (0.0, 0),
        };
        let mut pending = 0.0;
        (0..dim)
            .map(|i| {
                let value = match self {
                    Values::Plain => random.signed(4.0),
                    Values::Constant => constant,
                    Values::Cancelling if i % 2 == 0 => {
                        pending = random.signed(huge);
                        pending
                    }
                    Values::Cancelling if i % 7 == 1 => random.signed(1.0),
                    Values::Cancelling => -pending,
                    Values::Spike if i == special => 4000.0,
                    Values::Spike => random.signed(4.0),
                    Values::Offset => 1000.0 + random.signed(1.0),
                    Values::Far if neighbours == 1 && i != special => far,
                    Values::Far => far + ulp(dtype, far) * (1 + random.below(neighbours)) as f64,
                    Values::Shifted => shift + random.signed(4.0),
                    Values::Subnormal => smallest * random.signed(2000.0).round(),
                    Values::Zero => 0.0,
                    Values::Extreme if i % 5 == 0 => huge.copysign(random.signed(1.0)),
                    Values::Infinite if i == special => f64::INFINITY.copysign(constant),
                    Values::Nan if i == special => f64::NAN,
                    Values::Extreme | Values::Infinite | Values::Nan => random.signed(4.0),
                };
                round(dtype, value)
            })
            .collect()
    }
}

/// A small generator (SplitMix64, Steele, Lea and Flood 2014), so that a case is its seed.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// Within ±`scale`.
    pub fn signed(&mut self, scale: f64) -> f64 {
        ((self.word() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0) * scale
    }
}

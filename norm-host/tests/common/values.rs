//! Rows that are easy, and rows that are hard.

use norm_host::{DType, accuracy::round};
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
    pub const ALL: [Values; 11] = [
        Values::Plain,
        Values::Constant,
        Values::Cancelling,
        Values::Spike,
        Values::Offset,
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
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Within ±`scale`.
    pub fn signed(&mut self, scale: f64) -> f64 {
        ((self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0) * scale
    }
}

//! Tables of cosines and sines for RoPE, made on the host.

mod power;
#[cfg(test)]
mod tests;

use crate::{
    MAX_DIM,
    error::{Error, Result},
};

const _: () = assert!(MAX_DIM == 1 << 24, "what `RopeTables::check` says");

/// The frequencies by which pairs of elements are rotated, and tables of their cosines and sines at positions.
///
/// Pair `p` of `rotary / 2` turns by `theta^(-2p / rotary)` a position, unless a [scaling](RopeScaling) changes that. Frequencies are
/// computed in `f32` as transformers does on a CPU with AVX2, and have its bits. An angle is the product of frequency and
/// position, in `f32` as there; its cosine and sine are rounded correctly to `f32`, while PyTorch's are neighbours of that in
/// 5 % of cases (at most 0.61 ULP off). Both are then multiplied by the attention factor, if the scaling has one.
///
/// ```
/// use norm_host::{RopeScaling, RopeTables};
///
/// // Llama 3.1 8B.
/// let scaling = RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_length: 8192 };
/// let tables = RopeTables::new(500_000.0, 128).scaling(scaling);
/// let [cos, sin] = tables.tables(0..4096)?;
/// assert_eq!(cos.len(), 4096 * 64);
/// assert_eq!((cos[64], sin[64]), (1.0_f32.cos(), 1.0_f32.sin()));
/// # Ok::<(), norm_host::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a description makes no tables until it is asked to"]
pub struct RopeTables {
    theta: f64,
    rotary: usize,
    scaling: RopeScaling,
}

/// How a model's rotation is stretched to contexts longer than those that it was first trained on: `rope_scaling`, or
/// `rope_parameters`, of a config.json. Numbers are as they stand there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Not at all.
    #[default]
    Default,
    /// Positions divided by `factor`, at least 1 (`linear`).
    Linear {
        /// `factor`.
        factor: f64,
    },
    /// A `theta` that grows with the sequence (`dynamic`, NTK): tables for sequences of `length` tokens, of which those of at
    /// most `original_length` change nothing.
    DynamicNtk {
        /// `factor`, at least 1.
        factor: f64,
        /// `max_position_embeddings`.
        original_length: usize,
        /// Tokens of the longest sequence.
        length: usize,
    },
    /// YaRN (Peng et al. 2023, arXiv:2309.00071): high frequencies stay, low ones are divided by `factor`, with a ramp between.
    Yarn {
        /// `factor`, at least 1.
        factor: f64,
        /// `original_max_position_embeddings`.
        original_length: usize,
        /// `beta_fast`, 32 where it is absent: where the ramp begins, in turns over the original length.
        beta_fast: f64,
        /// `beta_slow`, 1 where it is absent: where it ends.
        beta_slow: f64,
        /// `truncate`, true where it is absent: whether the ramp begins and ends at whole pairs.
        truncate: bool,
        /// What cosines and sines are multiplied by: [`RopeScaling::yarn_attention`] of `factor`, `mscale` and
        /// `mscale_all_dim`, unless `attention_factor` is given.
        attention_factor: f64,
    },
    /// Llama 3.1 to 3.3: as YaRN, by the wavelength.
    Llama3 {
        /// `factor`, at least 1.
        factor: f64,
        /// `low_freq_factor`: wavelengths above `original_length / low_freq_factor` are stretched by `factor`.
        low_freq_factor: f64,
        /// `high_freq_factor`: those below `original_length / high_freq_factor` stay.
        high_freq_factor: f64,
        /// `original_max_position_embeddings`.
        original_length: usize,
    },
    /// Only the first pairs turn, by the frequencies that they have among all, and the others by 0 (`proportional`, Gemma 4).
    Proportional {
        /// `partial_rotary_factor`, 0 to 1.
        share: f64,
        /// `factor`, 1 where it is absent.
        factor: f64,
    },
}

impl RopeScaling {
    /// YaRN's factor of cosines and sines where a configuration has none: of `factor`, `mscale` and `mscale_all_dim`, each 0
    /// where it is absent.
    pub fn yarn_attention(factor: f64, mscale: f64, mscale_all_dim: f64) -> f64 {
        let of = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
        if mscale != 0.0 && mscale_all_dim != 0.0 { of(mscale) / of(mscale_all_dim) } else { of(1.0) }
    }
}

impl RopeTables {
    /// The rotation of the first `rotary` elements of a head, with a base of `theta`.
    pub const fn new(theta: f64, rotary: usize) -> RopeTables {
        RopeTables { theta, rotary, scaling: RopeScaling::Default }
    }

    /// With a scaling.
    pub const fn scaling(self, scaling: RopeScaling) -> RopeTables {
        RopeTables { scaling, ..self }
    }

    /// What cosines and sines are multiplied by: 1 in all scalings but YaRN.
    pub const fn attention_factor(&self) -> f64 {
        match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } => attention_factor,
            _ => 1.0,
        }
    }

    /// The angle of each pair at position 1, in radians.
    ///
    /// # Errors
    ///
    /// [`Error::RopeScaling`] if `theta` is not above 1 or not finite in `f32`, `rotary` not even, 0 or above
    /// [`MAX_DIM`], or a number of the scaling out of its range.
    pub fn frequencies(&self) -> Result<Vec<f32>> {
        self.check()?;
        let RopeTables { theta, rotary, scaling } = *self;
        let reciprocal = |value: f32| 1.0 / value;
        let plain = |theta: f64, pairs: usize| -> Vec<f32> {
            power::powers(theta as f32, rotary, pairs).into_iter().map(reciprocal).collect()
        };
        let pairs = rotary / 2;
        let divided = |by: f64| plain(theta, pairs).into_iter().map(|value| value / by as f32).collect();
        Ok(match scaling {
            RopeScaling::Default => plain(theta, pairs),
            RopeScaling::Linear { factor } => divided(factor),
            RopeScaling::DynamicNtk { factor, original_length, length } => {
                let ratio = factor * length.max(original_length) as f64 / original_length as f64;
                let exponent = rotary as f64 / (rotary as f64 - 2.0);
                let theta = theta * (ratio - (factor - 1.0)).powf(exponent);
                if !(theta as f32).is_finite() {
                    return Err(Error::RopeScaling {
                        expected: "a theta that stays finite in f32",
                        given: theta,
                    });
                }
                plain(theta, pairs)
            }
            RopeScaling::Yarn { factor, original_length, beta_fast, beta_slow, truncate, .. } => {
                let [low, high] =
                    yarn_range(theta, rotary, original_length, [beta_fast, beta_slow], truncate);
                let high = if low == high { high + 0.001 } else { high };
                let pair = |(p, power): (usize, f32)| {
                    let [extrapolated, interpolated] = [power, factor as f32 * power].map(reciprocal);
                    let ramp = (p as f32 - low as f32) / (high - low) as f32;
                    let kept = 1.0 - ramp.clamp(0.0, 1.0);
                    interpolated * (1.0 - kept) + extrapolated * kept
                };
                power::powers(theta as f32, rotary, pairs).into_iter().enumerate().map(pair).collect()
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_length } => {
                let length = original_length as f64;
                let [longest, shortest] = [low_freq_factor, high_freq_factor].map(|by| (length / by) as f32);
                let factor = factor as f32;
                let pair = |value: f32| {
                    // A number over a tensor is its reciprocal times the number, in PyTorch.
                    let wavelength = reciprocal(value) * std::f64::consts::TAU as f32;
                    if wavelength > longest {
                        return value / factor;
                    }
                    if wavelength < shortest {
                        return value;
                    }
                    let turns = reciprocal(wavelength) * length as f32;
                    let smooth =
                        (turns - low_freq_factor as f32) / (high_freq_factor - low_freq_factor) as f32;
                    (1.0 - smooth) * value / factor + smooth * value
                };
                plain(theta, pairs).into_iter().map(pair).collect()
            }
            RopeScaling::Proportional { share, factor } => {
                let turning = (share * rotary as f64 / 2.0).floor() as usize;
                let turn = plain(theta, turning).into_iter().map(|value| value / factor as f32);
                turn.chain(std::iter::repeat_n(0.0, pairs - turning)).collect()
            }
        })
    }

    /// The tables of cosines and of sines, `(positions, rotary / 2)`, for positions from the first on.
    ///
    /// # Errors
    ///
    /// As for [`frequencies`](Self::frequencies), and for more positions than there is memory for.
    pub fn tables(&self, positions: std::ops::Range<usize>) -> Result<[Vec<f32>; 2]> {
        let frequencies = self.frequencies()?;
        let factor = self.attention_factor() as f32;
        let too_many = || Error::RopeScaling {
            expected: "as many positions as there is memory for",
            given: positions.len() as f64,
        };
        let count = positions.len().checked_mul(frequencies.len()).ok_or_else(too_many)?;
        let [mut cos, mut sin] = [Vec::new(), Vec::new()];
        for table in [&mut cos, &mut sin] {
            table.try_reserve_exact(count).map_err(|_| too_many())?;
        }
        for position in positions {
            let angles = frequencies.iter().map(|frequency| f64::from(frequency * position as f32));
            for angle in angles {
                cos.push(angle.cos() as f32 * factor);
                sin.push(angle.sin() as f32 * factor);
            }
        }
        Ok([cos, sin])
    }

    fn check(&self) -> Result<()> {
        let RopeTables { theta, rotary, scaling } = *self;
        let fail = |expected, given| Err(Error::RopeScaling { expected, given });
        if !(theta > 1.0 && (theta as f32).is_finite()) {
            return fail("a finite theta above 1", theta);
        }
        if rotary == 0 || !rotary.is_multiple_of(2) || rotary > MAX_DIM as usize {
            return fail("an even number of rotated elements, 2 to 2^24", rotary as f64);
        }
        let factor = |factor: f64| {
            if factor >= 1.0 && factor.is_finite() {
                return Ok(());
            }
            fail("a finite factor of 1 or more", factor)
        };
        let length =
            |length: usize| if length > 0 { Ok(()) } else { fail("an original length of 1 or more", 0.0) };
        let positive = |value: f64, expected| {
            if value > 0.0 && value.is_finite() { Ok(()) } else { fail(expected, value) }
        };
        match scaling {
            RopeScaling::Default => Ok(()),
            RopeScaling::Linear { factor: by } => factor(by),
            RopeScaling::DynamicNtk { original_length, factor: by, .. } => {
                factor(by)?;
                length(original_length)?;
                if rotary > 2 { Ok(()) } else { fail("more than 2 rotated elements", rotary as f64) }
            }
            RopeScaling::Yarn {
                factor: by, original_length, beta_fast, beta_slow, attention_factor, ..
            } => {
                factor(by)?;
                length(original_length)?;
                positive(beta_fast, "a beta_fast above 0")?;
                positive(beta_slow, "a beta_slow above 0")?;
                positive(attention_factor, "an attention factor above 0")
            }
            RopeScaling::Llama3 { factor: by, low_freq_factor, high_freq_factor, original_length } => {
                factor(by)?;
                length(original_length)?;
                positive(low_freq_factor, "a low_freq_factor above 0")?;
                if high_freq_factor > low_freq_factor && high_freq_factor.is_finite() {
                    return Ok(());
                }
                fail("a high_freq_factor above low_freq_factor", high_freq_factor)
            }
            RopeScaling::Proportional { share, factor: by } => {
                if !(0.0..=1.0).contains(&share) {
                    return fail("a share from 0 to 1", share);
                }
                factor(by)
            }
        }
    }
}

/// The pairs at which YaRN's ramp begins and ends: those that make so many turns over the original length.
fn yarn_range(theta: f64, rotary: usize, length: usize, turns: [f64; 2], truncate: bool) -> [f64; 2] {
    let dim = rotary as f64;
    let [low, high] = turns
        .map(|turns| dim * (length as f64 / (turns * 2.0 * std::f64::consts::PI)).ln() / (2.0 * theta.ln()));
    let [low, high] = if truncate { [low.floor(), high.ceil()] } else { [low, high] };
    [low.max(0.0), high.min(dim - 1.0)]
}

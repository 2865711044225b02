//! Where a norm rounds to a 16-bit type between the normalized value and y.

/// The order of roundings.
///
/// T is the type of `x` (and the residual), T_w that of the weights, T_y that of `y`. `T(v)` is `v` rounded to nearest even
/// to T, and `v` itself if T is f32. Everything else is computed in f32. `n` is the normalized value, `W` the weight with
/// its offset added. In every order but [`Single`](Rounding::Single), the result of the norm is rounded to T_y before it is
/// added to a residual, as if it had been stored between two operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// `T_y(n · W + b)`: the most exact. PyTorch's `rms_norm` and `layer_norm`, models that run compiled, FlashInfer,
    /// Gemma, OLMo 2 and 3, gpt-oss.
    #[default]
    Single,
    /// `T_y(T(n) · W + b)`: RMSNorm of transformers' Llama, Mistral, Qwen 2 and 3, Phi-3, GLM-4 and DeepSeek-V3, run
    /// eagerly; vLLM.
    BeforeWeight,
    /// `T_y(T_y(n · W) + b)`: exllamav2's `layer_norm` and `head_norm`. Without biases and without a residual behind the
    /// norm it is the same as [`Single`](Rounding::Single).
    BeforeBias,
    /// `T_y(T_w(n) · W + b)`: RMSNorm of T5 and its family, run eagerly, whose result is of type T_w.
    T5,
}

impl Rounding {
    /// Every order, the default first.
    pub const ALL: [Rounding; 4] =
        [Rounding::Single, Rounding::BeforeWeight, Rounding::BeforeBias, Rounding::T5];

    /// The name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Rounding::Single => "single",
            Rounding::BeforeWeight => "before-weight",
            Rounding::BeforeBias => "before-bias",
            Rounding::T5 => "t5",
        }
    }
}

impl core::fmt::Display for Rounding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// Where a kernel's epilogue rounds, beside its last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EpilogueRounding {
    /// The order.
    pub order: Rounding,
    /// Whether a weight with its offset is rounded to the weights' type.
    pub offset: bool,
}

impl EpilogueRounding {
    /// Rounds in the last step alone.
    pub const SINGLE: EpilogueRounding = EpilogueRounding { order: Rounding::Single, offset: false };

    /// Every one, in the order of [`index`](EpilogueRounding::index).
    pub fn all() -> impl Iterator<Item = EpilogueRounding> + Clone {
        [false, true]
            .into_iter()
            .flat_map(|offset| Rounding::ALL.map(|order| EpilogueRounding { order, offset }))
    }

    /// How many there are.
    pub const COUNT: usize = 2 * Rounding::ALL.len();

    /// An index below [`COUNT`](EpilogueRounding::COUNT), 0 for [`SINGLE`](EpilogueRounding::SINGLE).
    pub const fn index(self) -> usize {
        self.offset as usize * Rounding::ALL.len() + self.order as usize
    }
}

/// Its suffix in a kernel's name: none for one rounding, else for example `_before_weight_round_offset`.
impl core::fmt::Display for EpilogueRounding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self.order {
            Rounding::Single => "",
            Rounding::BeforeWeight => "_before_weight",
            Rounding::BeforeBias => "_before_bias",
            Rounding::T5 => "_t5",
        })?;
        f.write_str(if self.offset { "_round_offset" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roundings_are_numbered_in_order() {
        for (index, epilogue) in EpilogueRounding::all().enumerate() {
            assert_eq!(epilogue.index(), index);
        }
        assert_eq!(EpilogueRounding::all().count(), EpilogueRounding::COUNT);
        assert_eq!(EpilogueRounding::SINGLE, EpilogueRounding::default());
    }
}

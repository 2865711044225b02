//! When a norm rounds to a type of 16 bits on its way from the normalized value to y.

/// The order of roundings.
///
/// T is the type of `x` (and the residual), T_w that of the weights, T_y that of `y`; `T(v)` rounds `v` to nearest even,
/// to f32 not at all. All else is computed in f32. `n` is the normalized value, `W` the weight with its offset added.
/// What is added to a residual behind the norm is, in every order but [`Single`](Rounding::Single), rounded to T_y first,
/// as it would be if it were stored between two operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// `T_y(n · W + b)`: the most exact. PyTorch's `rms_norm` and `layer_norm`, models that run compiled, FlashInfer,
    /// Gemma, OLMo 2 and 3, gpt-oss.
    #[default]
    Single,
    /// `T_y(T(n) · W + b)`: RMSNorm of transformers' Llama, Mistral, Qwen 2 and 3, Phi-3, GLM-4 and DeepSeek-V3, run
    /// eagerly; vLLM.
    BeforeWeight,
    /// `T_y(T_y(n · W) + b)`: exllamav2's `layer_norm` and `head_norm`. Without biases as [`Single`](Rounding::Single), but for
    /// what is added to a residual behind the norm.
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

/// Where a kernel rounds beside its last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EpilogueRounding {
    /// The order.
    pub order: Rounding,
    /// Whether a weight with its offset is rounded to the weights' type.
    pub offset: bool,
}

impl EpilogueRounding {
    /// Nowhere else.
    pub const SINGLE: EpilogueRounding = EpilogueRounding { order: Rounding::Single, offset: false };

    /// All of them, in the order of [`index`](EpilogueRounding::index).
    pub fn all() -> impl Iterator<Item = EpilogueRounding> + Clone {
        [false, true]
            .into_iter()
            .flat_map(|offset| Rounding::ALL.map(|order| EpilogueRounding { order, offset }))
    }

    /// How many there are.
    pub const COUNT: usize = 2 * Rounding::ALL.len();

    /// A number below [`COUNT`](EpilogueRounding::COUNT), 0 for [`SINGLE`](EpilogueRounding::SINGLE).
    pub const fn index(self) -> usize {
        self.offset as usize * Rounding::ALL.len() + self.order as usize
    }
}

/// What they add to a kernel's name: nothing, or for example `_before_weight_round_offset`.
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

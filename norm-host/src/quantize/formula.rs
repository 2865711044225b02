//! From the values of a row to scales and codes.

use norm_kernels::abi::{QuantFormat, QuantRecipe};

use super::{
    e4m3::{LARGEST, NAN, encode_e4m3},
    int8::encode_int8,
};
use crate::problem::QuantLimits;

/// The formula of a quantization, from the norm's values on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Formula {
    /// What a code is.
    pub format: QuantFormat,
    /// Whose formula it is.
    pub recipe: QuantRecipe,
    /// The numbers of a scale that is computed. A bound in memory is not looked at: [`Formula::bounded`] sets it.
    pub limits: QuantLimits,
}

/// What values become quotients by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Factor {
    /// They are multiplied by this.
    Multiply(f32),
    /// They are divided by this.
    Divide(f32),
}

impl Formula {
    /// That of a format and a recipe, without a bound.
    pub fn new(format: QuantFormat, recipe: QuantRecipe) -> Formula {
        Formula { format, recipe, limits: QuantLimits::of(recipe, format) }
    }

    /// The same with a largest magnitude that counts for a scale.
    pub fn bounded(self, bound: f32) -> Formula {
        Formula { limits: QuantLimits { bound, bound_at: None, ..self.limits }, ..self }
    }

    /// The largest magnitude among the values, 0 if there are none. NaN counts only where the recipe
    /// [keeps](QuantRecipe::keeps_nan) it; there it is the largest.
    #[inline(always)]
    pub fn absmax(&self, values: &[f32]) -> f32 {
        // Magnitudes are ordered as their bits are, NaN above infinity: a maximum of integers, of which the compiler makes
        // vectors, and which is the same in any order.
        let largest = |limit: u32| {
            let magnitudes = values.iter().map(|value| value.to_bits() & 0x7fff_ffff);
            magnitudes.fold(0, |a: u32, b| a.max(if b > limit { 0 } else { b }))
        };
        let infinity = f32::INFINITY.to_bits();
        let bits = if self.recipe.keeps_nan() { largest(u32::MAX) } else { largest(infinity) };
        if bits > infinity { f32::NAN } else { f32::from_bits(bits) }
    }

    /// The scale of a row or block with that largest magnitude.
    #[inline(always)]
    pub fn scale(&self, absmax: f32) -> f32 {
        let scale = self.limited(absmax) / self.limits.max;
        if scale.is_nan() { scale } else { scale.max(self.limits.least) }
    }

    /// The largest magnitude, limited to the floor and the bound. NaN stays NaN.
    #[inline(always)]
    fn limited(&self, absmax: f32) -> f32 {
        if absmax.is_nan() { absmax } else { absmax.min(self.limits.bound).max(self.limits.floor) }
    }

    /// What values with a given scale become quotients by.
    #[inline(always)]
    pub fn factor(&self, scale: f32) -> Factor {
        match self.recipe.divides(self.format) {
            true => Factor::Divide(scale),
            false => Factor::Multiply(1.0 / scale),
        }
    }

    /// What the values of a row or block with that largest magnitude become quotients by.
    #[inline(always)]
    pub fn factor_of(&self, absmax: f32) -> Factor {
        match self.is_of_absmax() {
            true => Factor::Multiply(self.limits.max / self.limited(absmax)),
            false => self.factor(self.scale(absmax)),
        }
    }

    /// Whether a factor follows from the largest magnitude itself, rather than from the scale.
    pub(crate) fn is_of_absmax(&self) -> bool {
        self.recipe == QuantRecipe::FlashInferBlock
    }

    /// The code of a value.
    pub fn code(&self, value: f32, factor: Factor) -> u8 {
        let mut code = [0];
        self.quantize(&[value], factor, &mut code);
        code[0]
    }

    /// Writes the codes of values to `codes`, which has as many elements: of Int8 the bytes.
    #[inline(always)]
    pub fn quantize(&self, values: &[f32], factor: Factor, codes: &mut [u8]) {
        // The choices outside of the loops, so that each of them is simple enough to become vector code.
        match (self.format, self.recipe.keeps_nan(), factor) {
            (QuantFormat::E4m3, true, Factor::Multiply(by)) => each(values, codes, |n| encode_e4m3(n * by)),
            (QuantFormat::E4m3, true, Factor::Divide(by)) => each(values, codes, |n| encode_e4m3(n / by)),
            (QuantFormat::E4m3, false, Factor::Multiply(by)) => each(values, codes, |n| clamped(n * by)),
            (QuantFormat::E4m3, false, Factor::Divide(by)) => each(values, codes, |n| clamped(n / by)),
            (QuantFormat::Int8, _, Factor::Multiply(by)) => {
                each(values, codes, |n| encode_int8(n * by) as u8)
            }
            (QuantFormat::Int8, _, Factor::Divide(by)) => each(values, codes, |n| encode_int8(n / by) as u8),
        }
    }
}

/// The code of a quotient that was limited to ±448 first, by which NaN becomes 448.
#[inline(always)]
fn clamped(quotient: f32) -> u8 {
    let code = encode_e4m3(quotient);
    if code == NAN { LARGEST } else { code }
}

#[inline(always)]
fn each(values: &[f32], codes: &mut [u8], code: impl Fn(f32) -> u8) {
    for (code_at, value) in codes.iter_mut().zip(values) {
        *code_at = code(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: [(QuantFormat, QuantRecipe); 7] = [
        (QuantFormat::E4m3, QuantRecipe::Exact),
        (QuantFormat::E4m3, QuantRecipe::VllmStatic),
        (QuantFormat::E4m3, QuantRecipe::VllmDynamic),
        (QuantFormat::E4m3, QuantRecipe::FlashInferStatic),
        (QuantFormat::E4m3, QuantRecipe::FlashInferBlock),
        (QuantFormat::Int8, QuantRecipe::Exact),
        (QuantFormat::Int8, QuantRecipe::VllmDynamic),
    ];

    fn codes(formula: Formula, values: &[f32]) -> (f32, Vec<u8>) {
        let absmax = formula.absmax(values);
        let factor = formula.factor_of(absmax);
        (formula.scale(absmax), values.iter().map(|&value| formula.code(value, factor)).collect())
    }

    #[test]
    fn the_largest_magnitude_has_the_largest_code() {
        for (format, recipe) in EVERY {
            let (scale, codes) = codes(Formula::new(format, recipe), &[-7.0, 3.5, 0.0]);
            assert_eq!(scale, 7.0 / format.max());
            let expected = match format {
                // -448, 224 and 0.
                QuantFormat::E4m3 => [0xfe, 0x76, 0],
                // 63.5 is a tie or, by the roundings of a reciprocal, not quite.
                QuantFormat::Int8 => [-127_i8 as u8, 64, 0],
            };
            assert_eq!(codes, expected, "{format} {recipe:?}");
        }
    }

    /// Rows of zeros have the least scale, and codes of zeros.
    #[test]
    fn zeros_stay_zeros() {
        for (format, recipe) in EVERY {
            let (scale, codes) = codes(Formula::new(format, recipe), &[0.0; 3]);
            let least = match (recipe, format) {
                (QuantRecipe::VllmStatic | QuantRecipe::VllmDynamic, QuantFormat::E4m3) => 1.0 / 229_376.0,
                (QuantRecipe::VllmDynamic, _) => f32::EPSILON,
                (QuantRecipe::FlashInferStatic | QuantRecipe::FlashInferBlock, _) => 1e-4 / 448.0,
                (QuantRecipe::Exact, _) => f32::MIN_POSITIVE,
                other => panic!("{other:?}"),
            };
            assert_eq!((scale, codes), (least, vec![0; 3]), "{format} {recipe:?}");
        }
    }

    #[test]
    fn nan_counts_where_the_recipe_keeps_it() {
        for (format, recipe) in EVERY {
            let (scale, codes) = codes(Formula::new(format, recipe), &[1.0, f32::NAN, -2.0]);
            let nan = match (format, recipe) {
                (QuantFormat::Int8, _) => 0,
                (_, QuantRecipe::Exact) => 0x7f,
                _ => 0x7e,
            };
            assert_eq!(codes[1], nan, "{format} {recipe:?}");
            match recipe {
                QuantRecipe::Exact => assert!(scale.is_nan() && codes == [nan; 3]),
                _ => assert!(scale == 2.0 / format.max() && codes[0] != nan, "{format} {recipe:?}"),
            }
        }
    }

    /// An infinite scale leaves nothing of finite values, and nothing but NaN of infinite ones; by FlashInfer's reciprocal
    /// too.
    #[test]
    fn an_infinity_leaves_nothing_else() {
        for (format, recipe) in EVERY {
            let (scale, codes) = codes(Formula::new(format, recipe), &[1.0, f32::NEG_INFINITY]);
            assert_eq!(scale, f32::INFINITY);
            let nan = match (format, recipe) {
                (QuantFormat::Int8, _) => 0,
                (_, QuantRecipe::Exact) => 0x7f,
                _ => 0x7e,
            };
            assert_eq!(codes, [0, nan], "{format} {recipe:?}");
            let given = Formula::new(format, recipe).factor(0.5);
            let saturated = if format == QuantFormat::E4m3 { 0xfe } else { 0x80 };
            assert_eq!(Formula::new(format, recipe).code(f32::NEG_INFINITY, given), saturated);
        }
    }

    #[test]
    fn a_bound_saturates_what_is_larger() {
        let formula = Formula::new(QuantFormat::E4m3, QuantRecipe::VllmDynamic).bounded(3.5);
        assert_eq!(codes(formula, &[7.0, 3.5, 1.75]), (3.5 / 448.0, vec![0x7e, 0x7e, 0x76]));
        assert_eq!(codes(formula, &[1.0]), (1.0 / 448.0, vec![0x7e]));
    }

    /// 17/16 is a tie between 1 and 1.125. `17/16 · s` divided by `s` is that tie, and goes to 1; times the rounded `1 / s` it
    /// is, for some `s`, a little more.
    #[test]
    fn a_division_and_a_product_with_the_reciprocal_have_two_codes_next_to_a_tie() {
        let recipes = [QuantRecipe::VllmDynamic, QuantRecipe::VllmStatic];
        let [divides, multiplies] = recipes.map(|recipe| Formula::new(QuantFormat::E4m3, recipe));
        let scales = (1..200_u8).map(f32::from);
        let differing: Vec<f32> = scales
            .filter(|scale| {
                let value = scale * 17.0 / 16.0;
                assert_eq!(divides.code(value, divides.factor(*scale)), 0x38);
                multiplies.code(value, multiplies.factor(*scale)) == 0x39
            })
            .collect();
        assert!(!differing.is_empty());
        assert_eq!(divides.factor(5.0), Factor::Divide(5.0));
        assert_eq!(multiplies.factor(5.0), Factor::Multiply(0.2));
    }
}

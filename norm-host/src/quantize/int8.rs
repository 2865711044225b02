//! Signed bytes.

/// `value` rounded to nearest even and limited to -128 … 127, as `cvt.rni.sat.s8.f32` gives it on a GPU; NaN gives 0.
///
/// ```
/// use norm_host::quantize::encode_int8;
///
/// assert_eq!([2.5, -200.0, f32::NAN].map(encode_int8), [2, -128, 0]);
/// ```
#[inline(always)]
pub fn encode_int8(value: f32) -> i8 {
    // 1.5 · 2²³, whose last place is 1, so that the addition rounds; below, the number stands in the lowest bits.
    const WHOLE: f32 = 12_582_912.0;
    let value = if value.is_nan() { 0.0 } else { value };
    (value.clamp(-128.0, 127.0) + WHOLE).to_bits() as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_that_of_its_number_and_of_what_is_near() {
        for byte in i8::MIN..=i8::MAX {
            let number = f32::from(byte);
            let even = i8::try_from((i32::from(byte) + i32::from(byte & 1)).min(127)).unwrap();
            assert_eq!(encode_int8(number), byte);
            assert_eq!(encode_int8(number + 0.5), even);
            assert_eq!(encode_int8((number + 0.5).next_down()), byte);
        }
        let ends = [f32::INFINITY, 127.5, -128.5, f32::NEG_INFINITY, -0.0, f32::NAN];
        assert_eq!(ends.map(encode_int8), [127, 127, -128, -128, 0, 0]);
    }

    /// Of every f32 whose lower half is 0, and its neighbours.
    #[test]
    fn every_number_rounds_as_f32_does() {
        for bits in (0..=u16::MAX).map(|high| u32::from(high) << 16) {
            for value in [bits.wrapping_sub(1), bits, bits + 1].map(f32::from_bits) {
                assert_eq!(encode_int8(value), value.round_ties_even() as i8, "{value:e}");
            }
        }
    }
}

//! The accuracy promise, loosened.

use super::faults;
use super::programs::PROMISE;

faults! {
    in "norm-host/src/accuracy/promise.rs" by PROMISE {
        "a mean a thousand times as far off": value "MEAN * mean_magnitude * rstd" => "1000.0 * MEAN * mean_magnitude * rstd";
        "a mean twice as far off": value "MEAN * mean_magnitude * rstd" => "2.0 * MEAN * mean_magnitude * rstd";
        "LayerNorm four times as far off": value "MEAN * mean_magnitude * rstd" => "3e-6 * ((x - mean) * rstd).abs() + MEAN * mean_magnitude * rstd";
        "LayerNorm of f32 without its half ULP": value "self.may_cancel || self.y != DType::F32" => "self.y != DType::F32";
        "half an ULP more of f32": value "self.may_cancel || self.y != DType::F32" => "true";
        "a whole ULP": value "if last { «ulp / 2.0» } else { 0.0 }" => "ulp";
        "promised of smaller squares": value "«MIN_MEAN_SQUARE»;\n        // Squares" => "0.5 * MIN_MEAN_SQUARE";
        "promised of fewer rows": value "«MIN_MEAN_SQUARE»;\n        // Squares" => "2.0 * MIN_MEAN_SQUARE";
        "promised of larger sums": value "statistics.sum_of_squares <= «f64::from(f32::MAX)»" => "2.0 * f64::from(f32::MAX)";
        "promised of no row with a NaN": value "in_range || !statistics.sum_of_squares.is_finite()" => "in_range";
        "the smallest f32 twice": value "(last + error + «SMALLEST_F32») / ulp" => "2.0 * SMALLEST_F32";
        "values that are quantized an ULP off": value "error + ulp(DType::F32, exact) / 2.0 + SMALLEST_F32" => "error + ulp(DType::F32, exact) + SMALLEST_F32";
        "values that are rounded and quantized may be neighbours": value "n.error + SMALLEST_F32" => "4.0 * n.error";
    }
    in "norm-host/src/accuracy/value.rs" by PROMISE {
        "everything four times as far off": value "error: «RELATIVE * exact.abs()» + error" => "4.0 * RELATIVE * exact.abs()";
        "behind a rounding four times as far off": value "if exact.is_finite() { «RELATIVE_BETWEEN * exact.abs()» } else { 0.0 }" => "4.0 * RELATIVE_BETWEEN * exact.abs()";
        "a range where neighbours can be told apart": value "steps < «RANGE»" => "RANGE / 2.0";
        "a term that is added costs twice as much": value "self.error + «self.relative * term.abs()»" => "2.0 * self.relative * term.abs()";
        "small factors of an addition multiply no error": value "(self.error * «branch.abs()» + lost) * sum.abs()" => "branch.abs().max(1.0)";
        "an addition with factors loses four times as much": value "«RELATIVE_BETWEEN * (product.abs() + term.abs())» + SMALLEST_F32" => "4.0 * RELATIVE_BETWEEN * (product.abs() + term.abs())";
    }
    in "norm-host/src/accuracy/gated.rs" by PROMISE {
        "an activation ten times as far off": value "«ACTIVATION» + BELOW_ZERO" => "10.0 * ACTIVATION";
        "an activation twice as far off": value "«ACTIVATION» + BELOW_ZERO" => "2.0 * ACTIVATION";
        "a gate below 0 ten times as far off": value "«BELOW_ZERO * f64::max(-g, 0.0)»" => "10.0 * BELOW_ZERO * f64::max(-g, 0.0)";
        "rows that are gated first have a gate's error twice": value "* statistics.rstd + «n.abs() * of_rstd»" => "2.0 * n.abs() * of_rstd";
    }
    in "norm-host/src/accuracy/heads.rs" by PROMISE {
        "a head's mean a thousand times as far off": value "(«MEAN * mean_magnitude» + DISTANCE * distance)" => "1000.0 * MEAN * mean_magnitude";
        "a head's distances four times as far off": value "(MEAN * mean_magnitude + «DISTANCE * distance»)" => "4.0 * DISTANCE * distance";
        "heads as they were may be half an ULP off": value "measure(dtype, «false», value, given)" => "true";
        "a rotated pair has the error of one twice": value "let sum = «first.plus_value(second.times(sign))»;" => "{\n            let mut sum = first.plus_value(second.times(sign));\n            sum.error += first.error;\n            sum\n        }";
        "heads of larger sums": value "sum_of_squares <= «f64::from(f32::MAX)»" => "2.0 * f64::from(f32::MAX)";
    }
}

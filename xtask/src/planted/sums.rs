//! Another order of sums in f64, of which rounded to f32 nothing is left.

use super::faults;
use super::programs::SUMS;

faults! {
    in "norm-host/src/cpu/passes.rs" by SUMS {
        "chunks are added from the last to the first": value "(0..chunks).map(over).fold([0.0; 2], add)" => "(0..chunks).rev().map(over).fold([0.0; 2], add)";
        "threads' chunks are added from the last to the first": value "sums.iter().copied().fold([0.0; 2], add)" => "sums.iter().rev().copied().fold([0.0; 2], add)";
    }
    in "norm-host/src/cpu/loops.rs" by SUMS {
        "sums come together after their lanes": value "even[n].add(odd[n]).total()" => "even[n].total() + odd[n].total()";
        "the last whole vector goes to the other sums": statement "        even = terms.add::<_, E>(even, center.center(simd, x).widen());" => "odd = terms.add::<_, E>(odd, center.center(simd, x).widen());";
        "what is left is added up by itself": statement "for term in &rest.to_array()[..len - at] {\n                *total += term;\n            }" => "*total += rest.to_array()[..len - at].iter().sum::<f64>();";
    }
    in "norm-host/src/cpu/simd/portable.rs" by SUMS {
        "lanes come together as neighbours": value "((a + e) + (c + g)) + ((b + f) + (d + h))" => "((a + b) + (c + d)) + ((e + f) + (g + h))";
    }
}

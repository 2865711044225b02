//! Suggestions for a misspelled name.

use strsim::normalized_damerau_levenshtein;

/// The similarity from which on a name is near: 0 if no letter matches, 1 if all do. That of `rsm` and `rms` is 0.67, that
/// of `nosuch` and `bench` 0.33.
const NEAR: f64 = 0.6;

/// The fewest letters of a part that identifies a name.
const PART: usize = 3;

/// At most `most` of `names` that are near to `wanted`, the nearest first; equally near ones stay in the order of `names`.
/// A name is near if few letters have to be inserted, deleted, replaced or swapped with their neighbours, or if one of the
/// two is part of the other. Upper and lower case are equal.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let likeness = |name: &'a str| (likeness(&wanted, &name.to_lowercase()), name);
    let mut near: Vec<_> =
        names.into_iter().map(likeness).filter(|(likeness, _)| *likeness >= NEAR).collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.into_iter().take(most).map(|(_, name)| name).collect()
}

fn likeness(wanted: &str, name: &str) -> f64 {
    let likeness = normalized_damerau_levenshtein(wanted, name);
    let shorter = wanted.chars().count().min(name.chars().count());
    let is_part = shorter >= PART && (name.contains(wanted) || wanted.contains(name));
    // If one is part of the other, it is the nearer the less the other is longer.
    if is_part { NEAR + (1.0 - NEAR) * likeness } else { likeness }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMANDS: [&str; 8] = ["rms", "layer", "head", "check", "bench", "ptx", "doctor", "help"];
    const KERNELS: [&str; 5] = [
        "layer_f16_f16_f16_block2",
        "rms_bf16_f16_f16_block2",
        "rms_f16_f16_f16_block2",
        "rms_f16_f16_f16_block4",
        "rms_f16_f16_f16_scalar",
    ];
    const TENSORS: [&str; 5] = [
        "lm_head.weight",
        "model.embed_tokens.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.1.input_layernorm.weight",
        "model.norm.weight",
    ];

    #[test]
    fn the_nearest_name_comes_first() {
        let cases: [(&str, &[&str], &str); 11] = [
            ("rsm", &COMMANDS, "rms"),
            ("doctr", &COMMANDS, "doctor"),
            ("chek", &COMMANDS, "check"),
            ("layernorm", &COMMANDS, "layer"),
            ("PTX", &COMMANDS, "ptx"),
            ("rms_f16_f16_f16_blok2", &KERNELS, "rms_f16_f16_f16_block2"),
            ("rms_f16_f16_f16_blok4", &KERNELS, "rms_f16_f16_f16_block4"),
            ("layer_f16_f16_f16", &KERNELS, "layer_f16_f16_f16_block2"),
            ("norm.weight", &TENSORS, "model.norm.weight"),
            ("model.layer.1.input_layernorm.weight", &TENSORS, "model.layers.1.input_layernorm.weight"),
            ("embed_tokens", &TENSORS, "model.embed_tokens.weight"),
        ];
        for (wanted, names, expected) in cases {
            assert_eq!(nearest(wanted, names.iter().copied(), 3).first(), Some(&expected), "{wanted}");
        }
    }

    #[test]
    fn where_nothing_is_near_nothing_is_offered() {
        for wanted in ["nosuch", "", "x", "42", "é", "foo", "r"] {
            for names in [&COMMANDS[..], &KERNELS, &TENSORS] {
                assert_eq!(nearest(wanted, names.iter().copied(), 3), [""; 0], "{wanted}");
            }
        }
        assert_eq!(nearest("rms", [], 3), [""; 0]);
    }

    #[test]
    fn no_more_are_offered_than_wanted() {
        let layers = "model.layers.2.input_layernorm.weight";
        assert_eq!(nearest(layers, TENSORS, 2), TENSORS[2..4]);
        assert_eq!(nearest(layers, TENSORS, 1), TENSORS[2..3]);
        assert_eq!(nearest(layers, TENSORS, 0), [""; 0]);
    }
}

//! Parsing of an order of roundings.

use norm_host::Rounding;

/// The order with that name.
pub fn order(text: &str) -> Result<Rounding, String> {
    let found = Rounding::ALL.into_iter().find(|rounding| rounding.name() == text);
    found.ok_or_else(|| format!("expected one of {}", Rounding::ALL.map(Rounding::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_has_a_name_and_no_other() {
        assert_eq!(Rounding::ALL.map(|rounding| order(rounding.name())), Rounding::ALL.map(Ok));
        for text in ["", "twice", "Single", "before_weight"] {
            assert_eq!(order(text), Err("expected one of single, before-weight, before-bias, t5".to_owned()));
        }
    }
}

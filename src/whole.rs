//! Options that take a whole number.

use std::fmt::Display;
use std::str::FromStr;

/// A clap parser of whole numbers in `from..=to`. The error for anything else, such as a number with a sign, names both
/// ends.
pub fn whole<T>(from: T, to: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| (from..=to).contains(number));
        number.ok_or_else(|| format!("expected a whole number from {from} to {to}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_belong_to_it_and_nothing_else_is_a_number() {
        let parse = whole(1_u32, 65_536);
        assert_eq!((parse("1"), parse("65536")), (Ok(1), Ok(65_536)));
        for text in ["0", "65537", "-1", "4294967297", "1.5", "1e3", "", " 1", "one"] {
            assert_eq!(parse(text), Err("expected a whole number from 1 to 65536".to_owned()), "{text:?}");
        }
    }
}

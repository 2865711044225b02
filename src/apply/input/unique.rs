//! JSON objects with duplicate keys detected.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// The members of a JSON object in order, duplicates included: serde's maps would silently keep only the last of
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members<T>(pub Vec<(String, T)>);

impl<T> Members<T> {
    /// A key that occurs more than once, if there is one.
    pub fn repeated(&self) -> Option<&str> {
        let mut keys: Vec<&str> = self.0.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<T>, D::Error> {
        struct Object<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members<T>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_found() {
        let members = |text| serde_json::from_str::<Members<u8>>(text).unwrap();
        let twice = members(r#"{"b": 1, "a": 2, "b": 1}"#);
        assert_eq!(twice.0.len(), 3);
        assert_eq!(twice.repeated(), Some("b"));
        assert_eq!(members(r#"{"b": 1, "a": 2}"#).repeated(), None);
    }
}

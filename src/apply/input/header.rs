//! The header of a safetensors file: its tensors and their positions.
//!
//! The `safetensors` crate parses headers, too, and is stricter and laxer than what is needed here: a dtype that it
//! does not know, in any tensor, refuses the whole file, and of a name that stands twice it takes the last. So the
//! JSON is read here, and what the crate holds a file to
//! ([the format](https://github.com/huggingface/safetensors#format)) is checked here: every tensor's bytes follow
//! on the last one's, are as many as its shape and dtype say, and end where the file does.

use safetensors::Dtype;
use serde::de::IntoDeserializer;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::unique::Members;
use super::{HeaderError, InputError, SourceFile};

/// The key of a header's metadata, which is not a tensor.
pub const METADATA: &str = "__metadata__";
/// The size of the header's length, which precedes the header.
const LENGTH: u64 = 8;
/// The longest header, as the `safetensors` crate has it.
const MAX_HEADER: u64 = 100_000_000;
/// A header's length is a multiple of this, so that the elements behind it are aligned.
const ALIGN: usize = 8;

/// A tensor in a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Entry {
    /// The type as the file spells it; it may be unknown to this program.
    pub dtype: String,
    pub shape: Vec<usize>,
    /// The byte range, first to last exclusive, counted from the end of the header.
    pub data_offsets: (u64, u64),
}

impl Entry {
    /// Bits of an element, if the dtype is known.
    pub fn bits(&self) -> Option<usize> {
        let dtype = self.dtype.as_str().into_deserializer();
        Dtype::deserialize::<serde::de::value::StrDeserializer<'_, serde::de::value::Error>>(dtype)
            .map(|dtype| dtype.bitsize())
            .ok()
    }

    /// The number of elements. `None` where the extents other than 0 multiply to more than can be counted, even if
    /// another is 0: then the product of any of the extents, in any order, can be.
    pub fn elements(&self) -> Option<usize> {
        let mut others = self.shape.iter().filter(|&&extent| extent != 0);
        let most = others.try_fold(1_usize, |product, &extent| product.checked_mul(extent))?;
        Some(if self.shape.contains(&0) { 0 } else { most })
    }

    pub fn bytes(&self) -> u64 {
        self.data_offsets.1 - self.data_offsets.0
    }
}

/// The contents of a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub metadata: Option<Vec<(String, String)>>,
    /// In the order of their bytes.
    pub tensors: Vec<(String, Entry)>,
    /// Where the file's first tensor starts.
    pub start: u64,
}

impl Header {
    /// Reads only the header of `file`.
    pub fn read(file: &SourceFile) -> Result<Header, InputError> {
        let not = |source| InputError::NotSafetensors { file: file.path.clone(), source };
        if file.len < LENGTH {
            return Err(not(HeaderError::TooShort));
        }
        let mut length = [0; LENGTH as usize];
        file.read_exact_at(&mut length, 0)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER {
            return Err(not(HeaderError::TooLong { length }));
        }
        if length > file.len - LENGTH {
            return Err(not(HeaderError::PastTheEnd { length, file: file.len }));
        }
        let text = file.read_some_at(length, LENGTH)?;
        let start = LENGTH + length;
        Header::parse(&text, start, file.len - start).map_err(not)
    }

    /// Parses the JSON of a header, which precedes `bytes` bytes of tensors at `start`.
    fn parse(text: &[u8], start: u64, bytes: u64) -> Result<Header, HeaderError> {
        let text = std::str::from_utf8(text)?;
        let members: Members<&RawValue> = serde_json::from_str(text)?;
        if let Some(name) = members.repeated() {
            return Err(HeaderError::Repeated { name: name.to_owned() });
        }
        let mut header = Header { start, ..Header::default() };
        for (name, value) in members.0 {
            if name == METADATA {
                let metadata: Option<Members<String>> = serde_json::from_str(value.get())?;
                if let Some(name) = metadata.as_ref().and_then(Members::repeated) {
                    return Err(HeaderError::Repeated { name: name.to_owned() });
                }
                header.metadata = metadata.map(|metadata| metadata.0);
            } else {
                let entry = serde_json::from_str(value.get())
                    .map_err(|source| HeaderError::Entry { name: name.clone(), source })?;
                header.tensors.push((name, entry));
            }
        }
        header.tensors.sort_by_key(|(_, entry)| entry.data_offsets);
        header.check(bytes)?;
        Ok(header)
    }

    fn check(&self, bytes: u64) -> Result<(), HeaderError> {
        let mut end = 0;
        for (name, entry) in &self.tensors {
            let (first, last) = entry.data_offsets;
            if first != end || last < first {
                return Err(HeaderError::Offsets { name: name.clone(), expected: end, first, last });
            }
            end = last;
            let overflow = || HeaderError::Overflow { name: name.clone() };
            let elements = entry.elements().ok_or_else(overflow)?;
            let Some(bits) = entry.bits() else { continue };
            let bits = elements.checked_mul(bits).ok_or_else(overflow)?;
            if !bits.is_multiple_of(8) || bits as u64 / 8 != last - first {
                return Err(HeaderError::Size { name: name.clone(), bits, given: last - first });
            }
        }
        if end == bytes { Ok(()) } else { Err(HeaderError::End { expected: end, given: bytes }) }
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.tensors.iter().find(|(other, _)| other == name).map(|(_, entry)| entry)
    }

    /// The bytes that a file with these tensors starts with, its header's length included.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = vec![0; LENGTH as usize];
        serde_json::to_writer(&mut bytes, self)?;
        bytes.resize(bytes.len().next_multiple_of(ALIGN), b' ');
        let length = bytes.len() as u64 - LENGTH;
        bytes[..LENGTH as usize].copy_from_slice(&length.to_le_bytes());
        Ok(bytes)
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Pairs as an object, in their order.
        struct Object<'a>(&'a [(String, String)]);

        impl Serialize for Object<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
            }
        }

        let mut object = serializer.serialize_map(None)?;
        if let Some(metadata) = &self.metadata {
            object.serialize_entry(METADATA, &Object(metadata))?;
        }
        for (name, entry) in &self.tensors {
            object.serialize_entry(name, entry)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, bytes: u64) -> Result<Header, HeaderError> {
        Header::parse(text.as_bytes(), 8 + text.len() as u64, bytes)
    }

    #[test]
    fn what_is_written_is_read_and_keeps_its_order() {
        let text = r#"{"__metadata__":{"z":"1","a":"2"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"I8","shape":[1,3],"data_offsets":[8,11]}}"#;
        let header = parse(text, 11).unwrap();
        let bytes = header.to_bytes().unwrap();
        assert_eq!(std::str::from_utf8(&bytes[8..]).unwrap().trim_end(), text);
        assert_eq!(u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize, bytes.len() - 8);
        assert!(bytes.len().is_multiple_of(8));
    }

    #[test]
    fn headers_that_contradict_themselves_or_the_file_are_refused() {
        let entry = |name: &str, dtype: &str, shape: &str, offsets: &str| {
            format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
        };
        let x = entry("x", "F32", "[2]", "[0,8]");
        let of = |entries: &[&str]| format!("{{{}}}", entries.join(","));
        assert!(
            parse(&of(&[&x, &entry("y", "F99", "[3]", "[8,9]")]), 9).is_ok(),
            "an unknown dtype has any size"
        );
        for (case, text, bytes) in [
            ("a name twice", of(&[&x, &entry("x", "F32", "[2]", "[8,16]")]), 16),
            ("metadata twice", of(&[r#""__metadata__":{}"#, &x, r#""__metadata__":{}"#]), 8),
            ("a key of the metadata twice", of(&[r#""__metadata__":{"a":"1","a":"2"}"#, &x]), 8),
            ("metadata that is no text", of(&[r#""__metadata__":{"a":1}"#, &x]), 8),
            ("a gap", of(&[&x, &entry("y", "F32", "[1]", "[12,16]")]), 16),
            ("an overlap", of(&[&x, &entry("y", "F32", "[1]", "[4,8]")]), 8),
            ("offsets back to front", of(&[&entry("y", "F32", "[1]", "[8,4]")]), 8),
            ("too few bytes for the shape", of(&[&entry("y", "F32", "[3]", "[0,8]")]), 8),
            ("half a byte", of(&[&entry("y", "F4", "[3]", "[0,1]")]), 1),
            (
                "more elements than can be counted",
                of(&[&entry("y", "F32", "[4294967296,4294967296]", "[0,8]")]),
                8,
            ),
            (
                "more elements than can be counted, but for one extent",
                of(&[&entry("y", "F32", "[0,4294967296,4294967296]", "[0,0]")]),
                0,
            ),
            ("bytes behind the last tensor", of(&[&x]), 9),
            ("a file that ends too early", of(&[&x]), 7),
            ("no dtype", r#"{"x":{"shape":[2],"data_offsets":[0,8]}}"#.to_owned(), 8),
            ("a negative extent", of(&[&entry("x", "F32", "[-2]", "[0,8]")]), 8),
            ("a list", "[]".to_owned(), 0),
            ("no JSON", "{".to_owned(), 0),
        ] {
            assert!(parse(&text, bytes).is_err(), "{case}: {text}");
        }
    }
}

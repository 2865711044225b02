//! `FILE:TENSOR`, as typed.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::InputError;

/// `FILE:TENSOR` as typed.
///
/// Both may hold colons. Of the colons that could part the two, the last one does whose left side is a file; where
/// none is, the last one at whose left side anything is; else the last one of all, so that a file which is missing
/// is named whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorRef {
    pub file: PathBuf,
    pub tensor: String,
}

impl FromStr for TensorRef {
    type Err = InputError;

    fn from_str(text: &str) -> Result<TensorRef, InputError> {
        let splits = || {
            let colons = text.rmatch_indices(':').map(|(at, _)| (&text[..at], &text[at + 1..]));
            colons.filter(|(file, tensor)| !file.is_empty() && !tensor.is_empty())
        };
        let is_file = |path: &str| fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        let split = splits()
            .find(|(file, _)| is_file(file))
            .or_else(|| splits().find(|(file, _)| Path::new(file).exists()))
            .or_else(|| splits().next());
        match split {
            Some((file, tensor)) => Ok(TensorRef { file: file.into(), tensor: tensor.to_owned() }),
            None => Err(InputError::Syntax { given: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_parts_file_and_tensor_where_no_file_is_there() {
        let parsed: TensorRef = "a:b/c.safetensors:model.norm.weight".parse().unwrap();
        assert_eq!(parsed.file, Path::new("a:b/c.safetensors"));
        assert_eq!(parsed.tensor, "model.norm.weight");
    }

    #[test]
    fn files_that_are_there_decide() {
        let folder = tempfile::tempdir().unwrap();
        let parse = |text: &str| {
            let TensorRef { file, tensor } =
                format!("{}/{text}", folder.path().display()).parse::<TensorRef>().unwrap();
            (file.file_name().unwrap().to_str().unwrap().to_owned(), tensor)
        };
        let split = |file: &str, tensor: &str| (file.to_owned(), tensor.to_owned());
        fs::write(folder.path().join("m"), "").unwrap();
        assert_eq!(parse("m:x"), split("m", "x"));
        assert_eq!(parse("m:x:y"), split("m", "x:y"));
        assert_eq!(parse("m::y"), split("m", ":y"));
        fs::create_dir(folder.path().join("m:x")).unwrap();
        assert_eq!(parse("m:x:y"), split("m", "x:y"), "a file comes before a folder");
        fs::write(folder.path().join("m:x:y"), "").unwrap();
        assert_eq!(parse("m:x:y:z"), split("m:x:y", "z"), "the longest name of a file decides");
        assert_eq!(parse("m:x:y"), split("m", "x:y"), "a tensor is always left");
    }

    #[test]
    fn both_parts_must_be_there() {
        for text in ["", "file", "file:", ":tensor", ":"] {
            assert!(matches!(text.parse::<TensorRef>(), Err(InputError::Syntax { .. })), "{text}");
        }
    }
}

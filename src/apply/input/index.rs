//! The index of a sharded model, such as `model.safetensors.index.json`: which file has which tensor.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::foreign::Foreign;
use super::unique::Members;
use super::{Entry, FileId, Header, InputError, Listed, SourceFile};

/// The longest index that is read: that of a model of a million tensors has a tenth of it.
const MAX_BYTES: u64 = 1 << 30;

/// The index: the file of each tensor.
#[derive(Debug)]
pub struct Index {
    pub path: PathBuf,
    pub id: FileId,
    /// The name and file of each tensor, in the index's order. Files are names without a path, in the index's folder.
    pub tensors: Vec<(String, String)>,
}

/// The part of the JSON that is read.
#[derive(Deserialize)]
struct Json {
    weight_map: Option<Members<String>>,
}

impl Index {
    pub fn read(file: &SourceFile) -> Result<Index, InputError> {
        let not = |problem: String| InputError::NotIndex { file: file.path.clone(), problem };
        if file.len > MAX_BYTES {
            return Err(not(format!("expected {MAX_BYTES} bytes of JSON at most, given {}", file.len)));
        }
        let text = file.read_some_at(file.len, 0)?;
        let json: Json = serde_json::from_slice(&text).map_err(|error| not(error.to_string()))?;
        let Some(map) = json.weight_map else {
            return Err(InputError::Foreign { file: file.path.clone(), found: Foreign::Json });
        };
        if let Some(name) = map.repeated() {
            return Err(not(format!("its weight_map has '{}' twice", crate::printable::name(name))));
        }
        for (tensor, shard) in &map.0 {
            let mut parts = Path::new(shard).components();
            // The name has to be all of the path: `./a` and `a/` have one component, too.
            let plain = matches!((parts.next(), parts.next()),
                (Some(Component::Normal(name)), None) if name == shard.as_str());
            if !plain || shard.contains('\0') {
                let (tensor, shard) = (tensor.clone(), shard.clone());
                return Err(InputError::ShardName { index: file.path.clone(), tensor, shard });
            }
        }
        Ok(Index { path: file.path.clone(), id: file.id, tensors: map.0 })
    }

    /// Opens the file that is to have `tensor`.
    pub fn open(&self, shard: &str, tensor: &str) -> Result<SourceFile, InputError> {
        let shard = self.path.with_file_name(shard);
        if !shard.exists() {
            let (index, tensor) = (self.path.clone(), tensor.to_owned());
            return Err(InputError::MissingShard { index, tensor, shard });
        }
        SourceFile::open(&shard)
    }

    /// Every tensor with its entry in the header of its file; `read` is called once for each file.
    pub fn list(
        self,
        read: impl Fn(SourceFile) -> Result<Header, InputError>,
    ) -> Result<Vec<Listed>, InputError> {
        let mut headers: HashMap<&str, HashMap<String, Entry>> = HashMap::new();
        let mut list = Vec::new();
        for (name, shard) in &self.tensors {
            let tensors = match headers.entry(shard) {
                Slot::Occupied(known) => known.into_mut(),
                Slot::Vacant(new) => new.insert(read(self.open(shard, name)?)?.tensors.into_iter().collect()),
            };
            let entry = tensors.get(name).cloned().ok_or_else(|| self.not_in(shard, name))?;
            list.push(Listed { name: name.clone(), entry, shard: Some(shard.clone()) });
        }
        Ok(list)
    }

    /// The error for a `shard` that lacks `tensor`.
    pub fn not_in(&self, shard: &str, tensor: &str) -> InputError {
        let shard = self.path.with_file_name(shard);
        InputError::NotInShard { index: self.path.clone(), tensor: tensor.to_owned(), shard }
    }
}

//! `tests/models.json` and `tests/models.safetensors`.

use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};
use norm_host::DType;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::Result;
use norm_testing::buffer::Buffer;

const TEXT: &str = include_str!("../models.json");
const DATA: &[u8] = include_bytes!("../models.safetensors");

/// Everything recorded.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    pub transformers: String,
    pub torch: String,
    /// Names of models of several modalities, and the family of their `text_config`.
    pub wrappers: BTreeMap<String, String>,
    /// Classes that gave the same bits everywhere, by the name of one of them.
    pub groups: BTreeMap<String, Vec<String>>,
    /// The largest share of elements in which the compiled class differs from the one run eagerly.
    pub compiled_apart: BTreeMap<String, f64>,
    pub families: Vec<Family>,
    pub records: Vec<Record>,
    #[serde(skip)]
    tensors: HashMap<String, Tensor>,
}

/// What a tiny model of a family was seen to have.
#[derive(Debug, Deserialize)]
pub struct Family {
    pub name: String,
    pub eps_key: Option<String>,
    pub eps: Option<f64>,
    /// Entries of its config that have to be true for all its norms to be there, and what they are by default.
    pub flags: BTreeMap<String, bool>,
    /// The steps of each kind of layer (`tests/models/trace.py`).
    pub layers: Vec<String>,
    /// By role.
    pub norms: BTreeMap<String, Norm>,
}

#[derive(Debug, Deserialize)]
pub struct Norm {
    /// The last part of its modules' names.
    pub names: Vec<String>,
    pub class: String,
    pub eps: Eps,
    pub weight: String,
    pub bias: bool,
    /// Whether weights start at 0.
    pub centred: bool,
    /// The weights' type in a model that is loaded as this type.
    pub loaded: BTreeMap<String, String>,
    /// The name that its config has for the number of groups.
    pub groups: Option<String>,
}

/// `"config"`, the config's entry beside that, or the number that it is whatever the config says.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Eps {
    Fixed(f64),
    Config(String),
    Other { key: String, default: f64 },
}

/// One run of a class: names of its tensors; that of the result is the record's.
#[derive(Debug, Deserialize)]
pub struct Record {
    pub name: String,
    pub group: String,
    pub compiled: bool,
    pub eps: f64,
    pub x: String,
    pub weight: Option<String>,
    pub bias: Option<String>,
    pub gate: Option<String>,
}

#[derive(Debug)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Buffer,
}

impl Recorded {
    pub fn load() -> Result<Recorded> {
        let mut recorded: Recorded = serde_json::from_str(TEXT)?;
        for (name, view) in SafeTensors::deserialize(DATA)?.iter() {
            let values = buffer(view.dtype(), view.data()).ok_or_else(|| format!("{name}: another dtype"))?;
            recorded.tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), values });
        }
        Ok(recorded)
    }

    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| format!("{name}: no such tensor").into())
    }

    /// The group that a class is in.
    pub fn group_of(&self, class: &str) -> Result<&str> {
        let found = self.groups.iter().find(|(_, classes)| classes.iter().any(|known| known == class));
        found.map(|(group, _)| group.as_str()).ok_or_else(|| format!("{class}: not recorded").into())
    }
}

impl Tensor {
    pub fn dim(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    /// As far as it goes.
    pub fn rows(&self) -> usize {
        self.values.bits().len() / self.dim()
    }

    pub fn dtype(&self) -> DType {
        self.values.dtype()
    }

    pub fn row(&self, index: usize) -> Vec<f64> {
        (0..self.dim()).map(|column| self.values.get(index * self.dim() + column)).collect()
    }
}

fn buffer(dtype: Dtype, bytes: &[u8]) -> Option<Buffer> {
    let (twos, fours) = (bytes.as_chunks().0, bytes.as_chunks().0);
    Some(match dtype {
        Dtype::F16 => Buffer::F16(twos.iter().map(|&bytes| f16::from_le_bytes(bytes)).collect()),
        Dtype::BF16 => Buffer::BF16(twos.iter().map(|&bytes| bf16::from_le_bytes(bytes)).collect()),
        Dtype::F32 => Buffer::F32(fours.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()),
        _ => return None,
    })
}

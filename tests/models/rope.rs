//! Rotations: the frequencies of each scaling, and queries and keys of models' own attention modules, replayed
//! (`tests/models/rope.py` recorded them).

use half::{bf16, f16};
use norm_host::{
    Backend, Cpu, DType, Norm, NormKind, Pairing, Positions, QkNormRope, Qkv, RopeRounding, RopeScaling,
    RopeTables, Rotary, Rounding, Simulator,
};
use norm_testing::buffer::Buffer;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::Result;

const TEXT: &str = include_str!("../rope.json");
const DATA: &[u8] = include_bytes!("../rope.safetensors");

#[derive(Deserialize)]
struct Recorded {
    frequencies: Vec<Frequencies>,
    tables: Vec<Tables>,
    attentions: Vec<Attention>,
}

#[derive(Deserialize)]
struct Frequencies {
    theta: f64,
    dim: usize,
    max_position_embeddings: usize,
    parameters: Parameters,
    length: Option<usize>,
    frequencies: Vec<u32>,
    attention_factor: f64,
}

/// What a config.json has.
#[derive(Deserialize)]
struct Parameters {
    rope_type: String,
    factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    truncate: Option<bool>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    attention_factor: Option<f64>,
    partial_rotary_factor: Option<f64>,
}

#[derive(Deserialize)]
struct Tables {
    theta: f64,
    dim: usize,
    positions: Vec<usize>,
    cos: Vec<u32>,
    sin: Vec<u32>,
}

#[derive(Deserialize)]
struct Attention {
    name: String,
    family: String,
    dim: usize,
    eps: Option<f64>,
}

fn recorded() -> Result<Recorded> {
    Ok(serde_json::from_str(TEXT)?)
}

impl Frequencies {
    fn scaling(&self) -> Result<RopeScaling> {
        let found = &self.parameters;
        let factor = found.factor.unwrap_or(1.0);
        let original_length = found.original_max_position_embeddings.unwrap_or(self.max_position_embeddings);
        Ok(match found.rope_type.as_str() {
            "default" => RopeScaling::Default,
            "linear" => RopeScaling::Linear { factor },
            "dynamic" => {
                let length = self.length.unwrap_or(original_length);
                RopeScaling::DynamicNtk { factor, original_length, length }
            }
            "yarn" => {
                let [mscale, all] = [found.mscale, found.mscale_all_dim].map(|scale| scale.unwrap_or(0.0));
                let attention_factor = found
                    .attention_factor
                    .unwrap_or_else(|| RopeScaling::yarn_attention(factor, mscale, all));
                RopeScaling::Yarn {
                    factor,
                    original_length,
                    beta_fast: found.beta_fast.unwrap_or(32.0),
                    beta_slow: found.beta_slow.unwrap_or(1.0),
                    truncate: found.truncate.unwrap_or(true),
                    attention_factor,
                }
            }
            "llama3" => RopeScaling::Llama3 {
                factor,
                low_freq_factor: found.low_freq_factor.ok_or("no low_freq_factor")?,
                high_freq_factor: found.high_freq_factor.ok_or("no high_freq_factor")?,
                original_length,
            },
            "proportional" => {
                let share = found.partial_rotary_factor.ok_or("no partial_rotary_factor")?;
                RopeScaling::Proportional { share, factor }
            }
            other => return Err(format!("{other}: no such scaling").into()),
        })
    }
}

#[test]
fn frequencies_have_the_bits_of_transformers() -> Result {
    for record in &recorded()?.frequencies {
        let kind = &record.parameters.rope_type;
        let tables = RopeTables::new(record.theta, record.dim).scaling(record.scaling()?);
        let given: Vec<u32> = tables.frequencies()?.into_iter().map(f32::to_bits).collect();
        let what = format!("{kind}, theta {}, {} elements, {:?}", record.theta, record.dim, record.length);
        assert_eq!(given, record.frequencies, "{what}");
        assert_eq!(tables.attention_factor(), record.attention_factor, "{what}");
    }
    Ok(())
}

/// The nearest numbers to cosine and sine, of which PyTorch's are neighbours at most.
#[test]
fn tables_are_those_of_transformers_or_nearer() -> Result {
    let (mut apart, mut all) = (0, 0);
    for record in &recorded()?.tables {
        let tables = RopeTables::new(record.theta, record.dim);
        for (row, &position) in record.positions.iter().enumerate() {
            let half = record.dim / 2;
            let given = tables.tables(position..position + 1)?;
            for (given, recorded) in given.iter().zip([&record.cos, &record.sin]) {
                for (given, &recorded) in given.iter().zip(&recorded[row * half..][..half]) {
                    let distance = given.to_bits().abs_diff(recorded);
                    assert!(
                        distance <= 1,
                        "position {position}: {given}, recorded {}",
                        f32::from_bits(recorded)
                    );
                    apart += distance;
                    all += 1;
                }
            }
        }
    }
    let share = f64::from(apart) / f64::from(all);
    println!("{apart} of {all} cosines and sines differ, {share:.4}");
    assert!((0.01..0.06).contains(&share), "{share}");
    Ok(())
}

/// What a family does with queries and keys.
struct Form {
    kind: NormKind,
    normed: bool,
    weight_offset: f32,
    order: Rounding,
    norm_behind: bool,
    pairing: Pairing,
    rounding: RopeRounding,
}

impl Form {
    fn of(family: &str) -> Result<Form> {
        let llama = Form {
            kind: NormKind::Rms,
            normed: false,
            weight_offset: 0.0,
            order: Rounding::Single,
            norm_behind: false,
            pairing: Pairing::Halves,
            rounding: RopeRounding::Products,
        };
        Ok(match family {
            "llama" => llama,
            "qwen3" => Form { normed: true, order: Rounding::BeforeWeight, ..llama },
            "gemma3" => Form { normed: true, weight_offset: 1.0, ..llama },
            "cohere" => Form {
                kind: NormKind::Layer,
                normed: true,
                pairing: Pairing::Neighbours,
                rounding: RopeRounding::Between,
                ..llama
            },
            "glm4" => Form { pairing: Pairing::Neighbours, ..llama },
            "llama4" => Form {
                normed: true,
                norm_behind: true,
                pairing: Pairing::Neighbours,
                rounding: RopeRounding::Between,
                ..llama
            },
            other => return Err(format!("{other}: no such family").into()),
        })
    }
}

struct Tensor {
    shape: Vec<usize>,
    values: Buffer,
}

fn tensor(data: &SafeTensors<'_>, name: &str) -> Result<Option<Tensor>> {
    let Ok(view) = data.tensor(name) else { return Ok(None) };
    let pairs = || view.data().chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let values = match view.dtype() {
        Dtype::F16 => Buffer::F16(pairs().map(f16::from_bits).collect()),
        Dtype::BF16 => Buffer::BF16(pairs().map(bf16::from_bits).collect()),
        Dtype::F32 => {
            let words =
                view.data().chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().expect("4 bytes")));
            Buffer::F32(words.collect())
        }
        other => return Err(format!("{name}: {other:?}").into()),
    };
    Ok(Some(Tensor { shape: view.shape().to_vec(), values }))
}

fn dense(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

impl Tensor {
    fn view(&self) -> norm_host::View<'_> {
        self.values.view(&self.shape, &dense(&self.shape))
    }
}

/// Elements of queries and keys that differ from the recorded ones, by a neighbour, and all of them.
fn replay(record: &Attention, form: &Form, data: &SafeTensors<'_>, on: &impl Backend) -> Result<[usize; 2]> {
    let named = |part: &str| tensor(data, &format!("{}.{part}", record.name));
    let there = |part: &str| named(part)?.ok_or_else(|| format!("{}: no {part}", record.name).into());
    let there = |part: &str| -> Result<Tensor> { there(part) };
    let ([q, k], [cos, sin]) = ([there("q")?, there("k")?], [there("cos")?, there("sin")?]);
    let weights = [named("q_weight")?, named("k_weight")?];
    let eps = record.eps.unwrap_or(0.0);
    let [q_norm, k_norm] = weights.each_ref().map(|weight| {
        let norm = Norm::new(form.kind, eps).weight_offset(form.weight_offset).rounding(form.order);
        form.normed.then(|| match weight {
            Some(weight) => norm.weight(weight.view()),
            None => norm,
        })
    });
    let positions: Vec<u32> = (0..q.shape[0] as u32).collect();
    let rotary = Rotary::new(cos.view(), sin.view(), Positions::from_slice(&positions)).pairing(form.pairing);
    let description = QkNormRope::new()
        .q_norm(q_norm)
        .k_norm(k_norm)
        .rotary(rotary)
        .norm_behind(form.norm_behind)
        .rounding(form.rounding);
    let [mut q_out, mut k_out] =
        [&q, &k].map(|x| Buffer::new(x.values.dtype(), &vec![f64::NAN; x.shape.iter().product()]));
    let out =
        Qkv::new(q_out.view_mut(&q.shape, &dense(&q.shape))).k(k_out.view_mut(&k.shape, &dense(&k.shape)));
    description.to(Qkv::new(q.view()).k(k.view()), out, on)?;
    let mut counts = [0, 0];
    for (given, part) in [(q_out, "q_out"), (k_out, "k_out")] {
        let (given, expected) = (given.bits(), there(part)?.values.bits());
        assert_eq!(given.len(), expected.len(), "{}", record.name);
        counts[0] += given.iter().zip(&expected).filter(|(given, expected)| given != expected).count();
        counts[1] += given.len();
    }
    assert_eq!(q.shape[2], record.dim);
    Ok(counts)
}

fn replay_all(on: &impl Backend) -> Result {
    let data = SafeTensors::deserialize(DATA)?;
    let (mut apart, mut all) = (0, 0);
    for record in &recorded()?.attentions {
        let [differ, count] = replay(record, &Form::of(&record.family)?, &data, on)?;
        println!("{:12} {differ} of {count}", record.name);
        // A sum that is added up in another order may tip a rounding; a rotation spreads it over two elements.
        assert!(differ <= 3, "{}: {differ} of {count}", record.name);
        (apart, all) = (apart + differ, all + count);
    }
    assert!(apart * 2000 <= all, "{apart} of {all}");
    Ok(())
}

#[test]
fn attentions_are_replayed_bit_for_bit() -> Result {
    replay_all(&Cpu)
}

#[test]
fn kernels_replay_attentions_bit_for_bit() -> Result {
    replay_all(&Simulator::new())
}

/// Another order of roundings, another pairing or another place of the norm is not what was recorded.
#[test]
fn attentions_tell_forms_apart() -> Result {
    let data = SafeTensors::deserialize(DATA)?;
    let recorded = recorded()?;
    let share = |name: &str, change: fn(&mut Form)| -> Result<f64> {
        let record = recorded.attentions.iter().find(|record| record.name == name);
        let record = record.ok_or_else(|| format!("{name}: not recorded"))?;
        let mut form = Form::of(&record.family)?;
        change(&mut form);
        let [differ, count] = replay(record, &form, &data, &Cpu)?;
        Ok(differ as f64 / count as f64)
    };
    for (name, change) in [
        ("qwen3.bf16", (|form| form.order = Rounding::Single) as fn(&mut Form)),
        ("qwen3.f16", |form| form.rounding = RopeRounding::Between),
        ("llama.bf16", |form| form.rounding = RopeRounding::Single),
        ("gemma3.bf16", |form| form.order = Rounding::BeforeWeight),
        ("cohere.f16", |form| form.rounding = RopeRounding::Single),
        ("glm4.bf16", |form| form.pairing = Pairing::Halves),
        ("llama4.bf16", |form| form.norm_behind = false),
    ] {
        let share = share(name, change)?;
        assert!(share > 0.05, "{name}: {share}");
    }
    Ok(())
}

/// Both 16-bit types of each family are there.
#[test]
fn every_family_is_recorded() -> Result {
    let data = SafeTensors::deserialize(DATA)?;
    let mut types = std::collections::BTreeMap::<String, Vec<DType>>::new();
    for record in recorded()?.attentions {
        let q = tensor(&data, &format!("{}.q", record.name))?.ok_or("no q")?;
        types.entry(record.family).or_default().push(q.values.dtype());
    }
    assert_eq!(types.len(), 6);
    assert!(types.values().all(|types| *types == [DType::F16, DType::BF16]), "{types:?}");
    Ok(())
}

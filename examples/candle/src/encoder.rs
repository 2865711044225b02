//! all-MiniLM-L6-v2: a BERT encoder that averages the vectors of a sentence's tokens
//! (<https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2>).

use std::path::Path;

use candle_core::{DType, Device, Error, Module, Result, Tensor};
use candle_nn::{Embedding, Linear, VarBuilder, embedding, linear, ops::softmax_last_dim};
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

use crate::norms::Norms;

// The model's config.json.
const HIDDEN: usize = 384;
const LAYERS: usize = 6;
const HEADS: usize = 12;
const INTERMEDIATE: usize = 1536;
const POSITIONS: usize = 512;
const VOCABULARY: usize = 30522;
const TOKEN_TYPES: usize = 2;
const EPS: f64 = 1e-12;

/// The most tokens of a sentence, as in the model's sentence_bert_config.json; the rest is cut off.
const LONGEST: usize = 256;

/// The model, with the norms `N`.
pub struct Encoder<N: Norms> {
    tokenizer: Tokenizer,
    words: Embedding,
    positions: Embedding,
    token_types: Embedding,
    norm: N::Layer,
    layers: Vec<Layer<N>>,
}

impl<N: Norms> Encoder<N> {
    /// Loads `model.safetensors` and `tokenizer.json` from a folder, for the CPU.
    ///
    /// # Errors
    ///
    /// Those of reading the files.
    pub fn load(folder: &Path) -> Result<Encoder<N>> {
        let mut tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).map_err(Error::wrap)?;
        let truncation = TruncationParams { max_length: LONGEST, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(Error::wrap)?;
        // Pads to the longest sentence of a batch.
        tokenizer.with_padding(Some(PaddingParams::default()));

        let weights = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu)?;
        let vb = VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu);
        let embeddings = vb.pp("embeddings");
        let layer = |index: usize| Layer::load(vb.pp(format!("encoder.layer.{index}")));
        Ok(Encoder {
            tokenizer,
            words: embedding(VOCABULARY, HIDDEN, embeddings.pp("word_embeddings"))?,
            positions: embedding(POSITIONS, HIDDEN, embeddings.pp("position_embeddings"))?,
            token_types: embedding(TOKEN_TYPES, HIDDEN, embeddings.pp("token_type_embeddings"))?,
            norm: N::layer(HIDDEN, EPS, embeddings.pp("LayerNorm"))?,
            layers: (0..LAYERS).map(layer).collect::<Result<_>>()?,
        })
    }

    /// A vector of length 1 for each sentence: `(sentences, 384)`.
    ///
    /// # Errors
    ///
    /// Those of the tokenizer and of candle.
    pub fn encode(&self, sentences: &[&str]) -> Result<Tensor> {
        let encodings = self.tokenizer.encode_batch(sentences.to_vec(), true).map_err(Error::wrap)?;
        let stack = |of: fn(&tokenizers::Encoding) -> &[u32]| {
            let rows = encodings.iter().map(|encoding| Tensor::new(of(encoding), &Device::Cpu));
            Tensor::stack(&rows.collect::<Result<Vec<_>>>()?, 0)
        };
        let ids = stack(tokenizers::Encoding::get_ids)?;
        let mask = stack(tokenizers::Encoding::get_attention_mask)?.to_dtype(DType::F32)?;

        let tokens = ids.dim(1)?;
        let positions = Tensor::arange(0, tokens as u32, ids.device())?;
        let words = self.words.forward(&ids)?;
        let marks = self.token_types.forward(&ids.zeros_like()?)?;
        let marks = marks.broadcast_add(&self.positions.forward(&positions)?)?;
        let mut xs = N::add_layer(&self.norm, &marks, &words)?;

        // The mask that is added to attention scores: 0 for a token, and for padding so much that its weight becomes 0.
        let hidden = ((mask.unsqueeze(1)?.unsqueeze(1)? - 1.0)? * 1e9)?;
        for layer in &self.layers {
            xs = layer.forward(&xs, &hidden)?;
        }
        let mask = mask.unsqueeze(2)?;
        let sums = xs.broadcast_mul(&mask)?.sum(1)?;
        let means = sums.broadcast_div(&mask.sum(1)?)?;
        means.broadcast_div(&means.sqr()?.sum_keepdim(1)?.sqrt()?)
    }
}

struct Layer<N: Norms> {
    query: Linear,
    key: Linear,
    value: Linear,
    attention: Linear,
    attention_norm: N::Layer,
    up: Linear,
    down: Linear,
    norm: N::Layer,
}

impl<N: Norms> Layer<N> {
    fn load(vb: VarBuilder<'_>) -> Result<Layer<N>> {
        let attention = vb.pp("attention");
        let square = |name: &str| linear(HIDDEN, HIDDEN, attention.pp(name));
        Ok(Layer {
            query: square("self.query")?,
            key: square("self.key")?,
            value: square("self.value")?,
            attention: square("output.dense")?,
            attention_norm: N::layer(HIDDEN, EPS, attention.pp("output.LayerNorm"))?,
            up: linear(HIDDEN, INTERMEDIATE, vb.pp("intermediate.dense"))?,
            down: linear(INTERMEDIATE, HIDDEN, vb.pp("output.dense"))?,
            norm: N::layer(HIDDEN, EPS, vb.pp("output.LayerNorm"))?,
        })
    }

    fn forward(&self, xs: &Tensor, hidden: &Tensor) -> Result<Tensor> {
        let (sentences, tokens, _) = xs.dims3()?;
        let heads = |xs: Tensor| {
            let heads = xs.reshape((sentences, tokens, HEADS, HIDDEN / HEADS))?;
            heads.transpose(1, 2)?.contiguous()
        };
        let query = heads(self.query.forward(xs)?)?;
        let key = heads(self.key.forward(xs)?)?;
        let value = heads(self.value.forward(xs)?)?;
        let scores = (query.matmul(&key.t()?)? / ((HIDDEN / HEADS) as f64).sqrt())?;
        let shares = softmax_last_dim(&scores.broadcast_add(hidden)?)?;
        let mixed = shares.matmul(&value)?.transpose(1, 2)?.reshape((sentences, tokens, HIDDEN))?;
        let xs = N::add_layer(&self.attention_norm, &self.attention.forward(&mixed)?, xs)?;

        let wide = self.up.forward(&xs)?.gelu_erf()?;
        N::add_layer(&self.norm, &self.down.forward(&wide)?, &xs)
    }
}

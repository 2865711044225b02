//! One Llama-shaped decoder block with random weights: RMSNorm in front of attention and MLP, each
//! with the residual connection around it, and a norm of every head of queries and keys, as Qwen3 has
//! it (<https://arxiv.org/abs/2505.09388>).

use candle_core::{D, DType, Device, Module, Result, Tensor};
use candle_nn::{
    Linear,
    kv_cache::KvCache,
    ops::{silu, softmax_last_dim},
};

use crate::norms::{Heads, Norms};

/// The sizes of a block.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Elements of a token's vector.
    pub hidden: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Elements between the MLP's two products.
    pub intermediate: usize,
}

impl Sizes {
    /// The sizes of Llama 3 8B (<https://arxiv.org/abs/2407.21783>, table 3).
    pub const LLAMA_8B: Sizes =
        Sizes { hidden: 4096, heads: 32, kv_heads: 8, head_dim: 128, intermediate: 14336 };
    /// Small sizes, for a CPU.
    pub const SMALL: Sizes = Sizes { hidden: 256, heads: 8, kv_heads: 2, head_dim: 32, intermediate: 704 };
}

/// Wraps the computation of each norm of a block, that of queries and keys with their rotation: [`Marks`](crate::clock::Marks) takes its time, `()` does nothing.
pub trait Watch {
    /// Computes the norm.
    ///
    /// # Errors
    ///
    /// The norm's, and the watch's own.
    fn norm<T>(&mut self, norm: impl FnOnce() -> Result<T>) -> Result<T>;
}

impl Watch for () {
    fn norm<T>(&mut self, norm: impl FnOnce() -> Result<T>) -> Result<T> {
        norm()
    }
}

const EPS: f32 = 1e-6;
const ROPE_BASE: f32 = 500_000.0;

/// The block's weights.
pub struct Block {
    sizes: Sizes,
    attention_norm: Tensor,
    qkv: Linear,
    q_norm: Tensor,
    k_norm: Tensor,
    out: Linear,
    mlp_norm: Tensor,
    gate_up: Linear,
    down: Linear,
    cos: Tensor,
    sin: Tensor,
    /// 0, 1 …
    positions: Tensor,
    /// The causal mask, which is added to attention scores.
    causal: Tensor,
}

impl Block {
    /// A block with random weights, for up to `positions` tokens.
    ///
    /// # Errors
    ///
    /// candle's.
    pub fn random(sizes: Sizes, positions: usize, dtype: DType, device: &Device) -> Result<Block> {
        let Sizes { hidden, heads, kv_heads, head_dim, intermediate } = sizes;
        let linear = |from: usize, to: usize| {
            let weights = Tensor::randn(0_f32, (from as f32).powf(-0.5), (to, from), device)?;
            Ok::<_, candle_core::Error>(Linear::new(weights.to_dtype(dtype)?, None))
        };
        let norm = |dim: usize| Tensor::randn(1_f32, 0.1, dim, device)?.to_dtype(dtype);
        let angle = |index: usize| {
            let (position, pair) = (index / (head_dim / 2), index % (head_dim / 2));
            position as f32 * ROPE_BASE.powf(-2.0 * pair as f32 / head_dim as f32)
        };
        let angles: Vec<f32> = (0..positions * head_dim / 2).map(angle).collect();
        let angles = Tensor::from_vec(angles, (positions, head_dim / 2), device)?;
        let causal = |index: usize| {
            let (query, key) = (index / positions, index % positions);
            if key > query { f32::NEG_INFINITY } else { 0.0 }
        };
        let causal: Vec<f32> = (0..positions * positions).map(causal).collect();
        Ok(Block {
            sizes,
            attention_norm: norm(hidden)?,
            qkv: linear(hidden, (heads + 2 * kv_heads) * head_dim)?,
            q_norm: norm(head_dim)?,
            k_norm: norm(head_dim)?,
            out: linear(heads * head_dim, hidden)?,
            mlp_norm: norm(hidden)?,
            gate_up: linear(hidden, 2 * intermediate)?,
            down: linear(intermediate, hidden)?,
            cos: angles.cos()?.to_dtype(dtype)?,
            sin: angles.sin()?.to_dtype(dtype)?,
            positions: Tensor::arange(0, positions as u32, device)?,
            causal: Tensor::from_vec(causal, (positions, positions), device)?.to_dtype(dtype)?,
        })
    }

    /// Runs the block on the output `xs` of the previous block and the residual stream, both `(1, tokens, hidden)`. Returns
    /// the block's output and the residual stream that it has to be added to. May change `residual`. The tokens follow
    /// those in the cache.
    ///
    /// # Errors
    ///
    /// candle's, and those of the norms.
    pub fn forward<N: Norms>(
        &self,
        xs: &Tensor,
        residual: &Tensor,
        cache: &mut KvCache,
        watch: &mut impl Watch,
    ) -> Result<(Tensor, Tensor)> {
        let (residual, xs) = watch.norm(|| N::add_rms(xs, residual, &self.attention_norm, EPS))?;
        let xs = self.attention::<N>(&xs, cache, watch)?;
        let (residual, xs) = watch.norm(|| N::add_rms(&xs, &residual, &self.mlp_norm, EPS))?;
        Ok((self.mlp(&xs)?, residual))
    }

    fn attention<N: Norms>(
        &self,
        xs: &Tensor,
        cache: &mut KvCache,
        watch: &mut impl Watch,
    ) -> Result<Tensor> {
        let Sizes { heads, kv_heads, head_dim, .. } = self.sizes;
        let (_, tokens, _) = xs.dims3()?;
        // The heads of a token are contiguous: those of queries, keys and values are strided views.
        let qkv = self.qkv.forward(xs)?.reshape((1, tokens, heads + 2 * kv_heads, head_dim))?;
        let v = qkv.narrow(2, heads + kv_heads, kv_heads)?.transpose(1, 2)?.contiguous()?;

        let before = cache.current_seq_len();
        let positions = self.positions.narrow(0, before, tokens)?;
        let rotated = Heads {
            queries: heads,
            keys: kv_heads,
            q_weight: &self.q_norm,
            k_weight: &self.k_norm,
            eps: EPS,
            cos: &self.cos,
            sin: &self.sin,
            positions: &positions,
            first: before,
        };
        let (q, k) = watch.norm(|| N::queries_and_keys(&qkv, rotated))?;
        let (k, v) = cache.append(&k, &v)?;

        // Grouped-query attention: the queries that share a head of keys are rows of one matrix product.
        let q = q.reshape((1, kv_heads, heads / kv_heads * tokens, head_dim))?;
        let scores = (q.matmul(&k.t()?)? / (head_dim as f64).sqrt())?;
        let scores = scores.reshape((1, heads, tokens, before + tokens))?;
        let scores = match tokens {
            1 => scores,
            _ => {
                let causal = self.causal.narrow(0, before, tokens)?.narrow(1, 0, before + tokens)?;
                scores.broadcast_add(&causal)?
            }
        };
        let shares = softmax_last_dim(&scores)?;
        let shares = shares.reshape((1, kv_heads, heads / kv_heads * tokens, before + tokens))?;
        let mixed = shares.matmul(&v)?.reshape((1, heads, tokens, head_dim))?;
        self.out.forward(&mixed.transpose(1, 2)?.reshape((1, tokens, heads * head_dim))?)
    }

    fn mlp(&self, xs: &Tensor) -> Result<Tensor> {
        let gate_up = self.gate_up.forward(xs)?.chunk(2, D::Minus1)?;
        self.down.forward(&(silu(&gate_up[0])? * &gate_up[1])?)
    }

    /// An empty cache for so many tokens.
    pub fn cache(positions: usize) -> KvCache {
        KvCache::new(2, positions)
    }

    /// The block's sizes.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }
}

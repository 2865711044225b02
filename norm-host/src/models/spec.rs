//! What a norm of a model is given, and where it stands.

use crate::{DType, Norm, NormKind, Rounding};

/// One norm of a model: everything but the tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Spec {
    /// Which norm.
    pub kind: NormKind,
    /// Where its eps comes from.
    pub eps: Eps,
    /// The order of roundings.
    pub rounding: Rounding,
    /// What is added to every weight: 1 where the checkpoint stores `w - 1`.
    pub weight_offset: f32,
    /// Whether the sum of weight and offset is rounded to the weights' type.
    pub round_offset: bool,
    /// The shape of the weights; biases have the same.
    pub weight: WeightShape,
    /// Whether there are biases.
    pub bias: bool,
    /// The type of the weights.
    pub loaded_as: LoadedAs,
    /// The type of the result.
    pub returns: Returns,
}

/// Where the eps of a norm comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Eps {
    /// The family's own entry of config.json: [`Model::eps_key`](super::Model::eps_key).
    Model,
    /// Another entry of config.json.
    Other {
        /// Its name.
        key: &'static str,
        /// What it is where config.json has none.
        default: f64,
    },
    /// The model's own code fixes it, whatever config.json says.
    Fixed(f64),
}

/// An entry of config.json without which a norm is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Switch {
    /// Its name. The norm is there where it is true.
    pub key: &'static str,
    /// What it is where config.json has none.
    pub default: bool,
}

/// The shape of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WeightShape {
    /// There are none.
    None,
    /// `(dim,)`, shared by all rows: [`Norm::rows`].
    Dim,
    /// `(head_dim,)`, shared by all heads: [`Norm::heads`], or [`Norm::rows`] of each head.
    HeadDim,
    /// `(heads, head_dim)`, each head with its own: [`Norm::heads`].
    Heads,
    /// `(heads * head_dim,)`. The mean is that of all heads of a token: [`Norm::rows`].
    AllHeads,
}

/// The type of weights in a model that transformers loads as f16 or bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadedAs {
    /// The model's.
    Model,
    /// f32 in a model that is loaded as f16, bf16 in one that is loaded as bf16.
    F32BesideF16,
    /// f32 always.
    F32,
}

/// The type of a norm's result. That of `y` is the caller's in `norm`; this is the one that the model's own code gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Returns {
    /// That of x.
    X,
    /// That of a product of x and weights: f32 where the two types differ, as torch promotes them.
    Promoted,
    /// That of the weights.
    Weights,
}

impl Spec {
    /// The operation, to be given weights and biases where it has any. `eps` is that of config.json, by the name that
    /// [`eps`](Spec::eps) says, or its default; it counts for nothing where the model fixes its own.
    pub fn norm<'a>(&self, eps: impl Into<f64>) -> Norm<'a> {
        let eps = match self.eps {
            Eps::Model | Eps::Other { .. } => eps.into(),
            Eps::Fixed(eps) => eps,
        };
        Norm::new(self.kind, eps)
            .weight_offset(self.weight_offset)
            .rounding(self.rounding)
            .round_offset(self.round_offset)
    }

    /// The type that the model's own norm returns for `x` and weights of these types; biases have the weights'.
    pub fn result(&self, x: DType, weights: DType) -> DType {
        match self.returns {
            Returns::Promoted if x != weights => DType::F32,
            Returns::Weights => weights,
            Returns::X | Returns::Promoted => x,
        }
    }
}

/// What a norm of a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// [`Model::layer`](super::Model::layer).
    Layer,
    /// [`Model::query_key`](super::Model::query_key).
    QueryKey,
    /// [`Model::value`](super::Model::value).
    Value,
    /// [`Model::latent`](super::Model::latent).
    Latent,
    /// [`Model::state`](super::Model::state).
    State,
    /// [`Model::inner`](super::Model::inner).
    Inner,
    /// [`Model::gated`](super::Model::gated).
    Gated,
}

/// Where the norms of a layer stand. `r` is the residual, `f` attention (or what is in its place) and then the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Places {
    /// `r += f(norm(r))`, for each of the two. The addition can be fused with the norm behind it
    /// ([`Norm::add_then_norm`]).
    Pre,
    /// `r += norm(f(r))`, and nothing in front ([`Norm::norm_then_add`]).
    Post,
    /// `r += norm(f(norm(r)))`: four norms a layer.
    Sandwich,
    /// `r = norm(r + f(r))`, as the first transformers had it.
    PostSum,
    /// `r += f(norm(r))`, once a layer: attention and MLP side by side, of the same norm, or one of the two alone.
    Single,
    /// `r += attention(norm(r)) + mlp(norm(r))`: two norms, with weights of their own, of the same `r`.
    Parallel,
    /// As `Pre`, of mixes of several residual streams (hyper-connections), which have norms of their own.
    Streams,
}

/// The norms of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueryKey {
    /// The norm.
    pub spec: Spec,
    /// Whether rotary embeddings come first. Llama 4 has these norms only in layers that have the embeddings.
    pub after_rope: bool,
    /// The entry of config.json that has to be true; `None` where they are there in any case.
    pub switch: Option<Switch>,
}

/// A norm with a gate `g`, which comes from the layer's first projection.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Gated {
    /// The norm.
    pub spec: Spec,
    /// Where the gate comes in.
    pub gate: Gate,
    /// What is done to `g` first, in f32.
    pub activation: Activation,
    /// The entry of config.json with the number of groups: each row is normalized in as many equal parts
    /// ([`Norm::heads`] has an example), weights and gates being for the whole row. `None` where rows are whole.
    pub groups: Option<&'static str>,
    /// The entry of config.json that has to be true; `None` where it is there in any case.
    pub switch: Option<Switch>,
}

/// Where a gate comes in. T is the type of x and of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gate {
    /// `norm(x · act(g))`, where the product is not rounded: an f32 row for the norm. The norm's order rounds to T
    /// nevertheless, the type that x had.
    Front,
    /// `T(norm(x) · act(g))`, where the norm has its own result, of its own type.
    Behind,
    /// `T(norm(x) · act(g))`, where the norm's result is f32.
    BehindF32,
}

/// A function of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// `g / (1 + exp(-g))`.
    Silu,
    /// `1 / (1 + exp(-g))`.
    Sigmoid,
}

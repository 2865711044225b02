//! The options of a model's norm, and where in a layer the norm is.

pub use norm_kernels::abi::Activation;
use norm_kernels::abi::GateOrder;

use crate::{DType, Norm, NormKind, Rounding, View};

/// One norm of a model: all its options except the tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Spec {
    /// Which norm.
    pub kind: NormKind,
    /// Where its eps comes from.
    pub eps: Eps,
    /// The order of roundings.
    pub rounding: Rounding,
    /// The offset that is added to every weight: 1 where the checkpoint stores `w - 1`.
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
        /// The eps where config.json has none.
        default: f64,
    },
    /// The model's own code fixes it, whatever config.json says.
    Fixed(f64),
}

/// An entry of config.json that decides whether the model has a norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Switch {
    /// The entry's name. The model has the norm if the entry is true.
    pub key: &'static str,
    /// The value where config.json has no such entry.
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
    /// `(heads * head_dim,)`. The mean is taken over all heads of a token: [`Norm::rows`].
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

/// The type of a norm's result in the model's own code. In this crate the caller chooses the type of `y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Returns {
    /// The type of x.
    X,
    /// The type of a product of x and weights: f32 where the two types differ, by torch's type promotion.
    Promoted,
    /// The type of the weights.
    Weights,
}

impl Spec {
    /// The operation, without weights and biases yet. `eps` is the entry of config.json that [`eps`](Spec::eps) names, or
    /// its default; it is ignored where the model's code fixes its own.
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

    /// The type that the model's own norm returns for `x` and weights of these types; biases have the type of the weights.
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

/// Where in a layer its norms are. `r` is the residual, `f` first attention (or its equivalent) and then the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Places {
    /// `r += f(norm(r))`, for both. Each addition can be fused with the norm that follows it ([`Norm::add_then_norm`]).
    Pre,
    /// `r += norm(f(r))`, without a norm in front of `f` ([`Norm::norm_then_add`]).
    Post,
    /// `r += norm(f(norm(r)))`: four norms a layer.
    Sandwich,
    /// `r = norm(r + f(r))`, as in the original transformer.
    PostSum,
    /// `r += f(norm(r))`, once for each layer: attention and MLP of the same norm, in parallel, or only one of the two.
    Single,
    /// `r += attention(norm(r)) + mlp(norm(r))`: two norms of the same `r`, each with its own weights.
    Parallel,
    /// As `Pre`, but of mixtures of several residual streams (hyper-connections), which have their own norms.
    Streams,
}

/// The norms of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueryKey {
    /// The norm.
    pub spec: Spec,
    /// Whether the norm comes after the rotary embeddings. Llama 4 has these norms only in layers with the embeddings.
    pub after_rope: bool,
    /// The entry of config.json that must be true for the model to have these norms; `None` where it always has them.
    pub switch: Option<Switch>,
}

/// A norm with a gate `g`, which comes from the layer's first projection.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Gated {
    /// The norm.
    pub spec: Spec,
    /// Where the gate is applied.
    pub gate: Gate,
    /// The function that is applied to `g` first, in f32.
    pub activation: Activation,
    /// The entry of config.json with the number of groups: each row is normalized in that many equal parts
    /// ([`Norm::heads`] has an example), with weights and gates for the whole row. `None` where rows are not divided.
    pub groups: Option<&'static str>,
    /// The entry of config.json that must be true for the model to have this norm; `None` where it always has it.
    pub switch: Option<Switch>,
}

/// Where a gate is applied. T is the type of x and of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gate {
    /// `norm(x · act(g))`, where the product is not rounded, so that the norm's input is an f32 row. The norm's order
    /// nevertheless rounds to T, the type of x.
    Front,
    /// `T(norm(x) · act(g))`, where the norm's result has its own type.
    Behind,
    /// `T(norm(x) · act(g))`, where the norm's result is f32.
    BehindF32,
}

impl Gated {
    /// The gate of [`Norm::gated_rows`], or of [`Norm::gated_heads`] where rows are [divided](Gated::groups).
    ///
    /// ```
    /// use norm_host::{Cpu, View, ViewMut, models::Model};
    ///
    /// // A row of Mamba 2's norm in one group.
    /// let gated = Model::find("mamba2")?.gated.expect("its layers have a gated norm");
    /// let (x, g, w, mut y) = ([3.0_f32, 4.0], [0.5_f32, -1.0], [1.0_f32, 2.0], [0.0_f32; 2]);
    /// let [x, g] = [View::from_slice(&x, &[1, 2])?, View::from_slice(&g, &[1, 2])?];
    /// let norm = gated.spec.norm(1e-5).weight(View::from_slice(&w, &[2])?);
    /// norm.gated_rows(x, gated.gate(g), &mut ViewMut::from_slice(&mut y, &[1, 2])?, &Cpu)?;
    /// # Ok::<(), norm_host::Error>(())
    /// ```
    pub fn gate<'a>(&self, g: View<'a>) -> crate::Gate<'a> {
        let order = match self.gate {
            Gate::Front => GateOrder::GateFirst,
            Gate::Behind | Gate::BehindF32 => GateOrder::NormFirst,
        };
        crate::Gate::new(g, self.activation).order(order)
    }
}

//! The norms of known families of models, and the orders in which their own implementations round.
//!
//! [`Model::find`] finds a family by the `model_type` of its config.json. Its [`Spec`]s have the options for [`Norm`]: which
//! norm, its eps, the weight offset, the order of roundings, and the shape and type of weights. They are those of
//! transformers 5.24, whose results are recorded for each family and replayed in this project's tests; docs/MODELS.md
//! in the repository has the whole table, and the records for each row.
//!
//! ```
//! use norm_host::{Cpu, View, ViewMut, models::Model};
//!
//! let (x, w) = ([3.0_f32, 4.0], [0.5_f32, -0.5]);
//! let mut y = [0.0_f32; 2];
//! let norm = Model::find("gemma2")?.norm(1e-6).weight(View::from_slice(&w, &[2])?);
//! norm.rows(View::from_slice(&x, &[1, 2])?, &mut ViewMut::from_slice(&mut y, &[1, 2])?, &Cpu)?;
//! // Gemma 2 stores its weights less 1.
//! assert!((y[0] - 3.0 / 12.5_f32.sqrt() * 1.5).abs() < 1e-6);
//! # Ok::<(), norm_host::Error>(())
//! ```
//!
//! **Which order of roundings.** A [`Model`] from [`Model::find`] rounds as transformers does when it runs the model
//! eagerly. [`Model::compiled`] has the order of a model under `torch.compile`, which rounds once: this is also the most
//! accurate one. [`Model::of_gguf`] is for weights from a GGUF file.

mod spec;
mod table;

pub use spec::{
    Activation, Eps, Gate, Gated, LoadedAs, Places, QueryKey, Returns, Role, Spec, Switch, WeightShape,
};

use crate::{Error, Norm, Rounding, error::Result};

/// The norms of a family of models.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// The family's name, the `model_type` of its config.json: `qwen3_next`.
    pub name: &'static str,
    /// The `model_type`s of multimodal models whose `text_config` is of this family.
    pub also: &'static [&'static str],
    /// The name that eps has in config.json; `None` where the config has none.
    pub eps_key: Option<&'static str>,
    /// The eps where config.json has none.
    pub default_eps: f64,
    /// Where in a layer its norms are.
    pub places: Places,
    /// The norms of a layer, and the final norm behind all layers.
    pub layer: Spec,
    /// The norms of queries and keys.
    pub query_key: Option<QueryKey>,
    /// The norm of values, for each head.
    pub value: Option<Spec>,
    /// The norms of compressed queries, keys and values, between two projections.
    pub latent: Option<Spec>,
    /// The norms of dt, B and C in a Mamba layer.
    pub state: Option<Spec>,
    /// The norms in front of the last projection of attention or MLP.
    pub inner: Option<Spec>,
    /// The norm with a gate in a Mamba 2 or linear attention layer.
    pub gated: Option<Gated>,
}

impl Model {
    /// The family with that name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownModel`], whose message lists all names.
    pub fn find(name: &str) -> Result<Model> {
        let is_it = |model: &&Model| model.name == name || model.also.contains(&name);
        let found = Model::all().iter().find(is_it).copied();
        found.ok_or_else(|| Error::UnknownModel { given: name.to_owned() })
    }

    /// Every family, by name.
    pub fn all() -> &'static [Model] {
        table::MODELS
    }

    /// The norm of the family's layers, without weights yet: [`layer`](Model::layer).[`norm`](Spec::norm).
    pub fn norm<'a>(&self, eps: impl Into<f64>) -> Norm<'a> {
        self.layer.norm(eps)
    }

    /// The same family with weights from a GGUF file of llama.cpp's converter. The converter adds the 1 to the weights of
    /// families that store `w - 1`, and writes weights as f32, so that no norm has an offset. [`Spec::result`] for f32
    /// weights is the type that the model's own code would return, f32 where results are promoted. To get the bits of a
    /// model that is loaded as bf16 from bf16 weights, docs/MODELS.md in the repository says which type y must have and
    /// when to round the weights.
    pub fn of_gguf(self) -> Model {
        self.each(|spec| Spec { weight_offset: 0.0, round_offset: false, loaded_as: LoadedAs::F32, ..spec })
    }

    /// The same family under `torch.compile`, which rounds once. The types of results are those of the model that runs
    /// eagerly.
    pub fn compiled(self) -> Model {
        let model = self.each(|spec| Spec { rounding: Rounding::Single, round_offset: false, ..spec });
        let f32_behind = |gated: Gated| match gated.gate {
            Gate::Behind => Gated { gate: Gate::BehindF32, ..gated },
            Gate::Front | Gate::BehindF32 => gated,
        };
        Model { gated: model.gated.map(f32_behind), ..model }
    }

    /// The family's norms with their roles.
    pub fn norms(&self) -> impl Iterator<Item = (Role, Spec)> {
        [
            (Role::Layer, Some(self.layer)),
            (Role::QueryKey, self.query_key.map(|query_key| query_key.spec)),
            (Role::Value, self.value),
            (Role::Latent, self.latent),
            (Role::State, self.state),
            (Role::Inner, self.inner),
            (Role::Gated, self.gated.map(|gated| gated.spec)),
        ]
        .into_iter()
        .filter_map(|(role, spec)| Some((role, spec?)))
    }

    fn each(self, change: impl Fn(Spec) -> Spec) -> Model {
        Model {
            layer: change(self.layer),
            query_key: self.query_key.map(|known| QueryKey { spec: change(known.spec), ..known }),
            value: self.value.map(&change),
            latent: self.latent.map(&change),
            state: self.state.map(&change),
            inner: self.inner.map(&change),
            gated: self.gated.map(|known| Gated { spec: change(known.spec), ..known }),
            ..self
        }
    }
}

/// All names that [`Model::find`] knows, separated by commas.
pub(crate) fn names() -> String {
    let names = |model: &'static Model| [model.name].into_iter().chain(model.also.iter().copied());
    let mut names: Vec<_> = Model::all().iter().flat_map(names).collect();
    names.sort_unstable();
    names.join(", ")
}

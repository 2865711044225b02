//! The families, as data. `tests/models/main.rs` in the repository holds every entry to what was recorded of the models.

#[cfg(test)]
mod tests;

use super::{
    Model,
    spec::{Activation, Eps, Gate, Gated, LoadedAs, Places, QueryKey, Returns, Spec, Switch, WeightShape},
};
use crate::{NormKind, Rounding};

/// Rounded once, with plain weights.
const SINGLE: Spec = Spec {
    kind: NormKind::Rms,
    eps: Eps::Model,
    rounding: Rounding::Single,
    weight_offset: 0.0,
    round_offset: false,
    weight: WeightShape::Dim,
    bias: false,
    loaded_as: LoadedAs::Model,
    returns: Returns::X,
};
const BEFORE_WEIGHT: Spec = Spec { rounding: Rounding::BeforeWeight, returns: Returns::Promoted, ..SINGLE };
/// Weights that are stored less 1.
const CENTRED: Spec = Spec { weight_offset: 1.0, ..SINGLE };
const T5: Spec = Spec { rounding: Rounding::T5, returns: Returns::Weights, ..SINGLE };
const NO_WEIGHT: Spec = Spec { weight: WeightShape::None, ..SINGLE };
const LAYER_NORM: Spec = Spec { kind: NormKind::Layer, bias: true, ..SINGLE };
const LAYER_NORM_WITHOUT_BIAS: Spec = Spec { bias: false, ..LAYER_NORM };
const LAYER_NORM_1P: Spec = Spec { weight_offset: 1.0, round_offset: true, ..LAYER_NORM };

const NORM_EPS: Option<&str> = Some("norm_eps");
const RMS_NORM_EPS: Option<&str> = Some("rms_norm_eps");
const LAYER_NORM_EPS: Option<&str> = Some("layer_norm_eps");
const LAYER_NORM_EPSILON: Option<&str> = Some("layer_norm_epsilon");

/// With this eps, whatever the config says.
const fn fixed(eps: f64, spec: Spec) -> Spec {
    Spec { eps: Eps::Fixed(eps), ..spec }
}

const fn off(key: &'static str) -> Option<Switch> {
    Some(Switch { key, default: false })
}

const fn on(key: &'static str) -> Option<Switch> {
    Some(Switch { key, default: true })
}

const fn shaped(weight: WeightShape, spec: Spec) -> Spec {
    Spec { weight, ..spec }
}

const fn model(
    name: &'static str,
    (eps_key, default_eps): (Option<&'static str>, f64),
    places: Places,
    layer: Spec,
) -> Model {
    Model {
        name,
        also: &[],
        eps_key,
        default_eps,
        places,
        layer,
        query_key: None,
        value: None,
        latent: None,
        state: None,
        inner: None,
        gated: None,
    }
}

/// How most are: a norm in front of attention and one in front of the MLP.
const fn pre(name: &'static str, eps: (Option<&'static str>, f64), layer: Spec) -> Model {
    model(name, eps, Places::Pre, layer)
}

const fn query_key(spec: Spec) -> Option<QueryKey> {
    Some(QueryKey { spec, after_rope: false, switch: None })
}

/// The same only if config.json says so.
const fn query_key_if(switch: Option<Switch>, spec: Spec) -> Option<QueryKey> {
    Some(QueryKey { spec, after_rope: false, switch })
}

const fn after_rope(spec: Spec) -> Option<QueryKey> {
    Some(QueryKey { spec, after_rope: true, switch: None })
}

/// Over each head, with weights for all.
const fn head(spec: Spec) -> Spec {
    shaped(WeightShape::HeadDim, spec)
}

/// Over all heads of a token at once.
const fn all_heads(spec: Spec) -> Spec {
    shaped(WeightShape::AllHeads, spec)
}

/// That of Mamba 2.
const fn mamba_2(groups: &'static str) -> Option<Gated> {
    Some(Gated {
        spec: BEFORE_WEIGHT,
        gate: Gate::Front,
        activation: Activation::Silu,
        groups: Some(groups),
        switch: None,
    })
}

/// That of the linear attention of Qwen3-Next.
const GATED_DELTA_NET: Option<Gated> = Some(Gated {
    spec: BEFORE_WEIGHT,
    gate: Gate::Behind,
    activation: Activation::Silu,
    groups: None,
    switch: None,
});

/// By name.
pub const MODELS: &[Model] = &[
    Model {
        query_key: query_key(head(BEFORE_WEIGHT)),
        ..pre("apertus", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT)
    },
    pre("arcee", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT),
    Model { gated: mamba_2("mamba_n_groups"), ..pre("bamba", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT) },
    model("bert", (LAYER_NORM_EPS, 1e-12), Places::PostSum, LAYER_NORM),
    Model { inner: Some(BEFORE_WEIGHT), ..pre("bitnet", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT) },
    pre("bloom", (LAYER_NORM_EPSILON, 1e-5), LAYER_NORM),
    Model {
        query_key: query_key_if(off("use_qk_norm"), shaped(WeightShape::Heads, LAYER_NORM_WITHOUT_BIAS)),
        ..model("cohere", (LAYER_NORM_EPS, 1e-5), Places::Single, LAYER_NORM_WITHOUT_BIAS)
    },
    model("cohere2", (LAYER_NORM_EPS, 1e-5), Places::Single, LAYER_NORM_WITHOUT_BIAS),
    Model {
        latent: Some(fixed(1e-6, BEFORE_WEIGHT)),
        ..pre("deepseek_v2", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT)
    },
    Model {
        latent: Some(fixed(1e-6, BEFORE_WEIGHT)),
        ..pre("deepseek_v3", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT)
    },
    Model {
        latent: Some(Spec { loaded_as: LoadedAs::F32, ..SINGLE }),
        ..model(
            "deepseek_v4",
            (RMS_NORM_EPS, 1e-6),
            Places::Streams,
            Spec { loaded_as: LoadedAs::F32, ..SINGLE },
        )
    },
    model("distilbert", (None, 1e-12), Places::PostSum, fixed(1e-12, LAYER_NORM)),
    Model { query_key: query_key(head(BEFORE_WEIGHT)), ..pre("dots1", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT) },
    model("electra", (LAYER_NORM_EPS, 1e-12), Places::PostSum, LAYER_NORM),
    pre("ernie4_5", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT),
    pre("ernie4_5_moe", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT),
    Model {
        query_key: query_key(head(BEFORE_WEIGHT)),
        ..model("exaone4", (RMS_NORM_EPS, 1e-5), Places::Post, BEFORE_WEIGHT)
    },
    model("falcon", (LAYER_NORM_EPSILON, 1e-5), Places::Single, LAYER_NORM),
    Model {
        gated: Some(Gated {
            spec: SINGLE,
            gate: Gate::BehindF32,
            activation: Activation::Silu,
            groups: Some("mamba_n_groups"),
            switch: off("mamba_rms_norm"),
        }),
        ..pre("falcon_h1", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT)
    },
    Model {
        state: Some(Spec { eps: Eps::Other { key: "mixer_rms_eps", default: 1e-6 }, ..NO_WEIGHT }),
        ..model("falcon_mamba", (LAYER_NORM_EPSILON, 1e-5), Places::Single, BEFORE_WEIGHT)
    },
    pre("gemma", (RMS_NORM_EPS, 1e-6), CENTRED),
    model("gemma2", (RMS_NORM_EPS, 1e-6), Places::Sandwich, CENTRED),
    Model {
        also: &["gemma3"],
        query_key: query_key(head(CENTRED)),
        ..model("gemma3_text", (RMS_NORM_EPS, 1e-6), Places::Sandwich, CENTRED)
    },
    Model {
        also: &["gemma3n"],
        query_key: query_key(head(SINGLE)),
        value: Some(NO_WEIGHT),
        ..model("gemma3n_text", (RMS_NORM_EPS, 1e-6), Places::Sandwich, SINGLE)
    },
    Model {
        also: &["gemma4"],
        query_key: query_key(head(SINGLE)),
        value: Some(NO_WEIGHT),
        ..model("gemma4_text", (RMS_NORM_EPS, 1e-6), Places::Sandwich, SINGLE)
    },
    pre("glm", (RMS_NORM_EPS, 1.5625e-7), BEFORE_WEIGHT),
    model("glm4", (RMS_NORM_EPS, 1.5625e-7), Places::Sandwich, BEFORE_WEIGHT),
    Model {
        query_key: query_key_if(off("use_qk_norm"), head(BEFORE_WEIGHT)),
        ..pre("glm4_moe", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT)
    },
    pre("gpt2", (LAYER_NORM_EPSILON, 1e-5), LAYER_NORM),
    pre("gpt_bigcode", (LAYER_NORM_EPSILON, 1e-5), LAYER_NORM),
    model("gpt_neox", (LAYER_NORM_EPS, 1e-5), Places::Parallel, LAYER_NORM),
    pre("gpt_oss", (RMS_NORM_EPS, 1e-5), Spec { loaded_as: LoadedAs::F32BesideF16, ..SINGLE }),
    model("gptj", (LAYER_NORM_EPSILON, 1e-5), Places::Single, LAYER_NORM),
    pre("granite", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT),
    pre("granitemoe", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT),
    Model {
        gated: mamba_2("mamba_n_groups"),
        ..pre("granitemoehybrid", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT)
    },
    pre("helium", (RMS_NORM_EPS, 1e-8), SINGLE),
    Model {
        query_key: after_rope(head(BEFORE_WEIGHT)),
        ..pre("hunyuan_v1_dense", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT)
    },
    Model { state: Some(BEFORE_WEIGHT), ..pre("jamba", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT) },
    Model {
        latent: Some(fixed(1e-6, BEFORE_WEIGHT)),
        gated: Some(Gated {
            spec: SINGLE,
            gate: Gate::BehindF32,
            activation: Activation::Sigmoid,
            groups: None,
            switch: None,
        }),
        ..pre("kimi_linear", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT)
    },
    Model { query_key: query_key(head(BEFORE_WEIGHT)), ..pre("lfm2", (NORM_EPS, 1e-5), BEFORE_WEIGHT) },
    pre("llama", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT),
    Model {
        also: &["llama4"],
        query_key: Some(QueryKey { spec: NO_WEIGHT, after_rope: true, switch: on("use_qk_norm") }),
        ..pre("llama4_text", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT)
    },
    pre("longt5", (LAYER_NORM_EPSILON, 1e-6), T5),
    model("mamba", (LAYER_NORM_EPSILON, 1e-5), Places::Single, BEFORE_WEIGHT),
    Model {
        gated: mamba_2("n_groups"),
        ..model("mamba2", (LAYER_NORM_EPSILON, 1e-5), Places::Single, BEFORE_WEIGHT)
    },
    Model {
        query_key: query_key(all_heads(BEFORE_WEIGHT)),
        ..pre("minimax_m2", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT)
    },
    Model { also: &["mistral3"], ..pre("mistral", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT) },
    pre("mixtral", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT),
    pre("modernbert", (NORM_EPS, 1e-5), LAYER_NORM_WITHOUT_BIAS),
    pre("mpt", (LAYER_NORM_EPSILON, 1e-5), LAYER_NORM_WITHOUT_BIAS),
    pre("mt5", (LAYER_NORM_EPSILON, 1e-6), T5),
    pre("nemotron", (NORM_EPS, 1e-5), LAYER_NORM_1P),
    Model {
        gated: mamba_2("n_groups"),
        ..model("nemotron_h", (LAYER_NORM_EPSILON, 1e-5), Places::Single, SINGLE)
    },
    pre("olmo", (None, 1e-5), fixed(1e-5, Spec { kind: NormKind::Layer, ..NO_WEIGHT })),
    Model {
        query_key: query_key(all_heads(SINGLE)),
        ..model("olmo2", (RMS_NORM_EPS, 1e-5), Places::Post, SINGLE)
    },
    Model {
        query_key: query_key(all_heads(SINGLE)),
        ..model("olmo3", (RMS_NORM_EPS, 1e-5), Places::Post, SINGLE)
    },
    Model {
        query_key: query_key(all_heads(BEFORE_WEIGHT)),
        ..pre("olmoe", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT)
    },
    pre("opt", (None, 1e-5), fixed(1e-5, LAYER_NORM)),
    Model {
        query_key: query_key_if(on("qk_layernorm"), head(LAYER_NORM)),
        ..pre("persimmon", (LAYER_NORM_EPS, 1e-5), LAYER_NORM)
    },
    Model {
        query_key: query_key_if(off("qk_layernorm"), head(LAYER_NORM)),
        ..model("phi", (LAYER_NORM_EPS, 1e-5), Places::Single, LAYER_NORM)
    },
    pre("phi3", (RMS_NORM_EPS, 1e-5), BEFORE_WEIGHT),
    pre("phimoe", (RMS_NORM_EPS, 1e-5), LAYER_NORM),
    pre("qwen2", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT),
    pre("qwen2_moe", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT),
    Model { query_key: query_key(head(BEFORE_WEIGHT)), ..pre("qwen3", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT) },
    Model {
        also: &["qwen3_5_moe"],
        query_key: query_key(head(CENTRED)),
        gated: GATED_DELTA_NET,
        ..pre("qwen3_5_moe_text", (RMS_NORM_EPS, 1e-6), CENTRED)
    },
    Model {
        also: &["qwen3_5"],
        query_key: query_key(head(CENTRED)),
        gated: GATED_DELTA_NET,
        ..pre("qwen3_5_text", (RMS_NORM_EPS, 1e-6), CENTRED)
    },
    Model {
        query_key: query_key(head(BEFORE_WEIGHT)),
        ..pre("qwen3_moe", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT)
    },
    Model {
        query_key: query_key(head(CENTRED)),
        gated: GATED_DELTA_NET,
        ..pre("qwen3_next", (RMS_NORM_EPS, 1e-6), CENTRED)
    },
    model("roberta", (LAYER_NORM_EPS, 1e-12), Places::PostSum, LAYER_NORM),
    pre("seed_oss", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT),
    pre("smollm3", (RMS_NORM_EPS, 1e-6), BEFORE_WEIGHT),
    Model {
        query_key: query_key_if(off("qk_layernorm"), shaped(WeightShape::Heads, LAYER_NORM_WITHOUT_BIAS)),
        ..pre("stablelm", (LAYER_NORM_EPS, 1e-5), LAYER_NORM)
    },
    pre("starcoder2", (Some("norm_epsilon"), 1e-5), LAYER_NORM),
    pre("switch_transformers", (LAYER_NORM_EPSILON, 1e-6), T5),
    pre("t5", (LAYER_NORM_EPSILON, 1e-6), T5),
    pre("umt5", (LAYER_NORM_EPSILON, 1e-6), T5),
];

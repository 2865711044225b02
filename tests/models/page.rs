//! docs/MODELS.md beside the table.

use norm_host::{
    NormKind, Rounding,
    models::{Activation, Eps, Gate, LoadedAs, Model, Places, Spec, Switch, WeightShape},
};

use crate::{Result, recorded::Recorded, replay::Form};

const PAGE: &str = include_str!("../../docs/MODELS.md");
const CLASSES: &str = "| record | norm | offset | rounding | result | weights | run compiled |";
const FAMILIES: &str = "| family | eps | norms stand | layers | queries and keys | others |";

/// Each table of the page is, row by row, what the data say.
pub fn hold(recorded: &Recorded) -> Result {
    for version in [format!("transformers {}", recorded.transformers), format!("torch {}", recorded.torch)] {
        assert!(PAGE.contains(&version), "docs/MODELS.md lacks {version}");
    }
    assert_eq!(rows_under(CLASSES), classes(recorded)?, "docs/MODELS.md");
    assert_eq!(rows_under(FAMILIES), families(recorded)?, "docs/MODELS.md");
    Ok(())
}

fn rows_under(header: &str) -> Vec<String> {
    let rows = PAGE.lines().skip_while(|line| *line != header).skip(2);
    rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

/// A row for each group of classes that gave the same bits.
fn classes(recorded: &Recorded) -> Result<Vec<String>> {
    let row = |group: &String| -> Result<String> {
        let forms = Form::of_group(recorded, group, false)?;
        let form = forms.first().ok_or_else(|| format!("{group}: of no family"))?;
        let spec = form.spec();
        let norm = match (spec.kind, form) {
            (NormKind::Rms, Form::Plain(_)) => "RMSNorm".to_owned(),
            (NormKind::Layer, Form::Plain(_)) => "LayerNorm".to_owned(),
            (_, Form::Gated(gated)) => {
                let activation = match gated.activation {
                    Activation::Silu => "silu",
                    _ => "sigmoid",
                };
                let norm = if gated.groups.is_some() { "RMSNorm in groups" } else { "RMSNorm" };
                match gated.gate {
                    Gate::Front => format!("{norm} of x · {activation}(g)"),
                    Gate::Behind => format!("{norm}, then · {activation}(g)"),
                    _ => format!("{norm} in f32, then · {activation}(g)"),
                }
            }
        };
        let offset = match (spec.weight_offset != 0.0, spec.round_offset) {
            (false, _) => "",
            (true, false) => "1",
            (true, true) => "1, rounded",
        };
        let result = match form {
            Form::Gated(gated) if gated.gate != Gate::Front => "x",
            _ => match spec.returns {
                norm_host::models::Returns::Promoted => "promoted",
                norm_host::models::Returns::Weights => "weights",
                _ => "x",
            },
        };
        let weights = match (spec.weight, spec.bias) {
            (WeightShape::None, _) => "none",
            (_, false) => "weights",
            (_, true) => "weights, biases",
        };
        let compiled = match form {
            _ if spec.rounding == Rounding::Single && !spec.round_offset => "the same",
            _ => "single, nothing else rounded",
        };
        Ok(format!(
            "| `{group}` | {norm} | {offset} | {} | {result} | {weights} | {compiled} |",
            spec.rounding
        ))
    };
    recorded.groups.keys().map(row).collect()
}

fn condition(switch: Option<Switch>) -> String {
    match switch {
        None => String::new(),
        Some(Switch { key, default: true, .. }) => format!(", unless `{key}` is false"),
        Some(Switch { key, .. }) => format!(", if `{key}`"),
    }
}

fn families(recorded: &Recorded) -> Result<Vec<String>> {
    let row = |model: &Model| -> Result<String> {
        let family = recorded.families.iter().find(|family| family.name == model.name);
        let family = family.ok_or_else(|| format!("{}: not recorded", model.name))?;
        let cell = |role: &str, spec: &Spec| -> Result<String> {
            let class = recorded.group_of(&family.norms[role].class)?;
            let eps = match spec.eps {
                Eps::Fixed(eps) => format!(", eps {eps:e}"),
                Eps::Other { key, default } => format!(", eps `{key}` {default:e}"),
                _ => String::new(),
            };
            let loaded = match spec.loaded_as {
                LoadedAs::F32BesideF16 => ", weights f32 beside f16",
                LoadedAs::F32 => ", weights f32",
                _ => "",
            };
            Ok(format!("`{class}`{eps}{loaded}"))
        };
        let names = [model.name].iter().chain(model.also).map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let eps = model.eps_key.map_or("fixed".to_owned(), |key| format!("`{key}` {:e}", model.default_eps));
        let places = match model.places {
            Places::Pre => "pre",
            Places::Post => "post",
            Places::Sandwich => "sandwich",
            Places::PostSum => "post-sum",
            Places::Single => "single",
            Places::Parallel => "parallel",
            Places::Streams => "streams",
            _ => "unknown",
        };
        let query_key = match &model.query_key {
            None => String::new(),
            Some(query_key) => {
                let shape = match query_key.spec.weight {
                    WeightShape::HeadDim => ", `(head_dim,)`",
                    WeightShape::Heads => ", `(heads, head_dim)`",
                    WeightShape::AllHeads => ", `(heads * head_dim,)`",
                    _ => "",
                };
                let rope = if query_key.after_rope { ", after RoPE" } else { "" };
                format!("{}{shape}{rope}{}", cell("query_key", &query_key.spec)?, condition(query_key.switch))
            }
        };
        let mut others = Vec::new();
        for (role, form) in Form::of_model(model) {
            let (groups, switch) = match form {
                Form::Gated(gated) => (gated.groups, gated.switch),
                Form::Plain(_) => (None, None),
            };
            if !["layer", "query_key"].contains(&role) {
                let groups = groups.map_or(String::new(), |groups| format!(", `{groups}` groups"));
                others.push(format!("{role} {}{groups}{}", cell(role, &form.spec())?, condition(switch)));
            }
        }
        Ok(format!(
            "| {} | {eps} | {places} | {} | {query_key} | {} |",
            names.join(", "),
            cell("layer", &model.layer)?,
            others.join("; ")
        ))
    };
    Model::all().iter().map(row).collect()
}

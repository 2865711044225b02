//! `norm_host::models` beside what was seen of a tiny model of each family.

use std::collections::BTreeMap;

use norm_host::{
    DType,
    models::{Eps, LoadedAs, Model, Places, WeightShape},
};

use crate::{
    Result,
    recorded::{self, Family, Norm, Recorded},
    replay::Form,
};

/// Every entry of the table and everything that was recorded, one beside the other: nothing is in one alone.
pub fn hold(recorded: &Recorded) -> Result {
    let names = |names: Vec<&str>| names.join(" ");
    let known = names(Model::all().iter().map(|model| model.name).collect());
    assert_eq!(known, names(recorded.families.iter().map(|family| family.name.as_str()).collect()));
    let wrappers = Model::all().iter().flat_map(|model| model.also.iter().map(|name| (*name, model.name)));
    let wrappers: Vec<_> = wrappers.collect();
    let recorded_wrappers = recorded.wrappers.iter().map(|(name, family)| (name.as_str(), family.as_str()));
    let mut recorded_wrappers: Vec<_> = recorded_wrappers.collect();
    recorded_wrappers.sort_by_key(|(_, family)| *family);
    assert_eq!(wrappers, recorded_wrappers);
    for (model, family) in Model::all().iter().zip(&recorded.families) {
        hold_family(model, family)?;
    }
    Ok(())
}

fn hold_family(model: &Model, family: &Family) -> Result {
    let name = model.name;
    assert_eq!(model.eps_key, family.eps_key.as_deref(), "{name}");
    if let Some(eps) = family.eps {
        assert_eq!(model.default_eps, eps, "{name}");
    }
    let forms = Form::of_model(model);
    let mut roles: Vec<_> = forms.iter().map(|(role, _)| *role).collect();
    roles.sort_unstable();
    assert_eq!(roles, family.norms.keys().map(String::as_str).collect::<Vec<_>>(), "{name}");
    for (role, form) in &forms {
        hold_norm(&format!("{name}, {role}"), model, form, &family.norms[*role]);
    }
    let switches =
        [model.query_key.and_then(|query_key| query_key.switch), model.gated.and_then(|gated| gated.switch)];
    let switches = switches.into_iter().flatten().map(|switch| (switch.key.to_owned(), switch.default));
    assert_eq!(switches.collect::<BTreeMap<_, _>>(), family.flags, "{name}");
    hold_places(model, family);
    Ok(())
}

fn hold_norm(what: &str, model: &Model, form: &Form, norm: &Norm) {
    let spec = form.spec();
    let as_recorded = match (spec.eps, &norm.eps) {
        (Eps::Fixed(eps), recorded::Eps::Fixed(recorded)) => eps == *recorded,
        (Eps::Model, recorded::Eps::Config(config)) => config == "config",
        (Eps::Other { key, default }, recorded::Eps::Other { key: recorded, default: recorded_default }) => {
            (key, default) == (recorded, *recorded_default)
        }
        _ => false,
    };
    assert!(as_recorded, "{what}: {:?}, recorded {:?}", spec.eps, norm.eps);
    // Where the config has none the default is the class's own.
    if model.eps_key.is_none() {
        assert_eq!(spec.eps, Eps::Fixed(model.default_eps), "{what}");
    }
    assert_eq!((spec.bias, spec.weight_offset), (norm.bias, if norm.centred { 1.0 } else { 0.0 }), "{what}");
    let weight = match spec.weight {
        WeightShape::None => "none",
        WeightShape::Dim => "dim",
        WeightShape::HeadDim => "head_dim",
        WeightShape::Heads => "heads, head_dim",
        WeightShape::AllHeads => "heads * head_dim",
        _ => "unknown",
    };
    assert_eq!(weight, norm.weight, "{what}");
    let loaded = |dtype: DType| match (spec.weight, spec.loaded_as, dtype) {
        (WeightShape::None, ..) => None,
        (_, LoadedAs::F32, _) | (_, LoadedAs::F32BesideF16, DType::F16) => Some("f32"),
        (_, _, DType::F16) => Some("f16"),
        _ => Some("bf16"),
    };
    for (dtype, name) in [(DType::F16, "f16"), (DType::BF16, "bf16")] {
        assert_eq!(loaded(dtype), norm.loaded.get(name).map(String::as_str), "{what}, loaded as {name}");
    }
    let groups = match form {
        Form::Gated(gated) => gated.groups,
        Form::Plain(_) => None,
    };
    assert_eq!(groups, norm.groups.as_deref(), "{what}");
}

/// Where norms stand, from the steps of the last kind of layer.
fn hold_places(model: &Model, family: &Family) {
    let name = model.name;
    let layer = family.layers.last().map_or("", String::as_str);
    let pattern = pattern(layer);
    let is_as_said = match model.places {
        Places::Pre => pattern == "i b s b",
        Places::Post => pattern == "b o b o",
        // Gemma 3n and 4 have more beside it.
        Places::Sandwich => pattern.contains("b o s b o"),
        Places::PostSum => pattern == "b s b s",
        Places::Single => pattern == "i b",
        Places::Parallel => pattern == "i b i b",
        Places::Streams => pattern == "b s s b s s b",
        _ => false,
    };
    assert!(is_as_said, "{name}: {:?}, recorded {layer}: {pattern}", model.places);
    if let Some(query_key) = model.query_key {
        let names = &family.norms["query_key"].names;
        // Exaone 4 has layers without.
        let layer = family.layers.iter().rfind(|layer| layer.contains("rope")).expect(name);
        let norm = layer.split(' ').position(|step| names.iter().any(|name| step == format!("({name})")));
        let rope = layer.split(' ').position(|step| step == "rope");
        assert!(norm.is_some() && rope.is_some(), "{name}: {layer}");
        assert_eq!(norm > rope, query_key.after_rope, "{name}: {layer}");
    }
}

/// A letter for each step: norms of the layer's input (i), of a block's output (o), of a sum (s); blocks (b), those that
/// follow each other as one.
fn pattern(layer: &str) -> String {
    let letters = layer.split(' ').filter_map(|step| match step.split_once('<') {
        Some((_, "input")) => Some("i"),
        Some((_, "block")) => Some("o"),
        Some(_) => Some("s"),
        None if step == "rope" || step.starts_with('(') => None,
        None => Some("b"),
    });
    let mut letters: Vec<_> = letters.collect();
    letters.dedup_by(|a, b| a == b && *a == "b");
    letters.join(" ")
}

use std::collections::BTreeSet;

use crate::{
    Cpu, DType, Error, Norm, Rounding, View, ViewMut,
    models::{Eps, LoadedAs, Model},
};

/// Also what keeps a name from being there twice.
#[test]
fn families_are_sorted_by_name() {
    let names: Vec<_> = Model::all().iter().map(|model| model.name).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
}

#[test]
fn every_name_finds_its_own_family() -> crate::Result<()> {
    let mut seen = BTreeSet::new();
    for model in Model::all() {
        for name in [model.name].iter().chain(model.also) {
            assert_eq!(Model::find(name)?, *model, "{name}");
            assert!(seen.insert(*name), "{name} is there twice");
        }
    }
    Ok(())
}

#[test]
fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
    let error = Model::find("Llama").unwrap_err();
    assert_eq!(error, Error::UnknownModel { given: "Llama".to_owned() });
    let text = error.to_string();
    assert!(text.starts_with("model: expected one of apertus, arcee, "), "{text}");
    assert!(text.contains(", gemma2, gemma3, gemma3_text, ") && text.ends_with(", given Llama"), "{text}");
}

/// What an engine writes: the options come out as they would by hand.
#[test]
fn the_operation_of_a_family_is_the_one_by_hand() -> crate::Result<()> {
    let x = [0.3_f32, -1.7, 2.9, 0.1].map(half::bf16::from_f32);
    let w = [0.1_f32, -0.2, 0.3, 0.05].map(half::bf16::from_f32);
    let run = |norm: Norm<'_>| {
        let mut y = [half::bf16::ZERO; 4];
        let norm = norm.weight(View::from_slice(&w, &[4])?);
        norm.rows(View::from_slice(&x, &[1, 4])?, &mut ViewMut::from_slice(&mut y, &[1, 4])?, &Cpu)?;
        crate::Result::Ok(y)
    };
    let nemotron = Model::find("nemotron")?;
    let by_hand = Norm::layer(1e-5).weight_offset(1.0).round_offset(true);
    assert_eq!(run(nemotron.norm(1e-5))?, run(by_hand)?);
    assert_eq!(run(nemotron.of_gguf().norm(1e-5))?, run(Norm::layer(1e-5))?);
    assert_eq!(run(nemotron.compiled().norm(1e-5))?, run(Norm::layer(1e-5).weight_offset(1.0))?);
    let llama = Model::find("llama")?;
    assert_eq!(run(llama.norm(1e-5))?, run(Norm::rms(1e-5).rounding(Rounding::BeforeWeight))?);
    assert_ne!(run(llama.norm(1e-5))?, run(llama.compiled().norm(1e-5))?);
    Ok(())
}

#[test]
fn a_fixed_eps_does_not_give_way_to_the_configs() -> crate::Result<()> {
    let latent = Model::find("deepseek_v3")?.latent.expect("the norms of MLA");
    assert_eq!(latent.norm(0.25).eps, 1e-6);
    assert_eq!(Model::find("deepseek_v3")?.norm(0.25).eps, 0.25);
    // Falcon Mamba's has an entry of its own, of which the caller knows.
    let state = Model::find("falcon_mamba")?.state.expect("the norms of dt, B and C");
    assert_eq!(state.eps, Eps::Other { key: "mixer_rms_eps", default: 1e-6 });
    assert_eq!(state.norm(0.25).eps, 0.25);
    Ok(())
}

#[test]
fn no_weight_of_a_gguf_file_has_an_offset() {
    for model in Model::all() {
        for (role, spec) in model.of_gguf().norms() {
            assert!(spec.weight_offset == 0.0 && !spec.round_offset, "{}, {role:?}", model.name);
            assert_eq!(spec.loaded_as, LoadedAs::F32);
        }
    }
}

#[test]
fn results_are_promoted_as_by_torch() -> crate::Result<()> {
    let of = |name: &str, x, w| Ok::<_, Error>(Model::find(name)?.layer.result(x, w));
    assert_eq!(of("llama", DType::BF16, DType::F32)?, DType::F32);
    assert_eq!(of("llama", DType::F32, DType::BF16)?, DType::F32);
    assert_eq!(of("llama", DType::BF16, DType::BF16)?, DType::BF16);
    assert_eq!(of("gpt_oss", DType::F16, DType::F32)?, DType::F16);
    assert_eq!(of("t5", DType::F32, DType::F16)?, DType::F16);
    Ok(())
}

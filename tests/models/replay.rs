//! A record's inputs through `Norm`, as `norm_host::models` says of a family.

use norm_host::{
    Backend, DType, Rounding,
    models::{Activation, Eps, Gate, Gated, Model, Role, Spec, WeightShape},
};

use crate::{
    Result,
    recorded::{Record, Recorded, Tensor},
};
use norm_testing::buffer::Buffer;

/// What a family says of one of its norms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Plain(Spec),
    Gated(Gated),
}

/// The name of a role in the recorded file.
pub fn name_of(role: Role) -> &'static str {
    match role {
        Role::Layer => "layer",
        Role::QueryKey => "query_key",
        Role::Value => "value",
        Role::Latent => "latent",
        Role::State => "state",
        Role::Inner => "inner",
        Role::Gated => "gated",
        _ => "unknown",
    }
}

impl Form {
    /// Those of a model, by the role's name in the recorded file.
    pub fn of_model(model: &Model) -> Vec<(&'static str, Form)> {
        let form = |(role, spec)| match (role, model.gated) {
            (Role::Gated, Some(gated)) => (name_of(role), Form::Gated(gated)),
            _ => (name_of(role), Form::Plain(spec)),
        };
        model.norms().map(form).collect()
    }

    /// Each that a family has for a class of that group, once.
    pub fn of_group(recorded: &Recorded, group: &str, compiled: bool) -> Result<Vec<Form>> {
        let mut forms = Vec::new();
        for family in &recorded.families {
            let model = Model::find(&family.name)?;
            let model = if compiled { model.compiled() } else { model };
            for (role, form) in Form::of_model(&model) {
                let norm = family.norms.get(role).ok_or_else(|| format!("{}: no {role}", family.name))?;
                if recorded.group_of(&norm.class)? != group {
                    continue;
                }
                let form = form.with_eps_of_the_record();
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
        }
        Ok(forms)
    }

    /// Classes are recorded with one eps, whichever they have in a model.
    fn with_eps_of_the_record(mut self) -> Form {
        self.spec_mut().eps = Eps::Model;
        self
    }

    pub fn spec(&self) -> Spec {
        match self {
            Form::Plain(spec) => *spec,
            Form::Gated(gated) => gated.spec,
        }
    }

    pub fn spec_mut(&mut self) -> &mut Spec {
        match self {
            Form::Plain(spec) => spec,
            Form::Gated(gated) => &mut gated.spec,
        }
    }

    /// What comes of the record's inputs, over rows and, where weights are shared by heads, over heads.
    pub fn replay(&self, recorded: &Recorded, record: &Record, on: &impl Backend) -> Result<Vec<Tensor>> {
        let expected = recorded.tensor(&record.name)?;
        let inputs = Inputs::of(recorded, record, expected.rows())?;
        match self {
            Form::Gated(gated) => {
                let apart = inputs.gated(gated, record.eps, on)?;
                let fused = inputs.gated_at_once(gated, record.eps, on).transpose()?;
                Ok([apart].into_iter().chain(fused).collect())
            }
            Form::Plain(spec) => {
                let y = spec.result(inputs.x.dtype(), inputs.w.map_or(inputs.x.dtype(), Tensor::dtype));
                let heads = || inputs.run(spec, record.eps, &inputs.x, 2, y, on);
                Ok(match spec.weight {
                    WeightShape::Heads => vec![heads()?],
                    WeightShape::Dim | WeightShape::AllHeads => {
                        vec![inputs.run(spec, record.eps, &inputs.x, 1, y, on)?]
                    }
                    _ => vec![inputs.run(spec, record.eps, &inputs.x, 1, y, on)?, heads()?],
                })
            }
        }
    }
}

struct Inputs<'a> {
    x: Tensor,
    w: Option<&'a Tensor>,
    b: Option<&'a Tensor>,
    gate: Option<&'a Tensor>,
}

impl Inputs<'_> {
    /// Of x the first rows, as many as were recorded.
    fn of<'a>(recorded: &'a Recorded, record: &Record, rows: usize) -> Result<Inputs<'a>> {
        let named = |name: &Option<String>| name.as_ref().map(|name| recorded.tensor(name)).transpose();
        let x = recorded.tensor(&record.x)?;
        let values: Vec<f64> = (0..rows * x.dim()).map(|index| x.values.get(index)).collect();
        Ok(Inputs {
            x: Tensor { shape: vec![rows, x.dim()], values: Buffer::new(x.dtype(), &values) },
            w: named(&record.weight)?,
            b: named(&record.bias)?,
            gate: named(&record.gate)?,
        })
    }

    /// The norm of x alone, over rows or over heads: then of as many rows as are whole.
    fn run(
        &self,
        spec: &Spec,
        eps: f64,
        x: &Tensor,
        heads: usize,
        y: DType,
        on: &impl Backend,
    ) -> Result<Tensor> {
        let (rows, dim) = (x.rows() / heads, x.dim());
        let mut values = Buffer::new(y, &vec![0.0; rows * heads * dim]);
        let norm = spec
            .norm(eps)
            .weight(self.w.map(|w| w.values.view(&w.shape, &strides(&w.shape))))
            .bias(self.b.map(|b| b.values.view(&b.shape, &strides(&b.shape))));
        if heads == 1 {
            norm.rows(
                x.values.view(&[rows, dim], &[dim, 1]),
                &mut values.view_mut(&[rows, dim], &[dim, 1]),
                on,
            )?;
        } else {
            let (shape, strides) = ([rows, heads, dim], [heads * dim, dim, 1]);
            norm.heads(x.values.view(&shape, &strides), &mut values.view_mut(&shape, &strides), on)?;
        }
        Ok(Tensor { shape: vec![rows * heads, dim], values })
    }

    /// The norm and its gate in one operation; `None` where it has not these types.
    fn gated_at_once(&self, gated: &Gated, eps: f64, on: &impl Backend) -> Option<Result<Tensor>> {
        let (gate, w) = (self.gate?, self.w?);
        let (x, g, w_type) = (self.x.dtype(), gate.dtype(), w.dtype());
        let has_types =
            if x == DType::F32 { w_type == g } else { g == x && [x, DType::F32].contains(&w_type) };
        if !has_types || gated.spec.result(x, w_type) != x {
            return None;
        }
        let (rows, groups) = (self.x.rows(), if gated.groups.is_some() { 2 } else { 1 });
        let shape = [rows, groups, self.x.dim() / groups];
        let mut values = self.x.values.clone();
        let (strides, of_weights) = (strides(&shape), [shape[1], shape[2]]);
        let norm = gated.spec.norm(eps).weight(w.values.view(&of_weights, &[shape[2], 1]));
        let g = gated.gate(gate.values.view(&shape, &strides));
        let done = norm.gated_heads(
            self.x.values.view(&shape, &strides),
            g,
            &mut values.view_mut(&shape, &strides),
            on,
        );
        Some(done.map(|()| Tensor { shape: self.x.shape.clone(), values }).map_err(Into::into))
    }

    /// The norm between what its gate does, element by element.
    fn gated(&self, gated: &Gated, eps: f64, on: &impl Backend) -> Result<Tensor> {
        let (gate, w) = (self.gate.ok_or("no gate")?, self.w.ok_or("no weights")?);
        let (x, result) = (self.x.dtype(), gated.spec.result(self.x.dtype(), w.dtype()));
        let open = |values: &Buffer, index: usize| {
            values.get(index) as f32 * activate(gated.activation, gate.values.get(index) as f32)
        };
        let values = match gated.gate {
            Gate::Front => {
                let opened = elements(DType::F32, &self.x, |index| open(&self.x.values, index));
                if gated.spec.rounding == Rounding::BeforeWeight && x != DType::F32 {
                    // The row is f32, and what comes of it is rounded to the type that x had: with y of that type and
                    // without weights, and the product afterwards.
                    let mut plain = gated.spec;
                    plain.rounding = Rounding::Single;
                    let h = self.in_groups(&plain, eps, opened, None, x, on)?;
                    elements(result, &self.x, |index| {
                        h.get(index) as f32 * w.values.get(index % w.dim()) as f32
                    })
                } else {
                    self.in_groups(&gated.spec, eps, opened, Some(w), result, on)?
                }
            }
            Gate::Behind | Gate::BehindF32 => {
                let y = if gated.gate == Gate::BehindF32 { DType::F32 } else { result };
                let k = match gated.groups {
                    Some(_) => self.in_groups(&gated.spec, eps, self.x.values.clone(), Some(w), y, on)?,
                    None => self.run(&gated.spec, eps, &self.x, 1, y, on)?.values,
                };
                elements(x, &self.x, |index| open(&k, index))
            }
            other => return Err(format!("{other:?}: unknown").into()),
        };
        Ok(Tensor { shape: self.x.shape.clone(), values })
    }

    /// The norm of rows as long as x in two groups, as was recorded.
    fn in_groups(
        &self,
        spec: &Spec,
        eps: f64,
        values: Buffer,
        w: Option<&Tensor>,
        y: DType,
        on: &impl Backend,
    ) -> Result<Buffer> {
        let (rows, dim) = (self.x.rows() * 2, self.x.dim() / 2);
        let w = w.map(|w| Tensor { shape: vec![2, dim], values: w.values.clone() });
        let parts =
            Inputs { x: Tensor { shape: vec![rows, dim], values }, w: w.as_ref(), b: None, gate: None };
        Ok(parts.run(spec, eps, &parts.x, 2, y, on)?.values)
    }
}

/// A tensor of that type, as large as `like`, of what `of` gives in f32.
fn elements(dtype: DType, like: &Tensor, of: impl Fn(usize) -> f32) -> Buffer {
    let values: Vec<f64> = (0..like.rows() * like.dim()).map(|index| of(index).into()).collect();
    Buffer::new(dtype, &values)
}

fn activate(activation: Activation, g: f32) -> f32 {
    match activation {
        Activation::Silu => g / (1.0 + (-g).exp()),
        _ => 1.0 / (1.0 + (-g).exp()),
    }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

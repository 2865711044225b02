//! The norms over candle's tensors have the gradients that candle's own operations have, and what cannot have
//! any says so.

mod cases;
mod forms;
mod recorded;

use candle_core::{DType, Device, Result, Tensor, Var, backprop::GradStore};

const EPS: f32 = 1e-5;

const CPU: Device = Device::Cpu;

fn random(shape: &[usize], dtype: DType) -> Result<Tensor> {
    Tensor::randn(0.3_f32, 1.5, shape, &CPU)?.to_dtype(dtype)
}

fn wide(tensor: &Tensor) -> Result<Tensor> {
    tensor.to_dtype(DType::F64)
}

/// A variable of that element type, and one of the same values in f64.
fn variables(tensor: &Tensor) -> Result<[Var; 2]> {
    Ok([Var::from_tensor(tensor)?, Var::from_tensor(&wide(tensor)?)?])
}

fn largest(tensor: &Tensor) -> Result<f64> {
    wide(tensor)?.abs()?.flatten_all()?.max(0)?.to_scalar()
}

/// The gradients of `sum(ys * by)`.
fn backward(ys: &Tensor, by: &Tensor) -> Result<GradStore> {
    (wide(ys)? * by)?.sum_all()?.backward()
}

/// In f32 to 1e-5 of the largest, for rows that are long enough not to cancel.
fn assert_same(given: &GradStore, expected: &GradStore, variables: &[(&str, &Var)]) -> Result<()> {
    for (name, variable) in variables {
        let (given, expected) = (given.get(variable).expect(name), expected.get(variable).expect(name));
        assert_eq!((given.dtype(), given.shape()), (expected.dtype(), expected.shape()), "{name}");
        let apart = largest(&(given - expected)?)?;
        assert!(apart <= 1e-5 * (1.0 + largest(expected)?), "{name}: off by {apart}");
    }
    Ok(())
}

fn variable(shape: &[usize]) -> Result<Var> {
    Var::from_tensor(&random(shape, DType::F32)?)
}

fn ones(shape: &[usize]) -> Tensor {
    Tensor::ones(shape, DType::F32, &CPU).unwrap()
}

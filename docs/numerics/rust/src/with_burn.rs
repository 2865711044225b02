//! burn's modules `LayerNorm` and `RmsNorm` on burn-flex, its backend in Rust for CPUs.

use burn::module::Param;
use burn::nn::{LayerNormConfig, RmsNormConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};
use candle_core::{DType as CandleDType, Device as Cpu, Tensor as CandleTensor};

use crate::{Answer, Row};

const DTYPES: [(CandleDType, DType); 3] =
    [(CandleDType::F16, DType::F16), (CandleDType::BF16, DType::BF16), (CandleDType::F32, DType::F32)];

pub fn norm(row: &Row, eps: f64) -> Answer {
    let device = Device::default();
    let dim = row["w"].elem_count();
    let x = to_burn::<2>(&row["x"], &device)?;
    let w = Param::from_tensor(to_burn::<1>(&row["w"], &device)?);
    let y = match row.get("b") {
        Some(b) => {
            let mut norm = LayerNormConfig::new(dim).with_epsilon(eps).init(&device);
            (norm.gamma, norm.beta) = (w, Some(Param::from_tensor(to_burn::<1>(b, &device)?)));
            norm.forward(x)
        }
        None => {
            let mut norm = RmsNormConfig::new(dim).with_epsilon(eps).init(&device);
            norm.gamma = w;
            norm.forward(x)
        }
    };
    let data = y.try_into_data().map_err(|error| format!("{error:?}"))?;
    let (dtype, _) = DTYPES.iter().find(|(_, dtype)| *dtype == data.dtype()).expect("a type that is stored");
    Ok(CandleTensor::from_raw_buffer(data.as_bytes(), *dtype, &[1, dim], &Cpu::Cpu)?)
}

fn to_burn<const D: usize>(
    tensor: &CandleTensor,
    device: &Device,
) -> Result<Tensor<D>, Box<dyn std::error::Error>> {
    let (_, dtype) = DTYPES.iter().find(|(dtype, _)| *dtype == tensor.dtype()).expect("a type of the rows");
    // candle gives out bytes by writing a file alone.
    let mut bytes = Vec::new();
    tensor.write_bytes(&mut bytes)?;
    let data = TensorData::from_bytes_vec(bytes, tensor.dims().to_vec(), *dtype);
    Ok(Tensor::from_data(data, (device, *dtype)))
}

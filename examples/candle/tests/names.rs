//! `use norm_host::*` hides no crate: `candle` and `cudarc` remain what they are without it.

// Many engines rename the package so.
extern crate candle_core as candle;

/// An engine that imports everything there is.
mod engine {
    use std::any::type_name;

    use candle::{Device, Module, Tensor};
    use cudarc::driver::CudaSlice;
    use norm_host::{for_candle::RmsNorm, *};

    pub fn normalize() -> candle::Result<Vec<f32>> {
        let weight = Tensor::new(&[1_f32, 2.0], &Device::Cpu)?;
        RmsNorm::new(weight, 0.0).forward(&Tensor::new(&[2_f32, 2.0], &Device::Cpu)?)?.to_vec1()
    }

    pub fn kinds() -> [&'static str; 3] {
        [type_name::<Tensor>(), type_name::<CudaSlice<f32>>(), type_name::<View<'_>>()]
    }
}

#[test]
fn a_glob_import_hides_no_crate() {
    let crates = engine::kinds().map(|name| name.split("::").next().unwrap_or_default());
    assert_eq!(crates, ["candle_core", "cudarc", "norm_host"]);
    assert_eq!(engine::normalize().unwrap(), [1.0, 2.0]);
}

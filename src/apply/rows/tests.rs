use clap::Parser;
use norm_host::NormKind;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::super::form::Form;
use super::*;
use crate::cli::{Cli, Command};
use crate::kernel_set::KernelSet;
use crate::target::DeviceChoice;

#[test]
fn chunks_cover_a_tensor_in_order_and_hold_whole_units() {
    for (units, unit, bytes, counts) in [
        (10, &[3][..], 48, &[4, 4, 2][..]),
        (5, &[2, 3], 48, &[2, 2, 1]),
        (16, &[3], 1 << 20, &[16]),
        (1, &[3], 48, &[1]),
        (4, &[100], 48, &[1, 1, 1, 1]),
        (0, &[3], 48, &[0]),
        (1 << 40, &[0], 48, &[1 << 40]),
    ] {
        let chunks: Vec<Chunk> = Chunks::new(units, unit, 4, bytes).iter().collect();
        let elements: usize = unit.iter().product();
        let given = chunks.iter().map(|chunk| chunk.shape[0]).collect::<Vec<_>>();
        assert_eq!(given, counts, "{units} of {unit:?}");
        let mut end = 0;
        for chunk in &chunks {
            assert_eq!(&chunk.shape[1..], unit);
            assert_eq!(chunk.elements, end..end + chunk.shape[0] * elements);
            end = chunk.elements.end;
        }
        assert_eq!(end, units * elements);
    }
}

/// Normalizes a file's tensor in chunks of so many bytes, on each target that needs no device.
fn results(args: &str, form: Form, bytes: usize) -> Vec<Vec<u8>> {
    let line = ["norm", "rms"].into_iter().chain(args.split_whitespace()).chain(["--out", "y"]);
    let Some(Command::Rms(args)) = Cli::try_parse_from(line).unwrap().command else { unreachable!() };
    let args = args.norm;
    let open = |tensor: &Option<_>| tensor.as_ref().map(|tensor| Tensor::open(tensor).unwrap());
    let (x, w, b) = (Tensor::open(&args.input).unwrap(), open(&args.weight), open(&args.bias));
    let call = Call::new(&args, NormKind::Layer, form, &x, [w.as_ref(), b.as_ref()]).unwrap();
    [DeviceChoice::Cpu, DeviceChoice::Sim]
        .map(|device| {
            let target = device.find(&KernelSet::Stock).unwrap().target;
            let mut y = Vec::new();
            normalize(&call, &target, DType::BF16, bytes, |rows| {
                y.extend_from_slice(rows);
                Ok(())
            })
            .unwrap();
            y
        })
        .into()
}

#[test]
fn where_chunks_are_cut_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m");
    let values = |count: usize| (0..count).flat_map(|i| ((i * i) as f32 * 0.7).sin().to_le_bytes());
    let (rows, heads, dim) = (7, 3, 40);
    let tensors =
        [("x", vec![rows, heads, dim]), ("w", vec![dim]), ("hw", vec![heads, dim])].map(|(name, shape)| {
            let bytes: Vec<u8> = values(shape.iter().product()).collect();
            (name, shape, bytes)
        });
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    let file = path.display();
    for (weights, form) in
        [("w", Form::Rows), ("hw", Form::Heads), ("w", Form::Heads), ("w", Form::Groups(8))]
    {
        let args = format!("--input {file}:x --weight {file}:{weights} --bias {file}:{weights}");
        let whole = results(&args, form, 1 << 20);
        assert!(whole.iter().all(|y| y.len() == 7 * 3 * 40 * 2 && y.iter().any(|&byte| byte != 0)));
        for bytes in [1, 2 * dim * 4, 5 * dim * 4, 7 * dim * 4] {
            assert!(results(&args, form, bytes) == whole, "chunks of {bytes} bytes, {form:?}");
        }
    }
}

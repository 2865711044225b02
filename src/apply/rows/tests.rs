use clap::Parser;
use norm_host::NormKind;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;
use crate::cli::{Cli, Command};
use crate::kernel_set::KernelSet;
use crate::target::DeviceChoice;

#[test]
fn chunks_cover_a_tensor_in_order_and_hold_whole_units() {
    for (shape, axes, bytes, units) in [
        (&[10, 3][..], 1, 48, &[4, 4, 2][..]),
        (&[2, 5, 3], 1, 48, &[4, 4, 2]),
        (&[5, 2, 3], 2, 48, &[2, 2, 1]),
        (&[2, 2, 2, 2, 3], 1, 1 << 20, &[16]),
        (&[3], 1, 48, &[1]),
        (&[2, 3], 2, 48, &[1]),
        (&[4, 100], 1, 48, &[1, 1, 1, 1]),
        (&[0, 3], 1, 48, &[0]),
        (&[1 << 40, 0], 1, 48, &[1 << 40]),
    ] {
        let chunks: Vec<Chunk> = Chunks::new(shape, axes, 4, bytes).iter().collect();
        let unit = &shape[shape.len() - axes..];
        let elements: usize = unit.iter().product();
        assert_eq!(chunks.iter().map(|chunk| chunk.shape[0]).collect::<Vec<_>>(), units, "{shape:?}");
        let mut end = 0;
        for chunk in &chunks {
            assert_eq!(&chunk.shape[1..], unit);
            assert_eq!(chunk.elements, end..end + chunk.shape[0] * elements);
            end = chunk.elements.end;
        }
        assert_eq!(end, shape.iter().product::<usize>());
    }
}

/// Normalizes a file's tensor in chunks of so many bytes, on each target that needs no device.
fn results(args: &str, heads: bool, bytes: usize) -> Vec<Vec<u8>> {
    let line = ["norm", "rms"].into_iter().chain(args.split_whitespace()).chain(["--out", "y"]);
    let Some(Command::Rms(args)) = Cli::try_parse_from(line).unwrap().command else { unreachable!() };
    let open = |tensor: &Option<_>| tensor.as_ref().map(|tensor| Tensor::open(tensor).unwrap());
    let (x, w, b) = (Tensor::open(&args.input).unwrap(), open(&args.weight), open(&args.bias));
    let call = Call { x: &x, w: w.as_ref(), b: b.as_ref(), args: &args, kind: NormKind::Layer, heads };
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
    for (weights, heads) in [("w", false), ("hw", true)] {
        let args = format!("--input {file}:x --weight {file}:{weights} --bias {file}:{weights}");
        let whole = results(&args, heads, 1 << 20);
        assert!(whole.iter().all(|y| y.len() == 7 * 3 * 40 * 2 && y.iter().any(|&byte| byte != 0)));
        for bytes in [1, 2 * dim * 4, 5 * dim * 4, 7 * dim * 4] {
            assert!(results(&args, heads, bytes) == whole, "chunks of {bytes} bytes, heads: {heads}");
        }
    }
}

#[test]
fn a_shape_of_too_few_axes_is_left_to_the_checks() {
    let chunks: Vec<Chunk> = Chunks::new(&[7], 2, 4, 1).iter().collect();
    assert_eq!(chunks, [Chunk { shape: vec![7], elements: 0..7 }]);
}

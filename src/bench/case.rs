//! One case of `norm bench`: an operation on a shape, the bytes that it moves, and the buffers that its calls rotate
//! through.

use norm_host::{
    DType, QuantPreset, Rounding,
    problem::ResidualPlace,
    reference::{Addition, Operation},
};

use super::op::{Extents, Op, Scaled, Types};

/// Calls in a CUDA graph. If a tensor is larger than [`LARGE`], there are [`FEW_CALLS`].
const CALLS: u32 = 200;
const FEW_CALLS: u32 = 20;
/// A call on a tensor of more bytes than this takes so long that few calls are enough to time.
const LARGE: u64 = 16 << 20;

/// Bytes of inputs and outputs that the calls of a graph rotate through: twenty times the L2 cache of an H200, so that
/// a call's inputs are no longer cached.
pub const ROTATION: u64 = 1 << 30;

/// Tensors start at a multiple of this many bytes, as separate allocations would.
const ALIGN: u64 = 256;

/// The eps of all operations.
pub const EPS: f32 = 1e-6;

/// An operation on tensors of these types and extents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BenchCase {
    pub op: Op,
    pub types: Types,
    pub extents: Extents,
    pub rounding: Rounding,
}

impl BenchCase {
    /// The operation that the reference computes. For a sandwich it is the first norm, whose output is the sum.
    pub fn operation(&self) -> Operation {
        let (op, types) = (self.op, self.types);
        let place = match op.is_sandwich() {
            true => ResidualPlace::Behind,
            false => ResidualPlace::InFront,
        };
        let wide = op.wide_residual();
        Operation {
            kind: op.kind(),
            x: types.x,
            w: Some(types.w),
            y: if op.is_sandwich() { self.residual_type() } else { types.y },
            eps: EPS,
            weight_offset: 0.0,
            round_offset: false,
            // A quantized output has a preset instead.
            rounding: if op.quantizes().is_some() { Rounding::Single } else { self.rounding },
            addition: op.has_residual().then(|| Addition { wide, ..Addition::plain(place) }),
        }
    }

    /// The second norm of a sandwich.
    pub fn next_operation(&self) -> Operation {
        Operation { x: self.residual_type(), y: self.types.y, addition: None, ..self.operation() }
    }

    /// The size of `x` in bytes.
    pub fn x_bytes(&self) -> u64 {
        (self.extents.elements() * self.types.x.size()) as u64
    }

    /// The size of `y` in bytes; of a quantized one with its scales, which are at [`scales_offset`](Self::scales_offset).
    pub fn y_bytes(&self) -> u64 {
        match self.op.quantizes() {
            Some(_) => self.scales_offset() + self.scales() * size_of::<f32>() as u64,
            None => (self.extents.elements() * self.types.y.size()) as u64,
        }
    }

    /// Bytes of a row of `y`.
    pub fn y_row_bytes(&self) -> usize {
        self.extents.dim() * if self.op.quantizes().is_some() { 1 } else { self.types.y.size() }
    }

    /// Bytes from the start of a quantized output to its scales.
    pub fn scales_offset(&self) -> u64 {
        (self.extents.elements() as u64).next_multiple_of(ALIGN)
    }

    /// Scales of a row that are written.
    pub fn row_scales(&self) -> usize {
        match self.op.quantizes().map(|quantizes| quantizes.scaled) {
            Some(Scaled::Token) => 1,
            Some(Scaled::Block(block)) => self.extents.dim() / block,
            Some(Scaled::Tensor) | None => 0,
        }
    }

    /// Scales that are written.
    fn scales(&self) -> u64 {
        (self.extents.rows() * self.row_scales()) as u64
    }

    /// Whose formula a quantized output has: vLLM's with the order of roundings that its norm has.
    pub fn preset(&self) -> QuantPreset {
        if self.rounding == Rounding::BeforeWeight { QuantPreset::Vllm } else { QuantPreset::Exact }
    }

    /// The dtype of the residual and of the sum with it.
    pub fn residual_type(&self) -> DType {
        self.op.residual_type(self.types.x)
    }

    /// The size in bytes of the residual, which is also that of the sum with it, or of the gate; 0 if there is neither.
    pub fn residual_bytes(&self) -> u64 {
        if self.op.has_residual() || self.op.gating().is_some() {
            (self.extents.elements() * self.residual_type().size()) as u64
        } else {
            0
        }
    }

    /// The bytes that throughput counts: `x` read once and `y` written once; a residual read once and the sum with it
    /// written once; a gate read once. Weights and biases are left out, since all rows share them. Of a quantized output the
    /// codes and the scales count.
    pub fn bytes(&self) -> u64 {
        let y = match self.op.quantizes() {
            Some(_) => self.extents.elements() as u64 + self.scales() * size_of::<f32>() as u64,
            None => self.y_bytes(),
        };
        let times = if self.op.gating().is_some() { 1 } else { 2 };
        self.x_bytes() + times * self.residual_bytes() + y
    }

    /// The size in bytes of the largest of `x`, `y` and the residual.
    fn tensor_bytes(&self) -> u64 {
        self.x_bytes().max(self.y_bytes()).max(self.residual_bytes())
    }

    /// The number of calls in a graph.
    pub fn calls(&self) -> u32 {
        calls(self.tensor_bytes())
    }

    /// The buffers that the calls rotate through. An input buffer holds `x` and behind it a gate or, if a separate tensor
    /// receives the sum, the residual. An output buffer holds `y` and behind it the sum or the residual that it overwrites.
    pub fn rotation(&self) -> Rotation {
        let tensors = if self.residual_bytes() > 0 { 2 } else { 1 };
        Rotation::new(tensors * self.residual_offset(), self.calls())
    }

    /// Bytes from the start of a buffer to the residual or the sum in it.
    pub fn residual_offset(&self) -> u64 {
        self.tensor_bytes().next_multiple_of(ALIGN)
    }

    /// The extents of weights and biases: `(dim)` or `(heads, head_dim)`; `(head_dim)` where heads are rotated.
    pub fn parameter_extents(&self) -> &[usize] {
        let shared = if self.op.rotates() { 2 } else { 1 };
        &self.extents.as_slice()[shared..]
    }

    /// The number of weights, which is also that of biases.
    pub fn parameters(&self) -> usize {
        self.parameter_extents().iter().product()
    }
}

/// The number of calls in a graph over tensors of this many bytes.
pub fn calls(tensor: u64) -> u32 {
    if tensor > LARGE { FEW_CALLS } else { CALLS }
}

/// The input buffers that calls use in turn, and as many output buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The number of input buffers.
    pub buffers: u32,
    /// Bytes from one buffer to the next.
    pub stride: u64,
}

impl Rotation {
    /// As many buffers of `bytes` bytes as fit in [`ROTATION`], half of it for inputs and half for outputs. There is at
    /// least one, and at most one for each call.
    pub fn new(bytes: u64, calls: u32) -> Rotation {
        let stride = bytes.next_multiple_of(ALIGN);
        let room = (ROTATION / 2 / stride).clamp(1, calls.into());
        Rotation { buffers: room as u32, stride }
    }

    /// The size in bytes of all input buffers, which is also that of all output buffers.
    pub fn bytes(self) -> u64 {
        u64::from(self.buffers) * self.stride
    }

    /// Bytes from the first buffer to the one that a call uses.
    pub fn offset(self, call: u32) -> u64 {
        u64::from(call % self.buffers) * self.stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(op: Op, types: &str, extents: &str) -> BenchCase {
        let rounding = Rounding::Single;
        BenchCase { op, types: types.parse().unwrap(), extents: extents.parse().unwrap(), rounding }
    }

    #[test]
    fn bytes_are_x_read_once_and_y_written_once() {
        assert_eq!(case(Op::Rms, "f16", "32768x4096").bytes(), 4 * 32768 * 4096);
        assert_eq!(case(Op::Layer, "f16:f32:f32", "10x100").bytes(), 6 * 1000);
        assert_eq!(case(Op::RmsInPlace, "f32", "10x100").bytes(), 8 * 1000);
        assert_eq!(case(Op::Head, "bf16", "4x8x64").bytes(), 4 * 4 * 8 * 64);
    }

    #[test]
    fn codes_have_a_byte_and_scales_four() {
        assert_eq!(case(Op::RmsFp8Static, "f16", "10x128").bytes(), 3 * 1280);
        assert_eq!(case(Op::RmsFp8Token, "f16", "10x128").bytes(), 3 * 1280 + 4 * 10);
        assert_eq!(case(Op::AddRmsFp8Block, "bf16", "10x256").bytes(), 7 * 2560 + 4 * 20);
        let odd = case(Op::AddRmsFp8Token, "f16", "3x11");
        assert!(odd.scales_offset() + 12 <= odd.residual_offset());
    }

    #[test]
    fn a_residual_is_read_and_written_too() {
        assert_eq!(case(Op::AddRms, "f16", "10x100").bytes(), 8 * 1000);
        assert_eq!(case(Op::AddRmsTo, "f16", "10x100").bytes(), 8 * 1000);
        assert_eq!(case(Op::GatedRms, "f16", "10x100").bytes(), 6 * 1000);
        assert_eq!(case(Op::SandwichRms, "bf16", "10x100").bytes(), 8 * 1000);
        // 2 bytes each of x and y; 4 bytes of the f32 residual, read and written.
        assert_eq!(case(Op::AddRmsF32, "f16", "10x100").bytes(), (2 + 2 + 2 * 4) * 1000);
        // x read, r read and the sum written: 2 bytes each; y written: 4 bytes.
        assert_eq!(case(Op::AddLayer, "bf16:f32:f32", "10x100").bytes(), (3 * 2 + 4) * 1000);
    }

    #[test]
    fn a_residual_has_a_place_of_its_own() {
        let odd = case(Op::AddRms, "f16:f16:f32", "3x1001");
        let rotation = odd.rotation();
        assert!(odd.residual_offset() >= odd.y_bytes());
        assert_eq!(odd.residual_offset() % ALIGN, 0);
        assert!(odd.residual_offset() + odd.residual_bytes() <= rotation.stride);
        let wide = case(Op::AddRmsF32, "f16", "3x1001");
        assert!(wide.residual_offset() + wide.residual_bytes() <= wide.rotation().stride);
        assert_eq!(rotation.buffers, 200);
        assert_eq!(case(Op::AddRms, "f16", "32768x4096").rotation().buffers, 1);
    }

    #[test]
    fn parameters_are_shared_by_rows_but_not_by_heads() {
        assert_eq!(case(Op::Layer, "f16", "10x100").parameter_extents(), [100]);
        assert_eq!(case(Op::Head, "f16", "4x8x64").parameter_extents(), [8, 64]);
        assert_eq!(Types::of(DType::F16), case(Op::Head, "f16", "4x8x64").types);
    }

    #[test]
    fn large_tensors_are_called_less_often_and_all_rotate_through_as_much() {
        let large = case(Op::Rms, "f16", "32768x4096");
        assert_eq!((large.calls(), large.rotation().buffers), (20, 2));
        assert_eq!(2 * large.rotation().bytes(), ROTATION);
        let small = case(Op::Rms, "f16", "1x4096");
        assert_eq!((small.calls(), small.rotation().buffers), (200, 200));
        let largest = case(Op::Rms, "f16", "512x1048576");
        assert_eq!((largest.calls(), largest.rotation().buffers), (20, 1));
        // Exactly 16 MiB is not large.
        assert_eq!(
            (case(Op::Rms, "f16", "2048x4096").calls(), case(Op::Rms, "f16", "2049x4096").calls()),
            (200, 20)
        );
    }

    #[test]
    fn places_in_a_rotation_are_aligned_and_apart() {
        let odd = case(Op::Rms, "f16", "3x1001").rotation();
        for call in 0..odd.buffers {
            assert_eq!(odd.offset(call) % ALIGN, 0);
            assert!(odd.offset(call) + 3 * 1001 * 2 <= odd.bytes());
            assert_eq!(odd.offset(call), odd.offset(call + odd.buffers));
        }
        assert!(odd.offset(1) >= 3 * 1001 * 2);
    }
}

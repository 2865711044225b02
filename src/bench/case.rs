//! One measurement: an operation on a shape, and the bytes that it moves.

use norm_host::{
    DType, Rounding,
    problem::ResidualPlace,
    reference::{Addition, Operation},
};

use super::op::{Extents, Op, Types};

/// Calls of a graph. Where a tensor is larger than [`LARGE`], [`FEW_CALLS`] are enough.
const CALLS: u32 = 200;
const FEW_CALLS: u32 = 20;
/// Bytes of a tensor above which a call takes long enough for few of them.
const LARGE: u64 = 16 << 20;

/// Bytes of inputs and outputs that the calls of a graph rotate through: twenty times the L2 of
/// an H200, so that what is read has left it.
pub const ROTATION: u64 = 1 << 30;

/// Tensors start at a multiple of this, as separate allocations would.
const ALIGN: u64 = 256;

/// Added under the square root.
pub const EPS: f32 = 1e-6;

/// An operation on tensors of these types and extents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    pub op: Op,
    pub types: Types,
    pub extents: Extents,
    pub rounding: Rounding,
}

impl Case {
    /// What its results follow from; of two norms those of the first, whose output is the sum.
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
            rounding: self.rounding,
            addition: op.has_residual().then(|| Addition { wide, ..Addition::plain(place) }),
        }
    }

    /// The second of two norms.
    pub fn next_operation(&self) -> Operation {
        Operation { x: self.residual_type(), y: self.types.y, addition: None, ..self.operation() }
    }

    pub fn x_bytes(&self) -> u64 {
        (self.extents.elements() * self.types.x.size()) as u64
    }

    pub fn y_bytes(&self) -> u64 {
        (self.extents.elements() * self.types.y.size()) as u64
    }

    /// The type of a residual and of the sum with it.
    pub fn residual_type(&self) -> DType {
        self.op.residual_type(self.types.x)
    }

    /// Bytes of a residual, and of the sum with it.
    pub fn residual_bytes(&self) -> u64 {
        if self.op.has_residual() {
            (self.extents.elements() * self.residual_type().size()) as u64
        } else {
            0
        }
    }

    /// What throughput counts: `x` read once and `y` written once; a residual read once and the sum with it
    /// written once. Weights and biases are shared by the rows and left out.
    pub fn bytes(&self) -> u64 {
        self.x_bytes() + 2 * self.residual_bytes() + self.y_bytes()
    }

    /// Bytes of the largest of `x`, `y` and a residual.
    fn tensor_bytes(&self) -> u64 {
        self.x_bytes().max(self.y_bytes()).max(self.residual_bytes())
    }

    /// Calls in a graph.
    pub fn calls(&self) -> u32 {
        calls(self.tensor_bytes())
    }

    /// The places of `x`, with a residual that is only read behind it, and of `y`, with one that is written or the sum
    /// behind it.
    pub fn rotation(&self) -> Rotation {
        let tensors = if self.op.has_residual() { 2 } else { 1 };
        Rotation::new(tensors * self.residual_offset(), self.calls())
    }

    /// Bytes from the start of `x` or `y` to what lies behind it.
    pub fn residual_offset(&self) -> u64 {
        self.tensor_bytes().next_multiple_of(ALIGN)
    }

    /// The extents of weights and biases: `(dim)` or `(heads, head_dim)`.
    pub fn parameter_extents(&self) -> &[usize] {
        &self.extents.as_slice()[1..]
    }

    pub fn parameters(&self) -> usize {
        self.parameter_extents().iter().product()
    }
}

/// Calls in a graph over tensors of this size.
pub fn calls(tensor: u64) -> u32 {
    if tensor > LARGE { FEW_CALLS } else { CALLS }
}

/// The places of inputs, and as many of outputs, that calls take in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How many.
    pub sets: u32,
    /// Bytes from one to the next.
    pub stride: u64,
}

impl Rotation {
    /// As many as [`ROTATION`] holds of inputs and outputs of `tensor` bytes, at least one, and
    /// at most one a call.
    pub fn new(tensor: u64, calls: u32) -> Rotation {
        let stride = tensor.next_multiple_of(ALIGN);
        let room = (ROTATION / 2 / stride).clamp(1, calls.into());
        Rotation { sets: room as u32, stride }
    }

    /// Bytes of all the inputs, and as many of all the outputs.
    pub fn bytes(self) -> u64 {
        u64::from(self.sets) * self.stride
    }

    /// Where the tensors of a call begin.
    pub fn offset(self, call: u32) -> u64 {
        u64::from(call % self.sets) * self.stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(op: Op, types: &str, extents: &str) -> Case {
        let rounding = Rounding::Single;
        Case { op, types: types.parse().unwrap(), extents: extents.parse().unwrap(), rounding }
    }

    #[test]
    fn bytes_are_x_read_once_and_y_written_once() {
        assert_eq!(case(Op::Rms, "f16", "32768x4096").bytes(), 4 * 32768 * 4096);
        assert_eq!(case(Op::Layer, "f16:f32:f32", "10x100").bytes(), 6 * 1000);
        assert_eq!(case(Op::RmsInPlace, "f32", "10x100").bytes(), 8 * 1000);
        assert_eq!(case(Op::Head, "bf16", "4x8x64").bytes(), 4 * 4 * 8 * 64);
    }

    #[test]
    fn a_residual_is_read_and_written_too() {
        assert_eq!(case(Op::AddRms, "f16", "10x100").bytes(), 8 * 1000);
        assert_eq!(case(Op::AddRmsTo, "f16", "10x100").bytes(), 8 * 1000);
        assert_eq!(case(Op::SandwichRms, "bf16", "10x100").bytes(), 8 * 1000);
        // 2 of x and y each, the residual of f32 read and written.
        assert_eq!(case(Op::AddRmsF32, "f16", "10x100").bytes(), (2 + 2 + 2 * 4) * 1000);
        // x read, r read and written: 2 bytes each; y written: 4.
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
        assert_eq!(rotation.sets, 200);
        assert_eq!(case(Op::AddRms, "f16", "32768x4096").rotation().sets, 1);
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
        assert_eq!((large.calls(), large.rotation().sets), (20, 2));
        assert_eq!(2 * large.rotation().bytes(), ROTATION);
        let small = case(Op::Rms, "f16", "1x4096");
        assert_eq!((small.calls(), small.rotation().sets), (200, 200));
        let largest = case(Op::Rms, "f16", "512x1048576");
        assert_eq!((largest.calls(), largest.rotation().sets), (20, 1));
        // 16 MiB exactly is not above it.
        assert_eq!(
            (case(Op::Rms, "f16", "2048x4096").calls(), case(Op::Rms, "f16", "2049x4096").calls()),
            (200, 20)
        );
    }

    #[test]
    fn places_in_a_rotation_are_aligned_and_apart() {
        let odd = case(Op::Rms, "f16", "3x1001").rotation();
        for call in 0..odd.sets {
            assert_eq!(odd.offset(call) % ALIGN, 0);
            assert!(odd.offset(call) + 3 * 1001 * 2 <= odd.bytes());
            assert_eq!(odd.offset(call), odd.offset(call + odd.sets));
        }
        assert!(odd.offset(1) >= 3 * 1001 * 2);
    }
}

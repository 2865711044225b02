//! The checks of arguments: any views of one piece of memory, given to any operation on the CPU.
//!
//! Whatever is let through is computed, under the sanitizer where libFuzzer runs it. It must then
//! have shared no memory that it must not, and have written nothing but its outputs; worked out here
//! by listing every byte.

use arbitrary::{Result, Unstructured};
use norm_host::{
    Cpu, DType, Error, NormKind, Place, Rounding, View, ViewMut, reference::Operation, rms_norm_partial,
};

/// Bytes that all tensors lie in.
const ARENA: usize = 2048;

/// A tensor somewhere in the arena.
#[derive(Clone, Debug)]
struct Tensor {
    dtype: DType,
    /// Of its first element.
    byte: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Tensor {
    fn any(u: &mut Unstructured<'_>) -> Result<Tensor> {
        let dtype = *u.choose(&DType::ALL)?;
        // Now and then where no element may start.
        let byte = u.int_in_range(0..=ARENA - 1)?;
        let byte = if u.ratio(15_u8, 16_u8)? { byte / dtype.size() * dtype.size() } else { byte };
        let rank = u.int_in_range(1..=4)?;
        let mut shape = Vec::new();
        for _ in 0..rank {
            shape.push(if u.ratio(1_u8, 32_u8)? { u.arbitrary()? } else { u.int_in_range(0..=9)? });
        }
        Tensor { dtype, byte, shape, strides: Vec::new() }.with_strides(u)
    }

    /// A tensor of this shape, as a caller would hand in beside this one, or this very one.
    fn beside(&self, u: &mut Unstructured<'_>) -> Result<Tensor> {
        match u.int_in_range(0..=7)? {
            0 => Tensor::any(u),
            1 => Ok(self.clone()),
            _ => Tensor { shape: self.shape.clone(), ..Tensor::any(u)? }.with_strides(u),
        }
    }

    /// Weights, biases or sums for it.
    fn of_last(&self, u: &mut Unstructured<'_>, axes: usize) -> Result<Tensor> {
        let from = self.shape.len().saturating_sub(axes);
        Tensor { shape: self.shape[from..].to_vec(), ..Tensor::any(u)? }.with_strides(u)
    }

    /// Row-major, or nearly so, or anything.
    fn with_strides(mut self, u: &mut Unstructured<'_>) -> Result<Tensor> {
        self.strides = vec![1];
        for axis in (1..self.shape.len()).rev() {
            let dense = self.strides[0].wrapping_mul(self.shape[axis]);
            let stride = match u.int_in_range(0..=15)? {
                0 => u.arbitrary()?,
                1 => u.int_in_range(0..=40)?,
                2..=4 => dense.wrapping_add(u.int_in_range(0..=3)?),
                _ => dense,
            };
            self.strides.insert(0, stride);
        }
        if u.ratio(1_u8, 32_u8)? {
            *self.strides.last_mut().expect("a rank of at least 1") = u.int_in_range(0..=2)?;
        }
        Ok(self)
    }

    /// Whether the arena holds all of it.
    fn fits(&self) -> bool {
        if self.shape.contains(&0) {
            return true;
        }
        let axes = self.shape.iter().zip(&self.strides);
        let reach = axes.map(|(&extent, &stride)| (extent as u128 - 1).saturating_mul(stride as u128));
        let last = reach.fold(0_u128, u128::saturating_add);
        (last.saturating_add(1)).saturating_mul(self.dtype.size() as u128) <= (ARENA - self.byte) as u128
    }

    /// Where each element starts, in the order of indices.
    fn elements(&self) -> Vec<usize> {
        // Other extents may be such that no number holds their product.
        let count = if self.shape.contains(&0) { 0 } else { self.shape.iter().product() };
        let place = |mut index: usize| {
            let mut at = 0;
            for (extent, stride) in self.shape.iter().zip(&self.strides).rev() {
                at += index % extent * stride;
                index /= extent;
            }
            self.byte + at * self.dtype.size()
        };
        (0..count).map(place).collect()
    }

    /// How many elements have each byte of the arena.
    fn bytes(&self) -> Vec<u32> {
        let mut owners = vec![0; ARENA];
        for start in self.elements() {
            owners[start..start + self.dtype.size()].iter_mut().for_each(|owners| *owners += 1);
        }
        owners
    }

    fn view(&self, base: u64) -> norm_host::Result<View<'static>> {
        assert!(self.fits());
        let address = base + self.byte as u64;
        // SAFETY: the tensor fits in the arena, as asserted; all bits are valid numbers, and the arena outlives the
        // view.
        unsafe { View::from_raw_parts(Place::Host, address, self.dtype, &self.shape) }?
            .with_strides(&self.strides)
    }

    fn view_mut(&self, base: u64) -> norm_host::Result<ViewMut<'static>> {
        assert!(self.fits());
        let address = base + self.byte as u64;
        // SAFETY: the tensor fits in the arena, as asserted; all bits are valid numbers, and the arena outlives the
        // view. Whether it may overlap with another tensor is for the operation to check, which is what this target tests.
        unsafe { ViewMut::from_raw_parts(Place::Host, address, self.dtype, &self.shape) }?
            .with_strides(&self.strides)
    }
}

/// Which operation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Rows,
    Heads,
    AddThenNorm,
    NormThenAdd,
    Partial,
    Apply,
}

const OPS: [Op; 6] = [Op::Rows, Op::Heads, Op::AddThenNorm, Op::NormThenAdd, Op::Partial, Op::Apply];

/// One case.
pub fn run(data: &[u8]) {
    // Too few bytes make no case.
    let _ = case(&mut Unstructured::new(data));
}

fn case(u: &mut Unstructured<'_>) -> Result<()> {
    let op = *u.choose(&OPS)?;
    let x = Tensor::any(u)?;
    let y = x.beside(u)?;
    let param = |u: &mut Unstructured<'_>| {
        let axes = if op == Op::Heads { u.int_in_range(1..=2)? } else { 1 };
        x.of_last(u, axes)
    };
    let w = if u.arbitrary()? { Some(param(u)?) } else { None };
    let b = if u.ratio(1_u8, 4_u8)? { Some(param(u)?) } else { None };
    let r = if op == Op::AddThenNorm { Some(x.beside(u)?) } else { None };
    let rows = x.shape[..x.shape.len() - 1].iter().fold(1_usize, |rows, extent| rows.wrapping_mul(*extent));
    let sums = Tensor { dtype: DType::F32, shape: vec![rows], strides: vec![1], ..Tensor::any(u)? };
    let sums = matches!(op, Op::Partial | Op::Apply).then_some(sums);
    let (eps, offset): (f32, f32) = (u.arbitrary()?, u.arbitrary()?);
    // Without weights any other offset is refused.
    let offset = if w.is_some() || u.ratio(1_u8, 8_u8)? { offset } else { 0.0 };
    let dim: usize = if u.arbitrary()? { u.arbitrary()? } else { u.int_in_range(0..=40)? };
    // Of rows that are split there is RMSNorm alone.
    let kind = if op == Op::Apply { NormKind::Rms } else { *u.choose(&NormKind::ALL)? };
    let (rounding, round_offset): (Rounding, bool) = (*u.choose(&Rounding::ALL)?, u.ratio(1_u8, 4_u8)?);

    let mut arena = vec![0_u64; ARENA / 8];
    u.fill_buffer(bytemuck::cast_slice_mut(&mut arena))?;
    let all = [Some(&x), Some(&y), w.as_ref(), b.as_ref(), r.as_ref(), sums.as_ref()];
    for tensor in all.into_iter().flatten() {
        bounds(tensor, bytemuck::cast_slice(&arena));
    }
    // A view must not reach past the arena: no operation could know that the memory there is not the tensor's.
    if !all.into_iter().flatten().all(Tensor::fits) {
        return Ok(());
    }

    let before: Vec<u8> = bytemuck::cast_slice(&arena).to_vec();
    let base = arena.as_mut_ptr().expose_provenance() as u64;
    let work = || -> norm_host::Result<()> {
        let view = |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| tensor.view(base)).transpose();
        let operation = Operation {
            kind,
            x: x.dtype,
            w: w.as_ref().map(|w| w.dtype),
            y: y.dtype,
            eps,
            weight_offset: offset,
            round_offset,
            rounding,
            addition: None,
        };
        let norm = operation.norm().weight(view(&w)?).bias(view(&b)?);
        let (input, output) = (x.view(base)?, &mut y.view_mut(base)?);
        match (op, &r, &sums) {
            (Op::Heads, ..) => norm.heads(input, output, &Cpu),
            (Op::NormThenAdd, ..) => norm.norm_then_add(input, output, &Cpu),
            (_, Some(r), _) => norm.add_then_norm(input, &mut r.view_mut(base)?, output, &Cpu),
            (Op::Partial, _, Some(sums)) => rms_norm_partial(input, &mut sums.view_mut(base)?, &Cpu),
            (_, _, Some(sums)) => norm.rows_apply(input, sums.view(base)?, output, dim, &Cpu),
            _ => norm.rows(input, output, &Cpu),
        }
    };
    let outcome = work();
    let after: &[u8] = bytemuck::cast_slice(&arena);
    match outcome {
        Err(error) => {
            // A message is made of any values.
            assert!(!error.to_string().is_empty());
            assert_eq!(before, after, "{op:?} was refused ({error}), and has written");
        }
        Ok(()) => {
            let [w, b] = if op == Op::Partial { [None, None] } else { [w.as_ref(), b.as_ref()] };
            let mut written = match op {
                Op::Partial => vec![sums.as_ref().expect("it has sums")],
                _ => vec![&y],
            };
            written.extend(r.as_ref());
            let sums_read = sums.as_ref().filter(|_| op == Op::Apply);
            let read: Vec<&Tensor> = [w, b, sums_read].into_iter().flatten().collect();
            apart(&x, &written, &read);
            let owners: Vec<_> = written.iter().map(|tensor| tensor.bytes()).collect();
            for byte in 0..ARENA {
                let ours = owners.iter().any(|owners| owners[byte] > 0);
                assert!(ours || before[byte] == after[byte], "byte {byte} is no output's");
            }
        }
    }
    Ok(())
}

/// What is written is no element twice, and shares nothing with what is read, but `y` may be `x`.
fn apart(x: &Tensor, written: &[&Tensor], read: &[&Tensor]) {
    if x.shape.contains(&0) {
        return;
    }
    for (index, tensor) in written.iter().enumerate() {
        let bytes = tensor.bytes();
        assert!(bytes.iter().all(|&owners| owners <= 1), "{tensor:?} is written twice");
        let shares = |other: &Tensor| other.bytes().iter().zip(&bytes).any(|(&a, &b)| a > 0 && b > 0);
        let is_x = tensor.elements() == x.elements() && tensor.dtype == x.dtype;
        assert!(is_x || !shares(x), "{x:?} is read while {tensor:?} is written");
        assert!(!read.iter().any(|read| shares(read)), "{read:?} are read while {tensor:?} is written");
        let others = written.iter().enumerate().filter(|(other, _)| *other != index);
        for (_, other) in others {
            assert!(!shares(other), "{tensor:?} and {other:?} are written");
        }
    }
}

/// Safe views end where their slice does.
fn bounds(tensor: &Tensor, arena: &[u8]) {
    let extents = tensor.shape.iter().map(|&extent| extent.max(1) as u128);
    let countable = extents.fold(1, u128::saturating_mul) <= u128::from(u64::MAX);
    macro_rules! view {
        ($element:ty) => {{
            // From where an element may start.
            let from = tensor.byte.next_multiple_of(size_of::<$element>()).min(arena.len());
            let slice: &[$element] = bytemuck::cast_slice(&arena[from..]);
            let (fits, view) = (
                Tensor { byte: from, ..tensor.clone() }.fits(),
                View::from_slice_strided(slice, &tensor.shape, &tensor.strides),
            );
            match view {
                Ok(_) => assert!(fits, "{tensor:?} is past its slice"),
                Err(Error::OutOfBounds { .. }) => assert!(!fits, "{tensor:?}"),
                Err(Error::TooManyElements { .. }) => assert!(!fits || !countable, "{tensor:?}"),
                Err(error) => panic!("{tensor:?}: {error}"),
            }
        }};
    }
    match tensor.dtype {
        DType::F16 => view!(half::f16),
        DType::BF16 => view!(half::bf16),
        DType::F32 => view!(f32),
    }
}

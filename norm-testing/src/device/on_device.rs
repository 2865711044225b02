//! A case with its tensors on a device.

use libtest_mimic::Failed;
use norm_host::{Device, Result as NormResult, Stream, View, ViewMut};

use super::memory::Memory;
use crate::{
    buffer::Buffer,
    case::{Case, Residual, Tensors, UNTOUCHED},
};

/// Elements by which tensors are moved off an address that suits vectors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shifts {
    pub x: usize,
    pub w: usize,
    pub b: usize,
    pub y: usize,
    pub r: usize,
    pub s: usize,
}

impl Shifts {
    pub const NONE: Shifts = Shifts { x: 0, w: 0, b: 0, y: 0, r: 0, s: 0 };
    pub const ALL: Shifts = Shifts { x: 1, w: 1, b: 1, y: 1, r: 1, s: 1 };
}

/// A case's tensors in device memory.
pub struct OnDevice {
    pub case: Case,
    pub x: Memory,
    pub w: Option<Memory>,
    pub b: Option<Memory>,
    pub y: Memory,
    pub r: Option<Memory>,
    pub s: Option<Memory>,
    pub scale: Option<Memory>,
}

/// Views of everything an operation takes.
pub struct Views<'a> {
    pub x: View<'a>,
    pub w: Option<View<'a>>,
    pub b: Option<View<'a>>,
    pub y: ViewMut<'a>,
    /// The residual in front of the norm, or one behind it of its own, where the case has one.
    pub r: Option<ViewMut<'a>>,
    /// The sum in front of the norm, where it has a tensor of its own.
    pub s: Option<ViewMut<'a>>,
    /// What the sum is multiplied by, where that is in memory.
    pub scale: Option<View<'a>>,
}

impl OnDevice {
    pub fn upload(device: Device, case: &Case, tensors: &Tensors, by: Shifts) -> Result<OnDevice, Failed> {
        let param = |p: &Option<Buffer>, by| p.as_ref().map(|p| Memory::upload(device, p, by)).transpose();
        Ok(OnDevice {
            case: case.clone(),
            x: Memory::upload(device, &tensors.x, by.x)?,
            w: param(&tensors.w, by.w)?,
            b: param(&tensors.b, by.b)?,
            y: Memory::upload(device, &tensors.y, by.y)?,
            r: param(&tensors.r, by.r)?,
            s: param(&tensors.s, by.s)?,
            scale: param(&tensors.scale, 0)?,
        })
    }

    pub fn views(&mut self) -> Views<'_> {
        let OnDevice { case, x, w, b, y, r, s, scale } = self;
        Views {
            x: x.view(&case.shape(), &case.x_strides()),
            w: param(case, w, case.shared[0]),
            b: param(case, b, case.shared[1]),
            y: y.view_mut(&case.shape(), &case.y_strides()),
            r: r.as_mut().map(|r| r.view_mut(&case.shape(), &case.r_strides())),
            s: s.as_mut().map(|s| s.view_mut(&case.shape(), &case.s_strides())),
            scale: scale.as_ref().map(|scale| scale.view(&[1], &[1])),
        }
    }

    /// Puts what the operation has written into the case's tensors, and a residual that it has only read.
    pub fn download(&self, tensors: &mut Tensors) -> Result<(), Failed> {
        let optional = |memory: &Option<Memory>| memory.as_ref().map(|memory| memory.download()).transpose();
        tensors.y = self.y.download()?;
        (tensors.r, tensors.s) = (optional(&self.r)?, optional(&self.s)?);
        Ok(())
    }

    /// Enqueues the operation, from `x` to `y`.
    pub fn enqueue(&mut self, on: &Stream) -> NormResult<()> {
        let case = self.case.clone();
        let Views { x, w, b, mut y, r, s, scale } = self.views();
        let norm = case.described().weight(w).bias(b).sum_scale(case.sum_scale(scale));
        match (case.residual, r, s) {
            (Residual::Before, Some(r), Some(mut s)) => {
                norm.add_then_norm_to(x, r.as_view(), &mut s, &mut y, on)
            }
            (Residual::Before, Some(mut r), None) => norm.add_then_norm(x, &mut r, &mut y, on),
            (Residual::Behind, Some(r), _) => norm.norm_then_add_to(x, r.as_view(), &mut y, on),
            (Residual::Behind, None, _) => norm.norm_then_add(x, &mut y, on),
            _ if case.heads => norm.heads(x, &mut y, on),
            _ => norm.rows(x, &mut y, on),
        }
    }

    /// Enqueues `x = norm(x)`, or with a residual in front `r += x; x = norm(r)`.
    pub fn enqueue_in_place(&mut self, on: &Stream) -> NormResult<()> {
        let OnDevice { case, x, w, b, r, scale, .. } = self;
        let norm = case
            .described()
            .weight(param(case, w, case.shared[0]))
            .bias(param(case, b, case.shared[1]))
            .sum_scale(case.sum_scale(scale.as_ref().map(|scale| scale.view(&[1], &[1]))));
        let mut x = x.view_mut(&case.shape(), &case.x_strides());
        match r {
            Some(r) => {
                norm.add_then_norm_in_place(&mut x, &mut r.view_mut(&case.shape(), &case.r_strides()), on)
            }
            None if case.heads => norm.heads_in_place(&mut x, on),
            None => norm.rows_in_place(&mut x, on),
        }
    }
}

/// A view of weights or biases.
fn param<'a>(case: &Case, memory: &'a Option<Memory>, shared: bool) -> Option<View<'a>> {
    let (shape, strides) = case.param_layout(shared);
    memory.as_ref().map(|memory| memory.view(&shape, &strides))
}

/// Runs the operation on a stream of its own and gives the case's tensors with the device's `y`, and
/// its residual where there is one.
///
/// # Errors
/// What goes wrong; and if `x`, `w`, `b` or memory around any tensor has changed.
pub fn normalize(device: Device, case: &Case, by: Shifts) -> Result<Tensors, Failed> {
    let mut tensors = case.tensors();
    let stream = Stream::new(&device)?;
    let mut on_device = OnDevice::upload(device, case, &tensors, by)?;
    on_device.enqueue(&stream)?;
    stream.synchronize()?;
    let download = |memory: &Memory, name: &str| {
        let named = |error: Failed| format!("{case:?}: {name}: {}", error.message().unwrap_or_default());
        memory.download().map_err(named)
    };
    tensors.y = download(&on_device.y, "y")?;
    tensors.r = on_device.r.as_ref().map(|r| download(r, "r")).transpose()?;
    tensors.s = on_device.s.as_ref().map(|s| download(s, "sum")).transpose()?;
    let OnDevice { x, w, b, scale, .. } = on_device;
    let inputs = [
        ("x", Some(&x), Some(&tensors.x)),
        ("w", w.as_ref(), tensors.w.as_ref()),
        ("b", b.as_ref(), tensors.b.as_ref()),
        ("sum_scale", scale.as_ref(), tensors.scale.as_ref()),
    ];
    for (name, memory, before) in inputs {
        if let (Some(memory), Some(before)) = (memory, before)
            && download(memory, name)?.bits() != before.bits()
        {
            return Err(format!("{case:?}: {name} has changed").into());
        }
    }
    Ok(tensors)
}

/// The bits of each row of `y` (or of an `x` with `strides` its own), gaps left out.
pub fn row_bits(case: &Case, buffer: &Buffer, strides: &[usize]) -> Vec<Vec<u32>> {
    let bits = buffer.bits();
    (0..case.rows()).map(|row| bits[case.start(row, strides)..][..case.dim].to_vec()).collect()
}

/// The bits of each row of `y` that [`normalize`] gives, and then of each of the residual and of the sum.
pub fn normalized_bits(device: Device, case: &Case, by: Shifts) -> Result<Vec<Vec<u32>>, Failed> {
    let tensors = normalize(device, case, by)?;
    let mut bits = row_bits(case, &tensors.y, &case.y_strides());
    bits.extend(residual_bits(case, tensors.r.as_ref()));
    bits.extend(tensors.s.as_ref().map_or(Vec::new(), |s| row_bits(case, s, &case.s_strides())));
    Ok(bits)
}

/// The bits of each row of the residual, if there is one.
pub fn residual_bits(case: &Case, r: Option<&Buffer>) -> Vec<Vec<u32>> {
    r.map_or(Vec::new(), |r| row_bits(case, r, &case.r_strides()))
}

/// Runs the case and holds every row to the promise, and memory between rows to what it was.
pub fn keeps_the_promise(device: Device, case: &Case) -> Result<(), Failed> {
    let tensors = normalize(device, case, Shifts::NONE)?;
    judge(case, &tensors)
}

/// Holds every row of `y` to the promise, every row of the residual or the sum to the rounded sums, and memory
/// between rows to what it was.
pub fn judge(case: &Case, tensors: &Tensors) -> Result<(), Failed> {
    let before = case.tensors();
    for row in 0..case.rows() {
        if let Some(element) = case.wrong_residual(&before, tensors, row) {
            return Err(format!("{case:?}: row {row}: element {element} of the residual is wrong").into());
        }
        let judged = case.judge(&before, tensors, row);
        // With an `eps` that is not tiny there is a promise for every input.
        if !(judged.promised && judged.is_kept()) {
            return Err(format!("{case:?}: row {row}: {judged:?}").into());
        }
    }
    gaps_untouched(case, "y", &tensors.y, &case.y_strides())?;
    tensors.r.as_ref().map_or(Ok(()), |r| gaps_untouched(case, "r", r, &case.r_strides()))?;
    tensors.s.as_ref().map_or(Ok(()), |s| gaps_untouched(case, "sum", s, &case.s_strides()))
}

fn gaps_untouched(case: &Case, name: &str, buffer: &Buffer, strides: &[usize]) -> Result<(), Failed> {
    let mut end = 0;
    for row in 0..case.rows() {
        let start = case.start(row, strides);
        if let Some(gap) = (end..start).find(|&index| buffer.get(index) != UNTOUCHED) {
            return Err(format!("{case:?}: element {gap}, between rows of {name}, was written").into());
        }
        end = start + case.dim;
    }
    Ok(())
}

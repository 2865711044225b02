//! Copies the host's tensors into the simulator's memory, at the addresses that they have on the host.
//!
//! Only the elements of rows, weights and biases are copied, so that a kernel which accesses the bytes between rows is
//! caught.

use std::ops::Range;

use ptx_sim::{Memory, MemoryError};

use crate::DType;
use crate::problem::{
    GatedProblem, Heads, HeadsOperand, Operand, Param, Problem, QkRopeProblem, QuantScales, QuantizedProblem,
    Residual, ResidualPlace, Rotation, SandwichProblem, ShardProblem, ShardStep, Table,
};

/// A contiguous range of a tensor's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u64,
    end: u64,
    name: &'static str,
    /// The address of the tensor's first element, and the bytes of an element, for messages.
    first: u64,
    element: u32,
    /// Whether the bytes are initialized before the operation, and whether the operation writes them.
    read: bool,
    written: bool,
}

impl Span {
    /// Its addresses.
    pub fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// The same bytes, of which not all need be written.
    pub fn partly_written(self) -> Span {
        Span { read: true, ..self }
    }
}

/// The memory that an operation accesses, by address. Spans that overlap or adjoin are merged.
pub fn spans(problem: &Problem) -> Vec<Span> {
    merged(rows(problem, true))
}

/// The memory that two norms with a residual between them access in one launch. The second norm has its input in
/// registers, so that the sum is only written.
pub fn sandwich_spans(problem: &SandwichProblem) -> Vec<Span> {
    let SandwichProblem { first, second, .. } = problem;
    let of_first = rows(first, true).into_iter().filter(|span| span.name != "y");
    let of_second = rows(second, true).into_iter().map(|span| match span.name {
        "x" => Span { read: false, written: true, name: "sum", ..span },
        "w" => Span { name: "next_w", ..span },
        _ => span,
    });
    merged(of_first.chain(of_second).collect())
}

/// The memory that a gated norm accesses.
pub fn gated_spans(problem: &GatedProblem) -> Vec<Span> {
    let named = |span: Span| if span.name == "r" { Span { name: "g", ..span } } else { span };
    merged(rows(&problem.with_gate_as_residual(), true).into_iter().map(named).collect())
}

/// The memory that a norm accesses whose output is quantized.
pub fn quantized_spans(problem: &QuantizedProblem) -> Vec<Span> {
    let QuantizedProblem { norm, scales, normed, .. } = problem;
    // The codes' elements are not those of `y`.
    let mut spans: Vec<Span> = rows(norm, false);
    let dim = u64::from(norm.dim);
    let mut add = |tensor: (u64, u64, &'static str), (offset, count): (u64, u64), written: bool| {
        let (first, element, name) = tensor;
        let start = first + offset * element;
        let end = start + count * element;
        let element = element as u32;
        spans.push(Span { start, end, name, first, element, read: !written, written });
    };
    for row in 0..norm.rows {
        let mut place = (row, 0);
        for axis in norm.axes.iter().rev() {
            let extent = axis.extent.max(1);
            place = (place.0 / extent, place.1 + place.0 % extent * axis.y_stride);
        }
        add((norm.y.address, 1, "y"), (place.1, dim), true);
        if let Some(normed) = normed {
            let size = norm.x.dtype.size() as u64;
            add((normed.address, size, "normed"), (row * normed.stride, dim), true);
        }
        match *scales {
            QuantScales::Tensor { .. } => {}
            QuantScales::Token { rows, .. } => add((rows.address, 4, "scales"), (row * rows.stride, 1), true),
            QuantScales::Block { rows, stride, block, .. } => {
                for number in 0..dim / u64::from(block) {
                    add((rows.address, 4, "scales"), (row * rows.stride + number * stride, 1), true);
                }
            }
        }
    }
    match *scales {
        QuantScales::Tensor { at } => add((at, 4, "scale"), (0, 1), false),
        QuantScales::Token { limits, .. } | QuantScales::Block { limits, .. } => {
            if let Some(at) = limits.bound_at {
                add((at, 4, "bound"), (0, 1), false);
            }
        }
    }
    merged(spans)
}

/// The memory that a step of a norm accesses whose rows are split over devices.
pub fn shard_spans(problem: &ShardProblem) -> Vec<Span> {
    let ShardProblem { step, part, sums, .. } = problem;
    let written = *step == ShardStep::Partial;
    let mut spans = rows(part, !written);
    let end = sums + part.rows * size_of::<f32>() as u64;
    let (first, element) = (*sums, size_of::<f32>() as u32);
    spans.push(Span { start: *sums, end, name: "sums", first, element, read: !written, written });
    merged(spans)
}

/// The memory that the calls of a group access, on all its ranks.
pub fn group_spans<'a>(problems: impl Iterator<Item = &'a Problem>) -> Vec<Span> {
    merged(problems.flat_map(|problem| rows(problem, true)).collect())
}

/// The memory of heads, their weights, and the rows of the tables that positions lead to.
pub fn qk_rope_spans(problem: &QkRopeProblem) -> Vec<Span> {
    const NAMES: [[&str; 3]; 3] =
        [["q", "q_out", "q_weight"], ["k", "k_out", "k_weight"], ["v", "v_out", "v_weight"]];
    let QkRopeProblem { dtype, tokens, head_dim, rotation, .. } = *problem;
    let mut spans = Vec::new();
    let mut add = |first: u64, dtype: DType, start: u64, count: u64, name: &'static str, written: bool| {
        let size = dtype.size() as u64;
        let (start, element) = (first + start * size, size as u32);
        let end = start + count * size;
        push(&mut spans, Span { start, end, name, first, element, read: !written, written });
    };
    for ((part, _), [x_name, y_name, w_name]) in
        problem.parts().into_iter().zip(NAMES).filter_map(|(part, names)| Some((part?, names)))
    {
        let Heads { heads, x, y, norm } = part;
        for (token, head) in (0..tokens).flat_map(|token| (0..heads).map(move |head| (token, head))) {
            let at = |HeadsOperand { token_stride, head_stride, .. }: HeadsOperand| {
                token * token_stride + head * head_stride
            };
            add(x.address, dtype, at(x), head_dim.into(), x_name, false);
            add(y.address, dtype, at(y), head_dim.into(), y_name, true);
        }
        if let Some(Param { address, dtype, stride }) = norm.and_then(|norm| norm.w) {
            for head in 0..if stride == 0 { 1 } else { heads } {
                add(address, dtype, head * stride, head_dim.into(), w_name, false);
            }
        }
    }
    if let Some(Rotation { cos, sin, dtype, rows, half, positions, position_bytes, .. }) = rotation {
        for (Table { address, stride }, name) in [(cos, "cos"), (sin, "sin")] {
            for row in 0..u64::from(rows) {
                add(address, dtype, row * stride, half.into(), name, false);
            }
        }
        let words = tokens * u64::from(position_bytes / 4);
        add(positions, DType::F32, 0, words, "positions", false);
    }
    merged(spans)
}

/// The rows, their parameters and, if `outputs`, the rows of `y`.
fn rows(problem: &Problem, outputs: bool) -> Vec<Span> {
    let mut spans = Vec::new();
    for row in 0..problem.rows {
        let [mut x, mut y, mut r, mut s] = [0; 4];
        let mut rest = row;
        for axis in problem.axes.iter().rev() {
            let position = rest % axis.extent.max(1);
            rest /= axis.extent.max(1);
            x += position * axis.x_stride;
            y += position * axis.y_stride;
            r += position * axis.r_stride;
            s += position * axis.s_stride;
        }
        let mut add = |tensor: Operand, offset: u64, name: &'static str, read: bool, written: bool| {
            let size = tensor.dtype.size() as u64;
            let start = tensor.address + offset * size;
            let end = start + u64::from(problem.dim) * size;
            let (first, element) = (tensor.address, size as u32);
            push(&mut spans, Span { start, end, name, first, element, read, written });
        };
        add(problem.x, x, "x", true, false);
        if outputs {
            add(problem.y, y, "y", false, true);
        }
        if let Some(residual) = problem.residual {
            add(residual.r, r, "r", true, false);
            if residual.place == ResidualPlace::InFront {
                add(residual.sum, s, "sum", false, true);
            }
        }
    }
    for (param, name) in [(problem.w, "w"), (problem.b, "b")] {
        let Some(Param { address, dtype, stride }) = param else { continue };
        let rows = if stride == 0 { 1 } else { problem.axes[2].extent };
        for row in 0..rows {
            let start = address + row * stride * dtype.size() as u64;
            let end = start + u64::from(problem.dim) * dtype.size() as u64;
            let (first, element) = (address, dtype.size() as u32);
            push(&mut spans, Span { start, end, name, first, element, read: true, written: false });
        }
    }
    spans.extend(scale(problem));
    spans
}

/// The factor in memory, if there is one.
fn scale(problem: &Problem) -> Option<Span> {
    let Residual { scales, .. } = problem.residual?;
    let start = scales.sum_at?;
    let element = size_of::<f32>() as u32;
    let end = start + u64::from(element);
    Some(Span { start, end, name: "sum_scale", first: start, element, read: true, written: false })
}

/// The spans by address, merged where they overlap.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            // Tensors that share memory (in place, or weights that are also biases) are one allocation; tensors that
            // happen to adjoin are not.
            Some(last) if span.start < last.end || span.start == last.end && is_like(last, &span) => {
                last.end = last.end.max(span.end);
                last.read |= span.read;
                last.written |= span.written;
            }
            _ => merged.push(span),
        }
    }
    merged
}

fn is_like(a: &Span, b: &Span) -> bool {
    a.name == b.name && a.written == b.written
}

/// Adds a span, or extends the one that it continues.
fn push(spans: &mut Vec<Span>, span: Span) {
    // The rows of x, y, r and the sum alternate, so that the span to extend is among the last four.
    let at = spans.len().saturating_sub(4);
    let before = spans[at..].iter_mut().find(|before| before.end == span.start && is_like(before, &span));
    match before {
        Some(before) => before.end = span.end,
        None => spans.push(span),
    }
}

/// Copies the host's bytes into the simulator's memory. A span that is only written is uninitialized there.
///
/// # Safety
///
/// The memory of the spans that are read may be read, and nothing writes it in the meantime.
pub unsafe fn upload(spans: &[Span], memory: &mut Memory) -> Result<(), MemoryError> {
    for &Span { start, end, name, first, element, read, .. } in spans {
        let pointer = std::ptr::with_exposed_provenance::<u8>(start as usize);
        // SAFETY: the caller guarantees that these bytes may be read, and that nothing writes them while this borrows them.
        let contents = read.then(|| unsafe { std::slice::from_raw_parts(pointer, (end - start) as usize) });
        memory.place(start, name, end - start, contents, !read)?;
        memory.set_elements(start, first, element)?;
    }
    Ok(())
}

/// Copies the bytes that the operation wrote back to the host.
///
/// # Safety
///
/// The memory of the spans that are written may be written, and nothing else uses it in the meantime.
pub unsafe fn download(spans: &[Span], memory: &Memory) -> Result<(), MemoryError> {
    for &Span { start, end, written, .. } in spans {
        if written {
            let bytes = memory.read(start, end - start)?;
            let pointer = std::ptr::with_exposed_provenance_mut::<u8>(start as usize);
            // SAFETY: the caller guarantees that these bytes may be written; `bytes` is a separate copy.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer, bytes.len()) };
        }
    }
    Ok(())
}

"""Norms whose output is quantized, by others: what `peers.py` times on lines of `norm bench rms_fp8_token …`.

A scale is given for the tensor ("fp8-static"), or is the largest magnitude of a row or of 128 elements over 448 or 127. Scales
have memory of their own, which rotates as outputs do. `triton` does it in one pass, `unfused` in two: Triton's norm into a
16-bit tensor, and Triton's quantization of that.
"""

import itertools

import torch
import torch.nn.functional as F

try:
    import triton
    import triton.language as tl
    from triton.language.extra import libdevice
except ImportError:
    triton = None

LARGEST = {"fp8": 448.0, "int8": 127.0}
GIVEN = 0.0125


class Form:
    """A form of quantization, by the name that stands behind the colon of an operation."""

    def __init__(self, name):
        self.format, self.sharing = name.split("-")
        self.largest = LARGEST[self.format]
        self.is_static, self.block = self.sharing == "static", 128 if self.sharing == "block128" else 0

    def groups(self, dim):
        return 1 if not self.block else dim // self.block

    def scales(self, case):
        """Scales of all outputs in turn, without end: (rows, groups) each, or the one that is given."""
        rows = 1 if self.is_static else case.elements // case.dim
        sets = torch.full((case.sets, rows, self.groups(case.dim)), GIVEN, device="cuda")
        return itertools.cycle(sets.unbind())

    def error(self, codes, scales, row, expected):
        """The largest error of a row's codes, in parts of what is allowed: half a step, and a hundredth of one."""
        each = scales[0 if self.is_static else row].repeat_interleave(expected.numel() // scales.shape[-1])
        quotient = (expected / each).clamp(-self.largest, self.largest)
        step = torch.ones_like(quotient)
        if self.format == "fp8":
            step = torch.exp2(torch.floor(torch.log2(quotient.abs().clamp(min=2.0**-6))) - 3)
        error = (codes.float() - quotient).abs() / (0.51 * step)
        return error.max().item() if torch.isfinite(error).all() else float("inf")


if triton is not None:

    @triton.jit
    def store_codes(n, y, scales, row, dim, column, mask, LARGEST, GROUP: tl.constexpr, INT8: tl.constexpr, BLOCK: tl.constexpr):
        if GROUP == 0:
            quotient = n * (1 / tl.load(scales))
        elif GROUP == 1:
            scale = tl.maximum(tl.max(tl.abs(n)) / LARGEST, 1e-12)
            tl.store(scales + row, scale)
            quotient = n * (1 / scale)
        else:
            groups: tl.constexpr = BLOCK // GROUP
            blocks = tl.reshape(n, (groups, GROUP))
            scale = tl.maximum(tl.max(tl.abs(blocks), axis=1) / LARGEST, 1e-12)
            group = tl.arange(0, groups)
            tl.store(scales + row * (dim // GROUP) + group, scale, mask=group < dim // GROUP)
            quotient = tl.reshape(blocks * (1 / scale)[:, None], (BLOCK,))
        if GROUP == 0:
            quotient = tl.minimum(tl.maximum(quotient, -LARGEST), LARGEST)
        if INT8:
            tl.store(y + row * dim + column, libdevice.rint(quotient).to(tl.int8), mask=mask)
        else:
            tl.store(y + row * dim + column, quotient.to(tl.float8e4nv), mask=mask)

    @triton.jit
    def one_pass(
        x, w, b, y, r, scales, dim, eps, LARGEST,
        LAYER: tl.constexpr, RESIDUAL: tl.constexpr, GROUP: tl.constexpr, INT8: tl.constexpr, BLOCK: tl.constexpr,
    ):
        row = tl.program_id(0).to(tl.int64)
        column = tl.arange(0, BLOCK)
        mask = column < dim
        at = row * dim + column
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        if RESIDUAL:
            total = (value + tl.load(r + at, mask=mask, other=0.0).to(tl.float32)).to(r.dtype.element_ty)
            tl.store(r + at, total, mask=mask)
            value = total.to(tl.float32)
        weight = tl.load(w + column, mask=mask, other=0.0).to(tl.float32)
        if LAYER:
            value = tl.where(mask, value - tl.sum(value) / dim, 0.0)
        n = value * tl.rsqrt(tl.sum(value * value) / dim + eps) * weight
        if LAYER:
            n += tl.load(b + column, mask=mask, other=0.0).to(tl.float32)
        store_codes(n, y, scales, row, dim, column, mask, LARGEST, GROUP, INT8, BLOCK)

    @triton.jit
    def quantize(x, y, scales, dim, LARGEST, GROUP: tl.constexpr, INT8: tl.constexpr, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        column = tl.arange(0, BLOCK)
        mask = column < dim
        n = tl.load(x + row * dim + column, mask=mask, other=0.0).to(tl.float32)
        store_codes(n, y, scales, row, dim, column, mask, LARGEST, GROUP, INT8, BLOCK)


def group_of(form):
    """As the kernels know it: 0 for a scale that is given, 1 for one a row, else elements of a block."""
    return 0 if form.is_static else form.block or 1


def warps_of(dim):
    """Numbers of warps to try: 2 to 64 elements a thread."""
    return [warps for warps in (1, 2, 4, 8, 16, 32) if 2 <= dim / (32 * warps) <= 64]


def triton_one_pass(case, w, b, fastest, eps):
    form, block, rows = case.quantized, triton.next_power_of_2(case.dim), case.elements // case.dim
    scales = form.scales(case)

    def with_settings(warps):
        def run(x, y, r, s):
            run.scales = next(scales)
            one_pass[(rows,)](
                x, w, b, y, x if r is None else r, run.scales, case.dim, eps, form.largest,
                case.layer, case.residual, group_of(form), form.format == "int8", block, num_warps=warps,
            )
            return y

        return run

    (warps,) = fastest(case, [(warps,) for warps in warps_of(case.dim)], with_settings)
    return with_settings(warps), f"{warps} warps"


def pair(case, norm, fastest):
    """A norm, then a quantization of what it wrote; the sum with a residual by PyTorch in front."""
    form, block, rows = case.quantized, triton.next_power_of_2(case.dim), case.elements // case.dim
    scales = form.scales(case)
    middles = itertools.cycle(torch.empty((case.sets, *case.shape), dtype=case.x, device="cuda").unbind())

    def with_settings(warps):
        def run(x, y, r, s):
            run.scales, middle = next(scales), next(middles)
            if case.residual:
                x = r.add_(x)
            norm(x, middle, None, None)
            quantize[(rows,)](
                middle, y, run.scales, case.dim, form.largest, group_of(form), form.format == "int8", block,
                num_warps=warps,
            )
            return y

        return run

    (warps,) = fastest(case, [(warps,) for warps in warps_of(case.dim)], with_settings)
    return with_settings(warps), f"{'an addition, ' if case.residual else ''}a norm and a quantization, {warps} warps"


def torch_compiled(case, w, b, eps):
    form, dim = case.quantized, (case.dim,)
    scales = form.scales(case)

    @torch.compile(dynamic=False)
    def into(x, y, r, scale):
        if case.residual:
            x = r.add_(x)
        wide = x.float()
        n = F.layer_norm(wide, dim, w.float(), b.float(), eps) if case.layer else F.rms_norm(wide, dim, w.float(), eps)
        if form.is_static:
            quotient = n * (1 / scale.view(()))
        else:
            n = n.unflatten(-1, (form.groups(case.dim), -1))
            found = (n.abs().amax(-1) / form.largest).clamp(min=1e-12)
            scale.copy_(found)
            quotient = (n * (1 / found)[..., None]).flatten(-2)
        if form.format == "int8":
            quotient = quotient.round()
        y.copy_(quotient.clamp(-form.largest, form.largest).to(y.dtype))

    def run(x, y, r, s):
        run.scales = next(scales)
        into(x, y, r, run.scales)
        return y

    return run, None

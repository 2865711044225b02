#!/usr/bin/env python3
"""Time other norms on the cases of a `norm bench --json` run, in the same way, to the same JSON.

    norm bench --json > ours.json
    python benches/peers.py --like ours.json > peers.json
    norm bench --join ours.json peers.json

Needs a CUDA device and PyTorch; Triton comes with it. QuACK, FlashInfer and Liger are timed where
they can be imported. All get the same dtypes, eps and random inputs as norm, and what they compute
is compared with f32 arithmetic on a few rows before it is timed.

Method, as in `norm bench`: GPU time a call from CUDA graphs of 200 calls (20 where a tensor is over
16 MiB), the median of 5 replays timed by events, inputs and outputs rotating through 1 GiB; each
round runs every line once, on fresh buffers; a line's time is the median of its rounds. A copy of
256 MiB and an empty kernel are measured in the same rounds.

A residual (`r += x; y = norm(r)`, or `r += norm(x); y = norm(r)`) lies behind each output, and is added
to in place; it is random at first, as the inputs are. Where the sum has a tensor of its own (`sum = x + r;
y = norm(sum)`), that lies behind each output, and the residual behind each input.

A gate (`y = norm(x) * silu(g)`, or `y = norm(x * silu(g))`) lies behind each input.

Quantized outputs are in quantized.py: by torch.compile, by Triton in one pass, and unfused, a norm and a quantization of it.

`unfused` is a residual's addition by PyTorch and norms by Triton's kernel, each a launch of its own: the
fastest that an engine without fused forms has.

Quick looks: `--peers torch,unfused,triton` compiles a kernel for each width; torch.compile compiles one for
each line, which takes seconds, and `--ops` leaves out the rest.

Outputs are allocated beforehand where a peer takes them (torch.compile, Triton, QuACK,
FlashInfer's RMSNorm). Where it allocates them itself (PyTorch's own norms, Liger), each is kept
until its turn in the rotation comes again, so that it is as cold as the others'; their lines say
so in `note`.
"""

import argparse
import datetime
import gc
import json
import statistics
import sys

import torch
import torch.nn.functional as F

import quantized

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

EPS = 1e-6
LARGE = 16 << 20
ROTATION = 1 << 30
ALIGN = 256
REPLAYS = 5
COPY = 256 << 20
ALLOCATES = "the peer allocates its output"
DTYPES = {
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f32": torch.float32,
    "e4m3": torch.float8_e4m3fn,
    "int8": torch.int8,
}
# Of the largest of 1 and the output: two ULP, and what f32 arithmetic in another order may add.
TOLERANCE = {"f16": 2e-3, "bf16": 1.6e-2, "f32": 1e-5}
METHOD = __doc__.split("Method, as in `norm bench`: ")[1].split("\n\n")[0].replace("\n", " ")


class Case:
    """An operation on a shape, and its place in memory."""

    def __init__(self, line):
        self.op = line["op"]
        self.names = {name: line[name] for name in ("x", "w", "y")}
        self.x, self.w, self.y = (DTYPES[line[name]] for name in ("x", "w", "y"))
        self.shape = tuple(line["shape"])
        self.dim = self.shape[-1]
        self.heads = self.shape[1] if len(self.shape) == 3 else 1
        self.elements = 1
        for extent in self.shape:
            self.elements *= extent
        self.x_bytes = self.elements * self.x.itemsize
        self.y_bytes = self.elements * self.y.itemsize
        operation, _, form = self.op.partition(":")
        self.quantized = quantized.Form(form) if operation.endswith("_quantized") else None
        self.layer = operation.removesuffix("_quantized") in ("layer_norm", "add_layer_norm", "add_layer_norm_to")
        self.sandwich = self.op == "sandwich_rms_norm"
        self.rotates = self.op == "qk_norm_rope"
        self.residual = self.sandwich or self.op.startswith("add_")
        # Whether the sum has a tensor of its own.
        self.to = self.op.endswith("_to")
        self.gated, self.gate_first = self.op.startswith("gated_"), self.op.endswith(":gate_first")
        # Behind a colon stands the type of a residual that has another than x.
        has_type = form and not self.gated and not self.quantized
        self.r = DTYPES[form] if has_type else self.x
        # Of a residual, or of a gate, which has its place.
        self.r_bytes = self.elements * self.r.itemsize if self.residual or self.gated else 0
        larger = max(self.x_bytes, self.y_bytes, self.r_bytes)
        self.calls, self.sets, self.stride = rotation(larger, places=2 if self.r_bytes else 1)
        # From the start of an input or output to what lies behind it.
        self.residual_offset = aligned(larger)
        # x read and y written; a residual read and the sum written; a gate read.
        self.bytes = self.x_bytes + self.y_bytes + (1 if self.gated else 2) * self.r_bytes

    def parameters(self):
        """Weights and biases, a second norm's weights, or tables: (dim,) or (heads, head_dim)."""
        generator = torch.Generator(device="cuda").manual_seed(3)
        if self.rotates:
            weights = 1 + 0.2 * torch.randn(self.dim, generator=generator, device="cuda")
            return weights.to(self.w), self.tables()
        normal = torch.randn(self.shape[1:], generator=generator, device="cuda")
        other = torch.randn(self.shape[1:], generator=generator, device="cuda")
        second = 1 + 0.2 * other if self.sandwich else 0.1 * other
        return (1 + 0.2 * normal).to(self.w), second.to(self.w)

    def tables(self):
        """Cosines and sines, (rows, dim / 2) each, and the tokens' positions, as norm bench has them."""
        tokens = self.shape[0]
        rows = min(max(tokens, 4096), 32768)
        pairs = torch.arange(self.dim // 2, device="cuda", dtype=torch.float64)
        angles = torch.arange(rows, device="cuda")[:, None] / 10000 ** (pairs / (self.dim // 2))
        positions = torch.arange(tokens, device="cuda")
        positions = 1237 * (positions + 1) % rows if tokens <= 256 else positions % rows
        return angles.cos().to(self.w), angles.sin().to(self.w), positions.int()


def aligned(size):
    return -(-size // ALIGN) * ALIGN


def rotation(tensor, places=1):
    """Calls of a graph, and how many inputs and outputs, of so many tensors each, they take in turn,
    how far apart."""
    calls = 20 if tensor > LARGE else 200
    stride = places * aligned(tensor)
    return calls, min(max(ROTATION // 2 // stride, 1), calls), stride


# Peers: each makes, for a case, its weights and biases, a function call(x, y, r, s) that returns the
# output, and a note; or raises Unfit. `r`, the residual, and `s`, which takes the sum with it and is `r` itself in
# place, are None but for the operations with a residual.


class Unfit(Exception):
    """The peer does not do such a case."""


def unquantized(case):
    if case.quantized:
        raise Unfit("has no such quantization")


def uniform(case):
    if len(set(case.names.values())) > 1:
        raise Unfit("takes one dtype")


def formula(case, w, b):
    """The operation in PyTorch's functions."""
    dim = (case.dim,)
    if case.op == "rms_norm":
        return lambda x, r, s: F.rms_norm(x, dim, w, EPS)
    if case.op == "layer_norm":
        return lambda x, r, s: F.layer_norm(x, dim, w, b, EPS)
    if case.op == "head_norm":
        # Weights differ from head to head, which no function of PyTorch's takes.
        return lambda x, r, s: F.rms_norm(x, dim, None, EPS) * w
    if case.op == "add_rms_norm":
        return lambda x, r, s: F.rms_norm(r.add_(x), dim, w, EPS)
    if case.op == "add_layer_norm":
        return lambda x, r, s: F.layer_norm(r.add_(x), dim, w, b, EPS)
    if case.op == "add_rms_norm_to":
        return lambda x, r, s: F.rms_norm(sum_to(x, r, s), dim, w, EPS)
    if case.op == "add_layer_norm_to":
        return lambda x, r, s: F.layer_norm(sum_to(x, r, s), dim, w, b, EPS)
    if case.op == "add_rms_norm:f32":
        # Its own kernel takes one type.
        wide = w.float()
        return lambda x, r, s: F.rms_norm(r.add_(x), dim, wide, EPS).to(case.y)
    if case.rotates:
        cos, sin, positions = b

        def norm_and_rotate(x, r, s):
            first, second = F.rms_norm(x, dim, w, EPS).chunk(2, -1)
            c, n = cos[positions][:, None], sin[positions][:, None]
            return torch.cat([first * c - second * n, second * c + first * n], -1)

        return norm_and_rotate
    if case.op == "sandwich_rms_norm":
        return lambda x, r, s: F.rms_norm(r.add_(F.rms_norm(x, dim, w, EPS)), dim, b, EPS)
    if case.gated:
        # Of heads, weights differ from head to head, which no function of PyTorch's takes.
        wide = w.float()
        norm = lambda x: F.rms_norm(x, dim, wide, EPS) if case.heads == 1 else F.rms_norm(x, dim, None, EPS) * wide
        if case.gate_first:
            return lambda x, r, s: norm(x.float() * F.silu(r.float())).to(case.y)
        return lambda x, r, s: (norm(x.float()) * F.silu(r.float())).to(case.y)
    raise Unfit("is not compared in place")


def sum_to(x, r, s):
    """x + r, which s has then, too."""
    if torch.compiler.is_compiling():
        total = x + r
        s.copy_(total)
        return total
    return torch.add(x, r, out=s)


def torch_eager(case, w, b):
    unquantized(case)
    uniform(case)
    call = formula(case, w, b)
    return lambda x, y, r, s: call(x, r, s), ALLOCATES


def torch_compiled(case, w, b):
    if case.quantized:
        return quantized.torch_compiled(case, w, b, EPS)
    uniform(case)
    call = formula(case, w, b)

    @torch.compile(dynamic=False)
    def into(x, y, r, s):
        # Inductor writes through to y, and to r or s: one kernel, no copy.
        y.copy_(call(x, r, s))

    def run(x, y, r, s):
        into(x, y, r, s)
        return y

    return run, None


if triton is not None:

    @triton.jit
    def one_pass(
        x, w, b, y, r, s, rows, heads, dim, eps,
        LAYER: tl.constexpr, RESIDUAL: tl.constexpr, GATE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
    ):
        row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
        column = tl.arange(0, BLOCK)[None, :]
        mask = (row < rows) & (column < dim)
        at = row * dim + column
        weight_at = (row % heads) * dim + column
        weight = tl.load(w + weight_at, mask=mask, other=0.0).to(tl.float32)
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        if RESIDUAL:
            # What is rounded is normalized.
            total = (value + tl.load(r + at, mask=mask, other=0.0).to(tl.float32)).to(s.dtype.element_ty)
            tl.store(s + at, total, mask=mask)
            value = total.to(tl.float32)
        if GATE != 0:
            gate = tl.load(r + at, mask=mask, other=0.0).to(tl.float32)
            gate *= tl.sigmoid(gate)
        if GATE == 1:
            value *= gate
        if LAYER:
            value = tl.where(mask, value - tl.sum(value, 1)[:, None] / dim, 0.0)
        rstd = 1 / tl.sqrt(tl.sum(value * value, 1) / dim + eps)
        out = value * rstd[:, None] * weight
        if LAYER:
            out += tl.load(b + weight_at, mask=mask, other=0.0).to(tl.float32)
        if GATE == 2:
            out *= gate
        tl.store(y + at, out.to(y.dtype.element_ty), mask=mask)

    @triton.jit
    def two_norms(x, w, next_w, y, r, dim, eps, BLOCK: tl.constexpr):
        column = tl.arange(0, BLOCK)
        mask = column < dim
        at = tl.program_id(0).to(tl.int64) * dim + column
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        total = tl.load(r + at, mask=mask, other=0.0).to(tl.float32)
        weight = tl.load(w + column, mask=mask, other=0.0).to(tl.float32)
        rstd = 1 / tl.sqrt(tl.sum(value * value, 0) / dim + eps)
        # What is rounded is normalized.
        rounded = (total + value * rstd * weight).to(r.dtype.element_ty)
        tl.store(r + at, rounded, mask=mask)
        value = rounded.to(tl.float32)
        weight = tl.load(next_w + column, mask=mask, other=0.0).to(tl.float32)
        rstd = 1 / tl.sqrt(tl.sum(value * value, 0) / dim + eps)
        tl.store(y + at, (value * rstd * weight).to(y.dtype.element_ty), mask=mask)

    @triton.jit
    def norm_and_rotate(
        x, w, cos, sin, positions, y, heads, eps, HALF: tl.constexpr, BLOCK: tl.constexpr, HEADS: tl.constexpr,
    ):
        # Some heads of a token, each in halves, which are rotated together.
        token = tl.program_id(0).to(tl.int64)
        head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)[:, None]
        column = tl.arange(0, BLOCK)[None, :]
        mask = (head < heads) & (column < HALF)
        at = (token * heads + head) * 2 * HALF + column
        position = tl.load(positions + token)
        first = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        second = tl.load(x + at + HALF, mask=mask, other=0.0).to(tl.float32)
        c = tl.load(cos + position * HALF + column, mask=column < HALF, other=0.0).to(tl.float32)
        n = tl.load(sin + position * HALF + column, mask=column < HALF, other=0.0).to(tl.float32)
        rstd = 1 / tl.sqrt(tl.sum(first * first + second * second, 1) / (2 * HALF) + eps)
        first *= rstd[:, None] * tl.load(w + column, mask=column < HALF, other=0.0).to(tl.float32)
        second *= rstd[:, None] * tl.load(w + HALF + column, mask=column < HALF, other=0.0).to(tl.float32)
        tl.store(y + at, (first * c - second * n).to(y.dtype.element_ty), mask=mask)
        tl.store(y + at + HALF, (second * c + first * n).to(y.dtype.element_ty), mask=mask)


def fastest(case, settings, with_settings):
    """The fastest settings on this very case, as autotuning would choose."""
    x = torch.randn(case.shape, device="cuda").to(case.x)
    y = torch.empty(case.shape, dtype=case.y, device="cuda")
    r = torch.zeros_like(x) if case.residual else None
    timed = []
    for setting in settings:
        run = with_settings(*setting)
        run(x, y, r, r)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(10):
                run(x, y, r, r)
        timed.append((statistics.median(replay(graph)), setting))
    return min(timed)[1]


def triton_rotation(case, w, tables):
    """Norm and rotation in one kernel."""
    cos, sin, positions = tables
    tokens, heads, dim = case.shape
    block = triton.next_power_of_2(dim // 2)

    def with_settings(heads_a_block, warps):
        def run(x, y, r, s):
            norm_and_rotate[(tokens, triton.cdiv(heads, heads_a_block))](
                x, w, cos, sin, positions, y, heads, EPS, dim // 2, block, heads_a_block, num_warps=warps
            )
            return y

        return run

    settings = [(1, 1), (2, 1), (4, 1), (4, 2), (8, 1), (8, 2), (8, 4), (16, 4), (32, 4), (64, 4), (64, 8)]
    chosen = fastest(case, settings, with_settings)
    return with_settings(*chosen), "{} heads a block, {} warps".format(*chosen)


def row_warps(block):
    """Warps of a program that has one row."""
    return max(1, min(16, block // 512))


def row_kernel(case, w, b, residual):
    """Triton's kernel with one row a program: call(x, y, r, s)."""
    block = triton.next_power_of_2(case.dim)
    rows = case.elements // case.dim

    def run(x, y, r, s):
        # Without a residual its places are not looked at.
        r, s = (r, s) if residual else (y, y)
        one_pass[(rows,)](
            x, w, b, y, r, s, rows, case.heads, case.dim, EPS, case.layer, residual, 0, 1, block,
            num_warps=row_warps(block),
        )
        return y

    return run


def triton_form(case, w, b):
    """The residual's other forms: one row a program, without a search for the best settings."""
    block = triton.next_power_of_2(case.dim)
    note = f"1 row a block, {row_warps(block)} warps"
    if not case.sandwich:
        return row_kernel(case, w, b, True), note

    def run(x, y, r, s):
        two_norms[(case.elements // case.dim,)](x, w, b, y, r, case.dim, EPS, block, num_warps=row_warps(block))
        return y

    return run, note


def unfused(case, w, b):
    if triton is None:
        raise Unfit("cannot be imported")
    if case.dim > 65536:
        raise Unfit("holds a row in one block: dim up to 65536")
    if case.quantized:
        return quantized.pair(case, row_kernel(case, w, b, False), fastest)
    if not case.residual or case.gated:
        raise Unfit("does the operations with a residual")
    if not case.sandwich:
        norm = row_kernel(case, w, b, False)

        def run(x, y, r, s):
            torch.add(r, x, out=s)
            return norm(s, y, None, None)

        return run, "an addition and a norm"
    first, second = row_kernel(case, w, b, False), row_kernel(case, b, b, False)

    def run_sandwich(x, y, r, s):
        s.add_(first(x, torch.empty_like(x), None, None))
        return second(s, y, None, None)

    return run_sandwich, "two norms and an addition between them"


def triton_one_pass(case, w, b):
    if triton is None:
        raise Unfit("cannot be imported")
    if case.op == "rms_norm_":
        raise Unfit("is not compared in place")
    if case.dim > 65536:
        raise Unfit("holds a row in one block: dim up to 65536")
    if case.quantized:
        return quantized.triton_one_pass(case, w, b, fastest, EPS)
    if case.rotates:
        return triton_rotation(case, w, b)
    if case.sandwich or case.to or case.r != case.x:
        return triton_form(case, w, b)
    rows = case.elements // case.dim
    block = triton.next_power_of_2(case.dim)
    # No gate, one in front of the norm, one behind it.
    gate = 0 if not case.gated else 1 if case.gate_first else 2

    def with_settings(rows_a_block, warps):
        def run(x, y, r, s):
            grid = (triton.cdiv(rows, rows_a_block),)
            one_pass[grid](
                # Without a residual its places are not looked at.
                x, w, b, y, y if r is None else r, y if s is None else s, rows, case.heads, case.dim, EPS,
                case.layer, case.residual, gate, rows_a_block, block,
                num_warps=warps,
            )
            return y

        return run

    if block <= 1024:
        settings = [(1, 1), (1, 2), (1, 4), (4, 4), (8, 4), (8, 8)]
    else:
        settings = [(1, warps) for warps in (4, 8, 16, 32)]
    rows_a_block, warps = fastest(case, settings, with_settings)
    return with_settings(rows_a_block, warps), f"{rows_a_block} rows a block, {warps} warps"


def quack(case, w, b):
    try:
        from quack.rmsnorm import _rmsnorm_fwd as forward
    except ImportError as error:
        raise Unfit(f"cannot be imported: {error}")
    unquantized(case)
    if case.op in ("rms_norm_", "head_norm") or case.sandwich or case.gated:
        raise Unfit("does rms_norm and layer_norm, with and without a residual")

    def run(x, y, r, s):
        forward(
            x, w, y, bias=b if case.layer else None, residual=r, residual_out=s, eps=EPS, is_layernorm=case.layer
        )
        return y

    return run, None


def flashinfer(pdl):
    def peer(case, w, b):
        try:
            from flashinfer.norm import fused_add_rmsnorm, rmsnorm
        except ImportError as error:
            raise Unfit(f"cannot be imported: {error}")
        uniform(case)
        if case.op not in ("rms_norm", "add_rms_norm") or case.x == torch.float32:
            raise Unfit("does rms_norm of f16 and bf16, with and without a residual")
        if not case.residual:
            return lambda x, y, r, s: rmsnorm(x, w, EPS, out=y, enable_pdl=pdl), None

        def run(x, y, r, s):
            fused_add_rmsnorm(y, r, w, EPS, enable_pdl=pdl)
            return y

        # Outputs hold what the inputs do at first; no input is read.
        return run, "in place: adds its output of the call before to the residual"

    return peer


def liger(case, w, b):
    try:
        from liger_kernel.ops.layer_norm import LigerLayerNormFunction
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction
    except ImportError as error:
        raise Unfit(f"cannot be imported: {error}")
    uniform(case)
    note = ALLOCATES + ", and stores rstd for training too"
    if case.op == "rms_norm":
        return lambda x, y, r, s: LigerRMSNormFunction.apply(x, w, EPS), note
    if case.op == "layer_norm":
        return lambda x, y, r, s: LigerLayerNormFunction.apply(x, w, b, EPS), note
    raise Unfit("does rms_norm and layer_norm")


PEERS = {
    "torch": torch_eager,
    "torch.compile": torch_compiled,
    "unfused": unfused,
    "triton": triton_one_pass,
    "quack": quack,
    "flashinfer": flashinfer(False),
    "flashinfer-pdl": flashinfer(True),
    "liger": liger,
}


class Pool:
    """The memory of a round: random inputs, and room for outputs."""

    def __init__(self, size):
        self.inputs = torch.empty(size, dtype=torch.uint8, device="cuda")
        self.outputs = torch.empty(size, dtype=torch.uint8, device="cuda")
        self.filled = None

    def fill(self, dtype):
        if self.filled != dtype:
            self.inputs.view(dtype).normal_()
            self.filled = dtype

    def mirror(self, size):
        """Has the outputs hold what the inputs do."""
        self.outputs[:size].copy_(self.inputs[:size])

    def tensors(self, case, index):
        start = index % case.sets * case.stride
        x = self.inputs[start : start + case.x_bytes].view(case.x).view(case.shape)
        y = self.outputs[start : start + case.y_bytes].view(case.y).view(case.shape)
        if not case.r_bytes:
            return x, y, None, None
        start += case.residual_offset
        s = self.outputs[start : start + case.r_bytes].view(case.r).view(case.shape)
        r = self.inputs[start : start + case.r_bytes].view(case.r).view(case.shape) if case.to or case.gated else s
        return x, y, r, s


def rms(value):
    return value * torch.rsqrt(value.square().mean(-1, keepdim=True) + EPS)


def largest(error):
    """Comparisons with NaN are false, so it is looked for by itself."""
    return error.max().item() if torch.isfinite(error).all() else float("inf")


class CaseWork:
    """A peer on a case."""

    def __init__(self, name, case):
        self.name, self.case, self.calls, self.sets = name, case, case.calls, case.sets
        self.w, self.b = case.parameters()
        self.call, self.note = PEERS[name](case, self.w, self.b)

    def pool_bytes(self):
        return self.sets * self.case.stride

    def prepare(self, pool):
        if self.case.residual and not self.case.to:
            pool.fill(self.case.r)
            pool.mirror(self.pool_bytes())
        pool.fill(self.case.x)
        self.kept = [None] * self.sets

    def one(self, pool, index):
        # A peer's own output stays until its turn comes again.
        self.kept[index % self.sets] = self.call(*pool.tensors(self.case, index))

    def check(self, pool):
        """The largest error on a few rows, in parts of what is allowed."""
        case = self.case
        x, _, r, s = pool.tensors(case, 0)
        rows = sorted({0, 1 % case.shape[0], case.shape[0] // 2, case.shape[0] - 1})
        before = [None if r is None else r[row].clone() for row in rows]
        self.one(pool, 0)
        y = self.kept[0]
        worst = 0.0
        for row, old in zip(rows, before):
            value, w = x[row].float(), self.w
            if case.sandwich:
                branch = rms(value) * w.float()
                total = old.float() + branch
                size = torch.maximum(total.abs(), branch.abs()).clamp(min=1)
                worst = max(worst, largest((s[row].float() - total).abs() / size))
                # The rounded sum, whose rounding may be another than ours, is what is normalized.
                value, w = s[row].float(), self.b
            elif case.residual:
                value = (old + x[row]).float()
                if not torch.equal(s[row].float(), value):
                    return float("inf")
            gate = F.silu(old.float()) if case.gated else 1
            if case.gate_first:
                value = value * gate
            if case.layer:
                value = value - value.mean(-1, keepdim=True)
            expected = rms(value) * w.float()
            if case.rotates:
                cos, sin, positions = self.b
                position = int(positions[row])
                first, second = expected.chunk(2, -1)
                c, n = cos[position].float(), sin[position].float()
                expected = torch.cat([first * c - second * n, second * c + first * n], -1)
            if case.layer:
                expected = expected + self.b.float()
            if case.gated and not case.gate_first:
                expected = expected * gate
            if case.quantized:
                worst = max(worst, case.quantized.error(y[row], self.call.scales, row, expected))
                continue
            worst = max(worst, largest((y[row].float() - expected).abs() / expected.abs().clamp(min=1)))
        if case.quantized:
            return worst
        return worst / TOLERANCE[case.names["y"]]


class CopyWork:
    """A device-to-device copy."""

    def __init__(self):
        self.calls, self.sets, self.stride = rotation(COPY)

    def pool_bytes(self):
        return self.sets * self.stride

    def prepare(self, pool):
        pool.fill(torch.float16)

    def one(self, pool, index):
        start = index % self.sets * self.stride
        pool.outputs[start : start + COPY].copy_(pool.inputs[start : start + COPY])


class EmptyWork:
    """A kernel that does nothing: Triton's, where there is one."""

    def __init__(self):
        self.calls = 200

    def pool_bytes(self):
        return 0

    def prepare(self, pool):
        pass

    def one(self, pool, index):
        nothing[(1,)](num_warps=1)


if triton is not None:

    @triton.jit
    def nothing():
        pass


def replay(graph):
    """Microseconds of each of some replays, after one that is not timed, all enqueued at once."""
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(REPLAYS + 1)]
    for mark in marks:
        graph.replay()
        mark.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) * 1e3 for start, end in zip(marks, marks[1:])]


def sample(work, pool):
    """Microseconds of a call."""
    work.prepare(pool)
    work.one(pool, 0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for index in range(work.calls):
            work.one(pool, index)
    us = statistics.median(replay(graph)) / work.calls
    # What the peer allocated goes with its graph.
    work.kept = []
    del graph
    torch.cuda.empty_cache()
    return us


def times(samples):
    return {"us": statistics.median(samples), "us_min": min(samples), "us_max": max(samples), "us_rounds": samples}


def make_works(like, names, ops):
    """The lines to measure. Cases that a peer does not support are named on stderr."""
    works, told, seen = [], set(), set()
    for line in like["lines"]:
        # Several implementations of a case are one case here.
        key = (line["op"], line["x"], line["w"], line["y"], tuple(line["shape"]))
        if line.get("tile") or key in seen or (ops and line["op"] not in ops):
            continue
        seen.add(key)
        case = Case(line)
        for name in names:
            try:
                works.append(CaseWork(name, case))
            except Unfit as why:
                if (name, case.op, str(why)) not in told:
                    told.add((name, case.op, str(why)))
                    print(f"{name}, {case.op}: left out, it {why}", file=sys.stderr)
            except Exception as error:  # A peer's own, whatever they are: the others go on.
                print(f"{name}, {case.op} {case.shape}: left out: {error!r}"[:400], file=sys.stderr)
    return works


class Wrong(Exception):
    """Outputs are not what they must be."""


def measure(works, ceilings, repeats):
    """The samples of each work, or in their place the exception that it ended with."""
    size = max(work.pool_bytes() for work in ceilings + works)
    outcomes = {work: [] for work in ceilings + works}
    former = None
    for number in range(repeats):
        # The former round's memory is kept until there is the next one's.
        pool = Pool(size)
        del former
        former = pool
        torch.cuda.empty_cache()
        for work in ceilings + works:
            if isinstance(outcomes[work], Exception):
                continue
            try:
                if number == 0 and isinstance(work, CaseWork):
                    work.prepare(pool)
                    error = work.check(pool)
                    if error > 1:
                        raise Wrong(f"outputs are wrong: {error:.1f} times the error that is allowed")
                outcomes[work].append(sample(work, pool))
            except Exception as error:  # A peer's own, whatever they are: the others go on.
                outcomes[work] = error
            gc.collect()
        print(f"round {number + 1} of {repeats}", file=sys.stderr)
    return outcomes


def result(work, outcome, memcpy_tb_s):
    case = work.case
    record = {
        "implementation": work.name,
        "op": case.op,
        **case.names,
        "shape": case.shape,
        "bytes": case.bytes,
        "calls": case.calls,
        "verdict": "fail" if isinstance(outcome, Wrong) else "ok",
    }
    note = str(outcome) if isinstance(outcome, Wrong) else work.note
    if note:
        record["note"] = note
    if not isinstance(outcome, Wrong):
        figures = times(outcome)
        tb_s = case.bytes / figures["us"] / 1e6
        record |= {"tb_s": tb_s, "share_of_memcpy": tb_s / memcpy_tb_s, **figures}
    return record


def versions():
    """The peers that are here, with their versions."""
    from importlib import metadata

    found = [f"torch {torch.__version__}"]
    for package in ("triton", "quack-kernels", "flashinfer-python", "liger-kernel"):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            pass
    return ", ".join(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", required=True, metavar="OURS.json", help="whose cases to time")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="rounds (default 7)")
    parser.add_argument("--peers", default=",".join(PEERS), metavar="NAME,…", help="default: %(default)s")
    parser.add_argument("--ops", metavar="NAME,…", help="of the cases, those of these operations (default: all)")
    parser.add_argument("--label", metavar="TEXT", help="kept with the results")
    args = parser.parse_args()
    names = args.peers.split(",")
    for name in names:
        if name not in PEERS:
            parser.error(f"--peers: expected some of {', '.join(PEERS)}, given {name}")
    if args.repeats < 1:
        parser.error("--repeats: expected 1 or more")
    if not torch.cuda.is_available():
        parser.error("needs a CUDA device")
    with open(args.like) as file:
        like = json.load(file)
    ops = args.ops.split(",") if args.ops else []
    for op in ops:
        if op not in {line["op"] for line in like["lines"]}:
            parser.error(f"--ops: {args.like} has no case of {op}")

    began = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    # One compiled function a case, all kept.
    for limit in ("cache_size_limit", "recompile_limit", "accumulated_cache_size_limit", "accumulated_recompile_limit"):
        if hasattr(torch._dynamo.config, limit):
            setattr(torch._dynamo.config, limit, 4096)
    with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream()):
        copy, empty = CopyWork(), EmptyWork()
        works = make_works(like, names, ops)
        outcomes = measure(works, [copy, empty], args.repeats)
    if isinstance(outcomes[copy], Exception):
        sys.exit(f"the copy cannot be measured: {outcomes[copy]}")
    for work in list(works):
        error = outcomes[work]
        if isinstance(error, Exception) and not isinstance(error, Wrong):
            print(f"{work.name}, {work.case.op} {work.case.shape}: left out: {error!r}"[:400], file=sys.stderr)
            works.remove(work)
    memcpy = times(outcomes[copy])
    tb_s = 2 * COPY / memcpy["us"] / 1e6
    major, minor = torch.cuda.get_device_capability()
    record = {
        "schema": 1,
        "program": f"peers.py: {versions()}",
        "label": args.label,
        "commit": None,
        "date": began,
        "device": {
            "place": f"cuda:{torch.cuda.current_device()}",
            "name": torch.cuda.get_device_name(),
            "compute_capability": f"{major}.{minor}",
            "cuda": torch.version.cuda,
            "driver": None,
        },
        "method": {
            "description": METHOD,
            "repeats": args.repeats,
            "replays": REPLAYS,
            "rotation_bytes": ROTATION,
            "eps": EPS,
        },
        "memcpy": {"bytes": COPY, "tb_s": tb_s, **memcpy},
        "empty_kernel": None if isinstance(outcomes[empty], Exception) else times(outcomes[empty]),
        "lines": [result(work, outcomes[work], tb_s) for work in works],
    }
    json.dump(record, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

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

A residual (`r += x; y = norm(r)`) lies behind each output, as large as it, and is added to in place;
what it holds at first is what lies behind the inputs.

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
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
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
        self.layer = self.op in ("layer_norm", "add_layer_norm")
        self.residual = self.op in ("add_rms_norm", "add_layer_norm")
        larger = max(self.x_bytes, self.y_bytes)
        self.calls, self.sets, self.stride = rotation(larger, places=2 if self.residual else 1)
        # From the start of an output to that of the residual behind it.
        self.residual_offset = aligned(larger)
        # x read and y written; a residual read and written.
        self.bytes = self.x_bytes + self.y_bytes + (2 * self.x_bytes if self.residual else 0)

    def parameters(self):
        """Weights and biases: (dim,) or (heads, head_dim)."""
        generator = torch.Generator(device="cuda").manual_seed(3)
        normal = torch.randn(self.shape[1:], generator=generator, device="cuda")
        biases = torch.randn(self.shape[1:], generator=generator, device="cuda")
        return (1 + 0.2 * normal).to(self.w), (0.1 * biases).to(self.w)


def aligned(size):
    return -(-size // ALIGN) * ALIGN


def rotation(tensor, places=1):
    """Calls of a graph, and how many inputs and outputs, of so many tensors each, they take in turn,
    how far apart."""
    calls = 20 if tensor > LARGE else 200
    stride = places * aligned(tensor)
    return calls, min(max(ROTATION // 2 // stride, 1), calls), stride


# Peers: each makes, for a case, its weights and biases, a function call(x, y, r) that returns the
# output, and a note; or raises Unfit. `r` is None but for the operations with a residual.


class Unfit(Exception):
    """The peer does not do such a case."""


def uniform(case):
    if len(set(case.names.values())) > 1:
        raise Unfit("takes one dtype")


def formula(case, w, b):
    """The operation in PyTorch's functions."""
    if case.op == "rms_norm":
        return lambda x, r: F.rms_norm(x, (case.dim,), w, EPS)
    if case.op == "layer_norm":
        return lambda x, r: F.layer_norm(x, (case.dim,), w, b, EPS)
    if case.op == "head_norm":
        # Weights differ from head to head, which no function of PyTorch's takes.
        return lambda x, r: F.rms_norm(x, (case.dim,), None, EPS) * w
    if case.op == "add_rms_norm":
        return lambda x, r: F.rms_norm(r.add_(x), (case.dim,), w, EPS)
    if case.op == "add_layer_norm":
        return lambda x, r: F.layer_norm(r.add_(x), (case.dim,), w, b, EPS)
    raise Unfit("is not compared in place")


def torch_eager(case, w, b):
    uniform(case)
    call = formula(case, w, b)
    return lambda x, y, r: call(x, r), ALLOCATES


def torch_compiled(case, w, b):
    uniform(case)
    call = formula(case, w, b)

    @torch.compile(dynamic=False)
    def into(x, y, r):
        # Inductor writes through to y, and to r: one kernel, no copy.
        y.copy_(call(x, r))

    def run(x, y, r):
        into(x, y, r)
        return y

    return run, None


if triton is not None:

    @triton.jit
    def one_pass(
        x, w, b, y, r, rows, heads, dim, eps,
        LAYER: tl.constexpr, RESIDUAL: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
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
            total = (value + tl.load(r + at, mask=mask, other=0.0).to(tl.float32)).to(r.dtype.element_ty)
            tl.store(r + at, total, mask=mask)
            value = total.to(tl.float32)
        if LAYER:
            value = tl.where(mask, value - tl.sum(value, 1)[:, None] / dim, 0.0)
        rstd = 1 / tl.sqrt(tl.sum(value * value, 1) / dim + eps)
        out = value * rstd[:, None] * weight
        if LAYER:
            out += tl.load(b + weight_at, mask=mask, other=0.0).to(tl.float32)
        tl.store(y + at, out.to(y.dtype.element_ty), mask=mask)


def triton_one_pass(case, w, b):
    if triton is None:
        raise Unfit("cannot be imported")
    if case.op == "rms_norm_":
        raise Unfit("is not compared in place")
    if case.dim > 65536:
        raise Unfit("holds a row in one block: dim up to 65536")
    rows = case.elements // case.dim
    block = triton.next_power_of_2(case.dim)

    def with_settings(rows_a_block, warps):
        def run(x, y, r):
            grid = (triton.cdiv(rows, rows_a_block),)
            one_pass[grid](
                # Without a residual its place is not looked at.
                x, w, b, y, y if r is None else r, rows, case.heads, case.dim, EPS,
                case.layer, case.residual, rows_a_block, block,
                num_warps=warps,
            )
            return y

        return run

    if block <= 1024:
        settings = [(1, 1), (1, 2), (1, 4), (4, 4), (8, 4), (8, 8)]
    else:
        settings = [(1, warps) for warps in (4, 8, 16, 32)]
    # The fastest of its settings on this very case, as autotuning would choose.
    x = torch.randn(case.shape, device="cuda").to(case.x)
    y = torch.empty(case.shape, dtype=case.y, device="cuda")
    r = torch.zeros_like(x) if case.residual else None
    timed = []
    for setting in settings:
        run = with_settings(*setting)
        run(x, y, r)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(10):
                run(x, y, r)
        timed.append((statistics.median(replay(graph)), setting))
    rows_a_block, warps = min(timed)[1]
    return with_settings(rows_a_block, warps), f"{rows_a_block} rows a block, {warps} warps"


def quack(case, w, b):
    try:
        from quack.rmsnorm import _rmsnorm_fwd as forward
    except ImportError as error:
        raise Unfit(f"cannot be imported: {error}")
    if case.op not in ("rms_norm", "layer_norm", "add_rms_norm", "add_layer_norm"):
        raise Unfit("does rms_norm and layer_norm, with and without a residual")

    def run(x, y, r):
        forward(
            x, w, y, bias=b if case.layer else None, residual=r, residual_out=r, eps=EPS, is_layernorm=case.layer
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
            return lambda x, y, r: rmsnorm(x, w, EPS, out=y, enable_pdl=pdl), None

        def run(x, y, r):
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
        return lambda x, y, r: LigerRMSNormFunction.apply(x, w, EPS), note
    if case.op == "layer_norm":
        return lambda x, y, r: LigerLayerNormFunction.apply(x, w, b, EPS), note
    raise Unfit("does rms_norm and layer_norm")


PEERS = {
    "torch": torch_eager,
    "torch.compile": torch_compiled,
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
        if not case.residual:
            return x, y, None
        start += case.residual_offset
        return x, y, self.outputs[start : start + case.x_bytes].view(case.x).view(case.shape)


class CaseWork:
    """A peer on a case."""

    def __init__(self, name, case):
        self.name, self.case, self.calls, self.sets = name, case, case.calls, case.sets
        self.w, self.b = case.parameters()
        self.call, self.note = PEERS[name](case, self.w, self.b)

    def pool_bytes(self):
        return self.sets * self.case.stride

    def prepare(self, pool):
        pool.fill(self.case.x)
        if self.case.residual:
            pool.mirror(self.pool_bytes())
        self.kept = [None] * self.sets

    def one(self, pool, index):
        # A peer's own output stays until its turn comes again.
        self.kept[index % self.sets] = self.call(*pool.tensors(self.case, index))

    def check(self, pool):
        """The largest error on a few rows, in parts of what is allowed."""
        case = self.case
        x, _, r = pool.tensors(case, 0)
        rows = sorted({0, 1 % case.shape[0], case.shape[0] // 2, case.shape[0] - 1})
        # The rounded sum is what is normalized.
        inputs = [x[row].float() if r is None else (r[row] + x[row]).float() for row in rows]
        self.one(pool, 0)
        y = self.kept[0]
        worst = 0.0
        for row, value in zip(rows, inputs):
            if r is not None and not torch.equal(r[row].float(), value):
                return float("inf")
            if case.layer:
                value = value - value.mean(-1, keepdim=True)
            expected = value * torch.rsqrt(value.square().mean(-1, keepdim=True) + EPS) * self.w.float()
            if case.layer:
                expected = expected + self.b.float()
            error = (y[row].float() - expected).abs() / expected.abs().clamp(min=1)
            # Comparisons with NaN are false, so it is looked for by itself.
            if not torch.isfinite(error).all():
                return float("inf")
            worst = max(worst, error.max().item())
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


def make_works(like, names):
    """The lines to measure; what a peer does not do is told on stderr."""
    works, told = [], set()
    for line in like["lines"]:
        if line.get("tile"):
            continue
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


def line(work, outcome, memcpy_tb_s):
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

    began = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    # One compiled function a case, all kept.
    for limit in ("cache_size_limit", "recompile_limit", "accumulated_cache_size_limit", "accumulated_recompile_limit"):
        if hasattr(torch._dynamo.config, limit):
            setattr(torch._dynamo.config, limit, 4096)
    with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream()):
        copy, empty = CopyWork(), EmptyWork()
        works = make_works(like, names)
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
        "lines": [line(work, outcomes[work], tb_s) for work in works],
    }
    json.dump(record, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = ["numpy", "onnxruntime==1.32.0", "torch==2.15.0"]
# ///
"""Time norms on the CPU: norm beside PyTorch, ONNX Runtime and candle, on the same cores in the same run.

    cargo build --release -p norm-candle --bin cpu-norms
    pip install ./python numpy onnxruntime==1.32.0 torch==2.15.0
    python benches/cpu.py --json cpu.json > cpu.md

Each library has a process of its own, pinned to the same cores, with as many threads: idle ones of another library would
spin beside those that are timed, as ONNX Runtime's do until they are told to stop. In every round all take their turn on a case, each for a slot of some milliseconds, after a pause of 20. What
counts of a slot is its fastest call, so that other work of the machine disturbs little (of short calls the fastest batch of
50 µs); a time is the median of the rounds.

norm is timed twice: through Python and torch's tensors (`norm_gpu.torch_ops`), beside PyTorch and ONNX Runtime, and through
candle's, beside candle, so that what a call costs before any arithmetic is the same kind of thing on both sides. `ratio` is
the smaller of the two: the time of the fastest peer over norm's in the same language.

Every call makes its output, but ONNX Runtime's, which is bound to memory of its own. Freed memory is kept by the process
(`MALLOC_…`), so that nobody waits for the system to hand out zeroed pages, and asked for in huge pages (`GLIBC_TUNABLES`), as numpy
asks for its arrays, of which ONNX Runtime's output is one.

`copy` is of the bytes of x: parts of 1 MiB by all threads, as `norm bench` copies, or torch's `copy_` where that is faster.
Shares of it are norm's through candle.

x, w and b are of one type. ONNX Runtime has no norms of bf16 on the CPU. PyTorch runs eagerly. What is computed is compared
with f64 arithmetic, and candle's with norm's, before it is timed.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import time

EPS = 1e-6
OPS = ["rms_norm", "layer_norm"]
SIZES = {"f32": 4, "f16": 2, "bf16": 2}
DIMS = [64, 128, 256, 1024, 4096, 16384, 65536]
LARGE = 64 << 20
SMALL = [(1, 4096), (16, 4096), (512, 64)]
# Of the largest of 1 and the output: what roundings of each type, and of sums in f32, may add.
TOLERANCE = {"f32": 1e-4, "f16": 4e-3, "bf16": 3e-2}
BATCH_NS = 50_000
PATTERN = 1_000_003
# Seconds before each slot, for the threads of the library before to fall asleep: OpenMP's wait awake for some 15 ms.
PAUSE = 0.02
ROOT = pathlib.Path(__file__).resolve().parent.parent
METHOD = __doc__.split("\n\n")[2].replace("\n", " ")


# What a worker process does. It answers the lines that examples/candle/src/bin/cpu-norms.rs describes.


class Unfit(Exception):
    """The library does not do such a case."""


class Tensors:
    """x (rows, dim), w (dim,) and b (dim,), of random numbers."""

    def __init__(self, dtype, rows, dim):
        import torch

        generator = torch.Generator().manual_seed(3)
        kind = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[dtype]
        normal = lambda count: torch.randn(count, generator=generator)
        pattern = normal(min(PATTERN, rows * dim)).to(kind)
        repeats = -(-rows * dim // pattern.numel())
        self.x = pattern.repeat(repeats)[: rows * dim].clone().view(rows, dim)
        self.w, self.b = (1 + 0.2 * normal(dim)).to(kind), (0.1 * normal(dim)).to(kind)
        self.dtype, self.rows, self.dim = dtype, rows, dim

    def check(self, op, y):
        """Raises Unfit where the first or the last row is not the norm of x's."""
        for row in {0, self.rows - 1}:
            x, w, b = self.x[row].double(), self.w.double(), self.b.double()
            if op == "layer_norm":
                x = x - x.mean()
            expected = x / (x.square().mean() + EPS).sqrt() * w
            if op == "layer_norm":
                expected = expected + b
            error = (y[row].double() - expected).abs() / expected.abs().clamp(min=1)
            if not error.max() <= TOLERANCE[self.dtype]:
                raise Unfit(f"outputs are wrong by {error.max():.1e}")


def torch_calls(op, t, threads):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    room = torch.empty_like(t.x)
    call = {
        "rms_norm": lambda: F.rms_norm(t.x, (t.dim,), t.w, EPS),
        "layer_norm": lambda: F.layer_norm(t.x, (t.dim,), t.w, t.b, EPS),
    }[op]
    t.check(op, call())
    return {"torch": call, "copy": lambda: room.copy_(t.x)}


def norm_calls(op, t, threads):
    from norm_gpu import torch_ops

    call = {
        "rms_norm": lambda: torch_ops.rms_norm(t.x, t.w, EPS),
        "layer_norm": lambda: torch_ops.layer_norm(t.x, t.w, t.b, EPS),
    }[op]
    t.check(op, call())
    return {"norm": call}


def onnx_calls(op, t, threads):
    import numpy
    import onnxruntime
    import torch

    if t.dtype == "bf16":
        raise Unfit("has no norms of bf16 on the CPU")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    # Its threads would spin on the cores that others are timed on, long after its turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(onnx_model(op, t), options, providers=["CPUExecutionProvider"])
    x = t.x.numpy()
    y = numpy.empty_like(x)
    binding = session.io_binding()
    for bind, name, array in [(binding.bind_input, "x", x), (binding.bind_output, "y", y)]:
        bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    # The binding knows addresses alone: the arrays are kept with the call.
    call = lambda kept=(x, y): session.run_with_iobinding(binding)
    call()
    t.check(op, torch.from_numpy(y))
    return {"onnxruntime": call}


def onnx_model(op, t):
    """An ONNX model of the one operator, with w and b as initializers: the protobuf messages, written by hand."""
    element = {"f32": 1, "f16": 10}[t.dtype]

    def varint(value):
        low, rest = value & 0x7F, value >> 7
        return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])

    def field(number, value):
        if isinstance(value, int):
            return varint(number << 3) + varint(value)
        if isinstance(value, float):
            return varint(number << 3 | 5) + struct.pack("<f", value)
        data = value.encode() if isinstance(value, str) else value
        return varint(number << 3 | 2) + varint(len(data)) + data

    def tensor_info(name):
        shape = b"".join(field(1, field(1, extent)) for extent in (t.rows, t.dim))
        return field(1, name) + field(2, field(1, field(1, element) + field(2, shape)))

    def initializer(name, values):
        return field(1, t.dim) + field(2, element) + field(8, name) + field(9, values.numpy().tobytes())

    layer = op == "layer_norm"
    operands = {"w": t.w, "b": t.b} if layer else {"w": t.w}
    attributes = field(5, field(1, "epsilon") + field(2, EPS) + field(20, 1))
    attributes += field(5, field(1, "axis") + field(3, -1 & (1 << 64) - 1) + field(20, 2))
    operator = "LayerNormalization" if layer else "RMSNormalization"
    node = field(1, "x") + b"".join(field(1, name) for name in operands) + field(2, "y") + field(4, operator) + attributes
    graph = field(1, node) + field(2, "norm")
    graph += b"".join(field(5, initializer(name, values)) for name, values in operands.items())
    graph += field(11, tensor_info("x")) + field(12, tensor_info("y"))
    return field(1, 10) + field(7, graph) + field(8, field(1, "") + field(2, 23))


WORKERS = {"torch": torch_calls, "norm": norm_calls, "onnxruntime": onnx_calls}


def least(call, slot_ns):
    """Microseconds of a call: the least mean of a batch of calls, of those that fit into the slot, at least two."""

    def batch(calls):
        start = time.perf_counter_ns()
        for _ in range(calls):
            call()
        return time.perf_counter_ns() - start

    began = time.perf_counter_ns()
    calls = min(max(BATCH_NS // max(batch(1), 100), 1), 1000)
    best = batch(calls)
    while time.perf_counter_ns() - began < slot_ns:
        best = min(best, batch(calls))
    return best / 1e3 / calls


def work(library, threads):
    """Answers the lines on stdin."""
    import torch

    calls = None
    with torch.inference_mode():
        for line in sys.stdin:
            command, *words = line.split()
            if command == "time":
                print(least(calls[words[0]], int(words[1]) * 1_000_000), flush=True)
                continue
            calls = None
            op, dtype, rows, dim = words[0], words[1], int(words[2]), int(words[3])
            try:
                calls = WORKERS[library](op, Tensors(dtype, rows, dim), threads)
                print("ready", flush=True)
            except Unfit as why:
                print(why, flush=True)


# What the process that is started by hand does.


class Worker:
    """A process that times some of the implementations."""

    def __init__(self, command, names, threads, cores):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "RAYON_NUM_THREADS": str(threads),
            "MALLOC_MMAP_MAX_": "0",
            "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
            "MALLOC_TOP_PAD_": str(64 << 20),
            "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        }
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.names, self.ready = names, False

    def tell(self, line):
        print(line, file=self.process.stdin, flush=True)

    def ask(self, line):
        self.tell(line)
        return self.answer(line)

    def answer(self, line):
        answer = self.process.stdout.readline().strip()
        if not answer:
            sys.exit(f"{self.process.args} ended at: {line}")
        return answer

    def why_not(self, line):
        """What stands in the way of the case that it was told, if there is something."""
        answer = self.answer(line)
        self.ready = answer == "ready"
        return None if self.ready else answer


def shapes(small, size, large, dims):
    return [*small, *((max(large // size // dim, 1), dim) for dim in dims)]


def times(samples):
    return {"us": statistics.median(samples), "us_min": min(samples), "us_max": max(samples), "us_rounds": samples}


def measure(workers, case, rounds, slot):
    """The samples of every implementation of a case, by name, and remarks."""
    line = "case " + " ".join(map(str, case))
    for worker in workers:
        worker.tell(line)
    notes = {worker.names[0]: why for worker in workers if (why := worker.why_not(line))}
    samples = {}
    for _ in range(rounds):
        for worker in workers:
            for name in worker.names if worker.ready else []:
                what = name.split()[0]
                time.sleep(PAUSE)
                samples.setdefault(name, []).append(float(worker.ask(f"time {what} {slot}")))
    return samples, notes


class Line:
    """A case's times by implementation, and what follows from them."""

    def __init__(self, case, samples, notes):
        self.case, self.samples, self.notes = case, samples, notes
        op, dtype, rows, dim = case
        self.bytes = 2 * rows * dim * SIZES[dtype]
        self.us = {name: statistics.median(values) for name, values in samples.items()}
        self.copy = min(us for name, us in self.us.items() if name.startswith("copy"))
        self.share = self.copy / self.us["norm (candle)"]
        python = min(self.us[name] for name in ("torch", "onnxruntime") if name in self.us)
        self.ratio = min(python / self.us["norm (torch)"], self.us["candle"] / self.us["norm (candle)"])

    def row(self):
        op, dtype, rows, dim = self.case
        cell = lambda name: f"{self.us[name]:.1f}" if name in self.us else "–"
        copy = f"{self.copy:.1f} ({self.bytes / self.copy / 1e3:.0f})"
        names = ["norm (torch)", "torch", "onnxruntime", "norm (candle)", "candle"]
        cells = [op, dtype, f"{rows} × {dim}", *map(cell, names), copy, f"{self.share:.2f}", f"{self.ratio:.2f}"]
        return "| " + " | ".join(cells) + " |"

    def records(self):
        op, dtype, rows, dim = self.case
        for name, samples in self.samples.items():
            if name.startswith("copy"):
                continue
            note = {"norm (torch)": "through torch's tensors", "norm (candle)": "through candle's tensors"}.get(name)
            tb_s = self.bytes / self.us[name] / 1e6
            yield {
                "implementation": name,
                "op": op,
                **dict.fromkeys("xwy", dtype),
                "shape": [rows, dim],
                "bytes": self.bytes,
                "calls": 1,
                "verdict": "ok",
                **({"note": note} if note else {}),
                "tb_s": tb_s,
                "share_of_memcpy": tb_s / (self.bytes / self.copy / 1e6),
                **times(samples),
            }


HEAD = ["op", "type", "shape", "norm (Python)", "torch", "ONNX Runtime", "norm (Rust)", "candle", "copy (GB/s)"]
HEAD = "| " + " | ".join([*HEAD, "of copy", "ratio"]) + " |\n" + "|---" * 11 + "|"


def cpu_name():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown CPU"


def versions():
    from importlib import metadata

    lock = (ROOT / "Cargo.lock").read_text() if (ROOT / "Cargo.lock").is_file() else ""
    _, found, rest = lock.partition('name = "candle-nn"\nversion = "')
    python = [f"{package} {metadata.version(package)}" for package in ("norm-gpu", "torch", "onnxruntime")]
    return ", ".join([*python, f"candle-nn {rest.split(chr(34))[0] if found else 'unknown'}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = sorted(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=len(cores), metavar="N", help="threads of each, and cores (default: all)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="default 7")
    parser.add_argument("--slot", type=int, default=20, metavar="MS", help="milliseconds of each in a round (default 20)")
    parser.add_argument("--large", type=int, default=LARGE, metavar="BYTES", help="of x in large shapes (default 64 MiB)")
    parser.add_argument("--large-only", action="store_true", help="leave small shapes out")
    parser.add_argument("--dims", default=",".join(map(str, DIMS)), metavar="DIM,…", help="of large shapes (default %(default)s)")
    parser.add_argument("--dtypes", default=",".join(SIZES), metavar="TYPE,…", help="default %(default)s")
    parser.add_argument("--ops", default=",".join(OPS), metavar="OP,…", help="default %(default)s")
    parser.add_argument("--candle", default=ROOT / "target/release/cpu-norms", metavar="PROGRAM", help="default %(default)s")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file, too")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args.worker, args.threads)
    for name, given, known in [("--dtypes", args.dtypes, SIZES), ("--ops", args.ops, OPS)]:
        for word in given.split(","):
            if word not in known:
                parser.error(f"{name}: expected some of {', '.join(known)}, given {word}")
    if not 1 <= args.threads <= len(cores):
        parser.error(f"--threads: expected 1 to {len(cores)}, given {args.threads}")
    if not os.access(args.candle, os.X_OK):
        parser.error(f"--candle: expected a program, given {args.candle}; cargo build --release -p norm-candle --bin cpu-norms")

    began = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    pinned = cores[: args.threads]
    python = lambda library: [sys.executable, __file__, "--worker", library, "--threads", str(args.threads)]
    workers = [
        Worker(python("norm"), ["norm (torch)"], args.threads, pinned),
        Worker(python("torch"), ["torch", "copy (torch)"], args.threads, pinned),
        Worker(python("onnxruntime"), ["onnxruntime"], args.threads, pinned),
        Worker([args.candle], ["norm (candle)", "candle", "copy (rayon)"], args.threads, pinned),
    ]
    program = f"cpu.py: {versions()}"
    device = f"{cpu_name()}, {args.threads} threads on as many cores"
    print(f"{device}; {program}; {began}; microseconds a call\n\n{HEAD}", flush=True)
    lines, told = [], set()
    small = [] if args.large_only else SMALL
    for op in args.ops.split(","):
        for dtype in args.dtypes.split(","):
            for rows, dim in shapes(small, SIZES[dtype], args.large, map(int, args.dims.split(","))):
                case = (op, dtype, rows, dim)
                samples, notes = measure(workers, case, args.rounds, args.slot)
                for name, why in notes.items():
                    if (name, dtype, why) not in told:
                        told.add((name, dtype, why))
                        print(f"{name}, {op} {dtype} {rows} × {dim}: {why}", file=sys.stderr)
                if "norm (torch)" in samples and "candle" in samples and "torch" in samples:
                    lines.append(Line(case, samples, notes))
                    print(lines[-1].row(), flush=True)
    for worker in workers:
        worker.process.stdin.close()
        worker.process.wait()
    if args.json:
        largest = max(lines, key=lambda line: line.bytes)
        copy = min((samples for name, samples in largest.samples.items() if name.startswith("copy")), key=statistics.median)
        record = {
            "schema": 1,
            "program": program,
            "label": None,
            "commit": None,
            "date": began,
            "device": {"place": "cpu", "name": device, "compute_capability": None, "cuda": None, "driver": None},
            "method": {"description": METHOD, "repeats": args.rounds, "replays": 1, "rotation_bytes": 0, "eps": EPS},
            "memcpy": {"bytes": largest.bytes // 2, "tb_s": largest.bytes / statistics.median(copy) / 1e6, **times(copy)},
            "empty_kernel": None,
            "lines": [record for line in lines for record in line.records()],
        }
        pathlib.Path(args.json).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

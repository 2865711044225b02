#!/usr/bin/env python3
"""Prints what a call costs the host, in µs, on one row of 4096 f16: norm_gpu beside what else is importable.

    python python/bench_host.py [--device cuda:0] [--calls 20000] [--json]

A call is enqueued and not waited for; the device is emptied every 500 calls, outside of what is timed, so that no queue
fills. The median of nine rounds, in which all take turns. exllamav2's own kernels are compiled from its wheel's sources
where exllamav2, nvcc and ninja are there, into the folder NORM_GPU_ORIGINAL, else into one that is removed.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent / "tests"))

import original  # noqa: E402

from norm_gpu import exllamav2_ext as ext  # noqa: E402
from norm_gpu import torch_ops as ops  # noqa: E402

ROUNDS, BATCH, DIM, EPS = 9, 500, 4096, 1e-6


def candidates(device, notes):
    """Names, and functions without arguments."""
    x = torch.randn(1, DIM, device=device).half()
    w = torch.ones(DIM, device=device).half()
    b, y, r = torch.zeros_like(w), torch.empty_like(x), torch.zeros_like(x)
    q, v = x.view(1, 32, 128), w.view(32, 128)
    meta = torch.empty((1, 1), device="meta")
    norm = torch.ops.norm_gpu.norm
    calls = {
        "norm_gpu.exllamav2_ext.rms_norm": lambda: ext.rms_norm(x, w, y, EPS),
        "norm_gpu.exllamav2_ext.layer_norm": lambda: ext.layer_norm(x, w, b, y, EPS),
        "norm_gpu.exllamav2_ext.head_norm": lambda: ext.head_norm(q, v, meta, q, EPS, True),
        "norm_gpu.torch_ops.rms_norm(out=)": lambda: ops.rms_norm(x, w, EPS, out=y),
        "norm_gpu.torch_ops.rms_norm": lambda: ops.rms_norm(x, w, EPS),
        "norm_gpu.torch_ops.add_rms_norm": lambda: ops.add_rms_norm(x, r, w, EPS),
        "torch.ops.norm_gpu.norm": lambda: norm(x, w, None, torch.float16, 0, 0, EPS, 0.0, False, 0, True),
        "F.rms_norm": lambda: torch.nn.functional.rms_norm(x, (DIM,), w, EPS),
        "F.layer_norm": lambda: torch.nn.functional.layer_norm(x, (DIM,), w, b, EPS),
    }
    if device.type == "cuda":
        try:
            folder = os.environ.get("NORM_GPU_ORIGINAL")
            theirs = original.build(folder or tempfile.mkdtemp(prefix="norm-gpu-original-"))
            calls["exllamav2's rms_norm"] = lambda: theirs.rms_norm(x, w, y, EPS)
            calls["exllamav2's layer_norm"] = lambda: theirs.layer_norm(x, w, b, y, EPS)
            calls["exllamav2's head_norm"] = lambda: theirs.head_norm(q, v, meta, q, EPS, True)
        except Exception as why:  # noqa: BLE001 - whatever is missing, the others are timed
            notes.append(f"exllamav2's own: {str(why).splitlines()[0]}")
        try:
            import flashinfer

            calls["flashinfer.rmsnorm"] = lambda: flashinfer.rmsnorm(x, w, EPS, y)
        except ImportError:
            notes.append("flashinfer is not installed")
        try:
            import quack

            calls["quack.rmsnorm"] = lambda: quack.rmsnorm(x, w, eps=EPS)
        except ImportError:
            notes.append("quack is not installed")
    return calls


def measure(call, calls, wait):
    """µs a call."""
    took = 0.0
    for _ in range(calls // BATCH):
        wait()
        start = time.perf_counter()
        for _ in range(BATCH):
            call()
        took += time.perf_counter() - start
    return took / (calls // BATCH * BATCH) * 1e6


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--calls", type=int, default=20000, help="of each in a round")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.calls < BATCH:
        parser.error(f"--calls: expected at least {BATCH}, given {arguments.calls}")
    device, notes = torch.device(arguments.device), []
    wait = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
    calls = candidates(device, notes)
    for name, call in list(calls.items()):
        try:
            measure(call, BATCH, wait)
        except Exception as why:  # noqa: BLE001 - one that fails is named, and the others timed
            notes.append(f"{name}: {str(why).splitlines()[0]}")
            del calls[name]
    rounds = [
        {name: measure(call, arguments.calls, wait) for name, call in calls.items()} for _ in range(ROUNDS)
    ]
    medians = {name: statistics.median(times[name] for times in rounds) for name in calls}
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    if arguments.json:
        print(
            json.dumps(
                {"device": on, "torch": torch.__version__, "us_a_call": medians, "notes": notes}, indent=2
            )
        )
        return
    print(f"host time a call, 1 x {DIM} f16, {on}, torch {torch.__version__}")
    for name, time_ in medians.items():
        print(f"{time_:8.2f} µs  {name}")
    theirs = medians.get("exllamav2's rms_norm")
    if theirs:
        print(f"rms_norm: {medians['norm_gpu.exllamav2_ext.rms_norm'] / theirs:.2f} x exllamav2's")
    for note in notes:
        print(f"not timed: {note}")


if __name__ == "__main__":
    main()

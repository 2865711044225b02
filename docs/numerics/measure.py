#!/usr/bin/env python3
"""Measures what libraries compute on hard rows, and writes the tables of docs/NUMERICS.md.

    docs/numerics/measure.py [--check] [--norm PATH] [--work FOLDER]

With --check it writes nothing, and says which cells are others than the document has: exit status 1 if any is. Two
numbers are the same cell where neither is twice the other, since a sum in f32 depends on the width of the vectors.

The libraries are those of requirements.txt and rust/Cargo.toml, installed into FOLDER, which is kept and used again;
without it into a temporary folder, which is removed. Needed: Linux on x86-64, Python 3.11, cargo, gcc with binutils,
the network, some 6 GB, and norm's command line, built.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # in the source tree

import columns  # noqa: E402
import cuda_stubs  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCUMENT = ROOT / "docs" / "NUMERICS.md"
START, END = "<!-- measured by docs/numerics/measure.py -->\n", "<!-- end -->\n"
RUST = ["candle", "burn"]


def install(work):
    """The Python that has the packages, and the program that has the crates."""
    python = work / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", work / "venv"], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "-r", HERE / "requirements.txt"], check=True)
    cuda_stubs.make(next((work / "venv").glob("lib/python*/site-packages/torch")))
    clang = work / "clang"
    clang.write_text(f'#!/bin/sh\nexec "{python}" -m ziglang clang "$@"\n')
    clang.chmod(0o755)
    target = work / "target"
    # A copy, for its lock file and for a folder whose parents are not norm's workspace.
    crate = work / "rust"
    subprocess.run(["cp", "-r", f"{HERE / 'rust'}/.", crate], check=True)
    cargo = ["cargo", "build", "--quiet", "--manifest-path", crate / "Cargo.toml", "--target-dir", target]
    subprocess.run(cargo, check=True)
    return python, target / "debug" / "numerics"


def build_ggml(work, python):
    """The folder of ggml's shared libraries, built of the sources that llama-cpp-python carries."""
    build = work / "ggml"
    sources = work / "llama.cpp"
    if not sources.exists():
        pip = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--no-binary", "llama-cpp-python", "--dest", work, columns.LLAMA], check=True)
        archive = next(work.glob("llama_cpp_python-*.tar.gz"))
        sources.mkdir()
        members = ["--strip-components=4", "--wildcards", "*/vendor/llama.cpp/ggml/*"]
        subprocess.run(["tar", "xzf", archive, "-C", sources, *members], check=True)
        (sources / "ggml.pc.in").touch()  # which its archive lacks
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON", "-DGGML_OPENMP=OFF"]
    options += ["-DCMAKE_C_FLAGS=-w", "-DCMAKE_CXX_FLAGS=-w"]
    options += ["-DGGML_BUILD_TESTS=OFF", "-DGGML_BUILD_EXAMPLES=OFF"]  # whose sources it lacks
    tools = python.parent
    configure = [tools / "cmake", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}", *options]
    subprocess.run([*configure, "-S", sources, "-B", build], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([tools / "ninja", "--quiet", "-C", build, "ggml"], check=True)
    return build / "src"


def run_norm(norm, cases, out, rounding="single"):
    for case in json.loads((cases / "cases.json").read_text()):
        name, file = case["name"], cases / f"{case['name']}.safetensors"
        bias = ["--bias", f"{file}:b"] if case["norm"] == "layer" else []
        tensors = ["--input", f"{file}:x", "--weight", f"{file}:w", *bias]
        result = ["--out", out / f"{name}.safetensors", "--as", "y"]
        command = [norm, case["norm"], *tensors, "--eps", repr(case["eps"]), "--device", "cpu", "--rounding", rounding, *result]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            (out / f"{name}.error").write_text(done.stderr)


def run_orders(norm, cases, outputs):
    for name, rounding in columns.NORM_ORDERS.items():
        out = outputs / name
        out.mkdir(parents=True, exist_ok=True)
        run_norm(norm, cases, out, rounding)


def tables(work, norm):
    """The tables as they are measured now."""
    python, rust = install(work)
    ggml = build_ggml(work, python)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        cases, outputs = pathlib.Path(folder) / "cases", pathlib.Path(folder) / "outputs"
        cases.mkdir()
        run = [python, "-B", "-W", "ignore"]
        subprocess.run([*run, HERE / "cases.py", cases], check=True)
        environment = os.environ | {
            "CC": str(work / "clang"),  # tinygrad's compiler
            "DEV": "CPU",  # and its device
            "GGML": str(ggml),
            "CUDA_VISIBLE_DEVICES": "",
            "JAX_PLATFORMS": "cpu",
            "OMP_NUM_THREADS": "1",
        }
        for library in columns.COLUMNS:
            print(library, file=sys.stderr, flush=True)
            out = outputs / library
            out.mkdir(parents=True, exist_ok=True)
            if library == "norm":
                run_orders(norm, cases, outputs)
                continue
            command = [rust] if library in RUST else [*run, HERE / "libraries" / "run.py"]
            subprocess.run([*command, library, cases, out], check=True, env=environment)
        measured = subprocess.run([*run, HERE / "table.py", outputs], check=True, stdout=subprocess.PIPE, text=True)
    version = subprocess.run([norm, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return columns.table(version) + measured.stdout


def same(old, new):
    """Whether two cells are the same but for the order of sums."""
    one, other = (re.fullmatch(r"((?:b?f16, |f32, )?)([\d.]+(?:e\d+)?)", cell) for cell in (old, new))
    if not one or not other or one[1] != other[1]:
        return old == new
    low, high = sorted([float(one[2]), float(other[2])])
    return low == high or high < 2 * low


def cells(text):
    """The cells of the tables in a text, by table, line and column."""
    found, header = {}, None
    for line in text.splitlines():
        parts = [part.strip() for part in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = parts
        elif set(line) - set("|-:"):
            found |= {(header[0], parts[0], name): cell for name, cell in zip(header[1:], parts[1:])}
    return found


def check(document, measured):
    old, new = cells(document), cells(measured)
    count = 0
    for key in old | new:
        if not same(old.get(key, "nothing"), new.get(key, "nothing")):
            count += 1
            print(f"{' / '.join(key)}: expected {old.get(key, 'nothing')}, measured {new.get(key, 'nothing')}")
    print(f"{len(old)} cells, {count} of them changed")
    return 1 if count or not old else 0


def vectors():
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    names = {"avx512_bf16": "AVX-512 and its bf16 instructions", "avx512f": "AVX-512", "avx2": "AVX2"}
    return next((name for flag, name in names.items() if flag in flags), "neither AVX-512 nor AVX2")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the document, write nothing")
    parser.add_argument("--norm", type=pathlib.Path, default=ROOT / "target" / "debug" / "norm")
    parser.add_argument("--work", type=pathlib.Path, help="where to install; kept")
    arguments = parser.parse_args()
    norm = arguments.norm.resolve()
    if not norm.exists():
        parser.error(f"--norm: expected norm's command line, given {norm}, which is not there (cargo build)")
    document = DOCUMENT.read_text()
    before, rest = document.split(START)
    old, after = rest.split(END)
    if arguments.work:
        arguments.work.mkdir(parents=True, exist_ok=True)
        measured = tables(arguments.work.resolve(), norm)
    else:
        with tempfile.TemporaryDirectory() as work:
            measured = tables(pathlib.Path(work), norm)
    if arguments.check:
        return check(old, measured)
    line = f"Measured on {datetime.date.today()} on a processor with {vectors()}.\n\n"
    DOCUMENT.write_text(before + START + line + measured.rstrip("\n") + "\n" + END + after)
    return 0


sys.exit(main())

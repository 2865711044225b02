"""run.py LIBRARY CASES OUT: the norms of the rows in the folder CASES by the module LIBRARY beside this file.

Each module has `layer(x, w, b, eps)` and `rms(x, w, eps)`, either of which may be missing. They take numpy arrays of
f16, bf16 (ml_dtypes) and f32, x of shape (1, dim), w and b of shape (dim,), and give y of shape (1, dim) in the type
that the library gave it, or None for types that it does not have at all. What a library raises is its answer: it is
written to OUT as NAME.error.
"""

import importlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensors  # noqa: E402


def main():
    library, folder, out = importlib.import_module(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    for case in json.loads((folder / "cases.json").read_text()):
        function = getattr(library, case["norm"], None)
        if function is None:
            continue
        arrays = tensors.load(folder / f"{case['name']}.safetensors")
        try:
            y = function(**arrays, eps=case["eps"])
        except Exception as error:
            (out / f"{case['name']}.error").write_text(f"{type(error).__name__}: {error}\n")
            continue
        if y is None:
            continue
        assert y.shape == arrays["x"].shape, (case["name"], y.shape)
        tensors.save(out / f"{case['name']}.safetensors", {"y": y})


main()

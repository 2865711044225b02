"""safetensors files of numpy arrays, with bf16 as ml_dtypes' bfloat16."""

import json

import ml_dtypes
import numpy as np

DTYPES = {"F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16), "F32": np.dtype(np.float32)}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def load(path):
    """The arrays of the file, by name."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    arrays = {}
    for name, info in header.items():
        first, end = info["data_offsets"]
        bits = data[start + first : start + end]
        arrays[name] = np.frombuffer(bits, DTYPES[info["dtype"]]).reshape(info["shape"]).copy()
    return arrays


def save(path, arrays):
    header, end = {}, 0
    for name, array in arrays.items():
        first, end = end, end + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [first, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for a in arrays.values()))

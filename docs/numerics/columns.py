"""The libraries: a column of the tables each."""

import collections
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent

# Its title; the packages, of requirements.txt, rust/Cargo.toml or LLAMA, that make it; what is called.
Column = collections.namedtuple("Column", "title packages layer rms")

# Carries llama.cpp's sources, with ggml 0.25.3.
LLAMA = "llama-cpp-python==0.3.36"

# By the name of what runs it: norm, of rust/, or a module in libraries/.
COLUMNS = {
    "norm": Column("norm", [], "`norm layer --device cpu`", "`norm rms --device cpu`"),
    "pytorch": Column("PyTorch", ["torch"], "`functional.layer_norm`, eager", "`functional.rms_norm`, eager"),
    "huggingface": Column("transformers", ["transformers", "torch"], "", "`LlamaRMSNorm`, eager"),
    "flax_linen": Column("flax", ["flax", "jax"], "`linen.LayerNorm`", "`linen.RMSNorm`"),
    "keras_jax": Column("Keras", ["keras", "jax"], "`ops.layer_normalization`", "`ops.rms_normalization`"),
    "onnx_runtime": Column("ONNX Runtime", ["onnxruntime"], "LayerNormalization-17", "RMSNormalization-23"),
    "onnx_reference": Column("onnx", ["onnx", "numpy"], "`ReferenceEvaluator`, the same", "the same"),
    "openvino_cpu": Column("OpenVINO", ["openvino"], "the same, read from ONNX", "the same"),
    "ggml_cpu": Column("llama.cpp", ["llama-cpp-python"], "`ggml_norm`, `_mul`, `_add`", "`ggml_rms_norm`, `_mul`"),
    "candle": Column("candle", ["candle-nn"], "`LayerNorm`", "`RmsNorm`"),
    "burn": Column("burn", ["burn"], "`nn::LayerNorm` on burn-flex", "`nn::RmsNorm`"),
    "tinygrad_nn": Column("tinygrad", ["tinygrad"], "`nn.LayerNorm`", "`nn.RMSNorm`"),
    "mlx_fast": Column("MLX", ["mlx"], "`fast.layer_norm`", "`fast.rms_norm`"),
}

# norm's other orders of roundings, for the table of these alone: what runs each, and its `--rounding`.
NORM_ORDERS = {"norm": "single"} | {f"norm-{order}": order for order in ("before-weight", "before-bias", "t5")}


def versions():
    """The version of each package, by name."""
    pins = LLAMA + "\n" + (HERE / "requirements.txt").read_text()
    crates = (HERE / "rust" / "Cargo.toml").read_text()
    found = dict(re.findall(r"^([\w-]+)==(\S+)", pins, re.MULTILINE))
    return found | dict(re.findall(r'^([\w-]+) = .*"=([\d.]+)"', crates, re.MULTILINE))


def table(norm):
    """Which versions are measured, and what is called, `norm` being the version of norm's command line."""
    pinned = versions()
    lines = ["| column | version | LayerNorm | RMSNorm |", "|---|---|---|---|"]
    for column in COLUMNS.values():
        packages = ", ".join(f"{package} {pinned[package]}" for package in column.packages) or norm
        lines.append(f"| {column.title} | {packages} | {column.layer or '–'} | {column.rms} |")
    return "\n".join(lines) + "\n\n"

#!/usr/bin/env python3
"""What transformers' own rotations compute, recorded for tests/models/rope.rs.

    tests/models.py --rope [--check] [--venv DIR]

Runs `modeling_rope_utils` for the scalings that models have, and attention modules of models up to the rotation of queries
and keys, eagerly, on the CPU. Writes tests/rope.json, with the frequencies' bits, and tests/rope.safetensors, with queries,
keys and values in front of the norms and behind the rotation. With --check it writes nothing and compares.
"""

import json
import pathlib
import struct
import sys
import tempfile
import warnings

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import modeling_rope_utils
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

HERE = pathlib.Path(__file__).resolve().parent.parent
TEXT, DATA = HERE / "rope.json", HERE / "rope.safetensors"
TYPES = {"f16": torch.float16, "bf16": torch.bfloat16}
TOKENS = 6

# What config.json of released models has.
LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
DEEPSEEK = {**YARN, "factor": 40.0, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1}
SCALINGS = [
    # (theta, rotated elements of a head, max_position_embeddings, parameters, sequence length)
    *[(theta, dim, 4096, {"rope_type": "default"}, None) for theta, dim in [
        (1e4, 128), (1e4, 64), (1e4, 80), (1e4, 32), (1e4, 256), (5e5, 128), (5e5, 64), (1e6, 128), (1e6, 256),
        (5e6, 128), (1e7, 64), (15e4, 64), (8e6, 128), (4e6, 128), (1e4, 96), (1e4, 192), (1e4, 20), (1e6, 512),
    ]],
    (1e6, 256, 131072, {"rope_type": "linear", "factor": 8.0}, None),
    (1e4, 128, 16384, {"rope_type": "linear", "factor": 4.0}, None),
    *[(1e4, 128, 2048, {"rope_type": "dynamic", "factor": 2.0}, length) for length in (None, 100, 4096, 5000, 8191)],
    (1e6, 128, 131072, {**YARN}, None),
    (15e4, 64, 131072, {**YARN, "factor": 32.0, "original_max_position_embeddings": 4096, "truncate": False}, None),
    (1e4, 64, 163840, {**DEEPSEEK, "mscale": 1.0, "mscale_all_dim": 1.0}, None),
    (1e4, 64, 163840, {**DEEPSEEK, "mscale": 0.707, "mscale_all_dim": 0.707}, None),
    (1e4, 64, 163840, {**DEEPSEEK, "mscale": 1.0, "mscale_all_dim": 0.5}, None),
    (1e6, 128, 131072, {**YARN, "attention_factor": 1.25}, None),
    (5e5, 128, 131072, {**LLAMA3, "factor": 8.0}, None),
    (5e5, 64, 131072, {**LLAMA3, "factor": 32.0}, None),
    (5e5, 256, 131072, {**LLAMA3, "factor": 4.0, "original_max_position_embeddings": 4096}, None),
    (1e6, 512, 131072, {"rope_type": "proportional", "partial_rotary_factor": 0.25}, None),
]


def bits(values):
    return [struct.unpack("I", struct.pack("f", value))[0] for value in values.tolist()]


def frequencies(theta, dim, longest, parameters, length):
    config = transformers.LlamaConfig(
        hidden_size=4 * dim, num_attention_heads=4, head_dim=dim, max_position_embeddings=longest,
        rope_parameters={**parameters, "rope_theta": theta},
    )
    kind = parameters["rope_type"]
    if kind == "default":
        found = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        found = modeling_rope_utils.ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=length)
    values, factor = found
    return {
        "theta": theta, "dim": dim, "max_position_embeddings": longest, "parameters": parameters, "length": length,
        "frequencies": bits(values), "attention_factor": float(factor),
    }


def tables(theta, dim, positions):
    """Cosines and sines as rotary embeddings of models make them."""
    config = transformers.LlamaConfig(
        hidden_size=4 * dim, num_attention_heads=4, head_dim=dim, rope_parameters={"rope_type": "default", "rope_theta": theta}
    )
    rotary = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
    cos, sin = rotary(torch.zeros(1), torch.tensor([positions]))
    half = dim // 2
    return {
        "theta": theta, "dim": dim, "positions": positions,
        "cos": bits(cos[0, :, :half].flatten()), "sin": bits(sin[0, :, :half].flatten()),
    }


# A family's config and attention class, the head's size, what is rotated of it, and the pairs' order.
def qwen3():
    from transformers.models.qwen3 import modeling_qwen3 as m

    return m, m.Qwen3Config(hidden_size=256, num_attention_heads=4, num_key_value_heads=2, head_dim=64), "Qwen3"


def llama():
    from transformers.models.llama import modeling_llama as m

    return m, m.LlamaConfig(hidden_size=256, num_attention_heads=4, num_key_value_heads=2, head_dim=64), "Llama"


def gemma3():
    from transformers.models.gemma3 import modeling_gemma3 as m

    config = transformers.Gemma3TextConfig(
        hidden_size=256, num_attention_heads=4, num_key_value_heads=2, head_dim=64, layer_types=["full_attention"],
        num_hidden_layers=1,
    )
    return m, config, "Gemma3"


def cohere():
    from transformers.models.cohere import modeling_cohere as m

    return m, m.CohereConfig(
        hidden_size=256, num_attention_heads=4, num_key_value_heads=2, use_qk_norm=True, layer_norm_eps=1e-5
    ), "Cohere"


def glm4():
    from transformers.models.glm4 import modeling_glm4 as m

    return m, m.Glm4Config(hidden_size=256, num_attention_heads=4, num_key_value_heads=2, head_dim=64), "Glm4"


def llama4():
    from transformers.models.llama4 import modeling_llama4 as m

    return m, m.Llama4TextConfig(
        hidden_size=256, num_attention_heads=4, num_key_value_heads=2, head_dim=64, use_qk_norm=True,
        attn_temperature_tuning=False, no_rope_layers=[1], num_hidden_layers=1,
    ), "Llama4Text"


FAMILIES = {"qwen3": qwen3, "llama": llama, "gemma3": gemma3, "cohere": cohere, "glm4": glm4, "llama4": llama4}
captured = {}


def capture(module, query, key, value, *_, **__):
    captured.update(q=query, k=key, v=value)
    return query.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register("capture", capture)


def attention(name, make, dtype, tensors):
    """Queries and keys of a module of the model's own: as projected, and as they go into the attention."""
    torch.manual_seed(len(name) + 7)
    module, config, prefix = make()
    config._attn_implementation = "capture"
    layer = getattr(module, f"{prefix}Attention")(config, layer_idx=0).to(dtype).eval()
    rotary = getattr(module, f"{prefix}RotaryEmbedding")(config)
    for norm in (getattr(layer, "q_norm", None), getattr(layer, "k_norm", None)):
        if norm is not None:
            norm.weight.data = (torch.randn(norm.weight.shape) * 0.3 + (0 if name == "gemma3" else 1)).to(dtype)
    hidden = torch.randn(1, TOKENS, config.hidden_size).to(dtype)
    positions = torch.randint(0, 3000, (1, TOKENS))
    arguments = ("full_attention",) if name == "gemma3" else ()
    embeddings = rotary(hidden, positions, *arguments)
    projected = {}
    hooks = [
        getattr(layer, f"{part}_proj").register_forward_hook(lambda _, __, out, part=part: projected.update({part: out}))
        for part in "qk"
    ]
    layer(hidden, position_embeddings=embeddings, attention_mask=None)
    for hook in hooks:
        hook.remove()
    dim = layer.head_dim
    key = f"{name}.{next(key for key, value in TYPES.items() if value == dtype)}"
    if isinstance(embeddings, tuple):
        cos, sin = embeddings
        half = cos.shape[-1] // 2
        # Both halves are the same, or, as Cohere has them, both neighbours.
        cos, sin = (table[0, :, 0::2] if name == "cohere" else table[0, :, :half] for table in (cos, sin))
    else:
        cos, sin = embeddings.real[0], embeddings.imag[0]
    record = {"name": key, "family": name, "dim": dim, "eps": None}
    for norm, part in ((getattr(layer, "q_norm", None), "q"), (getattr(layer, "k_norm", None), "k")):
        if norm is not None:
            record["eps"] = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
            tensors[f"{key}.{part}_weight"] = norm.weight.data
    if name == "llama4":
        record["eps"] = layer.qk_norm.eps
    for part in "qk":
        tensors[f"{key}.{part}"] = projected[part][0].reshape(TOKENS, -1, dim)
        tensors[f"{key}.{part}_out"] = captured[part][0].transpose(0, 1)
    tensors[f"{key}.cos"], tensors[f"{key}.sin"] = cos, sin
    return record


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    tensors = {}
    with torch.no_grad():
        made = {
            "transformers": transformers.__version__,
            "torch": torch.__version__.split("+")[0],
            "frequencies": [frequencies(*scaling) for scaling in SCALINGS],
            "tables": [
                tables(1e4, 128, [0, 1, 2, 5, 10, 100, 1000, 4095, 32767, 100000]),
                tables(5e5, 64, list(range(0, 20000, 1999))),
            ],
            "attentions": [
                attention(name, make, dtype, tensors) for name, make in FAMILIES.items() for dtype in TYPES.values()
            ],
        }
    tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(made, separators=(",", ":")).replace('{"theta"', '\n{"theta"').replace('{"name"', '\n{"name"') + "\n"
    if "--check" not in sys.argv:
        TEXT.write_text(text)
        save_file(tensors, DATA)
        return
    recorded = load_file(DATA)
    same = TEXT.read_text() == text and recorded.keys() == tensors.keys()
    if not same or not all(torch.equal(recorded[name], tensor) for name, tensor in tensors.items()):
        sys.exit("what is recorded is not what transformers computes here")


if __name__ == "__main__":
    main()

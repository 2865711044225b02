"""Tiny models of each family, as transformers builds them from the family's own config.

`FAMILIES` has what a config needs beside `SIZES` for the model to be tiny and to have each kind of layer.
"""

import transformers

# Unlike any default: what has it took the config's, what has another number took the class's.
EPS = 3e-4
# The names that a config has for it.
EPS_KEYS = [
    "rms_norm_eps",
    "norm_eps",
    "norm_epsilon",
    "layer_norm_eps",
    "layer_norm_epsilon",
]
# The names that a config has for an eps of some of its norms, beside it, each with what it is set to.
OTHER_EPS_KEYS = {"mixer_rms_eps": 4e-4}

# Where a config has the attribute.
SIZES = {
    **dict.fromkeys(["hidden_size", "n_embd", "d_model", "dim"], 64),
    **dict.fromkeys(["intermediate_size", "n_inner", "d_ff", "ffn_dim", "hidden_dim", "vocab_size"], 64),
    **dict.fromkeys(["num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_head", "n_heads", "num_heads"], 4),
    **dict.fromkeys(["head_dim", "d_kv", "rotary_dim", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"], 16),
    **dict.fromkeys(["num_experts", "num_local_experts", "n_routed_experts"], 4),
    **dict.fromkeys(["q_lora_rank", "kv_lora_rank", "moe_intermediate_size", "shared_expert_intermediate_size"], 32),
    **dict.fromkeys(["n_group", "topk_group", "first_k_dense_replace", "n_shared_experts"], 1),
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    # Of the Mamba 2 family: eight heads of 16, in two groups.
    "mamba_d_ssm": 128,
    "mamba_d_state": 16,
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_n_groups": 2,
    "mamba_expand": 2,
    "mamba_num_heads": 8,
    "mamba_head_dim": 16,
    "n_groups": 2,
    "chunk_size": 8,
    "mamba_chunk_size": 8,
}

LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
# As many heads of keys as of queries.
ALL_HEADS = {"num_key_value_heads": 4}
MAMBA_AND_ATTENTION = {"layer_types": ["linear_attention", "full_attention"]}

FAMILIES = {
    "apertus": {},
    "arcee": {},
    "bamba": {"attn_layer_indices": [1]},
    "bert": {},
    "bitnet": {},
    "bloom": {},
    "cohere": {"use_qk_norm": True},
    "cohere2": {},
    "deepseek_v2": ALL_HEADS,
    "deepseek_v3": ALL_HEADS,
    "deepseek_v4": {},
    "distilbert": {},
    "dots1": {},
    "electra": {},
    "ernie4_5": {},
    "ernie4_5_moe": {},
    "exaone4": {},
    "falcon": {},
    "falcon_h1": {"mamba_rms_norm": True},
    "falcon_mamba": {},
    "gemma": {},
    "gemma2": {},
    "gemma3_text": {},
    "gemma3n_text": {"num_kv_shared_layers": 0, "intermediate_size": [64, 64], "activation_sparsity_pattern": [0.0, 0.0]},
    "gemma4_text": {},
    "glm": {},
    "glm4": {},
    "glm4_moe": {"use_qk_norm": True},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neox": {},
    "gpt_oss": {},
    "gptj": {},
    "granite": {},
    "granitemoe": {},
    "granitemoehybrid": MAMBA_AND_ATTENTION,
    "helium": {},
    "hunyuan_v1_dense": {},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": ALL_HEADS,
    "lfm2": {},
    "llama": {},
    "llama4_text": {"use_qk_norm": True},
    "longt5": {},
    "mamba": {},
    "mamba2": {"num_heads": 8},
    "minimax_m2": {},
    "mistral": {},
    "mixtral": {},
    "modernbert": {},
    "mpt": {},
    "mt5": {},
    "nemotron": {},
    "nemotron_h": {},
    "olmo": {},
    "olmo2": {},
    "olmo3": {},
    "olmoe": {},
    "opt": {},
    "persimmon": {"qk_layernorm": True},
    "phi": {"qk_layernorm": True},
    "phi3": {},
    "phimoe": {},
    "qwen2": {},
    "qwen2_moe": {},
    "qwen3": {},
    "qwen3_5_moe_text": LINEAR,
    "qwen3_5_text": LINEAR,
    "qwen3_moe": {},
    "qwen3_next": LINEAR,
    "roberta": {},
    "seed_oss": {},
    "smollm3": {},
    "stablelm": {"qk_layernorm": True},
    "starcoder2": {},
    "switch_transformers": {},
    "t5": {},
    "umt5": {},
}
# Models of several modalities, whose config has the family's as `text_config`.
WRAPPERS = ["gemma3", "gemma3n", "gemma4", "llama4", "mistral3", "qwen3_5", "qwen3_5_moe"]


def flags(family):
    """What is on for the family's model to have all norms, and whether it is by default."""
    config = transformers.AutoConfig.for_model(family)
    return {name: getattr(config, name) for name, value in FAMILIES[family].items() if value is True}


def other_eps(family):
    """The other eps of its config, by what they are set to: their names, and what they were."""
    config = transformers.AutoConfig.for_model(family)
    return {eps: (key, getattr(config, key)) for key, eps in OTHER_EPS_KEYS.items() if hasattr(config, key)}


def config_of(family):
    """The family's own config, tiny and with `EPS` in it; the name of its eps, and what that was."""
    config = transformers.AutoConfig.for_model(family)
    key = next((key for key in EPS_KEYS if hasattr(config, key)), None)
    default = getattr(config, key) if key else None
    known = config.to_dict()
    for name, value in SIZES.items():
        if name in known or hasattr(config, name):
            try:
                setattr(config, name, value)
            except (AttributeError, NotImplementedError):
                pass  # Another name of one that is set.
    for name, value in FAMILIES[family].items():
        setattr(config, name, value)
    if key:
        setattr(config, key, EPS)
    for eps, (other, _) in other_eps(family).items():
        setattr(config, other, eps)
    layers = config.num_hidden_layers
    for name in ["layer_types", "mlp_layer_types"]:
        types = getattr(config, name, None)
        if types and len(types) != layers:
            # One of each kind, as far as there is room.
            setattr(config, name, (list(dict.fromkeys(types)) * layers)[:layers])
    return config, key, default


def build(config):
    """The model, with random weights."""
    try:
        model = transformers.AutoModelForCausalLM.from_config(config)
    except ValueError:
        model = transformers.AutoModel.from_config(config)
    return model.eval()

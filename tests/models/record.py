"""Runs the norms of each family and makes what is recorded of them; run by tests/models.py, in its environment."""

import copy
import json
import pathlib
import sys
import tempfile
import warnings

import torch
import transformers
from safetensors.torch import load_file, save_file

import families
import rows
from rows import DTYPES, EPS, F32_ROWS, NAMES
from trace import Trace, eps_of, is_per_head, norms_of, role_of, weight_of

HERE = pathlib.Path(__file__).resolve().parent.parent
TEXT, DATA = HERE / "models.json", HERE / "models.safetensors"

# The types of (x, weights); gates have the weights' type.
TYPES = [
    ("f16", "f16"),
    ("bf16", "bf16"),
    ("f16", "f32"),
    ("bf16", "f32"),
    ("f32", "f32"),
    ("f32", "f16"),
    ("f32", "bf16"),
]
# Classes of one result go by the name of one of them: of these, where they are among them.
KNOWN = ["LlamaRMSNorm", "Olmo2RMSNorm", "GemmaRMSNorm", "T5LayerNorm", "CohereLayerNorm", "Llama4TextL2Norm", "MambaRMSNormGated"]
# An eps of which a family differs, beside the one that is recorded with all types.
OTHER_EPS = {"Glm4RMSNorm": 1.5625e-7, "LayerNorm": 1e-12}
COMPILED = [("f16", "f16"), ("bf16", "bf16"), ("bf16", "f32")]


class PerHead(torch.nn.Module):
    """A list of norms, one for each head, as one whose weights are (heads, head_dim)."""

    def __init__(self, module):
        super().__init__()
        self.module, self.eps = module, eps_of(module)
        self.weight = torch.nn.Parameter(torch.stack([norm.weight.detach() for norm in module.norms]))
        assert all(norm.bias is None for norm in module.norms)

    def forward(self, x):
        """Of x, (rows, heads, head_dim); the list takes a batch of (heads, rows, head_dim)."""
        module = copy.deepcopy(self.module)
        module.norms = module.norms[: len(self.weight)]
        for norm, weight in zip(module.norms, self.weight):
            norm.weight, norm.eps = torch.nn.Parameter(weight, requires_grad=False), self.eps
            norm.normalized_shape = tuple(weight.shape)
        return module(x.transpose(0, 1)[None])[0].transpose(0, 1)


class Subject:
    """A norm of a model, which takes other weights."""

    def __init__(self, role, module):
        self.role, self.module = role, PerHead(module) if is_per_head(module) else module
        weight = getattr(self.module, "weight", None)
        # FalconMamba's has weights, which it does not use.
        self.has_weight = weight is not None and "Weightless" not in type(module).__name__
        self.has_bias = getattr(self.module, "bias", None) is not None
        self.per_head = self.has_weight and weight.dim() == 2
        self.name = type(module).__name__.removesuffix("PerHead")
        if self.name == "LayerNorm" and not self.has_bias:
            self.name += "WithoutBias"
        if not self.has_weight and "Weightless" not in self.name and "L2" not in self.name and self.name != "OlmoLayerNorm":
            self.name += "Weightless"
        if self.per_head:
            self.name += "PerHead"
        self.centred = self.has_weight and self.adds_one()

    def adds_one(self):
        """Whether weights of 0 leave anything. What weights start at does not say: Nemotron's start at 1."""
        module = copy.deepcopy(self.module)
        for parameter in module.parameters():
            torch.nn.init.zeros_(parameter)
        x = torch.ones(2, *module.weight.shape)
        x[..., ::2] = -1.0
        with torch.no_grad():
            return bool((module(x, x) if self.role == "gated" else module(x)).any())

    def inputs(self, x, w, long):
        """The names of the tensors that it is given: x, weights, biases, gates."""
        tail = ".long" if long else ""
        weight = "w.heads" if self.per_head else f"w.centred{tail}" if self.centred else f"w.plain{tail}"
        return {
            "x": f"x{tail}.{x}",
            **({"weight": f"{weight}.{w}"} if self.has_weight else {}),
            **({"bias": f"b{tail}.{w}"} if self.has_bias else {}),
            **({"gate": f"gate.{w}"} if self.role == "gated" else {}),
        }

    def prepared(self, tensors, inputs, eps):
        module = copy.deepcopy(self.module)
        for name in ["weight", "bias"]:
            if name in inputs:
                setattr(module, name, torch.nn.Parameter(tensors[inputs[name]], requires_grad=False))
        for name in ["eps", "variance_epsilon"]:
            if hasattr(module, name):
                setattr(module, name, eps)
        if hasattr(module, "normalized_shape"):
            module.normalized_shape = tensors[inputs["x"]].shape[-1:]
        for name, value in [("group_size", 64), ("n_groups", 2)]:
            if hasattr(module, name):
                setattr(module, name, value)
        return module

    def run(self, tensors, inputs, eps, compiled=False):
        """Its result, or None where it refuses the types."""
        module = self.prepared(tensors, inputs, eps)
        x = tensors[inputs["x"]]
        if self.per_head:
            x = x[: len(x) // 2 * 2].view(-1, 2, x.shape[-1])
        if compiled:
            torch._dynamo.reset()
            module = torch.compile(module, dynamic=False)
        with torch.no_grad():
            try:
                y = module(x, tensors[inputs["gate"]]) if "gate" in inputs else module(x)
            except RuntimeError as error:
                if "dtype" not in str(error):
                    raise
                return None
        return y.reshape(-1, y.shape[-1])

    def records(self, tensors):
        """What is recorded of it, by name: the inputs' names, eps, and the result."""
        result = {}
        types = TYPES if self.has_weight or self.role == "gated" else [(x, x) for x in DTYPES]
        for x, w in types:
            for long in [False, True]:
                if long and (self.role == "gated" or self.per_head):
                    continue
                inputs = self.inputs(x, w, long)
                y = self.run(tensors, inputs, self.eps())
                if y is None or (long and y.dtype == torch.float32):
                    continue
                if y.dtype == torch.float32:
                    y = y[:F32_ROWS]
                tail = ".long" if long else ""
                result[f"{x}.{w}{tail}"] = (inputs, self.eps(), y)
        return result

    def eps(self):
        return 1e-5 if self.name == "OlmoLayerNorm" else EPS

    def compiled(self, tensors):
        """The same for some types, compiled; and the largest share of elements that differ from those run eagerly."""
        result, apart = {}, 0.0
        for x, w in COMPILED if self.has_weight else COMPILED[:2]:
            inputs = self.inputs(x, w, False)
            eager, y = (self.run(tensors, inputs, self.eps(), compiled) for compiled in [False, True])
            assert eager.dtype == y.dtype
            apart = max(apart, (eager != y).double().mean().item())
            result[f"{x}.{w}"] = (inputs, self.eps(), y[:F32_ROWS] if y.dtype == torch.float32 else y)
        return result, apart


def loaded(model):
    """The type that each norm's weights have in a model that is loaded as f16 or bf16, by path."""
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        for name in ["f16", "bf16"]:
            again = type(model).from_pretrained(folder, config=model.config, dtype=DTYPES[name])
            for path, module in norms_of(again).items():
                weight = weight_of(module)
                if weight is not None:
                    result.setdefault(path, {})[name] = NAMES[weight.dtype]
    return result


def shape(subject):
    weight = getattr(subject.module, "weight", None)
    if not subject.has_weight:
        return "none"
    if subject.role != "query_key":
        return "dim"
    return {(16,): "head_dim"}.get(tuple(weight.shape), "heads, head_dim" if weight.dim() == 2 else "heads * head_dim")


def groups(module, config):
    """The config's name for the number of groups that a norm takes its row apart into, or None."""
    if not any(hasattr(module, name) for name in ["group_size", "n_groups"]):
        return None
    return next(name for name in ["n_groups", "mamba_n_groups"] if name in config.to_dict())


def eps_as_data(eps, other):
    """Which of the config's eps it is, or what it is in any case; `other` has those beside the config's own."""
    if eps in other:
        key, default = other[eps]
        return {"key": key, "default": default}
    return "config" if eps == families.EPS else eps


def norms(trace, weights, config, other):
    """The norms of a model by role, as data, and one subject for each role."""
    described, subjects = {}, []
    for path, module in trace.norms.items():
        if "Unweighted" in type(module).__name__:
            continue  # DeepSeek-V4's: 1 / root is rounded before it is multiplied by.
        subject = Subject(role_of(path, module), module)
        eps = eps_of(module)
        norm = {
            "class": subject.name,
            "eps": eps_as_data(subject.eps() if eps is None else eps, other),
            "weight": shape(subject),
            "bias": subject.has_bias,
            "centred": subject.centred,
            "loaded": weights.get(path, {}) if subject.has_weight else {},
            "groups": groups(module, config),
        }
        name = path.rsplit(".", 1)[-1]
        names, known = described.setdefault(subject.role, ([], norm))
        if known is norm:
            subjects.append(subject)
        elif known != norm:
            raise SystemExit(f"{path}: expected {known}, given {norm}")
        if name not in names:
            names.append(name)
    return {role: {"names": sorted(names), **norm} for role, (names, norm) in described.items()}, subjects


def family(name):
    config, key, default = families.config_of(name)
    torch.manual_seed(0)
    model = families.build(config)
    weights = loaded(model)
    trace = Trace(model, config.is_encoder_decoder)
    described, subjects = norms(trace, weights, config, families.other_eps(name))
    flags = families.flags(name)
    described = {"flags": flags, "layers": trace.layers, "norms": described}
    return {"name": name, "eps_key": key, "eps": default, **described}, subjects


def everything():
    """What is recorded: data, and tensors by name."""
    tensors = rows.tensors()
    described, subjects = [], {}
    for name in families.FAMILIES:
        description, found = family(name)
        described.append(description)
        for subject in found:
            subjects.setdefault((subject.name, subject.role == "gated"), subject)
    records, groups, saved = [], {}, {}

    def keep(record, compiled, made):
        for types, (inputs, eps, y) in made.items():
            name = f"{record}{'.compiled' if compiled else ''}.{types}"
            records.append({"name": name, "group": record, "compiled": compiled, "eps": eps, **inputs})
            saved[name] = y.contiguous()
            saved.update({input: tensors[input] for input in inputs.values()})

    for subject in subjects.values():
        made = subject.records(tensors)
        key = (subject.role == "gated", tuple((types, tuple(inputs.items()), bits(y)) for types, (inputs, _, y) in made.items()))
        groups.setdefault(key, []).append((subject, made))
    alike, named = {}, {}
    for members in groups.values():
        subject, made = members[0]
        classes = sorted(subject.name for subject, _ in members)
        name = next((known for known in KNOWN if known in classes), classes[0])
        named[name] = classes
        keep(name, False, made)
        for known, eps in OTHER_EPS.items():
            if known in classes:
                inputs = subject.inputs("f16", "f16", False)
                keep(name, False, {f"f16.f16.eps{eps:g}": (inputs, eps, subject.run(tensors, inputs, eps))})
        if not subject.per_head:
            made, apart = subject.compiled(tensors)
            alike[name] = apart
            if apart > 0.01:
                keep(name, True, made)
    text = {
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "wrappers": {name: transformers.AutoConfig.for_model(name).text_config.model_type for name in families.WRAPPERS},
        "groups": named,
        "compiled_apart": {name: round(apart, 6) for name, apart in alike.items()},
        "families": described,
        "records": records,
    }
    return text, saved


def bits(tensor):
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def lines(text):
    """JSON with a line for each family and each record."""
    parts = []
    for key, value in text.items():
        if isinstance(value, list):
            inner = ",\n".join(json.dumps(item) for item in value)
            parts.append(f"{json.dumps(key)}: [\n{inner}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def check(text, saved):
    """How what is recorded differs from what was just made, a line each."""
    recorded = json.loads(TEXT.read_text())
    for key, value in json.loads(lines(text)).items():
        known = recorded.get(key)
        if isinstance(value, list) and isinstance(known, list):
            by_name = {item["name"]: item for item in known}
            for item in value:
                if by_name.pop(item["name"], None) != item:
                    yield f"{key}: {item['name']} is another one"
            yield from (f"{key}: {name} is gone" for name in by_name)
        elif value != known:
            yield f"{key}: {known} recorded, {value} now"
    known = load_file(DATA)
    for name in sorted(known.keys() ^ saved.keys()):
        yield f"tensor {name}: only {'recorded' if name in known else 'now'}"
    for name in sorted(known.keys() & saved.keys()):
        if bits(known[name]) != bits(saved[name]):
            apart = (known[name] != saved[name]).sum().item() if known[name].shape == saved[name].shape else "all"
            yield f"tensor {name}: {apart} of {saved[name].numel()} elements differ"


def main():
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch._inductor.config.cpp.simdlen = 256
    text, saved = everything()
    if "--check" in sys.argv:
        differences = list(check(text, saved))
        print(*differences, f"{len(text['records'])} records, {len(differences)} differences", sep="\n")
        sys.exit(bool(differences))
    TEXT.write_text(lines(text))
    save_file(saved, DATA)
    print(f"{len(text['families'])} families, {len(text['records'])} records, {DATA.stat().st_size + TEXT.stat().st_size} bytes")


if __name__ == "__main__":
    main()

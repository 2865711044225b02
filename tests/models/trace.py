"""What a model's norms are and where they stand, seen by running it once."""

import importlib
import re

import torch

# Blocks whose norms are their own.
BLOCKS = ["self_attn", "linear_attn", "mamba", "mixer", "mlp"]
ROLES = [
    ("gated", lambda name, module: "Gated" in type(module).__name__),
    ("query_key", lambda name, module: re.fullmatch(r"(q|k|qk|query|key)_(layer)?norm|q_b_norm", name)),
    ("value", lambda name, module: name == "v_norm"),
    ("latent", lambda name, module: re.fullmatch(r"(q_a|kv_a)_(layer)?norm|kv_norm", name)),
    ("state", lambda name, module: re.fullmatch(r"(dt|b|c)_layernorm", name)),
]


def is_norm(module):
    return "Norm" in type(module).__name__ and (is_per_head(module) or not any(True for _ in module.children()))


def is_per_head(module):
    """Whether it is a list of norms, one for each head, as StableLM has them."""
    return "PerHead" in type(module).__name__ and hasattr(module, "norms")


def norms_of(model):
    """The norms of a model by path. Those of heads, one for each, are one."""
    found = {path: module for path, module in model.named_modules() if is_norm(module)}
    lists = [path for path, module in found.items() if is_per_head(module)]
    return {path: found[path] for path in found if not any(path.startswith(f"{of}.") for of in lists)}


def weight_of(module):
    """Its weights, or those of its first head; None where it has none."""
    return getattr(module.norms[0] if is_per_head(module) else module, "weight", None)


def role_of(path, module):
    parent, name = path.split(".")[-2:] if "." in path else ("", path)
    rest = "inner" if parent in BLOCKS else "layer"
    return next((role for role, has in ROLES if has(name, module)), rest)


def eps_of(module):
    """The module's eps, or None where it has none of its own."""
    module = module.norms[0] if is_per_head(module) else module
    return getattr(module, "eps", getattr(module, "variance_epsilon", None))


def first_tensor(value):
    if isinstance(value, torch.Tensor):
        return value
    return first_tensor(value[0]) if isinstance(value, (tuple, list)) and value else None


def same(a, b):
    return a is not None and b is not None and a.shape == b.shape and torch.equal(a, b)


class Trace:
    """Runs a model on a few tokens. `norms` are its norms by path, `layers` the steps of its layers, each kind of layer
    once: a norm of the layer as `name<what`, where what is normalized is the layer's input (`input`), the result of
    the block in front (`block`) or anything else (`sum`); a norm inside of a block as `(name)`; a block's name; `rope`."""

    def __init__(self, model, encoder_decoder):
        self.norms = norms_of(model)
        self.steps = None
        self.input = self.output = None
        self.hooks = []
        every = []
        for path in self.roots():
            steps = []
            self.watch(model, path, steps)
            every.append(steps)
        self.mark_rotations(importlib.import_module(type(model).__module__))
        tokens = torch.arange(3, 11)[None]
        more = {"decoder_input_ids": tokens} if encoder_decoder else {}
        with torch.no_grad():
            model(input_ids=tokens, **more)
        for hook in self.hooks:
            hook.remove()
        self.layers = list(dict.fromkeys(" ".join(steps) for steps in every))

    def roots(self):
        """The paths of the first two layers that have norms; those of an encoder, where there is one."""
        in_layers = [re.match(r"((?:.*?\.)?)(\d+)\.", path) for path in self.norms]
        stack = next(match[1] for match in in_layers if match)
        return [f"{stack}0", f"{stack}1"]

    def watch(self, model, root, steps):
        layer = model.get_submodule(root)
        self.hooks.append(layer.register_forward_pre_hook(self.enter(steps), with_kwargs=True))
        self.hooks.append(layer.register_forward_hook(self.leave))
        for path, module in layer.named_modules():
            full = f"{root}.{path}"
            parent = full.rsplit(".", 1)[0]
            if full in self.norms:
                self.hooks.append(module.register_forward_pre_hook(self.norm(full), with_kwargs=True))
            elif path and (parent == root or re.search(r"\.\d+$", parent)) and any(True for _ in module.parameters()):
                self.hooks.append(module.register_forward_pre_hook(self.enter_block(path)))
                self.hooks.append(module.register_forward_hook(self.leave_block))

    def enter(self, steps):
        def enter(module, args, kwargs):
            self.steps = steps
            self.input = first_tensor(args) if args else first_tensor(kwargs.get("hidden_states"))

        return enter

    def leave(self, module, args, output):
        self.steps = None

    def norm(self, path):
        name = path.rsplit(".", 1)[-1]
        is_inside = role_of(path, self.norms[path]) != "layer"

        def step(module, args, kwargs):
            x = first_tensor(args) if args else first_tensor(kwargs.get("hidden_states"))
            what = "input" if same(x, self.input) else "block" if same(x, self.output) else "sum"
            self.steps.append(f"({name})" if is_inside else f"{name}<{what}")

        return step

    def enter_block(self, path):
        def enter(module, args):
            self.steps.append(path.rsplit(".", 1)[-1])
            # A block that is given the residual adds it.
            self.adds = any(same(first_tensor(arg), self.input) for arg in args[1:])

        return enter

    def leave_block(self, module, args, output):
        self.output = None if self.adds else first_tensor(output)

    def mark_rotations(self, module):
        """Has the functions that rotate say so."""
        for name in vars(module):
            function = getattr(module, name)
            if name.startswith("apply_rotary") and callable(function):
                setattr(module, name, self.marked(function))

    def marked(self, function):
        def rotate(*args, **kwargs):
            if self.steps is not None and self.steps[-1] != "rope":
                self.steps.append("rope")
            return function(*args, **kwargs)

        return rotate

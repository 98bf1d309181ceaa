"""Weight normalisation (Salimans & Kingma, 2016): weight = g v / |v|, norms taken for every slice along one axis."""

from __future__ import annotations

from typing import Any

from gradgen.eager.tensor import Tensor
from gradgen.nn.module import Module
from gradgen.nn.parameter import Parameter


def _norms(v: Any, dim: int | None) -> Any:
    """The norm of each slice along `dim`, of all for None; shaped to be multiplied with v."""
    if dim is None:
        return v.norm()
    others = tuple(d for d in range(v.ndim) if d != dim % v.ndim)
    return v.norm(2, others, keepdim=True) if others else v.abs()


class _WeightNorm:
    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, dim

    def weight(self, module: Module) -> Tensor:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        found: Tensor = v * (g / _norms(v, self.dim))
        return found

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Replaces the parameter `name` by `name`_g and `name`_v, from which it is made before every forward."""
    if any(isinstance(h, _WeightNorm) and h.name == name for h in module._forward_pre_hooks.values()):
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    own: Any = getattr(module, name)
    del module._parameters[name]
    along = None if dim == -1 else dim
    module.register_parameter(f"{name}_g", Parameter(_norms(own, along).detach()))
    module.register_parameter(f"{name}_v", Parameter(own.detach()))
    hook = _WeightNorm(name, along)
    setattr(module, name, hook.weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """The parameter as it was, with its present value."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, _WeightNorm) and hook.name == name:
            value = hook.weight(module)
            delattr(module, name)
            del module._parameters[f"{name}_g"], module._parameters[f"{name}_v"]
            setattr(module, name, Parameter(value.detach()))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")

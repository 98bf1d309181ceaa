"""Spectral normalisation (Miyato et al., 2018): a weight divided by its largest singular value, by power iteration."""

from __future__ import annotations

from typing import Any

from gradgen.eager import creation
from gradgen.eager.modes import no_grad
from gradgen.nn import functional as F
from gradgen.nn.module import Module
from gradgen.nn.parameter import Parameter

functional: Any = F


class _SpectralNorm:
    def __init__(self, name: str, dim: int, iterations: int, eps: float) -> None:
        self.name, self.dim, self.iterations, self.eps = name, dim, iterations, eps

    def matrix(self, weight: Any) -> Any:
        moved = weight.movedim(self.dim, 0) if self.dim else weight
        return moved.reshape(moved.shape[0], -1)

    def weight(self, module: Module, iterate: bool) -> Any:
        own = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = self.matrix(own)
        if iterate:
            with no_grad():
                fixed = matrix.detach()
                for _ in range(self.iterations):
                    v.copy_(functional.normalize(fixed.t() @ u, dim=0, eps=self.eps))
                    u.copy_(functional.normalize(fixed @ v, dim=0, eps=self.eps))
                u, v = u.clone(), v.clone()
        return own / u.dot(matrix.mv(v))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.weight(module, module.training))


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Replaces the parameter `name` by `name`_orig, whose largest singular value is estimated at every forward in training
    (buffers `name`_u and `name`_v)."""
    if any(isinstance(h, _SpectralNorm) and h.name == name for h in module._forward_pre_hooks.values()):
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    if n_power_iterations <= 0:
        raise ValueError(
            f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
        )
    if dim is None:
        dim = 1 if type(module).__name__ in ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d") else 0
    own: Any = getattr(module, name)
    hook = _SpectralNorm(name, dim, n_power_iterations, eps)
    matrix = hook.matrix(own.detach())
    ends = []
    for extent in matrix.shape:
        drawn: Any = creation.empty(extent, dtype=own.dtype)
        ends.append(functional.normalize(drawn.normal_(0, 1), dim=0, eps=eps))
    del module._parameters[name]
    module.register_parameter(f"{name}_orig", own)
    setattr(module, name, own.detach())
    module.register_buffer(f"{name}_u", ends[0])
    module.register_buffer(f"{name}_v", ends[1])
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """The parameter as it was, with its present value."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, _SpectralNorm) and hook.name == name:
            with no_grad():
                value = hook.weight(module, False)
            delattr(module, name)
            del module._buffers[f"{name}_u"], module._buffers[f"{name}_v"], module._parameters[f"{name}_orig"]
            setattr(module, name, Parameter(value.detach()))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")

"""A program of a torch Module beside the Module: its loss and every gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

import gradgen as gg
from gradgen.autodiff import gradients
from gradgen.ir.nodes import Input
from gradgen.reference.interpreter import evaluate


def weighed(found: Any) -> Any:
    """A loss of everything that a model returns, in which no two elements weigh the same."""
    leaves = [t for t in pytree.tree_leaves(found) if isinstance(t, torch.Tensor) and t.is_floating_point()]
    weights = [torch.sin(torch.arange(t.numel(), dtype=t.dtype).reshape(t.shape) + 1) for t in leaves]
    return sum((t * w).sum() + t.square().mean() for t, w in zip(leaves, weights))


def beside(
    door: Callable[..., gg.TracedFunction], model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *,
    loss: Callable[..., Any] = weighed, loss_args: Sequence[Any] = (), tolerance: float = 1e-10, out: Path | None = None,
    **options: Any,
) -> gg.TracedFunction:
    """The program that `door` makes, after its loss and all gradients were torch's, relative to each tensor's largest entry.

    The graph is interpreted, or, where `out` is given, built there as a module.
    """
    kwargs = dict(kwargs or {})
    before = _state(model)
    program = door(model, args, kwargs, loss=loss, loss_args=loss_args, **options)
    for name, (value, wants) in _state(model).items():
        assert wants == before[name][1] and torch.equal(value, before[name][0]), f"the door changed {name}"
    examples = pytree.tree_map(lambda t: t.detach().numpy(), [
        t for t in pytree.tree_leaves((list(args), kwargs, list(loss_args))) if isinstance(t, torch.Tensor)])
    found, slopes = (_interpreted if out is None else _built)(program, examples, out)

    fresh = pytree.tree_map_only(torch.Tensor, lambda t: t.detach().clone().requires_grad_(t.requires_grad), (
        list(args), kwargs, list(loss_args)))
    expected = loss(model(*fresh[0], **fresh[1]), *fresh[2])
    expected.backward()
    _same(found, expected, tolerance, "the loss")
    inputs = [n for n in program.specs if n not in program.names.values()]
    leaves = [t for t in pytree.tree_leaves(fresh) if isinstance(t, torch.Tensor)]
    wanted = {n: t for n, t in zip(inputs, leaves, strict=True) if program.specs[n].requires_grad}
    for path, parameter in dict(model.named_parameters()).items() if isinstance(model, torch.nn.Module) else ():
        if path in program.names and program.specs[program.names[path]].requires_grad:
            wanted[program.names[path]] = parameter
        else:
            assert parameter.grad is None or not parameter.grad.any(), f"{path} has no gradient"
    assert wanted.keys() == slopes.keys()
    for name, tensor in wanted.items():
        _same(slopes[name], tensor.grad, tolerance, name)
    return program


def _state(model: Any) -> dict[str, tuple[torch.Tensor, bool]]:
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())} if isinstance(model, torch.nn.Module) else {}
    return {n: (t.detach().clone(), t.requires_grad) for n, t in named.items()}


def _interpreted(program: gg.TracedFunction, examples: Sequence[np.ndarray], out: Any) -> tuple[Any, dict[str, Any]]:
    paths, rest = {c: path for path, c in program.names.items()}, iter(examples)
    given = {n: program.state[paths[n.name]] if n.name in paths else next(rest) for n in program.graph.inputs}
    wanted = [n for n in program.graph.inputs if n.requires_grad]
    seed = Input("seed", (), program.graph.outputs[0].dtype)
    slopes = gradients(program.graph.outputs[:1], [seed], wanted)
    values = evaluate([program.graph.outputs[0], *slopes], {**given, seed: np.ones((), seed.dtype.numpy)})
    return values[0], {n.name: v for n, v in zip(wanted, values[1:], strict=True)}


def _built(program: gg.TracedFunction, examples: Sequence[np.ndarray], out: Path) -> tuple[Any, dict[str, Any]]:
    module = gg.build(program, name="built", out=out)
    held = {c: program.state[path] for path, c in program.names.items()}
    net = module.Module(**{c: v for c, v in held.items() if hasattr(module.Module, c)})
    found = net.forward(*examples, **{c: v for c, v in held.items() if not hasattr(module.Module, c)})
    net.backward()
    return found, {n: getattr(net.grad, n) for n, s in program.specs.items() if s.requires_grad}


def _same(found: Any, expected: torch.Tensor, tolerance: float, what: str) -> None:
    theirs = expected.detach().numpy()
    assert np.shape(found) == theirs.shape, what
    assert np.abs(found - theirs).max(initial=0) <= tolerance * np.abs(theirs).max(initial=1e-30), what

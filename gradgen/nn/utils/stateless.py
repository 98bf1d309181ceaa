"""Calls of modules with other parameters than their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from gradgen.eager import namespace
from gradgen.nn.module import Module


@contextmanager
def _replaced(module: Module, values: Mapping[str, Any], strict: bool) -> Any:
    own = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    own |= {name for name, _ in module.named_buffers(remove_duplicate=False)}
    unexpected, missing = [k for k in values if k not in own], [k for k in own if k not in values]
    if strict and (unexpected or missing):
        text = f"Error(s) in reparametrizing for {module._get_name()}:"
        for what, names in (("Unexpected", unexpected), ("Missing", missing)):
            if names:
                text += f"\n\t{what} key(s): " + ", ".join(f"'{n}'" for n in sorted(names)) + "."
        raise RuntimeError(text)
    kept: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for path, value in values.items():
            if path in own:
                where, _, name = path.rpartition(".")
                holder = module.get_submodule(where)
                store: dict[str, Any] = holder._parameters if name in holder._parameters else holder._buffers
                kept.append((store, name, store[name]))
                store[name] = value
        yield
    finally:
        for store, name, value in reversed(kept):
            store[name] = value


def functional_call(
    module: Module, parameter_and_buffer_dicts: Any, args: Any = None, kwargs: Mapping[str, Any] | None = None, *,
    tie_weights: bool = True, strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with the given tensors in place of its parameters and buffers of those names.

    `parameter_and_buffer_dicts` is a dict or a sequence of them; RuntimeError for names that do not fit, if `strict`.
    """
    given = parameter_and_buffer_dicts
    values = dict(given) if isinstance(given, Mapping) else {k: v for one in given for k, v in one.items()}
    if tie_weights:
        first: dict[int, str] = {}
        for name, p in module.named_parameters(remove_duplicate=False):
            known = first.setdefault(id(p), name)
            if known in values:
                values.setdefault(name, values[known])
    with _replaced(module, values, strict):
        positional = () if args is None else args if isinstance(args, tuple) else (args,)
        return module(*positional, **(kwargs or {}))


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and buffers of modules of one kind, stacked by name."""
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    stack: Any = namespace.functions()["stack"]
    parameters = {
        name: stack([dict(m.named_parameters())[name].detach() for m in models]).requires_grad_(p.requires_grad)
        for name, p in models[0].named_parameters()
    }
    buffers = {name: stack([dict(m.named_buffers())[name] for m in models]) for name, _ in models[0].named_buffers()}
    return parameters, buffers

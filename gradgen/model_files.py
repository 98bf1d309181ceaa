"""Models out of files for `gradgen import`: a class, object or function in a script, an exported program, an ONNX file."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gradgen.errors import GradgenError, TraceError
from gradgen.importers.from_onnx import from_onnx
from gradgen.importers.from_torch import from_torch
from gradgen.nn.module import Module
from gradgen.record.traced import Spec, TracedFunction
from gradgen.scripts import ScriptError, load_module, parse_extents, user_line
from gradgen.serialization import load, save
from gradgen.trace.choice import chosen
from gradgen.trace.tracing import trace

__all__ = ["WEIGHTS", "ModelFile", "import_model", "parse_example", "write_weights"]

SIZES = (2, 3, 5, 7, 11, 13, 17, 19)
"""Of named dimensions in examples: different ones, so that no two look alike; PyTorch takes 0 and 1 for constants."""


@dataclass(frozen=True)
class ModelFile:
    """What is asked for: `source` is script.py:name, package.module:name, or a file .onnx or .pt2 (of torch.export.save).

    `examples` and `loss_examples` say the inputs of the model and further ones of the loss (see `parse_example`), `sizes`
    those of named dimensions while the model is exported, `weights` is a file whose state_dict is loaded first.
    """

    source: str
    examples: Sequence[str] = ()
    loss: str | None = None
    loss_examples: Sequence[str] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    weights: Path | None = None
    dtype: str | None = None
    name: str | None = None


def parse_example(text: str, option: str = "--example") -> tuple[str | None, Spec]:
    """`N,3,64,64`, `1,16:int64` or `mask=N,16:bool`: extents, a dtype, a name for an argument that goes by its name.

    A word among the extents is a dimension that is known when the C is called.  Raises ScriptError.
    """
    name, equals, rest = text.rpartition("=")
    if equals and not name.strip().isidentifier():
        raise ScriptError(f"{option} {text!r}: {name!r} is no name", hint=f"for example {option} x=N,3,64,64:float32")
    return name.strip() or None, parse_extents(rest, f"{option} {text!r}")


def import_model(asked: ModelFile, train: bool | None) -> TracedFunction:
    """The program of the model, in training or evaluation (None: as the file has it).

    Raises ScriptError where the file does not have what was asked for, and what the importers raise.
    """
    if asked.source.endswith(".onnx"):
        return _from_onnx(asked, train)
    model, home = _model(asked.source)
    if isinstance(model, TracedFunction):
        return model
    try:
        if asked.weights is not None:
            _load_weights(model, asked.weights)
        loss = _loss(asked.loss, home, isinstance(model, Module))
        if isinstance(model, Module):
            return _of_gradgen(asked, model, loss, train)
        return _of_torch(asked, model, loss, train)
    except (GradgenError, OSError):
        raise
    except Exception as error:  # torch raises whatever its many parts do
        what = str(error).strip().splitlines() or [""]
        raise TraceError(f"{type(error).__name__}: {what[0]}", where=user_line(error) or asked.source) from error


WEIGHTS = (".safetensors", ".pt", ".npz", ".bin")


def write_weights(program: TracedFunction, path: Path) -> None:
    """The program's state, under all names of its state_dict: .safetensors, .pt, or .npz that NumPy reads alone; .bin is the
    block that C reads."""
    names = [*program.order, *(p for p in program.state if p not in program.order)]
    state = {p: program.state.get(program.aliases.get(p, p), np.zeros((), np.int64)) for p in names}
    if path.suffix == ".npz":
        np.savez(path, **state)
    elif path.suffix == ".bin":
        paths = {n: p for p, n in program.names.items()}
        held = [program.state[paths.get(n.name, n.name)] for n in program.graph.inputs if paths.get(n.name, n.name) in state]
        held.sort(key=lambda a: -a.itemsize)
        path.write_bytes(b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in held))
    else:
        save(state, path)


# --- files ------------------------------------------------------------------------------------------------------------


def _from_onnx(asked: ModelFile, train: bool | None) -> TracedFunction:
    given = [parse_example(e) for e in asked.examples]
    for name, one in given:
        if name is None:
            said = ",".join(map(str, one.shape))
            raise ScriptError(f"{asked.source} says the shapes of its inputs itself",
                              hint=f"another shape is --example NAME={said}; a size is --dim NAME=SIZE")
    if asked.loss or asked.weights:
        raise ScriptError("--loss and --weights are for models in Python: an ONNX file has its own")
    if not Path(asked.source).is_file():
        raise ScriptError(f"there is no file {asked.source}")
    dims = {**{n: tuple(e if isinstance(e, int) else str(e) for e in s.shape) for n, s in given if n}, **asked.sizes}
    return from_onnx(asked.source, train, dims, asked.dtype, asked.name)


def _model(source: str) -> tuple[Any, Any]:
    """The model, and the module that it stands in."""
    if source.endswith(".pt2"):
        import torch

        return torch.export.load(source), None
    where, _, name = source.rpartition(":")
    if not where:
        raise ScriptError(f"{source!r} names no model", hint="write script.py:Net, or a file .onnx or .pt2")
    home = load_module(where)
    found = getattr(home, name, None)
    if found is None:
        own = [n for n, v in vars(home).items() if not n.startswith("_") and getattr(v, "__module__", "") == home.__name__]
        raise ScriptError(f"{where} has no {name!r}", hint=f"it has {', '.join(own) or 'nothing of its own'}")
    if isinstance(found, TracedFunction) or _is_model(found):
        return found, home
    if not callable(found):
        raise ScriptError(f"{name} in {where} is a {type(found).__name__}, not a model",
                          hint="a Module, its class, or a function without arguments that returns it")
    if isinstance(found, type) or not inspect.signature(found).parameters:  # a class, or a function that makes the model
        try:
            return found(), home
        except TypeError as error:
            if not isinstance(found, type):
                raise
            raise ScriptError(f"{name}() cannot be made without arguments: {error}",
                              hint=f"write a function that returns {name}(...), and name that") from error
        except Exception as error:
            raise ScriptError(f"{name}() fails: {type(error).__name__}: {error}", where=user_line(error)) from error
    return found, home


def _is_model(found: Any) -> bool:
    torch = sys.modules.get("torch")
    return isinstance(found, Module) or (torch is not None and isinstance(found, torch.nn.Module))


def _load_weights(model: Any, path: Path) -> None:
    if not hasattr(model, "load_state_dict"):
        raise ScriptError("--weights is for a Module: this model has its own")
    state = load(path)
    if not isinstance(model, Module):
        import torch

        state = {n: torch.from_numpy(np.array(t.detach().numpy())) for n, t in state.items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ScriptError(" ".join(str(error).split()), where=str(path)) from error


def _loss(name: str | None, home: Any, own: bool) -> Callable[..., Any] | None:
    """The function of that name in the script, or of nn.functional."""
    if name is None:
        return None
    if own:
        from gradgen.nn import functional
    else:
        from torch.nn import functional
    found = getattr(home, name, None) or getattr(functional, name, None)
    if isinstance(found, type):
        found = found()
    if not callable(found):
        raise ScriptError(f"--loss {name}: neither the script nor nn.functional has such a function",
                          hint="for example --loss cross_entropy --loss-example N:int64")
    return found  # type: ignore[no-any-return]


# --- doors ------------------------------------------------------------------------------------------------------------


def _of_gradgen(asked: ModelFile, model: Module, loss: Callable[..., Any] | None, train: bool | None) -> TracedFunction:
    examples = [parse_example(e) for e in asked.examples]
    more = [parse_example(e, "--loss-example") for e in asked.loss_examples]
    names = _names(model.forward, examples)
    targets = _names(loss, more, 1) if loss is not None else []
    specs: dict[str, Any] = dict(zip([*names, *targets], [s for _, s in (*examples, *more)]))

    def whole(**given: Any) -> Any:
        found = model(**{n: given[n] for n in names})
        return found if loss is None else {"loss": loss(found, *(given[n] for n in targets))}

    before = {m: m.training for m in model.modules()}
    model.train(model.training if train is None else train)
    try:
        return chosen(trace(whole, name=asked.name or type(model).__name__, **specs), dtype=asked.dtype)
    finally:
        for module, mode in before.items():
            module.training = mode


def _of_torch(asked: ModelFile, model: Any, loss: Callable[..., Any] | None, train: bool | None) -> TracedFunction:
    examples = [parse_example(e) for e in asked.examples]
    more = [parse_example(e, "--loss-example") for e in asked.loss_examples]
    if not examples and not asked.source.endswith(".pt2"):
        raise ScriptError("what the model is called with is not known",
                          hint="for example --example N,3,64,64, once for each input")
    names = _names(getattr(model, "forward", model), examples)
    names += _names(loss, more, 1) if loss is not None else []
    specs = [s for _, s in (*examples, *more)]
    words = list(dict.fromkeys(str(e) for s in specs for e in s.shape if not isinstance(e, int)))
    sizes = {w: SIZES[k % len(SIZES)] for k, w in enumerate(words)} | dict(asked.sizes)
    for word in asked.sizes:
        if word not in words:
            raise ScriptError(f"--dim {word}: no example has such a dimension")
    tensors = [_tensor(s, sizes) for s in specs]
    logging.getLogger("torch").setLevel(logging.CRITICAL)  # what is wrong is said once, by the error
    named = {n: t for (said, _), n, t in zip(examples, names, tensors) if said is not None}
    dynamic = {n: axes for n, s in zip(names, specs) if (axes := {k: str(e) for k, e in enumerate(s.shape)
                                                                  if not isinstance(e, int)})}
    return from_torch(model, tuple(t for (said, _), t in zip(examples, tensors) if said is None), named or None, loss=loss,
                      loss_args=tuple(tensors[len(examples):]), dynamic_shapes=dynamic or None, train=train,
                      dtype=asked.dtype, name=asked.name)


def _names(function: Any, examples: Sequence[tuple[str | None, Spec]], skip: int = 0) -> list[str]:
    """The function's names for its arguments."""
    try:
        plain = [p.name for p in inspect.signature(function).parameters.values()
                 if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][skip:]
    except (TypeError, ValueError):
        plain = []
    position, found = 0, []
    for said, _ in examples:
        found.append(said or (plain[position] if position < len(plain) else f"input{position}"))
        position += said is None
    return found


def _tensor(one: Spec, sizes: Mapping[str, int]) -> Any:
    """A torch tensor of the shape and dtype: only they count."""
    import torch

    shape = [e if isinstance(e, int) else sizes[str(e)] for e in one.shape]
    kind = getattr(torch, one.dtype.name)
    made = torch.rand(shape, dtype=kind) if one.dtype.is_floating_point else torch.zeros(shape, dtype=kind)
    return made.requires_grad_(one.requires_grad)

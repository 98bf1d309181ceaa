"""What is known when a model is read: numbers are computed by ONNX's own evaluator, sizes in named dimensions here.

Exported models compute shapes by operators (Shape, Gather, Concat, arithmetic, Reshape).  A named dimension is a symbol in
an array of dtype object on this way, so that `N * 4` reaches a Reshape as what it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from gradgen.importers.onnx_reading import package
from gradgen.ir.symbols import same_extent

Fold = Callable[..., Any]


class Undecided(Exception):
    """A comparison of sizes that holds for some and not for others."""


def normal(value: Any) -> Any:
    """Arrays of plain integers as int64, whatever NumPy made of them."""
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        plain = [sympy.sympify(e) for e in value.reshape(-1)]
        if all(e.is_Integer for e in plain):
            return np.array([int(e) for e in plain], np.int64).reshape(value.shape)
    return value


def folded(node: Any, schema: Any, inputs: Sequence[Any], attributes: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """The results of a node whose inputs are all known; None where it has to be computed by the program."""
    if any(v is not None and v.dtype == object for v in inputs):
        fold = _SIZES.get(node.op_type)
        if fold is None:
            return None
        try:
            return fold(*inputs, **{k: v for k, v in attributes.items() if v is not None and k in _USED})
        except (Undecided, TypeError, ValueError, IndexError):
            return None
    if node.op_type == "CastLike":  # whose evaluator needs the types of a whole model
        return inputs[0].astype(inputs[1].dtype)
    return _evaluated(node, schema, inputs, given)


def _evaluated(node: Any, schema: Any, inputs: Sequence[Any], given: Mapping[str, Any]) -> Any:
    onnx = package()
    from onnx.reference import ReferenceEvaluator

    names = [f"x{k}" if v is not None else "" for k, v in enumerate(inputs)]
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    del alone.attribute[:]
    for name, value in given.items():
        proto = onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        alone.attribute.append(onnx.helper.make_attribute(name, proto, attr_type=schema.attributes[name].type.value))
    del alone.input[:], alone.output[:]
    alone.input.extend(names)
    alone.output.extend(f"y{k}" for k in range(len(node.output)))
    try:
        graph = onnx.helper.make_graph(
            [alone], "known", [onnx.helper.make_value_info(n, onnx.TypeProto()) for n in names if n],
            [onnx.helper.make_value_info(o, onnx.TypeProto()) for o in alone.output])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", schema.since_version)])
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = ReferenceEvaluator(model).run(None, {n: v for n, v in zip(names, inputs) if n})
    except Exception:  # what the evaluator cannot do, whatever it raises then, is done by the program
        return None
    if not all(isinstance(v, (np.ndarray, np.generic)) for v in found):
        return None
    return tuple(np.asarray(v) for v in found)


# --- sizes --------------------------------------------------------------------------------------------------------------

_USED = {"axis", "axes", "keepdims", "allowzero", "perm", "to", "noop_with_empty_axes", "num_outputs", "split"}


def _quotient(a: Any, b: Any) -> Any:
    return a // b


def _remainder(a: Any, b: Any) -> Any:
    return a - b * (a // b)


def _equal(a: Any, b: Any) -> bool:
    if same_extent(a, b):
        return True
    if sympy.expand(sympy.sympify(a) - b).is_zero is False:
        return False
    raise Undecided


def _less(a: Any, b: Any) -> bool:
    found = sympy.expand(sympy.sympify(b) - a).is_positive
    if found is None:
        raise Undecided
    return bool(found)


def _pairs(function: Callable[[Any, Any], Any], kind: Any = object) -> Fold:
    def fold(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        left, right = np.broadcast_arrays(a, b)
        elements = [function(x, y) for x, y in zip(left.reshape(-1).tolist(), right.reshape(-1).tolist())]
        made = np.empty(len(elements), kind)
        made[:] = elements
        return made.reshape(left.shape)

    return fold


def _among(better: Callable[[Any, Any], Any]) -> Fold:
    def fold(*arrays: np.ndarray) -> np.ndarray:
        found = arrays[0]
        for other in arrays[1:]:
            found = _pairs(better)(found, other)
        return found

    return fold


def _cast(x: np.ndarray, to: int) -> Any:
    """Sizes stay what they are as integers; as floating numbers the program has them."""
    proto = package().TensorProto
    if to not in (proto.INT64, proto.INT32):
        raise Undecided
    return x


def _slice(data: np.ndarray, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> np.ndarray:
    axes = range(len(starts)) if axes is None else axes.tolist()
    steps = [1] * len(starts) if steps is None else steps.tolist()
    cut = [slice(None)] * data.ndim
    for a, first, last, step in zip(axes, starts.tolist(), ends.tolist(), steps):
        n = data.shape[a]
        cut[a] = slice(first, None if step < 0 and last < -n else last, step)
    return data[tuple(cut)]


def _squeeze(data: np.ndarray, axes: Any = None) -> np.ndarray:
    return np.squeeze(data, None if axes is None else tuple(np.reshape(axes, -1).tolist()))


def _unsqueeze(data: np.ndarray, axes: Any) -> np.ndarray:
    return np.expand_dims(data, tuple(np.reshape(axes, -1).tolist()))


def _reduced(function: Callable[..., Any]) -> Fold:
    def fold(data: np.ndarray, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0) -> np.ndarray:
        over = None if axes is None or not np.size(axes) else tuple(np.reshape(axes, -1).tolist())
        if over is None and noop_with_empty_axes:
            return data
        return np.asarray(function(data, axis=over, keepdims=bool(keepdims)))

    return fold


def _split(data: np.ndarray, split: Any = None, axis: int = 0, num_outputs: int = 0) -> tuple[np.ndarray, ...]:
    if split is None:
        if not num_outputs:
            raise Undecided
        step = -(-data.shape[axis] // num_outputs)
        return tuple(np.split(data, range(step, step * num_outputs, step), axis))
    return tuple(np.split(data, np.cumsum(split)[:-1].tolist(), axis))


def _reshape(data: np.ndarray, shape: np.ndarray, allowzero: int = 0) -> np.ndarray:
    wanted = shape.tolist()
    return data.reshape([data.shape[k] if not e and not allowzero else e for k, e in enumerate(wanted)])


def _where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(condition.astype(bool), x.astype(object), y.astype(object))


_SIZES: dict[str, Fold] = {
    "Identity": lambda x: x,
    "Gather": lambda data, indices, axis=0: np.asarray(np.take(data, indices, axis)),
    "Concat": lambda *inputs, axis: np.concatenate([x.astype(object) for x in inputs], axis),
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Flatten": lambda data, axis=1: data.reshape((int(np.prod(data.shape[:axis])), -1)),
    "Transpose": lambda data, perm=None: np.transpose(data, perm),
    "Split": _split,
    "Tile": lambda data, repeats: np.tile(data, repeats.tolist()),
    "Expand": lambda data, shape: np.broadcast_to(data, np.broadcast_shapes(data.shape, tuple(shape.tolist()))),
    "Cast": _cast,
    "Neg": lambda x: -x,
    "Add": _pairs(lambda a, b: a + b),
    "Sub": _pairs(lambda a, b: a - b),
    "Mul": _pairs(lambda a, b: a * b),
    "Div": _pairs(_quotient),
    "Mod": _pairs(_remainder),
    "Max": _among(lambda a, b: b if _equal_or_less(a, b) else a),
    "Min": _among(lambda a, b: a if _equal_or_less(a, b) else b),
    "Equal": _pairs(_equal, bool),
    "Less": _pairs(_less, bool),
    "Greater": _pairs(lambda a, b: _less(b, a), bool),
    "LessOrEqual": _pairs(lambda a, b: not _less(b, a), bool),
    "GreaterOrEqual": _pairs(lambda a, b: not _less(a, b), bool),
    "Where": _where,
    "ReduceSum": _reduced(np.sum),
    "ReduceProd": _reduced(np.prod),
}


def _equal_or_less(a: Any, b: Any) -> bool:
    found = sympy.expand(sympy.sympify(b) - a).is_nonnegative
    if found is None:
        raise Undecided
    return bool(found)

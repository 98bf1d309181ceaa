"""An ONNX graph under construction: nodes, constants, sizes of open dimensions, names; the same node is made once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import sympy

from gradgen.errors import GradgenError, UnsupportedOperationError
from gradgen.exporters.onnx_functions import FORMS, form_of
from gradgen.ir.dtypes import INDEX, DType, bool_
from gradgen.ir.graph import Location
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.scalar_table import BOOL, FLOAT, ScalarFunction
from gradgen.ir.symbols import Dim, Extent

LAST = np.iinfo(np.int64).min
"""Where a Slice ends that goes backwards to the first element."""


def package() -> ModuleType:
    """The `onnx` package.  GradgenError where it is not installed."""
    try:
        import onnx
    except ImportError:
        hint = 'pip install onnx, or pip install "gradgen[onnx]"'
        raise GradgenError("gg.to_onnx needs the package onnx", hint=hint) from None
    module: ModuleType = onnx
    return module


def element_type(dtype: DType) -> int:
    """TensorProto's number of a dtype."""
    return int(package().helper.np_dtype_to_tensor_dtype(dtype.numpy))


class Writer:
    """The nodes of one graph; `outer` is that of the graph around it, whose names are known here.

    Tensors are their names.  `dims` says which input and axis a named dimension is read from, `where` is the user's line that
    the next nodes are for.
    """

    def __init__(self, outer: Writer | None = None, dims: dict[Dim, tuple[str, int | None]] | None = None) -> None:
        self.outer = outer
        self.root: Writer = outer.root if outer is not None else self
        self.nodes: list[Any] = []
        self.made: dict[Any, Any] = {}
        self.where: Location | None = None if outer is None else outer.where
        if outer is None:
            self.dims = dims or {}
            self.names: set[str] = set()
            self.initialisers: list[Any] = []

    # --- names and constants ----------------------------------------------------------------------------------------------

    def name(self, hint: str) -> str:
        """A name that no other tensor or node has."""
        taken, number, found = self.root.names, 1, hint
        while found in taken:
            number, found = number + 1, f"{hint}_{number}"
        taken.add(found)
        return found

    def constant(self, value: Any, dtype: DType = INDEX) -> str:
        array = np.asarray(value, dtype.numpy, order="C")
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        if key not in self.root.made:
            small = array.ndim == 0 and array.dtype.kind != "f"
            hint = re.sub(r"\W", "_", f"{array.item()}") if small else "constant"
            name = self.root.made[key] = self.name(hint)
            self.root.initialisers.append(package().numpy_helper.from_array(array, name))
        found: str = self.root.made[key]
        return found

    # --- nodes ------------------------------------------------------------------------------------------------------------

    def op(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """The first result of a node."""
        return self.results(op, inputs, outputs, **attributes)[0]

    def results(self, op: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        key = (op, tuple(inputs), outputs, tuple(sorted((k, repr(v)) for k, v in attributes.items())))
        scope: Writer | None = self
        while scope is not None:
            if key in scope.made:
                return list(scope.made[key])
            scope = scope.outer
        at = self.where
        label = "" if at is None else re.sub(r"\W", "_", at.variable or at.operation)
        names = [self.name(f"{label}_{op}".strip("_")) for _ in range(outputs)]
        node = package().helper.make_node(op, list(inputs), names, name=names[0], **attributes)
        if at is not None:
            node.doc_string = str(at)
        self.nodes.append(node)
        self.made[key] = names
        return names

    def cast(self, name: str, old: DType, new: DType) -> str:
        return name if old is new else self.op("Cast", name, to=element_type(new))

    def where_(self, condition: str, yes: str, no: str, dtype: DType) -> str:
        """Where; of truth values, which not all runtimes choose between, by And and Or."""
        if dtype is not bool_:
            return self.op("Where", condition, yes, no)
        return self.op("Or", self.op("And", condition, yes), self.op("And", self.op("Not", condition), no))

    # --- sizes ------------------------------------------------------------------------------------------------------------

    def dim(self, symbol: Dim) -> str:
        """A named dimension: int64[1]."""
        if symbol not in self.root.dims:
            raise GradgenError(f"no input has the dimension {symbol.name}")
        source, axis = self.root.dims[symbol]
        if axis is None:
            return self.root.op("Reshape", source, self.constant([1]))
        return self.root.op("Shape", source, start=axis, end=axis + 1)

    def size(self, extent: Extent) -> str:
        """An extent: int64[]."""
        return self.root.integer(sympy.sympify(extent), {})

    def integer(self, e: sympy.Expr, env: Mapping[sympy.Basic, str]) -> str:
        """An index expression over int64 tensors by symbol: as `gradgen.ir.evaluation.integer` says."""
        if e in env:
            return env[e]
        if e.is_Integer:
            return self.constant(int(e))
        if isinstance(e, Dim):
            return self.op("Squeeze", self.dim(e), self.constant([0]))
        if isinstance(e, sympy.Add):
            return self.sum([(-t, True) if t.could_extract_minus_sign() else (t, False) for t in e.args], env)
        if isinstance(e, sympy.Mul):
            number, factors = e.as_coeff_mul()
            value = self.product([sympy.Integer(number.p)] if number.p != 1 else [], factors, env)
            return value if number.q == 1 else self.floor_div(value, self.constant(int(number.q)))
        if isinstance(e, sympy.Pow) and e.exp.is_Integer and e.exp > 0:
            return self.product([], [e.base] * int(e.exp), env)
        if isinstance(e, (sympy.floor, sympy.ceiling)):
            up = isinstance(e, sympy.ceiling)
            a, b = sympy.together(-e.args[0] if up else e.args[0]).as_numer_denom()
            found = self.floor_div(self.integer(a, env), self.integer(b, env))
            return self.op("Neg", found) if up else found
        if isinstance(e, (sympy.Mod, modulo)):
            return self.op("Mod", *(self.integer(a, env) for a in e.args))
        if isinstance(e, quotient):
            return self.floor_div(*(self.integer(a, env) for a in e.args))
        if isinstance(e, (sympy.Min, sympy.Max)):
            return self.op("Min" if isinstance(e, sympy.Min) else "Max", *(self.integer(a, env) for a in e.args))
        if isinstance(e, ScalarFunction):
            return self.applied(e, [self.integer(a, env) for a in e.args[:1 if e.record.identity else None]])
        raise UnsupportedOperationError(f"the index {e}")

    def applied(self, e: ScalarFunction, args: list[str]) -> str:
        """A scalar function of int64 tensors."""
        form = form_of(e.key, INDEX)
        if e.record.identity:
            return args[0]
        if form is None or e.record.result == FLOAT:
            raise UnsupportedOperationError(f"{e.key}()")
        if e.record.logical or e.key == "select":
            args[:1 if e.key == "select" else None] = [
                self.cast(a, INDEX, bool_) for a in args[:1 if e.key == "select" else None]]
        found = form(self, args, bool_ if e.record.logical else INDEX)
        return self.cast(found, bool_, INDEX) if e.record.result == BOOL else found

    def sum(self, terms: Sequence[tuple[sympy.Expr, bool]], env: Mapping[sympy.Basic, str]) -> str:
        """Of terms, the marked ones taken away."""
        first, *rest = sorted(terms, key=lambda t: t[1])
        found = self.integer(-first[0] if first[1] else first[0], env)
        for term, minus in rest:
            found = self.op("Sub" if minus else "Add", found, self.integer(term, env))
        return found

    def product(self, numbers: Sequence[sympy.Expr], factors: Sequence[sympy.Expr], env: Mapping[sympy.Basic, str]) -> str:
        first, *rest = (self.integer(f, env) for f in (*numbers, *factors))
        for factor in rest:
            first = self.op("Mul", first, factor)
        return first

    def floor_div(self, a: str, b: str) -> str:
        return FORMS["floor_div"](self, [a, b], INDEX)

    def sizes(self, extents: Sequence[Extent]) -> str:
        """Extents as one tensor: int64[n]."""
        if all(isinstance(e, int) or e.is_Integer for e in extents):
            return self.constant([int(e) for e in extents])
        parts = [self.dim(e) if isinstance(e, Dim) else self.constant([int(e)]) if isinstance(e, int) or e.is_Integer
                 else self.op("Unsqueeze", self.size(e), self.constant([0])) for e in extents]
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=0)

    def reshape(self, name: str, extents: Sequence[Extent]) -> str:
        open_ = [k for k, e in enumerate(extents) if not isinstance(e, int) and not e.is_Integer]
        if len(open_) == 1 and all(int(e) > 0 for k, e in enumerate(extents) if k not in open_):
            return self.op("Reshape", name, self.constant([-1 if k in open_ else int(e) for k, e in enumerate(extents)]))
        return self.op("Reshape", name, self.sizes(extents), allowzero=1)

    def transpose(self, name: str, order: Sequence[int]) -> str:
        return name if list(order) == list(range(len(order))) else self.op("Transpose", name, perm=list(order))

    def unsqueeze(self, name: str, axes: Sequence[int]) -> str:
        return self.op("Unsqueeze", name, self.constant(list(axes))) if axes else name

    def squeeze(self, name: str, axes: Sequence[int]) -> str:
        return self.op("Squeeze", name, self.constant(list(axes))) if axes else name

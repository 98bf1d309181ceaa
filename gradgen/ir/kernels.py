"""The named kernels: what is not an index expression, as C functions on whole contiguous tensors.

A kernel works on the last one or two axes and loops over all leading ones itself.  Its C function, one fragment below
`templates/kernels/`, is called

    gg_<name>_<suffix>(sizes..., operands..., results..., attributes..., workspaces...)

with int64_t sizes (the number of leading items first), attributes as int in alphabetical order, and the suffix of its
first operand's dtype.  `reference` is the same in NumPy, for the interpreter; where a result does not exist (a matrix
that is singular or not positive definite) both give nan, since a lazy or emitted computation has nobody to raise to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradgen.ir import kernel_references as numpy_form
from gradgen.ir.dtypes import INDEX, DType
from gradgen.ir.graph import Graph
from gradgen.ir.indexing import product
from gradgen.ir.nodes import Kernel, Node, Shape
from gradgen.ir.symbols import Extent

Sizes = tuple[Extent, ...]


@dataclass(frozen=True, eq=False)
class KernelSpec:
    """One kernel.  `results` gives shape and dtype of every output, `sizes` the numbers that the C function takes.

    `passed` are the positions of the operands that the C function reads (all, unless an operand is there for the
    derivative's sake), `workspace` dtype and length of the scratch arrays.  The C is the fragment `gg_<name>_{{ s }}` below
    templates/kernels.
    """

    name: str
    results: Callable[[Sequence[Node]], tuple[tuple[Shape, DType], ...]]
    sizes: Callable[[Sequence[Node]], Sizes]
    reference: Callable[..., tuple[np.ndarray, ...]]
    passed: tuple[int, ...]
    workspace: Callable[[Sizes, DType], tuple[tuple[DType, Extent], ...]] = lambda sizes, dtype: ()


KERNELS: dict[str, KernelSpec] = {}


@dataclass(frozen=True, eq=False)
class Pullback:
    """The derivative of a `given` node, which the user wrote: attribute `pullback` of the node.

    `graph` takes the cotangent of the node's value, then `saved`: positions of its operands, or -1 for its own value; its
    outputs are terms of the cotangents of the operands `slots`.  Without a graph there is no derivative, because of `why`.
    """

    graph: Graph | None
    slots: tuple[int, ...] = ()
    saved: tuple[int, ...] = ()
    why: str = ""

    def __repr__(self) -> str:
        return f"{self.graph.key if self.graph is not None else self.why} {self.slots} {self.saved}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pullback) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


def given(value: Node, operands: Sequence[Node], pullback: Pullback) -> Kernel:
    """`value` with the derivative that `pullback` says: no code is made of it, it ends with the derivative being taken."""
    return Kernel("given", (value, *operands), (("pullback", pullback),), value.shape, value.dtype)


def call(name: str, *operands: Node, **attributes: bool) -> tuple[Kernel, ...]:
    """All outputs of a call of the kernel."""
    fixed = tuple(sorted(attributes.items()))
    results = KERNELS[name].results(operands)
    return tuple(Kernel(name, operands, fixed, shape, dtype, k) for k, (shape, dtype) in enumerate(results))


def same_call(node: Kernel) -> tuple:
    """Equal for the outputs of one call."""
    return (node.name, tuple(id(n) for n in node.operands), node.attributes)


def reference(node: Kernel, operands: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The values of all outputs, by NumPy."""
    spec = KERNELS[node.name]
    with np.errstate(all="ignore"):
        return spec.reference(*(operands[k] for k in spec.passed), **dict(node.attributes))


def _register(spec: KernelSpec) -> None:
    KERNELS[spec.name] = spec


def _items(ops: Sequence[Node]) -> Extent:
    """How many matrices the first operand has."""
    return product(ops[0].shape[:-2])


def _square(ops: Sequence[Node]) -> Sizes:
    return _items(ops), ops[0].shape[-1]


def _with_columns(ops: Sequence[Node]) -> Sizes:
    return (*_square(ops), ops[-1].shape[-1])


_register(KernelSpec(  # a value, then what its derivative is made of
    "given",
    results=lambda ops: ((ops[0].shape, ops[0].dtype),),
    sizes=lambda ops: (),
    reference=lambda value, pullback: (value,),
    passed=(0,),
))
_register(KernelSpec(
    "argsort",
    results=lambda ops: ((ops[0].shape, INDEX),),
    sizes=lambda ops: (product(ops[0].shape[:-1]), ops[0].shape[-1]),
    reference=numpy_form.argsort,
    passed=(0,),
    workspace=lambda sizes, dtype: ((INDEX, sizes[1]),),
))
_register(KernelSpec(
    "cholesky",
    results=lambda ops: ((ops[0].shape, ops[0].dtype),),
    sizes=_square,
    reference=numpy_form.cholesky,
    passed=(0,),
))
_register(KernelSpec(
    "triangular_solve",
    results=lambda ops: ((ops[1].shape, ops[0].dtype),),
    sizes=_with_columns,
    reference=numpy_form.triangular_solve,
    passed=(0, 1),
))
_register(KernelSpec(  # P A = L U with unit L, packed; row k of P A is row rows[k] of A; the number of exchanges
    "lu",
    results=lambda ops: (
        (ops[0].shape, ops[0].dtype), (ops[0].shape[:-1], INDEX), (ops[0].shape[:-2], INDEX),
    ),
    sizes=_square,
    reference=numpy_form.lu,
    passed=(0,),
))
_register(KernelSpec(  # of A, lu(A), rows, B; A is there for the derivative
    "solve",
    results=lambda ops: ((ops[3].shape, ops[0].dtype),),
    sizes=_with_columns,
    reference=numpy_form.solve,
    passed=(1, 2, 3),
    workspace=lambda sizes, dtype: ((dtype, sizes[1] * sizes[2]),),
))
_register(KernelSpec(  # of A, lu(A), rows, exchanges
    "det",
    results=lambda ops: ((ops[0].shape[:-2], ops[0].dtype),),
    sizes=_square,
    reference=numpy_form.det,
    passed=(1, 3),
))
_register(KernelSpec(  # log |det A| of A, lu(A), rows
    "logabsdet",
    results=lambda ops: ((ops[0].shape[:-2], ops[0].dtype),),
    sizes=_square,
    reference=numpy_form.logabsdet,
    passed=(1,),
))
_register(KernelSpec(  # of A and its pseudo-inverse: that, with a derivative by A; `simplify` leaves the second operand of it
    "pseudo_inverse",
    results=lambda ops: ((ops[1].shape, ops[1].dtype),),
    sizes=lambda ops: (),
    reference=lambda inverse: (inverse,),
    passed=(1,),
))
_register(KernelSpec(  # eigenvalues ascending, eigenvectors as columns
    "eigh",
    results=lambda ops: ((ops[0].shape[:-1], ops[0].dtype), (ops[0].shape, ops[0].dtype)),
    sizes=_square,
    reference=numpy_form.eigh,
    passed=(0,),
    workspace=lambda sizes, dtype: ((dtype, sizes[1] * sizes[1]),),
))
_register(KernelSpec(  # Q and R of matrices with at least as many rows as columns
    "qr",
    results=lambda ops: (
        (ops[0].shape, ops[0].dtype), ((*ops[0].shape[:-2], ops[0].shape[-1], ops[0].shape[-1]), ops[0].dtype),
    ),
    sizes=lambda ops: (_items(ops), ops[0].shape[-2], ops[0].shape[-1]),
    reference=numpy_form.qr,
    passed=(0,),
    workspace=lambda sizes, dtype: ((dtype, sizes[1] * sizes[2]), (dtype, sizes[2])),
))
_register(KernelSpec(  # U, singular values descending, V of matrices with at least as many rows as columns
    "svd",
    results=lambda ops: (
        (ops[0].shape, ops[0].dtype), ((*ops[0].shape[:-2], ops[0].shape[-1]), ops[0].dtype),
        ((*ops[0].shape[:-2], ops[0].shape[-1], ops[0].shape[-1]), ops[0].dtype),
    ),
    sizes=lambda ops: (_items(ops), ops[0].shape[-2], ops[0].shape[-1]),
    reference=numpy_form.svd,
    passed=(0,),
))

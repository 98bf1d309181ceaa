"""SymPy's matrix expressions: products, inverses, determinants and blocks by gradgen's own operations of these names.

Whatever works on every element by itself (sums, Hadamard products, `applyfunc`) is lowered as a scalar expression in the
element with two index letters, like other index notation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.blockmatrix import BlockMatrix
from sympy.matrices.expressions.diagonal import DiagMatrix, DiagonalMatrix, DiagonalOf
from sympy.matrices.expressions.dotproduct import DotProduct
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.kronecker import KroneckerProduct
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.matrices.expressions.slice import MatrixSlice

from gradgen.eager.tensor import Tensor
from gradgen.errors import UnsupportedOperationError
from gradgen.importers.sympy_tensors import extent_of
from gradgen.ir import functions as fn
from gradgen.ir.dtypes import DType
from gradgen.ir.nodes import Compute, Input, Node, Read
from gradgen.ir.packed import pack
from gradgen.ir.rewrite import substitute
from gradgen.ir.symbols import axis, placeholder, reduce_axis
from gradgen.ops.joining import cat
from gradgen.ops.linear_algebra import det, inv, matrix_power
from gradgen.ops.matmul import matmul
from gradgen.ops.moving import kron
from gradgen.ops.table import FUNCTIONS
from gradgen.record.lowering import lower, plan_of
from gradgen.record.records import symbol_leaf

MATRIX_SCALARS = (sympy.Determinant, sympy.Trace, DotProduct)
"""Numbers made of matrices."""

_BY_ELEMENT = (sympy.MatAdd, HadamardProduct, HadamardPower, ElementwiseApplyFunction, sympy.FunctionMatrix)


def is_matrix(e: Any) -> bool:
    return isinstance(e, (sympy.MatrixExpr, sympy.MatrixBase))


def by_element(e: sympy.Basic, row: sympy.Symbol, column: sympy.Symbol) -> sympy.Expr | None:
    """The element at (row, column) in terms of the operands' elements; None where `e` is not made element by element."""
    def at(m: sympy.Basic) -> sympy.Expr:
        return MatrixElement(m, row, column)

    if not isinstance(e, _BY_ELEMENT):
        return None
    if isinstance(e, sympy.MatAdd):
        return sympy.Add(*(at(m) for m in e.args))
    if isinstance(e, HadamardProduct):
        return sympy.Mul(*(at(m) for m in e.args))
    if isinstance(e, HadamardPower):
        return sympy.Pow(*(at(m) if is_matrix(m) else m for m in (e.base, e.exp)))
    if isinstance(e, sympy.FunctionMatrix):
        return e.lamda(row, column)
    return e.function(at(e.expr))


def matrix_parts(e: sympy.Basic) -> tuple[sympy.Basic, ...]:
    """The subexpressions whose nodes `matrix_node` wants, in its order."""
    if isinstance(e, sympy.MatrixBase):
        return tuple(e.flat())
    if isinstance(e, sympy.MatMul):
        coefficient, matrices = e.as_coeff_matrices()
        return (*(() if coefficient == 1 else (coefficient,)), *matrices)
    if isinstance(e, sympy.MatPow):  # Inverse too
        return (e.base,)
    if isinstance(e, BlockMatrix):
        return tuple(e.blocks.flat())
    if isinstance(e, MatrixSlice):
        return (e.parent,)
    if isinstance(e, (sympy.MatrixSymbol, sympy.Identity, sympy.ZeroMatrix, sympy.OneMatrix)):
        return ()
    return tuple(e.args)


def matrix_node(e: sympy.Basic, nodes: Sequence[Node], dtype: DType) -> Node:
    """A matrix expression, or a number made of matrices, from the nodes of `matrix_parts`."""
    if isinstance(e, sympy.MatrixBase):
        return pack(nodes, e.shape, dtype)
    if isinstance(e, (sympy.Identity, sympy.ZeroMatrix, sympy.OneMatrix)):
        shape = tuple(extent_of(n) for n in e.shape)
        unit = fn.select(fn.eq(axis(0), axis(1)), 1, 0)
        return Compute(shape, unit if isinstance(e, sympy.Identity) else sympy.Integer(int(isinstance(e, sympy.OneMatrix))),
                       [], dtype)
    if isinstance(e, MatrixSlice):
        starts = [(int(begin), int(step)) for begin, _, step in (e.rowslice, e.colslice)]
        index = [begin + step * axis(d) for d, (begin, step) in enumerate(starts)]
        return Compute(tuple(extent_of(n) for n in e.shape), placeholder(0), [Read(nodes[0], index)], dtype)
    if isinstance(e, sympy.Trace):
        return Compute((), placeholder(0), [Read(nodes[0], (reduce_axis(0), reduce_axis(0)))], dtype,
                       reduce_shape=(nodes[0].shape[0],), reducer="sum")
    if isinstance(e, DotProduct):
        reads = [Read(n, (reduce_axis(0), 0) if n.shape[1] == 1 else (0, reduce_axis(0))) for n in nodes]
        return Compute((), placeholder(0) * placeholder(1), reads, dtype, reducer="sum",
                       reduce_shape=(extent_of(sympy.Mul(*e.args[0].shape)),))
    return _through(_operation(e), nodes)


def _operation(e: sympy.Basic) -> Callable[..., Tensor]:
    """The operation on gradgen's tensors."""
    if isinstance(e, sympy.MatMul):
        return _product
    if isinstance(e, (sympy.Transpose, sympy.Adjoint)):
        return lambda a: a.transpose(0, 1)
    if isinstance(e, sympy.Determinant):
        return det
    if isinstance(e, sympy.Inverse):
        return inv
    if isinstance(e, sympy.MatPow):
        if not e.exp.is_Integer:
            raise UnsupportedOperationError(f"SymPy's MatPow with the exponent {e.exp}", where=str(e)[:80],
                                            hint="exponents of matrices are whole numbers here")
        return lambda a: matrix_power(a, int(e.exp))
    if isinstance(e, KroneckerProduct):
        return lambda *parts: reduce(kron, parts)
    if isinstance(e, BlockMatrix):
        rows, columns = e.blockshape
        return lambda *parts: cat([cat(parts[r * columns:(r + 1) * columns], 1) for r in range(rows)], 0)
    if isinstance(e, (DiagMatrix, DiagonalMatrix, DiagonalOf)):
        return {DiagMatrix: lambda a: FUNCTIONS[""]["diag"](a.reshape(-1)), DiagonalMatrix: lambda a: _diagonal_of(a, e),
                DiagonalOf: lambda a: FUNCTIONS[""]["diagonal"](a).unsqueeze(1)}[type(e)]
    name = type(e).__name__
    raise UnsupportedOperationError(f"SymPy's {name} has no counterpart in gradgen", where=str(e)[:80],
                                    hint="rewrite it first, for example with expr.doit() or expr.as_explicit()")


def _product(*factors: Tensor) -> Tensor:
    """Matrices from the left, which for a column at the right end costs more: those go from the right."""
    numbers = [f for f in factors if f.ndim == 0]
    matrices = [f for f in factors if f.ndim]
    if matrices[-1].shape[1] == 1:
        found = reduce(lambda right, left: matmul(left, right), reversed(matrices))
    else:
        found = reduce(matmul, matrices)
    return reduce(lambda a, b: b * a, numbers, found)


def _diagonal_of(a: Tensor, e: DiagonalMatrix) -> Tensor:
    if e.shape[0] != e.shape[1]:
        raise UnsupportedOperationError("DiagonalMatrix of a matrix that is not square", where=str(e)[:80])
    return FUNCTIONS[""]["diag"](FUNCTIONS[""]["diagonal"](a))


def _through(function: Callable[..., Tensor], nodes: Sequence[Node]) -> Node:
    """An operation of the library on nodes: it is recorded on stand-ins, which the nodes then replace."""
    inputs = [Input(f"operand{k}", n.shape, n.dtype) for k, n in enumerate(nodes)]
    result = function(*(Tensor._from_record(symbol_leaf(i)) for i in inputs))
    order, leaves = plan_of([result._record])
    made, _ = lower(order, leaves, constants=True)
    return substitute([made[result._record]], dict(zip(inputs, nodes)))[0]


def derivative(e: sympy.Derivative) -> sympy.Expr:
    """A derivative that SymPy left standing because a symbol might be complex: of real symbols."""
    real = {s: sympy.Dummy(str(s), real=True) for s in e.free_symbols if not s.is_extended_real}
    found = e.xreplace(real).doit().xreplace({v: k for k, v in real.items()})
    if isinstance(found, sympy.Derivative) or found.atoms(AppliedUndef):
        raise UnsupportedOperationError(f"a derivative that SymPy cannot evaluate: {e}")
    return found

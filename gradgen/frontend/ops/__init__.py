"""The operation library: one entry an operation, by family; importing it registers everything."""

from gradgen.frontend.ops import (
    activation,
    arithmetic,
    comparison,
    loss,
    matmul,
    reduction,
    shape,
    unary,
)
from gradgen.frontend.ops.table import FUNCTIONS, INPLACE, METHODS, PROPERTIES, SAMPLES

__all__ = [
    "FUNCTIONS",
    "INPLACE",
    "METHODS",
    "PROPERTIES",
    "SAMPLES",
    "activation",
    "arithmetic",
    "comparison",
    "loss",
    "matmul",
    "reduction",
    "shape",
    "unary",
]

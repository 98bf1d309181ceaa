"""The operation library: one entry an operation, by family; importing it registers everything."""

from gradgen.frontend.ops import (  # noqa: F401
    activation,
    arithmetic,
    attention,
    classification,
    comparison,
    convolution,
    cumulative,
    distance,
    einsum,
    factorisations,
    gathering,
    host,
    joining,
    linear_algebra,
    loss,
    matmul,
    moving,
    normalisation,
    norms,
    pooling,
    reduction,
    shape,
    sorting,
    special,
    unary,
)
from gradgen.frontend.ops.table import FUNCTIONS, INPLACE, METHODS, PROPERTIES, SAMPLES

__all__ = ["FUNCTIONS", "INPLACE", "METHODS", "PROPERTIES", "SAMPLES"]

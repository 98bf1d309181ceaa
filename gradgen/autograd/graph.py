"""torch.autograd.graph: the class of grad_fn objects, and the edge a tensor's gradient takes."""

from __future__ import annotations

from typing import NamedTuple

from gradgen.eager.grad_fn import Node
from gradgen.eager.tensor import Tensor


class GradientEdge(NamedTuple):
    """A node and the number of its output."""

    node: Node
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where the gradient of `tensor` goes: its grad_fn, or its accumulator for a leaf."""
    edge = tensor._edge()
    if edge is None:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(*edge)


__all__ = ["GradientEdge", "Node", "get_gradient_edge"]

"""torch.autograd by its names: backward, grad, Function, modes, graph nodes."""

from gradgen.autograd import functional, graph
from gradgen.autograd.function import Function
from gradgen.autograd.gradcheck import gradcheck, gradgradcheck
from gradgen.eager.backward import backward, grad
from gradgen.eager.modes import enable_grad, inference_mode, no_grad, set_grad_enabled
from gradgen.eager.tensor import Tensor as Variable

__all__ = [
    "Function",
    "Variable",
    "backward",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "no_grad",
    "set_grad_enabled",
]

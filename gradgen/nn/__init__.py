"""Neural networks by PyTorch's names: Module and Parameter, layers, activations, losses, `functional`, `init`."""

from gradgen.nn import functional, init
from gradgen.nn.layers import (
    AlphaDropout,
    BatchNorm1d,
    BatchNorm2d,
    Bilinear,
    Conv1d,
    Conv2d,
    Conv3d,
    Dropout,
    Dropout1d,
    Dropout2d,
    Embedding,
    GroupNorm,
    Identity,
    LayerNorm,
    Linear,
    RMSNorm,
)
from gradgen.nn.module import Module, ModuleDict, ModuleList, ParameterList, Sequential
from gradgen.nn.parameter import Parameter
from gradgen.nn.stateless import CLASSES, Flatten, PReLU, Unflatten

globals().update(CLASSES)
__all__ = [
    "AlphaDropout", "BatchNorm1d", "BatchNorm2d", "Bilinear", "Conv1d", "Conv2d", "Conv3d", "Dropout", "Dropout1d",
    "Dropout2d", "Embedding", "Flatten", "GroupNorm", "Identity", "LayerNorm", "Linear", "Module", "ModuleDict",
    "ModuleList", "PReLU", "Parameter", "ParameterList", "RMSNorm", "Sequential", "Unflatten", "functional", "init",
    *CLASSES,
]

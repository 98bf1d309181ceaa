"""Neural networks by PyTorch's names."""

from gradgen.nn import functional

__all__ = ["functional"]

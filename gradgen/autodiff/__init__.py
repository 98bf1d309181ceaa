"""Derivatives of graphs as graphs: reverse mode, forward mode, and what a backward pass keeps of the forward one."""

from gradgen.autodiff.forward import tangents
from gradgen.autodiff.joint import Joint, differentiate, gradient_reach, saved_nodes, with_unit_seed
from gradgen.autodiff.reverse import gradients

__all__ = ["Joint", "differentiate", "gradient_reach", "gradients", "saved_nodes", "tangents", "with_unit_seed"]

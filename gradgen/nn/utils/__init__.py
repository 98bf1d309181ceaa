"""torch.nn.utils by its names: clipping of gradients, parameters as one vector, padded sequences, weight norm."""

from gradgen.nn.utils import rnn, stateless
from gradgen.nn.utils.clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from gradgen.nn.utils.convert import parameters_to_vector, vector_to_parameters
from gradgen.nn.utils.spectral_norm import remove_spectral_norm, spectral_norm
from gradgen.nn.utils.weight_norm import remove_weight_norm, weight_norm

clip_grad_norm = clip_grad_norm_

__all__ = [
    "clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm",
    "parameters_to_vector", "remove_spectral_norm", "remove_weight_norm", "rnn", "spectral_norm", "stateless",
    "vector_to_parameters", "weight_norm",
]

"""What PyTorch has and gradgen has not, and what to do instead: the second half of an AttributeError."""

from __future__ import annotations

import re

_REAL = "gradgen has no complex numbers; keep real and imaginary parts as two tensors"
_DTYPES = "gradgen has float32, float64, int32, int64 and bool"
_CPU = "gradgen runs on the CPU; leave the call out, or write it as .to(device) with device = 'cpu'"
_SPARSE = "gradgen has no sparse tensors; use dense ones (the Jacobian's sparsity is an option of gradgen.build)"
_PARTS = (
    (r"(float16|bfloat16|half|uint8|uint16|uint32|uint64|int8|int16|short|char|byte|float8.*)", _DTYPES),
    (r"(complex.*|cfloat|cdouble|chalf|imag|polar|view_as_complex|view_as_real|eig|eigvals|stft|istft|fft)", _REAL),
    (r"(cuda|xpu|mtia|mps|ipu|is_cuda_.*|pin_memory|autocast|amp|distributed|backends)", _CPU),
    (r"(sparse.*|to_sparse.*|coalesce|indices|values|crow_indices|col_indices|spmm|smm)", _SPARSE),
    (r"(quantize.*|dequantize|q_.*|qscheme|int_repr|fake_quantize.*)", "gradgen has no quantised tensors"),
    (r"(jit|onnx|fx|export|_dynamo)", "trace with gradgen.trace, and emit C with gradgen.build or gradgen.emit"),
    (r"(as_strided.*|set_|storage|untyped_storage|resize_.*)", "gradgen's tensors have no strides of their own choosing; "
     "use indexing, unfold, expand, reshape or permute"),
    (r"(DataParallel|SyncBatchNorm|DistributedDataParallel)", _CPU),
    (r"(Lazy.*|Uninitialized.*)", "give the number of input features and use the module without Lazy in its name"),
    (r"(lstm|gru|rnn_tanh|rnn_relu)(_cell)?", "use nn.LSTM, nn.GRU, nn.RNN or their cells"),
)


def hint(name: str) -> str:
    """"; what to do", or nothing where there is nothing to say."""
    for pattern, text in _PARTS:
        if re.fullmatch(pattern, name):
            return f": {text}"
    return ""

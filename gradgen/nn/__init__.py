"""Neural networks by PyTorch's names: Module and Parameter, layers, activations, losses, `functional`, `init`, `utils`."""

from gradgen.nn import functional, init, utils
from gradgen.nn.containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from gradgen.nn.convolutions import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from gradgen.nn.layers import (
    AlphaDropout,
    Bilinear,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    Embedding,
    FeatureAlphaDropout,
    Identity,
    Linear,
)
from gradgen.nn.module import Module
from gradgen.nn.multihead import MultiheadAttention
from gradgen.nn.norm_layers import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LocalResponseNorm,
    RMSNorm,
)
from gradgen.nn.one_function import CLASSES, Flatten, PReLU, Unflatten
from gradgen.nn.paddings import CLASSES as PADDINGS
from gradgen.nn.parameter import Parameter
from gradgen.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNBase, RNNCell, RNNCellBase
from gradgen.nn.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from gradgen.nn.upsampling import (
    EmbeddingBag,
    MaxUnpool1d,
    MaxUnpool2d,
    MaxUnpool3d,
    RReLU,
    Softmax2d,
    TripletMarginWithDistanceLoss,
    Upsample,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
)

globals().update(CLASSES)
globals().update(PADDINGS)
__all__ = [
    "GRU", "LSTM", "RNN", "AlphaDropout", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Bilinear", "Conv1d", "Conv2d",
    "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d",
    "Embedding", "EmbeddingBag", "FeatureAlphaDropout", "Flatten", "GRUCell", "GroupNorm", "Identity", "InstanceNorm1d",
    "InstanceNorm2d", "InstanceNorm3d", "LSTMCell", "LayerNorm", "Linear", "LocalResponseNorm", "MaxUnpool1d",
    "MaxUnpool2d", "MaxUnpool3d", "Module", "ModuleDict", "ModuleList", "MultiheadAttention", "PReLU", "Parameter",
    "ParameterDict", "ParameterList", "RMSNorm", "RNNBase", "RNNCell", "RNNCellBase", "RReLU", "Sequential", "Softmax2d",
    "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer",
    "TripletMarginWithDistanceLoss", "Unflatten", "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d", "functional",
    "init", "utils", *CLASSES, *PADDINGS,
]


def __getattr__(name: str) -> object:
    from gradgen.eager.absent import hint

    raise AttributeError(f"module 'gradgen.nn' has no attribute {name!r}{hint(name)}")

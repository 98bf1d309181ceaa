"""Models of other packages, as their sources have them, with random weights: what `gg.from_torch` is measured on.

Dropout and stochastic depth are 0, so that torch and gradgen compute the same thing.  Every model has two sizes: the
package's own, and a reduced one (small images and extents, fewer channels where the constructor allows) that tests run.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Sample:
    """A model with what it is called with; its loss takes the model's result and then `targets`."""

    model: Any
    args: tuple[Any, ...]
    loss: Callable[..., Any]
    targets: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


Maker = Callable[[bool], Sample]
MODELS: dict[str, Maker] = {}
"""By name: the sample, in the reduced form or not."""


def model(make: Maker) -> Maker:
    MODELS[make.__name__] = make
    return make


def sample(name: str, reduced: bool = False, dtype: torch.dtype = torch.float64, seed: int = 0) -> Sample:
    """The model with its data, the floating-point numbers in `dtype`, the same ones in each."""
    torch.manual_seed(seed)
    return cast(MODELS[name](reduced), dtype)


def cast(made: Sample, dtype: torch.dtype) -> Sample:
    def of(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return Sample(made.model.to(dtype).train(), tuple(map(of, made.args)), made.loss, tuple(map(of, made.targets)),
                  {k: of(v) for k, v in made.kwargs.items()})


DECLARED = {"nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"}
"""What torchvision's C library declares and its import asks for: the library cannot be loaded beside every build of torch."""
KEPT: list[Any] = []
"""Declarations end with their object."""


def declare() -> None:
    """Makes torchvision importable, and with it the packages that look for it."""
    import importlib.util

    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name, schema in DECLARED.items():
            library.define(name + schema)
        KEPT.append(library)


declare()


def classes(out: Any, target: Any) -> Any:
    return F.cross_entropy(out, target)


def images(net: Any, side: int, batch: int = 2, count: int = 10) -> Sample:
    return Sample(net, (torch.randn(batch, 3, side, side),), classes, (torch.randint(count, (batch,)),))


def tokens(vocabulary: int, batch: int, length: int) -> Any:
    return torch.randint(vocabulary, (batch, length))


def next_token(out: Any, target: Any) -> Any:
    """Of a transformers result: what a language model is trained with."""
    logits = out.logits if hasattr(out, "logits") else out
    return F.cross_entropy(logits.flatten(0, -2), target.flatten())


def models() -> Any:
    from torchvision import models

    return models


# --- torchvision ------------------------------------------------------------------------------------------------------


@model
def resnet18(reduced: bool) -> Sample:
    if reduced:
        from torchvision.models.resnet import BasicBlock

        return images(models().ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10), 32, 4)
    return images(models().resnet18(num_classes=10), 224)


@model
def mobilenet_v3_small(reduced: bool) -> Sample:
    if reduced:
        from torchvision.models.mobilenetv3 import InvertedResidualConfig as Block

        blocks = [Block(16, 3, 16, 16, True, "RE", 2, 1, 1), Block(16, 3, 24, 24, False, "RE", 2, 1, 1),
                  Block(24, 5, 32, 24, True, "HS", 1, 1, 1)]
        return images(models().MobileNetV3(blocks, 32, num_classes=10, dropout=0.0), 32, 4)
    return images(models().mobilenet_v3_small(num_classes=10, dropout=0.0), 224)


@model
def efficientnet_b0(reduced: bool) -> Sample:
    if reduced:
        from torchvision.models.efficientnet import MBConvConfig as Block

        blocks = [Block(1, 3, 1, 16, 8, 1), Block(3, 3, 2, 8, 12, 2), Block(3, 5, 1, 12, 16, 1)]
        net = models().EfficientNet(blocks, dropout=0.0, stochastic_depth_prob=0.0, num_classes=10, last_channel=32)
        return images(net, 32, 4)
    return images(models().efficientnet_b0(num_classes=10, dropout=0.0, stochastic_depth_prob=0.0), 224)


@model
def vit_b_16(reduced: bool) -> Sample:
    if reduced:
        net = models().VisionTransformer(image_size=32, patch_size=16, num_layers=2, num_heads=3, hidden_dim=48, mlp_dim=96,
                                       num_classes=10)
    else:
        net = models().vit_b_16(image_size=64, num_classes=10)
    nn.init.normal_(net.heads.head.weight, std=0.02)  # zero at first: no gradient would reach the rest
    return images(net, 32 if reduced else 64)


@model
def convnext_tiny(reduced: bool) -> Sample:
    if reduced:
        from torchvision.models.convnext import CNBlockConfig

        net = models().ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, 64, 1), CNBlockConfig(64, None, 2)],
                              num_classes=10)
    else:
        net = models().convnext_tiny(num_classes=10, stochastic_depth_prob=0.0)
    return images(net, 32 if reduced else 224)


# --- transformers -----------------------------------------------------------------------------------------------------


@model
def bert(reduced: bool) -> Sample:
    import transformers as t

    size = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 99} if reduced else {}
    config = t.BertConfig(num_hidden_layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **size)
    ids = tokens(config.vocab_size, 2, 8 if reduced else 64)
    mask = torch.ones_like(ids)
    mask[1, -3:] = 0
    return Sample(t.BertForMaskedLM(config), (ids, mask), next_token, (tokens(config.vocab_size, *ids.shape),))


@model
def gpt2(reduced: bool) -> Sample:
    import transformers as t

    size = {"n_embd": 32, "n_head": 2, "vocab_size": 99, "n_positions": 32} if reduced else {}
    config = t.GPT2Config(n_layer=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, **size)
    ids = tokens(config.vocab_size, 2, 8 if reduced else 64)
    return Sample(t.GPT2LMHeadModel(config), (ids,), next_token, (tokens(config.vocab_size, *ids.shape),))


@model
def llama(reduced: bool) -> Sample:
    import transformers as t

    size = ({"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64, "vocab_size": 99}
            if reduced else
            {"hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 1376})
    config = t.LlamaConfig(num_hidden_layers=2, use_cache=False, **size)
    ids = tokens(config.vocab_size, 2, 8 if reduced else 64)
    return Sample(t.LlamaForCausalLM(config), (ids,), next_token, (tokens(config.vocab_size, *ids.shape),))


@model
def whisper(reduced: bool) -> Sample:
    import transformers as t

    size = ({"d_model": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
             "decoder_ffn_dim": 64, "vocab_size": 99, "num_mel_bins": 20, "max_source_positions": 8,
             "max_target_positions": 16} if reduced else {"max_source_positions": 200})
    config = t.WhisperConfig(encoder_layers=2, decoder_layers=2, dropout=0.0, attention_dropout=0.0, use_cache=False,
                             pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, **size)
    ids = tokens(config.vocab_size, 2, 6 if reduced else 32)
    features = torch.randn(2, config.num_mel_bins, 2 * config.max_source_positions)
    return Sample(t.WhisperForConditionalGeneration(config), (features,), next_token,
                  (tokens(config.vocab_size, *ids.shape),), {"decoder_input_ids": ids})


# --- written here: layers of torch.nn put together as users do --------------------------------------------------------


class Classifier(nn.Module):
    """A recurrent network over a sequence, its last output classified."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(12, width, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found, _ = self.layer(x)
        return self.head(found[:, -1])


def _recurrent(kind: str, reduced: bool) -> Sample:
    width, batch, length = (8, 3, 7) if reduced else (64, 16, 32)
    return Sample(Classifier(kind, width), (torch.randn(batch, length, 12),), classes, (torch.randint(5, (batch,)),))


@model
def lstm(reduced: bool) -> Sample:
    return _recurrent("LSTM", reduced)


@model
def gru(reduced: bool) -> Sample:
    return _recurrent("GRU", reduced)


class Twice(nn.Sequential):
    """Two convolutions, each normalised."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(
            nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


class UNet(nn.Module):
    """Ronneberger, Fischer and Brox, 2015, with padded convolutions and transposed ones on the way up."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        widths = [width << k for k in range(depth + 1)]
        self.down = nn.ModuleList(Twice(a, b) for a, b in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in itertools.pairwise(widths))
        self.join = nn.ModuleList(Twice(2 * a, a) for a in widths[:-1])
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for k, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if k else x)
            kept.append(x)
        for k in reversed(range(len(self.up))):
            x = self.join[k](torch.cat([kept[k], self.up[k](x)], dim=1))
        return self.head(x)


@model
def unet(reduced: bool) -> Sample:
    side = 16 if reduced else 128
    return Sample(UNet(4, 2) if reduced else UNet(16, 4), (torch.randn(2, 1, side, side),), classes,
                  (torch.randint(2, (2, side, side)),))


class GraphConvolution(nn.Module):
    """Kipf and Welling, 2017: sums over edges by index_add, degrees by the same."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, target = edges
        ones = torch.ones(edges.shape[1], dtype=x.dtype)
        degree = torch.ones(x.shape[0], dtype=x.dtype).index_add(0, target, ones)
        scale = (degree[source] * degree[target]).rsqrt()
        for k, layer in enumerate(self.layers):
            h = layer(x)
            h = h / degree[:, None] + torch.zeros_like(h).index_add(0, target, h[source] * scale[:, None])
            x = h.relu() if k + 1 < len(self.layers) else h
        return x


@model
def graph_convolution(reduced: bool) -> Sample:
    count, edges = (10, 30) if reduced else (500, 4000)
    return Sample(GraphConvolution([6, 8, 4] if reduced else [64, 64, 64, 7]),
                  (torch.randn(count, 6 if reduced else 64), torch.randint(count, (2, edges))), classes,
                  (torch.randint(4 if reduced else 7, (count,)),))


class VAE(nn.Module):
    """Kingma and Welling, 2014; the normal numbers come in, so that two frameworks use the same."""

    def __init__(self, sizes: tuple[int, int, int]) -> None:
        super().__init__()
        seen, hidden, latent = sizes
        self.encoder = nn.Sequential(nn.Linear(seen, hidden), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, seen))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        return self.decoder(mean + noise * (0.5 * log_variance).exp()), mean, log_variance


def evidence(out: Any, x: Any) -> Any:
    seen, mean, log_variance = out
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
    return (F.binary_cross_entropy_with_logits(seen, x, reduction="sum") + divergence) / x.shape[0]


@model
def vae(reduced: bool) -> Sample:
    sizes, batch = ((20, 8, 3), 4) if reduced else ((784, 400, 20), 64)
    x = torch.rand(batch, sizes[0])
    return Sample(VAE(sizes), (x, torch.randn(batch, sizes[2])), evidence, (x.clone(),))


# --- derivatives inside -----------------------------------------------------------------------------------------------


class PINN(nn.Module):
    """Raissi, Perdikaris and Karniadakis, 2019: Burgers' equation, u_t + u u_x = nu u_xx, by a network u(t, x)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        widths = [2, *[width] * depth]
        self.net = nn.Sequential(*(part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b), nn.Tanh())),
                                 nn.Linear(width, 1))

    def forward(self, points: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        t, x = (points[:, k].clone().requires_grad_() for k in (0, 1))
        u = self.net(torch.stack([t, x], dim=1))[:, 0]
        u_t, u_x = torch.autograd.grad(u.sum(), (t, x), create_graph=True)
        u_xx, = torch.autograd.grad(u_x.sum(), x, create_graph=True)
        return u_t + u * u_x - 0.01 / torch.pi * u_xx, self.net(start)[:, 0]


def residual(out: Any, known: Any) -> Any:
    equation, start = out
    return equation.square().mean() + F.mse_loss(start, known)


@model
def pinn(reduced: bool) -> Sample:
    width, depth, count = (6, 2, 5) if reduced else (20, 8, 1000)
    start = torch.stack([torch.zeros(count), torch.rand(count) * 2 - 1], dim=1)
    return Sample(PINN(width, depth), (torch.rand(count, 2), start), residual, (-torch.sin(torch.pi * start[:, 1]),))


class ForceField(nn.Module):
    """The energy of atoms from their distances through a filter network, as SchNet has it (Schuett and others, 2017), and
    the forces: minus its derivative with respect to the positions."""

    def __init__(self, width: int, centres: int) -> None:
        super().__init__()
        self.kinds = nn.Embedding(5, width)
        self.centres = nn.Buffer(torch.linspace(0.5, 3.0, centres))
        self.filters = nn.Sequential(nn.Linear(centres, width), nn.SiLU(), nn.Linear(width, width))
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, kinds: torch.Tensor, positions: torch.Tensor, edges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        positions = positions.clone().requires_grad_()
        source, target = edges
        distance = (positions[source] - positions[target]).square().sum(-1).sqrt()
        rays = torch.exp(-4 * (distance[:, None] - self.centres).square())
        x = self.kinds(kinds)
        x = x + torch.zeros_like(x).index_add(0, target, x[source] * self.filters(rays))
        energy = self.head(x).sum()
        force, = torch.autograd.grad(energy, positions, create_graph=True)
        return energy, -force


def energy_and_forces(out: Any, energy: Any, forces: Any) -> Any:
    return ((out[0] - energy) / len(forces)).square() + F.mse_loss(out[1], forces)


@model
def force_field(reduced: bool) -> Sample:
    width, centres, count = (6, 5, 4) if reduced else (64, 32, 30)
    source, target = torch.where(~torch.eye(count, dtype=torch.bool))
    atoms = (torch.randint(5, (count,)), 2 * torch.randn(count, 3), torch.stack([source, target]))
    return Sample(ForceField(width, centres), atoms, energy_and_forces, (torch.randn(()), torch.randn(count, 3)))

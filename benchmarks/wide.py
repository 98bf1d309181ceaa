"""More models of torchvision, timm and transformers, small: what of them comes in, and how well it agrees.

`python -m benchmarks.models --wide` tries them; docs/models.md has the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.zoo import Sample, cast, classes, images, models, next_token, tokens

MODELS: dict[str, Callable[[], Sample]] = {}


def sample(name: str) -> Sample:
    """In float64 and in training mode."""
    torch.manual_seed(0)
    return cast(MODELS[name](), torch.float64)


def _vision(name: str, side: int = 64, **options: Any) -> None:
    def make() -> Sample:
        return images(getattr(models(), name)(num_classes=10, **options), side)

    MODELS[f"torchvision {name}"] = make


def _segmentation(name: str) -> None:
    def make() -> Sample:
        net = getattr(models().segmentation, name)(weights=None, weights_backbone=None, num_classes=3)
        for part in net.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        return Sample(net, (torch.randn(2, 3, 32, 32),), lambda out, target: classes(out["out"], target),
                      (torch.randint(3, (2, 32, 32)),))

    MODELS[f"torchvision {name}"] = make


for _name, _options in {
    "densenet121": {}, "squeezenet1_1": {"dropout": 0.0},
    "googlenet": {"aux_logits": False, "init_weights": False, "dropout": 0.0}, "shufflenet_v2_x0_5": {},
    "mnasnet0_5": {"dropout": 0.0}, "mobilenet_v2": {"width_mult": 0.35, "dropout": 0.0}, "regnet_y_400mf": {},
    "resnext50_32x4d": {}, "efficientnet_v2_s": {"dropout": 0.0, "stochastic_depth_prob": 0.0},
}.items():
    _vision(_name, **_options)
for _name in ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"):
    _segmentation(_name)


def _maxvit() -> Sample:
    net = models().MaxVit(input_size=(32, 32), stem_channels=8, partition_size=2, block_channels=[8, 16], block_layers=[1, 1],
                          head_dim=4, stochastic_depth_prob=0.0, num_classes=10)
    return images(net, 32)


def _swin(version: str) -> Sample:
    from torchvision.models import swin_transformer as swin

    parts = {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2} if version == "v2" else {}
    net = swin.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.0, num_classes=10, **parts)
    return images(net, 32)


MODELS["torchvision maxvit"] = _maxvit
MODELS["torchvision swin"] = lambda: _swin("v1")
MODELS["torchvision swin_v2"] = lambda: _swin("v2")


def _timm(name: str, side: int = 64, **options: Any) -> None:
    def make() -> Sample:
        import timm

        return images(timm.create_model(name, num_classes=10, **options), side)

    MODELS[f"timm {name}"] = make


for _name in ("resnet10t", "mobilenetv3_small_050", "efficientnet_lite0", "regnetx_002", "ghostnet_050", "lcnet_050",
              "repvgg_a0", "dla46_c", "hardcorenas_a", "convnext_atto", "convmixer_768_32", "edgenext_xx_small",
              "mobilevit_xxs", "fastvit_t8", "poolformer_s12", "nf_regnet_b0", "tinynet_e", "efficientvit_b0",
              "repghostnet_050"):
    _timm(_name)
for _name in ("levit_128s", "coatnet_nano_rw_224", "pit_ti_224", "mixer_s32_224", "resmlp_12_224", "gmlp_ti16_224"):
    _timm(_name, 224)
for _name in ("vit_tiny_patch16_224", "deit_tiny_patch16_224", "xcit_nano_12_p16_224", "cait_xxs24_224",
              "beit_base_patch16_224", "eva02_tiny_patch14_224"):
    _side = 56 if "14" in _name else 64
    _timm(_name, _side, img_size=_side)


# --- transformers -----------------------------------------------------------------------------------------------------

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DECODER = {**SMALL, **ENDS, "num_key_value_heads": 2, "vocab_size": 99, "use_cache": False, "attention_dropout": 0.0}


def _language(kind: str, head: str, seq2seq: bool = False, **options: Any) -> None:
    def make() -> Sample:
        import transformers as t

        config = getattr(t, f"{kind}Config")(**options)
        ids, targets = tokens(99, 2, 8), tokens(99, 2, 8)
        kwargs = {"decoder_input_ids": tokens(99, 2, 8)} if seq2seq else {}
        return Sample(getattr(t, kind + head)(config), (ids,), next_token, (targets,), kwargs)

    MODELS[f"transformers {kind}"] = make


_language("DistilBert", "ForMaskedLM", dim=32, n_layers=2, n_heads=4, hidden_dim=64, vocab_size=99, dropout=0.0,
          attention_dropout=0.0)
for _kind, _head in (("Roberta", "ForMaskedLM"), ("Electra", "ForMaskedLM"), ("Albert", "ForMaskedLM"),
                     ("DebertaV2", "ForMaskedLM"), ("MPNet", "ForMaskedLM"), ("RoFormer", "ForMaskedLM"),
                     ("NomicBert", "ForMaskedLM"), ("ModernBert", "ForMaskedLM")):
    _language(_kind, _head, **SMALL, **ENDS, vocab_size=99, cls_token_id=3, sep_token_id=4, embedding_size=32,
              hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
_language("OPT", "ForCausalLM", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64, vocab_size=99,
          word_embed_proj_dim=32, dropout=0.0, attention_dropout=0.0, use_cache=False, pad_token_id=1)
_language("GPTNeoX", "ForCausalLM", **SMALL, **ENDS, vocab_size=99, hidden_dropout=0.0, attention_dropout=0.0,
          use_cache=False)
for _kind in ("Mistral", "Qwen2", "Qwen3", "Gemma", "Gemma2", "Phi", "Phi3", "StableLm", "Olmo2", "SmolLM3", "Granite",
              "Cohere"):
    _language(_kind, "ForCausalLM", **DECODER, **({"head_dim": 8} if _kind in ("Gemma", "Gemma2", "Qwen3") else {}),
              **({"resid_pdrop": 0.0, "embd_pdrop": 0.0} if _kind in ("Phi", "Phi3") else {}))
_language("Mixtral", "ForCausalLM", **DECODER, num_local_experts=4, num_experts_per_tok=2)
_language("Mamba", "ForCausalLM", hidden_size=16, num_hidden_layers=2, vocab_size=99, state_size=4, use_cache=False)
_language("Rwkv", "ForCausalLM", hidden_size=16, num_hidden_layers=2, vocab_size=99, attention_hidden_size=16,
          use_cache=False)
_language("Bloom", "ForCausalLM", hidden_size=32, n_layer=2, n_head=4, vocab_size=99, use_cache=False)
_language("GPTJ", "ForCausalLM", n_embd=32, n_layer=2, n_head=4, rotary_dim=4, vocab_size=99, use_cache=False,
          resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=1, eos_token_id=2)
_language("T5", "ForConditionalGeneration", True, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=99,
          dropout_rate=0.0, use_cache=False)
_language("Bart", "ForConditionalGeneration", True, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
          decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, vocab_size=99, dropout=0.0, use_cache=False,
          pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2)


def _mean(out: Any) -> Any:
    return out.last_hidden_state.square().mean()


def _encoder(name: str, make: Callable[[Any], tuple[Any, tuple[Any, ...]]], loss: Callable[..., Any] = _mean) -> None:
    def made() -> Sample:
        import transformers as t

        net, args = make(t)
        return Sample(net, args, loss)

    MODELS[f"transformers {name}"] = made


PICTURE = (torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)),)
_encoder("ViT", lambda t: (t.ViTModel(t.ViTConfig(**SMALL, image_size=32, patch_size=8)), PICTURE))
_encoder("Dinov2", lambda t: (t.Dinov2Model(t.Dinov2Config(**SMALL, image_size=32, patch_size=8)), PICTURE))
_encoder("CLIP", lambda t: (t.CLIPModel(t.CLIPConfig(
    text_config={**SMALL, **ENDS, "vocab_size": 99, "max_position_embeddings": 16},
    vision_config={**SMALL, "image_size": 32, "patch_size": 8}, projection_dim=16)),
    (tokens(90, 2, 8) + 3, torch.randn(2, 3, 32, 32))), lambda out: out.logits_per_image.square().mean())
_encoder("Wav2Vec2", lambda t: (t.Wav2Vec2Model(t.Wav2Vec2Config(
    **SMALL, conv_dim=(16, 16), conv_kernel=(10, 3), conv_stride=(5, 2), num_feat_extract_layers=2, hidden_dropout=0.0,
    attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, layerdrop=0.0, mask_time_prob=0.0,
    num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)), (torch.randn(2, 400),)))
_encoder("Segformer", lambda t: (t.SegformerModel(t.SegformerConfig(
    num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[16, 32], patch_sizes=[7, 3], strides=[4, 2],
    num_attention_heads=[1, 2], mlp_ratios=[2, 2], hidden_dropout_prob=0.0, drop_path_rate=0.0)),
    (torch.randn(2, 3, 32, 32),)))
_encoder("PatchTST", lambda t: (t.PatchTSTModel(t.PatchTSTConfig(
    num_input_channels=2, context_length=16, patch_length=4, patch_stride=4, d_model=16, num_attention_heads=2,
    num_hidden_layers=2, ffn_dim=32, ff_dropout=0.0, attention_dropout=0.0, positional_dropout=0.0)),
    (torch.randn(2, 16, 2),)))

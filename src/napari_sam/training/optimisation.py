# SPDX-License-Identifier: Apache-2.0
"""Which parameter learns how fast: groups for AdamW, decay by layer, schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from napari_sam.modeling import image_encoder_lite, image_encoder_tiny_vit, vit_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam.training.recipe import Optimiser

ENCODER = "image_encoder."
# What counts as one layer; their order in the module is the order of computation.
LAYER_TYPES = (
    vit_blocks.Block,
    image_encoder_tiny_vit.TinyViTBlock,
    image_encoder_tiny_vit.InvertedResidual,
    image_encoder_lite.InvertedResidual,
)
# Names of weights of products; learned tokens and positions have others.
_DECAYING = ("weight", "lora_down", "lora_up")


def parameter_groups(model: nn.Module, optimiser: Optimiser) -> list[dict[str, Any]]:
    """Group what is to learn by rate and weight decay.

    Parameters
    ----------
    model : nn.Module
        A Sam; parameters that need a gradient are taken.
    optimiser : Optimiser
        The numbers.

    Returns
    -------
    list of dict
        ``params``, ``lr_factor`` (of the schedule's rate) and ``weight_decay``, in an
        order that depends on the model only.
    """
    factors = encoder_factors(model.get_submodule("image_encoder"), optimiser)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for owner_name, owner in model.named_modules():
        for key, parameter in owner.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            name = f"{owner_name}.{key}"
            is_inside = name.startswith(ENCODER)
            factor = factors[name.removeprefix(ENCODER)] if is_inside else 1.0
            decay = optimiser.weight_decay if decays(owner, key) else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    return [
        {"params": parameters, "lr_factor": factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]


def decays(owner: nn.Module, key: str) -> bool:
    """Whether weight decay applies: to weights of products and convolutions only."""
    is_product = key in _DECAYING and owner.get_parameter(key).ndim >= 2
    return is_product and not isinstance(owner, nn.Embedding)


def encoder_factors(encoder: nn.Module, optimiser: Optimiser) -> dict[str, float]:
    """Factor of the rate of each parameter of an image encoder.

    With n layers, layer i (from 1) has ``decay ** (n + 1 - i)``, what comes before them
    ``decay ** (n + 1)``, what comes after them 1 (Clark et al. 2020; numbered as in
    ViTDet, Li et al. 2022, whose encoder SAM has).
    """
    layers = dict(_layers(encoder))
    top = len(set(layers.values())) + 1
    last = max(layers.values(), default=0)
    factors, seen = {}, 0
    for name, _ in encoder.named_parameters():
        depth = next((d for key, d in layers.items() if name.startswith(key)), None)
        if depth is not None:
            seen = depth
        # Merging of patches belongs to the layer before it; what follows the last
        # layer are neck and pyramid.
        is_after = depth is None and seen == last
        decay = optimiser.layer_decay ** (top - (top if is_after else seen))
        factors[name] = optimiser.encoder_lr_factor * decay
    return factors


def _layers(encoder: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield the prefix of each layer's parameters and its number from 1."""
    modules = encoder.named_modules()
    found = [name for name, module in modules if isinstance(module, LAYER_TYPES)]
    for i, name in enumerate(found):
        yield f"{name}.", i + 1


def rate_factor(step: int, fraction: float, optimiser: Optimiser) -> float:
    """Factor of the peak rate at a step.

    Parameters
    ----------
    step : int
        Steps done.
    fraction : float
        Part of the run that is done, 0 to 1, by steps or by time.
    optimiser : Optimiser
        The numbers.
    """
    factor = 1.0
    if optimiser.warmup_steps:
        factor = min(1.0, (step + 1) / optimiser.warmup_steps)
    factor *= optimiser.milestone_factor ** sum(step >= m for m in optimiser.milestones)
    if optimiser.final_decay:
        factor *= min(1.0, max(0.0, 1 - fraction) / optimiser.final_decay)
    return factor

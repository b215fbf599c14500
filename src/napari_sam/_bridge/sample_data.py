# SPDX-License-Identifier: Apache-2.0
"""Sample images for napari's File > Open Sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.types import LayerDataTuple


def nuclei() -> list[LayerDataTuple]:
    """Fluorescent nuclei, an image and its truth."""
    return sample_layers("nuclei")


def tissue() -> list[LayerDataTuple]:
    """Nuclei in stained tissue."""
    return sample_layers("tissue")


def axons() -> list[LayerDataTuple]:
    """Axons in an electron micrograph."""
    return sample_layers("axons")


def drawn() -> list[LayerDataTuple]:
    """Drawn cells, whose truth is exact."""
    return sample_layers("drawn")


def sample_layers(name: str) -> list[LayerDataTuple]:
    """Image and true objects; the truth is hidden at first."""
    from napari_sam.io.sample_data import load_sample

    sample = load_sample(name)
    about: dict[str, Any] = {"credit": sample.credit, "licence": sample.licence}
    common: dict[str, Any] = {"metadata": {"napari-sam-live": about}}
    if sample.pixel_size_um is not None:
        common["scale"] = sample.pixel_size_um
        common["units"] = ("um", "um")
    image = {**common, "name": sample.title, "rgb": sample.image.ndim == 3}
    if sample.image.ndim == 2:
        image["contrast_limits"] = (0, int(sample.image.max()))
    truth = {**common, "name": f"{sample.title}: truth", "visible": False}
    return [(sample.image, image, "image"), (sample.labels, truth, "labels")]

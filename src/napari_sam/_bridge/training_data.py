# SPDX-License-Identifier: Apache-2.0
"""Image layers and labels layers as training images, seen as prompting shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.label_layer import check_alignment
from napari_sam._bridge.label_pyramid import finest
from napari_sam._bridge.preview_layer import PLUGIN_NAME
from napari_sam._bridge.prompt_layers import is_own_helper
from napari_sam._bridge.view_settings import channel_axis_hint
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import ImageError, LabelsError
from napari_sam.structures.plane_pixels import ArrayPixels
from napari_sam.structures.view_settings import ViewSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari.layers import Image, Labels, Layer

    from napari_sam._bridge.controller import PromptController
    from napari_sam.training.sources import LabelledPlane, TrainingImage

MAX_COPIED_BYTES = 1 << 28
"""Labels in memory up to this size are copied: painting may go on meanwhile."""

NO_IMAGE = "Open an image and its masks, or choose folders."
NO_LABELS = (
    "There is no labels layer. Annotate some objects in the panel 'Segment with "
    "prompts', open a label image, or choose folders."
)


@dataclass(frozen=True, slots=True, eq=False)
class LayerPair:
    """An image with the labels that lie on it.

    Attributes
    ----------
    image : napari.layers.Image
    labels : napari.layers.Labels
    source : LayerImageSource
        The image as prompting shows it: its channels and contrast, where it is being
        prompted.
    is_likely : bool
        Whether the two belong together beyond having the same pixels.
    """

    image: Image
    labels: Labels
    source: LayerImageSource
    is_likely: bool = False

    @property
    def title(self) -> str:
        """Both names."""
        return f"{self.image.name}  +  {self.labels.name}"


def find_layer_pairs(
    layers: Iterable[Layer], controller: PromptController | None = None
) -> tuple[list[LayerPair], str]:
    """List images with labels that fit them.

    Parameters
    ----------
    layers : iterable of Layer
        Of the viewer.
    controller : PromptController, optional
        What is being prompted: says how that image is shown.

    Returns
    -------
    pairs : list of LayerPair
        Those that belong together first.
    reason : str
        Why there is none; empty otherwise.
    """
    from napari.layers import Image, Labels

    shown = [layer for layer in layers if not is_own_helper(layer)]
    images = [layer for layer in shown if isinstance(layer, Image)]
    labels = [layer for layer in shown if isinstance(layer, Labels)]
    if not images:
        return [], NO_IMAGE
    if not labels:
        return [], NO_LABELS
    found, reasons = [], []
    for image, each in product(images, labels):
        try:
            found.append((image, each, _fitting_source(image, each, controller)))
        except (ImageError, LabelsError) as error:
            reasons.append(str(error))
    if not found:
        return [], reasons[0]
    made = controller.labels_layer if controller is not None else None
    ranks = [_rank(image, each, made, found) for image, each, _ in found]
    best: dict[Image, int] = {}
    for (image, _, _), rank in zip(found, ranks, strict=True):
        best[image] = max(rank, best.get(image, 0))
    pairs = []
    for (image, each, source), rank in zip(found, ranks, strict=True):
        is_likely = 0 < rank == best[image]
        if is_likely:
            best[image] += 1  # one is enough
        pairs.append(LayerPair(image, each, source, is_likely))
    return sorted(pairs, key=lambda pair: not pair.is_likely), ""


def _rank(
    image: Image,
    labels: Labels,
    made: Labels | None,
    found: Sequence[tuple[Image, Labels, LayerImageSource]],
) -> int:
    """Tell how much speaks for labels to be those of an image; 0 is nothing."""
    is_only = sum(other == labels for _, other, _ in found) == 1
    is_only = is_only and sum(other == image for other, _, _ in found) == 1
    about = labels.metadata.get(PLUGIN_NAME, {})
    if labels == made or about.get("image") == image.name:
        # They begin empty, and then others are meant.
        data = finest(labels)
        is_begun = not isinstance(data, np.ndarray) or bool(data.any())
        return 3 if is_begun else int(is_only)
    if str(labels.name).startswith(str(image.name)):
        return 2
    return int(is_only)


def images_of_pairs(pairs: Sequence[LayerPair]) -> list[TrainingImage]:
    """Take pairs for training; the layers may change or go afterwards.

    Small labels in memory are copied, and so training learns from what is painted now.
    Larger ones, and those in files, are read as training needs them. Images that share
    their labels, such as channels of one, stay together when images are divided.
    """
    n_uses = Counter(pair.labels for pair in pairs)
    return [
        _image_of(pair, str(pair.labels.name) if n_uses[pair.labels] > 1 else "")
        for pair in pairs
    ]


def _image_of(pair: LayerPair, group: str) -> TrainingImage:
    from napari_sam.training.sources import LabelledPlane, TrainingImage

    source, shape = pair.source, pair.source.shape
    truth: Any = finest(pair.labels)
    if isinstance(truth, np.ndarray) and truth.nbytes <= MAX_COPIED_BYTES:
        truth = truth.copy()
    n_missing = len(shape) - len(truth.shape)
    axes = (len(truth.shape) - 2, len(truth.shape) - 1)
    kept: list[LabelledPlane] = []

    def planes() -> list[LabelledPlane]:
        if not kept:
            kept.extend(
                LabelledPlane(
                    _where(shape, index),
                    _as_shown(source, index),
                    ArrayPixels((truth,), axes=axes, index=index[n_missing:]),
                )
                for index in np.ndindex(shape[:-2])
            )
        return kept

    return TrainingImage(pair.title, planes, group)


def _fitting_source(
    image: Image, labels: Labels, controller: PromptController | None
) -> LayerImageSource:
    """Return the image so that the labels have its planes, rows and columns.

    Raises
    ------
    ImageError, LabelsError
        If there is no such way.
    """
    errors: list[ImageError | LabelsError] = []
    for source in _sources(image, controller):
        try:
            _check_fit(labels, image, source)
        except (ImageError, LabelsError) as error:
            errors.append(error)
        else:
            return source
    raise errors[0]


def _sources(
    image: Image, controller: PromptController | None
) -> Iterator[LayerImageSource]:
    """Give the ways to see an image, the user's own one first."""
    if controller is not None and controller.image == image:
        yield controller.source
    yield LayerImageSource(image)
    axis = channel_axis_hint(image)
    if axis is not None:
        yield LayerImageSource(image, ViewSettings(channel_axis=axis))


def _check_fit(labels: Labels, image: Image, source: LayerImageSource) -> None:
    plane_map = PlaneMap.of(image, source)
    shape = tuple(int(n) for n in finest(labels).shape)
    if source.channel_axis is not None and source.channel_axis >= len(source.shape) - 2:
        msg = (
            f"The channels of {image.name!r} lie along the axis of its rows or columns."
            " Move that axis to the front."
        )
        raise ImageError(msg)
    if source.channel_axis == 0 and shape == source.shape[1:]:
        # Labels without channels lie on all of them: napari aligns the last axes.
        for corner in (np.zeros(len(shape)), np.asarray(shape, dtype=float)):
            world = np.asarray(labels.data_to_world(corner), dtype=float)
            place = plane_map.pixel_to_world([0.0, *corner])[1:]
            steps = np.abs(np.asarray(image.scale, dtype=float)[1:])
            if (np.abs(world - place) > 0.5 * steps).any():
                raise LabelsError(_elsewhere(labels, image))
        return
    if shape != source.shape:
        sizes = [" x ".join(map(str, s)) for s in (shape, source.shape)]
        msg = (
            f"The labels {labels.name!r} ({sizes[0]}) do not fit the image "
            f"{image.name!r} ({sizes[1]}): both need the same planes, rows and columns."
        )
        raise LabelsError(msg)
    try:
        check_alignment(labels, plane_map)
    except LabelsError as error:
        raise LabelsError(_elsewhere(labels, image)) from error


def _elsewhere(labels: Labels, image: Image) -> str:
    return (
        f"The labels {labels.name!r} have the size of the image {image.name!r} but do "
        "not lie on it: give both layers the same scale and translation."
    )


def _as_shown(source: LayerImageSource, index: tuple[int, ...]) -> Any:
    from napari_sam.prediction.shown_pixels import ShownPixels

    n_axes = len(source.shape)
    key = PlaneKey(axes=(n_axes - 2, n_axes - 1), index=index)
    return ShownPixels(source.plane_pixels(key))


def _where(shape: tuple[int, ...], index: tuple[int, ...]) -> str:
    """Say which plane; axes of one entry say nothing."""
    return ",".join(str(i) for i, n in zip(index, shape, strict=False) if n > 1)

# SPDX-License-Identifier: Apache-2.0
"""From a plane to the model's square frame, and from its logits back to the plane."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from napari_sam.modeling.sam import Sam
from napari_sam.structures.arrays import Coordinates, RgbPlane
from napari_sam.structures.embedding import ImageEmbedding
from napari_sam.structures.geometry import box_yx_to_xy, yx_to_xy


def resized_shape(shape: tuple[int, int], frame: int) -> tuple[int, int]:
    """Return the size of a plane whose long side fills the frame.

    Parameters
    ----------
    shape : (H, W)
        Size in pixels of the plane.
    frame : int
        Side of the model's frame in pixels.

    Returns
    -------
    (h', w')
        Whole frame pixels, rounded half up as the reference does; at least 1.
    """
    scale = frame / max(shape)
    height, width = (max(1, math.floor(side * scale + 0.5)) for side in shape)
    return height, width


def resize_rgb(rgb: RgbPlane, size: tuple[int, int]) -> RgbPlane:
    """Resize with Pillow's bilinear filter, which the reference's numbers depend on.

    Parameters
    ----------
    rgb : (H, W, 3) uint8 array
        What the model is to see.
    size : (h', w')
        Wanted size.

    Returns
    -------
    (h', w', 3) uint8 array
        The same array if it has that size already.
    """
    if rgb.shape[:2] == tuple(size):
        return rgb
    height, width = size
    resized = Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


@dataclass(frozen=True, slots=True)
class FrameTransform:
    """Where a plane lies in a model's frame.

    Attributes
    ----------
    original_size : (H, W)
        The plane in its own pixels.
    input_size : (h', w')
        The plane in frame pixels; it begins at the frame's upper left corner.
    frame : int
        Side of the frame in frame pixels.
    is_centred : bool
        Whether points keep to the middle of their pixels. The reference multiplies
        their indices instead: by half a pixel of the plane less where it is enlarged.
    """

    original_size: tuple[int, int]
    input_size: tuple[int, int]
    frame: int
    is_centred: bool = False

    @classmethod
    def of_embedding(cls, embedding: ImageEmbedding, model: Sam) -> "FrameTransform":
        """Return the transform a plane was embedded with by a model."""
        sizes = embedding.original_size, embedding.input_size
        return cls(*sizes, model.image_size, model.exact_clicks)

    def points_to_frame(self, points_yx: npt.ArrayLike) -> Coordinates:
        """Turn (..., 2) row, column of the plane into x, y of the frame.

        Both are indices of pixels: whole numbers are their middles.
        """
        middle = 0.5 if self.is_centred else 0.0
        return (yx_to_xy(points_yx) + middle) * self._scale_xy() - middle

    def boxes_to_frame(self, boxes_yx: npt.ArrayLike) -> Coordinates:
        """Turn (..., 4) ``y0, x0, y1, x1`` of the plane into ``x0, y0, x1, y1``."""
        return box_yx_to_xy(boxes_yx) * np.tile(self._scale_xy(), 2)

    def _scale_xy(self) -> Coordinates:
        """Return frame pixels per pixel of the plane; the two sides round apart."""
        scale = np.divide(self.input_size, self.original_size, dtype=np.float64)
        return yx_to_xy(scale)


def upscale_logits(logits: Tensor, transform: FrameTransform) -> Tensor:
    """Enlarge low-resolution logits to the plane, in full, as the reference does.

    Two bilinear steps: to the frame, and after cutting the padding off, to the plane.
    `LogitWindows` makes the same values where they matter, much faster; this is the
    plain form that it is held against.

    Parameters
    ----------
    logits : (n, a, b) tensor
        Logits of the whole frame, padding included.
    transform : FrameTransform
        Where the plane lies in the frame.

    Returns
    -------
    (n, H, W) tensor
    """
    frame = (transform.frame, transform.frame)
    in_frame = _bilinear(logits, frame)
    height, width = transform.input_size
    return _bilinear(in_frame[:, :height, :width], transform.original_size)


def _bilinear(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate (n, a, b) to (n, *size) without aligned corners."""
    return functional.interpolate(
        logits[None], size=size, mode="bilinear", align_corners=False
    )[0]


def interpolation_matrix(n_from: int, n_to: int) -> npt.NDArray[np.float64]:
    """Return the weights of one bilinear step along one axis.

    Positions are computed in float32 in the order torch uses, so that the weights are
    torch's own.

    Parameters
    ----------
    n_from, n_to : int
        Number of samples before and after.

    Returns
    -------
    (n_to, n_from) float64 array
        Rows add up to 1; at most two entries of a row are not 0.
    """
    first, second, weight = interpolation_sources(n_from, n_to)
    matrix = np.zeros((n_to, n_from), dtype=np.float64)
    rows = np.arange(n_to)
    np.add.at(matrix, (rows, first), 1 - weight)
    np.add.at(matrix, (rows, second), weight)
    return matrix


def interpolation_sources(
    n_from: int, n_to: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return which two samples each sample of a bilinear step lies between.

    Parameters
    ----------
    n_from, n_to : int
        Number of samples before and after.

    Returns
    -------
    first, second : (n_to,) int64 arrays
        Samples before; the same one at the ends.
    weight : (n_to,) float64 array
        Of the second, from 0 to 1; the first has the rest.
    """
    scale = np.float32(n_from) / np.float32(n_to)
    targets = np.arange(n_to, dtype=np.float32)
    sources = np.maximum(scale * (targets + np.float32(0.5)) - np.float32(0.5), 0)
    first = np.minimum(sources.astype(np.int64), n_from - 1)
    second = np.minimum(first + 1, n_from - 1)
    weight = np.clip(sources - first.astype(np.float32), 0, 1).astype(np.float64)
    return first, second, weight


def axis_matrix(
    n_low: int, frame: int, n_input: int, n_original: int
) -> npt.NDArray[np.float32]:
    """Return both enlarging steps along one axis as one matrix.

    Parameters
    ----------
    n_low : int
        Low-resolution samples of the frame.
    frame : int
        Frame pixels.
    n_input : int
        Frame pixels of the plane, without padding.
    n_original : int
        Pixels of the plane.

    Returns
    -------
    (n_original, n_low) float32 array
        Enlarged logits are ``rows @ logits @ columns.T``.
    """
    to_frame = interpolation_matrix(n_low, frame)[:n_input]
    if n_input == n_original:
        return to_frame.astype(np.float32)
    return (interpolation_matrix(n_input, n_original) @ to_frame).astype(np.float32)


def to_model_input(rgb: RgbPlane, device: torch.device) -> Tensor:
    """Copy a resized picture to a device as (1, 3, h', w') float32, values 0..255."""
    pixels = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
    return pixels.to(device).to(torch.float32)[None]

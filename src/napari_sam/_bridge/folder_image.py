# SPDX-License-Identifier: Apache-2.0
"""One image of a folder: what its files hold, and its layers in the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.preview_layer import PLUGIN_NAME
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import AnnotationFileError, ImageError, LabelsError
from napari_sam.io.annotation_file import load_annotation
from napari_sam.io.backup import back_up
from napari_sam.structures.image_digest import image_digest

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from napari_sam._bridge.controller import PromptController
    from napari_sam.annotation.state import AnnotationState
    from napari_sam.io.folder_images import FolderImage
    from napari_sam.io.folder_project import FolderProject
    from napari_sam.io.image_file import ImageFile

CHANNEL_COLORMAPS = ("magenta", "green", "cyan", "yellow", "red", "blue")


@dataclass(frozen=True, eq=False)
class FileContent:
    """What the files of one image hold; read in a worker.

    Attributes
    ----------
    entry : FolderImage
    pixels : ImageFile
    identity : str
        Hash of the pixels, as in annotation files.
    labels : (..., H, W) uint32 array or None
    annotation : AnnotationState or None
    notices : tuple of str
        What could not be used, and where a copy of it is.
    """

    entry: FolderImage
    pixels: ImageFile
    identity: str
    labels: np.ndarray | None = None
    annotation: AnnotationState | None = None
    notices: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its label image."""
        return (*self.pixels.stack_shape, *self.pixels.plane_shape)


@dataclass(eq=False)
class OpenImage:
    """One image in the viewer.

    Attributes
    ----------
    content : FileContent
    images : list of Image
        Its layers, one per channel; the first one is annotated.
    labels : Labels
        The layer that was made for it.
    controller : PromptController or None
        Who prompts it, or did so last.
    saved : str
        Fingerprint of what the files hold.
    array : array
        Whose labels the files hold. Those of another one (of a layer that the user
        chose, of a new one after ours was removed) do not go on from them.
    """

    content: FileContent
    images: list[Image]
    labels: Labels
    controller: PromptController | None = None
    saved: str = ""
    array: Any = None

    @property
    def labels_now(self) -> Labels:
        """Where objects go: the user may have chosen another layer of this shape."""
        if self.controller is not None:
            chosen = self.controller.labels_layer
            if tuple(chosen.data.shape) == self.content.shape:
                return chosen
        return self.labels

    @property
    def entry(self) -> FolderImage:
        """The files it came from."""
        return self.content.entry

    @property
    def layers(self) -> list[Layer]:
        """All layers that were made for it, in the order in which they are added."""
        return [*self.images, self.labels]

    @property
    def image(self) -> Image:
        """The layer that is annotated."""
        return self.images[0]


def read_content(
    project: FolderProject, entry: FolderImage, pixels: ImageFile | None = None
) -> FileContent:
    """Read all files of an image; results that cannot be used are put aside.

    Parameters
    ----------
    project : FolderProject
        Where the image belongs.
    entry : FolderImage
        Its files.
    pixels : ImageFile, optional
        The image, if it was read already.

    Raises
    ------
    ImageError
        If the image itself cannot be read.
    OutputError
        If a result that cannot be used cannot be copied either.
    """
    if pixels is None:
        pixels = project.read_image(entry)
    identity = _identity(pixels)
    notices = []
    annotation: AnnotationState | None = None
    if entry.annotation.is_file():
        try:
            annotation = load_annotation(entry.annotation, identity)
        except AnnotationFileError as error:
            notices.append(_kept(entry.annotation, error))
    labels = None
    try:
        labels = project.read_labels(entry, pixels)
    except (ImageError, LabelsError) as error:
        notices.append(_kept(entry.labels, error))
    if labels is None and annotation is not None:
        labels = annotation.label_image().astype(np.uint32)
    return FileContent(entry, pixels, identity, labels, annotation, tuple(notices))


def make_images(pixels: ImageFile) -> list[Image]:
    """Make the Image layers of a file: one, or one per channel of a microscope."""
    from napari.layers import Image

    name = pixels.path.name
    about: dict[str, Any] = {**_place(pixels), "metadata": _about("image")}
    if pixels.axes.endswith("S"):
        return [Image(pixels.data, name=name, rgb=True, **about)]
    middle = first_plane(pixels).index
    if not pixels.axes.endswith("C"):
        limits = _limits(pixels.data[middle])
        return [Image(pixels.data, name=name, contrast_limits=limits, **about)]
    return [
        Image(
            pixels.data[..., channel],
            name=f"{name} [{channel}]",
            contrast_limits=_limits(pixels.data[middle][..., channel]),
            colormap=CHANNEL_COLORMAPS[channel % len(CHANNEL_COLORMAPS)],
            blending="additive",
            **about,
        )
        for channel in range(pixels.n_channels)
    ]


def open_content(content: FileContent, images: list[Image]) -> OpenImage:
    """Make the labels layer that belongs to the image layers."""
    from napari.layers import Labels

    labels = content.labels
    if labels is None:
        labels = np.zeros(content.shape, np.uint32)
    layer = Labels(
        labels,
        name=content.entry.labels.stem,
        metadata=_about("objects"),
        **_place(content.pixels),
    )
    return OpenImage(content, images, layer, array=layer.data)


def first_plane(pixels: ImageFile) -> PlaneKey:
    """Return the plane that an image is opened at: the middle of a stack."""
    n_axes = len(pixels.plane_axes)
    middle = tuple(size // 2 for size in pixels.stack_shape)
    return PlaneKey(axes=(n_axes, n_axes + 1), index=middle)


def show_plane(viewer: ViewerModel, image: Image, plane: PlaneKey) -> None:
    """Move the sliders to a plane of an image."""
    where = np.zeros(image.ndim)
    where[: len(plane.index)] = plane.index
    world = image.data_to_world(where)
    offset = viewer.dims.ndim - image.ndim
    for axis in range(len(plane.index)):
        viewer.dims.set_point(offset + axis, float(world[axis]))


def show(viewer: ViewerModel, opened: OpenImage, before: OpenImage | None) -> None:
    """Put the layers of an image in the place of those of another one."""
    if before is not None:
        for layer in before.layers:
            if layer in viewer.layers:
                viewer.layers.remove(layer)
    for layer in opened.layers:
        viewer.add_layer(layer)
    show_plane(viewer, opened.image, first_plane(opened.content.pixels))
    extent = opened.image.extent.world
    if before is None or not np.array_equal(before.image.extent.world, extent):
        viewer.reset_view()


def _limits(plane: np.ndarray) -> tuple[int, int] | None:
    """Brightness of 8-bit pixels, which napari would show from 0 to 255: too dark."""
    if plane.dtype != np.uint8:
        return None
    return 0, max(int(plane.max(initial=0)), 1)


def _identity(pixels: ImageFile) -> str:
    """Hash the pixels of the layer that is annotated, as its image source does."""
    if pixels.axes.endswith("S"):
        return image_digest(pixels.data, 3)
    if pixels.axes.endswith("C"):
        return image_digest(pixels.data[..., 0])
    return image_digest(pixels.data)


def _kept(path: Path, error: Exception) -> str:
    """Put a file aside that would otherwise be replaced by the next save."""
    return f"{error} It was not used; a copy is kept as {back_up(path).name}."


def _about(role: str) -> dict[str, Any]:
    return {PLUGIN_NAME: {"role": role}}


def _place(pixels: ImageFile) -> dict[str, Any]:
    """Names of the axes; scale and units from the sizes that the file states."""
    labels = {"axis_labels": tuple(pixels.plane_axes.lower() + "yx")}
    if pixels.pixel_size_um is None:
        return labels
    scale: list[float] = []
    units: list[str] = []
    for axis in pixels.plane_axes:
        is_known = axis == "Z" and pixels.z_step_um is not None
        scale.append(float(pixels.z_step_um or 1.0) if is_known else 1.0)
        units.append("um" if is_known else "pixel")
    return {
        **labels,
        "scale": (*scale, *pixels.pixel_size_um),
        "units": (*units, "um", "um"),
    }

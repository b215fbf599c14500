# SPDX-License-Identifier: Apache-2.0
"""The same image, click and grid in the reference's words and in ours.

Answers of the decoder are drawn (`scene`) after its work in both, wherever masks are
made of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scene import Scene, SceneEngine, draw_for_reference

from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.structures.embedding import ImageEmbedding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam.modeling.sam import Sam
    from napari_sam.prediction.image_embedder import ImageEmbedder

FRAME = 1024


def picture(side: int) -> NDArray[np.uint8]:
    """Draw soft noise, (side, side, 3)."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    repeats = -(-side // 64)
    return np.tile(coarse, (repeats, repeats, 1))[:side, :side]


def given_features(seed: int = 5) -> NDArray[np.float32]:
    """Draw what an image encoder might say, (1, 256, 64, 64)."""
    return np.random.default_rng(seed).normal(size=(1, 256, 64, 64)).astype(np.float32)


class ReferenceImage:
    """An image in the reference's predictor, embedded or with features given."""

    def __init__(
        self, package: Any, model: Any, image: NDArray[np.uint8], *, is_embedded: bool
    ) -> None:
        self.package, self.model, self.image = package, model, image
        self.predictor = package.SamPredictor(model)
        if is_embedded:
            self.predictor.set_image(image)
        else:
            self.put_features(self.predictor)

    def put_features(self, predictor: Any) -> None:
        """Let a predictor believe that it has encoded the image."""
        predictor.features = torch.from_numpy(given_features()).to(predictor.device)
        predictor.original_size = self.image.shape[:2]
        predictor.input_size = (FRAME, FRAME)
        predictor.is_image_set = True


class OurImage:
    """An image in our predictor, embedded or with features given."""

    def __init__(
        self, model: Sam, image: NDArray[np.uint8], *, is_embedded: bool
    ) -> None:
        self.image = image
        self.predictor = SamPredictor(model)
        if is_embedded:
            self.embedding = self.predictor.embed(image)
        else:
            self.embedding = ImageEmbedding(
                given_features(),
                (),
                (FRAME, FRAME),
                (image.shape[0], image.shape[1]),
                model.name,
                self._digest(image),
                model.digest,
            )

    def draw(self, scene: Scene) -> None:
        """Let answers be drawn from now on."""
        predictor: Any = self.predictor
        predictor._engine = SceneEngine(predictor._engine, scene)  # noqa: SLF001

    def _digest(self, image: NDArray[np.uint8]) -> str:
        """Return the digest that the embedding of the image would have."""
        embedder: ImageEmbedder = self.predictor._embedder  # noqa: SLF001
        return embedder.digest_of(image)


class ReferenceClick:
    """One positive point, three masks of the whole image."""

    def __init__(self, image: ReferenceImage) -> None:
        self._predictor = image.predictor
        self._places = Places(image.image.shape[0])
        draw_for_reference(image.model, Scene(FRAME, image.predictor.device))

    def __call__(self) -> Any:
        """Click at the next place."""
        y, x = self._places.next()
        return self._predictor.predict(
            np.array([[x, y]]), np.array([1]), multimask_output=True
        )


class OurClick:
    """The same click."""

    def __init__(self, image: OurImage) -> None:
        self._image = image
        self._places = Places(image.image.shape[0])
        image.draw(Scene(FRAME, image.predictor.model.device))

    def __call__(self) -> Any:
        """Click at the next place."""
        image = self._image
        return image.predictor.predict(image.embedding, [self._places.next()])


class Places:
    """Points on an image, the same for everybody."""

    def __init__(self, side: int) -> None:
        self._rng = np.random.default_rng(11)
        self._side = side

    def next(self) -> tuple[float, float]:
        """Return row and column."""
        y, x = self._rng.uniform(0.05, 0.95, 2) * self._side
        return float(y), float(x)


class ReferenceGrid:
    """Automatic masks of the whole image, the embedding given."""

    def __init__(
        self,
        image: ReferenceImage,
        points: int,
        grid: Any = None,
        *,
        is_drawn: bool = True,
    ) -> None:
        if is_drawn:
            draw_for_reference(image.model, Scene(FRAME, image.predictor.device))
        where = {"points_per_side": points}
        if grid is not None:
            where = {"points_per_side": None, "point_grids": [grid]}
        self._generator = image.package.SamAutomaticMaskGenerator(image.model, **where)
        predictor = self._generator.predictor
        predictor.set_image = lambda _: image.put_features(predictor)
        self._image = image.image

    def __call__(self) -> list[dict[str, Any]]:
        """Find everything."""
        return self._generator.generate(self._image)


class OurGrid:
    """The same by us."""

    def __init__(
        self, image: OurImage, points: int, grid: Any = None, *, is_drawn: bool = True
    ) -> None:
        if is_drawn:
            image.draw(Scene(FRAME, image.predictor.model.device))
        where: dict[str, Any] = {"points_per_side": points}
        if grid is not None:
            where = {"point_grids": [grid[:, ::-1]]}  # row before column here
        self._generator = AutomaticMaskGenerator(image.predictor, **where)
        self._image = image

    def __call__(self) -> Any:
        """Find everything."""
        return self._generator.generate(
            self._image.image, embedding=self._image.embedding
        )


def difference(reference: list[dict[str, Any]], ours: Any) -> str:
    """Say in which records two runs differ; nothing if they are the same, in order."""
    if len(reference) != len(ours):
        return f"{len(reference)} records against {len(ours)}"
    for number, (theirs, record) in enumerate(zip(reference, ours, strict=True)):
        own = record.to_dict()
        for key in ("bbox", "area", "point_coords"):
            if not np.array_equal(theirs[key], own[key]):
                return f"record {number}: {key} {theirs[key]} against {own[key]}"
        for key in ("predicted_iou", "stability_score"):
            if abs(theirs[key] - own[key]) > 1e-6:
                return f"record {number}: {key} {theirs[key]} against {own[key]}"
        if not np.array_equal(theirs["segmentation"], record.mask()):
            return f"record {number}: other pixels"
    return ""

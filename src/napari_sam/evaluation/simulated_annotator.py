# SPDX-License-Identifier: Apache-2.0
"""A person who annotates images until they are done, simulated at the real tool.

The person knows the truth and acts through `annotation.Annotator` and its proposals, as
a user does; only the eyes and the hand are simulated. Three ways:

``hand``
    Objects by falling area. A click in the middle of each, then one in the middle of
    the largest error, until the mask is good enough or the clicks are used up; then the
    mask is accepted, or discarded if it is not worth keeping.
``semi``
    The semi-automatic stage (Kirillov et al. 2023, section 4): sure masks are filled in
    and locked, the others proposed. Every object is looked at; false ones are deleted,
    mediocre ones opened again and corrected. For each missing object a proposal is
    clicked if a usable one is there, else it is prompted by hand.
``proposals``
    The automatic mode at the model's own thresholds, everything accepted with one
    button; then the same review.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam.evaluation.annotation_effort import (
    ActionTimes,
    EffortReport,
    Habits,
    ImageEffort,
)
from napari_sam.evaluation.annotation_truth import Truth
from napari_sam.evaluation.prompts import random_generator
from napari_sam.evaluation.protocol import check_pair
from napari_sam.evaluation.simulated_person import WAYS, Person, checked_ways

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_sam.annotation.ports import Segmenter
    from napari_sam.evaluation.protocol import Example


def simulate_annotation(
    examples: Iterable[Example],
    segmenter: Segmenter,
    *,
    ways: Iterable[str] = WAYS,
    habits: Habits | None = None,
    times: ActionTimes | None = None,
    seed: int = 0,
) -> EffortReport:
    """Annotate labelled images and count what it takes.

    Parameters
    ----------
    examples, segmenter, ways, habits, seed
        See `annotate_images`.
    times : ActionTimes, optional
        How fast the person is.

    Raises
    ------
    ImageError, LabelsError
        If a label image does not fit its image.
    SettingsError
        If a way is unknown.
    """
    habits = habits or Habits()
    efforts = [
        effort
        for of_image in annotate_images(
            examples, segmenter, ways=ways, habits=habits, seed=seed
        )
        for effort in of_image
    ]
    return EffortReport(tuple(efforts), habits, times or ActionTimes(), seed)


def annotate_images(
    examples: Iterable[Example],
    segmenter: Segmenter,
    *,
    ways: Iterable[str] = WAYS,
    habits: Habits | None = None,
    seed: int = 0,
) -> Iterator[list[ImageEffort]]:
    """Annotate one image after the other, in every way; errors as above.

    Parameters
    ----------
    examples : iterable of (name, image, labels)
        Taken one at a time. Image (H, W) or (H, W, 3), labels (H, W).
    segmenter : Segmenter
        The model.
    ways : iterable of {"hand", "semi", "proposals"}
        How; each begins with empty labels and nothing embedded.
    habits : Habits, optional
        When the person is content, and how well they hit.
    seed : int
        Of where clicks land; with the image's name it fixes every one of them, whatever
        the order of images and ways.

    Yields
    ------
    list of ImageEffort
        One per way.
    """
    chosen = checked_ways(ways)
    habits = habits or Habits()
    for name, image, labels in examples:
        check_pair(name, image, labels)
        truth = Truth(labels, habits.min_area)
        yield [
            Person(
                image, truth, segmenter, habits, random_generator(seed, name, 0)
            ).annotate(name, way)
            for way in chosen
        ]

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.array_ports import ArrayImage
from napari_sam.prediction.model_segmenter import ModelSegmenter


def test_scripts_say_what_they_look_at_themselves(large_images, tiny_sam):
    """The same without napari: an annotator, a lazy image, a view."""
    disc = (20000.0, 9000.0, 700.0)
    levels = large_images.Discs([disc]).pyramid(7)

    class Store:
        keeps_existing = False
        written: list = []  # noqa: RUF012

        def next_id(self):
            return 1

        def forget_id(self, object_id):
            """Nothing is counted here."""

        def read(self, key, box):
            return np.zeros((box[2] - box[0], box[3] - box[1]), np.uint32)

        def write(self, key, edit):
            self.written.append(edit)

    segmenter = ModelSegmenter(tiny_sam)
    segmenter._predictor = large_images.Filling(tiny_sam)
    source = ArrayImage(levels[0], is_rgb=True, coarser=levels[1:])
    annotator = Annotator(source, Store())
    annotator.attach(segmenter)
    plane = source.plane()
    annotator.look_at(plane, large_images.view_of(*disc[:2], 16.0))
    assert annotator.ready_region.scale == 16
    annotator.add_point(plane, disc[:2])
    made = annotator.commit()
    (edit,) = annotator.labels.written
    assert made.area == int((edit.new > 0).sum())
    assert made.area == pytest.approx(np.pi * 700**2, rel=0.05)
    assert sum(level.n_read for level in levels) < 2_000_000

# SPDX-License-Identifier: Apache-2.0
"""A model is measured by the way in which it segments everything by itself."""

from __future__ import annotations

import pytest

from napari_sam.evaluation.settings import default_modes
from napari_sam.modeling.registry import build_model


@pytest.mark.parametrize(
    ("architecture", "method"), [("embedded_v2", "fast"), ("vit_t", "grid")]
)
def test_modes_without_being_asked(architecture: str, method: str) -> None:
    assert default_modes(build_model(architecture, device="meta")) == (
        "point",
        "box",
        method,
    )

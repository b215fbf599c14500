# SPDX-License-Identifier: Apache-2.0
"""Worst cases as pictures: pixels, the true outline and the predicted one."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_sam.evaluation.cases import Case
    from napari_sam.structures.arrays import RgbPlane

KINDS = {
    "point": "Centre point",
    "box": "Tight box",
    "grid": "Automatic, grid",
    "fast": "Automatic, fast",
    "fastest": "Automatic, fastest",
}

KEY_TO_PICTURES = (
    '<span class="key"></span> true outline, <span class="key prediction"></span> '
    "predicted outline (dashed). A white cross is the click, a dotted rectangle the "
    "box. These are the lowest scores of each kind, so they are not typical."
)

MAX_CASES = 48
SHOWN_PX = 300
"""Width of a picture on the page, and its height at most."""
WHOLE_PX = 460
"""The same of a picture of a whole image."""
TOLERANCE_PX = 0.4
"""Outlines are simplified by no more than this."""
LOSSLESS_PX = 160
"""Pictures up to this size are PNG; of larger ones, JPEG shows enough."""


def worst_cases(cases: Sequence[Case]) -> str:
    """Return the section of the page with the worst cases; empty if there are none."""
    if not cases:
        return ""
    shown: dict[str, list[str]] = {}
    for case in cases[:MAX_CASES]:
        shown.setdefault(case.kind, []).append(_case(case))
    parts = [
        "<h2>Worst cases</h2>",
        f"<p>{KEY_TO_PICTURES}</p>",
    ]
    for kind, figures in shown.items():
        name = KINDS.get(kind, kind)
        parts.append(
            f"<h3>{escape(name)}</h3>"
            f'<div class="figures cases">{"".join(figures)}</div>'
        )
    if len(cases) > MAX_CASES:
        parts.append(f'<p class="soft">{len(cases) - MAX_CASES} more left out.</p>')
    return "".join(parts)


def _case(case: Case) -> str:
    kind = KINDS.get(case.kind, case.kind).lower()
    if case.label is None:
        what, how = f"{case.image}, whole image", f"AP {case.score:.3f}, {kind}"
    else:
        row, column = case.corner_yx
        what = f"{case.image}, object {case.label}"
        how = f"IoU {case.score:.3f}, {kind}; shown from row {row}, column {column} on"
    alt = f"True and predicted outline. {what}. {how}"
    return (
        f"<figure>{case_svg(case, alt)}<figcaption><strong>{escape(what)}</strong><br>"
        f"{escape(how)}</figcaption></figure>"
    )


def case_svg(case: Case, description: str) -> str:
    """Return a case as an SVG element, a few hundred kilobytes at most.

    Parameters
    ----------
    case : Case
        What is to be seen.
    description : str
        What a screen reader tells; escaped here.
    """
    height, width = case.truth.shape
    is_whole = case.label is None
    scale = (WHOLE_PX if is_whole else SHOWN_PX) / max(height, width, 1)
    truth, prediction = outline(case.truth), outline(case.prediction)
    css = "picture whole" if is_whole else "picture"
    head = (
        f'<svg class="{css}" role="img" viewBox="0 0 {width} {height}" '
        f'width="{width * scale:.0f}" height="{height * scale:.0f}" '
        f'aria-label="{escape(description)}">'
    )
    parts = [
        head,
        f'<image href="{data_uri(case.pixels)}" width="{width}" height="{height}"/>',
        *(f'<path class="under" d="{path}"/>' for path in (truth, prediction)),
        f'<path class="truth" d="{truth}"/>',
        f'<path class="prediction" d="{prediction}"/>',
        *_prompts(case, 5 / scale),
        "</svg>",
    ]
    return "".join(parts)


def data_uri(pixels: RgbPlane) -> str:
    """Return pixels, (h, w, 3) uint8, as an image that stands in the page itself."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(pixels), "RGB")
    is_small = max(pixels.shape[:2]) <= LOSSLESS_PX
    if is_small:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "JPEG", quality=85)
    kind = "png" if is_small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def outline(labels: NDArray[np.integer]) -> str:
    """Return the borders of all objects as an SVG path of closed lines.

    Parameters
    ----------
    labels : (h, w) integer array
        0 is background; what lies outside the array is background too.

    Returns
    -------
    str
        In a frame whose unit is a pixel and whose origin is the corner of the first.
        Lines run along pixel edges and cut corners, by less than a pixel.
    """
    pieces = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        if place is None:
            continue
        mask = np.pad(labels[place] == number, 1)
        corner = np.array([place[0].start, place[1].start]) - 0.5
        for line in find_contours(mask.astype(np.float64), 0.5):
            points = approximate_polygon(line, TOLERANCE_PX)[:-1] + corner
            pieces.append("M" + " ".join(f"{x:g} {y:g}" for y, x in points) + "Z")
    return "".join(pieces)


def _prompts(case: Case, radius: float) -> Iterator[str]:
    """Draw the prompts; positions are pixel centres, so half a pixel further."""
    if case.box is not None:
        y0, x0, y1, x1 = case.box
        yield (
            f'<rect class="prompt" x="{x0:.2f}" y="{y0:.2f}" '
            f'width="{x1 - x0:.2f}" height="{y1 - y0:.2f}"/>'
        )
    for y, x, label in case.points:
        cx, cy, r = x + 0.5, y + 0.5, radius
        cross = f"M{cx - r:.2f} {cy:.2f}h{2 * r:.2f}"
        if label:
            cross += f"M{cx:.2f} {cy - r:.2f}v{2 * r:.2f}"
        yield f'<path class="under" d="{cross}"/><path class="point" d="{cross}"/>'

# SPDX-License-Identifier: Apache-2.0
"""Tables name images, labels, parts and groups, or are refused line by line."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_sam.errors import ImageError
from napari_sam.training.index_table import from_csv

SHAPE = (40, 50)


@pytest.fixture
def folders(tmp_path):
    """Images a, b and c of noise, whose labels hold 1, 2 and 3."""
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    rng = np.random.default_rng(0)
    for i, name in enumerate("abc", start=1):
        image = rng.integers(0, 4000, SHAPE, np.uint16)
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", image)
        labels = np.full(SHAPE, i, np.uint16)
        tifffile.imwrite(tmp_path / "labels" / f"{name}_labels.tif", labels)


def table(folder, *lines):
    path = folder / "index.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_table_with_split_and_group(folders, tmp_path):
    index = table(
        tmp_path,
        "image,labels,split,group,stain",
        "images/a.tif,labels/a_labels.tif,train,plate1,x",
        "images/b.tif,labels/b_labels.tif,Val,,y",
        "images/c.tif,labels/c_labels.tif,test,plate1,z",
    )
    a, b = from_csv(index)
    assert (a.part, a.group) == ("train", "plate1")
    assert (b.part, b.group) == ("validation", "")
    (plane,) = b.open()
    assert (plane.labels.read((0, 0, *SHAPE)) == 2).all()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["image,mask", "images/a.tif,x"], "lacks the column labels"),
        (["image,labels", "images/a.tif,"], "line 2: image or labels is empty"),
        (["image,labels", "images/a.tif"], "line 2: image or labels is empty"),
        (["image,labels", "images/no.tif,labels/a_labels.tif"], "no.tif"),
        (
            ["image,labels,split", "images/a.tif,labels/a_labels.tif,half"],
            "split is 'half'. Allowed: train, val, test",
        ),
        (["image,labels,split", "images/a.tif,labels/a_labels.tif,"], "is empty"),
        (["image,labels"], "names no image"),
        ([""], "lacks the column image and labels; it has none"),
    ],
)
def test_tables_that_make_no_sense(folders, tmp_path, lines, text):
    with pytest.raises(ImageError) as caught:
        from_csv(table(tmp_path, *lines))
    assert text in str(caught.value)
    assert "index.csv" in str(caught.value)


def test_table_that_is_missing(tmp_path):
    with pytest.raises(ImageError, match="Cannot read the table"):
        from_csv(tmp_path / "no.csv")

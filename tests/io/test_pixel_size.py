# SPDX-License-Identifier: Apache-2.0
import pytest

from napari_sam.io.pixel_size import from_imagej, from_ome, from_resolution_tags

OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image>'
    "<Pixels {}/></Image></OME>"
)


@pytest.mark.parametrize(
    ("unit", "um"),
    [("um", 2.0), ("micron", 2.0), (r"\u00B5m", 2.0), ("µm", 2.0), ("nm", 0.002)],
)
def test_imagej_units(unit, um):
    size = from_imagej({"unit": unit, "spacing": 3}, (1.0, 0.5))
    assert size.yx_um == pytest.approx((um / 2, um))
    assert size.z_um == pytest.approx(um * 1.5)


@pytest.mark.parametrize("unit", ["", "pixel", "parsec"])
def test_imagej_without_a_length_unit(unit):
    assert from_imagej({"unit": unit, "spacing": 3}, (1.0, 0.5)) == (None, None)
    assert from_imagej({"unit": "um"}, (None, 0.5)).yx_um is None


def test_ome_default_unit_is_micrometre():
    size = from_ome(OME.format('PhysicalSizeX="0.2" PhysicalSizeY="0.1"'))
    assert size == ((0.1, 0.2), None)
    size = from_ome(OME.format('PhysicalSizeZ="1" PhysicalSizeZUnit="mm"'))
    assert size == (None, 1000.0)


@pytest.mark.parametrize(
    "xml",
    [
        "no xml",
        "<OME/>",
        OME.format('PhysicalSizeX="x" PhysicalSizeY="1"'),
        OME.format('PhysicalSizeX="0" PhysicalSizeY="1"'),
    ],
)
def test_ome_without_a_size(xml):
    assert from_ome(xml).yx_um is None


def test_plain_tags_of_printers_do_not_count():
    assert from_resolution_tags((72, 72), "inch").yx_um is None
    assert from_resolution_tags((1, 1), "").yx_um is None
    assert from_resolution_tags((None, 5e4), "cm").yx_um is None
    assert from_resolution_tags((1e5, 5e4), "cm").yx_um == pytest.approx((0.1, 0.2))

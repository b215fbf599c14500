# SPDX-License-Identifier: Apache-2.0
import pytest

from napari_sam._cli.parsing import (
    parse_box,
    parse_point,
    parse_range,
    prompts_per_object,
)
from napari_sam.errors import PromptError, SettingsError
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

ON, OFF = PointPrompt((5, 6)), PointPrompt((50, 60), 0)
SMALL, LARGE = BoxPrompt(0, 0, 10, 10), BoxPrompt(40, 40, 90, 90)


def test_points_and_boxes():
    assert parse_point("5,6") == ON
    assert parse_point(" 50 , 60.0,0") == OFF
    assert parse_point("-1.5,6,1") == PointPrompt((-1.5, 6))
    assert parse_box("10,10,0,0") == SMALL
    assert parse_range("0.5,9", "--limits") == (0.5, 9)
    assert parse_range(None, "--limits") is None


@pytest.mark.parametrize("text", ["", "5", "5;6", "a,b", "1,2,3,4", "1,2,2", "1,2,-1"])
def test_what_is_no_point(text):
    with pytest.raises(PromptError):
        parse_point(text)


@pytest.mark.parametrize("text", ["nan,3", "3,inf", "nan,nan,1"])
def test_points_need_finite_numbers(text):
    with pytest.raises(PromptError, match="finite"):
        parse_point(text)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,1,9", "1,2,3,nan"])
def test_what_is_no_box(text):
    with pytest.raises(PromptError):
        parse_box(text)


@pytest.mark.parametrize("text", ["", "1", "a,b", "1,2,3"])
def test_what_is_no_range(text):
    with pytest.raises(SettingsError, match="--limits LOW,HIGH"):
        parse_range(text, "--limits")


def test_points_alone_are_one_object():
    assert prompts_per_object([ON, OFF], [], each_point=False) == [
        PromptSet(points=(ON, OFF))
    ]
    assert prompts_per_object([], [], each_point=False) == []


def test_each_point_is_an_object_and_shares_the_negatives():
    other = PointPrompt((7, 8))
    assert prompts_per_object([ON, OFF, other], [], each_point=True) == [
        PromptSet(points=(ON, OFF)),
        PromptSet(points=(other, OFF)),
    ]


def test_points_with_one_box_belong_to_it():
    assert prompts_per_object([OFF], [SMALL], each_point=False) == [
        PromptSet(points=(OFF,), box=SMALL)
    ]


def test_points_with_several_boxes_belong_to_those_around_them():
    assert prompts_per_object([ON, OFF], [SMALL, LARGE], each_point=False) == [
        PromptSet(points=(ON,), box=SMALL),
        PromptSet(points=(OFF,), box=LARGE),
    ]


@pytest.mark.parametrize(
    ("points", "boxes", "each_point", "text"),
    [
        ([OFF], [], False, "background"),
        ([OFF], [], True, "background"),
        ([PointPrompt((20, 20))], [SMALL, LARGE], False, "none of the 2 boxes"),
        ([ON], [SMALL], True, "--each-point"),
    ],
)
def test_prompts_that_mean_no_object(points, boxes, each_point, text):
    with pytest.raises(PromptError, match=text):
        prompts_per_object(points, boxes, each_point=each_point)

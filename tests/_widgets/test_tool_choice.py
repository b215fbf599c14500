# SPDX-License-Identifier: Apache-2.0
"""Tools and signs, as they are pressed."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_sam._bridge.prompt_layers import TOOLS as LAYER_TOOLS
from napari_sam._widgets.tool_choice import TOOLS, ToolChoice


@pytest.fixture
def tools(qtbot):
    tools = ToolChoice()
    qtbot.addWidget(tools)
    tools.resize(310, 150)
    tools.show()
    return tools


@pytest.fixture
def chosen(tools):
    told = []
    tools.chosen.connect(lambda *values: told.append(values))
    return told


def press(button):
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_the_layers_understand_every_tool():
    assert set(TOOLS) == set(LAYER_TOOLS)


@pytest.mark.parametrize("name", TOOLS)
def test_pressing_a_tool(tools, chosen, name):
    press(tools.tools[name])
    assert chosen == [(name, "positive")]
    assert tools.tool == name


def test_outlines_are_always_positive(tools, chosen):
    press(tools.negative)
    assert chosen == [("point", "negative")]
    press(tools.tools["scribble"])
    assert chosen[-1] == ("scribble", "negative")
    press(tools.tools["lasso"])
    assert chosen[-1] == ("lasso", "positive")
    assert tools.positive.isChecked()
    # Only points and scribbles can say what is not the object.
    press(tools.negative)
    assert chosen[-1] == ("point", "negative")


def test_layers_are_followed_without_being_told(tools, chosen):
    tools.show_tool("ellipse")
    tools.show_polarity("negative")
    assert (tools.tool, tools.polarity) == ("ellipse", "negative")
    tools.show_tool("a mode of napari's own")
    assert tools.tool == "ellipse"
    assert chosen == []


def test_hover(tools):
    told = []
    tools.hover_chosen.connect(told.append)
    tools.show_hover(True)
    assert told == []
    QTest.mouseClick(tools.hover, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))
    assert told == [False]


def test_everything_has_a_tooltip_and_fits(tools):
    for button in (tools.positive, tools.negative, tools.hover, *tools.tools.values()):
        assert button.toolTip()
    assert tools.minimumSizeHint().width() <= 310

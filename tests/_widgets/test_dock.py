# SPDX-License-Identifier: Apache-2.0
"""Docks end cleanly, and two viewers share nothing."""

from __future__ import annotations

import gc
import weakref

import pytest

from napari_sam._widgets.everything_widget import EverythingWidget
from napari_sam._widgets.models_widget import ModelsWidget
from napari_sam._widgets.prompt_widget import PromptWidget


@pytest.mark.parametrize("kind", [PromptWidget, EverythingWidget, ModelsWidget])
def test_closing_the_viewer_ends_everything(
    make_napari_viewer_proxy, blobs, wait, kind
):
    """No widget, thread or session outlives the viewer, even in the middle of work."""
    viewer = make_napari_viewer_proxy(show=True, strict_qt="raise")
    viewer.add_image(blobs.image, rgb=True)
    widget = kind(viewer)
    viewer.window.add_dock_widget(widget)
    wait(widget.isVisible)
    if kind is PromptWidget:
        widget.start.click()
    if kind is EverythingWidget:
        widget.run.click()
    session, gone = weakref.ref(widget.session), weakref.ref(widget)
    threads = [widget.session.runner, widget.session.errands]
    del widget
    viewer.close()
    wait(lambda: session() is None or session().is_closed)
    assert not any(thread.is_alive for thread in threads)
    # What Qt destroys later may have been part of a cycle: collect each time.
    wait(lambda: gc.collect() >= 0 and gone() is None)


def test_closing_with_unfolded_sections(make_napari_viewer_proxy, blobs, wait, qtbot):
    """Parts of the panels are destroyed before they hear that the window goes."""
    from napari_sam._widgets.section import Section

    viewer = make_napari_viewer_proxy(show=True)
    viewer.add_image(blobs.image, rgb=True)
    docks = [PromptWidget(viewer), EverythingWidget(viewer)]
    for dock in docks:
        viewer.window.add_dock_widget(dock)
        wait(dock.isVisible)
        for section in dock.findChildren(Section):
            section.expand(animate=False)
    docks[0].start.click()
    session = docks[0].session
    del dock, docks, section
    viewer.close()
    wait(lambda: session.is_closed)
    assert not session.runner.is_alive


def test_two_viewers_share_nothing(make_napari_viewer_proxy, blobs, wait):
    viewers = [make_napari_viewer_proxy(show=True) for _ in range(2)]
    widgets = []
    for viewer in viewers:
        viewer.add_image(blobs.image, rgb=True)
        widgets.append(PromptWidget(viewer))
        viewer.window.add_dock_widget(widgets[-1])
        wait(widgets[-1].isVisible)
    assert widgets[0].session is not widgets[1].session
    widgets[0].start.click()
    assert widgets[0].session.controller is not None
    assert widgets[1].session.controller is None
    assert len(viewers[1].layers) == 1

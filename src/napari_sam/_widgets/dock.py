# SPDX-License-Identifier: Apache-2.0
"""What all our dock widgets share: a session, a pump, showing and hiding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QApplication, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_sam._bridge.diagnostics import diagnostics
from napari_sam._bridge.preferences import apply_weights_preferences
from napari_sam._bridge.sessions import session_of, unwrap
from napari_sam._widgets.main_thread import Pump
from napari_sam.errors import NapariSamError

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari


class Dock(QScrollArea):
    """A scrollable panel on the session of a viewer.

    napari tells a closed or covered dock apart from an open one by ``hideEvent`` and
    ``showEvent`` alone, so `entered` and `left` are where a subclass connects and lets
    go. The last panel that Qt destroys ends the session.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer or napari's proxy of it.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = unwrap(napari_viewer)
        self.session = session = session_of(self.viewer)
        session.hold()
        # The session, not this widget, is what the slot may use: Qt is destroying it.
        self.destroyed.connect(lambda *_: session.release())
        self.pump = Pump(session, self)
        self._is_entered = False
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.content = QWidget()
        self.column = QVBoxLayout(self.content)
        self.setWidget(self.content)
        self.attempt(apply_weights_preferences)

    def minimumSizeHint(self) -> QSize:
        """Ask for the width of the content: it is never scrolled sideways."""
        width = self.content.minimumSizeHint().width()
        bar: Any = self.verticalScrollBar()  # never None, whatever PyQt's types say
        width += bar.sizeHint().width() + 2 * self.frameWidth()
        return QSize(width, super().minimumSizeHint().height())

    def reset_choices(self, event: Any = None) -> None:
        """Follow the layer list; napari calls it when layers come and go."""

    def entered(self) -> None:
        """Connect; called when the panel becomes visible."""

    def left(self) -> None:
        """Let go; called when the panel is closed or covered."""

    def attempt(self, action: Callable[..., object], *arguments: Any) -> bool:
        """Do something for the user; an error of ours becomes a notification.

        Returns
        -------
        bool
            Whether it worked.
        """
        try:
            action(*arguments)
        except NapariSamError as error:
            self.session.report(error)
            return False
        return True

    def add_diagnostics_button(self) -> None:
        """Add the button that copies facts for a bug report, and a stretch."""
        button = QPushButton("Copy diagnostics")
        button.setToolTip(
            "Put versions, device, model hash and the last error on the clipboard, to "
            "paste into a bug report."
        )
        button.clicked.connect(self.copy_diagnostics)
        self.column.addWidget(button)
        self.column.addStretch(1)

    def copy_diagnostics(self) -> None:
        """Put facts for a bug report on the clipboard."""
        from qtpy import API_NAME, QT_VERSION

        text = diagnostics(self.session, {"qt": f"{API_NAME} {QT_VERSION}"})
        clipboard: Any = QApplication.clipboard()
        clipboard.setText(text)

    def showEvent(self, event: Any) -> None:
        """Connect, unless only the window came back from being minimised."""
        super().showEvent(event)
        if not self._is_entered:
            self._is_entered = True
            self.pump.open()
            self.reset_choices()
            self.entered()

    def hideEvent(self, event: Any) -> None:
        """Let go, unless the window is only minimised."""
        super().hideEvent(event)
        if self._is_entered and not event.spontaneous():
            self._is_entered = False
            try:
                self.left()
            except RuntimeError as error:
                # With the window, Qt may have destroyed parts of the panel already;
                # PyQt and PySide both say so by this word.
                if "deleted" not in str(error):
                    raise
            finally:
                self.pump.release()

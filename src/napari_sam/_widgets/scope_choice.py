# SPDX-License-Identifier: Apache-2.0
"""Which planes are segmented at once, as a combo box."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox

from napari_sam.annotation.scope import Scope

TEXTS = {Scope.PLANE: "plane shown", Scope.ALL: "all planes"}


class ScopeChoice(QComboBox):
    """Lets the user choose a scope."""

    def __init__(self) -> None:
        super().__init__()
        for scope, text in TEXTS.items():
            self.addItem(text, scope)
        self.setToolTip(
            "How much at once: of a stack or series, the plane that is shown or every "
            "plane. Cancelling keeps the planes that are done."
        )

    @property
    def scope(self) -> Scope:
        """What is chosen."""
        return Scope(self.currentData())

    def choose(self, scope: Scope) -> None:
        """Choose as the user would."""
        self.setCurrentIndex(self.findData(scope))

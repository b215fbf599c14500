# SPDX-License-Identifier: Apache-2.0
"""What to train with, and how: the form of the panel "Train on my masks"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_sam._bridge.training_data import (
    LayerPair,
    find_layer_pairs,
    images_of_pairs,
)
from napari_sam._bridge.training_order import PRESETS, TrainingOrder
from napari_sam._widgets.model_choice import ModelChoice
from napari_sam._widgets.section import Section
from napari_sam.errors import LabelsError, SettingsError
from napari_sam.weights import trained
from napari_sam.weights.catalogue import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.training.sources import TrainingImage

_PUBLISHED = tuple(row.name for row in CATALOGUE)
_WAYS = {
    "decoder": (
        "mask decoder (fast)",
        "The part that draws masks. Each image is embedded once: minutes on a CPU.",
    ),
    "lora": (
        "decoder, and encoder a little (LoRA)",
        "Small additions to the image encoder learn as well; slower. For new looks.",
    ),
    "whole": (
        "everything",
        "All weights learn: for many masks and, but for the small models, a GPU.",
    ),
}
_HEIGHT_PX = 84


class SourceForm(QGroupBox):
    """Pairs of layers, or two folders.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Whose layers.
    session : ViewerSession
        Says how an image is shown while it is prompted.

    Attributes
    ----------
    changed : Signal()
    """

    changed: ClassVar[Signal] = Signal()

    def __init__(self, viewer: ViewerModel, session: ViewerSession) -> None:
        super().__init__("Images and masks")
        self._viewer, self._session = viewer, session
        self.kind = QComboBox()
        self.kind.addItem("layers of this viewer", "layers")
        self.kind.addItem("folders", "folders")
        self.kind.setToolTip("Where images and their masks come from.")
        self.pairs = QListWidget()
        self.pairs.setMaximumHeight(_HEIGHT_PX)
        self.pairs.setToolTip(
            "Images with labels of the same size and place. Tick those to train on; a "
            "stack is trained plane by plane. Every object of a ticked image should "
            "have its mask."
        )
        self.none = QLabel()
        self.none.setWordWrap(True)
        self.images, images = _place("Folder with the images.", self)
        self.labels, labels = _place(
            "Folder with label images of the same names: 0 is background, every object "
            "has a number of its own.",
            self,
        )
        self._folders = QWidget()
        form = QFormLayout(self._folders)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Images", images)
        form.addRow("Masks", labels)
        column = QVBoxLayout(self)
        for widget in (self.kind, self.pairs, self.none, self._folders):
            column.addWidget(widget)
        self._found: list[LayerPair] = []
        self._ticked: dict[tuple[int, int], bool] = {}
        self.kind.currentIndexChanged.connect(self._follow_kind)
        self.pairs.itemChanged.connect(self._follow_tick)
        for field in (self.images, self.labels):
            field.textChanged.connect(lambda _: self.changed.emit())
        self.refresh()

    @property
    def reason(self) -> str:
        """Why there is nothing to train with; empty if there is."""
        if self.kind.currentData() == "folders":
            for field, what in ((self.images, "images"), (self.labels, "masks")):
                text = field.text().strip()
                if not text:
                    return f"Choose the folder of {what}."
                if not Path(text).expanduser().exists():
                    return f"There is no folder {text}."
            return ""
        if not self._found:
            return self.none.text()
        chosen = self._chosen()
        if not chosen:
            return "Tick at least one image."
        images = [pair.image for pair in chosen]
        for image in images:
            if images.count(image) > 1:
                return f"{image.name!r} is ticked with two labels layers: untick one."
        return ""

    def image_opener(self) -> Callable[[], list[TrainingImage]]:
        """Return what gives the images; labels that can change are copied now.

        Raises
        ------
        NapariSamError
            If a layer cannot be used.
        """
        if self.kind.currentData() == "folders":
            images, labels = (
                Path(field.text().strip()).expanduser()
                for field in (self.images, self.labels)
            )

            def open_folders() -> list[TrainingImage]:
                from napari_sam.training.sources import from_folders

                return from_folders(images, labels)

            return open_folders
        # Shapes and contrast may have changed; what is ticked may not.
        chosen = [(pair.image, pair.labels) for pair in self._chosen()]
        controller = self._session.controller
        pairs, _ = find_layer_pairs(self._viewer.layers, controller)
        pairs = [pair for pair in pairs if (pair.image, pair.labels) in chosen]
        if len(pairs) < len(chosen):
            self.refresh()
            msg = "The layers have changed and do not fit any more. Tick them again."
            raise LabelsError(msg)
        found = images_of_pairs(pairs)
        return lambda: found

    def refresh(self) -> None:
        """List the pairs anew; what the user ticked stays ticked."""
        layers, controller = self._viewer.layers, self._session.controller
        self._found, reason = find_layer_pairs(layers, controller)
        was_blocked = self.pairs.blockSignals(True)  # noqa: FBT003  Qt's argument
        self.pairs.clear()
        for pair in self._found:
            item = QListWidgetItem(pair.title)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            is_ticked = self._ticked.get(_key(pair), pair.is_likely)
            item.setCheckState(_check_state(is_ticked=is_ticked))
            self.pairs.addItem(item)
        self.pairs.blockSignals(was_blocked)
        self.none.setText(reason)
        self._follow_kind()

    def _chosen(self) -> list[LayerPair]:
        checked = Qt.CheckState.Checked
        return [
            pair
            for row, pair in enumerate(self._found)
            if self._item(row).checkState() == checked
        ]

    def _item(self, row: int) -> Any:
        return self.pairs.item(row)

    def _follow_tick(self, item: QListWidgetItem) -> None:
        pair = self._found[self.pairs.row(item)]
        self._ticked[_key(pair)] = item.checkState() == Qt.CheckState.Checked
        self.changed.emit()

    def _follow_kind(self, *_: Any) -> None:
        is_layers = self.kind.currentData() == "layers"
        self.pairs.setVisible(is_layers and bool(self._found))
        self.none.setVisible(is_layers and not self._found)
        self._folders.setVisible(not is_layers)
        self.changed.emit()


class SettingsForm(QGroupBox):
    """Model, part of it that learns, time and name.

    Parameters
    ----------
    session : ViewerSession
        Whose files are models, too.

    Attributes
    ----------
    recipe_changes : dict
        Settings beyond the form, as `training.presets.recipe_from` takes them.
    changed : Signal()
    """

    changed: ClassVar[Signal] = Signal()

    def __init__(self, session: ViewerSession) -> None:
        super().__init__("Training")
        self.model = ModelChoice(session)
        self.model.models.setToolTip(
            "The model to start from. It stays as it is; a trained copy is added."
        )
        self.way = QComboBox()
        for key, (text, tooltip) in _WAYS.items():
            self.way.addItem(text, key)
            self.way.setItemData(
                self.way.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole
            )
        self.way.setToolTip(
            "Which part learns. Begin with the mask decoder: it is fast, needs few "
            "masks, and forgets little."
        )
        self.minutes = _spin(
            1, 1440, 10, " min", "Training ends by then, or when it no longer helps."
        )
        self.name = QLineEdit()
        self.name.setToolTip("What the trained model will be called in lists.")
        self.min_area = _spin(
            1, 1_000_000, 25, " px", "Smaller objects do not count; they are mistakes."
        )
        self.steps = _spin(
            1, 1_000_000, 2000, "", "One image is learnt from in each step."
        )
        self.recipe_changes: dict[str, dict[str, Any]] = {}
        self._is_named = False
        self._lay_out()
        self.propose_name()
        self.model.chosen.connect(self._follow_model)
        self.model.models.currentIndexChanged.connect(lambda _: self.propose_name())
        self.name.textEdited.connect(self._follow_name)

    @property
    def reason(self) -> str:
        """Why this cannot be trained; empty if it can."""
        try:
            trained.checked_name(self.name.text().strip(), _PUBLISHED)
        except SettingsError as error:
            return str(error)
        return ""

    def propose_name(self, *, is_used: bool = False) -> None:
        """Write a free name into the field, unless the user wrote one.

        Parameters
        ----------
        is_used : bool
            Whether a model has that name now: the next one is like it.
        """
        if is_used:
            wish = self.name.text().strip()
        elif self._is_named:
            return
        else:
            wish = f"{self.model.spec.name}_tuned"
        self.name.setText(trained.free_name(wish, _PUBLISHED))
        self.changed.emit()

    def order(self, open_images: Callable[[], list[TrainingImage]]) -> TrainingOrder:
        """Return all that a run needs.

        Raises
        ------
        SettingsError
            If a value is not allowed.
        """
        from napari_sam.training.run_config import config_from

        spec = self.model.spec
        loop = {
            "budget_seconds": 60.0 * self.minutes.value(),
            "total_steps": self.steps.value(),
        }
        table: dict[str, Any] = dict(self.recipe_changes)
        table["loop"] = loop | table.get("loop", {})
        table["preset"] = PRESETS[self.way.currentData()]
        config = config_from(
            {
                "data": {"min_area": self.min_area.value()},
                "model": {
                    "start": spec.name,
                    "checkpoint": spec.checkpoint or "",
                    "name": self.name.text().strip(),
                },
                "training": table,
            }
        )
        return TrainingOrder(open_images, spec, config)

    def _lay_out(self) -> None:
        form = QFormLayout(self)
        form.addRow("Start from", self.model.models)
        form.addRow("What learns", self.way)
        form.addRow("At most", self.minutes)
        form.addRow("New name", self.name)
        more = QWidget()
        rows = QFormLayout(more)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Device", self.model.devices)
        rows.addRow("Smallest object", self.min_area)
        rows.addRow("Steps at most", self.steps)
        form.addRow(Section("More", more))

    def _follow_model(self) -> None:
        self.propose_name()
        self.changed.emit()

    def _follow_name(self, _: str) -> None:
        self._is_named = True
        self.changed.emit()


def _key(pair: LayerPair) -> tuple[int, int]:
    """Tell a pair without keeping its layers alive."""
    return hash(pair.image), hash(pair.labels)


def _check_state(*, is_ticked: bool) -> Qt.CheckState:
    return Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked


def _spin(low: int, high: int, value: int, unit: str, tooltip: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setValue(value)
    box.setSuffix(unit)
    box.setToolTip(tooltip)
    return box


def _place(tooltip: str, parent: QWidget) -> tuple[QLineEdit, QHBoxLayout]:
    """Make a field for a folder with the button that looks for one."""
    field = QLineEdit()
    field.setToolTip(tooltip)
    button = QPushButton("...")
    button.setToolTip("Choose a folder.")
    button.setMaximumWidth(30)

    def choose() -> None:
        folder = QFileDialog.getExistingDirectory(
            parent, "Choose a folder", field.text()
        )
        if folder:
            field.setText(folder)

    button.clicked.connect(choose)
    row = QHBoxLayout()
    row.addWidget(field)
    row.addWidget(button)
    return field, row

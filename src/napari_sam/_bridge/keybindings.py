# SPDX-License-Identifier: Apache-2.0
"""Binds the keys of the table while an image is prompted, and unbinds them again.

napari asks the active layer before the viewer, so keys are bound on both.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari_sam._bridge.key_table import canonical_key, choose_keys, readable_key
from napari_sam._bridge.preferences import wanted_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.components import ViewerModel
    from napari.layers import Layer


class KeyBindings:
    """The keys of one controller.

    Parameters
    ----------
    act : callable
        Gets the id of the action whose key was pressed.
    """

    def __init__(self, act: Callable[[str], None]) -> None:
        self._act = act
        self._bound: list[tuple[weakref.ref[Any], Any, Any, Any]] = []
        self._told: set[str] = set()

    def bind(self, viewer: ViewerModel, layers: Iterable[Layer]) -> None:
        """Bind all keys on a viewer and on layers; keys bound before are unbound.

        What cannot be used of the keys in the preferences is told once.
        """
        self.unbind()
        keys, problems = current_keys()
        self._tell(problems)
        for target in (viewer, *layers):
            for action_id, key in keys.items():
                self._bind_one(target, key, action_id)

    def unbind(self) -> None:
        """Put back what was bound before; harmless when nothing is bound."""
        for reference, key, function, before in reversed(self._bound):
            target = reference()
            # Somebody may have bound the key anew meanwhile: then it is theirs.
            if target is None or target.keymap.get(key) is not function:
                continue
            if before is None:
                del target.keymap[key]
            else:
                target.keymap[key] = before
        self._bound.clear()

    def _bind_one(self, target: Any, key: str, action_id: str) -> None:
        from napari.utils.key_bindings import coerce_keybinding

        act = self._act

        def pressed(_: Any) -> None:
            act(action_id)

        binding = coerce_keybinding(key)
        before = target.bind_key(binding, pressed, overwrite=True)
        self._bound.append((weakref.ref(target), binding, pressed, before))

    def _tell(self, problems: Iterable[str]) -> None:
        from napari.utils.notifications import show_warning

        for problem in problems:
            if problem not in self._told:
                self._told.add(problem)
                show_warning(problem)


def current_keys() -> tuple[dict[str, str], list[str]]:
    """Return the keys by action, and what is wrong with the preferences."""
    return choose_keys(wanted_keys(), napari_keys())


def readable_keys() -> dict[str, str]:
    """Return the keys by action, as panels show them."""
    keys, _ = current_keys()
    return {action_id: readable_key(key) for action_id, key in keys.items()}


def napari_keys() -> set[str]:
    """Keys of napari's own on the viewer and on the layers that prompting uses."""
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Points, Shapes
    from napari.settings import get_settings

    found = set()
    for kind in (ViewerModel, Image, Labels, Points, Shapes):
        for base in kind.__mro__:
            found |= {str(key) for key in getattr(base, "class_keymap", {})}
    for shortcuts in get_settings().shortcuts.shortcuts.values():
        found |= {canonical_key(str(key)) or str(key) for key in shortcuts}
    return found

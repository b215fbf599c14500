# SPDX-License-Identifier: Apache-2.0
"""Every action of prompting with its title, key and tooltip: the only such table.

Panels, menus, the preferences and the page `docs/reference/keys.md` are made from it or
tested against it. Default keys are among those that napari leaves free on the viewer
and on image, points, shapes and labels layers. Tab is not: Qt takes it to move the
keyboard's focus.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True)
class KeyAction:
    """One action.

    Attributes
    ----------
    action_id : str
        What `PromptController.act` understands, and the command's name in the manifest.
    title : str
        As menus and the preferences show it.
    key : str
        Default key in napari's spelling.
    tooltip : str
        One sentence.
    section : str
        Where the documentation lists it.
    may_shadow : bool
        Whether it takes a key of napari's on purpose.
    """

    action_id: str
    title: str
    key: str
    tooltip: str
    section: str
    may_shadow: bool = False


PROMPTS, MASKS, OBJECTS = "Prompts", "Masks on offer", "Objects"

ACTIONS: tuple[KeyAction, ...] = (
    KeyAction(
        "next_candidate",
        "Next mask",
        "N",
        "Show the next of the model's masks: small, medium, large.",
        MASKS,
    ),
    KeyAction(
        "previous_candidate",
        "Previous mask",
        "Shift-N",
        "Show the mask before this one.",
        MASKS,
    ),
    KeyAction(
        "accept",
        "Accept mask",
        "W",
        "Write the mask on offer into the labels layer as an object.",
        MASKS,
    ),
    KeyAction(
        "next_object",
        "Accept and begin the next object",
        "Shift-W",
        "Accept the mask on offer, if there is one, and take up the point tool.",
        MASKS,
    ),
    KeyAction(
        "discard",
        "Discard mask",
        "Q",
        "Remove the prompts of this plane, and the mask with them.",
        MASKS,
    ),
    KeyAction(
        "follow_advice",
        "Follow the advice",
        "J",
        "Do what the panel advises: go back a prompt, or refine the object it names.",
        MASKS,
    ),
    KeyAction(
        "toggle_polarity",
        "Object or not object",
        "K",
        "Let the next point or scribble mean the opposite.",
        PROMPTS,
    ),
    KeyAction(
        "step_back",
        "Take the last prompt back",
        "U",
        "Return to the prompts before the last one.",
        PROMPTS,
    ),
    KeyAction(
        "toggle_hover",
        "Preview under the pointer",
        "H",
        "Show the mask under the pointer before any click, or stop that.",
        PROMPTS,
    ),
    KeyAction(
        "toggle_turbo",
        "Turbo",
        "Shift-T",
        "Accept the mask of each click at once, or stop that; undo takes it back.",
        PROMPTS,
    ),
    KeyAction(
        "reopen",
        "Edit the object under the pointer",
        "G",
        "Bring the object's prompts back, to be corrected; Shift-click does the same.",
        OBJECTS,
    ),
    KeyAction(
        "delete",
        "Delete the object under the pointer",
        "Shift-D",
        "Remove the object under the pointer, else the selected one.",
        OBJECTS,
    ),
    KeyAction(
        "mark_unsure",
        "Mark the object as unsure",
        "Shift-U",
        "Mark the object under the pointer, else the selected one, for a second look.",
        OBJECTS,
    ),
    KeyAction(
        "undo",
        "Undo",
        "Control-Z",
        "Take the last step back: a prompt, an object, a brush stroke.",
        OBJECTS,
        may_shadow=True,
    ),
    KeyAction(
        "redo",
        "Redo",
        "Control-Shift-Z",
        "Do again what was taken back.",
        OBJECTS,
        may_shadow=True,
    ),
)


def find_action(action_id: str) -> KeyAction:
    """Return an action of the table; raises KeyError if there is none."""
    return {action.action_id: action for action in ACTIONS}[action_id]


def canonical_key(text: str) -> str | None:
    """Return a key as napari writes it ("Ctrl+Z"), None if napari does not know it."""
    from napari.utils.key_bindings import coerce_keybinding

    try:
        binding = coerce_keybinding(text.strip())
    except (KeyError, TypeError, ValueError):
        return None
    known = [part.key for part in binding.parts]
    is_modifier_alone = str(binding) in ("Ctrl", "Shift", "Alt", "Meta", "")
    if len(known) != 1 or int(known[0]) == 0 or is_modifier_alone:
        return None
    return str(binding)


def choose_keys(
    wanted: Mapping[str, str], taken: Collection[str]
) -> tuple[dict[str, str], list[str]]:
    """Decide which key each action gets.

    Parameters
    ----------
    wanted : mapping of str to str
        Key by action id, as the user wrote it; what is missing gets its default, and
        empty text no key.
    taken : collection of str
        Keys of napari's own, as `canonical_key` writes them.

    Returns
    -------
    keys : dict of str to str
        Key by action id, as `canonical_key` writes it; actions without one are absent.
    problems : list of str
        A sentence for each key that cannot be used.
    """
    keys: dict[str, str] = {}
    problems: list[str] = []
    refused: list[KeyAction] = []
    for action in ACTIONS:
        text = wanted.get(action.action_id, action.key).strip()
        if not text:
            continue
        key = canonical_key(text)
        reason = _objection(action, key, keys, taken)
        if key is None or reason:
            refused.append(action)
            problems.append(
                f"The key {text!r} for '{action.title}' {reason}. "
                f"{action.key} is used instead."
            )
        else:
            keys[action.action_id] = key
    for action in refused:
        key = canonical_key(action.key)
        if key is not None and key not in keys.values():
            keys[action.action_id] = key
        else:
            problems.append(
                f"'{action.title}' has no key: {action.key} belongs to another action."
            )
    return keys, problems


def _objection(
    action: KeyAction, key: str | None, keys: Mapping[str, str], taken: Collection[str]
) -> str:
    """Why an action cannot have a key, empty if it can."""
    if key is None:
        return "is unknown: write it like N, Shift-N, Control-N or F5"
    owner = next((other for other, used in keys.items() if used == key), None)
    if owner is not None:
        return f"is that of '{find_action(owner).title}'"
    if key in taken and not action.may_shadow:
        return "is one of napari's own"
    return ""


def readable_key(key: str) -> str:
    """Return a key as it is printed on the keyboard of this computer."""
    name = canonical_key(key) or key
    return name.replace("Ctrl", "Cmd") if sys.platform == "darwin" else name


def as_markdown() -> str:
    """Return the tables of the page on keys."""
    parts = []
    for section in dict.fromkeys(action.section for action in ACTIONS):
        parts += [f"## {section}", "", "| Key | Action | What it does |"]
        parts.append("| --- | --- | --- |")
        parts += [
            f"| `{canonical_key(action.key)}` | {action.title} | {action.tooltip} |"
            for action in ACTIONS
            if action.section == section
        ]
        parts.append("")
    return "\n".join(parts)

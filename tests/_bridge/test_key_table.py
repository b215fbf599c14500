# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_sam
from napari_sam._bridge.key_table import (
    ACTIONS,
    as_markdown,
    canonical_key,
    choose_keys,
    find_action,
    readable_key,
)

ROOT = Path(__file__).parents[2]
DEFAULTS = {action.action_id: canonical_key(action.key) for action in ACTIONS}


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(Path(napari_sam.__file__).with_name("napari.yaml"))


def test_ids_titles_and_keys_are_unique():
    for names in zip(*((a.action_id, a.title, a.key) for a in ACTIONS), strict=True):
        assert len(set(names)) == len(ACTIONS)
    assert None not in DEFAULTS.values()


def test_every_action_of_the_controller_has_a_row():
    from unittest.mock import MagicMock

    from napari_sam._bridge.actions import Actions

    known = Actions(MagicMock(), MagicMock()).ids
    assert set(known) == {action.action_id for action in ACTIONS}


def test_defaults_are_taken_without_preferences():
    assert choose_keys({}, ()) == (DEFAULTS, [])
    assert choose_keys({}, {"Ctrl+Z", "V"}) == (DEFAULTS, [])


@pytest.mark.parametrize("text", ["Foo", "N-N", "Hyper-N", "Control", "Ctrl-", "??"])
def test_unknown_keys_are_refused_by_name(text):
    keys, problems = choose_keys({"accept": text}, ())
    assert keys == DEFAULTS
    assert len(problems) == 1
    assert repr(text) in problems[0]
    assert "Accept mask" in problems[0]
    assert "W is used instead" in problems[0]


def test_a_default_that_was_given_away_is_missed():
    keys, problems = choose_keys({"next_candidate": "W", "accept": "V"}, {"V"})
    assert keys["next_candidate"] == "W"
    assert "accept" not in keys
    assert any("'Accept mask' has no key" in problem for problem in problems)


def test_keys_can_be_exchanged():
    keys, problems = choose_keys({"accept": "n", "next_candidate": " W "}, ())
    assert (keys["accept"], keys["next_candidate"]) == ("N", "W")
    assert problems == []


@pytest.mark.parametrize(
    ("platform", "shown"), [("linux", "Ctrl+Z"), ("darwin", "Cmd+Z")]
)
def test_keys_are_shown_as_the_keyboard_has_them(monkeypatch, platform, shown):
    monkeypatch.setattr("sys.platform", platform)
    assert readable_key("Control-Z") == shown


def test_manifest_has_the_same_defaults_and_titles(manifest):
    properties = manifest.contributions.configurations["keys"].properties
    assert list(properties) == [action.action_id for action in ACTIONS]
    for action in ACTIONS:
        entry = properties[action.action_id]
        assert entry.default == action.key
        assert entry.title == action.title
        assert entry.description == action.tooltip


def test_every_action_is_a_command_in_the_menu(manifest):
    from napari_sam._bridge import action_commands

    commands = {c.id: c for c in manifest.contributions.commands}
    menu = manifest.contributions.menus["napari_sam_live_menu"]
    in_menu = {item.command for item in menu}
    for action in ACTIONS:
        command_id = f"napari-sam-live.{action.action_id}"
        assert commands[command_id].title == action.title
        assert command_id in in_menu
        function = getattr(action_commands, action.action_id)
        assert commands[command_id].python_name.endswith(f":{function.__name__}")
        assert function.__doc__ == find_action(action.action_id).tooltip


def test_commands_act_and_explain_when_they_cannot(viewer, monkeypatch):
    from types import SimpleNamespace

    from napari_sam._bridge import action_commands

    reported, done = [], []
    session = SimpleNamespace(controller=None, report=reported.append)
    monkeypatch.setattr(action_commands, "session_of", lambda _: session)
    action_commands.accept(viewer)
    assert "press Start" in str(reported[0])
    session.controller = SimpleNamespace(act=done.append)
    action_commands.accept(viewer)
    action_commands.next_candidate(viewer)
    assert done == ["accept", "next_candidate"]


def test_the_page_on_keys_has_the_table():
    page = (ROOT / "docs" / "reference" / "keys.md").read_text("utf-8")
    assert as_markdown() in page

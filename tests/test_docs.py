# SPDX-License-Identifier: Apache-2.0
"""README and docs tell the truth: their Python runs, their links lead somewhere.

The Python blocks of a file run one after the other in one namespace and in an empty
folder, as a reader would run them. A block that cannot run here is preceded by a line
``<!-- not run: reason -->``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>.*?) -->\s*\n)?"
    r"^(?P<indent>[ ]*)```(?P<language>[\w-]*)[^\n]*\n"
    r"(?P<code>.*?)^(?P=indent)```[ ]*$",
    re.M | re.S,
)
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s#]+)")


@dataclass(frozen=True)
class Block:
    """A fenced piece of code: the text, its line in the page, why it is not run."""

    language: str
    code: str
    line: int
    reason: str | None


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(
            language=match["language"],
            code=re.sub(f"^{match['indent']}", "", match["code"], flags=re.M),
            line=text.count("\n", 0, match.start("code")) + 1,
            reason=match["reason"],
        )
        for match in FENCE.finditer(text)
    ]


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


WITH_PYTHON = [
    page for page in PAGES if any(block.language == "python" for block in blocks(page))
]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", WITH_PYTHON, ids=relative)
def test_python_of_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language != "python" or block.reason is not None:
            continue
        # Line numbers of a traceback are those of the page.
        code = "\n" * (block.line - 1) + block.code
        exec(compile(code, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_of_page_lead_somewhere(page):
    lost = [
        link
        for link in LINK.findall(page.read_text("utf-8"))
        if not (page.parent / link).exists()
    ]
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_block_says_what_it_is(page):
    unnamed = [block.line for block in blocks(page) if not block.language]
    assert not unnamed, "write ```text, ```bash or ```python"
    idle = [b.line for b in blocks(page) if b.reason is not None and not b.reason]
    assert not idle, "a block that is not run needs its reason"


def test_index_leads_to_every_page():
    index = ROOT / "docs" / "index.md"
    reached = {
        (index.parent / link).resolve()
        for link in LINK.findall(index.read_text("utf-8"))
    }
    changes = ROOT / "docs" / "changes"
    pages = {page for page in PAGES if index.parent in page.parents}
    forgotten = pages - reached - {index}
    forgotten = {relative(page) for page in forgotten if changes not in page.parents}
    assert not forgotten, "name them in docs/index.md"


def test_readme_shows_the_library():
    assert any(b.language == "python" for b in blocks(ROOT / "README.md"))


def test_make_targets_named_in_pages_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    for page in PAGES:
        named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.M)
        assert set(named) <= targets, relative(page)

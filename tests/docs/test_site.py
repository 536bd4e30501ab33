"""The site builds without a warning, loads nothing from another host, and no page is left out of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modelwire

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MADE = {"changelog.md", "examples.md", "reference/command-line.md"}  # by docs/site_hook.py


def _nav() -> list[str]:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    return re.findall(r"^\s+- (?:[^:\n]+: )?(\S+\.md)$", text, re.MULTILINE)


def test_every_page_is_in_the_navigation_once() -> None:
    nav = _nav()
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert len(nav) == len(set(nav))
    assert set(nav) == pages | MADE


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())
        for heading in headings
    }


def test_every_link_between_pages_has_its_target() -> None:
    wrong = []
    for page in DOCS.rglob("*.md"):
        for path, anchor in re.findall(
            r"\]\(((?!https?:)[^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")
        ):
            target = page.parent / path if path else page
            if target.resolve().relative_to(ROOT).as_posix().removeprefix("docs/") in MADE:
                continue
            if not target.exists() or (anchor and anchor not in _anchors(target)):
                wrong.append(f"{page.relative_to(DOCS)}: {path}#{anchor}")
    assert wrong == []


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).exists()] == []


# The field's terms, with an actor in every sentence: the row, the job, the provider, the caller.
HOUSE_WORDS = re.compile(
    r"\b(nobody|somebody|everybody|whoever|of ours|"
    r"asked (?:live|anew|again)|asks? (?:it|them|those|these) (?:live|anew|again)|go(?:es)? live|"
    r"sets? aside|hand(?:s|ed)? in|hears? of|goes on|gone on|what came of|is no (?:JSON|address|row))\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "page",
    [*(path.relative_to(ROOT).as_posix() for path in sorted(DOCS.rglob("*.md"))), "README.md"],
)
def test_a_page_is_in_plain_words(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    prose = " ".join(re.sub(r"`[^`]*`", "", prose).split())
    assert [match[0] for match in HOUSE_WORDS.finditer(prose)] == []
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    assert title is not None
    assert len(title[1]) <= 30


def test_what_a_page_installs_does_not_need_a_package_index_that_has_modelwire() -> None:
    pages = [*DOCS.rglob("*.md"), ROOT / "README.md", *(ROOT / "examples").rglob("README.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert text.count("pip install '.[") > 10
    assert re.findall(r"pip install [^\n`]*\bmodelwire\b", text) == []


def test_the_first_screen_of_the_readme_has_the_demo_and_the_tests() -> None:
    first = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:20])
    for command in ("make demo", "make test", "pip install .", "modelwire serve --pages"):
        assert command in first


@pytest.mark.long  # 9 s: it reads every docstring of the package
def test_the_site_builds_and_needs_no_other_host(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "--site-dir",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr

    loaded = [
        address
        for page in tmp_path.rglob("*.html")
        for address in re.findall(
            r'<(?:script|link|img|iframe)[^>]* (?:src|href)="(https?:)?//', page.read_text("utf-8")
        )
    ]
    assert loaded == []

    described = "".join(page.read_text("utf-8") for page in (tmp_path / "reference").glob("*.html"))
    for name in (
        *modelwire.__all__,
        "Runnable.abatch",
        "BaseCache.lookup",
        "Generation.to_json",
        "build_request",
    ):
        assert re.search(rf'id="modelwire\.[\w.]*\b{name}"', described), name

    for old in ("migration.html", "learn/langchain.html", "reference/langchain.html"):
        new = re.search(r'url=([^"#]+)', (tmp_path / old).read_text("utf-8"))
        assert new is not None
        assert ((tmp_path / old).parent / new[1]).resolve() == tmp_path / "langchain.html"

    index, whole = ((tmp_path / name).read_text("utf-8") for name in ("llms.txt", "llms-full.txt"))
    listed = re.findall(r"\]\((\S+?)\): \S", index)
    assert [address.replace(".html", ".md") for address in listed] == _nav()
    assert all((tmp_path / address).exists() for address in listed)
    assert "Without a key" not in index  # a page is described by its subject
    home, plan = ((tmp_path / name).read_text("utf-8") for name in ("index.html", "plan.html"))
    assert f"modelwire {modelwire.__version__}" in home
    assert "img/mark.svg" in home
    copied = re.search(r'data-copy="([^"]*)"', plan)
    assert copied is not None
    assert copied[1].startswith("modelwire batch reviews.csv")
    assert copied[1].endswith("--plan")
    for page in listed:
        assert (
            page.startswith("reference/") or (tmp_path / page).read_text("utf-8").strip() in whole
        ), page

"""What MkDocs does not do by itself: the reference's lists of names, pages of the examples and changes, `llms.txt`.

In a page, `<!-- names of modelwire.tools -->` becomes every public name of that module with its docstring,
`<!-- settings of modelwire.adapters.ChatOpenAI -->` a table of that model's settings. `<!-- commands -->` becomes a
table of the commands of `modelwire`, `<!-- chat commands -->` one of those of a chat, `<!-- error tree -->` the tree of
the errors.
"""

from __future__ import annotations

import argparse
import inspect
import re
from html import escape, unescape
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
LINK_OUT = re.compile(
    r"\]\((?:\.\./)+(examples/[^)#]+|[A-Z]+\.md|benchmarks/README\.md)(#[^)]*)?\)"
)
LIST = re.compile(r"^<!-- (names|settings) of ([\w.]+)(?: but (\w+))? -->$", re.MULTILINE)

CONSOLE = re.compile(r'<div class="language-console highlight">.*?</div>', re.DOTALL)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.MULTILINE)  # with its continued lines
TABLE = re.compile(r"^<!-- (?:(?:chat )?commands|error tree) -->$", re.MULTILINE)

ERRORS = "modelwire.errors"

_pages: dict[str, tuple[str, str]] = {}  # by the source's path: title, Markdown


def on_config(config: Any) -> Any:
    """Make the version known to the header, whose link leads to the changelog if no repository is set."""
    from modelwire import __version__

    config.extra["package_version"] = __version__
    config.repo_url = config.repo_url or "changelog.html"
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made: all examples, all commands, all changes."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "changelog.md", content=changes))
    files.append(File.generated(config, "examples.md", content=_examples()))
    files.append(File.generated(config, "reference/command-line.md", content=_commands()))
    return files


# The search ranks a page by this factor, so that what explains a subject comes before what mentions it.
BOOSTS = {
    "changelog.md": 0.1,
    "coding-agents.md": 0.4,
    "examples.md": 0.3,
    "index.md": 0.4,
    "reference/": 0.4,
    "learn/": 1.4,
    "providers.md": 1.4,
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to examples into links to their page. Other files of the repository are named, not linked."""
    for start, boost in BOOSTS.items():
        if page.file.src_uri.startswith(start):
            page.meta["search"] = {"boost": boost}
    up = "../" * page.file.src_uri.count("/")

    def target(match: re.Match[str]) -> str:
        path = match[1]
        return f"]({up}examples.md#{_anchor(path)})" if path.startswith("examples/") else "]"

    lists = {"names": _names, "settings": _settings}
    markdown = LIST.sub(
        lambda match: lists[match[1]](match[2], match[3]), LINK_OUT.sub(target, markdown)
    )
    return TABLE.sub(lambda match: TABLES[match[0]](), markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Keep the Markdown of a page for `llms.txt`. The copy buttons of its consoles copy the commands alone."""
    _pages[page.file.src_uri] = (page.title, page.markdown)
    return CONSOLE.sub(_with_copied_text, html)


def _with_copied_text(block: re.Match[str]) -> str:
    shown = unescape(re.sub(r"<[^>]+>", "", block[0]))
    commands = "\n".join(command for command in COMMAND.findall(shown))
    return block[0].replace("<div ", f'<div data-copy="{escape(commands)}" ', 1)


# Pages that have moved: links from elsewhere still lead to them.
MOVED = {
    "migration.html": "langchain.html",
    "learn/langchain.html": "../langchain.html",
    "reference/langchain.html": "../langchain.html#api",
}


def _write_redirects(site: Path) -> None:
    for old, new in MOVED.items():
        (site / old).write_text(
            f'<!doctype html><meta http-equiv="refresh" content="0; url={new}"><a href="{new}">This page has moved.</a>',
            encoding="utf-8",
        )


def on_post_build(config: Any) -> None:
    """Write the redirects of moved pages, `llms.txt` (https://llmstxt.org), `llms-full.txt`, and the Markdown of each page that was written."""
    site, section = Path(config.site_dir), None
    _write_redirects(site)
    index, whole = [f"# {config.site_name}", "", f"> {config.site_description}"], []
    for heading, path in _nav(config.nav):
        title, markdown = _pages[path]
        is_made = path.startswith("reference/")  # of docstrings: its Markdown names them only
        if heading != section:
            section = heading
            index += ["", f"## {heading}", ""]
        address = path.replace(".md", ".html") if is_made else path
        index.append(f"- [{title}]({address}): {_first_sentence(markdown)}")
        if not is_made:
            (site / path).write_text(markdown, encoding="utf-8")
            whole.append(f"<!-- {path} -->\n\n{markdown.strip()}\n")
    (site / "llms.txt").write_text("\n".join(index) + "\n", encoding="utf-8")
    (site / "llms-full.txt").write_text("\n".join(whole), encoding="utf-8")


def _nav(nav: Any, heading: str = "Start") -> list[tuple[str, str]]:
    """Return (section, path) of every page, in order."""
    found: list[tuple[str, str]] = []
    for entry in nav:
        if isinstance(entry, str):
            found.append((heading, entry))
            continue
        for title, below in entry.items():
            found += [(heading, below)] if isinstance(below, str) else _nav(below, title)
    return found


def _first_sentence(markdown: str) -> str:
    parts = (
        part
        for part in markdown.split("\n\n")
        if part.strip() and not part.startswith(("#", ":::", "|", "```", "<", "[", "**"))
    )
    flat = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(next(parts, "").split()))
    return re.split(r"(?<=[.!?:])\s", flat)[0]


def _names(module: str, without: str | None) -> str:
    """Return an entry of mkdocstrings for each public name of a module: its classes and functions, then the others."""
    home = import_module(module)
    values = {
        name: getattr(home, name)
        for name in home.__all__
        if not name.startswith("_") and name != without
    }
    described = [
        name
        for name, value in values.items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.startswith("modelwire.")
        and (value.__module__ != ERRORS or module == ERRORS)  # errors have a page of their own
    ]
    rest = ", ".join(f"`{name}`" for name in values if name not in described)
    entries = [f"::: {values[name].__module__}.{values[name].__qualname__}" for name in described]
    return "\n\n".join([*entries, *([f"Also here: {rest}."] if rest else [])])


def _settings(path: str, _: str | None) -> str:
    """Return a table of the settings that a class of models has beyond those of its base class, `HTTPChatModel`."""
    from modelwire.adapters.model.documentation import settings_docs
    from modelwire.adapters.model.http import HTTPChatModel

    module, _, name = path.rpartition(".")
    cls = getattr(import_module(module), name)
    docs, shared = settings_docs(cls), settings_docs(HTTPChatModel)
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for setting, meaning in docs.items():
        if cls is not HTTPChatModel and shared.get(setting) == meaning:
            continue
        field = cls.model_fields[setting]
        kind = inspect.formatannotation(field.annotation).replace("typing.", "").replace("|", "\\|")
        default = (
            "required"
            if field.is_required()
            else f"`{field.get_default(call_default_factory=True)!r}`"
        )
        rows.append(f"| `{setting}` | `{kind}` | {default} | {' '.join(meaning.split())} |")
    return "\n".join(rows)


def _commands() -> str:
    from modelwire.cli import _parser

    parts = [
        "# Command line options",
        "",
        "The output of `modelwire COMMAND --help` for every command.",
        "",
    ]

    def add(parser: argparse.ArgumentParser, level: int) -> None:
        parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=100)  # type: ignore[assignment]
        parts.extend(
            [f"{'#' * level} {parser.prog}", "", "```text", parser.format_help().strip(), "```", ""]
        )
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for one in dict.fromkeys(action.choices.values()):
                    add(one, min(level + 1, 3))

    add(_parser(), 2)
    return "\n".join(parts)


def _table_of_commands() -> str:
    """Return a table of the commands, each with a link to its options."""
    from modelwire.cli import _parser

    rows = ["| command | does |", "|---|---|"]
    for action in _parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action._choices_actions:
                link = f"[`{one.dest}`](reference/command-line.md#modelwire-{one.dest})"
                rows.append(f"| {link} | {one.help} |")
    return "\n".join(rows)


def _table_of_chat() -> str:
    """Return a table of the commands of a chat."""
    from modelwire.command.chat import HELP

    rows = ["| in a chat | does |", "|---|---|"]
    return "\n".join([*rows, *(f"| `/{name}` | {text} |" for name, text in HELP.items())])


def _error_tree() -> str:
    """Return the tree of errors, which is the indented part of the module's docstring."""
    text = inspect.getdoc(import_module(ERRORS)) or ""
    tree = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    return f"```text\n{tree}\n```"


TABLES = {
    "<!-- commands -->": _table_of_commands,
    "<!-- chat commands -->": _table_of_chat,
    "<!-- error tree -->": _error_tree,
}


def _examples() -> str:
    parts = ["# Examples", "", "Whole programs from the folder `examples/`. They need no key.", ""]
    for path in sorted((ROOT / "examples").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        parts += [f"## {name.removeprefix('examples/')} {{ #{_anchor(name)} }}", ""]
        parts += ["````python", text.strip(), "````", ""]
    return "\n".join(parts)


def _anchor(path: str) -> str:
    """Return the anchor of an example on the page; a README's is that of its folder's first program."""
    folder = (ROOT / path).parent
    if path.endswith(".md"):
        path = min(folder.glob("*.py")).relative_to(ROOT).as_posix()
    return re.sub(
        r"[^a-z0-9]+", "-", path.removeprefix("examples/").removesuffix(".py").lower()
    ).strip("-")

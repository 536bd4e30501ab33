"""Mustache templates: variables, sections, comments. Pure; the size of the output is limited.

Syntax: https://mustache.github.io/mustache.5.html, read 2026-11. Names are looked up in mappings
and lists only, never among the attributes of a value; nothing is called. Partials are not
supported: they are empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from modelwire.aliases import Values
from modelwire.errors import InvalidTemplate
from modelwire.prompts.compiled import Template

# Sections may be nested this deep.
_DEEPEST = 100
# Rendering may take this many steps, which is some seconds. A step is one context in which a tag is looked up.
_MOST_STEPS = 5_000_000
# The output may have this many characters, more than any provider takes.
_MOST_CHARS = 64 * 1024 * 1024
_ABSENT: Any = object()
_LINE_END = re.compile(r"[ \t]*(?:\r?\n|\Z)")
_LINE_REST = re.compile(r"[ \t]*\Z")
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})

# The path `()` is the context itself, written `{{.}}`.
Path: TypeAlias = tuple[str, ...]


class Variable(NamedTuple):
    """`{{path}}`, or unescaped `{{{path}}}` and `{{&path}}`."""

    path: Path
    escaped: bool


class _Section(NamedTuple):
    """`{{#path}}...{{/path}}`, or the inverted `{{^path}}...{{/path}}` for a missing or empty value."""

    path: Path
    inverted: bool
    nodes: list[Any]  # Each is a `str`, a `Variable` or a `_Section`.


class _Tag(NamedTuple):
    kind: str  # It is "" for a variable.
    name: str
    before: str  # It is the text since the previous tag.
    start: int


class MustacheTemplate(Template):
    """A template with tags such as `{{name}}`.

    Its variables are the first parts of names: `user` of `{{user.name}}`.
    """

    __slots__ = ("_nodes",)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = _tree(text)
        paths = [node.path for node in self._nodes if not isinstance(node, str)]
        self.variables = tuple(dict.fromkeys(path[0] for path in paths if path))

    def render(self, values: Values) -> str:
        """Return the text with `values` filled in; a missing value is empty."""
        out = _Output()
        _render(self._nodes, [values], out)
        return "".join(out.pieces)


def paths(template: MustacheTemplate) -> Iterator[Path]:
    """Yield the path of every tag from the outermost context: `{{#a}}{{b}}{{/a}}` has `a` and `a.b`."""

    def below(nodes: list[Any], around: Path) -> Iterator[Path]:
        for node in nodes:
            if not isinstance(node, str):
                yield around + node.path
                if isinstance(node, _Section):
                    yield from below(node.nodes, around + node.path)

    return below(template._nodes, ())


def _tree(text: str) -> list[Any]:
    """Return a template as a tree.

    Raises: `InvalidTemplate` for tags that are empty, not closed or closed out of order.
    """
    nodes: list[Any] = []
    # Each section that is open, with the list of nodes that contains it.
    open_sections: list[tuple[_Tag, list[Any]]] = []
    for tag in _tags(text):
        if tag.before:
            nodes.append(tag.before)
        if tag.kind in ("", "&"):
            nodes.append(Variable(_path(tag.name), escaped=not tag.kind))
        elif tag.kind in ("#", "^"):
            if len(open_sections) == _DEEPEST:
                raise InvalidTemplate(
                    f"A mustache template has sections nested more than {_DEEPEST} levels deep."
                )
            section = _Section(_path(tag.name), tag.kind == "^", [])
            nodes.append(section)
            open_sections.append((tag, nodes))
            nodes = section.nodes
        elif tag.kind == "/":
            if not open_sections or open_sections[-1][0].name != tag.name:
                if open_sections:
                    expected = f"; the last one opened is `{open_sections[-1][0].name}`"
                else:
                    expected = ""
                raise InvalidTemplate(
                    f"The mustache template closes a section `{tag.name}` {_line(text, tag.start)},"
                    f" which is not open{expected}."
                )
            nodes = open_sections.pop()[1]
    if open_sections:
        tag = open_sections[-1][0]
        raise InvalidTemplate(
            f"The mustache section `{tag.name}`, opened {_line(text, tag.start)}, is never closed."
        )
    return nodes


def _tags(text: str) -> Iterator[_Tag]:
    """Yield the tags with the text before each.

    The text after the last tag comes with a comment tag.
    """
    opening, closing = "{{", "}}"
    position = 0
    # True while the current line contains only white space.
    blank = True
    while (start := text.find(opening, position)) >= 0:
        kind, name, end = _tag_at(text, start, opening, closing)
        before = text[position:start]
        line = before.rfind("\n") + 1
        blank = (blank or line > 0) and _LINE_REST.match(before, line) is not None
        if blank and kind not in ("", "&"):
            alone = _LINE_END.match(text, end)
        else:
            alone = None
        if alone is not None:  # A line with only such a tag is removed from the text.
            before = before[:line]
            end = alone.end()
        yield _Tag(kind, name, before, start)
        blank = alone is not None
        position = end
        if kind == "=":
            opening, closing = _delimiters(text, start, name)
    yield _Tag("!", "", text[position:], len(text))


def _tag_at(text: str, start: int, opening: str, closing: str) -> tuple[str, str, int]:
    """Return the kind and name of the tag at `start`, and the position of its end."""
    inside = start + len(opening)
    kind = text[inside : inside + 1]
    if kind == "{" and opening == "{{":
        kind, closing = "&", "}}}"
        inside += 1
    elif kind in ("#", "^", "/", "!", ">", "&", "="):
        inside += 1
        closing = "=" + closing if kind == "=" else closing
    else:
        kind = ""
    end = text.find(closing, inside)
    if end < 0:
        raise InvalidTemplate(f"The mustache template has an unclosed tag {_line(text, start)}.")
    name = text[inside:end].strip()
    if not name and kind != "!":
        raise InvalidTemplate(f"The mustache template has an empty tag {_line(text, start)}.")
    return kind, name, end + len(closing)


def _delimiters(text: str, start: int, name: str) -> tuple[str, str]:
    """Return the new delimiters of a tag such as `{{=<% %>=}}`."""
    both = name.split()
    if len(both) != 2:
        raise InvalidTemplate(
            f"The mustache template sets delimiters {_line(text, start)} that are not two: {name!r}."
        )
    return both[0], both[1]


def _line(text: str, position: int) -> str:
    return f"on line {text.count(chr(10), 0, position) + 1}"


def _path(name: str) -> Path:
    return () if name == "." else tuple(name.split("."))


class _Output:
    """The output so far, with limits on its size and its steps.

    The numbers of items of nested sections multiply: 25 sections over `[1, 2]` give 33 million texts.
    """

    __slots__ = ("chars", "pieces", "steps")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.chars = 0
        self.steps = 0

    def count(self, steps: int) -> None:
        """Count steps. Raises `InvalidTemplate` if there are too many."""
        self.steps += steps
        if self.steps > _MOST_STEPS or self.chars > _MOST_CHARS:
            raise InvalidTemplate(
                f"The mustache template takes more than {_MOST_STEPS:,} steps or {_MOST_CHARS:,} characters. "
                "Sections inside of sections multiply: use fewer of them, or shorter lists."
            )

    def add(self, text: str) -> None:
        self.pieces.append(text)
        self.chars += len(text)


def _render(nodes: list[Any], contexts: list[Any], out: _Output) -> None:
    out.count(len(nodes) * len(contexts))
    for node in nodes:
        if isinstance(node, str):
            out.add(node)
        elif isinstance(node, Variable):
            text = _text(_found(node.path, contexts))
            out.add(text.translate(_ESCAPED) if node.escaped else text)
        else:
            _render_section(node, contexts, out)


def _render_section(section: _Section, contexts: list[Any], out: _Output) -> None:
    value = _found(section.path, contexts)
    there = value is not _ABSENT and bool(value)
    if section.inverted or not there:
        if section.inverted and not there:
            _render(section.nodes, contexts, out)
        return
    for item in value if _is_list(value) else (value,):
        contexts.append(item)
        _render(section.nodes, contexts, out)
        contexts.pop()


def _found(path: Path, contexts: list[Any]) -> Any:
    """Return the value of a path: its first name is looked up from the innermost context outwards,
    the others in its value.
    """
    if not path:
        return contexts[-1]
    first = (
        found for context in reversed(contexts) if (found := _item(context, path[0])) is not _ABSENT
    )
    value = next(first, _ABSENT)
    for name in path[1:]:
        value = _item(value, name)
    return value


def _item(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name, _ABSENT)
    if _is_list(value) and name.isdecimal() and len(name) < 10 and int(name) < len(value):
        return value[int(name)]
    return _ABSENT


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if (
        value is _ABSENT
        or value is None
        or (isinstance(value, (Mapping, Sequence)) and not len(value))
    ):
        return ""
    return str(value)

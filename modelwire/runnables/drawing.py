"""Drawings of a graph: text in boxes, and Mermaid's language. No drawing service is called.

The text is laid out by `grandalf`, which is not installed with modelwire.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from modelwire.aliases import Fields
from modelwire.errors import MissingDependency

if TYPE_CHECKING:
    from modelwire.runnables.graph import Edge, Graph

# The number of columns between two boxes.
_GAP = 3
# The number of rows between two boxes.
_LINES = 3


_Point: TypeAlias = tuple[float, float]
# The characters of a drawing by column and row. A layout begins at row 0, and its first part at column 0.
_Cells: TypeAlias = dict[tuple[int, int], str]


class _Box:
    """A box of three rows around a name. grandalf's layout reads `w` and `h`, and sets `xy`, its centre."""

    h = 3

    def __init__(self, name: str) -> None:
        self.name = name
        self.w = len(name) + 4
        self.xy = (0.0, 0.0)


class _Path:
    """An edge. grandalf's layout sets the points on its path, including the centres of its two boxes."""

    points: Sequence[_Point] = ()

    def setpath(self, points: Sequence[_Point]) -> None:
        self.points = points


def draw_ascii(names: Mapping[str, str], edges: Sequence[Edge]) -> str:
    """Return boxes with the names, from top to bottom, and lines of stars between them. Needs `grandalf`.

    Raises: MissingDependency, which is an `ImportError`.
    """
    if not names:
        return ""
    pairs = dict.fromkeys((edge.source, edge.target) for edge in edges)
    boxes, paths = _laid_out(names, pairs)
    cells: _Cells = {}
    for path in paths:
        for start, end in pairwise(path.points):
            _draw_line(cells, start, end)
    for box in boxes:
        _draw_box(cells, box)
    width = 1 + max(x for x, _ in cells)
    height = 1 + max(y for _, y in cells)
    rows = []
    for y in range(height):
        row = "".join(cells.get((x, y), " ") for x in range(width))
        rows.append(row.rstrip())
    return "\n".join(rows)


def _draw_line(cells: _Cells, start: _Point, end: _Point) -> None:
    x, y = map(round, start)
    to_x, to_y = map(round, end)
    steps = max(abs(to_x - x), abs(to_y - y), 1)
    for step in range(steps + 1):
        column = round(x + (to_x - x) * step / steps)
        row = round(y + (to_y - y) * step / steps)
        cells[column, row] = "*"


def _draw_box(cells: _Cells, box: _Box) -> None:
    left = round(box.xy[0] - box.w / 2)
    top = round(box.xy[1] - box.h / 2)
    edge = f"+{'-' * (box.w - 2)}+"
    for row, text in enumerate((edge, f"| {box.name} |", edge), top):
        for column, char in enumerate(text, left):
            cells[column, row] = char


def _laid_out(
    names: Mapping[str, str], pairs: Iterable[tuple[str, str]]
) -> tuple[list[_Box], list[_Path]]:
    """Return boxes and edges with their positions. Unconnected parts are placed side by side."""
    try:
        graphs: Any = import_module("grandalf.graphs")
        layouts: Any = import_module("grandalf.layouts")
    except ImportError as exc:
        raise MissingDependency(
            "Drawing a graph as text needs `grandalf`: `pip install grandalf`."
        ) from exc
    vertices = {}
    for id, name in names.items():
        vertices[id] = graphs.Vertex(id)
        vertices[id].view = _Box(name)
    links = []
    for source, target in pairs:
        if source != target:
            link = graphs.Edge(vertices[source], vertices[target])
            link.view = _Path()
            links.append(link)
    left = 0.0
    for part in graphs.Graph(list(vertices.values()), links).C:
        layout = layouts.SugiyamaLayout(part)
        layout.xspace = _GAP
        layout.yspace = _LINES
        layout.init_all(roots=[], inverted_edges=_back_edges(list(part.sV)))
        layout.draw()
        boxes = [vertex.view for vertex in part.sV]
        paths = [link.view for link in part.sE]
        left = _GAP + _moved(boxes, paths, left)
    return [vertex.view for vertex in vertices.values()], [link.view for link in links]


def _moved(boxes: list[_Box], paths: list[_Path], left: float) -> float:
    """Move the boxes and edges of one part so that it begins at the column `left`; return its last column."""
    ends = [x for path in paths for x, _ in path.points]
    for box in boxes:
        x, _ = box.xy
        ends += [x - box.w / 2, x + box.w / 2]
    shift = left - min(ends)
    for box in boxes:
        x, y = box.xy
        box.xy = (x + shift, y)
    for path in paths:
        path.points = [(x + shift, y) for x, y in path.points]
    return max(ends) + shift


def _back_edges(vertices: Sequence[Any]) -> list[Any]:
    """Return the edges that close a cycle. Once these are reversed, no cycle is left.

    grandalf's own search starts from roots, and misses cycles that no root reaches.
    """
    back: list[Any] = []
    while True:
        forward = {
            vertex: [edge.v[0] for edge in vertex.e_in() if edge not in back] for vertex in vertices
        }
        try:
            TopologicalSorter(forward).prepare()
        except CycleError as exc:
            # Each node leads to the next one, and the last is the first.
            circle = exc.args[1]
            target = min(circle, key=vertices.index)
            source = circle[circle.index(target, 1) - 1]
            back += [edge for edge in target.e_in() if edge.v[0] is source]
        else:
            return back


class CurveStyle(Enum):
    """The curves in which Mermaid can draw the edges of a graph."""

    BASIS = "basis"
    BUMP_X = "bumpX"
    BUMP_Y = "bumpY"
    CARDINAL = "cardinal"
    CATMULL_ROM = "catmullRom"
    LINEAR = "linear"
    MONOTONE_X = "monotoneX"
    MONOTONE_Y = "monotoneY"
    NATURAL = "natural"
    STEP = "step"
    STEP_AFTER = "stepAfter"
    STEP_BEFORE = "stepBefore"


@dataclass
class NodeStyles:
    """The Mermaid styles of a graph's nodes: of the first, of the last, and of all others (`default`)."""

    default: str = "fill:#f2f0ff,line-height:1.2"
    first: str = "fill-opacity:0"
    last: str = "fill:#bfb6fc"


def draw_mermaid(
    graph: Graph,
    *,
    with_styles: bool,
    curve_style: CurveStyle | None,
    node_colors: NodeStyles | None,
    wrap_label_n_words: int,
    frontmatter_config: Fields | None,
) -> str:
    """Return the graph in Mermaid's language; its ids should be readable, as after `Graph.reid`."""
    ids = _safe_ids(list(graph.nodes))
    lines = []
    if with_styles:
        curve = curve_style or CurveStyle.LINEAR
        config = {"flowchart": {"curve": curve.value}}
        config |= (frontmatter_config or {}).get("config", {})
        lines += ["---", *_yaml({"config": config}), "---"]
    lines.append("graph TD;")
    if with_styles:
        lines += _mermaid_nodes(graph, ids)
    for edge in graph.edges:
        arrow = "-.->" if edge.conditional else "-->"
        if edge.data is not None:
            arrow += f"|{_quoted(_wrapped(str(edge.data), wrap_label_n_words))}|"
        lines.append(f"\t{ids[edge.source]} {arrow} {ids[edge.target]};")
    if with_styles:
        lines += [
            f"\tclassDef {kind} {style}"
            for kind, style in vars(node_colors or NodeStyles()).items()
        ]
    return "\n".join(lines) + "\n"


def _mermaid_nodes(graph: Graph, ids: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each node; the first and the last have a class of their own."""
    first = graph.first_node()
    last = graph.last_node()
    for id, node in graph.nodes.items():
        text = _label(node.name, node.metadata)
        if node == first:
            yield f"\t{ids[id]}([{text}]):::first"
        elif node == last:
            yield f"\t{ids[id]}([{text}]):::last"
        else:
            yield f"\t{ids[id]}({text})"


def _safe_ids(ids: list[str]) -> dict[str, str]:
    """Return for each id a unique one that Mermaid accepts as one word; `end` is a keyword."""
    safe: dict[str, str] = {}
    for id in ids:
        word = re.sub(r"[^\w]+", "_", id, flags=re.ASCII).strip("_") or "node"
        word = f"{word}_" if word.lower() == "end" else word
        unique = word
        number = 1
        while unique in safe.values():
            number += 1
            unique = f"{word}_{number}"
        safe[id] = unique
    return safe


def _label(name: str, metadata: Fields | None) -> str:
    if not metadata:
        return _quoted(name)
    notes = [html.escape(f"{key} = {value}") for key, value in metadata.items()]
    return f'"{"<br/>".join([html.escape(name), *notes])}"'


def _quoted(text: str) -> str:
    if re.fullmatch(r"\w+", text):
        return text
    return f'"{html.escape(text).replace("&lt;br/&gt;", "<br/>")}"'


def _wrapped(text: str, words_a_line: int) -> str:
    words = text.split()
    lines = []
    for start in range(0, len(words), words_a_line):
        line = words[start : start + words_a_line]
        lines.append(" ".join(line))
    return "<br/>".join(lines)


def _yaml(value: Fields, indent: str = "") -> list[str]:
    lines = []
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            lines += [f"{indent}{key}:", *_yaml(inner, indent + "  ")]
        else:
            text = str(inner)
            if not re.fullmatch(r"[\w.-]+", text):
                text = "'" + text.replace("'", "''") + "'"
            lines.append(f"{indent}{key}: {text}")
    return lines

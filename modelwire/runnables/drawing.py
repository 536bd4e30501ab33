"""Pictures of a graph: text in boxes, and Mermaid's language. No drawing service is called.

The text layout is the usual one for layered graphs: longest paths give the rows, the mean place of the neighbours gives
the order in a row, and an edge that spans rows passes through an invisible node in each of them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelwire.runnables.graph import Edge, Graph

__all__ = ["CurveStyle", "NodeStyles", "draw_ascii", "draw_mermaid"]

GAP = 3  # columns between boxes
LINES = 3  # rows between boxes


# ---------------------------------------------------------------- text


def draw_ascii(names: Mapping[str, str], edges: Sequence[Edge]) -> str:
    """Draw boxes with the names, top to bottom, and lines of stars between them."""
    if not names:
        return ""
    forward = _forward(names, [(edge.source, edge.target) for edge in edges])
    rows, links = _layered(list(names), forward)
    widths = {id: len(names[id]) + 4 if id in names else 1 for row in rows for id in row}
    centres = _centres(rows, links, widths)
    width = max(centres[id] + widths[id] // 2 + 1 for row in rows for id in row)
    canvas = [[" "] * width for _ in range(len(rows) * (3 + LINES) - LINES)]
    tops = {id: number * (3 + LINES) for number, row in enumerate(rows) for id in row}
    for source, target in links:
        _line(canvas, centres[source], tops[source] + 3, centres[target], tops[target] - 1)
    for id, top in tops.items():
        _box(canvas, names.get(id), centres[id] - widths[id] // 2, top, widths[id])
    return "\n".join("".join(row).rstrip() for row in canvas)


def _forward(names: Mapping[str, str], edges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Turn round the edges that close a circle, so that rows can be counted."""
    forward: list[tuple[str, str]] = []
    state: dict[str, int] = {}  # 1 while its successors are visited, 2 after
    after: dict[str, list[str]] = {id: [] for id in names}
    for source, target in edges:
        after[source].append(target)
    for root in names:
        stack = [(root, iter(after[root]))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            id, targets = stack[-1]
            target = next(targets, "")
            if not target:
                state[id] = 2
                stack.pop()
            elif state.get(target) == 1:
                if target != id:
                    forward.append((target, id))
            else:
                forward.append((id, target))
                if target not in state:
                    state[target] = 1
                    stack.append((target, iter(after[target])))
    return forward


def _layered(ids: list[str], edges: list[tuple[str, str]]) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """Return the rows of ids, invisible ones included, and the links from each row to the next."""
    level = dict.fromkeys(ids, 0)
    for _ in ids:  # the longest path has fewer edges than there are nodes
        moved = [(source, target) for source, target in edges if level[target] <= level[source]]
        if not moved:
            break
        for source, target in moved:
            level[target] = max(level[target], level[source] + 1)
    links: list[tuple[str, str]] = []
    for number, (source, target) in enumerate(edges):
        passed = [f"{number}/{row}" for row in range(level[source] + 1, level[target])]
        level.update({id: row for row, id in enumerate(passed, level[source] + 1)})
        links.extend(zip([source, *passed], [*passed, target], strict=True))
    rows: list[list[str]] = [[] for _ in range(max(level.values()) + 1)]
    for id, row_number in level.items():
        rows[row_number].append(id)
    for _ in range(2):
        _order(rows, links)
    return rows, links


def _order(rows: list[list[str]], links: list[tuple[str, str]]) -> None:
    """Sort each row by the mean place of the neighbours above, then by that of those below."""
    for near, far, wanted in ((1, 0, rows[1:]), (0, 1, rows[-2::-1])):
        for row in wanted:
            places = {id: place for each in rows for place, id in enumerate(each)}
            around = {id: [places[link[far]] for link in links if link[near] == id] for id in row}
            row.sort(key=lambda id, p=places, n=around: sum(n[id]) / len(n[id]) if n[id] else p[id])  # type: ignore[misc]


def _centres(rows: list[list[str]], links: list[tuple[str, str]], widths: Mapping[str, int]) -> dict[str, int]:
    """Give each id its column: packed rows first, centred on the widest, then drawn towards their neighbours."""
    packed = {number: sum(widths[id] + GAP for id in row) - GAP for number, row in enumerate(rows)}
    centres: dict[str, int] = {}
    for number, row in enumerate(rows):
        left = (max(packed.values()) - packed[number]) // 2
        for id in row:
            centres[id] = left + widths[id] // 2
            left += widths[id] + GAP
    for near, far, wanted in ((1, 0, rows[1:]), (0, 1, rows[-2::-1]), (1, 0, rows[1:])):
        for row in wanted:
            pushed, least = 0, -(10**6)
            for id in row:
                around = [centres[link[far]] for link in links if link[near] == id]
                best = round(sum(around) / len(around)) if around else centres[id]
                centres[id] = max(best, least + widths[id] // 2)
                pushed += centres[id] - best
                least = centres[id] - widths[id] // 2 + widths[id] + GAP
            for id in row:  # a row that had to spread spreads to both sides
                centres[id] -= round(pushed / len(row))
    shift = min(centres[id] - widths[id] // 2 for row in rows for id in row)
    return {id: centre - shift for id, centre in centres.items()}


def _line(canvas: list[list[str]], x: int, y: int, to_x: int, to_y: int) -> None:
    steps = max(abs(to_x - x), abs(to_y - y), 1)
    for step in range(steps + 1):
        canvas[round(y + (to_y - y) * step / steps)][round(x + (to_x - x) * step / steps)] = "*"


def _box(canvas: list[list[str]], name: str | None, left: int, top: int, width: int) -> None:
    if name is None:  # an edge passes here
        for row in range(top, top + 3):
            canvas[row][left] = "*"
        return
    edge = f"+{'-' * (width - 2)}+"
    for row, text in zip(range(top, top + 3), (edge, f"| {name} |", edge), strict=True):
        canvas[row][left : left + width] = text


# ---------------------------------------------------------------- Mermaid


class CurveStyle(Enum):
    """How Mermaid bends its lines."""

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
    """Mermaid styles of the nodes."""

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
    frontmatter_config: Mapping[str, Any] | None,
) -> str:
    """Write the graph, whose ids are readable, in Mermaid's language."""
    ids = _safe_ids(list(graph.nodes))
    lines = []
    if with_styles:
        flowchart = {"flowchart": {"curve": (curve_style or CurveStyle.LINEAR).value}}
        lines += ["---", *_yaml({"config": {**flowchart, **(frontmatter_config or {}).get("config", {})}}), "---"]
    lines.append("graph TD;")
    first, last = graph.first_node(), graph.last_node()
    for id, node in graph.nodes.items():
        if with_styles:
            text = _label(node.name, node.metadata)
            end = ":::first" if node == first else ":::last" if node == last else ""
            lines.append(f"\t{ids[id]}([{text}]){end}" if end else f"\t{ids[id]}({text})")
    for edge in graph.edges:
        arrow = "-.->" if edge.conditional else "-->"
        if edge.data is not None:
            arrow += f"|{_quoted(_wrapped(str(edge.data), wrap_label_n_words))}|"
        lines.append(f"\t{ids[edge.source]} {arrow} {ids[edge.target]};")
    if with_styles:
        lines += [f"\tclassDef {kind} {style}" for kind, style in vars(node_colors or NodeStyles()).items()]
    return "\n".join(lines) + "\n"


def _safe_ids(ids: list[str]) -> dict[str, str]:
    """Spell ids with what Mermaid takes for one word; `end` is a keyword."""
    safe: dict[str, str] = {}
    for id in ids:
        word = re.sub(r"[^\w]+", "_", id, flags=re.ASCII).strip("_") or "node"
        word = f"{word}_" if word.lower() == "end" else word
        unique, number = word, 1
        while unique in safe.values():
            number += 1
            unique = f"{word}_{number}"
        safe[id] = unique
    return safe


def _label(name: str, metadata: Mapping[str, Any] | None) -> str:
    notes = "".join(f"<br/>{html.escape(f'{key} = {value}')}" for key, value in (metadata or {}).items())
    return f'"{html.escape(name)}{notes}"' if notes else _quoted(name)


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"\w+", text) else f'"{html.escape(text).replace("&lt;br/&gt;", "<br/>")}"'


def _wrapped(text: str, words_a_line: int) -> str:
    words = text.split()
    return "<br/>".join(" ".join(words[i : i + words_a_line]) for i in range(0, len(words), words_a_line))


def _yaml(value: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            lines += [f"{indent}{key}:", *_yaml(inner, indent + "  ")]
        else:
            text = str(inner) if re.fullmatch(r"[\w.-]+", str(inner)) else "'" + str(inner).replace("'", "''") + "'"
            lines.append(f"{indent}{key}: {text}")
    return lines

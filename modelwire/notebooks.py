"""Formats messages, chains, spending and jobs for Jupyter. Pure; imports only `modelwire.aliases`.

The text of a model is shown and never run: tags are escaped, and showing a message fetches nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib import import_module
from itertools import islice
from typing import Any

from modelwire.aliases import Fields

__all__ = ["show_chain", "show_message", "show_result", "show_spent"]


def show_message(message: Any) -> str:
    """Return a message as HTML: its reasoning folded, its text and images, its tool calls as a table, its tokens."""
    blocks = list(message.content_blocks)
    if message.name:
        name = f" <code>{escape(message.name)}</code>"
    else:
        name = ""
    parts = [f"<small><b>{escape(message.type)}</b>{name}</small>"]
    thoughts = [
        text
        for block in blocks
        if block["type"] == "reasoning" and (text := block.get("reasoning"))
    ]
    if thoughts:
        text = _preformatted("\n\n".join(thoughts))
        parts.append(f"<details><summary>Reasoning</summary>{text}</details>")
    parts += [shown for block in blocks if (shown := _block(block))]
    calls = [*getattr(message, "tool_calls", ()), *getattr(message, "invalid_tool_calls", ())]
    if calls:
        parts.append(
            _table(
                ["tool", "arguments"], [[call["name"], _arguments(call["args"])] for call in calls]
            )
        )
    usage = getattr(message, "usage_metadata", None)
    if usage:
        parts.append(
            f"<small>{usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out</small>"
        )
    return f"<div>{''.join(parts)}</div>"


def show_chain(chain: Any) -> str:
    """Return the graph of a chain as Markdown with a Mermaid block, which Jupyter draws."""
    return f"```mermaid\n{chain.get_graph().draw_mermaid()}\n```"


def show_spent(tracker: Any) -> str:
    """Return the counts of a `track()` block as HTML: a table with a row for each model, and the sums."""
    rows = []
    for model, spent in sorted(tracker.by_model.items()):
        usage: Fields = tracker.usage_metadata.get(model) or {
            "input_tokens": 0,
            "output_tokens": 0,
        }
        if spent.unpriced == spent.calls:
            cost = "unknown"
        else:
            cost = f"{spent.cost:.6f}"
        rows.append(
            [
                model,
                f"{spent.calls:,}",
                f"{usage['input_tokens']:,}",
                f"{usage['output_tokens']:,}",
                cost,
            ]
        )
    table = _table(["model", "calls", "input", "output", "USD"], rows)
    sums = f"{tracker.total.calls:,} calls, {tracker.errors:,} errors, USD {tracker.cost:.6f}"
    cache = str(tracker.cache)
    if cache:
        sums += f"; {cache}"
    return f"{table}<small>{sums}</small>"


def show_result(result: Any) -> str:
    """Return the result of a job as HTML: its first five rows, if they can be read, and its numbers, folded."""
    try:
        first = list(islice(result, 5))
    except (OSError, ValueError):  # The output is not written yet, or was moved.
        first = []
    numbers = [
        [name, f"{value:,}" if isinstance(value, int) else value]
        for name, value in result.numbers().items()
    ]
    table = ""
    if first:
        table = _table(list(first[0]), [[*row.values()] for row in first])
    return "".join(
        [
            table,
            f"<small>{escape(str(result))}; <code>{escape(str(result.output or result.job_dir))}</code></small>",
            f"<details><summary>All numbers</summary>{_table(['', 'value'], numbers)}</details>",
        ]
    )


def _block(block: Fields) -> str:
    kind = block["type"]
    if kind == "text":
        reader = _markdown()
        text = str(block["text"])
        if reader is None:
            return _preformatted(text)
        return str(reader.render(text))
    if kind == "image":
        source = (
            block.get("url")
            or f"data:{block.get('mime_type') or 'image/png'};base64,{block.get('base64', '')}"
        )
        if source.startswith("data:image/"):
            return f'<img src="{escape(source)}" style="max-height: 20em">'
        return f"<p><i>(image: {escape(source)})</i></p>"
    if kind in ("audio", "video", "file", "text-plain"):
        return f"<p><i>({kind}, {escape(str(block.get('mime_type') or 'no type'))})</i></p>"
    return ""


@cache
def _markdown() -> Any:
    """Return a renderer of Markdown that drops HTML and images; None if rich, which installs it, is missing."""
    try:
        made: Any = import_module("markdown_it").MarkdownIt("commonmark", {"html": False})
    except ImportError:
        return None
    return made.enable("table").disable("image")


def _preformatted(text: str) -> str:
    return f'<div style="white-space: pre-wrap">{escape(text)}</div>'


def _arguments(args: Any) -> str:
    if isinstance(args, str):
        return args
    return json.dumps(args, ensure_ascii=False, default=str)


def _table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    lines = [_row(row, "td") for row in rows]
    return f"<table><thead>{_row(head, 'th')}</thead><tbody>{''.join(lines)}</tbody></table>"


def _row(cells: Sequence[Any], tag: str) -> str:
    style = ' style="text-align: left; white-space: pre-wrap"'
    texts = (escape("" if cell is None else str(cell)) for cell in cells)
    return f"<tr>{''.join(f'<{tag}{style}>{text}</{tag}>' for text in texts)}</tr>"

"""Makes the HTML with which Jupyter shows messages, chains, spending and jobs. No I/O but reading a job's first rows.

A model's text is only shown: its tags are escaped, and no image is fetched when a message is displayed.
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
    """Return a message as HTML: its reasoning folded, text, images, tool calls as a table, tokens."""
    blocks = list(message.content_blocks)
    name = ""
    if message.name:
        name = f" <code>{escape(message.name)}</code>"
    parts = [f"<small><b>{escape(message.type)}</b>{name}</small>"]
    thoughts = [block.get("reasoning") for block in blocks if block["type"] == "reasoning"]
    text = "\n\n".join(filter(None, thoughts))
    if text:
        reasoning = _preformatted(text)
        parts.append(f"<details><summary>Reasoning</summary>{reasoning}</details>")
    parts += map(_block, blocks)
    calls = [*getattr(message, "tool_calls", ()), *getattr(message, "invalid_tool_calls", ())]
    if calls:
        rows = [[call["name"], _arguments(call["args"])] for call in calls]
        parts.append(_table(["tool", "arguments"], rows))
    usage = getattr(message, "usage_metadata", None)
    if usage:
        counts = f"{usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out"
        parts.append(f"<small>{counts}</small>")
    return f"<div>{''.join(parts)}</div>"


def show_chain(chain: Any) -> str:
    """Return Markdown with the graph of a chain as a Mermaid diagram, which Jupyter draws."""
    return f"```mermaid\n{chain.get_graph().draw_mermaid()}\n```"


def show_spent(tracker: Any) -> str:
    """Return the calls, tokens and costs that `track()` has counted as HTML: a row for each model, then the sums."""
    rows = []
    for model, spent in sorted(tracker.by_model.items()):
        usage: Fields = tracker.usage_metadata.get(model) or {}
        tokens_in = usage.get("input_tokens", 0)
        tokens_out = usage.get("output_tokens", 0)
        cost = f"{spent.cost:.6f}"
        if spent.unpriced == spent.calls:
            cost = "unknown"
        rows.append([model, f"{spent.calls:,}", f"{tokens_in:,}", f"{tokens_out:,}", cost])
    table = _table(["model", "calls", "input", "output", "USD"], rows)
    sums = f"{tracker.total.calls:,} calls, {tracker.errors:,} errors, USD {tracker.cost:.6f}"
    cache = str(tracker.cache)
    if cache:
        sums += f"; {cache}"
    return f"{table}<small>{sums}</small>"


def show_result(result: Any) -> str:
    """Return the result of a job as HTML: the first rows of its output if it can be read, and its counts, folded."""
    try:
        first = list(islice(result, 5))
    except (OSError, ValueError):  # The output is not written yet, or has been moved.
        first = []
    numbers = []
    for name, value in result.numbers().items():
        if isinstance(value, int):
            value = f"{value:,}"
        numbers.append([name, value])
    table = ""
    if first:
        table = _table(list(first[0]), [[*row.values()] for row in first])
    place = escape(str(result.output or result.job_dir))
    line = f"<small>{escape(str(result))}; <code>{place}</code></small>"
    table_of_numbers = _table(["", "value"], numbers)
    folded = f"<details><summary>All numbers</summary>{table_of_numbers}</details>"
    return f"{table}{line}{folded}"


def _block(block: Fields) -> str:
    kind = block["type"]
    if kind == "text":
        reader = _markdown()
        text = str(block["text"])
        if reader is None:
            return _preformatted(text)
        return str(reader.render(text))
    if kind == "image":
        kind_of_image = block.get("mime_type") or "image/png"
        source = block.get("url") or f"data:{kind_of_image};base64,{block.get('base64', '')}"
        if source.startswith("data:image/"):
            return f'<img src="{escape(source)}" style="max-height: 20em">'
        return f"<p><i>(image: {escape(source)})</i></p>"
    if kind in ("audio", "video", "file", "text-plain"):
        return f"<p><i>({kind}, {escape(str(block.get('mime_type') or 'no type'))})</i></p>"
    return ""


@cache
def _markdown() -> Any:
    """Return a renderer of Markdown that escapes HTML and shows no images; None if `markdown_it` is not installed."""
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

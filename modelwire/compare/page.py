"""Formats a comparison as one HTML page that loads nothing, and as cells of a table. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from modelwire.usage import dollars

if TYPE_CHECKING:
    from modelwire.compare.comparison import Comparison, Outcome, Row, Total

TOTALS = [
    "",
    "answered",
    "refused",
    "same tool calls",
    "fits the schema",
    "text similarity",
    "same meaning",
    "tokens in",
    "tokens out",
    "cost",
    "seconds (median)",
]
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a7f37; --bad: #cf222e; --mid: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --good: #4ac26b; --bad: #ff7b72; --mid: #d4a72c; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .75rem; }
.sub, .meta { opacity: .7; } .meta { font-size: .85rem; margin-top: .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin-top: 1.25rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .45rem .8rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; font-weight: 400; } thead th { vertical-align: bottom; }
section { border: 1px solid var(--line); border-radius: .6rem; margin: 1rem 0; overflow: hidden; }
.ask { background: var(--soft); padding: .6rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.ask b { margin-right: .6rem; opacity: .7; font-weight: 600; }
.ask { max-height: 14rem; overflow-y: auto; border-bottom: 1px solid var(--line); }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1px; background: var(--line); }
.side > div { padding: .75rem .9rem; background: Canvas; min-width: 0; }
h3 { font-size: .85rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 22rem; overflow-y: auto; }
code { font: .85em/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.tag { display: inline-block; border: 1px solid; border-radius: 1rem; font-size: .78rem; padding: 0 .55rem;
  margin: .5rem .3rem 0 0; }
.good { color: var(--good); } .bad { color: var(--bad); } .mid { color: var(--mid); }
ul { margin: .5rem 0; padding-left: 1.25rem; }
"""


def cells_of(total: Total) -> list[str]:
    """Return the cells of a total in the order of `TOTALS`; a dash means that a column does not apply."""
    return [
        total.model,
        _of(total.answered),
        str(total.refused),
        _of(total.same_tools),
        _of(total.fits_schema),
        _written(total.similarity, "{:.0%}".format, missing="-"),
        _of(total.same_meaning),
        f"{total.input_tokens:,}",
        f"{total.output_tokens:,}",
        _written(total.cost, dollars, missing="-"),
        _written(total.seconds, "{:,.2f}".format, missing="-"),
    ]


def _written(value: Any, write: Callable[[Any], str], *, missing: str) -> str:
    """Return `write(value)`, or `missing` if the value is None."""
    if value is None:
        return missing
    return write(value)


def _of(counts: tuple[int, int]) -> str:
    count, total = counts
    if total:
        return f"{count} of {total}"
    return "-"


def page_of(comparison: Comparison, recording: str) -> str:
    """Return the HTML page. Every text of a model or a user is escaped."""
    columns = [TOTALS, *(cells_of(total) for total in comparison.totals)]
    head, *lines = zip(*columns, strict=True)
    table = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines
    )
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    notes = "".join(
        f"<li><b>{escape(total.model)}</b>: {escape(note)}</li>"
        for total in comparison.totals
        for note in total.not_taken
    )
    rows = "".join(_section(row) for row in comparison.rows)
    not_sent = ""
    if notes:
        not_sent = f"<h2>Not sent</h2><ul>{notes}</ul>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Comparison of {escape(recording)}</title><style>{_STYLE}</style>"
        f"<h1>Comparison</h1><div class=sub>{len(comparison.rows):,} recorded calls of {escape(recording)}</div>"
        f"<div class=scroll><table><thead><tr>{names}</tr></thead><tbody>{table}</tbody></table></div>"
        + not_sent
        + f"<h2>Call by call</h2>{rows}</html>\n"
    )


def _section(row: Row) -> str:
    sides = [("recorded", row.recorded), *row.outcomes.items()]
    side = "".join(
        _side(name, outcome, is_now=bool(place)) for place, (name, outcome) in enumerate(sides)
    )
    head = f"<b>line {row.line}</b>{escape(row.request)}"
    return f"<section><div class=ask>{head}</div><div class=side>{side}</div></section>"


def _side(name: str, outcome: Outcome, *, is_now: bool) -> str:
    calls = "".join(
        f"<div><code>{escape(call['name'])}({escape(json.dumps(call['args'], ensure_ascii=False))})</code></div>"
        for call in outcome.tool_calls
    )
    error = text = ""
    if outcome.error:
        error = f'<div class="text bad">{escape(outcome.error)}</div>'
    if outcome.text:
        text = f"<div class=text>{escape(outcome.text)}</div>"
    tags = "".join(
        f'<span class="tag {kind}">{escape(word)}</span>' for kind, word in _tags(outcome)
    )
    tokens = ""
    if outcome.output_tokens is not None:
        tokens = f"{outcome.input_tokens:,} + {outcome.output_tokens:,} tokens"
    not_sent = ""
    if is_now and outcome.not_taken:
        not_sent = f"{len(outcome.not_taken)} not sent"
    facts = [
        tokens,
        _written(outcome.cost, dollars, missing=""),
        _written(outcome.seconds, "{:,.2f} s".format, missing=""),
        not_sent,
    ]
    meta = " · ".join(filter(None, facts))
    return (
        f"<div><h3>{escape(name)}</h3>{error}{text}{calls}{tags}<div class=meta>{meta}</div></div>"
    )


def _tags(outcome: Outcome) -> Iterator[tuple[str, str]]:
    if outcome.refused:
        yield "bad", "refused"
    if outcome.same_tools is not None:
        if outcome.same_tools:
            yield "good", "same tool calls"
        else:
            yield "bad", "other tool calls"
    if outcome.fits_schema is not None:
        if outcome.fits_schema:
            yield "good", "fits the schema"
        else:
            yield "bad", "does not fit the schema"
    similarity = outcome.similarity
    if similarity is not None:
        kind = "mid"
        if similarity > 0.9:
            kind = "good"
        text = "same text"
        if similarity != 1:
            text = f"text {similarity:.0%} alike"
        yield kind, text
    if outcome.same_meaning is not None and outcome.similarity != 1:
        if outcome.same_meaning:
            yield "good", "same meaning"
        else:
            yield "bad", "another meaning"

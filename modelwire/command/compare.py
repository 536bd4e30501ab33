"""`modelwire compare`: runs recorded calls on other models, and shows the results as a table, JSON or a page."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwire import lazy
from modelwire.command import model_options, templates
from modelwire.errors import DiskError, InvalidArgument
from modelwire.terminal_text import echo
from modelwire.user_paths import owned

if TYPE_CHECKING:
    from modelwire.compare import comparison, page
else:
    comparison = lazy.module("modelwire.compare.comparison")
    page = lazy.module("modelwire.compare.page")


def register(commands: Any) -> None:
    """Declare the command, its options and the function that runs it."""
    parser = commands.add_parser(
        "compare",
        help="run recorded calls again on other models, and compare the answers",
        epilog="example: modelwire compare run.jsonl --model anthropic:claude-haiku-4-5 --html compare.html",
    )
    add = parser.add_argument
    add("recording", help="a cassette that `recorded(...)` wrote")
    add(
        "-m",
        "--model",
        action="append",
        required=True,
        metavar="NAME",
        help="such as openai:gpt-4o-mini, or a row of modelwire.toml; can be repeated",
    )
    add(
        "-s",
        "--system",
        metavar="TEXT",
        help="a system message in place of the recorded ones (default: the recorded ones)",
    )
    model_options.add_parameters_and_template(parser)
    add(
        "--judge",
        metavar="NAME",
        help="a model that judges whether differing texts mean the same (default: none)",
    )
    add(
        "--batch",
        action="store_true",
        help="use the providers' Batch APIs: half the price, within a day",
    )
    add(
        "--bucket",
        metavar="GS",
        help="with --batch and Gemini on Vertex AI: the bucket, gs://my-bucket/folder (default: none)",
    )
    add(
        "--max-cost",
        metavar="USD",
        help="the most that each model may cost (default: no limit); not with --batch",
    )
    add("--limit", type=int, metavar="N", help="the first N calls (default: all)")
    add(
        "--dir",
        metavar="FOLDER",
        help="the folder of the jobs, from which the same command continues (default: RECORDING.compare)",
    )
    add(
        "--html",
        metavar="FILE",
        help="write the report as one HTML file (default: no file)",
    )
    add("--json", action="store_true", help="print the whole result as JSON")
    add("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> int:
    templates.apply_template(options)
    found = comparison.compare(
        options.recording,
        _models(options),
        system=options.system,
        params=model_options.parameters_of(options.param),
        judge=options.judge,
        batch=options.batch,
        bucket=options.bucket,
        dir=options.dir,
        max_cost=options.max_cost,
        limit=options.limit,
        quiet=not sys.stderr.isatty(),
    )
    if options.html:
        try:
            with open(options.html, "w", encoding="utf-8", opener=owned) as file:
                file.write(page.page_of(found, options.recording))
        except OSError as exc:
            raise DiskError.of(exc, Path(options.html)) from exc
    unanswered = any(outcome.error for row in found.rows for outcome in row.outcomes.values())
    if options.json:
        echo(found.to_json())
        return int(unanswered)
    _print_table([page.TOTALS, *map(page.cells_of, found.totals)])
    for total in found.totals[1:]:
        for note in total.not_taken:
            echo(f"{total.model}: {note}")
        errors = Counter(row.outcomes[total.model].error for row in found.rows)
        for error, count in errors.items():
            if error is not None:
                echo(f"{total.model}: {count} of {len(found.rows)} not answered: {error}")
    if options.html:
        echo(options.html)
    return int(unanswered)


def _models(options: argparse.Namespace) -> dict[str, Any]:
    """Return the models by the names that `-m` has. Raises: `InvalidArgument` for a name that occurs twice."""
    models: dict[str, Any] = {}
    for name in options.model:
        if name in models:
            raise InvalidArgument(f"`-m {name}` occurs twice.")
        models[name] = model_options.choose_model(name, options.param)
    return models


def _print_table(columns: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in columns]
    for cells in zip(*columns, strict=True):
        padded = [
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        echo("  ".join(padded).rstrip())

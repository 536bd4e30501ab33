"""`modelwire embed`: a job that writes a column of vectors."""

from __future__ import annotations

import argparse
from typing import Any

from modelwire.command import jobs
from modelwire.jobs.options import JobOptions, Setting, settings_of

_SETTINGS = settings_of(JobOptions)
# `modelwire embed` lacks these options of `run_job`, which need a chat model or answers that are texts.
_NOT_FOR_EMBEDDINGS = {"bucket", "engine", "finish_by", "formula_guard", "workers"}
_OWN = {
    "dimensions": Setting(
        "the length of the vectors, for a model that can shorten them (default: the model's)",
        least=1,
        metavar="N",
    ),
    "via": jobs.VIA,
    "detach": jobs.DETACH,
    "dry_run": Setting("show three texts and an estimate of the cost, call no model", False),
}


def register(commands: Any) -> None:
    """Declare the command, its options and the function that runs it."""
    parser = commands.add_parser(
        "embed",
        help="write a column of vectors for a column of texts",
        description="Write a vector for each row of a CSV, TSV, JSON lines or Parquet file, in the column `embedding`: "
        "a list of 32-bit floats in Parquet, JSON elsewhere. If the job is killed, the same command continues it. The "
        "path of the result goes to standard output, all else to standard error. The exit codes are those of "
        "`modelwire batch`.",
        epilog="example: modelwire embed reviews.csv --model openai:text-embedding-3-small --column review "
        "--output vectors.parquet",
    )
    add = parser.add_argument
    add("input", help="a .csv, .tsv, .jsonl or .parquet file")
    add("--output", "-o", required=True, metavar="FILE", help="a file, replaced when done")
    add(
        "-m",
        "--model",
        required=True,
        metavar="NAME",
        help="an embeddings model, such as openai:text-embedding-3-small",
    )
    add("--column", required=True, metavar="NAME", help="the column that holds the texts")
    add(
        "-p",
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the model, such as input_type=CLUSTERING; can be repeated (none by default)",
    )
    for name, setting in {**_OWN, **_SETTINGS}.items():
        if name not in _NOT_FOR_EMBEDDINGS:
            jobs.add_setting(parser, name, setting)
    parser.set_defaults(run=embed)


def embed(options: argparse.Namespace) -> int:
    """Run `modelwire embed`; return its exit code."""
    settings = vars(options)
    settings |= {name: _SETTINGS[name].default for name in _NOT_FOR_EMBEDDINGS}
    settings |= {"text": settings.pop("column"), "chain": None}
    if options.dimensions is not None:
        settings["param"].append(f"dimensions={options.dimensions}")
    if options.dry_run:
        jobs.dry_run(settings)
        return 0
    return jobs.run_or_submit(settings, options)

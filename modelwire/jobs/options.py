"""The options of `run_job`, and those that it shares with `submit_batch`.

Each option is a field of a typed dict: its type, and a `Setting` with its default, its valid values
and its description. The docstring of the class and the help of `modelwire batch` are generated from
the settings. They are read from the annotations, which this module therefore does not postpone.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from modelwire.aliases import StrPath
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean
from modelwire.jobs.finish_by import hour_of
from modelwire.usage import amount_of

if TYPE_CHECKING:
    from modelwire.runnables import RunnableConfig

_ENGINES = ("local", "ray")
ORDERS = ("input", "arrival")
COUNT = "a whole number of at least {}"


def check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    """Raise `InvalidArgument` for a value that is not one of `known`."""
    if value not in known:
        raise InvalidArgument(f"`{name}` is {value!r}. {did_you_mean(str(value), known)}")


def checked_attachments(places: Any) -> tuple[str, ...]:
    """Return the paths and URLs of attachments. Raises: `InvalidType` unless they are a list of texts."""
    if isinstance(places, str) or not isinstance(places, Sequence):
        raise InvalidType(
            f'`attachments` must be a list of paths and URLs, such as ["{{photo}}"], not {places!r}.'
        )
    for place in places:
        if not isinstance(place, str):
            raise InvalidType(
                f"`attachments` must hold texts, and one of them is a `{type(place).__name__}`."
            )
    return tuple(places)


@dataclass(frozen=True, slots=True)
class Setting:
    """The description of an option, its default, and its valid values."""

    doc: str
    default: Any = None
    # If it is not None, the value must be None or a whole number of at least this.
    least: int | None = None
    choices: tuple[str, ...] = ()
    # The function that converts a value, and raises `InvalidArgument` for an invalid one.
    read: Callable[[Any], Any] | None = None
    # The placeholder for the value in the help of the command. An option that has a value and no
    # placeholder can only be set from Python.
    metavar: str | None = None
    # True if only rows that are called directly have this option.
    is_direct_only: bool = False

    def checked(self, name: str, value: Any) -> Any:
        """Return the value of the option `name`. Raises: `InvalidArgument` if it is invalid."""
        if self.choices:
            check_choice(name, value, self.choices)
        if value is None:
            return None
        if self.least is not None:
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            if not is_whole or value < self.least:
                raise InvalidArgument(
                    f"`{name}` must be {COUNT.format(self.least)}, not {value!r}."
                )
        if self.read is None:
            return value
        return self.read(value)


class SharedOptions(TypedDict, total=False):
    """The keywords that `run_job` and `submit_batch` have in common."""

    bucket: Annotated[
        str | None,
        Setting(
            "for Gemini on Vertex AI, the folder for the files of batches: gs://my-bucket/folder (default: none)",
            metavar="GS",
        ),
    ]
    limit: Annotated[
        int | None,
        Setting(
            "only this many first rows (default: all); direct calls continue from there with a higher limit",
            least=1,
            metavar="N",
        ),
    ]
    dedupe: Annotated[
        bool,
        Setting(
            "share one call among equal rows",
            True,
        ),
    ]
    encoding: Annotated[
        str,
        Setting(
            "the encoding of a CSV or TSV input",
            "utf-8",
            metavar="NAME",
        ),
    ]
    text: Annotated[
        str | None,
        Setting(
            "with an embeddings model, the column that holds the texts (default: the rows are texts)",
        ),
    ]
    config: Annotated[
        "RunnableConfig | None",
        Setting(
            "a `RunnableConfig` for every row",
        ),
    ]
    command: Annotated[
        dict[str, Any] | None,
        Setting("how the command runs the job again; the command line sets it"),
    ]


class JobOptions(SharedOptions, total=False):
    output: Annotated[
        StrPath | None,
        Setting(
            "the path of a .jsonl, .csv, .tsv or .parquet file, which appears when all rows are done (default: the "
            "result holds the rows in memory)",
            read=Path,
        ),
    ]
    model: Annotated[
        Any,
        Setting(
            'for a prompt, a chat model, or a string such as "openai:gpt-4o-mini"',
        ),
    ]
    system: Annotated[
        str | None,
        Setting(
            "a system message before a prompt that is a text",
        ),
    ]
    schema: Annotated[
        Any,
        Setting("with a prompt, the form of the answers: a pydantic class or a JSON schema"),
    ]
    attachments: Annotated[
        Sequence[str],
        Setting(
            "with a prompt that is a text, the paths and URLs of files to send with every row; {column} in one is "
            "filled in from the row, and a row whose file cannot be read fails",
            (),
            read=checked_attachments,
        ),
    ]
    attachment_folder: Annotated[
        StrPath | None,
        Setting(
            "the folder at which relative paths of attachments begin (default: the working folder)",
            read=Path,
        ),
    ]
    job_dir: Annotated[
        StrPath | None,
        Setting(
            "the folder of the job's state (default: OUTPUT.job; without an output, a folder that is removed when "
            "the job is complete)",
            metavar="FOLDER",
        ),
    ]
    order: Annotated[
        Literal["input", "arrival"],
        Setting(
            "the order of the output's rows; arrival is the order in which they finished",
            "input",
            choices=ORDERS,
        ),
    ]
    max_concurrency: Annotated[
        int | None,
        Setting(
            "rows in flight at a time (default: 200, then more while that is faster; with Ray 10,000; of an embeddings "
            "model, those of 8 full requests, then of up to 32)",
            least=1,
            metavar="N",
            is_direct_only=True,
        ),
    ]
    max_cost: Annotated[
        Decimal | float | str | None,
        Setting(
            "US dollars for all runs together: stop before a row whose worst case, by its input and its longest "
            "answer (the model's max_tokens), would exceed this (default: no limit)",
            read=amount_of,
            metavar="USD",
            is_direct_only=True,
        ),
    ]
    finish_by: Annotated[
        datetime | timedelta | str | None,
        Setting(
            'the deadline: 07:00, 2h or "2026-12-24T07:00 Europe/Vienna", from Python also a `datetime` with a zone; '
            "rows wait in the Batch API, at half the price, while direct calls could still be in time (default: "
            "none, and all rows are called directly)",
            read=hour_of,
            metavar="TIME",
            is_direct_only=True,
        ),
    ]
    sample: Annotated[
        int | None,
        Setting(
            "only this many rows, chosen at random by the seed (default: all); the output has the rows of this run",
            least=1,
            metavar="N",
            is_direct_only=True,
        ),
    ]
    seed: Annotated[
        int,
        Setting(
            "a sample with the same seed has the same rows",
            0,
            metavar="N",
        ),
    ]
    retry_failed: Annotated[
        bool,
        Setting(
            "retry rows that have failed (default: they stay failed)",
            False,
        ),
    ]
    formula_guard: Annotated[
        bool,
        Setting(
            "in CSV, put a quote before an answer that a spreadsheet would run as a formula",
            False,
            is_direct_only=True,
        ),
    ]
    engine: Annotated[
        Literal["local", "ray"],
        Setting(
            "where rows are called: in this process, or in the workers of a Ray cluster",
            "local",
            choices=_ENGINES,
            is_direct_only=True,
        ),
    ]
    workers: Annotated[
        int | None,
        Setting(
            "the number of Ray workers (default: one for each CPU of the cluster)",
            least=1,
            metavar="N",
            is_direct_only=True,
        ),
    ]
    quiet: Annotated[
        bool,
        Setting(
            "show no progress",
            False,
        ),
    ]


def settings_of(options: Any) -> dict[str, Setting]:
    """Return the settings of a class of options by the option's name; those of `SharedOptions` come last."""
    fields = options.__annotations__
    names = sorted(fields, key=lambda name: name in SharedOptions.__annotations__)
    return {name: fields[name].__metadata__[0] for name in names}


def described(function: str, options: Any) -> str:
    """Return the docstring of a class of options."""
    lines = [f"The keywords of `{function}` with their defaults. All are optional.", ""]
    for name, setting in settings_of(options).items():
        lines.append(f"- `{name}` ({setting.default!r}): {setting.doc}.")
    return "\n".join(lines)


JobOptions.__doc__ = described("run_job", JobOptions)


def checked(form: Any, keywords: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return the options of the class `form`, completed by the defaults.

    Raises: `InvalidArgument` for an invalid value, and `InvalidType` for an unknown name.
    """
    settings = settings_of(form)
    for name in keywords:
        if name not in settings:
            raise InvalidType(
                f"A {owner} has no option `{name}`. {did_you_mean(name, [*settings])}"
            )
    return {
        name: setting.checked(name, keywords.get(name, setting.default))
        for name, setting in settings.items()
    }


def checked_options(keywords: JobOptions) -> dict[str, Any]:
    """Return the options of a job, completed by the defaults.

    Raises: `InvalidArgument` for an invalid value.
    """
    if not isinstance(keywords.get("output"), (str, os.PathLike, type(None))):
        raise InvalidType(
            "`output` must be the path of the file for the results, or None for rows in memory."
        )
    options = checked(JobOptions, keywords, "job")
    is_on_ray = options["engine"] == "ray"
    has_deadline = options["finish_by"] is not None
    if options["workers"] is not None and not is_on_ray:
        raise InvalidArgument('`workers` is the number of Ray workers: it needs `engine="ray"`.')
    if options["bucket"] is not None and not has_deadline:
        raise InvalidArgument(
            "`bucket` is for rows that go in batches: by `finish_by`, or by `submit_batch`."
        )
    if has_deadline and is_on_ray:
        raise InvalidArgument('`finish_by` plans for one machine: leave `engine="ray"` out.')
    return options

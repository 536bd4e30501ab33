"""`modelwire batch` and `modelwire jobs`: run jobs, show them, and continue them."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwire import config, jobs, lazy
from modelwire.aliases import JSON, Kwargs, Values
from modelwire.command import model_options, templates
from modelwire.embeddings import init_embeddings
from modelwire.errors import InvalidArgument, MissingKey, UnknownModel
from modelwire.jobs.options import COUNT, JobOptions, Setting, settings_of
from modelwire.jobs.pipes import FORMATS, piped
from modelwire.terminal_text import agrees, echo

if TYPE_CHECKING:
    from modelwire.command import batch_api, job_reports
    from modelwire.jobs import embedding_rows
    from modelwire.jobs import folder as folders
    from modelwire.jobs import output as outputs
    from modelwire.jobs import row_records as records
    from modelwire.jobs import work as works
    from modelwire.jobs.folder import JobFolder
    from modelwire.jobs.rows import Source
    from modelwire.jobs.work import Work
else:
    batch_api = lazy.module("modelwire.command.batch_api")
    job_reports = lazy.module("modelwire.command.job_reports")
    works = lazy.module("modelwire.jobs.work")
    embedding_rows = lazy.module("modelwire.jobs.embedding_rows")
    folders = lazy.module("modelwire.jobs.folder")
    records = lazy.module("modelwire.jobs.row_records")
    outputs = lazy.module("modelwire.jobs.output")

_SETTINGS = settings_of(JobOptions)
# These options are valid for one run only: they are not saved for `jobs retry`.
_OF_ONE_RUN = ("finish_by", "bucket")
# `run` sets the other options itself, or the command has no such options.
_NOT_PASSED = {
    "model",
    "config",
    "command",
    "dedupe",
    "retry_failed",
    "quiet",
    "attachment_folder",
    *_OF_ONE_RUN,
}
# `run` passes these options to `run_job`.
_PASSED = tuple(name for name in _SETTINGS if name not in _NOT_PASSED)
# The texts of `jobs show` for the reasons why a job was stopped.
_STOPS = {"max_cost": "near `max_cost`", "interrupted": "by Ctrl-C", "terminated": "by SIGTERM"}


# These options have a second, short form.
_SHORT = {"quiet": ["-q"]}
# `modelwire batch` takes exactly one of these arguments.
_WORK = {
    "prompt": Setting(
        "the question; {column} is filled in from the row",
        metavar="TEXT",
    ),
    "prompt_file": Setting(
        "a file with the question",
        metavar="FILE",
    ),
    "chain": Setting(
        "a chain in a Python module of this folder",
        metavar="MODULE:NAME",
    ),
}
VIA = Setting(
    "batch-api: through the provider's Batch API, at half the price, within a day",
    "live",
    choices=("live", "batch-api"),
)
DETACH = Setting("with --via batch-api: submit and leave; `modelwire jobs wait` fetches", False)
# These arguments are the command's own; the others are options of `run_job`.
_OWN = {
    "schema": Setting(
        "a JSON schema of the answers; each property becomes a column", metavar="FILE"
    ),
    "format": Setting(
        "the format of standard input and output",
        "jsonl",
        choices=FORMATS,
    ),
    "via": VIA,
    "detach": DETACH,
    "plan": Setting(
        "with --finish-by: show the expected rows, cost and end, and call no model", False
    ),
    "dry_run": Setting(
        "show three filled prompts and an estimate of the cost, call no model", False
    ),
}


def register(commands: Any) -> None:
    """Declare the commands, their options and the functions that run them."""
    _register_batch(commands)
    parser = commands.add_parser(
        "jobs", help="the jobs of a folder: list, show, retry, write, wait, rm"
    )
    below = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, help_text, run in (
        ("list", "one line for each job: its state, rows, failed rows, and cost in USD", list_jobs),
        ("show", "the state of one job, and which rows have failed", show),
        ("retry", "call the model again for the failed rows of a job", retry),
        ("write", "write the table of the finished rows of a job that was stopped", write),
        ("wait", "wait for a job of `modelwire batch --via batch-api`, and write its table", wait),
        ("rm", "delete the folder of a job; its output stays", _remove),
    ):
        description = f"{help_text[0].upper()}{help_text[1:]}."
        command = below.add_parser(name, help=help_text, description=description)
        add = command.add_argument
        if run is not list_jobs:
            add("job", metavar="ID", help="as `modelwire jobs list` shows it, or the job's folder")
        add("--dir", default=".", metavar="FOLDER", help="where the jobs are (default: here)")
        if run is write:
            add("--output", "-o", metavar="FILE", help="another file (default: the job's own)")
        if run is _remove:
            add("--yes", "-y", action="store_true", help="do not ask")
        if run in (retry, wait):
            add_setting(command, "quiet", _SETTINGS["quiet"])
        command.set_defaults(run=run)


def _register_batch(commands: Any) -> None:
    parser = commands.add_parser(
        "batch",
        help="ask a prompt about every row of a file",
        description="Ask a prompt about every row of a CSV, TSV, JSON lines or Parquet file. If the job is killed, the "
        "same command continues it. The path of the result goes to standard output, all else to standard "
        "error. Exit code: 0 done (single rows may have failed), 1 stopped, refused or every row failed, 2 wrong "
        "usage, 130 Ctrl-C.",
        epilog='example: modelwire batch reviews.csv --prompt "Summarise: {review}" --model openai:gpt-4o-mini '
        "--output summaries.csv",
    )
    parser.add_argument(
        "input", help="a .csv, .tsv, .jsonl or .parquet file; - is standard input, by --format"
    )
    parser.add_argument(
        "--output",
        "-o",
        required=True,
        metavar="FILE",
        help="a .csv, .tsv, .jsonl or .parquet file; replaced when done; - is standard output, by --format",
    )
    work = parser.add_mutually_exclusive_group(required=True)
    for name, setting in _WORK.items():
        add_setting(work, name, setting)
    model_options.add_call_options(
        parser, default_model="$MODELWIRE_MODEL, else the file's; a chain has its own"
    )
    parser.add_argument(
        "-a",
        "--attach",
        dest="attachments",
        metavar="FILE",
        action="append",
        default=[],
        help="a file or URL to send with every row, or '{column}' for the file that the row names; can be repeated "
        "(default: none)",
    )
    for name, setting in {**_SETTINGS, **_OWN}.items():
        add_setting(parser, name, setting)
    parser.set_defaults(run=batch)


def add_setting(parser: Any, name: str, setting: Setting) -> None:
    """Add the option for a setting of a job to a command. A setting without a placeholder has no option."""
    option = f"--{name.replace('_', '-')}"
    default = setting.default
    doc = setting.doc.replace("%", "%%")
    if default is True:
        parser.add_argument(f"--no-{option[2:]}", action="store_true", help=f"do not {doc}")
    elif default is False:
        parser.add_argument(option, *_SHORT.get(name, ()), action="store_true", help=doc)
    elif setting.choices:
        doc += f" (default: {default})"
        parser.add_argument(option, choices=setting.choices, default=default, help=doc)
    elif setting.metavar is not None:
        if default is not None:
            doc += f" (default: {default})"
        parser.add_argument(
            option, type=_type_of(setting), metavar=setting.metavar, default=default, help=doc
        )


def _type_of(setting: Setting) -> Callable[[str], Any]:
    """Return the function with which argparse converts the value of an option."""
    if setting.least is not None:
        return _count
    if setting.read is not None:
        return _checked_by(setting.read)
    if isinstance(setting.default, int):
        return int
    return str


def _checked_by(check: Callable[[str], object]) -> Callable[[str], str]:
    """Return a function for argparse that returns a valid value as text; a value that `check` rejects is an error."""

    def typed(text: str) -> str:
        try:
            check(text)
        except InvalidArgument as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc
        return text

    return typed


def _count(text: str) -> int:
    if not re.fullmatch(r"\s*0*[1-9][0-9]*\s*", text):
        raise argparse.ArgumentTypeError(f"must be {COUNT.format(1)}, not {text!r}")
    return int(text)


# The job's folder stores these settings, with which `jobs retry` and `jobs wait` run the job again.
_SAVED = ("input", "prompt", "chain", "model", "param", "no_dedupe", "via", *_PASSED)
_PATHS = ("input", "output", "job_dir")


def batch(options: argparse.Namespace) -> int:
    """Run `modelwire batch`; return its exit code."""
    templates.apply_template(options)
    settings = vars(options)
    if options.prompt_file is not None:
        settings["prompt"] = _read(options.prompt_file)
    if options.schema is not None:
        settings["schema"] = model_options.schema_of(options.schema)
    with piped(settings):
        return _batch(settings, options)


def _batch(settings: Kwargs, options: argparse.Namespace) -> int:
    if options.dry_run:
        dry_run(settings)
        return 0
    return run_or_submit(settings, options)


def run_or_submit(settings: Kwargs, options: argparse.Namespace) -> int:
    """Run a job directly or by a Batch API, as `--via` says; return the exit code."""
    if options.via == "batch-api":
        _, source = _checked(settings)
        source.close()
        return batch_api.submit(
            settings,
            _chain(settings),
            _command(settings),
            quiet=options.quiet,
            detach=options.detach,
        )
    if options.detach:
        raise InvalidArgument(
            "`--detach` leaves a job to the provider: it needs `--via batch-api`."
        )
    return run(settings, retry_failed=options.retry_failed, quiet=options.quiet)


def _command(settings: Values) -> JSON:
    """Return the settings with which the job can be run again from any folder; paths are absolute."""
    command = {name: settings.get(name) for name in _SAVED}
    for name in _PATHS:
        if settings[name] is not None:
            command[name] = str(Path(settings[name]).absolute())
    command["folder"] = str(_folder(settings))
    return command


def _chain(settings: Values) -> Any:
    """Return the runnable of a batch job: a chain, or an embeddings model."""
    if settings.get("text") is not None:
        return _embeddings(settings)
    return _asked_work(settings).chain


def _asked_work(settings: Values) -> Work:
    if settings.get("text") is not None:
        return embedding_rows.EmbeddingWork(_embeddings(settings), settings["text"])
    return works.make_work(
        _work(settings),
        _model(settings),
        system=settings.get("system"),
        schema=settings.get("schema"),
        attachments=settings.get("attachments") or (),
        attachment_folder=_folder(settings),
    )


def _folder(settings: Values) -> Path:
    """Return the folder in which a job was started."""
    return Path(settings.get("folder") or Path.cwd())


def run(settings: Values, *, retry_failed: bool, quiet: bool) -> int:
    """Run a job with the settings of a command; return the exit code."""
    names = (*_PASSED, *_OF_ONE_RUN)
    options: Any = {name: settings[name] for name in names if name in settings}
    options["dedupe"] = not settings["no_dedupe"]
    options["retry_failed"] = retry_failed
    options["attachment_folder"] = _folder(settings)
    work = _work(settings)
    model = _model(settings)
    if settings.get("plan"):
        echo(jobs.plan_job(work, settings["input"], model=model, **options))
        return 0
    result = jobs.run_job(
        work, settings["input"], model=model, quiet=quiet, command=_command(settings), **options
    )
    if not quiet:
        echo(result, file=sys.stderr)
    if result.stopped == "max_cost":
        echo(
            f"Stopped near --max-cost {settings['max_cost']}; run again with a higher one to continue; "
            f"`modelwire jobs write {result.job_id}` writes the finished rows.",
            file=sys.stderr,
        )
    none_answered = result.failed == result.rows > 0
    if result.failed and (none_answered or not quiet):
        job_reports.print_failures(
            result.job_dir, can_retry=not (result.complete and settings.get("to_stdout"))
        )
    if result.complete and not settings.get("to_stdout"):
        echo(result.output)
    return int(none_answered or not result.complete)


def _work(settings: Values) -> Any:
    if settings.get("text") is not None:
        return _embeddings(settings)
    if settings["chain"] is None:
        return settings["prompt"]
    from importlib import import_module

    module, colon, name = settings["chain"].partition(":")
    if not colon:
        raise InvalidArgument(
            f"`--chain {settings['chain']}` does not name a chain in the module: write MODULE:NAME."
        )
    sys.path.insert(0, str(_folder(settings)))
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as exc:
        raise InvalidArgument(
            f"There is no module `{exc.name}`; `--chain` looks in the working folder."
        ) from exc
    except AttributeError as exc:
        raise InvalidArgument(f"The module `{module}` has no `{name}`.") from exc


def _embeddings(settings: Values) -> Any:
    """Return the embeddings model of `modelwire embed`."""
    parameters = model_options.parameters_of(settings["param"])
    try:
        return model_options.with_stored_key(init_embeddings, settings["model"], **parameters)
    except MissingKey:
        if not settings.get("dry_run"):
            raise
        return init_embeddings(settings["model"], **parameters, api_key=_no_key)


def _model(settings: Values) -> Any:
    if settings.get("text") is not None:
        return None
    if settings["chain"] is not None:
        return settings["model"]
    parameters = model_options.parameters_of(settings["param"])
    file = _model_file(settings.get("folder"))
    place: Kwargs = {"config_file": file, "config_is_found": file is not None}
    try:
        return model_options.with_stored_key(
            config.make_named_model, settings["model"], **place, **parameters
        )
    except MissingKey:
        if not settings.get("dry_run"):
            raise
        return config.make_named_model(settings["model"], **place, **parameters, api_key=_no_key)
    except UnknownModel as exc:
        if not str(exc).startswith("No model is named"):
            raise
        raise UnknownModel(
            "No model is named: write `--model openai:gpt-4o-mini`, set `MODELWIRE_MODEL`, or give `modelwire.toml` a "
            "`default`."
        ) from exc


def _model_file(folder: str | None) -> Path | None:
    """Return the path of `modelwire.toml` in the folder in which a job was started.

    Return None if there is no such file, or if the environment names another one.
    """
    if folder is None or os.environ.get(config.FILE_VARIABLE):
        return None
    path = Path(folder) / config.FILE_NAME
    if path.is_file():
        return path
    return None


def _no_key() -> str:
    """Raise `MissingKey`. A dry run passes this function as the key of its model, which sends nothing."""
    raise MissingKey("A dry run has no key.")


def _checked(settings: Values) -> tuple[Work, Source]:
    """Check the output, the model and the columns of a job; return its work, and its source of rows."""
    from modelwire.jobs.sources import open_source

    outputs.check_output(Path(settings["output"]), settings["order"], settings["input"])
    work = _asked_work(settings)
    source = open_source(settings["input"], encoding=settings["encoding"])
    try:
        work.check_columns(source.columns)
    except InvalidArgument:
        source.close()
        raise
    return work, source


def dry_run(settings: Values) -> None:
    """Print the first rows of a job, and an estimate of its cost."""
    from modelwire.jobs.preview import preview

    work, source = _checked(settings)
    in_batch = settings["via"] == "batch-api"
    chosen = {name: settings[name] for name in ("limit", "sample", "seed")}
    for line in preview(
        work, source, **chosen, in_batch=in_batch, dedupe=not settings["no_dedupe"]
    ):
        echo(line)
    source.close()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidArgument(
            f"`{path}` cannot be read: {getattr(exc, 'strerror', None) or exc}."
        ) from exc


def _job(options: argparse.Namespace) -> JobFolder:
    """Return the job that the command line names, by its id or its folder."""
    return folders.find_job(options.job, Path(options.dir))


def list_jobs(options: argparse.Namespace) -> None:
    """Run `modelwire jobs list`: print one line for each job below a folder."""
    readable, unreadable = folders.jobs_below(Path(options.dir))
    echo(f"{'ID':<10}{'STATE':<13}{'ROWS':>10}{'FAILED':>8}{'USD':>10}  FOLDER")
    for job in readable:
        numbers = job.summary()
        if "failed" not in numbers:  # The job runs, was killed, or is at the provider.
            standing, failures = job_reports.standing_of(job)
            numbers = {**asdict(standing), "failed": len(failures)}
        cost: Any = "-"
        if not (numbers["unpriced"] or job_reports.is_at_provider(job)):
            cost = numbers["cost"]
        echo(
            f"{job.id:<10}{job.state():<13}{numbers['rows']:>10}{numbers['failed']:>8}{cost!s:>10.8}  {job.path}"
        )
    for problem in unreadable:
        echo(problem, file=sys.stderr)


def show(options: argparse.Namespace) -> None:
    """Run `modelwire jobs show`: print the job's settings, its progress, and why rows have failed."""
    job = _job(options)
    about = job.about
    state = job.state()
    echo(f"job      {job.id}, {state}, begun {about['begun']}")
    why = job.summary().get("stopped")
    if why is not None:
        echo(f"stopped  {_STOPS.get(why, why)}")
    echo(f"folder   {job.path}")
    for name, value in about["fingerprint"].items():
        if name == "request" or (name == "work" and "prompt" in about["fingerprint"]):
            continue  # These are digests of what other lines show.
        shown = value
        if isinstance(value, dict):
            shown = ", ".join(f"{key} {one}" for key, one in value.items())
        echo(f"{name:<9}{shown}")
    for part in job_reports.parts_of(job):
        echo(f"batch    {part.batch_id or '-'}, {part.rows:,} rows, {part.outcome or part.stage}")
    job_reports.print_rows(job, is_complete=state == "complete")


def retry(options: argparse.Namespace) -> int:
    """Run `modelwire jobs retry`: run the failed rows of a job again; return the exit code."""
    job = _job(options)
    command = job.about.get("command")
    if not command:
        _refuse_batch_of_python(job, "resubmit()")
        raise InvalidArgument(
            f"`{job.path}` was run from Python: run it again there, with `retry_failed=True`."
        )
    if command.get("via") == "batch-api":
        return batch_api.finish(job.path, _chain(command), command, quiet=options.quiet, again=True)
    return run({**command, "job_dir": str(job.path)}, retry_failed=True, quiet=options.quiet)


def _refuse_batch_of_python(job: JobFolder, method: str) -> None:
    if "batch" in job.about:
        raise InvalidArgument(
            f"`{job.path}` was submitted from Python: `BatchJob.load({str(job.path)!r}, chain).{method}` there."
        )


def write(options: argparse.Namespace) -> None:
    """Run `modelwire jobs write`: write the table of the finished rows."""
    job = _job(options)
    if "batch" in job.about:
        raise InvalidArgument(
            f"`{job.path}` went through a Batch API: `modelwire jobs wait {job.id}` writes its table."
        )
    command = job.about.get("command") or {}
    output = options.output or command.get("output")
    order = command.get("order", "input")
    if output is None:
        raise InvalidArgument(
            f"`{job.path}` was run from Python: name the file to write, `--output FILE`."
        )
    outputs.check_output(Path(output), order, command.get("input"), job.path)
    job.check_output_is_free(Path(output))
    job.claim()
    try:
        with closing(records.Results(job.path)) as results:
            for _ in results.recover():
                pass
            table = outputs.write_output(
                results,
                Path(output),
                order=order,
                formula_guard=command.get("formula_guard", False),
                answer_columns=job.about.get("answer_columns"),
            )
    finally:
        job.release()
    echo(f"{table.rows:,} finished rows", file=sys.stderr)
    echo(output)


def wait(options: argparse.Namespace) -> int:
    """Run `modelwire jobs wait`: wait for the batches of a job, and write its table; return the exit code."""
    job = _job(options)
    command = job.about.get("command") or {}
    if not command:
        _refuse_batch_of_python(job, "wait()")
    if command.get("via") != "batch-api":
        raise InvalidArgument(
            f"`{job.path}` is not a batch job: run its command again, which continues it."
        )
    return batch_api.finish(job.path, _chain(command), command, quiet=options.quiet)


def _remove(options: argparse.Namespace) -> None:
    """Run `modelwire jobs rm`: delete a job's folder if the user agrees.

    Raises: `JobBusy` if the job is running.
    """
    job = _job(options)
    question = f"Delete `{job.path}`, with the answers that are in it?"
    if job_reports.is_at_provider(job):
        question = (
            f"{question} Its batches stay at the provider, are billed, and cannot be fetched."
        )
    if not options.yes and not agrees(question):
        raise InvalidArgument(
            f"Nothing was deleted. `modelwire jobs rm {job.id} --yes` does not ask."
        )
    job.delete()

"""`modelwire serve`: runs a test server until Ctrl-C, or for as long as another command runs."""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwire import testing
from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

_UNKNOWN_QUESTION = (
    "`modelwire serve --pages` only has answers to the questions of modelwire's pages. "
    "Any other question needs a provider's key, or the model `local:smollm2`."
)

# The names in `faults.NAMED`. They are repeated, so that the help of other commands does not import that module.
_FAULTS = (
    "billing, error_under_200, error_event, cut, no_terminal_mark, reset_request, reset_headers, reset_body, close, "
    "stall_request, stall_body, slow, byte_by_byte, malformed_json, html, empty, wrong_content_type, "
    "content_length, bad_chunk_size, gzip_garbage, gzip_bomb, garbage, endless_header, endless_event, redirect, "
    "early_hints, error_event_after"
)


# Each row is an option: its name, type, default, metavar and help.
_NUMBERS: tuple[tuple[str, type, float | None, str, str], ...] = (
    ("--port", int, 0, "N", "the port on this machine (default: any free one)"),
    ("--latency", float, 0.0, "S", "median seconds to an answer (default: 0)"),
    ("--sigma", float, 0.0, "S", "sigma of the lognormal latency; 0.4 is realistic (default: 0)"),
    ("--chunk-gap", float, 0.0, "S", "seconds between the words of a stream (default: 0)"),
    ("--rpm", float, None, "N", "requests a minute, for each key and model (default: no limit)"),
    ("--tpm", float, None, "N", "tokens a minute, for each key and model (default: no limit)"),
    (
        "--window",
        float,
        60.0,
        "S",
        "a burst may use as much of a limit as this many seconds grant: 60 (default) or 1",
    ),
    (
        "--max-concurrent",
        int,
        None,
        "N",
        "requests in flight; more are rejected with 503 (default: no limit)",
    ),
    (
        "--time-scale",
        float,
        1.0,
        "X",
        "length of one of the server's seconds: with 0.01 its minute takes 0.6 s (default: 1)",
    ),
    (
        "--seed",
        int,
        0,
        "N",
        "seed of the random faults: the same seed, the same order (default: 0)",
    ),
)


def register(commands: Any) -> None:
    """Declare the command, its options and the function that runs it."""
    serve = commands.add_parser(
        "serve",
        help="a provider for tests: answers like OpenAI, Anthropic, Gemini and Bedrock, with limits and faults",
    )
    add = serve.add_argument
    add("--answer", metavar="TEXT", help="the answer to every question (default: the user's text)")
    add(
        "--pages",
        action="store_true",
        help="answer the questions of the documentation's pages as the pages print the answers",
    )
    for name, kind, default, metavar, text in _NUMBERS:
        add(name, type=kind, default=default, metavar=metavar, help=text)
    add(
        "--headers",
        choices=["own", "openai", "anthropic", "retry-after", "none", "lying"],
        default="own",
        help="which rate-limit headers it sends (default: those of each provider)",
    )
    add(
        "--no-strict",
        action="store_true",
        help="answer requests with unknown parameters, too, which the providers reject",
    )
    add(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=RATE",
        help="a fault and its probability: `reset_body=0.1`, `503=0.05`; may be given more than once. NAME is a status,"
        f" or one of {_FAULTS}",
    )
    add(
        "command",
        nargs="*",
        metavar="COMMAND",
        help="after `--`: run this command with the server's address in its environment, and stop when it ends",
    )
    serve.set_defaults(run=_serve)


def page_answers() -> Callable[[Any], Any]:
    """Return a function that answers a request as the documentation's pages print it.

    The first row of `page_answers.json` is used whose `has` texts are all in the latest message, the
    model's name or the names of the request's fields.
    """
    table = Path(__file__).with_name("page_answers.json")
    rows = json.loads(table.read_text(encoding="utf-8"))

    def answer(request: Any) -> Any:
        known = [request.messages[-1], request.model, sorted(request.fields)]
        text = json.dumps(known, ensure_ascii=False)
        for row in rows:
            if all(part in text for part in row["has"]):
                return testing.Answer(**row["answer"])
        return _UNKNOWN_QUESTION

    return answer


def _serve(options: argparse.Namespace) -> int:
    at_once = options.max_concurrent
    limits = testing.Limits(
        options.rpm, options.tpm, options.window, max_concurrent=at_once, headers=options.headers
    )
    latency = options.latency
    if options.sigma:
        latency = testing.Lognormal(options.latency, options.sigma)
    server = testing.ProviderServer(
        latency=latency,
        chunk_gap_s=options.chunk_gap,
        limits=limits,
        faults=dict(_rate(option) for option in options.fault),
        time_scale=options.time_scale,
        strict=not options.no_strict,
        seed=options.seed,
        keep=0,
        port=options.port,
    )
    if options.pages:
        server.default = page_answers()
    if options.answer is not None:
        server.default = options.answer
    with server:
        addresses = {
            "OPENAI_BASE_URL": server.base_url_for("openai"),
            "OPENAI_API_KEY": "test",
            "ANTHROPIC_BASE_URL": server.base_url_for("anthropic"),
            "ANTHROPIC_API_KEY": "test",
            "GOOGLE_GEMINI_BASE_URL": server.base_url_for("gemini"),
            "GOOGLE_API_KEY": "test",
        }
        if options.command:
            return _run_beside(options.command, addresses)
        _serve_until_interrupted(server, addresses)
    return 0


def _run_beside(command: Sequence[str], addresses: Mapping[str, str]) -> int:
    """Run a command with `addresses` in its environment. Return its exit code."""
    import signal
    import subprocess

    child = subprocess.Popen(command, env=os.environ | addresses)
    # Ctrl-C reaches both processes, and this one ignores it: an interactive Python continues after Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return child.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _serve_until_interrupted(server: testing.ProviderServer, addresses: Mapping[str, str]) -> None:
    print("A provider for tests answers; Ctrl-C ends it. Any key will do. Point scripts at it:")
    for vendor in ("OPENAI", "ANTHROPIC"):
        settings = [f"{name}={addresses[name]}" for name in addresses if name.startswith(vendor)]
        print(" ", "export", *settings, flush=True)
    try:
        server.wait()
    finally:
        counts = server.counts
        print(
            f"\n{counts.requests} requests, {counts.answered} chat calls answered, {counts.throttled} throttled"
        )
        print(f"by status: {dict(counts.by_status)}  by fault: {dict(counts.by_fault)}")


def _rate(option: str) -> tuple[str, float]:
    name, _, rate = option.partition("=")
    try:
        return name, float(rate)
    except ValueError as exc:
        raise InvalidArgument(
            f"`--fault {option}` is not `NAME=RATE`, such as `reset_body=0.1`."
        ) from exc

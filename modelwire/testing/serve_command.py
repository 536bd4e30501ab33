"""`modelwire serve`: runs a `ProviderServer` in the foreground."""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
from typing import Any

from modelwire import testing
from modelwire.errors import InvalidArgument

__all__ = ["register"]

# These are the names in `faults.NAMED`, which the help of other commands must not load.
FAULTS = (
    "billing, error_under_200, error_event, cut, no_terminal_mark, reset_request, reset_headers, reset_body, close, "
    "stall_request, stall_body, slow, byte_by_byte, malformed_json, html, empty, wrong_content_type, "
    "content_length, bad_chunk_size, gzip_garbage, gzip_bomb, garbage, endless_header, endless_event, redirect, "
    "early_hints, error_event_after"
)


def register(commands: Any) -> None:
    """Add the command to the parser."""
    serve = commands.add_parser(
        "serve",
        help="a provider for tests: OpenAI's, Anthropic's, Gemini's and Bedrock's wires, limits, faults, until Ctrl-C",
    )
    say = serve.add_argument
    say(
        "--port",
        type=int,
        default=0,
        metavar="N",
        help="where it listens, on this machine (default: any free port)",
    )
    say("--answer", metavar="TEXT", help="what it always says (default: the text of the user)")
    say(
        "--latency",
        type=float,
        default=0.0,
        metavar="S",
        help="seconds to an answer, in the median (default: 0)",
    )
    say(
        "--sigma",
        type=float,
        default=0.0,
        metavar="S",
        help="sigma of the lognormal latency; 0.4 is realistic (default: 0)",
    )
    say(
        "--chunk-gap",
        type=float,
        default=0.0,
        metavar="S",
        help="seconds between the words of a stream (default: 0)",
    )
    say(
        "--rpm",
        type=float,
        metavar="N",
        help="requests a minute, for each key and model (default: no limit)",
    )
    say(
        "--tpm",
        type=float,
        metavar="N",
        help="tokens a minute, for each key and model (default: no limit)",
    )
    say(
        "--window",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds of a limit that a burst may spend ahead: 60 (default) or 1",
    )
    say(
        "--max-concurrent",
        type=int,
        metavar="N",
        help="requests in flight; above it 503 (default: no limit)",
    )
    say(
        "--headers",
        choices=["own", "openai", "anthropic", "retry-after", "none", "lying"],
        default="own",
        help="which rate-limit headers it sends (default: those of each provider)",
    )
    say(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=RATE",
        help="what goes wrong, and how often: `reset_body=0.1`, `503=0.05`; may be given more than once. A status, or"
        f" one of {FAULTS}",
    )
    say(
        "--time-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="how long its seconds are: 0.01 makes a minute 0.6 s (default: 1)",
    )
    say(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of what is random: the same one, the same order of faults (default: 0)",
    )
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    at_once = options.max_concurrent
    limits = testing.Limits(
        options.rpm, options.tpm, options.window, max_concurrent=at_once, headers=options.headers
    )
    server = testing.ProviderServer(
        latency=testing.Lognormal(options.latency, options.sigma)
        if options.sigma
        else options.latency,
        chunk_gap_s=options.chunk_gap,
        limits=limits,
        faults=dict(_rate(option) for option in options.fault),
        time_scale=options.time_scale,
        seed=options.seed,
        keep=0,
        port=options.port,
    )
    if options.answer is not None:
        server.default = options.answer
    with server:
        print("A provider for tests answers; Ctrl-C ends it. Any key will do. Point scripts at it:")
        print(f"  export OPENAI_BASE_URL={server.base_url_for('openai')} OPENAI_API_KEY=test")
        print(
            f"  export ANTHROPIC_BASE_URL={server.base_url_for('anthropic')} ANTHROPIC_API_KEY=test",
            flush=True,
        )
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

"""What the span of a call costs: the CPU of a call with spans on, less that of the same call with spans off.

Beside it stands what OpenTelemetry alone takes for such a span: after a call with spans off, a bare loop starts, fills
and ends a span with the attributes that a call's span has. The span processor throws every span away.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from benchmarks.answers import TEXT
from benchmarks.contenders import NotInstalled
from benchmarks.tables import Budget, Table
from benchmarks.worker import Failed, Session

if TYPE_CHECKING:
    from benchmarks.lineup import Lineup

__all__ = ["calls", "run"]

BUDGET_US = 20.0
WAYS = {
    "off": "spans off",
    "bare": "spans off, and a bare span of OpenTelemetry's SDK after each call",
    "api": "spans on, without an SDK: no span is recorded",
    "spans": "spans on, with the SDK",
    "metrics": "spans and metrics on, with the SDK",
}


def run(lineup: Lineup) -> list[Table]:
    rounds, count = (5, 100) if lineup.quick else (40, 100)
    seen: dict[str, list[float]] = {way: [] for way in WAYS}
    table = Table(
        f"Spans: CPU a call over loopback, {rounds} interleaved rounds",
        ["", "us", "more than off"],
    )
    try:
        with lineup.fresh_worker("modelwire") as worker:
            # The first round loads the code.
            for turn in range(rounds + 1):
                for way, found in seen.items():
                    arguments: dict[str, Any] = {
                        "root": lineup.servers.plain,
                        "way": way,
                        "count": count,
                    }
                    cpu_us = worker.measure("otel.calls", **arguments)
                    if turn:
                        found.append(cpu_us)
            arguments = {"root": lineup.servers.plain}
            counted = {
                way: worker.measure("otel.functions", way=way, **arguments)
                for way in ("off", "spans")
            }
    except Failed as failure:
        table.notes.append(str(failure))
        return [table]
    # Noise only ever adds to CPU time.
    least = {way: min(found) for way, found in seen.items()}
    more = {way: us - least["off"] for way, us in least.items()}
    table.rows = [[text, f"{least[way]:.1f}", f"{more[way]:.1f}"] for way, text in WAYS.items()]
    own_us = more["spans"] - more["bare"]
    table.rows.append(["of spans on: modelwire's own share", "", f"{own_us:.1f}"])
    table.budgets = [
        Budget("a call with spans on, more than with spans off", BUDGET_US, more["spans"], " us"),
        Budget("modelwire's own share of that", BUDGET_US, own_us, " us"),
    ]
    ours, theirs = (counted["spans"][whose] - counted["off"][whose] for whose in _OWNERS)
    table.notes += [
        "Microseconds of this machine as it is now: read them beside the bare span.",
        f"Spans on enter {ours} more Python functions a call in modelwire, and {theirs} in OpenTelemetry.",
    ]
    return [table]


def calls(session: Session, *, root: str, way: str, count: int) -> float:
    """Make calls one after the other. Return the CPU of one in microseconds."""
    call = session.contender(root).call
    if call() != TEXT:
        raise ValueError("the answer is a wrong one")
    with _after_each_call(way) as after:
        call()
        after()
        cpu_s = time.process_time()
        for _ in range(count):
            call()
            after()
        return (time.process_time() - cpu_s) / count * 1e6


_OWNERS = ("modelwire", "opentelemetry")


def functions(session: Session, *, root: str, way: str) -> dict[str, int]:
    """Return how many Python functions of each owner one call enters, the least of five."""
    import modelwire

    call = session.contender(root).call
    ours = str(Path(modelwire.__file__).parent)
    counts: list[dict[str, int]] = []

    def count(frame: FrameType, event: str, arg: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(ours):
            counts[-1]["modelwire"] += 1
        elif event == "call" and "opentelemetry" in Path(path).parts:
            counts[-1]["opentelemetry"] += 1

    with _after_each_call(way):
        call()
        for _ in range(5):
            counts.append(dict.fromkeys(_OWNERS, 0))
            sys.setprofile(count)
            try:
                call()
            finally:
                sys.setprofile(None)
    return min(counts, key=lambda one: sum(one.values()))


@contextmanager
def _after_each_call(way: str) -> Iterator[Callable[[], object]]:
    """Turn spans on if `way` says so. Yield what to do after each call."""
    try:
        from opentelemetry.metrics import NoOpMeterProvider
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.trace import NoOpTracerProvider
    except ImportError as missing:
        raise NotInstalled(str(missing)) from missing
    if way == "off":
        yield _nothing
        return
    if way == "bare":
        yield _bare_span(_tracer_provider())
        return
    from modelwire import otel

    tracers: Any = NoOpTracerProvider() if way == "api" else _tracer_provider()
    meters: Any = NoOpMeterProvider()
    if way == "metrics":
        meters = MeterProvider([InMemoryMetricReader()])
    otel.instrument(tracer_provider=tracers, meter_provider=meters)
    try:
        yield _nothing
    finally:
        otel.uninstrument()


def _nothing() -> None:
    pass


def _tracer_provider() -> Any:
    """Return a provider whose processor throws every span away."""
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(SpanProcessor())
    return provider


def _bare_span(provider: Any) -> Callable[[], None]:
    """Return what makes a span with the attributes of a call's, in the fewest calls of OpenTelemetry's."""
    from opentelemetry.trace import SpanKind

    tracer = provider.get_tracer("bare")
    first = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
    }
    rest = {
        "server.address": "127.0.0.1",
        "server.port": 8080,
        "openai.api.type": "chat_completions",
        "gen_ai.response.model": "m",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 8,
    }

    def make() -> None:
        span = tracer.start_span("chat m", None, SpanKind.CLIENT, first)
        span.set_attributes(rest)
        span.end()

    return make

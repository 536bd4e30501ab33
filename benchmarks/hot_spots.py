"""Where the time of one contender goes: `python -m benchmarks.hot_spots astream`, under cProfile, and calls counted.

A profiler slows small functions most: read the order, and take the sizes from the tables.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import pstats
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.servers import STREAM_CHUNKS, Servers, running_servers

_CALLS = 300
_WAYS = ("call", "acall", "stream", "astream", "chain", "events")


def main() -> None:
    """Print the functions that take most, a whole call or a chunk at a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_spots", description=__doc__)
    parser.add_argument("way", choices=_WAYS)
    parser.add_argument("--contender", choices=CONTENDERS, default="modelwire")
    parser.add_argument("--wire", choices=("openai", "anthropic"), default="openai")
    parser.add_argument("--lines", type=int, default=25)
    parser.add_argument("--keep", metavar="FILE", help="write the profile for snakeviz or pstats")
    options = parser.parse_args()
    with running_servers(None) as servers, asyncio.Runner() as runner:
        step, units = _step(options.way, options.contender, options.wire, servers, runner)
        step()
        cpu_s = time.process_time()
        step()
        cpu_s = time.process_time() - cpu_s
        ours, others = _python_calls(step)
        profile = cProfile.Profile()
        profile.runcall(step)
        # What the loop says of clients left open is no result.
        runner.get_loop().set_exception_handler(lambda *_: None)
    unit = "call" if "call" in options.way else "chunk"
    print(
        f"{options.contender} {options.way}, {options.wire} wire: {cpu_s / units * 1e6:.1f} us a {unit} unprofiled"
    )
    print(
        f"Python calls a {unit}: {ours / units:.1f} in modelwire, {others / units:.1f} elsewhere\n"
    )
    if options.keep:
        profile.dump_stats(options.keep)
    statistics = pstats.Stats(profile, stream=sys.stdout)
    statistics.sort_stats("tottime").print_stats(options.lines)
    statistics.print_stats("[/]modelwire[/](?!.*site-packages)", options.lines)


def _step(
    way: str, name: str, wire: str, servers: Servers, runner: asyncio.Runner
) -> tuple[Callable[[], Any], int]:
    """Give what to repeat and how many calls or chunks it makes."""
    contender: Contender = CONTENDERS[name](servers.plain if "call" in way else servers.sse, wire)
    texts: list[str] = []

    async def call_repeatedly() -> None:
        for _ in range(_CALLS):
            await contender.acall()

    if way == "call":
        return lambda: [contender.call() for _ in range(_CALLS)], _CALLS
    if way == "acall":
        return lambda: runner.run(call_repeatedly()), _CALLS
    if way == "stream":
        return lambda: contender.read_stream(texts.append), STREAM_CHUNKS
    read = getattr(contender, f"read_{way}")
    return lambda: runner.run(read(texts.append)), STREAM_CHUNKS


def _python_calls(step: Callable[[], Any]) -> tuple[int, int]:
    """Count frames entered (a resumed generator counts) in modelwire and elsewhere."""
    counts: dict[str, int] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            file = frame.f_code.co_filename
            counts[file] = counts.get(file, 0) + 1

    sys.setprofile(note)
    try:
        step()
    finally:
        sys.setprofile(None)
    ours = sum(count for file, count in counts.items() if "modelwire" in Path(file).parts)
    return ours, sum(counts.values()) - ours


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

"""Runs the benches one after the other and prints their tables and the design's budgets."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.lineup import Lineup
from benchmarks.servers import running_servers
from benchmarks.tables import Table

BENCHES = (
    "cold_start",
    "call_overhead",
    "chain_overhead",
    "concurrency",
    "embeddings",
    "fleet",
    "stream_decoding",
    "live_streams",
    "batch_memory",
    "jobs",
    "makespan",
    "otel",
    "plan",
    "pool",
    "rate_limit",
    "shared_budget",
    "short_failures",
)
_BUSY_LOAD = 0.7


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was asked for; the exit code tells of nothing but failure to run."""
    options = _options(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started ends with us
    started_s = time.perf_counter()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    client_core, server_core = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
    tables = []
    with running_servers(server_core) as servers, contextlib.ExitStack() as stack:
        lineup = Lineup(
            servers,
            core=client_core,
            peer_python=options.peer_python,
            only=options.only,
            quick=options.quick,
        )
        stack.callback(lineup.close)
        print(_header(lineup, len(cores)), flush=True)
        for bench in options.bench or BENCHES:
            bench_s = time.perf_counter()
            for table in importlib.import_module(f"benchmarks.{bench}").run(lineup):
                print(table.markdown() if options.markdown else table.text(), flush=True)
                tables.append(table)
            lineup.close()
            print(f"({bench} took {time.perf_counter() - bench_s:.0f} s)\n", flush=True)
    budgets = _budgets(tables)
    print(budgets.markdown() if options.markdown else budgets.text())
    print(f"\n{time.perf_counter() - started_s:.0f} s in all")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("bench", nargs="*", help=f"any of: {', '.join(BENCHES)}; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds and smaller loads: about a minute"
    )
    parser.add_argument("--markdown", action="store_true", help="print tables for a README")
    parser.add_argument(
        "--peer-python",
        metavar="PATH",
        help="interpreter that runs the SDK and langchain contenders",
    )
    parser.add_argument(
        "--only",
        metavar="NAME,NAME",
        default=",".join(CONTENDERS),
        help="contenders; all by default",
    )
    options = parser.parse_args(argv)
    options.only = options.only.split(",")
    for unknown in [*(set(options.bench) - set(BENCHES)), *(set(options.only) - set(CONTENDERS))]:
        parser.error(
            f"`{unknown}` is neither a bench ({', '.join(BENCHES)}) nor a contender ({', '.join(CONTENDERS)})"
        )
    return options


def _header(lineup: Lineup, cores: int) -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    load = os.getloadavg()[0]
    lines = [
        f"{today}, {_processor()}, {cores or os.cpu_count()} cores (load before: {load:.1f}), {platform.system()} "
        f"{platform.release()}, {platform.python_implementation()} {platform.python_version()}",
        f"{lineup.servers.note}; contenders on one core, servers on another"
        if lineup.core is not None
        else f"{lineup.servers.note}; one core for all, or no pinning here",
    ]
    if load > _BUSY_LOAD:
        lines.append(
            "The machine is not idle: trust CPU, not the clock; cold start and live streams go by the clock."
        )
    lines += [
        f"{name}: {(worker := lineup.worker(name)).versions or worker.absence}"
        for name in lineup.names
    ]
    return "\n".join([*lines, ""])


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _budgets(tables: Sequence[Table]) -> Table:
    rows = [budget.row() for table in tables for budget in table.budgets]
    return Table("Budgets", ["what", "budget", "measured", ""], rows)

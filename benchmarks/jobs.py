"""A file job against `abatch`, both on a `ProviderServer` in another process; memory, descriptors, start, rate limit.

`python -m benchmarks jobs` is a few minutes; `python -m benchmarks.jobs 1000000` asks a million rows, and
`python -m benchmarks.jobs scene` two prompts for each of 130,000 at 10,000 requests a minute: 26 minutes at best.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.lineup import Lineup
from benchmarks.servers import pinned, running_servers
from benchmarks.tables import Budget, Table, ratio
from benchmarks.worker import Session, environment

_PROMPT = "Summarise in one sentence: {review}"
_REVIEW = "Round and generous, with ripe plums and a little chocolate, glass number {n} of a long evening."
_IN_FLIGHT = 200
_SAMPLE_EVERY_S = 0.25
_RPM, _SCALE = 10_000, 2  # 130,000 rows with two prompts take 26 minutes at this limit
_FIRST_REQUEST = """
import sys
from modelwire.jobs import run_job
run_job(sys.argv[1], sys.argv[2], model="openai:gpt-4o-mini", output=sys.argv[3], quiet=True)
"""


def run(lineup: Lineup) -> list[Table]:
    """Measure all of it, coarser where the run is to be quick."""
    rows = 5_000 if lineup.quick else 20_000
    with TemporaryDirectory(prefix="bench-jobs-") as folder:
        return [
            throughput(lineup, Path(folder), rows, rounds=2 if lineup.quick else 3),
            first_request(Path(folder), [1, 50] if lineup.quick else [1, 100, 1_000]),
            at_a_limit(lineup, Path(folder), 1_500 if lineup.quick else 10_000),
        ]


# ---------------------------------------------------------------- rows a second, memory


def throughput(
    lineup: Lineup, folder: Path, rows: int, *, rounds: int = 1, most_batch: int = 20_000
) -> Table:
    """Run a job of `rows` rows and an `abatch` (of `most_batch` at most: it holds all its answers), in turn."""
    table = Table(
        f"A job of {rows:,} rows and `abatch`, {_IN_FLIGHT} in flight, a ProviderServer on another core",
        [
            "what",
            "rows/s",
            "CPU us a row",
            "MB at 10%",
            "MB at the end",
            "peak MB",
            "files at 10%",
            "files at most",
        ],
    )
    source = _table(folder, rows)
    best: dict[str, dict[str, float]] = {}
    with provider(lineup) as address:
        for turn in range(rounds):
            for what, task, count in (
                ("run_job", "jobs.file_job", rows),
                ("abatch", "jobs.plain_batch", min(rows, most_batch)),
            ):
                with lineup.fresh_worker("modelwire") as worker:
                    found = worker.measure(
                        task,
                        patience_s=60 + rows / 50,
                        address=address,
                        rows=count,
                        source=str(source),
                        output=str(folder / f"throughput-{turn}.jsonl"),
                    )
                if what not in best or found["rows_per_s"] > best[what]["rows_per_s"]:
                    best[what] = found
            (folder / f"throughput-{turn}.jsonl").unlink()
    for what, found in best.items():
        table.rows.append([what, *(f"{found[key]:,.0f}" for key in found)])
    share = ratio(best["run_job"]["rows_per_s"], best["abatch"]["rows_per_s"])
    table.budgets += [
        Budget(f"a job of {rows:,} rows against `abatch`, rows/s", 0.85, share, at_least=True),
        Budget(
            f"a job of {rows:,} rows: peak of resident memory",
            300,
            best["run_job"]["peak_mb"],
            unit=" MB",
        ),
        Budget(
            f"a job of {rows:,} rows: most descriptors",
            _IN_FLIGHT + 50,
            best["run_job"]["most_fds"],
            unit="",
        ),
    ]
    return table


def file_job(
    session: Session, *, address: str, rows: int, source: str, output: str
) -> dict[str, float]:
    """Run a job, in the worker's process."""
    from modelwire.jobs import run_job

    with _Watch() as watch:
        result = run_job(
            _PROMPT,
            source,
            model=_model(address),
            output=output,
            max_concurrency=_IN_FLIGHT,
            quiet=True,
        )
    if (result.rows, result.failed) != (rows, 0):
        raise ValueError(f"{result.rows} rows, {result.failed} failed")
    return watch.numbers(rows)


def plain_batch(
    session: Session, *, address: str, rows: int, source: str, output: str
) -> dict[str, float]:
    """Ask the same questions by `abatch`, and keep nothing."""
    from modelwire import ChatPromptTemplate

    chain = ChatPromptTemplate.from_template(_PROMPT) | _model(address)
    inputs = [{"review": _REVIEW.format(n=n)} for n in range(rows)]
    with _Watch() as watch:
        answers = session.runner.run(chain.abatch(inputs, {"max_concurrency": _IN_FLIGHT}))
    if "glass number" not in str(answers[-1].content):
        raise ValueError("a wrong answer")
    return watch.numbers(rows)


def _model(address: str) -> Any:
    from modelwire.adapters import ChatOpenAI

    return ChatOpenAI(model="gpt-4o-mini", base_url=address, api_key="test")


class _Watch:
    """Looks at this process while it works: resident memory and open descriptors (Linux; else zeros)."""

    def __enter__(self) -> _Watch:
        self._looks: list[tuple[int, int]] = []  # bytes, descriptors
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wall_s, self._cpu_s = (
            time.perf_counter() - self._wall_s,
            time.process_time() - self._cpu_s,
        )
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_SAMPLE_EVERY_S):
            with contextlib.suppress(OSError):
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                self._looks.append(
                    (pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd")))
                )

    def numbers(self, rows: int) -> dict[str, float]:
        looks = self._looks or [(0, 0)]
        early = looks[len(looks) // 10]
        return {
            "rows_per_s": rows / self._wall_s,
            "cpu_us": self._cpu_s / rows * 1e6,
            "early_mb": early[0] / 1e6,
            "end_mb": looks[-1][0] / 1e6,
            "peak_mb": max(look[0] for look in looks) / 1e6,
            "early_fds": early[1],
            "most_fds": max(look[1] for look in looks),
        }


# ---------------------------------------------------------------- the first request


def first_request(folder: Path, sizes_mb: list[int]) -> Table:
    """Time from the start of the interpreter to the first bytes of the first request, by the size of the file."""
    table = Table(
        "A job in a fresh interpreter: start to the first request", ["file", "ms, least of 3"]
    )
    for size_mb in sizes_mb:
        source = folder / f"{size_mb}mb.csv"
        block = "".join(f"{n},{_REVIEW.format(n=n)!r}\n" for n in range(10_000)).replace("'", '"')
        with source.open("w") as file:
            file.write("id,review\n")
            while file.tell() < size_mb * 1e6:
                file.write(block)
        least_ms = min(
            _first_request_ms(source, folder / f"{size_mb}-{turn}.jsonl") for turn in range(3)
        )
        source.unlink()
        table.rows.append([f"{size_mb:,} MB", f"{least_ms:.0f}"])
        table.budgets.append(
            Budget(f"start to the first request, {size_mb:,} MB", 1000, least_ms, unit=" ms")
        )
    return table


def _first_request_ms(source: Path, output: Path) -> float:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        began = time.perf_counter()
        job = subprocess.Popen(
            [sys.executable, "-c", _FIRST_REQUEST, _PROMPT, str(source), str(output)],
            env=environment() | {"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "test"},
        )
        try:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                return (time.perf_counter() - began) * 1e3
        finally:
            job.kill()
            job.wait()


# ---------------------------------------------------------------- at a limit


def at_a_limit(
    lineup: Lineup,
    folder: Path,
    rows: int,
    *,
    dialects: Iterable[str] = ("own", "retry-after"),
    scale: float = _SCALE,
    latency_s: float = 0.1,
    quiet: bool = True,
) -> Table:
    """Two prompts a row at a limit of so many requests a minute, which nobody has told the job."""
    per_s = _RPM * scale / 60
    table = Table(
        f"{rows:,} rows with two prompts each at {_RPM:,} requests a minute (the clock {scale:g} times as fast)",
        ["headers", "s", "ideal s", "ratio", "refused", "of all", "peak MB"],
    )
    source = _table(folder, rows)
    for headers in dialects:
        arguments = (
            "--rpm",
            str(_RPM * scale),
            "--window",
            "1",
            "--latency",
            str(latency_s),
            "--sigma",
            "0.4",
        )
        with (
            provider(lineup, *arguments, "--headers", headers) as address,
            lineup.fresh_worker("modelwire") as worker,
        ):
            took_s, refused, peak_mb = worker.measure(
                "jobs.two_prompts",
                patience_s=120 + 4 * rows / per_s,
                address=address,
                source=str(source),
                output=str(folder / f"limit-{headers}.jsonl"),
                quiet=quiet,
            )
        # A second's share is there at once; the last row has two latencies.
        ideal_s = (2 * rows - per_s) / per_s + 2 * latency_s
        share = refused / (2 * rows + refused)
        table.rows.append(
            [
                headers,
                f"{took_s:.1f}",
                f"{ideal_s:.1f}",
                f"{took_s / ideal_s:.3f}",
                f"{refused}",
                f"{share:.2%}",
                f"{peak_mb:.0f}",
            ]
        )
        table.budgets.append(
            Budget(f"at the limit, headers `{headers}`: time against ideal", 1.05, took_s / ideal_s)
        )
    return table


def two_prompts(
    session: Session, *, address: str, source: str, output: str, quiet: bool
) -> tuple[float, int, float]:
    """Run the job; return its seconds, the attempts beyond two a row, and the most MB resident."""
    from modelwire import ChatPromptTemplate, RunnablePassthrough, StrOutputParser
    from modelwire.jobs import run_job

    model = _model(address)
    summary = ChatPromptTemplate.from_template(_PROMPT) | model | StrOutputParser()
    features = (
        ChatPromptTemplate.from_template("Five features of: {summary}") | model | StrOutputParser()
    )
    chain = RunnablePassthrough.assign(summary=summary) | features
    began = time.perf_counter()
    with _Watch() as watch:
        result = run_job(chain, source, output=output, quiet=quiet)
    took_s = time.perf_counter() - began
    if result.failed:
        raise ValueError(f"{result.failed} rows failed")
    return took_s, sum(row["attempts"] - 2 for row in result), watch.numbers(result.rows)["peak_mb"]


# ---------------------------------------------------------------- what they stand on


def _table(folder: Path, rows: int) -> Path:
    path = folder / f"{rows}.csv"
    if not path.exists():
        with path.open("w") as file:
            file.write("id,review\n")
            file.writelines(f'{n},"{_REVIEW.format(n=n)}"\n' for n in range(rows))
    return path


@contextlib.contextmanager
def provider(lineup: Lineup, *arguments: str) -> Iterator[str]:
    """Run `modelwire serve` on the servers' core; give its `base_url` for OpenAI's wire."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with pinned(cores[-1] if lineup.core is not None else None):
        server = subprocess.Popen(
            [sys.executable, "-m", "modelwire.cli", "serve", *arguments],
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
    assert server.stdout is not None
    try:
        while (
            found := re.search(r"OPENAI_BASE_URL=(\S+)", line := server.stdout.readline())
        ) is None:
            if not line:
                raise RuntimeError("`modelwire serve` did not start")
        yield found[1]
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
        server.stdout.close()


def main(what: str, *numbers: str) -> None:
    """Ask so many rows once and print what it took; `scene ROWS HEADERS SCALE`: two prompts each, at a limit."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with running_servers(cores[-1] if len(cores) > 1 else None) as servers:
        core = cores[0] if len(cores) > 1 else None
        lineup = Lineup(servers, core=core, peer_python=None, only=["modelwire"], quick=False)
        with TemporaryDirectory(prefix="bench-jobs-") as folder:
            if what == "scene":
                rows, headers, scale = (*numbers, *("130000", "none", "1")[len(numbers) :])
                table = at_a_limit(
                    lineup,
                    Path(folder),
                    int(rows),
                    dialects=[headers],
                    scale=float(scale),
                    latency_s=0.5 / float(scale),
                    quiet=False,
                )
            else:
                table = throughput(lineup, Path(folder), int(what))
    print(table.text())
    print(
        Table(
            "Budgets",
            ["what", "budget", "measured", ""],
            [budget.row() for budget in table.budgets],
        ).text()
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

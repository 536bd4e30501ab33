"""A job on a local Ray of two workers: the same rows, the same survival, one limit for all; and what it stands on."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from modelwire.errors import InvalidArgument, MissingDependency
from modelwire.jobs import run_job
from modelwire.jobs.ray_engine import LOST_AFTER_S, Shares
from modelwire.runnables import RunnableLambda
from modelwire.testing import ProviderServer
from modelwire.transport.ratelimit import registry

PROGRAM = Path(__file__).parents[1] / "support" / "ray_program.py"
PATIENCE_S = 240.0
IN_FLIGHT = 2 * 200  # of two workers

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: modelwire[ray]"
)


def test_without_ray_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray.data", None)  # where Ray is installed too
    with pytest.raises(MissingDependency, match=r"modelwire\[ray\]"):
        run_job(RunnableLambda(str), ["a"], output=tmp_path / "out.jsonl", engine="ray")
    assert not (tmp_path / "out.jsonl").exists()
    run_job(
        RunnableLambda(str), ["a"], output=tmp_path / "out.jsonl", quiet=True
    )  # and the folder is free again


def test_an_engine_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="`ray`"):
        run_job(RunnableLambda(str), ["a"], output=tmp_path / "out.jsonl", engine="rey")  # type: ignore[typeddict-item]


def test_workers_are_counted_as_they_come_and_go() -> None:
    shares = Shares()
    assert shares.beat("a", 0.0) == (1, False)
    assert shares.beat("b", 0.5) == (2, False)
    assert shares.beat("a", 1.0) == (2, False)
    assert shares.beat("a", 0.5 + LOST_AFTER_S)[0] == 1  # `b` has not been heard of
    shares.end()
    assert shares.beat("b", 5.0) == (2, True)
    shares.leave_all()
    assert shares.beat("a", 5.0)[0] == 1


def test_a_worker_holds_its_part_of_a_stated_limit_and_more_when_others_leave() -> None:
    def limiter(now: float) -> Any:
        return registry.limiter_of(
            "http://x/v1",
            {},
            "m",
            now=now,
            rng=None,
            requests_per_minute=6000,
            tokens_per_minute=900,  # type: ignore[arg-type]
        )

    registry.divide_limits(3, 0.0)
    assert limiter(0.0).limits(0.0)[:2] == pytest.approx((2000, 300))
    registry.divide_limits(1, 1.0)
    assert limiter(1.0).limits(1.0)[:2] == pytest.approx((6000, 900))
    registry.divide_limits(2, 2.0)
    assert limiter(2.0).limits(2.0)[:2] == pytest.approx((3000, 450))


# ---------------------------------------------------------------- a real one


def start(server: ProviderServer, *arguments: str | Path) -> subprocess.Popen[str]:
    environment = os.environ | {
        "OPENAI_BASE_URL": server.base_url_for("openai"),
        "OPENAI_API_KEY": "test",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join([str(PROGRAM.parents[2]), str(PROGRAM.parent)]),
    }
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def finish(program: subprocess.Popen[str]) -> str:
    said, errors = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 0, errors[-3000:]
    return said.splitlines()[-1]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.long
@needs_ray
def test_two_workers_of_ray_write_what_the_job_would_write_here(tmp_path: Path) -> None:
    texts = [f"t{n % 890}" for n in range(900)]
    (tmp_path / "in.csv").write_text(
        "text,kind\n" + "".join(f"{text},red\n" for text in texts) + "broken\n"
    )
    with ProviderServer(latency=1.0) as server:
        assert finish(start(server, tmp_path / "in.csv", tmp_path / "out.jsonl")) == "901 1 10"
        assert server.counts.chat_calls == 890
        assert finish(start(server, tmp_path / "in.csv", tmp_path / "out.jsonl")) == "901 1 10"
        assert server.counts.chat_calls == 890  # all of it was in the store
    rows = rows_of(tmp_path / "out.jsonl")
    assert [row["said"] for row in rows] == [*texts, None]
    assert len({row["process"] for row in rows} - {None}) == 2
    assert "1 cells" in rows[-1]["error"]
    assert {row["attempts"] for row in rows[:890]} == {1}
    assert all(row["output_tokens"] for row in rows[:890])


@pytest.mark.long
@needs_ray
def test_killed_it_goes_on_and_asks_again_what_was_in_flight(tmp_path: Path) -> None:
    count = 1500
    (tmp_path / "in.csv").write_text("id,text\n" + "".join(f"{n},t{n}\n" for n in range(count)))
    store = tmp_path / "out.jsonl.job" / "job.sqlite-wal"
    with ProviderServer(latency=0.3) as server:
        program = start(server, tmp_path / "in.csv", tmp_path / "out.jsonl")
        ends = time.monotonic() + PATIENCE_S
        while not (store.exists() and store.stat().st_size > 20_000) and program.poll() is None:
            assert time.monotonic() < ends
            time.sleep(0.01)
        assert program.poll() is None
        program.kill()
        program.communicate(timeout=PATIENCE_S)
        finish(start(server, tmp_path / "in.csv", tmp_path / "out.jsonl"))
        asked = Counter(request.text for request in server.requests if request.wire is not None)
    assert [row["said"] for row in rows_of(tmp_path / "out.jsonl")] == [
        f"t{n}" for n in range(count)
    ]
    assert set(asked) == {f"t{n}" for n in range(count)}
    assert asked.total() - count <= 2 * IN_FLIGHT  # in flight, and answered on the way to the store


@pytest.mark.long
@needs_ray
def test_interrupted_the_workers_end_what_they_have_begun_and_begin_nothing(tmp_path: Path) -> None:
    count = 2000
    (tmp_path / "in.csv").write_text("id,text\n" + "".join(f"{n},t{n}\n" for n in range(count)))
    with ProviderServer(latency=2.0) as server:
        program = start(server, tmp_path / "in.csv", tmp_path / "out.jsonl")
        ends = time.monotonic() + PATIENCE_S
        while server.counts.requests < 100 and program.poll() is None:
            assert time.monotonic() < ends
            time.sleep(0.01)
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=PATIENCE_S)
        assert program.returncode != 0
        assert not (tmp_path / "out.jsonl").exists()
        assert server.counts.chat_calls < count
        server.latency = 0.0
        finish(start(server, tmp_path / "in.csv", tmp_path / "out.jsonl"))
        assert server.counts.chat_calls == count  # none was paid twice
    assert [row["said"] for row in rows_of(tmp_path / "out.jsonl")] == [
        f"t{n}" for n in range(count)
    ]


@pytest.mark.long
@needs_ray
def test_two_workers_hold_one_limit_together_and_so_does_who_comes_for_one_that_was_killed(
    tmp_path: Path,
) -> None:
    count, rpm, last = 900, 2400, 400
    (tmp_path / "in.csv").write_text("id,text\n" + "".join(f"{n},t{n}\n" for n in range(count)))
    store = tmp_path / "out.jsonl.job" / "job.sqlite-wal"
    with ProviderServer() as server:  # without a limit of its own, which the workers would learn
        program = start(server, tmp_path / "in.csv", tmp_path / "out.jsonl", str(rpm))
        ends = time.monotonic() + PATIENCE_S
        while not (
            store.exists() and (found := re.search(rb'"process":(\d+)', store.read_bytes()))
        ):
            assert time.monotonic() < ends
            assert program.poll() is None
            time.sleep(0.01)
        os.kill(killed := int(found[1]), signal.SIGKILL)
        assert finish(program) == f"{count} 0 0"
        sent_s = [request.at_s for request in server.requests if request.wire is not None][-last:]
    assert (
        sent_s[-1] - sent_s[0]
    ) * rpm / 60 > last / 1.3  # each with the whole limit would take half the time
    rows = rows_of(tmp_path / "out.jsonl")
    assert [row["said"] for row in rows] == [f"t{n}" for n in range(count)]
    assert len({row["process"] for row in rows} - {killed}) == 2

"""Rows with a common beginning wait until one of them has written the provider's prompt cache."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modelwire import cli
from modelwire.jobs import plan_job, run_job
from modelwire.jobs.cache_warmup import CacheWarmup
from modelwire.jobs.work import make_work
from modelwire.messages import SystemMessage
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda
from modelwire.testing import ProviderServer, faults

SONNET = "claude-sonnet-4-5"
RULES = "Answer in one sentence, and name the page of the manual. " * 150


def chain(server: ProviderServer, *, system: str = RULES, **settings: Any) -> Any:
    prompt = ChatPromptTemplate.from_messages([("system", system), ("human", "{q}")])
    return prompt | server.model("anthropic", model=SONNET, **settings)


def rows(count: int = 8, **more: Any) -> list[dict[str, Any]]:
    return [{"q": f"question {n}", **more} for n in range(count)]


def run(work: Any, table: list[dict[str, Any]], folder: Path) -> Any:
    return run_job(work, table, job_dir=folder / "job", max_concurrency=8, quiet=True)


def writers(server: ProviderServer) -> int:
    """Return how many requests have written a long prefix."""
    cached = [seen.prompt_cache for seen in server.requests if seen.prompt_cache]
    return sum(one.all_written > 1_000 for one in cached)


def test_one_row_writes_the_cache_and_the_others_read_it(tmp_path: Path) -> None:
    with ProviderServer(latency=0.05) as server:
        job = run(chain(server, prompt_cache=True), rows(), tmp_path)
        assert writers(server) == 1
    assert job.failed == 0
    assert job.cache_read > 6 * job.cache_written


def test_without_prompt_cache_all_rows_start_together(tmp_path: Path) -> None:
    block = {"type": "text", "text": RULES, "cache_control": {"type": "ephemeral"}}
    with ProviderServer(latency=0.2) as server:
        _, model = chain(server, rate_limit=None).steps
        prompt = ChatPromptTemplate.from_messages([SystemMessage([block]), ("human", "{q}")])
        run(prompt | model, rows(), tmp_path)
        assert writers(server) > 1


def test_it_may_be_bound(tmp_path: Path) -> None:
    with ProviderServer(latency=0.05) as server:
        first, model = chain(server).steps
        run(first | model.bind(prompt_cache=True), rows(), tmp_path)
        assert writers(server) == 1


def test_each_beginning_has_a_row_that_goes_first(tmp_path: Path) -> None:
    table = [{"q": f"question {n}", "topic": ("tea", "coffee")[n % 2]} for n in range(8)]
    with ProviderServer(latency=0.05) as server:
        run(chain(server, system=f"About {{topic}}. {RULES}", prompt_cache=True), table, tmp_path)
        assert writers(server) == 2


def test_a_row_that_fails_leaves_the_place_to_the_next(tmp_path: Path) -> None:
    with ProviderServer([faults.status(400)], latency=0.05) as server:
        job = run(chain(server, prompt_cache=True), rows(), tmp_path)
        assert writers(server) <= 2
    assert (job.rows, job.failed) == (8, 1)


async def at_once(work: Any, table: list[dict[str, Any]]) -> int:
    """Return how many rows are called before the first one has an answer."""
    warmup, gate, begun = CacheWarmup(make_work(work)), asyncio.Event(), 0

    async def ask() -> Any:
        nonlocal begun
        begun += 1
        await gate.wait()
        return {"answer": "ok"}, ""

    calls = [asyncio.create_task(warmup.call(row, ask)) for row in table]
    for _ in range(10):
        await asyncio.sleep(0)
    before = begun
    gate.set()
    await asyncio.gather(*calls)
    assert begun == len(table)
    return before


@pytest.mark.parametrize(
    ("system", "settings", "expected"),
    [
        (RULES, {"prompt_cache": True}, 1),
        (RULES, {"prompt_cache": "1h"}, 1),
        (RULES, {}, 8),
        ("Be brief.", {"prompt_cache": True}, 8),  # nobody would cache that
        ("Row {q}. " + RULES, {"prompt_cache": True}, 8),  # nothing is common
    ],
)
def test_rows_wait_for_one_only_where_they_have_a_beginning_to_share(
    system: str, settings: dict[str, Any], expected: int
) -> None:
    with ProviderServer() as server:
        assert asyncio.run(at_once(chain(server, system=system, **settings), rows())) == expected


def test_rows_of_a_chain_without_a_prompt_are_taken_to_begin_alike() -> None:
    with ProviderServer() as server:
        model = server.model("anthropic", model=SONNET, prompt_cache=True)
        assert asyncio.run(at_once(RunnableLambda(str) | model, rows())) == 1


def test_a_plan_says_what_the_cache_saves() -> None:
    pytest.importorskip("genai_prices", reason="`modelwire[profiles]` is not installed")
    with ProviderServer() as server:
        plan = plan_job(chain(server, prompt_cache=True, rpm=600), rows(100), finish_by="5m")
        without = plan_job(chain(server, rpm=600), rows(100), finish_by="5m")
    assert "read from the prompt cache, which saves about $0." in str(plan)
    assert "prompt cache" not in str(without)


def test_a_dry_run_says_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("genai_prices", reason="`modelwire[profiles]` is not installed")
    table = tmp_path / "rows.csv"
    table.write_text("q\n" + "\n".join(f"question {n}" for n in range(20)), encoding="utf-8")
    words = f"batch {table} --prompt {{q}} -m anthropic:{SONNET} -p prompt_cache=true --dry-run"
    code = cli.main([*words.split(), "-o", str(tmp_path / "out.csv"), "-s", RULES])
    assert code == 0
    assert "which saves about $" in capsys.readouterr().out

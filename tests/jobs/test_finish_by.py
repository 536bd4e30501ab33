"""A job with an hour: its rows go two ways, come back into one table, and the provider is paid for each once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from support import hybrid_program
from support.raw_batches import EARLY_ROWS, TRAVEL_LOOKS, RawBatches

from modelwire import ChatOpenAI, cli
from modelwire.errors import InvalidArgument
from modelwire.jobs import flex, plan, plan_job, row_records, run_job
from modelwire.jobs.finish_by import hour_of, shortage_text
from modelwire.jobs.plan import Pace
from modelwire.jobs.row_records import Results, stored_records
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import route
from modelwire.testing import BatchPlan, ProviderServer, faults
from modelwire.usage.prices import price_of_usage

pytest.importorskip("genai_prices")
pytest.importorskip("openai")
NOW = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
ROWS = [{"t": f"w{n}"} for n in range(120)]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that take seconds, and looks that do not wait."""
    hybrid_program.hurry(monkeypatch.setattr)


@pytest.fixture
def serve() -> Iterator[Callable[..., ProviderServer]]:
    servers: list[ProviderServer] = []

    def start(**options: Any) -> ProviderServer:
        servers.append(ProviderServer(**options).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def asked_live(server: ProviderServer) -> list[str]:
    return [
        request.body["messages"][-1]["content"]
        for request in server.requests
        if "/chat/" in request.path
    ]


def in_batches(server: ProviderServer) -> list[str]:
    return [
        body["messages"][-1]["content"]
        for batch in server.batches.made
        for _, _, body in batch.rows
    ]


# ---------------------------------------------------------------- the hour


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2h", "2026-11-22T23:00+00:00"),
        ("90m", "2026-11-22T22:30+00:00"),
        ("1h30m", "2026-11-22T22:30+00:00"),
        ("07:00 Europe/Vienna", "2026-11-23T06:00+00:00"),
        ("23:30 Europe/Vienna", "2026-11-22T22:30+00:00"),
        ("21:00 UTC", "2026-11-23T21:00+00:00"),  # the next one
        ("2026-12-24T07:00 Europe/Vienna", "2026-12-24T06:00+00:00"),
        ("2026-12-24 07:00 Europe/Vienna", "2026-12-24T06:00+00:00"),
        ("2026-12-24T07:00:00+02:00", "2026-12-24T05:00+00:00"),
        (timedelta(minutes=5), "2026-11-22T21:05+00:00"),
        (datetime(2026, 11, 23, 7, tzinfo=ZoneInfo("Asia/Tokyo")), "2026-11-22T22:00+00:00"),
    ],
)
def test_an_hour_may_be_written_in_many_ways(text: Any, hour: str) -> None:
    assert hour_of(text, NOW) == datetime.fromisoformat(hour)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-11-22T20:00:00+00:00", "is past: it is .* now. Write a later time"),
        (NOW - timedelta(hours=1), "is past"),
        ("0m", "is past"),
        (
            datetime(2026, 12, 1, 7),
            r"has no zone. Write `finish_by=datetime\(\.\.\., tzinfo=ZoneInfo",
        ),
        ("07:00 Europe/Wien", "`Europe/Wien` is not a time zone: write an IANA name"),
        ("tomorrow", "is not a time: write `finish_by="),
        ("25:00", "is not a time"),
        ("", "is not a time"),
        (7, "`finish_by` is a time, not 7"),
        ("99999999999h", "is outside the calendar, which has the years 1 to 9999"),
        ("9" * 400 + "h", r"finish_by='9{40}\.\.\.'` is outside the calendar"),
        (timedelta.max, "is outside the calendar"),
        (datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo")), "is outside the calendar"),
        ("9999-12-31T23:59:59-12:00", "is outside the calendar"),
        ("9999-12-31T00:00:00", "is (more than 100 years away|outside the calendar)"),
        ("9000000h", "is more than 100 years away"),
    ],
)
def test_an_hour_that_is_none_is_refused_with_the_line_to_write(text: Any, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        hour_of(text, NOW)


# ---------------------------------------------------------------- both ways


def test_the_answers_of_a_batch_are_stored_in_groups_that_fit_into_memory(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer repeats its question of 2,000 characters, and a group ends at 10,000 bytes."""
    written: list[list[int]] = []
    write = Results.write

    def counting(results: Results, entries: Any) -> None:
        written.append([len(entry.record) for entry in entries])
        write(results, entries)

    monkeypatch.setattr(Results, "write", counting)
    monkeypatch.setattr(row_records, "GROUP_BYTES", 10_000)
    server = serve(batches=BatchPlan(polls=1))
    rows = [{"t": f"{n} {'x' * 2_000}"} for n in range(60)]
    result = run_job(
        "say {t}", rows, model=server.model(), output=tmp_path / "o.jsonl", finish_by="1h"
    )
    assert result.complete and len(in_batches(server)) >= 30
    assert sum(len(group) for group in written) == len(rows)
    assert all(sum(group[:-1]) < 10_000 for group in written[-5:])


def test_rows_go_live_first_and_then_in_batches_into_one_table(
    serve: Any, tmp_path: Path, capsys: Any
) -> None:
    server = serve(batches=BatchPlan(polls=2))
    rows = [*ROWS, {"t": "w3"}, {"t": "w110"}]  # equal to one asked live, and to one in a batch
    model = server.model(model="gpt-4o-mini", max_tokens=20)
    result = run_job(
        "say {t}", rows, model=model, output=tmp_path / "o.jsonl", finish_by="1h", max_cost=1
    )
    assert result.complete and (result.rows, result.failed, result.same) == (122, 0, 2)
    assert [row["answer"] for row in result] == [f"say {row['t']}" for row in rows]
    assert Counter(asked_live(server) + in_batches(server)) == Counter(
        f"say {row['t']}" for row in ROWS
    )
    assert len(asked_live(server)) == plan.PILOT
    live, handed_in = (Decimal(str(list(result)[n]["cost"])) for n in (0, 119))
    assert handed_in < live * Decimal("0.6")
    shown = capsys.readouterr().err
    assert "Deadline" in shown and "batch" in shown
    again = run_job("say {t}", rows, model=model, output=tmp_path / "o.jsonl", quiet=True)
    assert again.asked == 0
    assert cli.main(["jobs", "show", str(result.job_dir)]) == 0
    assert capsys.readouterr().out.count("batch_") == len(server.batches.made)


@pytest.mark.long
def test_batches_that_are_not_back_are_ended_and_their_rows_asked_live(
    serve: Any, tmp_path: Path
) -> None:
    server = serve(batches=BatchPlan(polls=100))
    model = server.model(model="gpt-4o-mini", max_tokens=20, rpm=60_000)
    result = run_job(
        "say {t}", ROWS, model=model, output=tmp_path / "o.jsonl", finish_by="3s", quiet=True
    )
    assert result.complete and result.failed == 0
    assert [row["answer"] for row in result] == [f"say {row['t']}" for row in ROWS]
    assert len(in_batches(server)) == 100
    stored = [record for record in stored_records(result.job_dir) if record.get("way") == "batch"]
    live = Counter(asked_live(server))
    assert set(live.values()) == {1} and len(live) + len(stored) == len(
        ROWS
    )  # what a batch has answered stays
    assert not live.keys() & {record["answer"] for record in stored}


def test_a_row_that_gets_done_while_its_batch_is_being_ended_is_paid_once(tmp_path: Path) -> None:
    with RawBatches() as server:
        model = ChatOpenAI(
            model="gpt-4o-mini", base_url=server.url, api_key="k", max_tokens=20, rpm=60_000
        )
        result = run_job(
            "say {t}", ROWS, model=model, output=tmp_path / "o.jsonl", finish_by="3s", quiet=True
        )
        server.shutdown()
    assert result.complete and [row["answer"] for row in result] == [
        f"say {row['t']}" for row in ROWS
    ]
    assert server.billed == Counter(f"say {row['t']}" for row in ROWS)
    done = [len(batch["done"]) for batch in server.batches.values()]
    assert len(done) == 2 and all(
        2 * TRAVEL_LOOKS < count <= EARLY_ROWS + 2 * TRAVEL_LOOKS for count in done
    )


def test_a_batch_that_expires_and_rows_that_fail_there(serve: Any, tmp_path: Path) -> None:
    server = serve(batches=BatchPlan(polls=1, rows={0: "expired", 1: "missing"}))
    model = server.model(model="gpt-4o-mini")
    result = run_job(
        "say {t}", ROWS, model=model, output=tmp_path / "o.jsonl", finish_by="1h", quiet=True
    )
    assert (result.rows, result.failed) == (120, 0)
    batches = len(server.batches.made)
    assert len(asked_live(server)) == plan.PILOT + 2 * batches


def test_the_rows_of_a_batch_that_is_refused_as_a_whole_go_live(serve: Any, tmp_path: Path) -> None:
    server = serve(
        batches=BatchPlan(
            polls=1, outcome="failed", errors=[{"code": "no", "message": "No batches today."}]
        )
    )
    model = server.model(model="gpt-4o-mini")
    result = run_job(
        "say {t}", ROWS, model=model, output=tmp_path / "o.jsonl", finish_by="1h", quiet=True
    )
    assert (result.rows, result.failed) == (120, 0)
    assert len(server.batches.made) == 2 and sorted(asked_live(server)) == sorted(
        f"say {row['t']}" for row in ROWS
    )


def test_rows_at_the_provider_are_held_by_max_cost(serve: Any, tmp_path: Path) -> None:
    server = serve(batches=BatchPlan(polls=2))
    model = server.model(model="gpt-4o-mini", max_tokens=1000)
    options: Any = {"model": model, "output": tmp_path / "o.jsonl", "quiet": True}
    result = run_job(
        "say {t}", ROWS, **options, finish_by="1h", max_cost="0.02"
    )  # for sixty of them at a time
    assert result.complete and result.cost <= Decimal("0.02")
    assert 0 < len(server.batches.made[0].rows) + len(server.batches.made[1].rows) < 100


def test_nothing_is_handed_in_before_a_row_was_answered(serve: Any, tmp_path: Path) -> None:
    server = serve(default=lambda request: faults.status(400))
    model = server.model(model="gpt-4o-mini", max_retries=0)
    result = run_job(
        "say {t}", ROWS, model=model, output=tmp_path / "o.jsonl", finish_by="1h", quiet=True
    )
    assert result.failed == 120 and not server.batches.made


@pytest.mark.long
def test_without_an_hour_the_batches_of_an_earlier_run_are_awaited(
    serve: Any, tmp_path: Path
) -> None:
    server = serve(batches=BatchPlan(polls=3))
    program(server, tmp_path, "before", "back")
    made = len(server.batches.made)
    assert made and program(server, tmp_path, hour="").returncode == 0
    assert len(server.batches.made) == made
    assert Counter(asked_live(server) + in_batches(server)) == Counter(
        f"say w{n}" for n in range(120)
    )


# ---------------------------------------------------------------- the flex tier


def test_rows_go_by_the_flex_tier_and_are_billed_by_it(serve: Any, tmp_path: Path) -> None:
    server = serve()
    model = server.model(model="gpt-5-mini", max_tokens=20)
    options: Any = {
        "model": model,
        "output": tmp_path / "o.jsonl",
        "finish_by": "1h",
        "quiet": True,
    }
    assert [line.way for line in plan_job("say {t}", ROWS, **options).plan.lines] == ["flex"]
    result = run_job("say {t}", ROWS, **options, max_cost=1)
    assert result.complete and Counter(asked_live(server)) == Counter(
        f"say {row['t']}" for row in ROWS
    )
    tiers = [
        request.body.get("service_tier") for request in server.requests if "/chat/" in request.path
    ]
    assert tiers == [None] * plan.PILOT + ["flex"] * 100
    records = list(stored_records(result.job_dir))
    assert Counter(record.get("way") for record in records) == {None: plan.PILOT, "flex": 100}
    for record in records:
        usage = {name: record[name] for name in ("input_tokens", "output_tokens")}
        full = price_of_usage(usage, "gpt-5-mini", provider="openai")
        assert full and Decimal(record["cost"]) == (
            full / 2 if record.get("way") == "flex" else full
        )


@pytest.mark.parametrize(
    "kept",
    [{"service_tier": "priority"}, {"service_tier": "default"}, {"extra_body": {"user": "a"}}],
)
def test_a_tier_that_was_chosen_is_kept(serve: Any, tmp_path: Path, kept: dict[str, Any]) -> None:
    server = serve(batches=BatchPlan(polls=1))
    model = server.model(model="gpt-5-mini", max_tokens=20, **kept)
    run_job("say {t}", ROWS, model=model, output=tmp_path / "o.jsonl", finish_by="1h", quiet=True)
    assert {
        request.body.get("service_tier") for request in server.requests if "/chat/" in request.path
    } == {kept.get("service_tier")}
    assert len(in_batches(server)) == 100


class FullFlex(BaseHTTPRequestHandler):
    """A provider that has room on its flex tier for every second call, and refuses the others or says nothing."""

    log: ClassVar[list[tuple[str, str | None]]] = []
    over: ClassVar[threading.Event | None] = None  # until then it says nothing

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text, tier = body["messages"][-1]["content"], body.get("service_tier")
        self.log.append((text, tier))
        full = tier == "flex" and int(text.removeprefix("say w")) % 2
        if full and self.over is not None:
            self.over.wait(60)
            return
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        answer = {
            "id": "c",
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
            "service_tier": tier,
        }
        refusal = {
            "error": {
                "message": "Resource unavailable",
                "type": "resource_unavailable",
                "code": None,
            }
        }
        content = json.dumps(refusal if full else answer).encode()
        self.send_response(429 if full else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None: ...


@pytest.mark.parametrize("silent", [False, pytest.param(True, marks=pytest.mark.long)])
def test_what_flex_has_no_room_for_is_asked_on_the_default_tier_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    FullFlex.log.clear()
    if silent:
        monkeypatch.setattr(FullFlex, "over", threading.Event())
        monkeypatch.setattr(flex, "LONGEST_S", 2.0)
        monkeypatch.setattr(flex, "SHORTEST_S", 1.0)
    monkeypatch.setattr(
        ThreadingHTTPServer, "request_queue_size", 128
    )  # all rows of a pass connect at once
    server = ThreadingHTTPServer(("127.0.0.1", 0), FullFlex)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    model = ChatOpenAI(
        model="gpt-5-mini", base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="k"
    )
    result = run_job(
        "say {t}", ROWS[:40], model=model, output=tmp_path / "o.jsonl", finish_by="1h", quiet=True
    )
    if FullFlex.over is not None:
        FullFlex.over.set()
    server.shutdown()
    server.server_close()
    assert (
        result.complete
        and result.failed == 0
        and [row["answer"] for row in result] == [f"say w{n}" for n in range(40)]
    )
    tried = Counter(FullFlex.log)
    assert tried == Counter(
        [(f"say w{n}", None) for n in (*range(20), *range(21, 40, 2))]
        + [(f"say w{n}", "flex") for n in range(20, 40)]
    )
    ways = {record["n"]: record.get("way") for record in stored_records(result.job_dir)}
    assert {number for number, way in ways.items() if way == "flex"} == set(range(20, 40, 2))


# ---------------------------------------------------------------- killed


def program(
    server: ProviderServer, folder: Path, *death: str, hour: str = "1h"
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        hybrid_program.__file__,
        server.base_url,
        str(folder / "o.jsonl"),
        hour,
        *death,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


DEATHS = [
    ("before", "handed in"),
    ("after", "handed in"),
    ("before", "created"),
    ("after", "created"),
    ("before", "downloaded"),
    ("before", "back"),
]


@pytest.mark.long
@pytest.mark.parametrize(
    "death",
    [
        pytest.param(each, marks=() if each == ("after", "created") else pytest.mark.long)
        for each in DEATHS
    ],
)
def test_a_killed_job_goes_on_and_pays_for_each_row_once(
    serve: Any, tmp_path: Path, death: tuple[str, str]
) -> None:
    server = serve(batches=BatchPlan(polls=2))
    killed = program(server, tmp_path, *death)
    assert killed.returncode == -9, killed.stderr
    left = plan_job(
        "say {t}",
        ROWS,
        model=server.model(model="gpt-4o-mini", max_tokens=20),
        output=tmp_path / "o.jsonl",
        finish_by="1h",
    ).plan.rows
    assert left == 120 - len(asked_live(server)), (
        "each row without an answer is counted once, in a batch or not"
    )
    finished = program(server, tmp_path)
    assert finished.returncode == 0, finished.stderr
    answers = [
        json.loads(line)["answer"] for line in (tmp_path / "o.jsonl").read_text().splitlines()
    ]
    assert answers == [f"say w{n}" for n in range(120)]
    assert Counter(asked_live(server) + in_batches(server)) == Counter(answers)


@pytest.mark.long
def test_a_job_that_goes_on_asks_no_more_rows_first_than_are_missing(
    serve: Any, tmp_path: Path
) -> None:
    server = serve(batches=BatchPlan(polls=2))
    program(server, tmp_path, "before", "handed in")
    assert len(asked_live(server)) == plan.PILOT
    assert program(server, tmp_path).returncode == 0
    assert len(asked_live(server)) == plan.PILOT and len(in_batches(server)) == 100


# ---------------------------------------------------------------- before the first request


def test_a_plan_asks_nothing_and_leaves_nothing(serve: Any, tmp_path: Path) -> None:
    server = serve()
    table = plan_job(
        "say {t}",
        ROWS,
        model=server.model(model="gpt-4o-mini"),
        output=tmp_path / "o.jsonl",
        finish_by="10h",
        max_cost=5,
    )
    assert table.plan.rows == 120 and table.end <= table.hour
    lines = str(table).splitlines()
    assert lines[0].split() == ["way", "rows", "cost", "end"] and lines[-3].startswith("all ")
    assert not server.requests and not list(tmp_path.iterdir())


def test_the_command_prints_the_plan(
    serve: Any, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    server = serve()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    Path("in.csv").write_text("t\n" + "\n".join(f"w{n}" for n in range(200)))
    command = [
        "batch",
        "in.csv",
        "--prompt",
        "say {t}",
        "--model",
        "openai:gpt-4o-mini",
        "-o",
        "out.csv",
        "--plan",
    ]
    assert cli.main([*command, "--finish-by", "2h", "--max-cost", "400"]) == 0
    assert capsys.readouterr().out.startswith("way ") and not server.requests
    assert cli.main(command) == 2
    assert capsys.readouterr().err == "modelwire: A plan needs an hour: `--finish-by 07:00`.\n"


@pytest.mark.parametrize(
    ("options", "model", "says"),
    [
        (
            {"finish_by": "2m"},
            {"rpm": 30},
            r"120 rows cannot be done by .*: live calls get 30 rows a minute. The earliest",
        ),
        (
            {"finish_by": "10m", "max_cost": "0.0011"},
            {},
            r"for the \$0.0011 that are left.* takes about \$0.00.*The earliest",
        ),
        ({"finish_by": "10m", "max_cost": "0.0001"}, {}, r"The least there is takes about"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_request_with_what_could(
    serve: Any, tmp_path: Path, options: Any, model: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "OFTEN", ((0.0, 60.0), (0.5, 3600.0), (1.0, 86_400.0)))
    server = serve()
    with pytest.raises(InvalidArgument, match=says):
        run_job(
            "say {t}",
            ROWS,
            model=server.model(model="gpt-4o-mini", max_tokens=20, **model),
            quiet=True,
            output=tmp_path / "o.jsonl",
            **options,
        )
    assert not server.requests and not list(tmp_path.iterdir())


@pytest.mark.parametrize("seconds", [0.0, 29.0, 61.0, 3_000.5])
def test_the_earliest_hour_can_be_typed_as_it_is_told(seconds: float) -> None:
    short = plan.Shortage(True, seconds, None, None)
    text = shortage_text(short, plan.State(left_s=1.0, rows=10, rate=1.0), NOW)
    told = text.partition("The earliest is ")[2].partition(",")[0]
    assert 45 <= (hour_of(told) - datetime.now(UTC)).total_seconds() - seconds <= 180


def test_a_plan_tells_what_an_answer_is_taken_for_and_what_is_set_aside(
    serve: Any, tmp_path: Path
) -> None:
    server = serve()
    options: Any = {"output": tmp_path / "o.jsonl", "finish_by": "1h", "quiet": True}
    model = server.model(model="gpt-4o-mini", max_tokens=1000)
    notes = str(plan_job("say {t}", ROWS, model=model, max_cost="0.02", **options))
    assert "An answer is taken to have 200 tokens." in notes
    assert (
        "`max_cost` sets 1,000 aside for each until it is there: for 62 rows at a time in batches."
        in notes
    )
    short = server.model(model="gpt-4o-mini", max_tokens=20)
    assert "taken to have 20 tokens." in str(
        plan_job("say {t}", ROWS, model=short, max_cost=1, **options)
    )
    with pytest.raises(
        InvalidArgument,
        match=r"The next row may cost up to .* 16,384 output tokens; set `max_tokens` to lower",
    ):
        run_job(
            "say {t}", ROWS, model=server.model(model="gpt-4o-mini"), max_cost="0.009", **options
        )
    assert not server.requests and not list(tmp_path.iterdir())


def test_a_plan_pays_for_each_call_of_a_row(serve: Any, tmp_path: Path) -> None:
    model = serve().model(model="gpt-4o-mini", max_tokens=20)
    prompt = ChatPromptTemplate.from_template("say {t}")
    chains = {"one": prompt | model, "two": prompt | model | StrOutputParser() | model}
    costs = {
        name: plan_job(chain, ROWS, output=tmp_path / "o.jsonl", finish_by="2h").plan.most
        for name, chain in chains.items()
    }
    assert costs["one"] and costs["two"] == pytest.approx(2 * costs["one"])


def test_models_that_differ_iterators_and_ray_are_refused(serve: Any, tmp_path: Path) -> None:
    server = serve()
    models = {"a": server.model(model="gpt-4o-mini"), "b": server.model(model="gpt-4o")}
    prompt_and_models: Any = route(lambda _: "a", models)
    with pytest.raises(
        InvalidArgument, match=r"plans for one model, and the chain has .*Write one job for each: `"
    ):
        run_job(prompt_and_models, ["x"], output=tmp_path / "o.jsonl", finish_by="1h")
    with pytest.raises(InvalidArgument, match="give a list, or a file"):
        run_job(
            "say {t}", iter(ROWS), model=models["a"], output=tmp_path / "o.jsonl", finish_by="1h"
        )
    with pytest.raises(InvalidArgument, match="one machine"):
        run_job(
            "say {t}",
            ROWS,
            model=models["a"],
            engine="ray",
            output=tmp_path / "o.jsonl",
            finish_by="1h",
        )
    assert not server.requests


def test_a_chain_that_no_batch_takes_goes_live_and_says_so(
    serve: Any, tmp_path: Path, capsys: Any
) -> None:
    from modelwire.testing import ParrotFakeChatModel

    result = run_job(
        "say {t}", ROWS, model=ParrotFakeChatModel(), output=tmp_path / "o.jsonl", finish_by="1h"
    )
    assert (result.complete, result.rows) == (True, 120)
    assert "All rows go live." in capsys.readouterr().err

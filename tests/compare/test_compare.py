"""`compare`: what it asks and does not ask, what it says of the answers, and what it refuses before any request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from modelwire import cli
from modelwire.adapters import ChatGoogleGenerativeAI
from modelwire.compare import compare
from modelwire.compare import comparison as comparison_module
from modelwire.errors import CallerError, CassetteError, InvalidArgument, MissingKey
from modelwire.testing import Answer, BatchPlan, FakeListChatModel, ProviderServer, recorded

PLACES: dict[str, Any] = {
    "type": "object",
    "properties": {"people": {"type": "integer"}},
    "required": ["people"],
}
BOOK = {
    "type": "function",
    "function": {"name": "book", "description": "Book.", "parameters": PLACES},
}
FORM = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {**PLACES, "title": "answer"}},
}
ESCAPED = "Paris <script>alert(1)</script>"


def answer(request: Any) -> Any:
    """Answer as it is recorded, and worse where the model is `claude-haiku-4-5`."""
    is_other = request.model == "claude-haiku-4-5"
    if "same, so that" in request.text:
        return "No."
    if "book" in request.text:
        return Answer(tool_calls=[{"name": "book", "args": {"people": "two" if is_other else 4}}])
    if "form" in request.text:
        return '{"people": "x"}' if is_other else '{"people": 4}'
    if "lock" in request.text:
        return Answer(refusal="I will not.") if is_other else "So."
    return f"It is {ESCAPED}." if is_other else "It is Rome."


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer(default=answer, batches=BatchPlan(polls=1)) as server:
        yield server


@pytest.fixture
def cassette(server: ProviderServer, tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    with recorded(path):
        model: Any = server.model("openai", model="gpt-4o", temperature=0.1, max_tokens=99)
        model.invoke("Where?")
        model.bind_tools([BOOK]).invoke("Please book.")
        model.bind(response_format=FORM).invoke("Fill in the form.")
        model.invoke("Open the lock.")
    return path


def chat_calls(server: ProviderServer) -> int:
    return sum(request.wire is not None for request in server.requests)


def test_each_call_is_asked_anew_and_compared(server: ProviderServer, cassette: Path) -> None:
    same = server.model("responses", model="gpt-4o-mini")
    other = server.model("anthropic", model="claude-haiku-4-5")
    found = compare(cassette, [same, other])
    recorded_total, good, bad = found.totals
    assert (recorded_total.answered, good.answered, bad.answered) == ((4, 4),) * 3
    assert (good.same_tools, good.fits_schema, good.similarity, good.refused) == (
        (1, 1),
        (2, 2),
        1.0,
        0,
    )
    assert (bad.same_tools, bad.fits_schema, bad.refused) == ((0, 1), (0, 2), 1)
    assert bad.similarity is not None and bad.similarity < 0.8
    assert good.input_tokens > 0 and good.output_tokens > 0 and good.seconds is not None
    pytest.importorskip("genai_prices")
    assert good.cost and recorded_total.cost and good.cost < recorded_total.cost
    assert [row.outcomes["anthropic:claude-haiku-4-5"].same_tools for row in found.rows] == [
        None,
        False,
        None,
        None,
    ]
    bodies = [request.body for request in server.requests[4:] if request.wire == "anthropic"]
    assert {body["temperature"] for body in bodies} == {0.1} and {
        body["max_tokens"] for body in bodies
    } == {99}


def test_run_again_it_asks_nothing_twice(server: ProviderServer, cassette: Path) -> None:
    model = server.model("gemini", model="gemini-2.5-flash")
    compare(cassette, [model], limit=1)
    assert chat_calls(server) == 4 + 1
    whole = compare(cassette, [model])
    assert chat_calls(server) == 4 + 4
    again = compare(cassette, [model])
    assert chat_calls(server) == 4 + 4
    assert again.to_json() == whole.to_json()


def test_by_batch_each_set_of_parameters_is_one(
    server: ProviderServer, cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison_module, "POLL_S", 0.01)
    models = [
        server.model("openai", model="gpt-4o-mini"),
        server.model("gemini", model="gemini-2.5-flash"),
    ]
    found = compare(cassette, models, batch=True)
    assert sorted(len(batch.rows) for batch in server.batches.made) == [1, 1, 1, 1, 2, 2]
    assert chat_calls(server) == 4
    live = compare(cassette, models[:1])
    assert found.totals[1].same_tools == live.totals[1].same_tools == (1, 1)
    if found.totals[1].cost is not None and live.totals[1].cost is not None:
        assert found.totals[1].cost == live.totals[1].cost / 2
    assert found.totals[1].seconds is None


def test_a_judge_is_asked_where_texts_differ(server: ProviderServer, cassette: Path) -> None:
    other = server.model("anthropic", model="claude-haiku-4-5")
    judge = server.model("openai", model="gpt-4o")
    found = compare(cassette, [other], judge=judge)
    verdicts = [row.outcomes["anthropic:claude-haiku-4-5"].same_meaning for row in found.rows]
    assert verdicts == [False, None, False, False] and found.totals[1].same_meaning == (0, 3)
    before = chat_calls(server)
    compare(cassette, [other], judge=judge)
    assert chat_calls(server) == before


def test_what_a_model_does_not_take_is_said_and_what_it_cannot_read_fails_alone(
    server: ProviderServer, tmp_path: Path
) -> None:
    path = tmp_path / "run.jsonl"
    with recorded(path):
        model: Any = server.model("gemini", temperature=0.5)
        model.invoke([("human", [{"type": "video", "base64": "AAAA", "mime_type": "video/mp4"}])])
        model.invoke("Where?", thinking_budget=7)
    found = compare(path, [server.model("anthropic", model="claude-opus-5-5")])
    first, second = (next(iter(row.outcomes.values())) for row in found.rows)
    assert first.error is not None and "video" in first.error and second.error is None
    assert [note.split("`")[1] for note in second.not_taken] == [
        "reasoning",
        "temperature",
    ]
    assert chat_calls(server) == 2 + 1


class Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        assert not {"src", "href"} & {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_command_prints_a_table_or_json_and_writes_a_page_that_needs_nothing(
    server: ProviderServer,
    cassette: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    page = cassette.with_name("page.html")
    command = ["compare", str(cassette), "-m", "anthropic:claude-haiku-4-5"]
    assert cli.main([*command, "--html", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["gpt-4o", "(recorded)", "anthropic:claude-haiku-4-5"]
    assert next(line for line in lines if line.startswith("same tool calls")).split()[-3:] == [
        "0",
        "of",
        "1",
    ]
    parser = Texts()
    parser.feed(page.read_text(encoding="utf-8"))
    assert "script" not in parser.tags and any(ESCAPED in text for text in parser.texts)
    assert cli.main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [len(report["rows"]), len(report["totals"])] == [4, 2]
    assert set(report["rows"][0]["outcomes"]) == {"anthropic:claude-haiku-4-5"}


def test_calls_without_an_answer_say_why(
    server: ProviderServer,
    cassette: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url_for("openai"))
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    assert (
        cli.main(["compare", str(cassette), "-m", "openai:gpt-4o-mini", "--max-cost", "0.0000001"])
        == 1
    )
    assert "openai:gpt-4o-mini: 4 of 4 not answered: " in (printed := capsys.readouterr().out)
    assert "max_cost" in printed


def left_out(path: Path) -> None:
    """Leave a recording whose long text is missing."""
    with ProviderServer() as other, recorded(path, append=False):
        other.model("openai").invoke("x" * 10_001)
    head, line, call = path.read_text().splitlines()
    exchange = json.loads(line)
    del exchange["request"]["texts"]
    path.write_text(f"{head}\n{json.dumps(exchange)}\n{call}\n")


def without_calls(path: Path) -> None:
    """Leave a recording as modelwire made them before calls were written."""
    lines = [line for line in path.read_text().splitlines(keepends=True) if '{"call"' not in line]
    path.write_text("".join(lines))


def test_a_long_text_and_an_image_are_asked_anew_whole(
    server: ProviderServer, tmp_path: Path
) -> None:
    path, image = tmp_path / "run.jsonl", "iVBORw0KGgo" * 3_000
    parts = [
        {"type": "text", "text": "x" * 20_000},
        {"type": "image", "base64": image, "mime_type": "image/png"},
    ]
    with recorded(path):
        server.model("openai").invoke([("human", parts)])
        server.model("openai").invoke([("human", parts), ("ai", "Yes."), ("human", "And now?")])
    assert path.stat().st_size < 60_000  # each text once
    compare(path, [server.model("anthropic")])
    for request in server.requests[2:]:
        content = request.body["messages"][0]["content"]
        assert content[0]["text"] == "x" * 20_000 and content[1]["source"]["data"] == image


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (left_out, "line 3: a text of the call is missing"),
        (without_calls, "no calls to run again: it was recorded by an older modelwire"),
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_text(""), "not a cassette"),
        (
            lambda path: path.write_text(path.read_text().splitlines()[0] + "\n"),
            "no call of a chat model",
        ),
        (
            lambda path: path.write_text(path.read_text().replace('"human"', '"hooman"')),
            "line 3: .*read back",
        ),
    ],
)
def test_a_recording_that_cannot_be_asked_anew_is_refused_before_any_request(
    server: ProviderServer, cassette: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(cassette)
    with pytest.raises(CassetteError, match=words):
        compare(cassette, [server.model("openai")])
    assert chat_calls(server) == 4


@pytest.mark.parametrize(
    ("models", "options", "error", "words"),
    [
        ([], {}, InvalidArgument, "at least one model"),
        (["no-such-provider:x"], {}, CallerError, "no-such-provider"),
        (["openai:gpt-4o", "openai:gpt-4o"], {}, InvalidArgument, "twice"),
        ([FakeListChatModel(responses=["x"])], {}, InvalidArgument, "not a chat model with a wire"),
        (["openai:gpt-4o"], {"limit": 0}, InvalidArgument, "`limit`"),
        (
            ["openai:gpt-4o"],
            {"batch": True, "max_cost": 1},
            InvalidArgument,
            "a batch is submitted as a whole",
        ),
        (
            "openai:gpt-4o",
            {"max_cost": "x"},
            InvalidArgument,
            "`max_cost` must be an amount in USD",
        ),
        (["openai:gpt-4o"], {"judge": "no-such-provider:x"}, CallerError, "no-such-provider"),
        (["openai:gpt-4o", "mistralai:mistral-small-latest"], {}, MissingKey, "MISTRAL_API_KEY"),
        (
            [
                "openai:gpt-4o",
                ChatGoogleGenerativeAI(
                    model="m", project="p", credentials=lambda: "t", vertexai=True
                ),
            ],
            {"batch": True},
            InvalidArgument,
            "bucket",
        ),
    ],
)
def test_models_and_options_that_cannot_be_are_refused_before_any_request(
    server: ProviderServer,
    cassette: Path,
    monkeypatch: pytest.MonkeyPatch,
    models: Any,
    options: Any,
    error: Any,
    words: str,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url_for("openai"))
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(error, match=words))
        compare(cassette, models, **options)
    assert chat_calls(server) == 4


def test_the_command_sends_its_own_system_message_and_parameters(
    server: ProviderServer,
    cassette: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url_for("openai"))
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    settings = tmp_path / "modelwire.toml"
    settings.write_text("[templates.brief]\nparams = { max_tokens = 77 }\nsystem = 'Not this.'\n")
    monkeypatch.setenv("MODELWIRE_CONFIG", str(settings))
    recorded_requests = len(server.requests)
    command = ["compare", str(cassette), "-m", "openai:gpt-4o-mini", "--limit", "1"]
    assert cli.main([*command, "-s", "Be brief.", "-p", "temperature=0.5", "-t", "brief"]) == 0
    (request,) = server.requests[recorded_requests:]
    assert request.body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert [message["role"] for message in request.body["messages"]].count("system") == 1
    assert request.body["temperature"] == 0.5
    assert 77 in (request.body.get("max_tokens"), request.body.get("max_completion_tokens"))
    capsys.readouterr()
    assert cli.main([*command, "-m", "openai:gpt-4o-mini"]) == 2
    assert "`-m openai:gpt-4o-mini` occurs twice" in capsys.readouterr().err


def test_models_may_have_names_of_the_users_own(server: ProviderServer, cassette: Path) -> None:
    cold, warm = (server.model(model="gpt-4o-mini", temperature=heat) for heat in (0, 1))
    report = compare(cassette, {"cold": cold, "warm": warm}, limit=1)
    assert [total.model for total in report.totals[1:]] == ["cold", "warm"]

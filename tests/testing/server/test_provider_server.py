from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from modelwire import cli
from modelwire.errors import (
    ChatError,
    ConnectFailed,
    InvalidArgument,
    InvalidType,
    ModelwireError,
    Overloaded,
    RateLimited,
    ServerError,
)
from modelwire.messages import AIMessage
from modelwire.testing import Answer, BatchPlan, Limits, Lognormal, ProviderServer, Rule, faults
from modelwire.testing.server import SeenRequest
from modelwire.testing.server.faults import Fault

Serve = Callable[..., ProviderServer]
Ask = Callable[..., Any]
PLAIN = {"max_retries": 0}


# ---------------------------------------------------------------- what is said


def test_answers_come_in_order_and_then_the_users_words_again(serve: Serve) -> None:
    server = serve(["one", "two"])
    model = server.model()
    assert [model.invoke("said").content for _ in range(3)] == ["one", "two", "said"]
    server.say("three")
    server.default = "always"
    assert [model.invoke("said").content for _ in range(3)] == ["three", "always", "always"]


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_the_users_words_are_found_on_each_wire(wire: str, serve: Serve) -> None:
    messages = [
        ("system", "s"),
        ("user", [{"type": "text", "text": "look"}]),
        ("ai", "no"),
        ("user", "there"),
    ]
    assert serve().model(wire).invoke(messages).content == "there"


@pytest.mark.parametrize(
    "entry",
    [
        "hello",
        Answer("hello"),
        AIMessage("hello"),
        lambda request: "hello",
        lambda request: Answer(f"hel{'lo' if request.text == 'hi' else ''}"),
        {
            "choices": [
                {"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
            ]
        },
        b'HTTP/1.1 200 OK\r\ncontent-length: 56\r\n\r\n{"choices":[{"message":{"content":"hello"},"index":0}]}\n',
    ],
    ids=["text", "answer", "message", "function", "function of the request", "body", "bytes"],
)
def test_an_entry_may_be_said_in_many_forms(entry: Any, serve: Serve) -> None:
    assert serve([entry]).model().invoke("hi").content == "hello"


def test_events_go_out_as_they_are(serve: Serve, ask_raw: Ask) -> None:
    server = serve([[{"a": 1}, "[DONE]"], [{"type": "ping"}]])
    assert b'data: {"a":1}\n\n' in ask_raw(server, stream=True).raw
    assert b"event: ping\ndata: " in ask_raw(server, "anthropic", stream=True).raw


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RateLimited("slow", retry_after=7), 429),
        (Overloaded("busy"), 503),
        (ServerError("no", status=502), 502),
    ],
)
def test_an_error_of_ours_is_what_makes_us_raise_it(
    wire: str, error: Any, status: int, serve: Serve
) -> None:
    server = serve([error])
    with pytest.raises(type(error)) as raised:
        server.model(wire, **PLAIN).invoke("hi")
    assert raised.value.status == status
    assert raised.value.retry_after == error.retry_after


def test_a_message_with_usage_keeps_it(serve: Serve) -> None:
    usage = {
        "input_tokens": 5,
        "output_tokens": 6,
        "total_tokens": 11,
        "input_token_details": {"cache_read": 2},
    }
    message = serve([AIMessage("x", usage_metadata=usage)]).model("anthropic").invoke("hi")
    assert message.usage_metadata["input_tokens"] == 5
    assert message.usage_metadata["input_token_details"]["cache_read"] == 2


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        (lambda request: 1 / 0, ZeroDivisionError, "division"),
        (object(), InvalidType, "`object`"),
        (None, KeyError, "k"),
    ],
)
def test_a_script_that_fails_is_heard_of_by_client_and_test(
    entry: Any, error: type[Exception], words: str
) -> None:
    server = ProviderServer(
        [entry], faults=[] if entry else [Rule("500", when=lambda request: {}["k"])]
    )
    with pytest.raises(error, match=words), server:
        with pytest.raises(ServerError, match=words):
            server.model(**PLAIN).invoke("hi")
        assert server.counts.answered == 0


def test_a_body_that_is_no_json_is_a_400(serve: Serve) -> None:
    import httpx2

    assert (
        httpx2.post(f"{serve().base_url_for('openai')}/chat/completions", content=b"{").status_code
        == 400
    )


# ---------------------------------------------------------------- faults by themselves


def outcomes(server: ProviderServer, ask_raw: Ask, n: int) -> list[int | None]:
    return [ask_raw(server).status for _ in range(n)]


def test_rules_say_when(serve: Serve, ask_raw: Ask) -> None:
    server = serve(
        faults=[
            Rule(faults.status(500), every=3),
            Rule("503", when=lambda r: r.text == "now", times=1),
        ]
    )
    assert outcomes(server, ask_raw, 6) == [200, 200, 500, 200, 200, 500]
    assert [ask_raw(server, text="now").status for _ in range(2)] == [503, 200]
    assert server.counts.by_fault == {"status_500": 2, "status_503": 1}
    server.faults = [Rule("503", between_s=(0, 1e9))]
    assert outcomes(server, ask_raw, 1) == [503]
    server.faults = ()
    assert outcomes(server, ask_raw, 1) == [200]


def test_random_faults_are_the_same_with_the_same_seed(serve: Serve, ask_raw: Ask) -> None:
    rates = {"500": 0.3, "503": 0.3}
    first, second, other = (
        outcomes(serve(faults=rates, seed=seed), ask_raw, 20) for seed in (1, 1, 2)
    )
    assert first == second != other
    assert {200, 500, 503} == set(first)


@pytest.mark.parametrize("given", [{"503": 0.7, "500": 0.4}, {"reset_bdy": 0.1}])
def test_rates_that_cannot_be_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument, match=r"above 1|`reset_body`"):
        ProviderServer(faults=given)


def test_a_request_that_a_rule_spoils_leaves_its_answer_to_the_retry(serve: Serve) -> None:
    server = serve(["one", "two", "three"], faults=[Rule(faults.reset("body"), every=2)])
    model = server.model()
    assert [model.invoke("hi").content for _ in range(3)] == ["one", "two", "three"]
    assert server.counts.by_fault == {"reset_body": 2}
    assert (server.counts.answered, server.counts.chat_calls) == (3, 5)


# ---------------------------------------------------------------- time


def test_latency_is_waited_for_on_the_servers_clock(serve: Serve) -> None:
    server = serve(latency=20.0, time_scale=0.001)
    server.model().invoke("hi")
    assert server.requests[0].in_flight_s >= 20
    server.latency = lambda request: 30.0
    server.say(Answer("x", latency_s=40.0), "y")
    for _ in range(2):
        server.model().invoke("hi")
    assert [
        int(request.in_flight_s >= least)
        for request, least in zip(server.requests[1:], (40, 30), strict=True)
    ] == [1, 1]


def test_chunks_come_one_after_the_other(serve: Serve, ask_raw: Ask) -> None:
    server = serve(default="one two three", chunk_gap_s=10, time_scale=0.001)
    assert ask_raw(server, stream=True).raw.endswith(b"0\r\n\r\n")
    assert server.requests[0].in_flight_s >= 50  # before each of five chunks


def test_lognormal_latencies_have_their_median() -> None:
    import random

    rng = random.Random(3)
    drawn = sorted(Lognormal(2.0, 0.5).draw(rng) for _ in range(999))
    assert 1.8 < drawn[499] < 2.2
    assert drawn[-1] > 5


# ---------------------------------------------------------------- limits over the wire


@pytest.mark.parametrize(
    ("wire", "dialect", "expected"),
    [
        (
            "openai",
            "own",
            {
                "x-ratelimit-limit-requests",
                "x-ratelimit-reset-requests",
                "retry-after",
                "retry-after-ms",
            },
        ),
        ("anthropic", "own", {"anthropic-ratelimit-requests-remaining", "retry-after"}),
        ("anthropic", "openai", {"x-ratelimit-limit-requests", "retry-after"}),
        ("openai", "retry-after", {"retry-after"}),
        ("openai", "none", set()),
        ("openai", "lying", {"x-ratelimit-remaining-requests"}),
    ],
)
def test_a_request_above_the_limit_is_a_429_in_the_providers_words(
    wire: str, dialect: str, expected: set[str], serve: Serve, ask_raw: Ask
) -> None:
    server = serve(["one", "two", "three"], limits=Limits(rpm=2, headers=dialect))
    answers = [ask_raw(server, wire) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    spoken = {name for name in answers[2].headers if "ratelimit" in name or "retry-after" in name}
    assert expected <= spoken
    assert bool(expected) == bool(spoken)
    assert server.counts.throttled == 1
    assert ask_raw(server, wire, model="other").json[
        "model" if wire == "openai" else "role"
    ]  # a limit of its own


def test_limits_may_change_while_it_runs(serve: Serve, ask_raw: Ask) -> None:
    server = serve(limits=Limits(rpm=1))
    assert outcomes(server, ask_raw, 2) == [200, 429]
    server.limits = Limits()
    assert outcomes(server, ask_raw, 2) == [200, 200]


def test_the_minute_of_a_bucket_passes_faster_where_time_is_scaled(
    serve: Serve, ask_raw: Ask
) -> None:
    server = serve(limits=Limits(rpm=60, window_s=1), time_scale=0.05)
    statuses: list[int] = []
    while statuses.count(200) < 4:
        statuses.append(ask_raw(server).status)
    assert server.requests[-1].at_s >= 3
    assert 429 in statuses


def test_above_max_concurrent_it_is_busy(serve: Serve) -> None:
    server = serve(latency=150, time_scale=0.01, limits=Limits(max_concurrent=2, busy_status=529))
    model = server.model("anthropic", **PLAIN)
    answers = model.batch(
        ["a", "b", "c", "d"], config={"max_concurrency": 4}, return_exceptions=True
    )
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 2
    assert server.counts.by_status == {200: 2, 529: 2}


# ---------------------------------------------------------------- what it saw


def test_it_remembers_what_it_saw(serve: Serve) -> None:
    server = serve()
    server.model("anthropic", api_key="sk-canary").invoke("hi")
    [request] = server.requests
    assert (request.wire, request.method, request.path, request.status) == (
        "anthropic",
        "POST",
        "/v1/messages",
        200,
    )
    assert request.body["messages"][0]["role"] == "user"
    assert request.headers["x-api-key"] == "sk-canary"
    assert "sk-canary" not in repr(request)
    assert "***" in repr(request)
    assert len(request.key_hash) == 12
    assert "sk-canary" not in request.key_hash


def test_equal_keys_have_equal_hashes_on_every_wire() -> None:
    bearer = SeenRequest("POST", "/", {"authorization": "Bearer k"}, b"")
    assert bearer.key_hash == SeenRequest("POST", "/", {"x-api-key": "k"}, b"").key_hash != ""
    assert SeenRequest("POST", "/", {}, b"").key_hash == ""


def test_counts_are_exact_where_little_is_kept(serve: Serve) -> None:
    server = serve(keep=2)
    server.model().batch([str(n) for n in range(20)])
    assert [len(server.requests), server.counts.requests, server.counts.answered] == [2, 20, 20]
    assert server.counts.in_flight == 0


def test_requests_in_flight_are_counted_together(serve: Serve) -> None:
    server = serve(latency=1.5)
    server.model().batch(list("abcde"), config={"max_concurrency": 5})
    assert server.counts.max_in_flight == 5


def test_a_client_that_leaves_is_counted(serve: Serve, ask_raw: Ask) -> None:
    server = serve(latency=60)
    assert ask_raw(server, patience_s=0.02).ended == "open"
    gone = threading.Event()
    for _ in range(200):
        if server.counts.abandoned:
            break
        gone.wait(0.01)
    assert (server.counts.abandoned, server.counts.in_flight, server.counts.answered) == (1, 0, 0)


# ---------------------------------------------------------------- the rest of the API


def test_the_sdks_list_models_and_count_tokens(serve: Serve) -> None:
    server = serve()
    with openai.OpenAI(base_url=server.base_url_for("openai"), api_key="k") as client:
        assert [model.id for model in client.models.list()] == ["claude-test", "gpt-test"]
        assert client.models.retrieve("gpt-test").object == "model"
        with pytest.raises(openai.NotFoundError, match="/v1"):
            client.get("/nowhere", cast_to=object)
    with anthropic.Anthropic(base_url=server.base_url, api_key="k") as claude:
        assert [model.id for model in claude.models.list()] == ["claude-test", "gpt-test"]
        counted = claude.messages.count_tokens(
            model="m", messages=[{"role": "user", "content": "hi " * 40}]
        )
        assert counted.input_tokens > 30


def test_it_reads_requests_however_they_are_cut(serve: Serve) -> None:
    import socket

    server = serve()
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunked = head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunked += (
        b"%x;ext=1\r\n" % 10
        + body[:10]
        + b"\r\n"
        + b"%x\r\n" % (len(body) - 10)
        + body[10:]
        + b"\r\n0\r\n\r\n"
    )
    with socket.create_connection(
        ("127.0.0.1", int(server.base_url.rpartition(":")[2])), timeout=5
    ) as peer:
        for byte in whole:
            peer.sendall(bytes([byte]))
        peer.sendall(whole + chunked)  # two at once: they are answered one after the other
        raw = b""
        while data := peer.recv(65536):
            raw += data
    assert raw.count(b"HTTP/1.1 200 OK") == 3
    assert [request.text for request in server.requests] == ["hi"] * 3


def test_what_is_no_http_is_refused(serve: Serve) -> None:
    import socket

    port = int(serve().base_url.rpartition(":")[2])
    for sent, status in ((b"hello\r\n\r\n", b"400"), (b"a" * 70_000, b"431")):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            peer.sendall(sent)
            assert peer.recv(100).startswith(b"HTTP/1.1 " + status)


# ---------------------------------------------------------------- its life


def test_a_server_may_be_closed_twice_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    server = ProviderServer(latency=60).start()
    model = server.model(**PLAIN)

    def ask() -> None:
        with pytest.raises(ChatError):
            model.invoke("hi")

    asking = threading.Thread(target=ask)
    asking.start()
    while not server.counts.in_flight:
        pass
    server.close()
    server.close()
    asking.join(5)
    assert (
        not {thread for thread in threading.enumerate() if "provider-server" in thread.name}
        - before
    )


def test_a_port_that_is_taken_is_said_so(serve: Serve) -> None:
    port = int(serve().base_url.rpartition(":")[2])
    with pytest.raises(ConnectFailed, match=f"port {port}"):
        ProviderServer(port=port).start()


def test_a_wire_that_is_not_there_is_refused(serve: Serve) -> None:
    with pytest.raises(InvalidArgument, match="`openai`"):
        serve().model("openay")

    with pytest.raises(InvalidArgument, match=r"no wire `foo`.*`openai`"):
        serve().base_url_for("foo")  # type: ignore[arg-type]


def test_a_fault_that_was_not_called_is_refused_and_one_that_fails_hangs_nobody() -> None:
    server = ProviderServer(
        [faults.billing, Fault("broken", lambda reply, wire, number: (1 / 0 for _ in "x"))]
    )
    with pytest.raises(InvalidType, match=r"`faults\.billing\(\)`"), server:
        model = server.model(**PLAIN)
        with pytest.raises(ServerError, match=r"`faults\.billing\(\)`"):
            model.invoke("hi")
        with pytest.raises(ModelwireError):
            model.invoke("hi", config={"timeout": 20})
    with pytest.raises(InvalidType, match=r"`faults\.stall\(\)`"):
        server.say(faults.stall)


def test_the_help_of_serve_names_the_owner_of_every_wire(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    for owner in ("OpenAI", "Anthropic", "Gemini", "Bedrock"):
        assert owner in words.partition("a provider for tests")[2].partition("until Ctrl-C")[0]


def test_serve_runs_in_the_foreground_and_says_where_it_is() -> None:
    command = [
        sys.executable,
        "-m",
        "modelwire.cli",
        "serve",
        "--answer",
        "hey",
        "--rpm",
        "60",
        "--fault",
        "503=0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        url = lines[1].split("OPENAI_BASE_URL=")[1].split()[0]
        with openai.OpenAI(base_url=url, api_key="k") as client:
            said = client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}]
            )
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(10) == 130
    assert said.choices[0].message.content == "hey"
    assert "1 chat calls answered" in rest


def test_serve_refuses_what_is_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    from modelwire import cli

    assert cli.main(["serve", "--fault", "reset_body"]) == 2
    assert "NAME=RATE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--rpm", "-5", "`rpm` must be more than 0, not -5"),
        ("--window", "0", "`window_s` must be more than 0"),
        ("--max-concurrent", "0", "`max_concurrent` must be at least 1"),
        ("--latency", "-1", "`latency` must be at least 0 seconds"),
        ("--chunk-gap", "-1", "`chunk_gap_s` must be at least 0 seconds"),
        ("--port", "70000", "`port` must be from 0 to 65535"),
        ("--fault", "close=-1", "`rate` must be at least 0, not -1"),
        ("--fault", "biling=0.1", "`billing`"),
    ],
)
def test_serve_refuses_what_cannot_be(
    option: str,
    value: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from modelwire import cli

    monkeypatch.setattr(
        ProviderServer, "wait", lambda self: None
    )  # one that was started ends at once

    assert cli.main(["serve", option, value]) == 2
    assert said in capsys.readouterr().err


def test_serve_tells_the_names_of_its_faults(capsys: pytest.CaptureFixture[str]) -> None:
    from modelwire import cli

    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    said = "".join(capsys.readouterr().out.split())
    assert ",".join(faults.NAMED) in said


def test_what_the_server_cannot_be_is_refused_where_it_is_said(serve: Serve) -> None:
    server = serve()
    for attribute, value, said in (
        ("default", None, "cannot say a `NoneType`"),
        ("batches", "expired", "`BatchPlan`"),
        ("batches", ["expired"], "`BatchPlan`"),
        ("limits", None, "`Limits`"),
        ("limits", {"rpm": 5}, "`Limits`"),
        ("faults", "close", "`Rule`"),
        ("faults", ["close"], "`Rule`"),
        ("faults", [Rule(None)], "no fault `None`"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidArgument, match=said):
            setattr(server, attribute, value)
    with pytest.raises(InvalidType, match="cannot say a `NoneType`"):
        server.say(None)
    with pytest.raises(InvalidType, match="cannot say a `NoneType`"):
        ProviderServer(default=None)
    assert server.model().invoke("as before").text == "as before"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: faults.NAMED["biling"], "There is no fault `biling`. Did you mean `billing`"),
        (lambda: faults.reset("boby"), "Did you mean `body`"),  # type: ignore[arg-type]
        (lambda: faults.stall("headers"), "`body`, `request`"),  # type: ignore[arg-type]
        (lambda: faults.status(429, retry_after=1, retry_after_form="dat"), "Did you mean `date`"),  # type: ignore[arg-type]
        (lambda: faults.status(999), "100 to 599, not 999"),
        (lambda: faults.status("503"), "100 to 599, not '503'"),  # type: ignore[arg-type]
        (lambda: Limits(headers="opnai"), "Did you mean `openai`"),  # type: ignore[arg-type]
        (lambda: Limits(tpm=0), "`tpm` must be more than 0, not 0"),
        (lambda: Limits(rpm="600"), "`rpm` must be more than 0, not '600'"),  # type: ignore[arg-type]
        (lambda: BatchPlan(outcome="expird"), "Did you mean `expired`"),  # type: ignore[arg-type]
        (lambda: Limits(busy_status=50), "`busy_status` must be at least 100, not 50"),
    ],
)
def test_what_is_misspelt_is_told_with_what_there_is(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(said)):
        make()


def test_a_status_is_a_fault_by_its_number() -> None:
    assert faults.NAMED["503"].name == faults.NAMED["status_503"].name == "status_503"
    assert "503" not in faults.NAMED


def test_head_is_answered_without_a_body_and_the_connection_kept(serve: Serve) -> None:
    server = serve()
    with socket.create_connection(
        ("127.0.0.1", int(server.base_url.rpartition(":")[2])), timeout=5
    ) as peer:
        for _ in range(2):
            peer.sendall(b"HEAD /v1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            head = peer.recv(65536)
            assert head.startswith(b"HTTP/1.1 404 ") and head.endswith(b"\r\n\r\n")
        peer.settimeout(0.05)
        with pytest.raises(TimeoutError):
            peer.recv(1)
    assert server.counts.connections == 1


def test_json_of_a_request_is_read_when_it_is_asked_for() -> None:
    request = SeenRequest("POST", "/x?a=1", {}, json.dumps({"input": "hi", "model": "m"}).encode())
    assert (request.path, request.query, request.text, request.model, request.stream) == (
        "/x",
        "a=1",
        "hi",
        "m",
        False,
    )
    assert SeenRequest("POST", "/", {}, b"[1]").messages == []

"""H1-H13 of the fault catalogue: what somebody means us ill with is refused, or is data and stays that."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.colours import AsyncColour, SyncColour

from modelwire.adapters import AzureChatOpenAI, ChatAnthropic, ChatOpenAI
from modelwire.errors import (
    InvalidArgument,
    InvalidTemplate,
    JobStopped,
    MalformedResponse,
    ModelwireError,
)
from modelwire.jobs import run_job
from modelwire.messages import HumanMessage
from modelwire.prompts import ChatPromptTemplate, PromptTemplate
from modelwire.runnables import RunnableLambda
from modelwire.testing import Answer, BatchPlan, ProviderServer, faults


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


# ---------------------------------------------------------------- H1, H2: templates


@pytest.mark.parametrize(
    "template", ["{a.__class__}", "{a[0]}", "{a:{b}}", "{a:>{b}}", "{0}", "{}", "{a.b.c}", "{a[b]}"]
)
def test_a_template_may_name_variables_and_nothing_else(template: str) -> None:
    for make in (PromptTemplate.from_template, ChatPromptTemplate.from_template):
        with pytest.raises(InvalidTemplate):
            make(template)


@pytest.mark.parametrize(
    "template",
    [
        "{a:>1000000000}",
        "{a:٩٩٩٩٩٩٩٩٩٩}",
        "{a:.9999999}",
        "{a:>9999}" * 1000,
        "{a:" + "9" * 5000 + "}",
    ],
)
def test_a_template_does_not_fill_the_memory_with_blanks(template: str) -> None:
    with pytest.raises(InvalidTemplate):
        PromptTemplate.from_template(template)
    assert PromptTemplate.from_template("{a:>20}{b:.2f}").format(a="x", b=1) == " " * 19 + "x1.00"


@pytest.mark.parametrize("format", ["f-string", "mustache", "jinja2"])
def test_a_value_is_never_read_as_a_template(format: str) -> None:
    evil = "{b} {{b}} {{ b.__class__ }} {% for x in y %} {b.__init__.__globals__}"
    one = "{a}" if format == "f-string" else "{{{a}}}" if format == "mustache" else "{{ a }}"
    assert PromptTemplate.from_template(one, template_format=format).format(a=evil) == evil


@pytest.mark.parametrize(
    "template",
    [
        "{{ a.__class__.__mro__ }}",
        "{{ a|attr('__class__') }}",
        "{{ ''.__class__.__base__ }}",
        "{% include 'x' %}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ a.append(1) }}",
        "{{ a['__class__'] }}",
        "{% import 'os' as os %}",
    ],
)
def test_jinja_is_sandboxed(template: str) -> None:
    values = [1]
    said = ""
    with contextlib.suppress(InvalidTemplate):
        said = PromptTemplate.from_template(template, template_format="jinja2").format(a=values)
    assert said == ""
    assert values == [1]


def test_mustache_looks_into_mappings_only() -> None:
    read = PromptTemplate.from_template(
        "{{a.__class__}}{{a.secret}}{{a.append}}", template_format="mustache"
    )

    class Holder:
        secret = "shown"

    assert read.format(a=Holder()) == read.format(a=[1]) == ""


# ---------------------------------------------------------------- H4, H5: what goes into headers and addresses

ODD = ["x\r\nX-Evil: canary1", "canary1\x00", "canary1\n", "canary1é", "canary1\x1b[2J", " canary1"]


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize(
    "place", ["api_key", "organization", "project", "default_headers", "extra_headers", "name"]
)
def test_what_no_header_can_hold_is_refused_without_showing_it(
    place: str, text: str, server: ProviderServer
) -> None:
    value = {"X-A": text} if place.endswith("headers") else {text: "a"} if place == "name" else text
    given = {"default_headers" if place == "name" else place: value}
    with pytest.raises(ValueError) as refused:
        ChatOpenAI(**{"model": "m", "api_key": "k", "base_url": server.base_url, **given}).invoke(
            "hi"
        )
    assert isinstance(refused.value, InvalidArgument)
    assert "canary1" not in str(refused.value)
    assert server.counts.requests == 0


@pytest.mark.parametrize("text", ["m\r\nX-Evil: 1", "m\x00", "m\x1b[2J"])
def test_a_model_is_a_printable_name(text: str) -> None:
    for cls in (ChatOpenAI, ChatAnthropic):
        with pytest.raises(InvalidArgument):
            cls(model=text, api_key="k")


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="must be a text"):
        ChatOpenAI(model="m", api_key=12345678)


@pytest.mark.parametrize("name", ["../x", "a/../../b", "a?b=c", "a#b", "%2e%2e", "a b", "a/b", "ä"])
def test_a_deployment_is_one_segment_of_the_path(name: str) -> None:
    model = AzureChatOpenAI(
        azure_endpoint="https://e", azure_deployment=name, api_key="k", api_version="1"
    )
    url = httpx2.URL(model.build_request("hi").url)
    assert url.raw_path.count(b"/") == 5
    assert url.raw_path.endswith(b"/chat/completions?api-version=1")


@pytest.mark.parametrize("name", ["..", "."])
def test_a_deployment_is_no_step_up_the_path(name: str) -> None:
    with pytest.raises(InvalidArgument):
        AzureChatOpenAI(
            azure_endpoint="https://e", azure_deployment=name, api_key="k", api_version="1"
        )


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://h\\@evil",
        "http://h/\r\nX: y",
        "http://h\t.evil",
        "gopher://h",
        "//h",
        "h:80",
    ],
)
def test_an_address_that_may_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument):
        ChatOpenAI(model="m", api_key="k", base_url=url)


# ---------------------------------------------------------------- H7-H9, H12: nothing is fetched, followed or run


def test_a_redirect_is_an_error_and_takes_nothing_along(
    colour: SyncColour | AsyncColour, server: ProviderServer
) -> None:
    with ProviderServer() as other:
        for code in (301, 302, 303, 307, 308):
            server.say(faults.redirect(other.base_url + "/v1/chat/completions", code))
            with pytest.raises(ModelwireError, match="Redirects are not followed"):
                colour.invoke(server.model(), "hi")
        assert other.counts.requests == 0


@pytest.mark.parametrize(
    "where",
    [
        "http://{other}",
        "//{other}",
        "http://{own}@{other}",
        "http://{own}\\@{other}",
        "HTTP:{other}",
    ],
)
def test_results_that_lie_elsewhere_get_no_key(
    where: str, server: ProviderServer, tmp_path: Path
) -> None:
    with ProviderServer() as other:
        own, others = (one.base_url.removeprefix("http://") for one in (server, other))
        server.batches.plan = BatchPlan(polls=1, results_host=where.format(own=own, other=others))
        job = server.model("anthropic").submit_batch(["a"], dir=tmp_path / "a.job")
        with contextlib.suppress(
            ModelwireError
        ):  # it is refused, or read as a path of the provider's own
            job.wait(poll=0.01, timeout=0.3)
        assert other.requests == []


@pytest.mark.parametrize(
    "id_", ["../../etc", "..", "a/b", "a?b", "a#b", "%2e%2e", "a\\b", "a\nb", ""]
)
@pytest.mark.parametrize("name", ["file", "batch", "output"])
def test_an_id_leads_nowhere_else(
    id_: str, name: str, server: ProviderServer, tmp_path: Path
) -> None:
    handle = server.batches.handle

    def handling(request: Any, base_url: str) -> Any:
        reply: Any = handle(request, base_url)
        kind = (
            "output"
            if request.method == "GET"
            else request.path.rpartition("/")[2].rstrip("s").replace("batche", "batch")
        )
        if kind == name:
            said = json.loads(reply.body)
            said["output_file_id" if name == "output" else "id"] = id_ or (
                id_ if name != "output" else "/"
            )
            reply.parts = [json.dumps(said).encode()]
        return reply

    server.batches.plan = BatchPlan(polls=1)
    server.batches.handle = handling  # type: ignore[method-assign]
    with pytest.raises(JobStopped, match="not a valid id"):
        server.model().submit_batch(["a"], dir=tmp_path / "a.job").wait(poll=0.01, timeout=20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.job"]
    assert all(
        request.path in ("/v1/files", "/v1/batches", "/v1/batches/batch_1")
        for request in server.requests
    )


def test_a_spreadsheet_runs_nothing_of_an_answer_where_it_is_guarded(tmp_path: Path) -> None:
    answers = RunnableLambda(lambda row: {"=cmd()": "\n=cmd()", "plain": "@x", "number": -1})
    (row,) = run_job(
        answers, [{"n": "+1"}], output=tmp_path / "o.csv", quiet=True, formula_guard=True
    )
    assert row["'=cmd()"] == "'\n=cmd()"  # names of columns are the model's words, too
    assert (row["n"], row["plain"], row["number"]) == ("+1", "'@x", -1)  # the input is the user's


def test_arguments_of_a_tool_are_data(
    colour: SyncColour | AsyncColour, server: ProviderServer
) -> None:
    evil = {"cmd": "__import__('os').system('false')", "path": "../../etc/passwd"}
    server.say(Answer("", tool_calls=[{"name": "shell", "args": evil}]))
    assert colour.invoke(server.model(), "hi").tool_calls[0]["args"] == evil


def test_netrc_and_other_services_keys_stay_where_they_are(
    colour: SyncColour | AsyncColour,
    server: ProviderServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login canary password canary\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    ways: list[dict[str, Any]] = [{}] if colour.name == "sync" else [{}, {"engine": "aiohttp"}]
    server.batches.plan = BatchPlan(polls=0)
    server.model("openai", api_key="mine").submit_batch(["a"], dir=tmp_path / "a.job").wait(
        poll=0.01, timeout=20
    )
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer mine"}
    for way in ways:
        colour.invoke(server.model("openai", api_key="mine", **way), "hi")
        assert server.requests[-1].headers["authorization"] == "Bearer mine"
        assert "canary" not in repr(server.requests[-1].headers)


@pytest.mark.parametrize("way", ["core", "aiohttp", "client"])
def test_a_proxy_of_the_environment_is_told_its_own_password_only(
    way: str,
    colour: SyncColour | AsyncColour,
    raw_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if way == "aiohttp" and colour.name == "sync":
        pytest.skip("aiohttp is for async calls")
    said = (
        b'{"choices":[{"index":0,"message":{"role":"assistant","content":"good"},'
        b'"finish_reason":"stop"}],"model":"m"}'
    )
    proxy = raw_server([[b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(said) + said]])
    (tmp_path / ".netrc").write_text("default login canary password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{proxy.port}")
    given: dict[str, Any] = {"engine": "aiohttp"} if way == "aiohttp" else {}

    def model(**client: Any) -> Any:
        return ChatOpenAI(
            model="m", api_key="mine", base_url="http://192.0.2.1/v1", **given, **client
        )

    def ask() -> str:
        with httpx2.Client() as client:
            return str(
                model(**({"http_client": client} if way == "client" else {})).invoke("hi").text
            )

    async def aask() -> str:
        async with httpx2.AsyncClient() as client:
            return str(
                (
                    await model(
                        **({"http_async_client": client} if way == "client" else {})
                    ).ainvoke("hi")
                ).text
            )

    assert colour.run(ask, aask) == "good"
    (sent,) = proxy.requests
    head = sent.partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"authorization: ") == 2
    assert b"\r\nauthorization: bearer mine" in head
    assert b"\r\nproxy-authorization: basic bwu6c2vjcmv0" in head  # me:secret


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://169.254.169.254/latest", "http://127.0.0.1:1/x.png"]
)
def test_an_image_is_never_fetched_by_us(url: str, server: ProviderServer) -> None:
    image = HumanMessage([{"type": "image_url", "image_url": {"url": url}}])
    try:  # an address is the provider's to fetch; a file is nobody's
        server.model().invoke([image])
    except InvalidArgument:
        assert url.startswith("file:")
    else:
        assert url in json.dumps(server.requests[-1].body).replace("\\/", "/")


# ---------------------------------------------------------------- H13, and answers that are meant to hurt


def test_a_terminal_obeys_nothing_a_provider_says(
    colour: SyncColour | AsyncColour, server: ProviderServer
) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\u202e\u200b"
    headers = {"x-request-id": "a\x1b[2Jb"}
    server.default = faults.status(400, message=evil, type=evil, error_code=evil, headers=headers)
    with pytest.raises(ModelwireError) as refused:
        colour.invoke(server.model(), "hi")
    assert str(refused.value).isprintable()


DEEP = b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BODIES = {
    "deep": DEEP,
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep arguments": json.dumps(
        {
            "choices": [
                {
                    "message": {
                        "tool_calls": [
                            {
                                "id": "a",
                                "type": "function",
                                "function": {"name": "f", "arguments": "[" * 100_000},
                            }
                        ]
                    },
                    "finish_reason": "tool_calls",
                }
            ]
        }
    ).encode(),
    "surrogates": rb'{"choices":[{"message":{"content":"\ud800 \udc00"},"finish_reason":"stop"}]}',
    "numbers": b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop","index":NaN}],"usage":{"prompt_tokens":'
    b'Infinity,"completion_tokens":1e999,"total_tokens":-1}}',
    "twice": b'{"choices":1,"choices":[{"message":{"content":"a","content":"b"},"finish_reason":"stop"}]}',
}


@pytest.mark.parametrize("body", BODIES)
def test_an_answer_meant_to_hurt_is_a_value_or_an_error_of_ours(
    body: str, colour: SyncColour | AsyncColour, server: ProviderServer
) -> None:
    for wire in ("openai", "responses", "anthropic", "gemini", "bedrock"):
        for ask in (colour.invoke, colour.stream):
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODIES[body])
            server.default = answer + BODIES[body]
            try:
                said = ask(server.model(wire, max_retries=0), "hi")
            except ModelwireError:
                continue
            json.dumps(str(said)).encode()


BOMB = """
import resource, sys
from modelwire.errors import MalformedResponse
from modelwire.testing import ProviderServer, faults
with ProviderServer(default=faults.gzip_bomb(100_000_000)) as server:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        server.model(max_retries=0, **{}).invoke("hi")
    except MalformedResponse:
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print((after - before) // 1024)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="counts in KiB")
@pytest.mark.parametrize(
    "way",
    [
        "{}",
        pytest.param(
            "dict(http_client=__import__('httpx2').Client(trust_env=False))", marks=pytest.mark.long
        ),
    ],
)
def test_a_bomb_is_given_up_before_it_fills_the_memory(way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BOMB.replace("**{}", f"**{way}")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(done.stdout) < 130  # MiB: a part of 100 MB decoded, and nothing of it again as text


def test_a_partial_document_of_a_megabyte_is_read_in_a_memory_of_its_size(
    server: ProviderServer,
) -> None:
    words = '{["\\' * 250_000
    server.say(Answer(words))
    tracemalloc.start()
    try:
        assert server.model(max_retries=0).invoke("hi").content == words
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


MEGABYTE = {
    "f-string": 'PromptTemplate.from_template("{a}{{}}" * 150_000).format(a="b")',
    "mustache": 'compile_template("{{a}} {{#b}}{{/b}}" * 50_000, "mustache").render({"a": 1, "b": []})',
    "snippet": 'snippet("sk-" * 350_000)',
    "masking": 'mask_secrets("api key: " * 110_000)',
    "events": '[SSEDecoder().feed(b"data: " + b"a" * 1_000_000 + b"\\n\\n")]',
    "error body": 'provider_words({"error": {"message": "a" * 1_000_000}})',
}


@pytest.mark.long
def test_a_megabyte_of_anything_is_read_at_once() -> None:
    program = "\n".join(
        (
            "from modelwire.prompts import PromptTemplate",
            "from modelwire.prompts.template import compile_template",
            "from modelwire.adapters.wires.json import *",
            "from modelwire.transport.sse import SSEDecoder",
            *(f"print({name!r}, flush=True); {statement}" for name, statement in MEGABYTE.items()),
        )
    )
    try:  # a guard: what is quadratic takes hours
        subprocess.run(
            [sys.executable, "-c", program], check=True, timeout=60, stdout=subprocess.PIPE
        )
    except subprocess.TimeoutExpired as exc:
        pytest.fail(f"It takes too long to read a megabyte of the last of these: {exc.stdout!r}")


def test_a_body_that_is_too_large_is_an_error_of_ours(
    colour: SyncColour | AsyncColour, server: ProviderServer
) -> None:
    server.default = faults.gzip_bomb(100_000_000)
    with pytest.raises(MalformedResponse):
        colour.invoke(server.model(max_retries=0), "hi")

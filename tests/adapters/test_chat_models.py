"""Both models through routed HTTP, both colours: what goes out, what comes back, what goes wrong."""

import asyncio
import copy
import json
import pickle
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import respx
from support.provider_bodies import anthropic_answer, anthropic_stream, openai_answer, openai_stream
from support.raw_server import answer

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    ContextTooLong,
    IncompleteStream,
    InvalidArgument,
    MalformedResponse,
    MissingKey,
    ModelwireError,
    QuotaExhausted,
    RateLimited,
    Timeout,
)
from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.transport.ratelimit import registry

KEY = "sk-test-canary"
WIRES = {
    "openai": (
        ChatOpenAI,
        "https://api.openai.com/v1/chat/completions",
        openai_answer,
        openai_stream,
    ),
    "anthropic": (
        ChatAnthropic,
        "https://api.anthropic.com/v1/messages",
        anthropic_answer,
        anthropic_stream,
    ),
}


class Wire:
    def __init__(self, name: str) -> None:
        self.name = name
        self.cls, self.url, self.answer, self.stream = WIRES[name]

    def cut_stream(self) -> bytes:
        """`a`, `b`, and no terminal mark."""
        if self.name == "openai":
            return openai_stream("a", "b", finish=None, done=False)
        return anthropic_stream("a", "b", stop=False)

    def model(self, **settings: Any) -> Any:
        return self.cls(
            **{"model": f"{self.name}-test", "api_key": KEY, "max_retries": 0, **settings}
        )


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(request.param)


def sent(route: Any) -> dict[str, Any]:
    return json.loads(route.calls.last.request.content)


# ---------------------------------------------------------------- answers


def test_invoke_sends_the_message_and_returns_the_answer(
    colour: Any, wire: Wire, httpx2_mock: Any
) -> None:
    route = httpx2_mock.post(wire.url).respond(json=wire.answer("Good day"))
    answer = colour.invoke(wire.model(temperature=0), "hi")
    assert type(answer) is AIMessage
    assert answer.content == "Good day"
    assert answer.usage_metadata["total_tokens"] == 5
    body = sent(route)
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert body["temperature"] == 0
    assert "top_p" not in body
    assert KEY in route.calls.last.request.headers.get(
        "authorization", ""
    ) + route.calls.last.request.headers.get("x-api-key", "")


def test_a_stream_gives_its_words_and_adds_up_to_the_answer(
    colour: Any, wire: Wire, httpx2_mock: Any
) -> None:
    route = httpx2_mock.post(wire.url).respond(stream=chunked(wire.stream("Good", " day", " 🍷")))
    chunks = colour.stream(wire.model(), "hi")
    assert all(type(chunk) is AIMessageChunk for chunk in chunks)
    assert [chunk.content for chunk in chunks if chunk.content] == ["Good", " day", " 🍷"]
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert total.content == "Good day 🍷"
    assert total.usage_metadata["output_tokens"] == 3
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].chunk_position == "last"
    assert sent(route)["stream"] is True


def chunked(body: bytes, size: int = 7) -> Any:
    """A body that comes in small pieces, in either colour."""

    class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Any:
            return (body[i : i + size] for i in range(0, len(body), size))

        async def __aiter__(self) -> Any:
            for piece in self.__iter__():
                yield piece

    return Pieces()


def test_streaming_true_answers_invoke_over_a_stream(
    colour: Any, wire: Wire, httpx2_mock: Any
) -> None:
    httpx2_mock.post(wire.url).respond(content=wire.stream("Good", " day"))
    answer = colour.invoke(wire.model(streaming=True), "hi")
    assert type(answer) is AIMessage
    assert answer.content == "Good day"


def test_batch_keeps_the_order(colour: Any, wire: Wire, httpx2_mock: Any) -> None:
    def reply(request: Any) -> Any:
        text = json.loads(request.content)["messages"][0]["content"]
        return httpx.Response(200, json=wire.answer(text.upper()))

    httpx2_mock.post(wire.url).mock(side_effect=reply)
    answers = colour.batch(wire.model(), [f"row {i}" for i in range(20)], {"max_concurrency": 4})
    assert [a.content for a in answers] == [f"ROW {i}" for i in range(20)]


def test_a_chain_of_prompt_model_and_parser_streams_token_by_token(
    colour: Any, wire: Wire, httpx2_mock: Any
) -> None:
    route = httpx2_mock.post(wire.url).respond(content=wire.stream("a", "b", "c"))
    chain = (
        ChatPromptTemplate.from_messages([("system", "Be {mood}."), ("human", "{q}")])
        | wire.model()
        | StrOutputParser()
    )
    assert [piece for piece in colour.stream(chain, {"mood": "brief", "q": "hi"}) if piece] == [
        "a",
        "b",
        "c",
    ]
    body = sent(route)
    said = body.get("system") or body["messages"][0]["content"]
    assert said == "Be brief."


def test_one_history_with_tools_and_a_late_system_message_runs_on_both_wires(
    colour: Any, wire: Wire, httpx2_mock: Any
) -> None:
    route = httpx2_mock.post(wire.url).respond(json=wire.answer())
    history = [
        SystemMessage("You are a clerk."),
        HumanMessage("What is 2+2"),
        HumanMessage("and 3+3?"),
        AIMessage(
            "",
            tool_calls=[
                {"name": "add", "args": {"a": n, "b": n}, "id": f"t{n - 1}"} for n in (2, 3)
            ],
        ),
        ToolMessage("4", tool_call_id="t1"),
        ToolMessage("6", tool_call_id="t2"),
        SystemMessage("Answer in one line."),
        HumanMessage(""),
        HumanMessage(
            [
                {"type": "text", "text": "Well?"},
                {"type": "image", "base64": "aGk=", "mime_type": "image/png"},
            ]
        ),
    ]
    assert colour.invoke(wire.model(), history).content == "Hello!"
    body = json.dumps(sent(route))
    assert all(word in body for word in ("clerk", "2+2", "t1", "t2", "one line", "Well?", "aGk="))


# ---------------------------------------------------------------- configuration


def test_settings_and_call_arguments_reach_the_body_in_their_order(wire: Wire) -> None:
    model = wire.model(temperature=0.5, model_kwargs={"custom": 1}, extra_body={"deep": {"x": 1}})
    request = model.build_request(
        "hi", temperature=0.7, stop=["END"], extra_body={"late": True}, max_tokens=9
    )
    assert request.body["temperature"] == 0.7
    assert request.body["custom"] == 1
    assert request.body["deep"] == {"x": 1}
    assert request.body["late"] is True
    assert request.body.get("stop", request.body.get("stop_sequences")) == ["END"]
    assert 9 in (request.body.get("max_tokens"), request.body.get("max_completion_tokens"))
    assert model.build_request("hi", temperature=None).body.get("temperature") is None


def test_headers_come_from_the_model_and_from_the_call(wire: Wire) -> None:
    model = wire.model(default_headers={"X-Team": "blue"})
    headers = {
        k.lower(): v
        for k, v in model.build_request("hi", extra_headers={"X-Trace": "7"}).headers.items()
    }
    assert (headers["x-team"], headers["x-trace"]) == ("blue", "7")


def test_key_and_address_come_from_the_environment(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{wire.name.upper()}_API_KEY", "env-key")
    monkeypatch.setenv(f"{wire.name.upper()}_BASE_URL", "http://127.0.0.1:9/base/")
    request = wire.cls(model="m").build_request("hi")
    assert request.url.startswith("http://127.0.0.1:9/base/")
    assert "env-key" in "".join(request.headers.values())
    assert "given" in "".join(
        wire.cls(model="m", api_key="given").build_request("hi").headers.values()
    )


def test_organisation_and_project_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-env")
    headers = ChatOpenAI(model="m", api_key=KEY, project="proj-1").build_request("hi").headers
    assert (headers["OpenAI-Organization"], headers["OpenAI-Project"]) == ("org-env", "proj-1")


def test_an_anthropic_bearer_token_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "tok")
    headers = {
        k.lower(): v for k, v in ChatAnthropic(model="m").build_request("hi").headers.items()
    }
    assert headers["authorization"] == "Bearer tok"
    assert "x-api-key" not in headers


def test_older_argument_names_are_taken() -> None:
    model = ChatOpenAI(
        model_name="m",
        openai_api_key=KEY,
        openai_api_base="http://127.0.0.1:9/v1",
        request_timeout=3,
    )
    assert (model.model, model.model_name, model.base_url, model.timeout) == (
        "m",
        "m",
        "http://127.0.0.1:9/v1",
        3,
    )
    assert ChatAnthropic(model="m", anthropic_api_key=KEY, max_tokens_to_sample=7).max_tokens == 7


def test_pydantics_own_secret_and_a_function_are_keys_too(wire: Wire) -> None:
    from pydantic import SecretStr

    for key in (SecretStr("inside"), lambda: "inside", lambda: SecretStr("inside")):
        assert "inside" in "".join(wire.model(api_key=key).build_request("hi").headers.values())


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("status", "words", "error"),
    [
        (400, {"message": "bad thing", "type": "invalid_request_error"}, BadRequest),
        (400, {"message": "too long", "code": "context_length_exceeded"}, ContextTooLong),
        (401, {"message": "who?", "type": "authentication_error"}, AuthenticationError),
        (429, {"message": "slow down", "type": "rate_limit_error"}, RateLimited),
        (
            429,
            {"message": "pay first", "type": "insufficient_quota", "code": "insufficient_quota"},
            QuotaExhausted,
        ),
    ],
)
def test_an_http_error_is_the_fitting_class_with_its_facts(
    colour: Any, wire: Wire, httpx2_mock: Any, status: int, words: dict[str, str], error: type
) -> None:
    ids = {"x-request-id": "req_9", "request-id": "req_9"}
    httpx2_mock.post(wire.url).respond(
        status, json={"error": words}, headers={**ids, "retry-after": "3"}
    )
    with pytest.raises(error, match=words["message"]) as caught:
        colour.invoke(wire.model(), "hi")
    e = caught.value
    assert (e.status, e.request_id, e.provider, e.model) == (
        status,
        "req_9",
        wire.name,
        f"{wire.name}-test",
    )
    assert e.retry_after == 3
    assert KEY not in str(e)


def test_a_stream_without_its_mark_raises_with_the_part(
    colour: Any, wire: Wire, httpx2_mock: Any
) -> None:
    cut = wire.cut_stream()
    httpx2_mock.post(wire.url).respond(content=cut)
    with pytest.raises(IncompleteStream) as caught:
        colour.stream(wire.model(), "hi")
    assert caught.value.partial.content == "ab"
    httpx2_mock.post(wire.url).respond(content=cut)
    with pytest.raises(IncompleteStream):
        colour.invoke(wire.model(streaming=True), "hi")


def test_a_timeout_in_the_config_is_for_the_whole_call(
    colour: Any, wire: Wire, httpx2_mock: Any
) -> None:
    httpx2_mock.post(wire.url).respond(
        429, json={"error": {"message": "later"}}, headers={"retry-after": "30"}
    )
    with pytest.raises(RateLimited, match="s left"):
        colour.invoke(wire.model(max_retries=2), "hi", {"timeout": 2})
    registry.forget()  # the pause that was asked for holds for the next call too
    httpx2_mock.post(wire.url).mock(side_effect=httpx2.ReadTimeout("slow"))
    with pytest.raises(Timeout) as caught:
        colour.invoke(wire.model(), "hi")
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("nothing", [[], ()])
def test_an_empty_list_is_refused_before_any_request(
    colour: Any, wire: Wire, httpx2_mock: Any, nothing: Any
) -> None:
    with pytest.raises(InvalidArgument, match="empty"):
        colour.invoke(wire.model(), nothing)
    assert httpx2_mock.calls.call_count == 0


@pytest.mark.parametrize(
    "foreign", [[object()], 5, [("robot", "hi")], [{"role": "robot", "content": "x"}]]
)
def test_a_foreign_message_is_refused_before_any_request(
    colour: Any, wire: Wire, httpx2_mock: Any, foreign: Any
) -> None:
    with pytest.raises(InvalidArgument):
        colour.invoke(wire.model(), foreign)
    assert httpx2_mock.calls.call_count == 0


def test_a_missing_key_is_said_at_once_with_the_variable(wire: Wire) -> None:
    with pytest.raises(MissingKey, match=f"{wire.name.upper()}_API_KEY"):
        wire.cls(model="m")
    assert (
        wire.cls(model="m", base_url="http://127.0.0.1:9").build_request("hi").url
    )  # an address of one's own


@pytest.mark.parametrize("key", [f"{KEY}\n", f"a\r\nX: {KEY}", f"{KEY}é", f" {KEY}", "\x00"])
def test_a_key_no_header_can_carry_is_refused_and_not_shown(wire: Wire, key: str) -> None:
    with pytest.raises(InvalidArgument, match="API key") as caught:
        wire.model(api_key=key)
    assert KEY not in str(caught.value)


def test_a_header_with_a_line_break_is_refused_and_not_shown(wire: Wire) -> None:
    with pytest.raises(InvalidArgument, match="X-A") as caught:
        wire.model(default_headers={"X-A": f"1\r\nx: {KEY}"})
    assert KEY not in str(caught.value)
    with pytest.raises(InvalidArgument, match="X-B"):
        wire.model().build_request("hi", extra_headers={"X-B": "1\n"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"max_retries": -1}, "max_retries"),
        ({"timeout": 0}, "timeout"),
        ({"base_url": "api.example.org"}, "base_url"),
        ({"temprature": 0}, "Did you mean `temperature`"),
        ({"model_kwargs": {"x": object()}}, "`x`"),
    ],
)
def test_a_wrong_setting_is_named(wire: Wire, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        wire.model(**settings).invoke("hi")


def test_a_setting_nobody_knows_is_sent_and_warned_of(wire: Wire) -> None:
    with pytest.warns(UserWarning, match="brand_new_knob"):
        model = wire.model(brand_new_knob=3)
    assert model.build_request("hi").body["brand_new_knob"] == 3


def test_everything_a_call_raises_is_ours(colour: Any, wire: Wire, httpx2_mock: Any) -> None:
    for failure in (
        httpx2.ConnectError("x"),
        httpx2.RemoteProtocolError("x"),
        httpx2.ReadError("x"),
        OSError("x"),
    ):
        httpx2_mock.post(wire.url).mock(side_effect=failure)
        with pytest.raises(ModelwireError) as caught:
            colour.invoke(wire.model(), "hi")
        assert caught.value.__cause__ is failure
    for body in (
        b"",
        b"<html>oops</html>",
        b"{",
        b"[]",
        b'{"choices": null}',
        b"\xff",
        b"[" * 100_000,
    ):
        httpx2_mock.post(wire.url).respond(content=body)
        with pytest.raises(ModelwireError):
            colour.invoke(wire.model(), "hi")
        with pytest.raises(ModelwireError):
            colour.stream(wire.model(), "hi")


# ---------------------------------------------------------------- clients of the user's own, copies, secrets


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda m: m.__name__)
def test_the_users_own_client_carries_the_call(colour: Any, wire: Wire, library: Any) -> None:
    def reply(request: Any) -> Any:
        assert request.headers["x-mine"] == "1"
        return library.Response(200, json=wire.answer("by yours"))

    transport = library.MockTransport(reply)
    with library.Client(transport=transport, headers={"x-mine": "1"}) as client:
        other = library.AsyncClient(transport=transport, headers={"x-mine": "1"})
        model = wire.model(http_client=client, http_async_client=other)
        assert colour.invoke(model, "hi").content == "by yours"
        asyncio.run(other.aclose())


def test_a_users_httpx_client_works_under_plain_respx(wire: Wire) -> None:
    with respx.mock() as router, httpx.Client() as client:
        router.post(wire.url).respond(json=wire.answer("routed"))
        assert wire.model(http_client=client).invoke("hi").content == "routed"


def test_a_batch_with_only_a_sync_client_uses_it(wire: Wire) -> None:
    with respx.mock() as router, httpx.Client() as client:
        route = router.post(wire.url).respond(json=wire.answer("routed"))
        model = wire.model(http_client=client)
        assert [a.content for a in model.batch(["a", "b"])] == ["routed"] * 2
        assert route.call_count == 2


def test_no_secret_is_shown_or_carried_away(wire: Wire) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "X-Team": "blue"}
    client = httpx2.Client()
    model = wire.model(default_headers=headers, http_client=client)
    shown = [
        repr(model),
        str(model),
        repr(model.build_request("hi")),
        json.dumps(model.model_dump()),
        repr(model.api_key),
    ]
    assert not any(KEY in text for text in shown)
    with pytest.warns(
        UserWarning, match="does not contain what may be secret in `default_headers`"
    ):
        pickled = pickle.dumps(model)
    assert KEY.encode() not in pickled
    again = pickle.loads(pickled)
    assert (again.model, again.default_headers, again.http_client) == (model.model, None, None)
    assert (
        copy.deepcopy(model.model_copy(update={"temperature": 1, "http_client": None})).temperature
        == 1
    )


def test_a_pickled_model_takes_its_key_from_where_it_wakes_up(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = pickle.dumps(wire.model())
    monkeypatch.setenv(f"{wire.name.upper()}_API_KEY", "there")
    assert "there" in "".join(pickle.loads(pickled).build_request("hi").headers.values())


def test_a_model_made_the_quick_way_equals_a_validated_one(wire: Wire) -> None:
    quick = wire.model(temperature=0)
    validated = wire.model(temperature=0, stop=["x"]).model_copy(update={"stop": None})
    assert quick.model_dump() == validated.model_dump()
    assert wire.cls.model_validate({"model": "m", "api_key": KEY}).model == "m"

    class Mine(wire.cls):
        mood: str = "calm"

    assert Mine(model="m", api_key=KEY, mood="wild").mood == "wild"


# ---------------------------------------------------------------- counts, not times


def test_at_most_four_frames_stand_between_invoke_and_the_client(wire: Wire) -> None:
    depths: list[int] = []

    class Client:
        def build_request(self, *args: Any, **kwargs: Any) -> Any:
            return httpx2.Request("POST", wire.url)

        def send(self, request: Any, **kwargs: Any) -> Any:
            frame, depth = sys._getframe(1), 0
            while frame.f_code.co_name != "invoke":
                frame, depth = frame.f_back, depth + 1
            depths.append(depth)
            return httpx2.Response(200, json=wire.answer())

    wire.model(http_client=Client()).invoke("hi")
    assert depths[0] <= 4


def python_calls(work: Callable[[], object]) -> int:
    """Count the functions of ours that are entered (a generator each time it goes on), in a warm run.

    The least of three: the garbage of other tests may be collected in one of them.
    """
    counts: list[int] = []

    def count(frame: Any, event: str, arg: Any) -> None:
        counts[-1] += event == "call" and "modelwire" in Path(frame.f_code.co_filename).parts

    work()
    for _ in range(3):
        counts.append(0)
        sys.setprofile(count)
        try:
            work()
        finally:
            sys.setprofile(None)
    return min(counts)


def test_a_streamed_event_costs_few_python_calls(wire: Wire) -> None:
    def calls_for(words: int) -> int:
        body = wire.stream(*["word "] * words)
        transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body))
        with httpx2.Client(transport=transport) as client:
            model = wire.model(http_client=client)
            return python_calls(lambda: list(model.stream("hi")))

    assert (calls_for(2100) - calls_for(100)) / 2000 <= 6


def test_importing_the_models_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ChatOpenAI.model_rebuild(force=True)
        ChatAnthropic.model_json_schema()


def test_the_request_id_is_told_in_answers_streams_and_interruptions(
    colour: Any, wire: Wire, httpx2_mock: Any
) -> None:
    ids = {"x-request-id": "req_7", "request-id": "req_7"}
    httpx2_mock.post(wire.url).respond(json=wire.answer(), headers=ids)
    assert colour.invoke(wire.model(), "hi").response_metadata["request_id"] == "req_7"
    httpx2_mock.post(wire.url).respond(content=wire.stream("a", "b"), headers=ids)
    assert (
        colour.invoke(wire.model(streaming=True), "hi").response_metadata["request_id"] == "req_7"
    )
    httpx2_mock.post(wire.url).respond(content=wire.cut_stream(), headers=ids)
    with pytest.raises(IncompleteStream) as caught:
        colour.stream(wire.model(), "hi")
    assert caught.value.request_id == "req_7"


def test_a_page_in_html_is_no_stream(colour: Any, wire: Wire, httpx2_mock: Any) -> None:
    httpx2_mock.post(wire.url).respond(html="<html><h1>Gateway is\nresting</h1></html>")
    with pytest.raises(MalformedResponse, match="Gateway is resting"):
        colour.stream(wire.model(), "hi")


def test_the_aiohttp_engine_answers_streams_and_batches(wire: Wire, raw_server: Any) -> None:
    pytest.importorskip("aiohttp")
    body = json.dumps(wire.answer("Good day")).encode()
    server = raw_server([[answer(body)]], repeat=True)
    model = wire.model(engine="aiohttp", base_url=server.url.removesuffix("/v1"))
    assert asyncio.run(model.ainvoke("hi")).content == "Good day"
    assert [a.content for a in model.batch(["a", "b"])] == ["Good day"] * 2
    with pytest.raises(InvalidArgument, match="engine"):
        wire.model(engine="curl")


# ---------------------------------------------------------------- what belongs to a call, and what does not


def test_patience_may_be_set_for_one_call_and_is_never_sent(
    colour: Any, wire: Wire, raw_server: Any
) -> None:
    server = raw_server([[30.0]])
    model = wire.model(base_url=server.url.removesuffix("/v1"), max_retries=4)
    with pytest.raises(Timeout, match="Nothing was received"):
        colour.invoke(model, "hi", timeout=0.1, max_retries=0)
    assert b"timeout" not in server.requests[0].partition(b"\r\n\r\n")[2]
    with pytest.raises(InvalidArgument, match="max_retries"):
        colour.invoke(model, "hi", max_retries=-1)


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"max_concurrency": 1}, "config"),
        ({"base_url": "http://127.0.0.1"}, "when .* is made"),
        ({"temprature": 1}, "Did you mean `temperature`"),
    ],
)
def test_a_keyword_that_is_no_parameter_is_refused(
    wire: Wire, keywords: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        wire.model().invoke("hi", **keywords)


def test_timeouts_in_the_forms_of_httpx_are_read(wire: Wire) -> None:
    assert wire.model(timeout=httpx.Timeout(3)).timeout == 3
    assert wire.model(request_timeout=(1, 2)).timeout == 2
    assert wire.model(timeout=httpx2.Timeout(5, connect=1)).timeout == 5


@pytest.mark.parametrize("client", ["x", httpx2.AsyncClient])
def test_a_client_that_cannot_carry_the_call_is_refused(wire: Wire, client: Any) -> None:
    made = client() if callable(client) else client
    with pytest.raises(InvalidArgument, match="http_client"):
        wire.model(http_client=made)
    if callable(client):
        asyncio.run(made.aclose())


def test_a_closed_client_is_said_to_be_that(colour: Any, wire: Wire) -> None:
    sync, other = httpx2.Client(), httpx2.AsyncClient()
    sync.close()
    asyncio.run(other.aclose())
    with pytest.raises(InvalidArgument, match="closed"):
        colour.invoke(wire.model(http_client=sync, http_async_client=other), "hi")


def test_the_input_schema_of_a_model_is_a_text_a_prompt_or_messages() -> None:
    schema = ChatOpenAI(model="gpt-4o", api_key="k").input_schema.model_json_schema()
    assert schema["title"] == "ChatOpenAIInput"
    text, prompt, chat, messages = schema["anyOf"]
    assert text == {"type": "string"}
    assert [prompt["$ref"], chat["$ref"]] == [
        "#/$defs/StringPromptValue",
        "#/$defs/ChatPromptValue",
    ]
    assert {"$ref": "#/$defs/HumanMessage"} in messages["items"]["oneOf"]


def test_without_a_model_it_is_langchains_default_and_the_warning_stands_at_the_callers_line() -> (
    None
):
    with pytest.warns(UserWarning, match=r"`gpt-3\.5-turbo`, LangChain's default") as warned:
        model = ChatOpenAI(api_key="k")
    assert model.model == "gpt-3.5-turbo"
    assert [warning.filename for warning in warned] == [__file__]
    with pytest.raises(InvalidArgument, match="`model`: Field required"):
        ChatOpenAI(api_key="k", provider="groq")
    with pytest.raises(InvalidArgument, match="`model`: Field required"):
        ChatAnthropic(api_key="k")


@pytest.mark.parametrize("cls", [ChatOpenAI, ChatAnthropic])
def test_words_of_langchains_clients_are_not_sent_to_the_provider(cls: Any) -> None:
    model = cls(
        model="m",
        api_key="k",
        tiktoken_model_name="gpt-4",
        stream_usage=True,
        profile={"max_input_tokens": 9},
        default_query={"api-version": "1 2"},
        stream_chunk_timeout=3.0,
        include_response_headers=False,
        http_socket_options=None,
    )
    request = model.build_request("hi")
    assert set(request.body) <= {"model", "messages", "max_tokens"}
    assert request.url.endswith("?api-version=1+2")
    assert (model.profile["max_input_tokens"], model.stream_idle_timeout) == (9, 3.0)
    with pytest.warns(
        UserWarning, match=r"`include_response_headers` has no effect here: .*limits"
    ) as warned:
        cls(model="m", api_key="k", include_response_headers=True)
    assert [warning.filename for warning in warned] == [__file__]


def test_other_names_of_fields_are_attributes_too() -> None:
    model = ChatOpenAI(model="m", api_key="k", base_url="https://llm.example.org/v1", timeout=3)
    assert model.openai_api_key.get_secret_value() == "k"  # type: ignore[attr-defined]
    assert (model.openai_api_base, model.request_timeout) == ("https://llm.example.org/v1", 3)  # type: ignore[attr-defined]
    assert ChatAnthropic(model="m", api_key="k").anthropic_api_key.get_secret_value() == "k"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="nothing"):
        model.nothing  # type: ignore[attr-defined]  # noqa: B018


# ---------------------------------------------------------------- timeouts of a client of one's own


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
def test_the_timeout_of_a_client_of_ones_own_holds_where_the_model_has_none(
    wire: Wire, library: Any
) -> None:
    def limits(model: Any, *, is_async: bool, **call: Any) -> tuple[float, float, float]:
        return model._exchange(
            model._messages("hi"), None, {}, call, stream=False, is_async=is_async
        ).policy.timeouts[:3]

    with library.Client(timeout=library.Timeout(30, connect=20)) as client:
        model = wire.model(http_client=client, http_async_client=library.AsyncClient(timeout=40))
        assert limits(model, is_async=False) == (20, 30, 30)
        assert limits(model, is_async=True) == (40, 40, 40)
        assert limits(model, is_async=False, timeout=7)[1] == 7
        assert limits(wire.model(http_client=client, timeout=9), is_async=False) == (5, 9, 9)
    for unlimited in (
        library.Client(),
        library.Client(timeout=None),
    ):  # the SDKs pass over httpx's 5 s, too
        with unlimited as client:
            assert limits(wire.model(http_client=client), is_async=False) == (5, 600, 120)


# ---------------------------------------------------------------- addresses and headers


@pytest.mark.parametrize("base", ["http://h/v1", "http://h/v1/", "http://h/v1//"])
@pytest.mark.parametrize("query", ["", "?key=abc", "?sig=abc/", "?sig=a//b/"])
def test_a_slash_before_a_query_is_dropped_and_one_in_it_is_kept(
    wire: Wire, base: str, query: str
) -> None:
    path = wire.url.partition("/v1")[2]
    assert wire.model(base_url=base + query).build_request("hi").url == f"http://h/v1{path}{query}"


@pytest.mark.parametrize("value", [None, 5])
@pytest.mark.parametrize("where", ["default_headers", "extra_headers", "call"])
def test_a_header_that_is_no_text_is_refused_by_name(
    colour: Any, wire: Wire, where: str, value: Any
) -> None:
    with pytest.raises(InvalidArgument, match=r"X-Team|headers"):
        if where == "call":
            colour.invoke(wire.model(), "hi", extra_headers={"X-Team": value})
        else:
            wire.model(**{where: {"X-Team": value}})

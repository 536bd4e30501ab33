"""CONTRIBUTING, "How to add a wire", holds: the toy of `support.toy_wire` needs no shared file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pydantic
import pytest
from support.mocked import answered_by
from support.toy_wire import ChatToy

from modelwire import init_chat_model
from modelwire.adapters.providers.registry import PROVIDERS, Provider
from modelwire.adapters.wires.wire import WIRES
from modelwire.errors import (
    AuthenticationError,
    IncompleteStream,
    InvalidArgument,
    MissingKey,
    RateLimited,
    StreamInterrupted,
)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WIRES, "toy", "support.toy_wire")
    monkeypatch.setitem(PROVIDERS, "toy", Provider("toy", models=("toy-",)))


class Answers:
    """Keeps what was asked, and answers with these, the last one for good."""

    def __init__(self, *answers: httpx2.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def body(self) -> Any:
        return json.loads(self.requests[-1].content)


def toy(answers: Answers, **kwargs: Any) -> ChatToy:
    return ChatToy(model="toy-1", api_key="k", **answered_by(answers), **kwargs)


def test_it_invokes_with_the_model_in_the_path(colour: Any) -> None:
    answers = Answers(httpx2.Response(200, json={"text": "Hello!"}))
    assert colour.invoke(toy(answers, temperature=0.5), "hi").text == "Hello!"
    request = answers.requests[-1]
    assert str(request.url) == "https://toy.test/v1/toy-1:say"
    assert request.headers["x-toy-key"] == "k"
    assert answers.body == {"says": [{"human": "hi"}], "temperature": 0.5}


def test_it_streams_in_its_own_framing_however_the_body_is_cut(colour: Any) -> None:
    def pieces() -> Iterator[bytes]:
        body = b'{"text": "Hel"}\n{"text": "lo"}\n{"end": 1}\n'
        yield from (body[start : start + 5] for start in range(0, len(body), 5))

    answers = Answers(httpx2.Response(200, content=b"".join(pieces())))
    chunks = colour.stream(toy(answers), "hi")
    assert [chunk.text for chunk in chunks] == ["Hel", "lo", ""]
    assert chunks[-1].chunk_position == "last"
    assert str(answers.requests[-1].url).endswith("/toy-1:stream")


def test_a_cut_stream_is_no_answer(colour: Any) -> None:
    answers = Answers(httpx2.Response(200, content=b'{"text": "Hel"}\n'))
    with pytest.raises((IncompleteStream, StreamInterrupted)) as caught:
        colour.stream(toy(answers, max_retries=0), "hi")
    assert caught.value.partial.text == "Hel"


def test_it_binds_tools_in_its_own_shape_and_reads_their_calls(colour: Any) -> None:
    def weather(city: str) -> str:
        """Say what the weather is."""
        return city

    answers = Answers(
        httpx2.Response(200, json={"calls": [{"name": "weather", "args": {"city": "Rome"}}]})
    )
    answer = colour.invoke(toy(answers).bind_tools([weather], tool_choice="any"), "hi")
    assert answers.body["tools"] == [{"toy_tool": "weather"}]
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [
        ("weather", {"city": "Rome"})
    ]


def test_it_structures_output(colour: Any) -> None:
    class Place(pydantic.BaseModel):
        city: str

    answers = Answers(
        httpx2.Response(200, json={"calls": [{"name": "Place", "args": {"city": "Rome"}}]})
    )
    assert colour.invoke(toy(answers).with_structured_output(Place), "hi") == Place(city="Rome")
    with pytest.raises(InvalidArgument, match="no JSON mode"):
        toy(answers).with_structured_output(None, method="json_mode")


class Unsigned(ChatToy):
    """A model whose signing function fails, sync or awaited."""

    def _exchange(self, *args: Any, is_async: bool = False, **kwargs: Any) -> Any:
        exchange = super()._exchange(*args, is_async=is_async, **kwargs)

        def sign() -> Any:
            raise AuthenticationError("No credentials.")

        async def asign() -> Any:
            sign()

        exchange.sign = asign if is_async else sign
        return exchange


def test_a_signing_error_is_the_failure_of_an_attempt_sync_or_awaited(colour: Any) -> None:
    answers = Answers(httpx2.Response(200, json={"text": "unreached"}))
    model = Unsigned(model="toy-1", api_key="k", **answered_by(answers))
    with pytest.raises(AuthenticationError) as caught:
        colour.invoke(model, "hi")
    assert (caught.value.provider, len(caught.value.attempts)) == ("toy", 1)
    assert answers.requests == []


def test_its_errors_are_ours_and_are_retried_with_a_new_signature(colour: Any) -> None:
    refused = httpx2.Response(
        429, headers={"retry-after": "0"}, json={"error": {"message": "Slow down."}}
    )
    answers = Answers(refused, httpx2.Response(200, json={"text": "Hello!"}))
    assert colour.invoke(toy(answers), "hi").text == "Hello!"
    first, second = (int(request.headers["x-signature"]) for request in answers.requests)
    assert second == first + 1
    with pytest.raises(RateLimited, match=r"Slow down\.") as caught:
        colour.invoke(toy(Answers(refused), max_retries=0), "hi")
    assert (caught.value.provider, caught.value.model) == ("toy", "toy-1")


def test_it_is_made_by_its_name_and_by_its_models_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", "from the environment".replace(" ", "-"))
    for name in ("toy:toy-1", "toy-1"):
        model = init_chat_model(name)
        assert isinstance(model, ChatToy)
        assert model.build_request("hi").headers["x-toy-key"] == "from-the-environment"
    monkeypatch.delenv("TOY_KEY")
    with pytest.raises(MissingKey, match="TOY_KEY"):
        init_chat_model("toy:toy-1")


def test_it_takes_no_client_of_an_sdk() -> None:
    openai = pytest.importorskip("openai")
    with pytest.raises(InvalidArgument, match="no client of an SDK"):
        ChatToy(model="toy-1", client=openai.OpenAI(api_key="k"))

"""Secrets among the fields of a body: masked by their names, in cassettes, logs, reprs and errors alike."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.provider_bodies import anthropic_answer, openai_answer
from support.raw_server import answer

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import ModelwireError
from modelwire.load import dumps
from modelwire.testing import recorded, replayed
from modelwire.transport import logs
from modelwire.transport.wire import MASK, masked_fields, masked_headers

SECRETS = {
    "token": "canary-of-mcp-1",
    "authorization": "canary-of-mcp-2",
    "header": "canary-of-a-header-3",
    "key": "canary-of-a-key-4",
    "password": "canary-of-a-password-5",
}


def anthropic(url: str) -> Any:
    server = {
        "type": "url",
        "url": "https://mcp.example",
        "name": "m",
        "authorization_token": SECRETS["token"],
    }
    return ChatAnthropic(
        model="m",
        api_key="k",
        base_url=url.removesuffix("/v1"),
        max_retries=0,
        mcp_servers=[server],
        extra_body={"api_key": SECRETS["key"], "nested": {"dbPassword": SECRETS["password"]}},
    )


def openai(url: str) -> Any:
    tool = {
        "type": "mcp",
        "server_label": "m",
        "server_url": "https://mcp.example",
        "authorization": f"Bearer {SECRETS['authorization']}",
        "headers": {"X-Anything": SECRETS["header"]},
    }
    return ChatOpenAI(
        model="m",
        api_key="k",
        base_url=url,
        max_retries=0,
        use_responses_api=False,
        extra_body={"tools": [tool], "api_key": SECRETS["key"]},
    )


MODELS = {"anthropic": anthropic, "openai": openai}


@pytest.fixture(params=MODELS)
def make(request: pytest.FixtureRequest) -> Any:
    return MODELS[request.param]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Log bodies, as `MODELWIRE_LOG=bodies` does."""
    page = io.StringIO()
    logs.enable_logging("bodies", stream=page)
    yield page
    logger = logging.getLogger("modelwire")
    if logs._handler is not None:
        logger.removeHandler(logs._handler)
    logger.setLevel(logging.NOTSET)
    logs._handler, logs._bodies = None, False


def body_for(model: Any) -> dict[str, Any]:
    return anthropic_answer("ok") if isinstance(model, ChatAnthropic) else openai_answer("ok")


def assert_clean(text: str) -> None:
    assert not [secret for secret in SECRETS.values() if secret in text]


def test_a_repr_and_the_log_show_none(make: Any, raw_server: Any, log: Any, colour: Any) -> None:
    server = raw_server([])
    model = make(server.url)
    server.script, server.repeat = [[answer(json.dumps(body_for(model)).encode())]], True
    assert_clean(repr(model.build_request("hi")))
    assert "mcp.example" in repr(model.build_request("hi"))
    assert colour.invoke(model, "what is asked").text == "ok"
    assert_clean(log.getvalue())
    assert "what is asked" in log.getvalue()
    sent = server.requests[0].decode()
    assert [secret for secret in SECRETS.values() if secret in sent]  # they do go out


def test_an_error_that_says_them_again_does_not_show_them(
    make: Any, raw_server: Any, colour: Any
) -> None:
    echo = {"error": {"message": f"You sent {' '.join(SECRETS.values())}", "type": "invalid"}}
    server = raw_server([[answer(json.dumps(echo).encode(), status=400)]])
    model = make(server.url)
    sent = json.dumps(dict(model.build_request("hi").body))
    with pytest.raises(ModelwireError) as raised:
        colour.invoke(model, "hi")
    shown = f"{raised.value} {raised.value!r} {vars(raised.value)!r}"
    assert not [text for text in SECRETS.values() if text in sent and text in shown]


def test_no_cassette_holds_one_of_a_body_or_of_the_answers_headers(
    make: Any, raw_server: Any, colour: Any, tmp_path: Path
) -> None:
    server = raw_server([])
    model = make(server.url)
    of_the_answer = {
        "set-cookie": "canary-of-an-answer-1",
        "x-refresh-token": "canary-of-an-answer-2",
        "authentication-info": "canary-of-an-answer-3",
        "x-amz-security-token": "canary-of-an-answer-4",
        "x-api-key": "canary-of-an-answer-5",
        "x-ratelimit-remaining-tokens": "1234",
        "x-input-token-count": "5678",
    }
    headers = "".join(f"{name}: {value}\r\n" for name, value in of_the_answer.items())
    sent = json.dumps(dict(model.build_request("hi").body))
    said = [text for text in SECRETS.values() if text in sent]
    body = json.dumps(body_for(model)).replace("ok", f"again: {' '.join(said)}")
    server.script = [[answer(body.encode(), headers=headers)]]
    path = tmp_path / "run.jsonl"
    with recorded(path):
        colour.invoke(model, "hi")
    text = path.read_text()
    assert_clean(text)
    assert "canary" not in text
    assert '"1234"' in text
    assert '"5678"' in text
    with replayed(path):
        assert colour.invoke(make(server.url), "hi").text.startswith("again: ****")


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_a_cassette_is_the_owners_to_read(make: Any, raw_server: Any, tmp_path: Path) -> None:
    server = raw_server([])
    model = make(server.url)
    server.script, server.repeat = [[answer(json.dumps(body_for(model)).encode())]], True
    path = tmp_path / "run.jsonl"
    before = os.umask(0o022)
    try:
        with recorded(path):
            model.invoke("hi")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o640)
        with recorded(path, append=True):
            model.invoke("hi")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640  # what the user chose stays
    finally:
        os.umask(before)
    assert path.read_text().count('{"request"') == 2


@pytest.mark.parametrize(
    "name",
    [
        "authorization_token",
        "Authorization",
        "api_key",
        "apiKey",
        "x-goog-api-key",
        "clientSecret",
        "aws_session_token",
        "Set-Cookie",
        "PASSWORD",
        "credentials",
    ],
)
def test_a_name_of_a_secret_is_known_however_it_is_written(name: str) -> None:
    assert masked_fields([{name: "x"}]) == [{name: MASK}]
    assert masked_headers({name: "x"}) == {name: MASK}


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "x-ratelimit-remaining-tokens",
        "continuation_token",
        "nextPageToken",
        "eos_token",
        "prompt_cache_key",
        "author",
        "signature",
        "secretary",
        "keyboard",
        "token_count",
    ],
)
def test_other_names_are_not_taken_for_one(name: str) -> None:
    assert masked_fields({name: "x"}) == {name: "x"} == masked_headers({name: "x"})


def test_the_schema_of_a_tool_stays_as_it_is() -> None:
    schema = {
        "type": "object",
        "properties": {
            "password": {"type": "string", "description": "of the door"},
            "headers": {"type": "object", "properties": {"token": {"type": "string"}}},
        },
        "required": ["password"],
    }
    assert masked_fields({"tools": [{"parameters": schema}]}) == {"tools": [{"parameters": schema}]}


def test_a_model_shows_none_and_writes_none_down(make: Any) -> None:
    model = make("http://127.0.0.1:9/v1")
    assert_clean(repr(model))
    assert_clean(str(model))
    assert_clean(dumps(model))
    assert "mcp.example" in dumps(model)


def test_callbacks_hear_none(make: Any, raw_server: Any, colour: Any) -> None:
    heard: list[str] = []

    class Ears(BaseCallbackHandler):
        run_inline = True

        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            heard.append(f"{serialized!r} {kwargs!r}")

    server = raw_server([])
    model = make(server.url)
    server.script, server.repeat = [[answer(json.dumps(body_for(model)).encode())]], True
    tool = {"type": "mcp", "authorization": SECRETS["authorization"], "server_label": "m"}
    colour.invoke(model, "hi", {"callbacks": [Ears()]}, extra_body={"password": "x" * 12})
    if isinstance(model, ChatOpenAI):
        colour.invoke(model.bind(extra_body={"tools": [tool]}), "hi", {"callbacks": [Ears()]})
    assert heard
    assert_clean("".join(heard))
    assert "x" * 12 not in "".join(heard)

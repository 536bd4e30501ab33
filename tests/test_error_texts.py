"""What errors say to somebody who met them for the first time: what happened, what we saw, what to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from modelwire import cli, init_chat_model, run_tools
from modelwire.adapters import ChatOpenAI
from modelwire.errors import (
    AuthenticationError,
    ConnectFailed,
    InvalidArgument,
    OutputParserException,
    UnknownModel,
)
from modelwire.jobs import run_job
from modelwire.messages import HumanMessage
from modelwire.output_parsers import JsonOutputParser
from modelwire.testing import ProviderServer, faults
from modelwire.tools.args_schema import json_schema_of

KEY = "sk-test-0123456789abcd"


class Unwritable(BaseModel):
    function: Callable[[], int]


def chain_length(error: BaseException) -> int:
    """Return how many tracebacks Python prints for an error."""
    inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return 1 if inner is None else 1 + chain_length(inner)


def test_a_name_in_the_place_of_a_model_is_shown_how_to_become_one() -> None:
    with pytest.raises(InvalidArgument, match=r"`init_chat_model\('openai:gpt-4o'\)` makes one"):
        run_tools("openai:gpt-4o", "hi", [])


@pytest.mark.parametrize(
    ("name", "meant"),
    [("openai/gpt-4o", "openai:gpt-4o"), ("llama3.2", "ollama:llama3.2")],
)
def test_a_model_named_as_elsewhere_is_named_as_here(name: str, meant: str) -> None:
    with pytest.raises(UnknownModel, match=f"Did you mean `{meant}`"):
        init_chat_model(name)


def test_bytes_and_classes_are_no_prompt(provider_server: ProviderServer) -> None:
    model: Any = provider_server.model()
    with pytest.raises(InvalidArgument, match="not bytes: decode it"):
        model.invoke(b"hi")
    with pytest.raises(InvalidArgument, match="`HumanMessage` is a class: make a message of it"):
        model.invoke([HumanMessage])


def test_a_pair_alone_is_warned_of(provider_server: ProviderServer) -> None:
    model: Any = provider_server.model()
    with pytest.warns(UserWarning, match=r"write `\[\('human', ...\)\]`"):
        model.invoke(("human", "hi"))
    assert len(provider_server.requests[-1].body["messages"]) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.invoke([("human", "hi")])
        model.invoke(["human", "hi"])
        model.invoke(("first", "second"))


def test_json_that_cannot_be_read_says_where_in_one_traceback() -> None:
    with pytest.raises(OutputParserException, match=r"line 1 column 15") as caught:
        JsonOutputParser().invoke('{"a": 1, "b": }')
    assert str(caught.value).startswith("Invalid json output: ")
    assert chain_length(caught.value) == 1


def test_a_type_without_a_schema_is_not_sent_to_what_only_tools_have() -> None:
    with pytest.raises(InvalidArgument, match="An argument of a tool that the program itself"):
        json_schema_of(Unwritable)


def test_a_function_in_the_place_of_a_chain_is_shown_how_to_become_one() -> None:
    with pytest.raises(InvalidArgument, match=r"`RunnableLambda\(function\)`"):
        run_job(lambda row: row, [{"a": 1}], quiet=True)


def test_https_to_a_server_without_tls_says_what_to_write(
    provider_server: ProviderServer, colour: Any
) -> None:
    url = provider_server.base_url_for("openai").replace("http:", "https:")
    model = ChatOpenAI(model="m", api_key="k", base_url=url, max_retries=0)
    with pytest.raises(ConnectFailed, match="write `http://` in `base_url`"):
        colour.invoke(model, "hi")


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "gemini", "bedrock"])
def test_a_refused_key_is_named_by_its_source_and_its_last_characters(
    monkeypatch: pytest.MonkeyPatch, colour: Any, wire: Any
) -> None:
    with ProviderServer([faults.status(401)] * 2) as server:
        model = server.model(wire, api_key=KEY, max_retries=0)
        with pytest.raises(AuthenticationError, match=r"`\w+` was sent, which ends in `abcd`") as (
            caught
        ):
            colour.invoke(model, "hi")
        assert KEY not in str(caught.value)
        if wire == "openai":
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
            ambient = ChatOpenAI(model="m", base_url=server.base_url_for("openai"), max_retries=0)
            with pytest.raises(AuthenticationError, match="The key of `OPENAI_API_KEY` was sent"):
                colour.invoke(ambient, "hi")


@pytest.mark.parametrize("options", [{"api_key": "short"}, {"api_key": lambda: KEY}])
def test_nothing_is_shown_of_a_short_key_or_of_one_that_a_function_gives(options: Any) -> None:
    with ProviderServer([faults.status(401)] * 2) as server:
        model = ChatOpenAI(
            model="m", base_url=server.base_url_for("openai"), max_retries=0, **options
        )
        with pytest.raises(AuthenticationError) as caught:
            model.invoke("hi")
    assert "ends in" not in str(caught.value)


def test_a_misspelt_default_is_found_by_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    path = tmp_path / "modelwire.toml"
    path.write_text('default = "quik"\n[models.quick]\nmodel = "openai:gpt-4o"\n')
    monkeypatch.setenv("MODELWIRE_CONFIG", str(path))
    assert cli.main(["config", "check"]) == 1
    shown = capsys.readouterr().out
    assert "`default` of the file: `quik` is neither a row" in shown
    assert "Did you mean `quick`?" in shown and "1 wrong" in shown

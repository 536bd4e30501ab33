"""`modelwire.load` and `langchain_core.load` read what the other one wrote."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import langchain_core.load as theirs
import langchain_core.messages as their_messages
import pytest

import modelwire.load as ours
import modelwire.messages as our_messages

SECRET = {"lc": 1, "type": "secret", "id": ["CANARY_SECRET"]}
MODEL = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "chat_models", "openai", "ChatOpenAI"],
    "kwargs": {"model_name": "m", "base_url": "http://evil.test/v1", "x": SECRET},
}
HOSTILE: list[dict[str, Any]] = [
    SECRET,
    MODEL,
    {"lc": 3},
    {"__lc_escaped__": SECRET},
    {"__lc_escaped__": {"__lc_escaped__": MODEL}},
    {"deep": [[SECRET, {"__lc_escaped__": 1}]]},
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CANARY_SECRET", "canary")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def talk(module: Any) -> list[Any]:
    """A conversation in which data that looks like the form is wherever data may be."""
    return [
        module.AIMessage(
            ["x", *HOSTILE],
            tool_calls=[{"name": "f", "args": one, "id": "1"} for one in HOSTILE],
            additional_kwargs={"a": HOSTILE},
        ),
        module.ToolMessage("x", tool_call_id="1", artifact=HOSTILE),
        *(module.HumanMessage("x", additional_kwargs=one) for one in HOSTILE),
    ]


def test_data_that_looks_like_the_form_is_written_as_langchain_writes_it() -> None:
    assert ours.dumpd(HOSTILE) == theirs.dumpd(HOSTILE)
    calls = [ours.dumpd(talk(our_messages))[0], theirs.dumpd(talk(their_messages))[0]]
    assert calls[0]["kwargs"]["tool_calls"] == calls[1]["kwargs"]["tool_calls"]


def test_each_side_reads_what_the_other_one_wrote() -> None:
    assert ours.load(theirs.dumpd(talk(their_messages)), secrets_from_env=True) == talk(
        our_messages
    )
    assert theirs.load(ours.dumpd(talk(our_messages)), secrets_from_env=True) == talk(
        their_messages
    )


def test_messages_of_langchain_are_written_too_with_their_data_escaped() -> None:
    written = ours.dumps({"a": talk(their_messages)})
    assert ours.loads(written, secrets_from_env=True) == {"a": talk(our_messages)}

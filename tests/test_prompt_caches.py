"""Where a prompt cache breaks: each mistake is named, and what only looks like one is not."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any

import pytest

from modelwire import prompt_caches
from modelwire.adapters.model import prompt_prefixes
from modelwire.adapters.model.prompt_prefixes import MOST_PROMPTS, PromptMemory
from modelwire.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from modelwire.testing import ProviderServer
from modelwire.usage import track

WIRES = ("openai", "responses", "anthropic", "bedrock", "gemini")
RULES = "Answer in one sentence. Name the page of the manual. Be polite, and never guess. " * 5
IMAGE = b"\x89PNG" + bytes(range(256)) * 4


def tool(name: str, description: str = "Look a word up in the manual.") -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"word": {"type": "string"}}}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


TOOLS = [tool("look"), tool("count"), tool("list_pages")]


def image(data: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    return {"type": "image", "base64": encoded, "mime_type": "image/png"}


def history(turns: int = 3, *, system: str = RULES, data: bytes = IMAGE) -> list[AnyMessage]:
    question = HumanMessage([{"type": "text", "text": "What is on this page?"}, image(data)])
    messages: list[AnyMessage] = [SystemMessage(system), question]
    for n in range(turns):
        call = {"name": "look", "args": {"word": f"word {n}"}, "id": f"call_{n}"}
        messages += [
            AIMessage(f"I look for {n}.", tool_calls=[call]),
            ToolMessage(f"Word {n} is on page {n}.", tool_call_id=call["id"]),
        ]
    return messages


Call = tuple[list[AnyMessage], list[dict[str, Any]], dict[str, Any]]  # messages, tools, parameters


def edited(change: Callable[[list[AnyMessage]], Any]) -> Call:
    messages = history(4)
    change(messages)
    return messages, TOOLS, {}


def answer_edited(messages: list[AnyMessage]) -> None:
    messages[2] = AIMessage("I search for 0.", tool_calls=messages[2].tool_calls)


def result_cut(messages: list[AnyMessage]) -> None:
    messages[3] = ToolMessage("Word 0 is ...", tool_call_id="call_0")


# The call after one with `history(3)` and TOOLS, and the words that name what is wrong with it.
INJECTED: dict[str, tuple[Call, tuple[str, ...]]] = {
    "a date in the system text": (
        (history(4, system=f"{RULES} It is 2026-11-24 03:58:12."), TOOLS, {}),
        ("message 0 (system) was changed", "A time or a date in a system prompt"),
    ),
    "another rule in the system text": (
        (history(4, system=RULES.replace("Be polite", "Be brief", 1)), TOOLS, {}),
        ("message 0 (system) was changed", "Be brief"),
    ),
    "tools reordered": ((history(4), [*TOOLS[1:], TOOLS[0]], {}), ("tool 0 (`count`) was moved",)),
    "a tool added": (
        (history(4), [TOOLS[0], tool("draw"), *TOOLS[1:]], {}),
        ("tool 1 (`draw`) was added",),
    ),
    "a tool removed": ((history(4), TOOLS[:2], {}), ("tool 2 was removed",)),
    "a tool described anew": (
        (history(4), [tool("look", "Look a word up in the index."), *TOOLS[1:]], {}),
        ("tool 0 (`look`) was changed", "in the index"),
    ),
    "temperature changed": (
        (history(4), TOOLS, {"temperature": 0.7}),
        ("the parameter `temperature` was changed: 0.7",),
    ),
    "the choice of tools changed": (
        (history(4), TOOLS, {"tool_choice": "any"}),
        ("the parameter `", "was changed"),
    ),
    "an image re-encoded": (
        (history(4, data=IMAGE[:700] + b"x" + IMAGE[701:]), TOOLS, {}),
        ("message 1 (human) was changed", "(`image`)"),
    ),
    "a turn edited": (edited(answer_edited), ("message 2 (ai) was changed", "I search for 0.")),
    "an old result cut": (edited(result_cut), ("message 3 (tool) was changed", "Word 0 is ...")),
    "a message dropped": (
        edited(lambda messages: messages.__delitem__(slice(2, 4))),
        ("message 2 (ai)", "removed"),
    ),
    "a message put in": (
        edited(lambda messages: messages.insert(1, HumanMessage("The user is in Bern."))),
        ("message 1 (human) was added",),
    ),
}
SONNET = "claude-sonnet-4-5"


@pytest.fixture(autouse=True)
def no_earlier_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_prefixes, "OF_PROCESS", PromptMemory())


def model_of(server: ProviderServer, wire: Any, **settings: Any) -> Any:
    if wire == "anthropic":
        settings = {"model": SONNET, **settings}
    return server.model(wire, **settings)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("case", INJECTED)
def test_each_break_is_named(wire: Any, case: str, caplog: pytest.LogCaptureFixture) -> None:
    (messages, tools, parameters), words = INJECTED[case]
    with ProviderServer() as server, prompt_caches.watch() as watched:
        model = model_of(server, wire)
        model.invoke(history(3), tools=TOOLS)
        model.invoke(messages, tools=tools, **parameters)
    assert len(watched.breaks) == 1, str(watched)
    found = watched.breaks[0]
    for word in words:
        assert word in found.message
    assert [record.message for record in caplog.records] == [found.message]
    assert caplog.records[0].levelno == logging.WARNING


NO_BREAKS: dict[str, list[list[AnyMessage]]] = {
    "a conversation goes on": [history(1), history(2), history(4)],
    "the same call again": [history(2), history(2)],
    "back to an earlier turn": [history(3), history(2)],
    "another conversation of the program": [
        [SystemMessage(RULES), HumanMessage("Where is the index?")],
        [
            SystemMessage(RULES),
            HumanMessage("Who wrote it?"),
            AIMessage("Me."),
            HumanMessage("Why?"),
        ],
    ],
    "another question about one document": [
        [
            SystemMessage(RULES),
            HumanMessage(RULES),
            AIMessage("Read."),
            HumanMessage("What is it?"),
        ],
        [SystemMessage(RULES), HumanMessage(RULES), AIMessage("Read."), HumanMessage("And why?")],
    ],
    "another program": [
        [SystemMessage("You are a pilot."), HumanMessage("hi")],
        [SystemMessage("Translate everything into French."), HumanMessage("hi")],
    ],
    "two conversations in turns": [
        [HumanMessage("one")],
        [HumanMessage("two")],
        [HumanMessage("one"), AIMessage("1"), HumanMessage("more")],
        [HumanMessage("two"), AIMessage("2"), HumanMessage("more")],
    ],
}


@pytest.mark.parametrize("case", NO_BREAKS)
def test_what_breaks_no_cache_is_not_reported(case: str) -> None:
    with ProviderServer() as server, prompt_caches.watch() as watched:
        for messages in NO_BREAKS[case]:
            server.model("anthropic").invoke(messages)
    assert watched.breaks == []
    assert str(watched) == "No prompt cache was broken."


def test_the_time_in_the_system_prompt_of_each_row_is_named_once_and_counted() -> None:
    with ProviderServer() as server, prompt_caches.watch() as watched:
        for n in range(5):
            system = SystemMessage(f"{RULES} The time is 12:00:0{n}.")
            server.model("openai").invoke([system, HumanMessage(f"question {n}")])
    assert len(watched.breaks) == 4
    assert {found.place for found in watched.breaks} == {0}


def test_the_log_names_a_place_once(caplog: pytest.LogCaptureFixture) -> None:
    test_the_time_in_the_system_prompt_of_each_row_is_named_once_and_counted()
    assert len(caplog.records) == 1
    assert "message 0 (system) was changed near character" in caplog.records[0].message


def test_the_excerpt_has_40_characters_on_each_side() -> None:
    before, after = (
        "".join(f"{n:04} " for n in range(100)),
        "".join(f"{n:04} " for n in range(200, 300)),
    )
    with ProviderServer() as server, prompt_caches.watch() as watched:
        for word in ("red", "blue"):
            server.model("openai").invoke([SystemMessage(before + word + after), HumanMessage("q")])
    excerpt = watched.breaks[0].excerpt
    at = excerpt.index("blue")
    assert before.endswith(excerpt[:at])
    assert at >= 40
    assert len(excerpt) - at >= 40
    assert len(excerpt) <= 2 * 40 + 16


def test_a_key_in_the_excerpt_is_masked() -> None:
    with ProviderServer() as server, prompt_caches.watch() as watched:
        for key in ("sk-abcdefghijklmnopqrst1", "sk-abcdefghijklmnopqrst2"):
            server.model("openai").invoke([SystemMessage(f"{RULES} {key}"), HumanMessage("q")])
    assert "sk-abcdef" not in str(watched) + watched.breaks[0].excerpt


def test_prompt_cache_compares_without_a_watch_and_track_lists_the_breaks(colour: Any) -> None:
    with ProviderServer() as server, track() as spent:
        model = model_of(server, "anthropic", prompt_cache=True)
        colour.invoke(model, history(3))
        colour.invoke(model, history(4, system=f"{RULES} It is 03:58."))
    assert [found.place for found in spent.cache.breaks] == [0]
    assert "breaks of prompt caches: 1; the first: The prompt cache of" in str(spent)


def test_without_prompt_cache_and_watch_nothing_is_compared() -> None:
    with ProviderServer() as server, track() as spent:
        model = model_of(server, "anthropic")
        model.invoke(history(3))
        model.invoke(history(4, system=f"{RULES} It is 03:58."))
        model.build_request(history(4), prompt_cache=True)  # shown, not sent
    assert spent.cache.breaks == []


def test_only_digests_are_stored_and_a_bounded_number_of_prompts() -> None:
    memory = PromptMemory()
    for n in range(MOST_PROMPTS + 10):
        memory.note("m", [SystemMessage(f"secret word {n}"), HumanMessage(f"private {n}")], {})
    assert len(memory._prompts) == MOST_PROMPTS
    stored = repr(memory.__dict__)
    assert "secret" not in stored
    assert "private" not in stored


def test_the_memory_of_a_long_text_is_bounded() -> None:
    memory = PromptMemory()
    memory.note("m", [HumanMessage("x" * 2_000_000)], {})
    (prompt,) = memory._prompts
    assert len(prompt.messages[0].chunks) == 4_096

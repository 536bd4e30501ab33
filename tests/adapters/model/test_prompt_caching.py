"""`prompt_cache`: one word that places marks and parameters in the words of each provider, before anything is sent."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest

from modelwire.adapters import (
    ChatAnthropic,
    ChatBedrockConverse,
    ChatGoogleGenerativeAI,
    ChatOpenAI,
)
from modelwire.caches import InMemoryCache
from modelwire.errors import InvalidArgument, ParameterWarning
from modelwire.jobs import run_job, submit_batch
from modelwire.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from modelwire.prompts import ChatPromptTemplate
from modelwire.testing.server import ProviderServer

LONG_TEXT = "A sentence of the manual. " * 400
SONNET = "claude-sonnet-4-5"
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": LONG_TEXT, "parameters": {"type": "object"}},
}


def agent_history(turns: int = 2) -> list[AnyMessage]:
    """Return a system prompt, a question, and `turns` calls of a tool with their results."""
    history: list[AnyMessage] = [SystemMessage(LONG_TEXT), HumanMessage("Look for it.")]
    for n in range(turns):
        call = {"name": "look", "args": {"n": n}, "id": f"call_{n}"}
        history += [
            AIMessage("", tool_calls=[call]),
            ToolMessage(f"result {n}", tool_call_id=call["id"]),
        ]
    return history


def anthropic(**settings: Any) -> ChatAnthropic:
    return ChatAnthropic(**{"model": SONNET, "api_key": "k", **settings})


def bedrock(model: str = f"anthropic.{SONNET}-20250929-v1:0", **settings: Any) -> Any:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    return ChatBedrockConverse(model=model, region_name="us-east-1", **keys, **settings)


def openai(model: str = "gpt-5.1", **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(model=model, api_key="k", **settings)


def marks_in(value: Any, path: str = "") -> dict[str, Any]:
    """Return every mark in a body, by the place of its block."""
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        for key, part in value.items():
            if key in ("cache_control", "cachePoint"):
                found[path] = part
            else:
                found |= marks_in(part, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            found |= marks_in(part, f"{path}[{index}]")
    return found


def body_of(model: Any, history: Any, **call: Any) -> dict[str, Any]:
    return dict(model.build_request(history, **call).body)


def test_anthropic_marks_tools_system_stable_turn_and_newest_turn() -> None:
    body = body_of(anthropic(prompt_cache=True), agent_history(), tools=[TOOL])
    ephemeral = {"type": "ephemeral"}
    assert marks_in(body) == {
        "tools[0]": ephemeral,
        "system[0]": ephemeral,
        "messages[2].content[0]": ephemeral,  # where the call before this one wrote
        "messages[4].content[0]": ephemeral,
    }


def test_the_marks_change_nothing_else() -> None:
    history = agent_history()
    plain = body_of(anthropic(), history, tools=[TOOL])
    marked = body_of(anthropic(prompt_cache="1h"), history, tools=[TOOL])

    def unmarked(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: unmarked(v) for k, v in value.items() if k != "cache_control"}
        if isinstance(value, list):
            return [unmarked(one) for one in value]
        return value

    marked = unmarked(marked)
    assert marked.pop("system") == [{"type": "text", "text": plain.pop("system")}]
    assert marked == plain


def test_an_hour_is_named_in_every_mark() -> None:
    body = body_of(anthropic(), agent_history(), prompt_cache="1h")
    assert set(map(str, marks_in(body).values())) == {"{'type': 'ephemeral', 'ttl': '1h'}"}


@pytest.mark.parametrize("set_on_the_model", [False, True])
def test_a_call_beats_the_model(*, set_on_the_model: bool) -> None:
    model = anthropic(prompt_cache=set_on_the_model)
    body = body_of(model, agent_history(), prompt_cache=not set_on_the_model)
    assert bool(marks_in(body)) is not set_on_the_model
    assert "prompt_cache" not in body


def test_bind_takes_it() -> None:
    with ProviderServer(["ok"]) as server:
        server.model("anthropic", model=SONNET).bind(prompt_cache=True).invoke(agent_history())
        assert marks_in(server.requests[0].body)


def test_the_messages_of_the_caller_stay_as_they_are() -> None:
    history = [SystemMessage(LONG_TEXT), HumanMessage([{"type": "text", "text": "hi"}])]
    before = copy.deepcopy(history)
    tools = [{"name": "own", "input_schema": {"type": "object"}, "description": LONG_TEXT}]
    for model in (anthropic(prompt_cache=True), bedrock(prompt_cache=True)):
        assert marks_in(body_of(model, history, tools=tools))
    assert history == before
    assert "cache_control" not in tools[0]


def test_a_prompt_below_the_minimum_gets_no_mark() -> None:
    assert marks_in(body_of(anthropic(prompt_cache=True), "hi")) == {}


@pytest.mark.parametrize(
    ("model", "is_marked"),
    [("claude-opus-5", True), (SONNET, False), ("claude-haiku-4-5", False)],
)
def test_the_minimum_is_that_of_the_family(model: str, is_marked: bool) -> None:
    body = body_of(anthropic(model=model, prompt_cache=True), "word " * 300)
    assert bool(marks_in(body)) is is_marked


def test_marks_by_hand_stay_and_count() -> None:
    mark = {"type": "ephemeral"}
    history = agent_history(4)
    for at in (1, 3):  # the question, and the first result
        history[at].content = [{"type": "text", "text": "by hand", "cache_control": mark}]
    body = body_of(anthropic(prompt_cache=True), history, tools=[TOOL])
    assert list(marks_in(body)) == [
        "messages[0].content[0]",
        "messages[2].content[0]",
        "messages[8].content[0]",
        "system[0]",
    ]


def test_the_automatic_mark_counts_and_is_the_newest_turns() -> None:
    body = body_of(
        anthropic(prompt_cache=True),
        agent_history(),
        tools=[TOOL],
        cache_control={"type": "ephemeral"},
    )
    del body["cache_control"]
    assert list(marks_in(body)) == ["messages[2].content[0]", "system[0]", "tools[0]"]


def test_a_mark_by_hand_decides_the_lifetimes_that_may_stand_before_and_behind_it() -> None:
    hour = {"type": "ephemeral", "ttl": "1h"}
    history = agent_history()
    history[0].content = [{"type": "text", "text": LONG_TEXT, "cache_control": hour}]
    marks = marks_in(body_of(anthropic(prompt_cache="5m"), history, tools=[TOOL]))
    assert marks["tools[0]"] == hour  # the provider takes longer lifetimes first
    assert marks["messages[4].content[0]"] == {"type": "ephemeral"}
    history[0].content[0]["cache_control"] = {"type": "ephemeral"}
    marks = marks_in(body_of(anthropic(prompt_cache="1h"), history, tools=[TOOL]))
    assert marks["tools[0]"] == hour
    assert marks["messages[4].content[0]"] == {"type": "ephemeral"}


def test_five_marks_by_hand_are_refused_before_sending() -> None:
    block = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    with pytest.raises(InvalidArgument, match="has 5 cache marks, and the provider takes 4"):
        body_of(anthropic(prompt_cache=True), [HumanMessage([block] * 5)])


def test_a_long_mark_behind_a_short_one_is_refused_before_sending() -> None:
    blocks = [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    with pytest.raises(InvalidArgument, match='message 0 lasts "1h", but one before it'):
        body_of(anthropic(prompt_cache=True), [HumanMessage(blocks)])


def test_a_mark_on_thinking_is_refused_before_sending() -> None:
    thought = {
        "type": "thinking",
        "thinking": "hm",
        "signature": "s",
        "cache_control": {"type": "ephemeral"},
    }
    history = [HumanMessage("q"), AIMessage([thought]), HumanMessage("more")]
    with pytest.raises(InvalidArgument, match=r"message 1 is not allowed there.*`thinking`"):
        body_of(anthropic(prompt_cache=True), history)


def test_bedrock_adds_cache_points() -> None:
    body = body_of(bedrock(prompt_cache="1h"), agent_history(), tools=[TOOL])
    hour = {"type": "default", "ttl": "1h"}
    assert marks_in(body) == {
        "messages[2].content[1]": hour,
        "messages[4].content[1]": hour,
        "system[1]": hour,
        "toolConfig.tools[1]": hour,
    }


def test_bedrock_counts_cache_points_by_hand() -> None:
    point = {"cachePoint": {"type": "default"}}
    history = agent_history()
    history[1].content = [{"type": "text", "text": "Look for it."}, point]
    history[3].content = [{"type": "text", "text": "r"}]
    marks = marks_in(body_of(bedrock(prompt_cache=True), history, tools=[TOOL]))
    assert len(marks) == 4
    assert "messages[0].content[1]" in marks
    with pytest.raises(InvalidArgument, match="has 5 cache marks"):
        body_of(
            bedrock(prompt_cache=True),
            [HumanMessage([part for n in range(5) for part in ({"text": str(n)}, point)])],
        )


def test_nova_takes_no_cache_point_among_its_tools_and_no_hour() -> None:
    with pytest.warns(ParameterWarning, match='is "5m", not "1h"'):
        body = body_of(
            bedrock("us.amazon.nova-pro-v1:0", prompt_cache="1h"), agent_history(), tools=[TOOL]
        )
    marks = marks_in(body)
    assert "system[1]" in marks
    assert not any(place.startswith("toolConfig") for place in marks)
    tools = [{"toolSpec": {"name": "x", "inputSchema": {"json": {}}}}, {"cachePoint": {}}]
    with pytest.raises(InvalidArgument, match="take no `cachePoint`"):
        body_of(bedrock("us.amazon.nova-pro-v1:0", prompt_cache=True), "hi", tools=tools)


def test_bedrock_leaves_it_out_for_a_model_without_a_prompt_cache() -> None:
    with pytest.warns(ParameterWarning, match="documents no prompt cache"):
        body = body_of(bedrock("meta.llama3-70b-instruct-v1:0", prompt_cache=True), agent_history())
    assert marks_in(body) == {}


@pytest.mark.parametrize("responses", [False, True])
def test_openai_gets_a_key_of_what_all_calls_begin_with(*, responses: bool) -> None:
    model = openai(prompt_cache=True, use_responses_api=responses)
    first = body_of(model, agent_history(1), tools=[TOOL])
    later = body_of(model, agent_history(3), tools=[TOOL])
    other = body_of(model, [SystemMessage("Another program."), HumanMessage("hi")])
    assert first["prompt_cache_key"] == later["prompt_cache_key"] != other["prompt_cache_key"]
    assert len(first["prompt_cache_key"]) <= 64
    assert "prompt_cache_retention" not in first


def test_openai_keeps_prompts_longer_where_the_model_can() -> None:
    body = body_of(openai("gpt-5.1-2025-11-13", prompt_cache="1h"), "hi")
    assert body["prompt_cache_retention"] == "24h"
    with pytest.warns(ParameterWarning, match='not "1h": `gpt-5.6`'):
        body = body_of(openai("gpt-5.6", prompt_cache="1h"), "hi")
    assert "prompt_cache_retention" not in body


@pytest.mark.parametrize("responses", [False, True])
def test_the_instructions_of_gpt_5_6_end_with_a_breakpoint(*, responses: bool) -> None:
    model = openai("gpt-5.6", prompt_cache=True, use_responses_api=responses)
    history = agent_history(0)
    body = body_of(model, history)
    (block,) = body["input" if responses else "messages"][0]["content"]
    assert block == {
        "prompt_cache_breakpoint": {"mode": "explicit"},
        "type": "input_text" if responses else "text",
        "text": LONG_TEXT,
    }
    assert "prompt_cache_options" not in body
    assert "breakpoint" not in str(body_of(model, [SystemMessage("Be brief."), HumanMessage("q")]))
    assert "breakpoint" not in str(body_of(openai(prompt_cache=True), history))


@pytest.mark.parametrize("wire", ["openai", "responses"])
def test_rows_of_gpt_5_6_write_their_instructions_once_and_nothing_else(wire: Any) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", LONG_TEXT), ("human", "{q}" + LONG_TEXT)])
    with ProviderServer() as server:
        model = server.model(wire, model="gpt-5.6", prompt_cache=True)
        for n in range(3):
            (prompt | model).batch([{"q": str(n)}])
        cached = [seen.prompt_cache for seen in server.requests]
    assert [one.all_written > 0 for one in cached if one] == [True, False, False]
    assert [one.read > 2_000 for one in cached if one] == [False, True, True]


def test_conversations_with_gpt_5_6_read_the_instructions_of_others() -> None:
    with ProviderServer() as server:
        model = server.model("openai", model="gpt-5.6", prompt_cache=True)
        for question in ("one", "two"):
            answer = model.invoke([SystemMessage(LONG_TEXT), HumanMessage(question)])
    assert answer.usage_metadata["input_token_details"]["cache_read"] > 2_000


def test_a_key_of_the_callers_own_wins() -> None:
    body = body_of(openai(prompt_cache="1h"), "hi", prompt_cache_key="mine")
    assert body["prompt_cache_key"] == "mine"


def test_the_only_turn_of_a_row_gets_no_mark_as_no_other_call_would_read_it(tmp_path: Path) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", LONG_TEXT), ("human", "{q}" + LONG_TEXT)])
    with ProviderServer() as server:
        model = server.model("anthropic", model=SONNET, prompt_cache=True)
        rows = [{"q": "one"}, {"q": "two"}]
        (prompt | model).batch(rows)
        run_job(prompt | model, rows, job_dir=tmp_path / "job", quiet=True)
        submit_batch(prompt | model, rows, dir=tmp_path / "batch")
        (prompt | model).invoke(rows[0])
        *chats, submission, single = [seen for seen in server.requests if seen.method == "POST"]
        assert [list(marks_in(seen.body)) for seen in chats] == [["system[0]"]] * 4
        assert list(marks_in(submission.body)) == [
            f"requests[{n}].params.system[0]" for n in range(2)
        ]
        assert "messages[0].content[0]" in marks_in(single.body)


def test_a_later_instruction_is_not_taken_for_the_system_prompt() -> None:
    history = [
        *agent_history(1),
        AIMessage("Found."),
        HumanMessage("And?"),
        SystemMessage("Brief."),
    ]
    marks = marks_in(body_of(anthropic(model="claude-opus-5", prompt_cache=True), history))
    assert list(marks) == ["messages[2].content[0]", "messages[4].content[0]", "system[0]"]


def test_openrouter_is_the_model_behind_it() -> None:
    claude = openai("anthropic/claude-sonnet-4.5", provider="openrouter", prompt_cache=True)
    assert list(marks_in(body_of(claude, agent_history()))) == [
        "messages[0].content[0]",
        "messages[3].content[0]",
        "messages[5].content[0]",
    ]
    gpt = openai("openai/gpt-5.1", provider="openrouter", prompt_cache=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        body = body_of(gpt, agent_history())
    assert marks_in(body) == {}
    with pytest.warns(ParameterWarning, match='is not "1h"'):
        body_of(gpt, "hi", prompt_cache="1h")


def test_xai_takes_the_key_over_responses_only() -> None:
    body = body_of(
        openai("grok-4", provider="xai", prompt_cache=True, use_responses_api=True), "hi"
    )
    assert body["prompt_cache_key"]
    with pytest.warns(ParameterWarning, match="`xai` documents no parameter for it"):
        body_of(openai("grok-4", provider="xai", prompt_cache=True), "hi")


def test_a_service_without_words_for_it_warns_or_refuses() -> None:
    model = openai("deepseek-chat", provider="deepseek", prompt_cache=True)
    with pytest.warns(ParameterWarning, match="`prompt_cache` is left out for `deepseek-chat`"):
        assert "prompt_cache_key" not in body_of(model, "hi")
    strict = openai("deepseek-chat", provider="deepseek", prompt_cache=True, strict_params=True)
    with pytest.raises(InvalidArgument, match="Nothing was sent"):
        body_of(strict, "hi")


def test_gemini_caches_a_short_prompt_by_itself() -> None:
    gemini = ChatGoogleGenerativeAI(model="gemini-2.5-flash", api_key="k", prompt_cache=True)
    plain = ChatGoogleGenerativeAI(model="gemini-2.5-flash", api_key="k")
    assert body_of(gemini, "hi") == body_of(plain, "hi")


@pytest.mark.parametrize("value", ["2h", 3, "24h"])
def test_another_value_is_an_error_before_sending(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="prompt_cache"):
        openai(prompt_cache=value)
    with pytest.raises(InvalidArgument, match="`prompt_cache` must be a bool"):
        body_of(openai(), "hi", prompt_cache=value)


def test_a_cached_answer_is_the_same_with_and_without_it() -> None:
    with ProviderServer(["first", "second"]) as server:
        model = server.model("anthropic", model=SONNET, cache=InMemoryCache())
        history = agent_history()
        assert model.invoke(history).content == "first"
        assert model.invoke(history, prompt_cache=True).content == "first"

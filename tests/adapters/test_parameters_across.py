"""One call with the whole vocabulary, on models of every wire: what goes out, and what is said about the rest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from functools import cache
from typing import Any, get_type_hints

import httpx2
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from pydantic import ConfigDict, TypeAdapter, ValidationError
from support.anthropic_types import check_type, exhaust
from support.mocked import answered_by
from support.wire_types.gemini import RequestBody as GeminiBody

from modelwire.adapters import (
    ChatAnthropic,
    ChatBedrockConverse,
    ChatGoogleGenerativeAI,
    ChatOpenAI,
)
from modelwire.adapters.model.http import HTTPChatModel
from modelwire.adapters.providers.model_families import touched_parameters
from modelwire.adapters.providers.parameters import fit_parameters
from modelwire.adapters.wires.families import REASONING
from modelwire.adapters.wires.wire_parameters import OF_WIRE, foreign_words
from modelwire.errors import InvalidArgument, ParameterWarning

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORM = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "It.", "parameters": SCHEMA},
}
WHOLE: dict[str, Any] = {
    "temperature": 0.2,
    "max_tokens": 5000,
    "top_p": 0.96,
    "top_k": 5,
    "stop": ["END"],
    "seed": 7,
    "reasoning": {"effort": "high"},
    "verbosity": "low",
    "tools": [TOOL],
    "tool_choice": "any",
    "parallel_tool_calls": False,
    "response_format": FORM,
    "logprobs": True,
    "service_tier": "default",
    "user": "u",
    "frequency_penalty": 0.5,
}

# What every body of a wire says of it, and what only some models let stand.
CHAT: dict[str, Any] = {
    "max_completion_tokens": 5000,
    "seed": 7,
    "tools": [TOOL],
    "tool_choice": "required",
    "response_format": FORM,
    "service_tier": "default",
    "user": "u",
}
NO_PARALLEL = {"parallel_tool_calls": False}
SAMPLING = {"temperature": 0.2, "top_p": 0.96, "logprobs": True, "frequency_penalty": 0.5}
HIGH = {"reasoning_effort": "high"}
LOW_VERBOSITY = {"verbosity": "low"}
REASONING_CHAT = CHAT | NO_PARALLEL | HIGH | LOW_VERBOSITY
RESPONSES: dict[str, Any] = {
    "max_output_tokens": 5000,
    "tools": [
        {
            "type": "function",
            "name": "weather",
            "description": "It.",
            "parameters": SCHEMA,
            "strict": False,
        }
    ],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "service_tier": "default",
    "user": "u",
    "reasoning": {"effort": "high"},
    "text": {
        "verbosity": "low",
        "format": {"type": "json_schema", "name": "place", "schema": SCHEMA},
    },
}
MESSAGES: dict[str, Any] = {
    "max_tokens": 5000,
    "stop_sequences": ["END"],
    "tools": [{"name": "weather", "description": "It.", "input_schema": SCHEMA}],
    "service_tier": "standard_only",
    "metadata": {"user_id": "u"},
}
FORMAT = {"format": {"type": "json_schema", "schema": SCHEMA}}
ANY = {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
AUTO = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
ADAPTIVE = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high", **FORMAT}}
BUDGET = {
    "thinking": {"type": "enabled", "budget_tokens": 2500},
    "output_config": FORMAT,
    "top_p": 0.96,
}

SAMPLED = {"temperature", "top_p", "logprobs", "frequency_penalty"}
NOT_ANTHROPICS = {"seed", "verbosity", "logprobs", "frequency_penalty"}
SAMPLERS = {"temperature", "top_p", "top_k"}

# wire and model: the body beside messages and model, and the parameters a note is about.
SWAPS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "openai gpt-4o-mini": (
        CHAT | NO_PARALLEL | SAMPLING | {"stop": ["END"]},
        {"reasoning", "verbosity", "top_k"},
    ),
    "openai ft:gpt-4.1-mini:org::id": (
        CHAT | NO_PARALLEL | SAMPLING | {"stop": ["END"]},
        {"reasoning", "verbosity", "top_k"},
    ),
    "openai o3-mini": (
        CHAT | HIGH | {"stop": ["END"]},
        SAMPLED | {"verbosity", "top_k", *NO_PARALLEL},
    ),
    "openai o4-mini-2025-04-16": (
        CHAT | HIGH,
        SAMPLED | {"verbosity", "top_k", "stop", *NO_PARALLEL},
    ),
    "openai gpt-5-mini": (REASONING_CHAT, SAMPLED | {"top_k", "stop"}),
    "openai gpt-5.1": (REASONING_CHAT, SAMPLED | {"top_k", "stop"}),
    "openai gpt-5.5": (REASONING_CHAT, SAMPLED | {"top_k", "stop"}),
    "responses gpt-5.4": (RESPONSES, SAMPLED | {"top_k", "stop", "seed"}),
    "responses gpt-6-astra": (RESPONSES, SAMPLED | {"top_k", "stop", "seed"}),
    "responses gpt-5.4-pro": (RESPONSES, SAMPLED | {"top_k", "stop", "seed"}),
    "anthropic claude-opus-5-5": (
        MESSAGES | ADAPTIVE | AUTO,
        NOT_ANTHROPICS | SAMPLERS | {"tool_choice"},
    ),
    "anthropic claude-haiku-5-5": (MESSAGES | ADAPTIVE | ANY, NOT_ANTHROPICS | SAMPLERS),
    "anthropic us.anthropic.claude-opus-4-6-v1:0": (
        MESSAGES | ADAPTIVE | ANY | {"top_p": 0.96},
        NOT_ANTHROPICS | {"temperature", "top_k"},
    ),
    "anthropic claude-sonnet-4-5-20250929": (
        MESSAGES | BUDGET | AUTO,
        NOT_ANTHROPICS | {"temperature", "top_k", "tool_choice"},
    ),
    "anthropic claude-3-7-sonnet-latest": (
        MESSAGES | BUDGET | AUTO,
        NOT_ANTHROPICS | {"temperature", "top_k", "tool_choice"},
    ),
    "anthropic claude-3-5-haiku-latest": (
        MESSAGES | ANY | {"temperature": 0.2, "top_p": 0.96, "top_k": 5, "output_config": FORMAT},
        NOT_ANTHROPICS | {"reasoning"},
    ),
}


def model_for(wire: str, model: str, **given: Any) -> Any:
    if wire == "anthropic":
        return ChatAnthropic(model=model, api_key="none", **given)
    return ChatOpenAI(model=model, api_key="none", use_responses_api=wire == "responses", **given)


def sent(model: Any, **kwargs: Any) -> tuple[dict[str, Any], set[str]]:
    """Return the body beside what every call has, and the parameters that were warned about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        body = dict(model.build_request("hi", **kwargs).body)
    assert all(issubclass(warning.category, ParameterWarning) for warning in caught), caught
    for name in ("messages", "input", "model"):
        body.pop(name, None)
    return body, {str(warning.message).split("`")[1] for warning in caught}


@cache
def openai_type(module: Any, name: str) -> TypeAdapter[Any]:
    with warnings.catch_warnings(action="ignore"):
        return TypeAdapter(getattr(module, name), config=ConfigDict(extra="forbid"))


def check_body(wire: str, body: dict[str, Any]) -> None:
    if wire == "anthropic":
        check_type(
            {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}, beta=False
        )
    elif wire == "openai":
        whole = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
        checked = openai_type(completion_create_params, "CompletionCreateParams").validate_python(
            whole
        )
        exhaust(checked)
    else:
        openai_type(response_create_params, "ResponseCreateParams").validate_python(
            {"model": "m", **body}
        )


@pytest.mark.parametrize("where", ["on the model", "in the call"])
@pytest.mark.parametrize("swap", SWAPS)
def test_a_call_that_says_everything_gives_each_model_what_it_takes(swap: str, where: str) -> None:
    wire, _, name = swap.partition(" ")
    expected, noted = SWAPS[swap]
    said = (
        sent(model_for(wire, name, **WHOLE))
        if where == "on the model"
        else sent(model_for(wire, name), **WHOLE)
    )
    assert said == (expected, noted)
    check_body(wire, said[0])


def test_a_body_with_a_foreign_parameter_is_none_of_the_sdks_types() -> None:
    """The check above can fail."""
    for wire in ("openai", "responses", "anthropic"):
        with pytest.raises((ValidationError, AssertionError)):
            check_body(wire, {"max_tokens": 1, "top_k": 1, "seed": 1})


# ---------------------------------------------------------------- one parameter at a time

# wire and model; what is said; what goes out of it.
FITS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # in the words of another wire
    (
        "openai gpt-5",
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        {"reasoning_effort": "low"},
    ),
    ("openai gpt-5.1", {"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
    ("openai gpt-5", {"output_config": {"effort": "medium"}}, {"reasoning_effort": "medium"}),
    (
        "openai gpt-5",
        {"reasoning": {"effort": "low", "budget_tokens": 9}},
        {"reasoning_effort": "low"},
    ),
    (
        "responses gpt-5",
        {"reasoning": {"budget_tokens": 9000, "summary": "auto"}},
        {"reasoning": {"effort": "high", "summary": "auto"}},
    ),
    ("responses gpt-5", {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
    (
        "openai gpt-4o",
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": SCHEMA},
            }
        },
    ),
    ("openai gpt-4o", {"service_tier": "standard_only"}, {"service_tier": "default"}),
    (
        "anthropic claude-opus-5",
        {"reasoning": {"effort": "none"}},
        {"thinking": {"type": "disabled"}},
    ),
    ("anthropic claude-opus-4-7", {"reasoning": {"effort": "none"}}, {}),
    (
        "anthropic claude-opus-4-8",
        {"reasoning": {"effort": "max", "summary": "auto"}},
        {
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "max"},
        },
    ),
    (
        "anthropic claude-opus-4-6",
        {"reasoning": {"budget_tokens": 2000}},
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    ),
    (
        "anthropic claude-sonnet-4-5",
        {"reasoning_effort": "medium"},
        {"thinking": {"type": "enabled", "budget_tokens": 8192}},
    ),
    (
        "anthropic claude-sonnet-4-5",
        {"thinking": {"type": "adaptive"}},
        {"thinking": {"type": "enabled", "budget_tokens": 16_384}},
    ),
    ("anthropic claude-opus-4-5", {"effort": "low"}, {"output_config": {"effort": "low"}}),
    # what the API does anyway
    (
        "openai o3",
        {"temperature": 1, "top_p": 1.0, "logprobs": False},
        {"temperature": 1, "top_p": 1.0, "logprobs": False},
    ),
    ("openai o3", {"parallel_tool_calls": True}, {}),
    ("openai gpt-4o", {"reasoning_effort": "none"}, {}),
    ("anthropic claude-opus-5", {"temperature": 1}, {"temperature": 1}),
    ("anthropic claude-opus-5", {"logprobs": False, "n": 1}, {}),
    # what it takes while it does not reason
    ("openai gpt-5.1", {"temperature": 0}, {"temperature": 0}),
    (
        "openai gpt-5.5",
        {"temperature": 0, "reasoning_effort": "none"},
        {"temperature": 0, "reasoning_effort": "none"},
    ),
    (
        "responses gpt-5.2",
        {"temperature": 0, "reasoning": {"effort": "none"}},
        {"temperature": 0, "reasoning": {"effort": "none"}},
    ),
    # what is not ours to read
    ("openai gpt-5", {"reasoning_effort": "colossal"}, {"reasoning_effort": "colossal"}),
    ("openai gpt-5", {"reasoning": {"effort": 3}}, {"reasoning": {"effort": 3}}),
    (
        "anthropic claude-opus-5",
        {"thinking": {"type": "dreaming"}},
        {"thinking": {"type": "dreaming"}},
    ),
    (
        "anthropic claude-opus-5",
        {"metadata": {"user_id": "a"}, "user": "b"},
        {"metadata": {"user_id": "a"}},
    ),
]


@pytest.mark.parametrize(("swap", "said", "expected"), FITS)
def test_what_can_be_said_in_other_words_is_said_without_a_warning(
    swap: str, said: dict[str, Any], expected: dict[str, Any]
) -> None:
    wire, _, name = swap.partition(" ")
    body, noted = sent(model_for(wire, name), **said)
    if wire == "anthropic":
        del body["max_tokens"]
    assert (body, noted) == (expected, set())


CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "openai gpt-5",
        {"reasoning": {"effort": "none"}},
        {"reasoning_effort": "minimal"},
        '"minimal", not "none"',
    ),
    (
        "openai o3",
        {"reasoning_effort": "max"},
        {"reasoning_effort": "high"},
        '"low", "medium" and "high"',
    ),
    (
        "openai gpt-5.1",
        {"reasoning_effort": "minimal"},
        {"reasoning_effort": "low"},
        '"low", not "minimal"',
    ),
    ("openai gpt-5-pro", {"reasoning_effort": "low"}, {"reasoning_effort": "high"}, "gpt-5-pro"),
    (
        "openai gpt-5.1",
        {"temperature": 0, "reasoning_effort": "low"},
        {"reasoning_effort": "low"},
        "while it reasons",
    ),
    (
        "anthropic claude-opus-5-5",
        {"reasoning": {"effort": "none"}},
        {"output_config": {"effort": "low"}},
        "always thinks",
    ),
    (
        "anthropic claude-sonnet-5-5",
        {"thinking": {"type": "disabled"}},
        {"thinking": {"type": "between_tools"}},
        "between tool calls",
    ),
    (
        "anthropic claude-opus-4-7",
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        "without a budget",
    ),
    (
        "anthropic claude-sonnet-4-6",
        {"effort": "xhigh"},
        {"output_config": {"effort": "high"}},
        '"xhigh"',
    ),
    (
        "anthropic claude-sonnet-4-5",
        {"reasoning": {"effort": "high"}, "max_tokens": 900},
        {},
        "above 1024",
    ),
    (
        "anthropic claude-sonnet-4-5",
        {"temperature": 0, "top_p": 0.5},
        {"temperature": 0},
        "not both",
    ),
    (
        "anthropic claude-sonnet-4-5",
        {"thinking": {"type": "enabled", "budget_tokens": 2000}, "effort": "low"},
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        "`thinking` is set too",
    ),
    ("anthropic claude-opus-5", {"service_tier": "flex"}, {}, "no such tier"),
]


@pytest.mark.parametrize(("swap", "said", "expected", "words"), CHANGES)
def test_what_has_to_change_is_named_with_the_model_and_its_documentation(
    swap: str, said: dict[str, Any], expected: dict[str, Any], words: str
) -> None:
    wire, _, name = swap.partition(" ")
    with pytest.warns(ParameterWarning) as caught:
        body = dict(model_for(wire, name).build_request("hi", **said).body)
    for field in ("messages", "input", "model", "max_tokens"):
        body.pop(field, None)
    assert body == expected
    (message,) = [str(warning.message) for warning in caught]
    assert words in message
    assert "https://" in message or "is set too" in message
    assert f"`{name}`" in message or "is set too" in message


def test_two_efforts_of_one_model_are_told() -> None:
    model = ChatOpenAI(
        model="gpt-5", api_key="k", reasoning_effort="low", reasoning={"effort": "high"}
    )
    with pytest.warns(ParameterWarning, match="`reasoning` is set too"):
        assert model.build_request("hi").body["reasoning_effort"] == "high"


def test_a_service_gets_what_it_documents() -> None:
    for provider, said, expected, noted in (
        ("openrouter", {"reasoning": {"effort": "high"}}, {"reasoning": {"effort": "high"}}, set()),
        ("openrouter", {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}, set()),
        (
            "openrouter",
            {"reasoning": {"budget_tokens": 99, "exclude": True}},
            {"reasoning": {"exclude": True, "max_tokens": 99}},
            set(),
        ),
        ("openrouter", {"reasoning": {"enabled": True}}, {"reasoning": {"enabled": True}}, set()),
        (
            "groq",
            {"reasoning": {"effort": "high"}, "top_k": 3},
            {"reasoning_effort": "high", "top_k": 3},
            set(),
        ),
        ("groq", {"logprobs": True}, {}, {"logprobs"}),
        ("deepseek", {"reasoning": {"effort": "none"}}, {"thinking": {"type": "disabled"}}, set()),
        ("deepseek", {"thinking": {"type": "enabled"}}, {"thinking": {"type": "enabled"}}, set()),
        (
            "zai",
            {"reasoning_effort": "high"},
            {"thinking": {"type": "enabled"}},
            {"reasoning_effort"},
        ),
        (
            "vllm",
            {"reasoning": {"effort": "low", "summary": "auto"}},
            {"reasoning_effort": "low"},
            {"reasoning"},
        ),
    ):
        model = ChatOpenAI(model="m", provider=provider, api_key="none", use_responses_api=False)
        assert sent(model, **said) == (expected, noted), (provider, said)
    grok = ChatOpenAI(model="grok-4", provider="xai", api_key="none")
    assert sent(grok, stop=["a"], temperature=0) == ({"temperature": 0}, {"stop"})


def test_the_deployments_of_azure_are_read_like_the_models_they_are_called_after() -> None:
    params = {"temperature": 0, "reasoning": {"effort": "low"}}
    fitted, notes = fit_parameters(
        params, provider="azure_openai", model="gpt-5-mini", wire="openai"
    )
    assert (fitted, [note.parameter for note in notes]) == (
        {"reasoning_effort": "low"},
        ["temperature"],
    )
    fitted, _ = fit_parameters(params, provider="azure_openai", model="my-own", wire="openai")
    assert fitted["reasoning_effort"] == "low"


# ---------------------------------------------------------------- what is left alone

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(
    [*WHOLE, "thinking", "effort", "output_config", "reasoning_effort"]
) | st.text(max_size=8)


@pytest.mark.long
@given(
    params=st.dictionaries(NAMES, VALUES, max_size=6),
    place=st.sampled_from(
        [
            ("openai", "openai"),
            ("openai", "responses"),
            ("anthropic", "anthropic"),
            ("local", "openai"),
            ("x", ""),
        ]
    ),
    model=st.sampled_from(
        ["m", "gpt-oss-120b", "llama-3", "gpt-7", "claude-opus-6", "o5", "org/gpt-5", "o3000"]
    ),
)
def test_of_an_unknown_model_only_the_words_of_other_wires_are_touched(
    params: Any, place: tuple[str, str], model: str
) -> None:
    foreign = foreign_words(place[1], None)
    assert touched_parameters(*place, model) == foreign
    before = dict(params)
    fitted, notes = fit_parameters(params, provider=place[0], model=model, wire=place[1])
    assert params == before
    assert foreign.isdisjoint(fitted)
    if foreign.isdisjoint(params):
        assert (fitted, notes) == (params, [])
    rest = params.keys() - foreign - set(REASONING)
    assert {name: fitted[name] for name in rest} == {name: params[name] for name in rest}


@given(params=st.dictionaries(NAMES, VALUES, max_size=8), swap=st.sampled_from(sorted(SWAPS)))
def test_whatever_is_said_to_a_known_model_nothing_breaks_and_no_note_is_lost(
    params: Any, swap: str
) -> None:
    wire, _, name = swap.partition(" ")
    provider = "anthropic" if wire == "anthropic" else "openai"
    before = json.dumps(params)
    try:
        fitted, notes = fit_parameters(params, provider=provider, model=name, wire=wire)
    except InvalidArgument:  # a mistyped effort
        return
    assert json.dumps(params) == before  # those of the model, shared by all its calls
    assert all(f"`{note.parameter}`" in note.message for note in notes)
    untouched = params.keys() - touched_parameters(provider, wire, name)
    assert {key: fitted[key] for key in untouched} == {key: params[key] for key in untouched}


def test_what_stands_in_extra_body_goes_out_as_it_is() -> None:
    model = ChatOpenAI(
        model="o3", api_key="none", extra_body={"temperature": 0}, strict_params=True
    )
    assert model.build_request("hi", extra_body={"stop": ["x"]}).body["temperature"] == 0
    assert model.build_request("hi", extra_body={"stop": ["x"]}).body["stop"] == ["x"]


def test_unknown_parameters_of_a_known_model_go_out_as_they_are() -> None:
    model = ChatOpenAI(
        model="o3", api_key="none", model_kwargs={"brand_new": 1}, strict_params=True
    )
    assert model.build_request("hi", newer_still=2).body["brand_new"] == 1
    assert model.build_request("hi", newer_still=2).body["newer_still"] == 2


# ---------------------------------------------------------------- how it is said


def test_strict_params_refuses_before_any_request(colour: Any) -> None:
    def never(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError("a request was made")

    model = ChatOpenAI(
        model="o3-mini", temperature=0, api_key="none", strict_params=True, **answered_by(never)
    )
    with pytest.raises(InvalidArgument, match=r"`temperature` is left out for `o3-mini`.*https://"):
        colour.invoke(model, "hi")


def test_a_script_with_temperature_zero_on_a_reasoning_model_just_works_with_a_warning(
    colour: Any,
) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "hello"},
        }
        return httpx2.Response(
            200, json={"id": "c", "object": "chat.completion", "choices": [choice]}
        )

    model = ChatOpenAI(model="o3-mini", temperature=0, api_key="none", **answered_by(answer))
    with pytest.warns(ParameterWarning, match=r"`temperature` is left out for `o3-mini`"):
        assert colour.invoke(model, "hi").content == "hello"
    assert "temperature" not in bodies[0]
    assert model.temperature == 0


def test_each_model_and_parameter_is_warned_about_once() -> None:
    code = (
        "from modelwire.adapters import ChatOpenAI\n"
        "for name in ('o3', 'o3', 'o1'):\n"
        "    for value in (0, 0.5):\n"
        "        ChatOpenAI(model=name, api_key='none', temperature=value).build_request('hi', seed=1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("ParameterWarning: `temperature`") == 2
    assert done.stderr.count("`o3`") == 1


def test_parameters_are_looked_up_when_there_are_some_and_fitted_when_one_may_not_fit() -> None:
    code = (
        "import sys\n"
        "from modelwire.adapters import ChatOpenAI\n"
        "def loaded():\n"
        "    below = 'modelwire.adapters.providers.'\n"
        "    return [n for n in ('model_families', 'parameters') if below + n in sys.modules]\n"
        "model = ChatOpenAI(model='gpt-4o-mini', api_key='none')\n"
        "model.build_request('hi'); assert loaded() == [], loaded()\n"
        "model.build_request('hi', temperature=0, max_tokens=9); assert loaded() == ['model_families'], loaded()\n"
        "model.build_request('hi', service_tier='auto'); assert len(loaded()) == 2, loaded()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "place"), [("claude-opus-5-5", "output_config"), ("claude-opus-5", "tool_choice")]
)
def test_structured_output_asks_in_a_way_the_model_takes(name: str, place: str) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        text: dict[str, Any] = {"type": "text", "text": '{"city": "Bern"}'}
        use: dict[str, Any] = {
            "type": "tool_use",
            "id": "t",
            "name": "place",
            "input": {"city": "Bern"},
        }
        reply = {"id": "m", "type": "message", "role": "assistant", "stop_reason": "end_turn"}
        return httpx2.Response(
            200, json=reply | {"content": [use if place == "tool_choice" else text]}
        )

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    model = ChatAnthropic(model=name, api_key="none", http_client=client)
    assert model.with_structured_output({"title": "place", **SCHEMA}).invoke("hi") == {
        "city": "Bern"
    }
    assert place in bodies[0]


@pytest.mark.parametrize("asked", [{"reasoning": {"effort": "hihg"}}, {"effort": "lo"}])
def test_a_mistyped_effort_is_refused_where_it_would_become_a_budget(asked: dict[str, Any]) -> None:
    model = ChatAnthropic(model="claude-sonnet-4-5", api_key="k", max_tokens=20_000)
    with pytest.raises(InvalidArgument, match="is not an effort"):
        model.build_request("hi", **asked)


@pytest.mark.parametrize(
    "said",
    [
        {"reasoning_effort": "none"},
        {"effort": "none"},
        {"reasoning": {"effort": "none"}},
        {"output_config": {"effort": "none"}},
    ],
)
@pytest.mark.parametrize("where", ["model", "call"])
@pytest.mark.filterwarnings("error")
def test_an_effort_of_none_turns_thinking_off_by_any_name(said: dict[str, Any], where: str) -> None:
    given: dict[str, Any] = {"model_kwargs": said} if "reasoning" in said else said
    for name in ("claude-sonnet-5", "claude-opus-5", "claude-sonnet-4-5", "claude-opus-4-6"):
        model = ChatAnthropic(model=name, api_key="k", **(given if where == "model" else {}))
        body = model.build_request("hi", **(said if where == "call" else {})).body
        assert body.get("thinking") == (
            {"type": "disabled"} if name.endswith("-5") and "4" not in name else None
        )
        assert "output_config" not in body


EVERY: dict[str, Any] = {
    "openai": ChatOpenAI(model="gpt-4o-mini", api_key="k"),
    "responses": ChatOpenAI(model="gpt-4o-mini", api_key="k", use_responses_api=True),
    "anthropic": ChatAnthropic(model="claude-sonnet-4-5", api_key="k"),
    "bedrock": ChatBedrockConverse(
        model="us.amazon.nova-pro-v1:0", api_key="k", region_name="us-east-1"
    ),
    "gemini": ChatGoogleGenerativeAI(model="gemini-2.5-flash", api_key="k"),
}
VALUES = WHOLE | {
    "effort": "low",
    "reasoning_effort": "low",
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "n": 2,
    "logit_bias": {1: 1},
    "presence_penalty": 0.5,
    "store": True,
    "top_logprobs": 2,
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    "output_format": {"type": "json_schema", "schema": SCHEMA},
}
COMMON = sorted(HTTPChatModel.SENDABLE | set(HTTPChatModel.PARAMETERS))
# What the bodies of these two have, where no SDK tells: their own wire types, and Converse's place for a model's own.
SDK_BODIES: dict[str, Any] = {
    "openai": completion_create_params.CompletionCreateParamsNonStreaming,
    "responses": response_create_params.ResponseCreateParamsNonStreaming,
    "anthropic": MessageCreateParamsNonStreaming,
}
OWN_KEYS = {
    "bedrock": {
        "inferenceConfig",
        "toolConfig",
        "serviceTier",
        "outputConfig",
        "additionalModelRequestFields",
    },
    "gemini": {*get_type_hints(GeminiBody)} | {"serviceTier"},
}


@pytest.mark.parametrize("name", COMMON)
@pytest.mark.parametrize("wire", EVERY)
def test_a_common_parameter_is_said_in_the_wires_words_or_somebody_hears_of_it(
    wire: str, name: str
) -> None:
    """A parameter that no codec writes and no `lacks` names would go out as it is, or nowhere, and silently."""
    model = EVERY[wire]
    with_tools = {"tools": [TOOL]} if name in ("tool_choice", "parallel_tool_calls") else {}
    plain = model.build_request("hi", **with_tools).body
    if (wire, name) == ("responses", "n"):
        with pytest.raises(InvalidArgument, match="`n`"):
            model.build_request("hi", n=2)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        body = model.build_request("hi", **with_tools, **{name: VALUES[name]}).body
    changed = {key for key in body if body[key] != plain.get(key)}
    if not changed:
        assert [it for it in caught if it.category is ParameterWarning], (
            "nothing is sent, and nobody heard"
        )
    elif wire in OWN_KEYS:
        assert changed <= OWN_KEYS[wire]
        assert name not in {*body.get("additionalModelRequestFields", ())} - {"top_k"}
    else:
        assert (
            changed <= {*get_type_hints(SDK_BODIES[wire])} | SAMPLERS
        )  # anthropic 2 has them no more, the API has


def test_a_forced_form_asks_for_one_call_where_the_model_knows_that_word(
    recwarn: pytest.WarningsRecorder,
) -> None:
    for settings, sent in (
        ({"model": "gpt-4o-mini"}, True),
        ({"model": "o3-mini"}, False),
        ({"model": "command-a", "provider": "cohere"}, False),
    ):
        form: Any = ChatOpenAI(api_key="k", **settings).with_structured_output(
            SCHEMA | {"title": "Place"}, method="function_calling"
        )
        assert ("parallel_tool_calls" in form.first.kwargs) is sent
    assert not recwarn.list
    with pytest.warns(ParameterWarning, match="`parallel_tool_calls` is left out for `o3-mini`"):
        ChatOpenAI(model="o3-mini", api_key="k").build_request(
            "hi", tools=[TOOL], parallel_tool_calls=False
        )


@pytest.mark.parametrize("wire", EVERY)
def test_every_wire_has_a_row_of_words(wire: str) -> None:
    assert wire in OF_WIRE
    assert foreign_words(wire, None)
    known = type(EVERY[wire]).PARAMETERS  # what a class has as a field, its wire takes
    if wire != "responses":  # its class is that of Chat Completions too
        assert foreign_words(wire, None) & set(known) <= {"reasoning", "include", "truncation"}


# `ChatOpenAI` by itself calls the API that has a word.
PLACES = {**EVERY, "openai": EVERY["openai"].model_copy(update={"use_responses_api": False})}
# A word that one wire documents, and where else it has a place.
FOREIGN: dict[str, tuple[Any, set[str]]] = {
    "cache_control": ({"type": "ephemeral"}, {"anthropic", "bedrock"}),
    "generationConfig": ({"speechConfig": {}}, {"gemini"}),
    "safety_settings": ([{"category": "x", "threshold": "y"}], {"gemini"}),
    "guardrail_config": ({"guardrailIdentifier": "g"}, {"bedrock"}),
    "inferenceConfig": ({"new": 3}, {"bedrock"}),
    "previous_response_id": ("resp_1", {"responses"}),
    "mcp_servers": ([{"type": "url", "url": "https://a.test", "name": "a"}], {"anthropic"}),
    "web_search_options": ({}, {"openai"}),
    "prompt_cache_key": ("k", {"openai", "responses"}),
    "system": ([{"type": "text", "text": "Be brief."}], {"anthropic", "bedrock"}),
}


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("wire", PLACES)
def test_a_word_of_another_wire_is_never_sent_raw(wire: str, name: str, is_known: bool) -> None:
    value, owners = FOREIGN[name]
    model = PLACES[wire]
    if not is_known:
        model = model.model_copy(update={"model": "house-model"})
    if wire in owners:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.build_request("hi", **{name: value})
        return
    with pytest.warns(ParameterWarning, match=f"`{name}` is left out"):
        body = model.build_request("hi", **{name: value}).body
    assert body == model.build_request("hi").body
    strict = model.model_copy(update={"strict_params": True})
    with pytest.raises(InvalidArgument, match=name):
        strict.build_request("hi", **{name: value})
    assert strict.build_request("hi", extra_body={name: value}).body[name] == value


def test_a_word_of_another_wire_that_a_model_is_made_with_is_left_out_by_the_call() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ChatOpenAI(model="m", api_key="k", cache_control={"type": "ephemeral"})
    with pytest.warns(ParameterWarning, match="`cache_control` is left out"):
        assert "cache_control" not in model.build_request("hi").body


def test_thinking_is_an_effort_for_an_unknown_model_on_chat_completions() -> None:
    model = ChatOpenAI(model="house-model", api_key="k")
    thinking = {"type": "enabled", "budget_tokens": 16_000}
    assert model.build_request("hi", thinking=thinking).body["reasoning_effort"] == "high"
    raw = {"effort": "low", "exclude": True}
    house = ChatOpenAI(model="house-model", api_key="k", use_responses_api=False, reasoning=raw)
    with pytest.warns(ParameterWarning, match="betas"):
        assert house.build_request("hi", betas=["x"]).body["reasoning"] == raw


def test_cache_control_of_a_call_is_a_cache_point_on_bedrock() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    content = EVERY["bedrock"].build_request("hi", cache_control=mark).body["messages"][0]
    assert content["content"] == [{"text": "hi"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]


@pytest.mark.parametrize("service", ["litellm", "openrouter"])
def test_a_gateway_gets_the_words_that_it_documents(service: str) -> None:
    model = ChatOpenAI(model="anthropic/claude-x", api_key="k", provider=service)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        body = model.build_request("hi", cache_control={"type": "ephemeral"}).body
    assert body["cache_control"] == {"type": "ephemeral"}


CONFIG = {"temperature": 0.5, "maxOutputTokens": 70, "topP": 0.9, "stopSequences": ["x"]}
PLAIN = {"temperature": 0.5, "max_tokens": 70, "top_p": 0.9, "stop": ["x"]}


@pytest.mark.parametrize("wire", ["openai", "anthropic", "bedrock"])
def test_settings_in_geminis_words_go_out_in_those_of_the_wire(wire: str) -> None:
    model = PLACES[wire].model_copy(update={"model": "house-model"})
    plain = model.build_request("hi", **PLAIN).body
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.build_request("hi", generationConfig=CONFIG).body == plain
        snake = {re.sub("[A-Z]", lambda at: "_" + at[0].lower(), k): v for k, v in CONFIG.items()}
        assert model.build_request("hi", generation_config=snake).body == plain
    some = {**CONFIG, "speechConfig": {}}
    with pytest.warns(ParameterWarning, match="`generationConfig` is left out"):
        assert model.build_request("hi", generationConfig=some).body == plain


def test_settings_in_converses_words_go_out_in_those_of_the_wire() -> None:
    config = {"maxTokens": 70, "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"]}
    for wire in ("openai", "anthropic", "gemini"):
        body = PLACES[wire].model_copy(update={"model": "m"}).build_request("hi", **PLAIN).body
        model = PLACES[wire].model_copy(update={"model": "m", "temperature": 1.0})
        assert model.build_request("hi", inferenceConfig=config).body == body


@pytest.mark.parametrize(
    "words",
    [
        {"thinking_level": "HIGH"},
        {"thinking_config": {"thinkingLevel": "high"}},
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}},
    ],
)
def test_geminis_thinking_is_an_effort_elsewhere(words: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chat = ChatOpenAI(model="gpt-5", api_key="k").build_request("hi", **words).body
        claude = ChatAnthropic(model="claude-opus-5", api_key="k").build_request("hi", **words).body
        budget = {"thinkingConfig": {"thinkingBudget": 16_000}}
        same = ChatOpenAI(model="gpt-5", api_key="k").build_request("hi", generationConfig=budget)
    assert same.body == chat
    assert chat["reasoning_effort"] == "high"
    assert claude["output_config"] == {"effort": "high"}


def test_geminis_form_of_the_answer_is_the_wires_own() -> None:
    body = PLACES["openai"].build_request("hi", response_json_schema=SCHEMA).body
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    assert body["response_format"] == form


@pytest.mark.parametrize("name", ["system", "instructions", "system_instruction"])
@pytest.mark.parametrize("wire", PLACES)
def test_a_system_prompt_in_any_word_reaches_the_model(wire: str, name: str) -> None:
    model = PLACES[wire]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if wire == "gemini" and name == "system_instruction":
            value: Any = {"parts": [{"text": "Be brief."}]}
        else:
            value = "Be brief."
        body = model.build_request("hi", **{name: value}).body
    as_message = model.build_request([("system", "Be brief."), ("human", "hi")]).body
    if wire == "responses":
        assert body["instructions"] == "Be brief."
        assert body["input"] == model.build_request("hi").body["input"]
    elif wire == "gemini" and name == "system_instruction":
        assert body["system_instruction"] == value
    else:
        assert body == as_message

"""A call beats `bind`, `bind` beats the model's arguments, under whichever of its names a parameter is said."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.adapters.parameter_aliases import set_parameter

CLAUDE = "claude-sonnet-4-5"
MODELS: dict[str, Any] = {
    "chat": lambda **given: ChatOpenAI(
        **{"model": "gpt-4o", "api_key": "k", "use_responses_api": False, **given}
    ),
    "responses": lambda **given: ChatOpenAI(
        **{"model": "gpt-5", "api_key": "k", "use_responses_api": True, **given}
    ),
    "messages": lambda **given: ChatAnthropic(**{"model": CLAUDE, "api_key": "k", **given}),
    "groq": lambda **given: ChatOpenAI(
        **{"model": "m", "api_key": "k", "provider": "groq", **given}
    ),
    "mistral": lambda **given: ChatOpenAI(
        **{"model": "m", "api_key": "k", "provider": "mistralai", **given}
    ),
}
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample")


def in_model(name: str, value: Any, way: str) -> dict[str, Any]:
    return {name: value} if way == "argument" else {"model_kwargs": {name: value}}


def body(model: Any, /, *, bound: dict[str, Any] | None = None, **call: Any) -> dict[str, Any]:
    """Return what is sent; the keywords of `bind` come first among those of a call, as a binding hands them on."""
    binding = model.bind(**(bound or {}))
    return model.build_request("hi", **{**binding.kwargs, **call}).body  # type: ignore[no-any-return]


@pytest.mark.parametrize("wire", MODELS)
@pytest.mark.parametrize(
    ("first", "way"), [(name, "argument") for name in LIMITS[:3]] + [(LIMITS[1], "model_kwargs")]
)
@pytest.mark.parametrize("then", LIMITS[:3])
@pytest.mark.filterwarnings("ignore:.*not a known parameter.*")
def test_a_later_limit_is_the_only_one_that_is_sent(
    wire: str, first: str, way: str, then: str
) -> None:
    model = MODELS[wire](**in_model(first, 1000, way))
    for sent in (
        body(model, **{then: 7}),
        body(model, bound={then: 7}),
        body(model, bound={first: 50}, **{then: 7}),
    ):
        assert [sent[name] for name in LIMITS if name in sent] == [7]
    assert 1000 not in body(model, **{then: None}).values()


def test_a_limit_that_chose_the_responses_api_is_said_to_it_by_any_name() -> None:
    model = ChatOpenAI(model="gpt-4o", api_key="k", max_output_tokens=1000)
    request = model.build_request("hi", max_tokens=7)
    assert request.url.endswith("/responses")
    assert request.body["max_output_tokens"] == 7


@pytest.mark.parametrize(("first", "then"), list(product(("stop", "stop_sequences"), repeat=2)))
def test_a_later_stop_is_the_only_one(first: str, then: str) -> None:
    for wire, name in (("chat", "stop"), ("messages", "stop_sequences")):
        model = MODELS[wire](**{first: ["a"]})
        assert body(model, **{then: ["c"]})[name] == ["c"]
        assert body(model, bound={first: ["b"]}, **{then: ["c"]})[name] == ["c"]
        assert body(model, bound={then: ["c"]})[name] == ["c"]


REASONING = {
    "reasoning_effort": "low",
    "effort": "low",
    "reasoning": {"effort": "low"},
    "output_config": {"effort": "low"},
}


@pytest.mark.parametrize("first", REASONING)
@pytest.mark.parametrize("then", REASONING)
@pytest.mark.filterwarnings("error")
def test_a_later_effort_is_the_only_one(first: str, then: str) -> None:
    earlier = {"effort": "high"} if isinstance(REASONING[first], dict) else "high"
    for model in (
        ChatOpenAI(
            model="gpt-5", api_key="k", model_kwargs={first: earlier}, use_responses_api=False
        ),
        ChatOpenAI(
            model="gpt-5", api_key="k", model_kwargs={first: earlier}, use_responses_api=True
        ),
        ChatAnthropic(model="claude-opus-4-5", api_key="k", model_kwargs={first: earlier}),
        ChatAnthropic(model=CLAUDE, api_key="k", model_kwargs={first: earlier}),
    ):
        sent = body(model, **{then: REASONING[then]})
        assert "high" not in str(sent)
        assert sent.get("thinking", {}).get("budget_tokens", 2048) == 2048
        assert (
            sent
            == body(model, bound={then: REASONING[then]})
            == body(model, bound={first: earlier}, **{then: REASONING[then]})
        )


@pytest.mark.filterwarnings("error")
def test_an_effort_of_a_call_beats_the_thinking_of_the_model_where_they_say_the_same() -> None:
    model = ChatAnthropic(
        model=CLAUDE, api_key="k", thinking={"type": "enabled", "budget_tokens": 10_000}
    )
    assert body(model, effort="low")["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert body(model, reasoning={"budget_tokens": 3000})["thinking"]["budget_tokens"] == 3000
    effort = ChatAnthropic(model=CLAUDE, api_key="k", effort="high")
    with pytest.warns(UserWarning, match="`thinking` is set too"):
        assert (
            body(effort, thinking={"type": "enabled", "budget_tokens": 4000})["thinking"][
                "budget_tokens"
            ]
            == 4000
        )
    both = ChatAnthropic(
        model="claude-opus-4-5", api_key="k", thinking={"type": "enabled", "budget_tokens": 10_000}
    )
    sent = body(both, effort="low")  # two parameters there
    assert (sent["thinking"]["budget_tokens"], sent["output_config"]) == (10_000, {"effort": "low"})


def test_a_later_effort_leaves_the_rest_of_reasoning() -> None:
    model = ChatOpenAI(model="gpt-5", api_key="k", reasoning={"effort": "high", "summary": "auto"})
    for name in ("reasoning_effort", "effort"):
        assert body(model, **{name: "low"})["reasoning"] == {"effort": "low", "summary": "auto"}


FORM = {"type": "json_schema", "schema": {"type": "object", "title": "late"}}


@pytest.mark.parametrize("first", ["output_format", "response_format", "output_config"])
@pytest.mark.parametrize("then", ["output_format", "response_format", "output_config"])
def test_a_later_form_of_the_answer_is_the_only_one(first: str, then: str) -> None:
    def said(name: str, title: str) -> Any:
        form = {"type": "json_schema", "schema": {"type": "object", "title": title}}
        return {"format": form} if name == "output_config" else form

    model = ChatAnthropic(model=CLAUDE, api_key="k", model_kwargs={first: said(first, "early")})
    sent = body(model, **{then: said(then, "late")})
    assert "early" not in str(sent)
    assert sent["output_config"]["format"]["schema"]["title"] == "late"


def test_the_model_may_be_named_either_way() -> None:
    for wire, (first, then) in product(
        ("chat", "responses", "messages"), product(("model", "model_name"), repeat=2)
    ):
        model = MODELS[wire](**{"model": None, first: "a"})
        assert body(model, **{then: "b"})["model"] == "b"
        assert body(model, bound={first: "c"}, **{then: "b"})["model"] == "b"
        assert body(model, model=None)["model"] == "a"


@pytest.mark.parametrize(("first", "then"), list(product(("timeout", "request_timeout"), repeat=2)))
def test_a_later_timeout_is_the_one_that_holds(first: str, then: str) -> None:
    for wire in ("chat", "messages"):
        model = MODELS[wire](**{first: 30})
        binding = model.bind(**{first: 20})
        for kwargs in ({then: 7}, {**binding.kwargs, then: 7}):
            exchange = model._exchange(model._messages("hi"), None, {}, dict(kwargs), stream=False)
            assert exchange.policy.timeouts.first_byte_s == 7


def test_what_a_service_renames_is_replaced_too() -> None:
    model = MODELS["mistral"](model_kwargs={"random_seed": 1})
    sent = body(model, seed=2)
    assert (sent.get("random_seed"), sent.get("seed")) == (2, None)


def test_a_parameter_without_other_names_is_left_alone() -> None:
    params: dict[str, Any] = {"text": {"format": 1, "verbosity": "low"}, "x": 1}
    set_parameter(params, "verbosity", "high")
    set_parameter(params, "x", None)
    assert params == {"text": {"format": 1}, "verbosity": "high"}
    set_parameter(params, "text", {"verbosity": "low"})
    assert params == {"text": {"verbosity": "low"}}

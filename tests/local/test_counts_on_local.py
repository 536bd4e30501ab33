"""The counts of a real model before a call, against the usage it reports after it."""

from __future__ import annotations

from typing import Any

import pytest

from modelwire.adapters import ChatAnthropic, ChatOpenAI

pytestmark = pytest.mark.local

TOOL = {
    "name": "weather",
    "description": "Tell the weather.",
    "parameters": {"type": "object", "properties": {}},
}


@pytest.mark.long
@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic"])
def test_a_local_model_counts_what_its_answer_then_says(
    wire: str, local_server: str, colour: Any
) -> None:
    arguments: dict[str, Any] = {
        "model": "smollm2",
        "provider": "local",
        "api_key": "none",
        "max_tokens": 1,
    }
    model: Any = (
        ChatAnthropic(base_url=local_server, **arguments)
        if wire == "anthropic"
        else ChatOpenAI(
            base_url=f"{local_server}/v1", use_responses_api=wire == "responses", **arguments
        )
    )
    for one in (model, model.bind_tools([TOOL])):
        count = colour.run(
            lambda one=one: one.count_tokens("hello there"),
            lambda one=one: one.acount_tokens("hello there"),
        )
        assert count == one.invoke("hello there").usage_metadata["input_tokens"]
        assert count.exact is (wire != "openai")

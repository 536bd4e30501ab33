"""A refusal is a message for LangChain's programs, which read `stop_reason`; `on_refusal="raise"` raises."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage

from modelwire.errors import Refused
from modelwire.langchain import as_langchain
from modelwire.testing import Answer, ProviderServer

WORDS = "I cannot."


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "bedrock", "gemini"])
def test_a_refusal_is_a_message(wire: Any) -> None:
    with ProviderServer(default=Answer(refusal=WORDS)) as server:
        model = as_langchain(server.model(wire))
        message = model.invoke("hi")
        assert isinstance(message, AIMessage)
        assert message.text == WORDS
        chunks = list(model.stream("hi"))
        assert "".join(chunk.text for chunk in chunks) == WORDS
        with pytest.raises(Refused):
            as_langchain(server.model(wire, on_refusal="raise")).invoke("hi")


def test_an_agent_ends_with_the_refusal() -> None:
    from langchain.agents import create_agent

    with ProviderServer(default=Answer(refusal=WORDS)) as server:
        agent = create_agent(as_langchain(server.model("anthropic")), tools=[])
        ended = agent.invoke({"messages": [("user", "hi")]})
    assert ended["messages"][-1].text == WORDS

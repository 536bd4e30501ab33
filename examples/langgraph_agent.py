"""An agent of LangGraph's with a model of modelwire: two tools, a memory, and tokens as they come.

python examples/langgraph_agent.py [openai:gpt-4o-mini | anthropic:claude-haiku-4-5 | local:smollm2 | ...]

Needs `pip install "modelwire[langchain]" langchain langgraph`.
"""

from __future__ import annotations

import sys

from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from stand_in import chosen_model

from modelwire import AIMessage
from modelwire.langchain import as_langchain

STOCK = {"violin": 3, "lantern": 0}


def in_stock(thing: str) -> int:
    """Say how many pieces of a thing are in stock."""
    return STOCK.get(thing, 0)


def delivery_days(city: str) -> str:
    """Say how many days a delivery to a city takes."""
    return {"Bern": "2 days", "Lisbon": "5 days"}.get(city, "a week")


def call(name: str, number: str, **args: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": number}])


# What a model answers; with one of your own this list is not needed.
WRITTEN = [
    call("in_stock", "1", thing="violin"),
    AIMessage("There are 3 violins."),
    call("delivery_days", "2", city="Bern"),
    AIMessage("A violin is in Bern in 2 days."),
]

model = chosen_model(sys.argv[1:], WRITTEN)
agent = create_agent(as_langchain(model), [in_stock, delivery_days], checkpointer=InMemorySaver())
config = {"configurable": {"thread_id": "one conversation"}}
for question in ("Do you have violins?", "How long to Bern?"):
    print(f"\nyou> {question}")
    for message, _ in agent.stream(
        {"messages": [("user", question)]}, config, stream_mode="messages"
    ):
        if isinstance(message, ToolMessage):
            print(f"<- {message.name}: {message.text}")
        elif isinstance(message, AIMessageChunk):
            print(message.text, end="", flush=True)
print(f"\n{len(agent.get_state(config).values['messages'])} messages in the memory")

"""What type checkers infer for the chains and wrappers that programs write. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any, assert_type

from modelwire import (
    ChatAnthropic,
    ChatOpenAI,
    ChatPromptTemplate,
    StrOutputParser,
    init_chat_model,
)
from modelwire.adapters.model.base import BaseChatModel
from modelwire.adapters.model.configurable import ConfigurableModel
from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.prompt_values import PromptValue
from modelwire.runnables import (
    ConfigurableField,
    RouterRunnable,
    Runnable,
    RunnableBinding,
    RunnableBranch,
    RunnableConfig,
    RunnableLambda,
    RunnableSequence,
    RunnableWithFallbacks,
)

model = ChatOpenAI(model="gpt-4o-mini")
prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{question}")])
chain = prompt | model | StrOutputParser()

assert_type(init_chat_model("openai:gpt-4o-mini"), BaseChatModel)
assert_type(
    init_chat_model("openai:gpt-4o-mini", configurable_fields=("model",)), ConfigurableModel
)
assert_type(prompt.invoke({"question": "why"}), PromptValue)
assert_type(model.invoke("hi"), AIMessage)
assert_type(model.batch(["hi"]), list[AIMessage])
assert_type(chain, RunnableSequence[dict[str, Any], str])
assert_type(chain.invoke({"question": "why"}), str)
assert_type(chain.batch([{"question": "why"}]), list[str])
assert_type(chain.with_retry(stop_after_attempt=2), RunnableBinding[dict[str, Any], str])
assert_type(chain.with_retry().invoke({}), str)
assert_type(chain.with_config(tags=["a"]).invoke({}), str)
assert_type(chain.with_fallbacks([chain]), RunnableWithFallbacks[dict[str, Any], str])
assert_type(chain.with_fallbacks([chain], exceptions_to_handle=(ValueError,)).invoke({}), str)
assert_type(chain.with_listeners(on_end=lambda run: None).invoke({}), str)
assert_type(chain.assign(more=lambda x: 1).invoke({}), dict[str, Any])

swapped = model.configurable_alternatives(
    ConfigurableField(id="llm"), anthropic=lambda: ChatAnthropic(model="claude-sonnet-4-5")
)
config: RunnableConfig = {"configurable": {"llm": "anthropic"}, "timeout": 30, "max_concurrency": 5}
assert_type(swapped.invoke("hi", config), AIMessage)
assert_type((prompt | swapped | StrOutputParser()).invoke({}, config), str)
warm = model.configurable_fields(temperature=ConfigurableField(id="temperature"))
assert_type(warm.invoke("hi", {"configurable": {"temperature": 1}}), AIMessage)


def is_long(x: str) -> bool:
    return len(x) > 10


def length(x: str) -> int:
    return len(x)


branch = RunnableBranch[str, int]((is_long, length), length)
assert_type(branch.invoke("a"), int)
assert_type((chain | branch).invoke({}), int)
assert_type(RouterRunnable[int]({"a": length}).invoke({"key": "a", "input": "b"}), int)
plain: Runnable[str, int] = RunnableLambda(length).with_retry()

for chunk in model.stream("hi"):
    assert_type(chunk, AIMessageChunk)
for text in chain.stream({"question": "why"}):
    assert_type(text, str)


async def reads() -> None:
    assert_type(await model.ainvoke("hi"), AIMessage)
    assert_type(await chain.abatch([{}]), list[str])
    async for chunk in model.astream("hi"):
        assert_type(chunk, AIMessageChunk)
    async for text in chain.astream({}):
        assert_type(text, str)
    async for event in chain.astream_events({}):
        assert_type(event["event"], str)

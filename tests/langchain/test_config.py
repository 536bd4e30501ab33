"""What a config of LangChain's does in our part: limits, fields, contexts; and checkpoints in the strict mode."""

from __future__ import annotations

import subprocess
import sys
import time
from contextvars import ContextVar
from typing import Any

import langchain_core.runnables as theirs
import pytest
from langchain_core.runnables.configurable import (
    ConfigurableFieldMultiOption as TheirMultiOption,
)
from langchain_core.runnables.configurable import (
    ConfigurableFieldSingleOption as TheirSingleOption,
)

import modelwire.runnables as ours
from modelwire.errors import InvalidArgument, Timeout
from modelwire.langchain import as_langchain
from modelwire.testing import ProviderServer

HANGING_S = 30.0


def limited(colour: Any, runnable: Any, config: Any) -> None:
    start = time.monotonic()
    with pytest.raises(Timeout):
        colour.invoke(runnable, "hi", config)
    assert time.monotonic() - start < HANGING_S / 2


def test_a_timeout_in_langchains_config_ends_a_chain_of_ours(colour: Any) -> None:
    with ProviderServer(latency=HANGING_S) as server:
        chain = ours.RunnablePassthrough() | server.model("openai")
        limited(colour, as_langchain(chain), {"timeout": 0.2})
        limited(colour, theirs.RunnablePassthrough() | as_langchain(chain), {"timeout": 0.2})
        limited(colour, as_langchain(chain), {"configurable": {"timeout": 0.2}})
        limited(colour, as_langchain(chain).with_config({"timeout": 0.2}), None)
        with pytest.raises(Timeout):
            colour.stream(as_langchain(chain), "hi", {"timeout": 0.2})
        with pytest.raises(Timeout):
            colour.batch(as_langchain(chain), ["hi"], {"timeout": 0.2})


def test_a_timeout_that_is_no_number_is_the_programs_own(
    server: ProviderServer, colour: Any
) -> None:
    chain = as_langchain(ours.RunnablePassthrough() | server.model("openai"))
    assert colour.invoke(chain, "hi", {"configurable": {"timeout": "soon"}}).text == "hi"


def test_settings_of_ours_are_configurable_fields_of_langchains(
    server: ProviderServer, colour: Any
) -> None:
    lc = as_langchain(server.model("openai")).configurable_fields(
        temperature=theirs.ConfigurableField(id="heat", name="Heat"),
        max_tokens=TheirSingleOption(id="size", options={"s": 10, "l": 99}, default="s"),
    )
    chain = theirs.RunnablePassthrough() | lc
    colour.invoke(chain, "hi", {"configurable": {"heat": 0.25, "size": "l"}})
    colour.invoke(lc, "hi")
    colour.stream(lc.with_config(configurable={"heat": 0.5}), "hi")
    bodies = [request.body for request in server.requests]
    assert [body.get("temperature") for body in bodies] == [0.25, None, 0.5]
    sizes = [body.get("max_tokens", body.get("max_completion_tokens")) for body in bodies]
    assert sizes == [99, 10, 10]
    stops = TheirMultiOption(id="stops", options={"a": "A", "b": "B"}, default=["a"])
    lc = as_langchain(server.model("openai")).configurable_fields(stop=stops)
    colour.invoke(lc, "hi", {"configurable": {"stops": ["a", "b"]}})
    assert server.requests[-1].body["stop"] == ["A", "B"]


def test_a_configurable_model_still_has_tools_and_forms(
    server: ProviderServer, colour: Any
) -> None:
    lc = as_langchain(server.model("openai")).configurable_fields(
        temperature=theirs.ConfigurableField(id="heat")
    )
    colour.invoke(lc.bind_tools([double]), "hi", {"configurable": {"heat": 0.25}})
    body = server.requests[-1].body
    assert (body["temperature"], body["tools"][0]["function"]["name"]) == (0.25, "double")


def double(a: int) -> int:
    """Double a number."""
    return 2 * a


def test_fields_of_langchains_own_are_configured_by_langchain(
    server: ProviderServer, colour: Any
) -> None:
    lc = as_langchain(server.model("openai"))
    named = lc.configurable_fields(tags=theirs.ConfigurableField(id="tags"))
    assert isinstance(named, theirs.configurable.RunnableConfigurableFields)
    assert colour.invoke(named, "hi", {"configurable": {"tags": ["t"]}}).text == "hi"
    with pytest.raises(InvalidArgument, match="heat"):
        lc.configurable_fields(heat=theirs.ConfigurableField(id="heat"))


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


def steps_of(module: Any) -> Any:
    """A chain whose first step sets the variable, and whose second one reads it."""

    def set_it(value: Any) -> Any:
        VARIABLE.set("set")
        return value

    async def aset_it(value: Any) -> Any:
        return set_it(value)

    async def aread(value: Any) -> str:
        return VARIABLE.get()

    set_step = module.RunnableLambda(set_it, afunc=aset_it)
    return set_step | module.RunnableLambda(lambda value: VARIABLE.get(), afunc=aread)


@pytest.mark.parametrize(
    ("chain", "isolated"),
    [
        pytest.param(steps_of(theirs), True, id="theirs"),
        pytest.param(steps_of(ours), False, id="ours"),
        pytest.param(as_langchain(steps_of(ours)), False, id="ours in theirs"),
    ],
)
async def test_a_context_variable_that_an_async_step_sets(chain: Any, isolated: bool) -> None:
    VARIABLE.set("unset")
    expected = "unset" if isolated else "set"
    assert await chain.ainvoke(1) == expected
    assert VARIABLE.get() == expected


@pytest.mark.parametrize("module", [theirs, ours])
def test_a_context_variable_that_a_sync_step_sets_stays_in_it(module: Any) -> None:
    VARIABLE.set("unset")
    assert steps_of(module).invoke(1) == "unset"
    assert VARIABLE.get() == "unset"


STRICT = """
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from modelwire.langchain import install, uninstall
from modelwire.messages import AIMessage, HumanMessage, ToolMessage
talk = [HumanMessage("hi", id="1"), AIMessage("x", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}]),
        ToolMessage("42", tool_call_id="1")]
def kept():
    serde = JsonPlusSerializer()
    return serde.loads_typed(serde.dumps_typed({"talk": talk}))["talk"] == talk
print(kept())
install()
print(kept())
uninstall()
print(kept())
"""


def test_langgraphs_strict_mode_keeps_messages_of_ours_after_install() -> None:
    """In a process of its own: LangGraph reads the variable of the environment when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", STRICT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"LANGGRAPH_STRICT_MSGPACK": "true", "PATH": ""},
    )
    assert done.stdout.split() == ["False", "True", "False"], done.stderr

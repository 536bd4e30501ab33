"""`astream_log`: its patches, and what they build up."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from modelwire.errors import InvalidType
from modelwire.output_parsers import StrOutputParser
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda, RunnablePassthrough
from modelwire.testing import GenericFakeChatModel
from modelwire.tracers import RunLog, RunLogPatch


def chain() -> Any:
    model = GenericFakeChatModel(messages=iter(["one two"]))
    return ChatPromptTemplate.from_messages([("human", "{q}")]) | model | StrOutputParser()


def log(runnable: Any, value: Any, config: Any = None, **kwargs: Any) -> list[Any]:
    async def read() -> list[Any]:
        return [patch async for patch in runnable.astream_log(value, config, **kwargs)]

    return asyncio.run(read())


def test_the_patches_of_a_sequence() -> None:
    one = RunnableLambda(lambda x: x + 1).with_config(run_name="s")
    patches = [patch.ops for patch in log(one | one, 1)]
    paths = [[(op["op"], op["path"]) for op in ops] for ops in patches]
    assert paths == [
        [("replace", "")],
        [("add", "/logs/s")],
        [("add", "/logs/s/streamed_output/-")],
        [("add", "/logs/s:2")],  # the second run of that name
        [("add", "/logs/s/final_output"), ("add", "/logs/s/end_time")],
        [("add", "/logs/s:2/streamed_output/-")],
        [("add", "/streamed_output/-"), ("replace", "/final_output")],
        [("add", "/logs/s:2/final_output"), ("add", "/logs/s:2/end_time")],
    ]
    first = patches[0][0]["value"]
    assert {key: first[key] for key in first if key != "id"} == {
        "streamed_output": [],
        "final_output": None,
        "logs": {},
        "name": "RunnableSequence",
        "type": "chain",
    }
    assert patches[4][0]["value"] == {"output": 2}


def test_the_patches_add_up_to_what_the_chain_gave() -> None:
    patches = log(chain(), {"q": "hi"})
    total = patches[0]
    for patch in patches[1:]:
        total = total + patch
    assert isinstance(total, RunLog)
    state: Any = total.state
    assert "".join(state["streamed_output"]) == state["final_output"] == "one two"
    assert set(state["logs"]) == {"ChatPromptTemplate", "GenericFakeChatModel", "StrOutputParser"}
    model = state["logs"]["GenericFakeChatModel"]
    assert model["type"] == "llm"
    assert "".join(model["streamed_output_str"]) == "one two"
    assert model["final_output"]["generations"][0][0]["message"].content == "one two"
    assert model["start_time"] <= model["end_time"]


def test_without_diff_each_item_is_the_log_so_far() -> None:
    logs = log(chain(), {"q": "hi"}, diff=False)
    assert all(isinstance(one, RunLog) for one in logs)
    lengths = [len(one.state["streamed_output"]) for one in logs]
    assert lengths == sorted(lengths)
    assert logs[0].state["logs"] == {}
    assert logs[-1].state["final_output"] == "one two"


def test_adding_patches_touches_none_of_them() -> None:
    patches = log(chain(), {"q": "hi"})
    before = copy.deepcopy([patch.ops for patch in patches])
    first = sum(patches[1:], patches[0])
    again = sum(patches[1:], patches[0])
    assert first == again
    assert [patch.ops for patch in patches] == before


def test_runs_are_chosen_and_the_roots_chunks_can_be_left_out() -> None:
    paths = {
        op["path"]
        for patch in log(chain(), {"q": "hi"}, include_types=["prompt"])
        for op in patch.ops
    }
    assert "/logs/ChatPromptTemplate" in paths
    assert "/logs/GenericFakeChatModel" not in paths
    assert "/streamed_output/-" in paths
    patches = log(chain(), {"q": "hi"}, with_streamed_output_list=False)
    assert not [op for patch in patches for op in patch.ops if op["path"] == "/streamed_output/-"]


def test_a_name_with_a_slash_is_one_key() -> None:
    patches = log(
        RunnablePassthrough() | RunnableLambda(lambda x: x).with_config(run_name="a/b~c"), 1
    )
    total = sum(patches[1:], patches[0])
    assert total.state["logs"]["a/b~c"]["final_output"] == {"output": 1}


def test_a_failing_run_ends_in_the_log_before_the_error_is_raised() -> None:
    def fail(value: int) -> int:
        raise ValueError("boom")

    async def read() -> list[Any]:
        found = []
        with pytest.raises(ValueError, match="boom"):
            async for patch in (RunnablePassthrough() | RunnableLambda(fail)).astream_log(1):
                found.append(patch)
        return found

    assert asyncio.run(read())[-1].ops[0] == {
        "op": "add",
        "path": "/logs/fail/final_output",
        "value": {},
    }


def test_a_patch_adds_only_to_patches() -> None:
    with pytest.raises(InvalidType, match="not a `int`"):
        RunLogPatch() + 1  # type: ignore[operator]
    with pytest.raises(InvalidType, match="not a `int`"):
        RunLog(state=None) + 1  # type: ignore[operator]


def test_a_dict_grows_key_by_key_in_the_patches() -> None:
    patches = log(
        RunnablePassthrough() | RunnablePassthrough.assign(**{"b/c": lambda x: x["a"] + 1}),
        {"a": 1},
    )
    final = [
        (op["op"], op["path"], op["value"])
        for patch in patches
        for op in patch.ops
        if "final" in op["path"]
    ]
    assert [op for op in final if op[1].startswith("/final_output")] == [
        ("replace", "/final_output", {"a": 1}),
        ("add", "/final_output/b~1c", 2),
    ]
    total = patches[0]
    for patch in patches[1:]:
        total = total + patch
    assert total.state["final_output"] == {"a": 1, "b/c": 2}

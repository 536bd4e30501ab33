"""Configs: how they settle, merge and reach nested calls; what is refused before anything runs."""

from __future__ import annotations

import asyncio
import threading
import warnings
from contextvars import ContextVar
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.runnables.base import Runnable
from modelwire.runnables.config import (
    ensure_config,
    get_config_list,
    get_executor_for_config,
    merge_configs,
    patch_config,
    run_in_executor,
    set_config_context,
    settled,
    var_child_runnable_config,
)
from modelwire.runnables.functions import RunnableLambda

DEFAULTS = {
    "tags": [],
    "metadata": {},
    "callbacks": None,
    "recursion_limit": 25,
    "configurable": {},
}


def test_config_of_nothing_is_the_defaults() -> None:
    assert ensure_config() == DEFAULTS


def test_ensure_config_shares_nothing_that_can_be_changed() -> None:
    tags = ["a"]
    config = ensure_config({"tags": tags})
    config["tags"].append("b")
    assert tags == ["a"]
    assert ensure_config() is not ensure_config()


def test_unknown_keys_count_as_configurable_and_only_model_becomes_metadata() -> None:
    config = ensure_config(
        {"thread": 7, "configurable": {"model": "m", "other": 1}, "metadata": {"x": 1}}
    )  # type: ignore[typeddict-unknown-key]
    assert config["configurable"] == {"model": "m", "other": 1, "thread": 7}
    assert config["metadata"] == {"x": 1, "model": "m"}


def test_metadata_given_wins_over_the_configurable_model() -> None:
    assert ensure_config({"configurable": {"model": "m"}, "metadata": {"model": "mine"}})[
        "metadata"
    ] == {"model": "mine"}


@pytest.mark.parametrize("limit", [0, -1])
def test_max_concurrency_below_one_is_refused_before_anything_runs(colour: Any, limit: int) -> None:
    ran: list[int] = []
    for call in (colour.invoke, colour.batch):
        with pytest.raises(InvalidArgument, match="`max_concurrency` must be at least 1"):
            call(RunnableLambda(ran.append), [1, 2], {"max_concurrency": limit})
    assert ran == []


@pytest.mark.parametrize("limit", ["3", 2.0, True])
def test_max_concurrency_that_is_no_whole_number_is_refused(colour: Any, limit: Any) -> None:
    with pytest.raises(InvalidType, match="`max_concurrency` must be a whole number"):
        colour.batch(RunnableLambda(str), [1, 2], {"max_concurrency": limit})


@pytest.mark.parametrize("timeout", [0, -1.5, float("nan"), float("inf")])
def test_timeout_that_is_no_time_is_refused(colour: Any, timeout: float) -> None:
    for call in (colour.invoke, colour.batch, colour.stream):
        with pytest.raises(InvalidArgument, match="`timeout` must be more than 0 seconds"):
            call(RunnableLambda(str), [1, 2], {"timeout": timeout})


@pytest.mark.parametrize("config", ["tags", 3, ["a"]])
def test_config_that_is_no_dict_is_refused(colour: Any, config: Any) -> None:
    with pytest.raises(InvalidType, match="`config` must be a dict"):
        colour.invoke(RunnableLambda(str), 1, config)


@pytest.mark.parametrize(
    ("key", "value"), [("tags", "a"), ("metadata", ["a"]), ("configurable", "x"), ("run_name", 3)]
)
def test_config_entry_of_a_wrong_kind_is_refused(key: str, value: Any) -> None:
    with pytest.raises(InvalidType, match=f"`{key}` in a config must be a"):
        ensure_config({key: value})  # type: ignore[misc]


def test_settled_config_is_passed_on_as_it_is() -> None:
    config = settled({"tags": ["a"]})
    assert settled(config) is config


def test_timeout_becomes_a_deadline_that_later_timeouts_can_only_shorten() -> None:
    outer = ensure_config({"timeout": 10})
    assert "timeout" not in outer
    assert monotonic() < outer["deadline"] <= monotonic() + 10
    longer = ensure_config({**outer, "timeout": 1000})
    assert longer["deadline"] == outer["deadline"]
    shorter = ensure_config({**outer, "timeout": 1})
    assert shorter["deadline"] < outer["deadline"]


def test_merge_unites_tags_overlays_metadata_and_joins_callbacks() -> None:
    merged = merge_configs(
        {
            "tags": ["b", "a"],
            "metadata": {"x": 1, "y": 1},
            "callbacks": ["h1"],
            "configurable": {"k": 1},
        },  # type: ignore[list-item]
        None,
        {"tags": ["a", "c"], "metadata": {"y": 2}, "callbacks": ["h2"], "configurable": {"l": 2}},  # type: ignore[list-item]
    )
    assert merged == {
        "tags": ["a", "b", "c"],
        "metadata": {"x": 1, "y": 2},
        "callbacks": ["h1", "h2"],
        "configurable": {"k": 1, "l": 2},
    }


def test_merge_lets_neither_none_nor_the_default_limit_override() -> None:
    merged = merge_configs(
        {"run_name": "a", "recursion_limit": 3}, {"run_name": None, "recursion_limit": 25}
    )  # type: ignore[typeddict-item]
    assert merged == {"run_name": "a", "recursion_limit": 3}


def test_merge_keeps_the_sooner_deadline() -> None:
    assert merge_configs({"deadline": 5.0}, {"deadline": 9.0})["deadline"] == 5.0


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "tags": st.lists(st.sampled_from("abcd"), max_size=3),
                "metadata": st.dictionaries(st.sampled_from("xyz"), st.integers(), max_size=3),
                "run_name": st.sampled_from(["n", "m"]),
                "max_concurrency": st.integers(1, 9),
            },
        ),
        min_size=3,
        max_size=3,
    )
)
def test_merging_is_associative(configs: list[Any]) -> None:
    a, b, c = configs
    left = merge_configs(merge_configs(a, b), c)
    right = merge_configs(a, merge_configs(b, c))
    assert left == right


def test_patch_with_callbacks_drops_what_names_another_run() -> None:
    patched = patch_config(
        {"run_name": "n", "tags": ["a"]}, callbacks=["h"], max_concurrency=2, configurable={"k": 1}
    )  # type: ignore[list-item]
    assert "run_name" not in patched
    assert patched["callbacks"] == ["h"]
    assert patched["max_concurrency"] == 2
    assert patched["configurable"] == {"k": 1}


def test_config_list_copies_one_config_for_each_input() -> None:
    first, second = get_config_list({"tags": ["a"]}, 2)
    first["tags"].append("b")
    assert second["tags"] == ["a"]


def test_config_list_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="2 entries for 3 inputs"):
        get_config_list([{}, {}], 3)


def test_config_list_gives_the_run_id_to_the_first_with_a_warning() -> None:
    with pytest.warns(RuntimeWarning, match="only its first element"):
        first, second = get_config_list({"run_id": "id"}, 2)  # type: ignore[typeddict-item]
    assert first["run_id"] == "id"
    assert "run_id" not in second


def test_config_list_keeps_the_clock_stopped() -> None:
    (only,) = get_config_list({"timeout": 5}, 1)
    assert only["timeout"] == 5
    assert "deadline" not in only


def test_nested_call_without_config_inherits_all_but_the_name(colour: Any) -> None:
    seen: list[Any] = []
    inner = RunnableLambda(lambda x, config: seen.append(config) or x)

    def outer(x: int) -> int:
        return inner.invoke(x)  # type: ignore[no-any-return]

    async def aouter(x: int) -> int:
        return await inner.ainvoke(x)  # type: ignore[no-any-return]

    config = {
        "tags": ["t"],
        "metadata": {"m": 1},
        "run_name": "top",
        "max_concurrency": 3,
        "timeout": 60,
    }
    assert colour.invoke(RunnableLambda(outer, aouter), 1, config) == 1
    assert seen[0]["tags"] == ["t"]
    assert seen[0]["metadata"] == {"m": 1}
    assert seen[0]["max_concurrency"] == 3
    assert seen[0]["deadline"] < monotonic() + 60
    assert "run_name" not in seen[0]
    assert var_child_runnable_config.get() is None


def test_config_context_is_inherited_inside_alone() -> None:
    with set_config_context({"tags": ["a"]}) as context:
        assert context.run(ensure_config)["tags"] == ["a"]
    assert ensure_config()["tags"] == []


def test_context_of_a_sync_function_does_not_leak(colour: Any) -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)

    def set_it(x: int) -> int:
        variable.set(x)
        return variable.get()

    def call() -> list[int]:
        return [RunnableLambda(set_it).invoke(5), variable.get()]

    async def acall() -> list[int]:
        return [await RunnableLambda(set_it).ainvoke(5), variable.get()]

    assert colour.run(call, acall) == [5, 0]


def test_executor_runs_in_the_callers_context_and_turns_stop_iteration() -> None:
    variable: ContextVar[str] = ContextVar("variable")

    def stop() -> None:
        raise StopIteration

    async def main() -> tuple[str, int]:
        variable.set("seen")
        with pytest.raises(RuntimeError, match="StopIteration"):
            await run_in_executor(None, stop)
        return await run_in_executor(None, lambda: (variable.get(), threading.get_ident()))

    value, thread = asyncio.run(main())
    assert value == "seen"
    assert thread != threading.get_ident()


def test_executor_for_config_copies_the_context_for_each_work() -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    variable.set(3)
    with get_executor_for_config({"max_concurrency": 2}) as executor:
        assert executor.submit(lambda x: variable.get() + x, 1).result() == 4
        assert list(executor.map(lambda x, y: variable.get() + x + y, [1, 2], [10, 20])) == [14, 25]


def test_plain_runnable_sees_none_in_its_own_call_and_a_full_config_in_a_batch() -> None:
    seen: list[Any] = []

    class Plain(Runnable[int, int]):
        def invoke(self, input: int, config: Any = None, **kwargs: Any) -> int:
            seen.append(config)
            return input

    assert list(Plain().stream(1)) == [1]
    Plain().batch([1, 2], {"metadata": {"m": 1}})
    assert seen == [None, *[{**DEFAULTS, "metadata": {"m": 1}}] * 2]


def test_a_key_that_is_no_string_is_refused() -> None:
    with pytest.raises(InvalidType, match="The keys of a config are strings, not `5`"):
        ensure_config({5: "x"})  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "meant"),
    [("timeut", "timeout"), ("max_concurency", "max_concurrency"), ("callback", "callbacks")],
)
def test_a_misspelt_key_is_refused_with_the_right_one(colour: Any, key: str, meant: str) -> None:
    says = f"`{key}` is not a key of a config.*Did you mean `{meant}`"
    for call, x in ((colour.invoke, 1), (colour.batch, [1, 2])):
        with pytest.raises(InvalidArgument, match=says):
            call(RunnableLambda(str), x, {key: 2})
    with pytest.raises(InvalidArgument, match=says):
        colour.invoke(RunnableLambda(str).with_config({key: 2}), 1)  # type: ignore[misc]
    assert colour.invoke(RunnableLambda(str), 1, {"configurable": {key: 2}}) == "1"


def test_no_other_key_is_refused() -> None:
    others = (
        "thread_id",
        "user_id",
        "session_id",
        "trace_id",
        "model",
        "checkpoint_ns",
        "temperature",
        "max_tokens",
    )
    known = ("timeout", "deadline", "observers", "tags")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ensure_config(dict.fromkeys(others, 1))["configurable"] == dict.fromkeys(others, 1)  # type: ignore[arg-type]
        ensure_config(dict.fromkeys(known))  # type: ignore[arg-type]

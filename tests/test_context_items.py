"""What a block adds to its context goes with the block, and with no other, in whatever order blocks end."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire import budget, ext, prompt_caches
from modelwire.budgets.spending import _entered
from modelwire.callbacks import get_usage_metadata_callback
from modelwire.context_items import adding
from modelwire.messages import AIMessage
from modelwire.testing import GenericFakeChatModel
from modelwire.tracers import collect_runs
from modelwire.transport.observer import CallObserver
from modelwire.usage import track


@given(st.permutations(range(4)))
def test_blocks_that_end_in_any_order_remove_their_own_item_only(ends: list[int]) -> None:
    items: ContextVar[tuple[Any, ...]] = ContextVar("items", default=())
    # Equal objects, so that only the same object may be removed.
    blocks = [(item := [], adding(items, item)) for _ in range(4)]
    for _, block in blocks:
        block.__enter__()
    inside = [item for item, _ in blocks]
    for number in ends:
        item, block = blocks[number]
        block.__exit__(None, None, None)
        inside = [one for one in inside if one is not item]
        assert len(items.get()) == len(inside)
        assert all(one is other for one, other in zip(items.get(), inside, strict=True))


def test_an_item_that_is_added_twice_is_removed_once_by_each_block() -> None:
    items: ContextVar[tuple[Any, ...]] = ContextVar("items", default=())
    with adding(items, "a"):
        with adding(items, "a"):
            assert items.get() == ("a", "a")
        assert items.get() == ("a",)
    assert items.get() == ()


def test_a_block_that_ends_in_another_context_raises_nothing() -> None:
    items: ContextVar[tuple[Any, ...]] = ContextVar("items", default=())
    block = adding(items, "a")
    copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert items.get() == ()


@pytest.mark.parametrize("first", [get_usage_metadata_callback, collect_runs])
def test_a_tracker_stays_when_a_block_that_began_before_it_ends(first: Any) -> None:
    earlier, tracking = first(), track()
    answer = AIMessage("ok")
    model = GenericFakeChatModel(messages=iter([answer, answer]))
    earlier.__enter__()
    spent = tracking.__enter__()
    earlier.__exit__(None, None, None)
    model.invoke("hi")
    assert spent.total.calls == 1
    tracking.__exit__(None, None, None)
    model.invoke("hi")
    assert spent.total.calls == 1


def test_no_watch_stays_when_two_overlap() -> None:
    first, second = prompt_caches.watch(), prompt_caches.watch()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert len(prompt_caches.WATCHING.get()) == 1
    second.__exit__(None, None, None)
    assert not prompt_caches.WATCHING.get()


def test_a_budget_stays_when_a_block_of_an_observer_that_began_before_it_ends() -> None:
    observing = ext.observing(CallObserver())
    observing.__enter__()
    with budget(calls=1) as limit:
        observing.__exit__(None, None, None)
        assert _entered() == (limit,)
    assert _entered() == ()

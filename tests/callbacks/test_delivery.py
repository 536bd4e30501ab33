from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from modelwire.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManager,
    BaseCallbackHandler,
    CallbackManager,
    ahandle_event,
    handle_event,
)
from modelwire.messages import HumanMessage

seen: ContextVar[str] = ContextVar("seen", default="nothing")


class Recorder(BaseCallbackHandler):
    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.log.append(inputs)


class AsyncRecorder(AsyncCallbackHandler):
    def __init__(self, log: list[Any], *, inline: bool = False) -> None:
        self.log = log
        self.run_inline = inline

    async def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.log.append(inputs)
        seen.set("set by a handler")


class Broken(BaseCallbackHandler):
    def __init__(self, error: Exception, *, loud: bool = False) -> None:
        self.error = error
        self.raise_error = loud

    def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        raise self.error


class AsyncBroken(AsyncCallbackHandler):
    def __init__(self, error: Exception, *, loud: bool = False) -> None:
        self.error = error
        self.raise_error = loud

    async def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        raise self.error


def start(colour: Any, handlers: list[Any], inputs: Any = "x") -> Any:
    return colour.run(
        lambda: CallbackManager(handlers).on_chain_start({}, inputs),
        lambda: AsyncCallbackManager(handlers).on_chain_start({}, inputs),
    )


@pytest.mark.parametrize("kind", [Recorder, AsyncRecorder])
def test_every_colour_of_handler_hears_every_colour_of_run(colour: Any, kind: Any) -> None:
    log: list[Any] = []
    start(colour, [kind(log), kind(log)])
    assert log == ["x", "x"]


@pytest.mark.parametrize("kind", [Broken, AsyncBroken])
def test_what_a_handler_raises_is_logged_and_the_others_still_hear(
    colour: Any, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[Any] = []
    with caplog.at_level(logging.WARNING):
        start(colour, [kind(ValueError("boom")), Recorder(log)])
    assert log == ["x"]
    assert f"Error in {kind.__name__}.on_chain_start callback: ValueError('boom')" in caplog.text


@pytest.mark.parametrize("kind", [Broken, AsyncBroken])
def test_a_handler_with_raise_error_stops_the_run(colour: Any, kind: Any) -> None:
    with pytest.raises(ValueError, match="boom"):
        start(colour, [kind(ValueError("boom"), loud=True)])


@pytest.mark.parametrize("kind", [Broken, AsyncBroken])
def test_not_implemented_is_logged_even_with_raise_error(
    colour: Any, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    start(colour, [kind(NotImplementedError("later"), loud=True)])
    assert f"NotImplementedError in {kind.__name__}.on_chain_start callback" in caplog.text


def test_a_loud_inline_handler_leaves_nothing_half_done() -> None:
    class Loud(AsyncBroken):
        run_inline = True

    log: list[Any] = []
    with pytest.raises(ValueError, match="boom"):
        asyncio.run(
            ahandle_event(
                [AsyncRecorder(log), Loud(ValueError("boom"), loud=True)],
                "on_chain_start",
                None,
                {},
                "x",
            )
        )
    assert log == []


def test_one_loud_handler_among_coroutines_lets_the_others_finish() -> None:
    log: list[Any] = []
    with pytest.raises(ValueError, match="boom"):
        handle_event(
            [AsyncBroken(ValueError("boom"), loud=True), AsyncRecorder(log)],
            "on_chain_start",
            None,
            {},
            "x",
        )
    assert log == ["x"]


@pytest.mark.parametrize("base", [BaseCallbackHandler, AsyncCallbackHandler])
def test_a_chat_model_start_falls_back_to_the_start_of_a_text_model(
    colour: Any, base: type[Any]
) -> None:
    prompts: list[Any] = []

    if base is BaseCallbackHandler:

        class Old(BaseCallbackHandler):
            def on_llm_start(self, serialized: Any, texts: list[str], **kwargs: Any) -> None:
                prompts.append((texts, kwargs["run_id"]))
    else:

        class Old(AsyncCallbackHandler):  # type: ignore[no-redef]
            async def on_llm_start(self, serialized: Any, texts: list[str], **kwargs: Any) -> None:
                prompts.append((texts, kwargs["run_id"]))

    rows = [[HumanMessage("hi")]]
    (run,) = colour.run(
        lambda: CallbackManager([Old()]).on_chat_model_start({}, rows),
        lambda: AsyncCallbackManager([Old()]).on_chat_model_start({}, rows),
    )
    assert prompts == [(["Human: hi"], run.run_id)]


def test_a_handler_that_ignores_an_event_does_not_hear_it(colour: Any) -> None:
    log: list[Any] = []

    class Deaf(Recorder):
        @property
        def ignore_chain(self) -> bool:
            return True

    start(colour, [Deaf(log)])
    assert log == []


def test_inline_handlers_run_in_the_callers_context_and_others_do_not() -> None:
    async def after(*, inline: bool) -> str:
        await AsyncCallbackManager([AsyncRecorder([], inline=inline)]).on_chain_start({}, "x")
        return seen.get()

    assert asyncio.run(after(inline=True)) == "set by a handler"
    assert asyncio.run(after(inline=False)) == "nothing"


def test_inline_handlers_are_done_before_the_others_begin() -> None:
    log: list[str] = []

    class Slow(AsyncCallbackHandler):
        run_inline = True

        async def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            for _ in range(5):
                await asyncio.sleep(0)
            log.append("inline")

    class Quick(AsyncCallbackHandler):
        async def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            log.append("together")

    asyncio.run(ahandle_event([Quick(), Slow()], "on_chain_start", None, {}, "x"))
    assert log == ["inline", "together"]


def test_sync_handlers_of_async_runs_work_in_a_thread_unless_inline() -> None:
    threads: list[tuple[bool, str]] = []

    class Where(BaseCallbackHandler):
        def __init__(self, *, inline: bool) -> None:
            self.run_inline = inline

        def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            threads.append((threading.current_thread() is threading.main_thread(), seen.get()))

    async def main() -> None:
        seen.set("of the caller")
        await AsyncCallbackManager([Where(inline=False)]).on_chain_start({}, "x")
        await AsyncCallbackManager([Where(inline=True)]).on_chain_start({}, "x")

    asyncio.run(main())
    assert threads == [(False, "of the caller"), (True, "of the caller")]


def test_async_handlers_of_a_sync_run_work_inside_a_running_loop() -> None:
    log: list[Any] = []

    async def main() -> None:
        CallbackManager([AsyncRecorder(log)]).on_chain_start({}, "x")
        assert log == ["x"]

    asyncio.run(main())


def test_async_handlers_of_a_sync_run_leave_the_threads_event_loop_alone() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        CallbackManager([AsyncRecorder([])]).on_chain_start({}, "x")
        assert asyncio.get_event_loop_policy().get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_the_end_of_a_run_is_told_although_the_caller_is_cancelled() -> None:
    async def main() -> None:
        begun, go_on, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

        class Slow(AsyncCallbackHandler):
            async def on_chain_end(self, *args: Any, **kwargs: Any) -> None:
                begun.set()
                await go_on.wait()
                told.set()

        run = await AsyncCallbackManager([Slow()]).on_chain_start({}, "x")
        task = asyncio.create_task(run.on_chain_end("y"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not told.is_set()
        go_on.set()
        await told.wait()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_handlers_that_do_nothing_cost_no_thread() -> None:
    async def main() -> int:
        before = threading.active_count()
        for _ in range(20):
            await AsyncCallbackManager([BaseCallbackHandler()]).on_chain_start({}, "x")
        return threading.active_count() - before

    assert asyncio.run(main()) == 0


def test_a_super_call_of_an_async_handler_can_be_awaited() -> None:
    class Polite(AsyncCallbackHandler):
        async def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            assert await super().on_chain_start(*args, **kwargs) is None
            raise ValueError("reached")

    with pytest.raises(ValueError, match="reached"):
        handler = Polite()
        handler.raise_error = True
        asyncio.run(ahandle_event([handler], "on_chain_start", None, {}, "x"))

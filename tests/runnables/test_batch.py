"""Batches: order, bounds, laziness, failures, both schedulers of the sync colour."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument, InvalidType, Timeout
from modelwire.runnables import (
    Runnable,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    batch,
)
from modelwire.runnables.background import BackgroundLoop, background_loop
from modelwire.runnables.batch import LOOP_CONCURRENCY, THREAD_CONCURRENCY


class Waiting(Runnable[Any, Any]):
    """Waits a little and returns its input; notes who ran where, and how many at a time. Native to the loop, or not."""

    def __init__(self, *, native: bool = True, wait_s: float = 0.001) -> None:
        self.native = native
        self.wait_s = wait_s
        self.lock = threading.Lock()
        self.running = self.most = self.started = self.cancelled = 0
        self.threads: set[str] = set()

    def _loop_native(self) -> bool:
        return self.native

    def _enter(self) -> None:
        with self.lock:
            self.started += 1
            self.running += 1
            self.most = max(self.most, self.running)
            self.threads.add(threading.current_thread().name)

    def _leave(self) -> None:
        with self.lock:
            self.running -= 1

    def _result(self, input: Any) -> Any:
        if isinstance(input, BaseException):
            raise input
        return input

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        self._enter()
        try:
            time.sleep(self.wait_s)
            return self._result(input)
        finally:
            self._leave()

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        self._enter()
        try:
            await asyncio.sleep(self.wait_s)
            return self._result(input)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._leave()


@pytest.fixture(params=["loop", "threads"])
def waiting(request: pytest.FixtureRequest) -> Waiting:
    return Waiting(native=request.param == "loop")


def test_outputs_stand_in_the_order_of_the_inputs(colour: Any, waiting: Waiting) -> None:
    assert colour.batch(waiting, list(range(250))) == list(range(250))


def test_any_iterable_will_do(colour: Any, waiting: Waiting) -> None:
    for inputs in (
        (n for n in range(7)),
        range(7),
        tuple(range(7)),
        dict.fromkeys(range(7)).keys(),
        iter(range(7)),
    ):
        assert colour.batch(waiting, inputs) == list(range(7))
        assert colour.batch(waiting, []) == []
        assert colour.batch(waiting, iter(())) == []


@pytest.mark.parametrize("inputs", [5, None, "text", b"bytes", {"a": 1}, object()])
def test_inputs_that_are_no_list_of_inputs_are_refused(
    colour: Any, waiting: Waiting, inputs: Any
) -> None:
    for call in (colour.batch, colour.batch_as_completed):
        with pytest.raises(InvalidType, match=f"not a `{type(inputs).__name__}`"):
            call(waiting, inputs)
    assert waiting.started == 0


def test_a_message_like_model_is_not_taken_for_a_list_of_inputs(colour: Any) -> None:
    from pydantic import BaseModel

    class Message(BaseModel):
        content: str

    with pytest.raises(InvalidType, match="not a `Message`"):
        colour.batch(Waiting(), Message(content="a"))


@pytest.mark.parametrize("limit", [1, 3, 8])
def test_max_concurrency_bounds_the_calls_in_flight(
    colour: Any, waiting: Waiting, limit: int
) -> None:
    assert colour.batch(waiting, range(30), {"max_concurrency": limit}) == list(range(30))
    assert waiting.most <= limit
    assert len(colour.batch_as_completed(waiting, range(30), {"max_concurrency": limit})) == 30
    assert waiting.most <= limit


def test_default_concurrency_is_that_of_its_kind(waiting: Waiting) -> None:
    waiting.wait_s = 0.05
    waiting.batch(range(LOOP_CONCURRENCY + 50))
    assert waiting.most <= (LOOP_CONCURRENCY if waiting.native else THREAD_CONCURRENCY)
    assert waiting.most > 1


def test_sync_batch_runs_on_the_background_loop_or_in_threads(waiting: Waiting) -> None:
    waiting.batch([1, 2, 3])
    expected = "modelwire-background" if waiting.native else "modelwire-batch"
    assert all(name.startswith(expected) for name in waiting.threads)


def test_a_single_input_runs_where_the_caller_is(waiting: Waiting) -> None:
    assert waiting.batch([1]) == [1]
    assert waiting.threads == {threading.current_thread().name}


def test_inputs_are_pulled_only_as_slots_free_up(colour: Any, waiting: Waiting) -> None:
    ahead: list[int] = []

    def source() -> Iterator[int]:
        for number in range(60):
            ahead.append(number + 1 - (waiting.started - waiting.running))
            yield number

    assert colour.batch(waiting, source(), {"max_concurrency": 4}) == list(range(60))
    # Not more than 4 in flight, plus those that finished while the reader was on its way.
    assert max(ahead) <= 8


def test_sync_batch_pulls_its_inputs_on_the_callers_thread(waiting: Waiting) -> None:
    threads: set[int] = set()

    def source() -> Iterator[int]:
        for number in range(5):
            threads.add(threading.get_ident())
            yield number

    waiting.batch(source())
    assert threads == {threading.get_ident()}


def test_first_call_starts_before_a_slow_source_is_read(colour: Any, waiting: Waiting) -> None:
    def source() -> Iterator[int]:
        for number in range(300):
            if waiting.started == 0:
                time.sleep(0.002)
            yield number
        assert waiting.started > 0

    assert colour.batch(waiting, source(), {"max_concurrency": 1000}) == list(range(300))


def test_first_failure_cancels_its_siblings_and_awaits_them() -> None:
    waiting = Waiting(wait_s=30)

    class Failing(Waiting):
        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            if input == "fail":
                await asyncio.sleep(0.01)
                raise ValueError("mine")
            return await waiting.ainvoke(input)

    for call in (
        lambda: Failing().batch([1, 2, "fail", 3]),
        lambda: asyncio.run(Failing().abatch([1, 2, "fail", 3])),
    ):
        waiting.cancelled = 0
        with pytest.raises(ValueError, match="mine"):
            call()
        assert waiting.cancelled == 3
        assert waiting.running == 0


def test_failure_in_threads_starts_nothing_more() -> None:
    waiting = Waiting(native=False, wait_s=0.01)
    with pytest.raises(ValueError, match="mine"):
        waiting.batch([1, ValueError("mine"), *range(100)], {"max_concurrency": 2})
    assert waiting.running == 0
    assert waiting.started < 20


def test_return_exceptions_puts_errors_in_their_place(colour: Any, waiting: Waiting) -> None:
    error = ValueError("mine")
    assert colour.batch(waiting, [1, error, 3], return_exceptions=True) == [1, error, 3]
    pairs = colour.batch_as_completed(waiting, [1, error, 3], return_exceptions=True)
    assert sorted(pairs, key=lambda pair: pair[0]) == [(0, 1), (1, error), (2, 3)]


def test_as_completed_yields_as_calls_finish(colour: Any) -> None:
    class ByInput(Waiting):
        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            time.sleep(input)
            return input

        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            await asyncio.sleep(input)
            return input

    for native in (True, False):
        pairs = colour.batch_as_completed(
            ByInput(native=native), [0.3, 0.001], {"max_concurrency": 2}
        )
        assert pairs == [(1, 0.001), (0, 0.3)]


def test_closing_early_cancels_what_is_in_flight() -> None:
    waiting = Waiting(wait_s=0.001)
    stream: Any = waiting.batch_as_completed(iter(range(1000)), {"max_concurrency": 4})
    next(stream)
    stream.close()
    assert waiting.running == 0
    assert waiting.started < 20

    async def main() -> None:
        stream: Any = waiting.abatch_as_completed(iter(range(1000)), {"max_concurrency": 4})
        await anext(stream)
        await stream.aclose()
        assert waiting.running == 0
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_cancelling_a_batch_cancels_its_calls() -> None:
    waiting = Waiting(wait_s=30)

    async def main() -> None:
        task = asyncio.create_task(waiting.abatch(range(10), {"max_concurrency": 5}))
        while waiting.running < 5:  # noqa: ASYNC110 - the calls know nothing of this test
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (waiting.cancelled, waiting.running, waiting.started) == (5, 0, 5)

    asyncio.run(main())


def test_a_source_that_raises_ends_the_batch(colour: Any, waiting: Waiting) -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        colour.batch(waiting, source())
    assert waiting.running == 0


def test_configs_are_given_one_by_one_or_one_for_all(colour: Any) -> None:
    tags = RunnableLambda(lambda x, config: config["tags"])
    assert colour.batch(tags, [1, 2], {"tags": ["t"]}) == [["t"], ["t"]]
    assert colour.batch(tags, [1, 2], [{"tags": ["a"]}, {"tags": ["b"]}]) == [["a"], ["b"]]
    assert colour.batch(tags, iter([1, 2]), [{"tags": ["a"]}, {"tags": ["b"]}]) == [["a"], ["b"]]


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_configs_is_refused(colour: Any, waiting: Waiting, count: int) -> None:
    with pytest.raises(InvalidArgument, match=f"`config` has {count} entries"):
        colour.batch(waiting, [1, 2], [{}] * count)
    assert waiting.started == 0
    with pytest.raises(ValueError, match=f"`config` has {count} entries"):
        colour.batch(waiting, iter([1, 2]), [{}] * count)


def test_run_id_is_the_first_elements_with_a_warning(colour: Any) -> None:
    ids = RunnableLambda(lambda x, config: config.get("run_id"))

    class Seeing(Waiting):
        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            return config.get("run_id")

        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            return config.get("run_id")

    with pytest.warns(RuntimeWarning, match="only its first element"):
        assert colour.batch(Seeing(), [1, 2, 3], {"run_id": "id"}) == ["id", None, None]
    assert colour.batch(ids, [1]) == [None]


def test_timeout_of_a_batch_is_each_elements_own(colour: Any) -> None:
    deadline = RunnableLambda(lambda x, config: config["deadline"])
    deadlines = colour.batch(deadline, range(8), {"max_concurrency": 1, "timeout": 60})
    assert deadlines == sorted(set(deadlines))
    waiting = Waiting(wait_s=5)
    chain = RunnablePassthrough() | waiting | RunnablePassthrough()
    with pytest.raises(Timeout):
        colour.batch(chain, [1, 2], {"timeout": 0.02})
    outcomes = colour.batch(chain, [1, 2], {"timeout": 0.02}, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Timeout, Timeout]


def test_calls_see_the_callers_context_and_not_one_another(colour: Any) -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)

    class Seeing(Waiting):
        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            seen = variable.get()
            variable.set(-1)
            return seen

        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            return self.invoke(input)

    def sync_call(native: bool) -> Any:
        variable.set(7)
        return Seeing(native=native).batch(range(5), {"max_concurrency": 1})

    async def async_call(native: bool) -> Any:
        variable.set(7)
        return await Seeing(native=native).abatch(range(5), {"max_concurrency": 1})

    for native in (True, False):
        assert colour.run(lambda n=native: sync_call(n), lambda n=native: async_call(n)) == [7] * 5
    variable.set(0)


def test_sync_batch_works_inside_a_running_loop(waiting: Waiting) -> None:
    async def main() -> list[int]:
        return waiting.batch([1, 2, 3])

    assert asyncio.run(main()) == [1, 2, 3]


def test_sync_batch_on_the_background_loop_itself_does_not_wait_for_itself() -> None:
    inner = Waiting()

    class Outer(Waiting):
        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            return inner.batch([input, input])

    assert Outer().batch([1, 2]) == [[1, 1], [2, 2]]
    assert all(name.startswith("modelwire-batch") for name in inner.threads)


def test_an_exit_in_a_call_reaches_the_caller_and_leaves_the_loop_alive() -> None:
    with pytest.raises(SystemExit):
        Waiting().batch([1, SystemExit(3)])
    assert Waiting().batch([1, 2]) == [1, 2]


def test_an_exit_in_a_task_of_a_call_does_so_as_well() -> None:
    home = background_loop()
    both = RunnableParallel(a=Waiting(), b=Waiting())
    assert both._may_answer_on_loop()
    with pytest.raises(SystemExit):
        both.batch([*range(20), SystemExit(3), *range(20)])
    threads = [threading.Thread(target=both.batch, args=([1, 2],), daemon=True)]
    [thread.start() for thread in threads]
    [thread.join(20) for thread in threads]
    assert not any(thread.is_alive() for thread in threads)
    assert both.batch([1, 2]) == [{"a": 1, "b": 1}, {"a": 2, "b": 2}]
    assert background_loop() is home


def test_a_loop_that_has_ended_takes_no_calls() -> None:
    ended = BackgroundLoop()
    assert ended.is_usable()
    ended.close()
    assert not ended.is_usable()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            ended.post(lambda: None)


def test_leaving_a_batch_in_threads_does_not_wait_for_running_calls() -> None:
    begun, gate = threading.Event(), threading.Event()

    def wait(x: int) -> int:
        if x == 0:
            assert begun.wait(20)
        else:
            begun.set()
            assert gate.wait(20)
        return x

    stream: Any = RunnableLambda(wait).batch_as_completed([0, 1, 2, 3], {"max_concurrency": 2})
    assert next(stream) == (0, 0)
    leaver = threading.Thread(target=stream.close, daemon=True)
    leaver.start()
    leaver.join(10)
    left = not leaver.is_alive()
    gate.set()
    leaver.join(20)
    assert left


def test_a_failed_batch_in_threads_waits_for_running_calls() -> None:
    ended: list[int] = []
    begun = threading.Event()

    def work(x: int) -> None:
        if x == 0:
            assert begun.wait(20)
            raise ValueError("zero")
        begun.set()
        threading.Event().wait(0.1)
        ended.append(x)

    with pytest.raises(ValueError, match="zero"):
        RunnableLambda(work).batch([0, 1], {"max_concurrency": 2})
    assert ended == [1]


def test_a_chain_is_loop_native_when_all_its_steps_are() -> None:
    native, sync = Waiting(), RunnableLambda(str)
    assert (RunnablePassthrough() | native | {"a": native})._may_answer_on_loop()
    assert not (native | sync)._may_answer_on_loop()
    assert not (native | {"a": sync, "b": native})._may_answer_on_loop()
    assert native.bind(a=1).with_config(tags=["t"]).map()._may_answer_on_loop()


def test_a_class_that_overrides_invoke_alone_is_not_loop_native() -> None:
    class Mine(Waiting):
        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            return f"mine {input}"

    assert not Mine()._may_answer_on_loop()
    assert Mine().batch([1, 2]) == ["mine 1", "mine 2"]


def test_chain_goes_through_input_by_input() -> None:
    order: list[str] = []
    first = RunnableLambda(lambda x: order.append(f"first {x}") or x)
    second = RunnableLambda(lambda x: order.append(f"second {x}") or x)
    (first | second).batch([1, 2, 3], {"max_concurrency": 1})
    assert order == ["first 1", "second 1", "first 2", "second 2", "first 3", "second 3"]


@pytest.mark.long
def test_a_large_batch_holds_little_beyond_its_results(colour: Any) -> None:
    chain = RunnablePassthrough() | RunnablePassthrough()
    inputs = list(range(5_000))
    gc.collect()
    tracemalloc.start()
    try:
        outputs = colour.batch(chain, inputs)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outputs == inputs
    assert peak_bytes < 1_500_000


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 6), st.booleans())
def test_both_colours_agree_for_any_batch(inputs: list[int], limit: int, native: bool) -> None:
    runnable = Waiting(native=native, wait_s=0)
    config: Any = {"max_concurrency": limit}
    assert runnable.batch(iter(inputs), config) == inputs
    assert asyncio.run(runnable.abatch(iter(inputs), config)) == inputs
    assert runnable.most <= limit


# ---------------------------------------------------------------- the process around it

SCRIPT_HEAD = """
import asyncio, os, signal, sys, threading, time
from modelwire.runnables import Runnable
def tell(word):
    # Unlike `print`, it takes no lock. If a thread has that at the end, Python stops.
    os.write(1, f"{word}\\n".encode())
class Native(Runnable):
    def _loop_native(self): return True
    def invoke(self, input, config=None, **kwargs): raise AssertionError
    async def ainvoke(self, input, config=None, **kwargs):
        try:
            await asyncio.sleep(input)
        except asyncio.CancelledError:
            tell("cancelled")
            raise
        return input
"""


def run_script(body: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", SCRIPT_HEAD + body]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def test_importing_the_core_starts_no_thread_and_no_loop() -> None:
    done = run_script(
        "print(threading.active_count(), 'modelwire.runnables.background' in sys.modules)"
    )
    assert done.stdout == "1 False\n", done.stderr


def test_interpreter_ends_cleanly_after_a_batch_and_with_one_in_flight() -> None:
    done = run_script(
        "tell(Native().batch([0, 0]))\n"
        "def hang():\n"
        "    try:\n        Native().batch([60, 60])\n"
        "    except BaseException as exc:\n        tell(type(exc).__name__)\n"
        "threading.Thread(target=hang, daemon=True).start()\n"
        "time.sleep(0.2)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("[0, 0]\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_cancels_the_calls_and_awaits_them() -> None:
    done = run_script(
        "threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "try:\n    Native().batch([60, 60, 60])\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    assert done.stdout.split() == ["cancelled"] * 3 + ["interrupted"], done.stderr


@pytest.mark.parametrize("native", [True, False])
def test_a_ctrl_c_before_a_report_is_counted_ends_a_batch(native: bool) -> None:
    """A tracer raises it where a signal might arrive: after a report was read, before it is counted."""
    lines, first = inspect.getsourcelines(batch._finished)
    counted = first + next(at for at, line in enumerate(lines) if "reported += 1" in line)
    ends: list[BaseException] = []

    def trace(frame: Any, event: str, arg: object) -> Any:
        is_ours = frame.f_code is batch._finished.__code__
        if is_ours and event == "line" and frame.f_lineno == counted and not ends:
            ends.append(KeyboardInterrupt())
            raise ends[0]
        return trace

    def run() -> None:
        sys.settrace(trace)
        try:
            Waiting(native=native).batch([1, 2, 3])
        except KeyboardInterrupt as exc:
            ends.append(exc)
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert len(ends) == 2
    assert ends[0] is ends[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_makes_a_loop_of_its_own() -> None:
    done = run_script(
        "import warnings; warnings.simplefilter('ignore')\n"
        "Native().batch([0, 0])\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    print('child', Native().batch([0, 0]), flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "print('parent', Native().batch([0, 0]))\n"
    )
    assert done.stdout == "child [0, 0]\nparent [0, 0]\n", done.stderr


def test_there_is_one_background_loop() -> None:
    assert background_loop() is background_loop()
    assert signal.getsignal(signal.SIGINT) is not None

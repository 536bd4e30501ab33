"""The catalogue's C lines: calls that are cancelled, left or overtaken by the end; nothing of them may stay behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
from support.thinned import thinned

from modelwire.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from modelwire.errors import ChatError, InvalidArgument, ServerError, Timeout
from modelwire.testing import ProviderServer, faults
from modelwire.transport.connections import pools
from modelwire.transport.ratelimit import registry

# ---------------------------------------------------------------- what stays behind


def sync_calls_in_flight() -> int:
    return sum(pool.in_flight for pool in pools._sync_pools.values())


def assert_nothing_stays() -> None:
    """Check the running loop: no task, no place in a pool, no request on a connection, none in a limiter's book."""
    assert asyncio.all_tasks() == {asyncio.current_task()}
    for pool in pools._loop_pools[asyncio.get_running_loop()].by_settings.values():
        assert pool.in_flight == 0
        for shard in pool.shards:
            assert shard.in_flight == 0
            if pool.settings.engine == "core":
                assert shard.client.is_idle() or not shard.client.is_connected()
    for limiter in registry._limiters.values():
        assert limiter.is_idle()


async def settled() -> None:
    """Let what was cancelled end."""
    for _ in range(20):
        await asyncio.sleep(0)


class Stepped:
    """Awaits `work` step by step, and does `at_step` when it is about to go on for the `at`-th time."""

    def __init__(self, work: Awaitable[Any], at: int, *, thrown: bool) -> None:
        self.work = work
        self.at = at
        self.thrown = thrown
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        steps, came, step = self.work.__await__(), None, 0
        failure: BaseException | None = None
        while True:
            step += 1
            if step == self.at and self.thrown:
                self.reached, failure = True, asyncio.CancelledError()
            try:
                waited_for = steps.send(came) if failure is None else steps.throw(failure)
            except StopIteration as done:
                return done.value
            came, failure = None, None
            if step == self.at and not self.thrown:
                task = asyncio.current_task()
                assert task is not None
                self.reached = True
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                came = yield waited_for
            except BaseException as exc:  # noqa: BLE001 - it is for the work
                failure = exc


async def whole_stream(model: Any) -> str:
    return "".join([chunk.text async for chunk in model.astream("hi")])


async def batched(model: Any) -> str:
    return " ".join(
        message.text for message in await model.abatch(["a", "b", "c"], {"max_concurrency": 2})
    )


WAYS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "invoke": lambda model: model.ainvoke("hi"),
    "with-deadline": lambda model: model.ainvoke("hi", {"timeout": 30}),
    "streamed-invoke": lambda model: model.model_copy(update={"streaming": True}).ainvoke("hi"),
    "stream": whole_stream,
    "batch": batched,
}


@pytest.mark.parametrize("thrown", [False, True], ids=["cancelled", "thrown"])
@pytest.mark.parametrize("way", WAYS)
def test_c1_a_call_cancelled_at_any_await_leaves_nothing(
    server: ProviderServer, way: str, *, thrown: bool
) -> None:
    async def run() -> int:
        model = server.model()
        await model.ainvoke("the first one opens what stays open")
        for at in range(1, 500):
            server.say(faults.close())  # so that a wait between two tries is among the places
            stepped = Stepped(WAYS[way](model), at, thrown=thrown)

            async def call(stepped: Stepped = stepped) -> Any:
                return await stepped

            task = asyncio.create_task(call())
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            await settled()
            assert_nothing_stays()
            server._script._more.clear()
            assert (await model.ainvoke("still there?")).text == "still there?"
            if not stepped.reached:
                assert not isinstance(outcome, BaseException)
                return at
            assert isinstance(outcome, asyncio.CancelledError)
        raise AssertionError("it never ends")

    assert asyncio.run(run()) >= 3


def test_c1_a_batch_cancelled_at_any_time_leaves_nothing(server: ProviderServer) -> None:
    async def run() -> None:
        model = server.model()
        for ms in range(0, 30, 2):
            server.say(
                faults.close(),
                "a",
                faults.stall("body" if ms % 4 else "request", seconds=0.01),
                "b",
            )
            task = asyncio.create_task(
                model.abatch([str(n) for n in range(12)], {"max_concurrency": 4})
            )
            await asyncio.sleep(ms / 1000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await settled()
            assert_nothing_stays()
            server._script._more.clear()
            assert (await model.ainvoke("still there?")).text == "still there?"

    asyncio.run(run())


def test_c1_a_call_cancelled_twice_ends_at_once(server: ProviderServer) -> None:
    async def run() -> None:
        model = server.model()
        server.say(faults.stall("request"))
        task = asyncio.create_task(model.ainvoke("hi"))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settled()
        assert_nothing_stays()
        assert (await model.ainvoke("still there?")).text == "still there?"

    asyncio.run(run())


@pytest.mark.parametrize("calls", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_c1_a_thousand_calls_cancelled_at_random_leave_nothing(
    server: ProviderServer, calls: int
) -> None:
    """P21."""
    server.latency, rng = 0.02, random.Random(21)

    async def run() -> None:
        model = server.model()

        tasks = [asyncio.create_task(model.ainvoke(str(n))) for n in range(calls)]
        left = set(tasks)
        # Whenever some are done, a few others are cancelled: those that wait, and those on their way.
        while left:
            _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.002)
            for task in rng.sample([task for task in tasks if task in left], min(5, len(left))):
                task.cancel()
        assert {task.cancelled() for task in tasks} == {True, False}
        assert all(
            task.result().text == str(n) for n, task in enumerate(tasks) if not task.cancelled()
        )
        await settled()
        assert_nothing_stays()
        assert repr(model.limits()) == "Limits(none known)"  # and nothing learned of it
        assert [answer.text for answer in await model.abatch(list("abc") * 50)] == list("abc") * 50
        assert_nothing_stays()

    asyncio.run(run())


@pytest.mark.parametrize("way", WAYS)
def test_c2_a_timeout_of_asyncio_around_a_call_is_its_own(server: ProviderServer, way: str) -> None:
    async def run() -> None:
        model = server.model(streaming=way == "stream")
        server.say(*[faults.stall("body").on("one two three")] * 3)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.2):
                await WAYS[way](model)
        assert not isinstance(caught.value, ChatError)
        await settled()
        assert_nothing_stays()
        server._script._more.clear()
        assert (await model.ainvoke("still there?")).text == "still there?"

    asyncio.run(run())


# ---------------------------------------------------------------- leaving a stream


@thinned(
    one_in=5,
    wire=["openai", "responses", "anthropic", "bedrock", "gemini"],
    leave=["break", "close", "forget"],
)
def test_c3_a_stream_that_is_left_gives_all_back(colour: Any, wire: Any, leave: str) -> None:
    with ProviderServer(["one two " * 50], chunk_gap_s=0.05) as server:
        leave_a_stream(colour, server, server.model(wire), leave)


def leave_a_stream(colour: Any, server: ProviderServer, model: Any, leave: str) -> None:
    def sync() -> str:
        chunks = model.stream("hi")
        next(chunks)
        if leave == "close":
            chunks.close()
        del chunks
        gc.collect()
        assert sync_calls_in_flight() == 0
        return str(model.invoke("still there?").text)

    async def in_loop() -> str:
        chunks = model.astream("hi")
        if leave == "break":
            async for _ in chunks:
                break
            await chunks.aclose()
        else:
            await anext(chunks)
        if leave == "close":
            await chunks.aclose()
        del chunks
        gc.collect()
        for _ in range(3):
            await asyncio.sleep(0.01)
        assert_nothing_stays()
        return str((await model.ainvoke("still there?")).text)

    assert colour.run(sync, in_loop) == "still there?"
    deadline = time.monotonic() + 5
    while server.counts.abandoned == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.counts.abandoned == 1


# ---------------------------------------------------------------- programs that end in the middle


def run_program(
    code: str, server: ProviderServer, *, interrupt_after: str | None = None
) -> tuple[int, str, str]:
    """Run a program beside us; return its exit code and what it said. One that hangs fails."""
    program = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, server.base_url_for("openai")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert program.stdout is not None
    said = ""
    try:
        if interrupt_after is not None:
            while interrupt_after not in said:
                line = program.stdout.readline()
                assert line, "the program ended before it was interrupted"
                said += line
            program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
    finally:
        program.kill()
    return program.returncode, said + out, err


MODEL = """
import asyncio, sys, threading, time
from modelwire.adapters import ChatOpenAI
model = ChatOpenAI(model="m", base_url=sys.argv[1], api_key="k")
"""

C5 = """
rows = []
try:
    for at, message in model.batch_as_completed(["quick", "slow", "slow"]):
        rows.append(message.text)
        print("answered", flush=True)
except KeyboardInterrupt:
    print("interrupted", rows, threading.active_count())
"""


def test_c5_ctrl_c_in_a_batch_ends_it_and_keeps_what_is_finished(server: ProviderServer) -> None:
    server.default = lambda request: (
        faults.stall("request") if request.text == "slow" else request.text
    )
    code, out, err = run_program(MODEL + C5, server, interrupt_after="answered")
    assert "interrupted ['quick']" in out
    assert (code, err) == (0, "")


C11 = """
loop = asyncio.new_event_loop()
chunks = model.astream("one two three four")
print(loop.run_until_complete(anext(chunks)).text)
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
del chunks
"""

C12_SYNC = """
chunks = model.stream("slow")
print(next(chunks).text)
"""

C12_THREAD = """
printed = threading.Event()

def read():
    for chunk in model.stream("slow"):
        print(chunk.text, flush=True)
        printed.set()

threading.Thread(target=read, daemon=True).start()
printed.wait(60)
"""

C12_ASYNC = """
async def main():
    chunks = model.astream("slow")
    print((await anext(chunks)).text)

asyncio.run(main())
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(C11, id="C11"),
        pytest.param(C12_SYNC, id="C12-sync"),
        pytest.param(C12_THREAD, id="C12-thread"),
        pytest.param(C12_ASYNC, id="C12-async"),
    ],
)
def test_a_program_that_ends_in_mid_stream_ends_at_once_and_says_nothing(
    server: ProviderServer, code: str
) -> None:
    server.default = faults.stall("body", after_events=1).on("one two three")
    returned, out, err = run_program(MODEL + code, server)
    assert (returned, out.strip(), err) == (0, "one", "")


C9 = """
import os
first = model.invoke("before").text
asyncio.run(model.ainvoke("before"))
child = os.fork()
if child == 0:
    said = model.invoke("child").text + asyncio.run(model.ainvoke("child")).text
    os._exit(0 if said == "childchild" else 1)
said = model.invoke("parent").text
_, status = os.waitpid(child, 0)
print(first, said, os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_c9_a_forked_child_has_connections_of_its_own(server: ProviderServer) -> None:
    code, out, err = run_program(MODEL + C9, server)
    assert (code, out.strip(), err) == (0, "before parent 0", "")


# ---------------------------------------------------------------- loops and threads


def test_c6_loops_in_two_threads_share_a_model(server: ProviderServer) -> None:
    model = server.model()
    answers: list[str] = []

    async def several(name: str) -> None:
        answers.extend(
            message.text
            for message in await asyncio.gather(*(model.ainvoke(name) for _ in range(10)))
        )

    threads = [
        threading.Thread(target=lambda name=name: asyncio.run(several(name))) for name in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == ["a"] * 10 + ["b"] * 10


def test_c7_fifty_event_loops_in_turn_use_one_model(server: ProviderServer) -> None:
    model = server.model()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for n in range(50):
        assert asyncio.run(model.ainvoke(str(n))).text == str(n)
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after <= before + 5


def test_c8_a_sync_call_inside_a_running_loop_works(server: ProviderServer) -> None:
    model = server.model()

    async def notebook() -> list[str]:
        streamed = "".join(chunk.text for chunk in model.stream("b"))
        return [
            model.invoke("a").text,
            streamed,
            *(message.text for message in model.batch(["c", "d"])),
        ]

    assert asyncio.run(notebook()) == ["a", "b", "c", "d"]


def test_c10_sixty_four_threads_share_a_model(server: ProviderServer) -> None:
    model = server.model()
    answers: dict[int, str] = {}

    def call(n: int) -> None:
        answers[n] = model.invoke(str(n)).text

    threads = [threading.Thread(target=call, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == {n: str(n) for n in range(64)}
    assert sync_calls_in_flight() == 0


def test_c14_an_event_loop_that_is_not_asyncios_is_refused(server: ProviderServer) -> None:
    call = server.model().ainvoke("hi")
    with pytest.raises(InvalidArgument, match="event loop of asyncio"):
        call.send(None)  # as trio would


# ---------------------------------------------------------------- what handlers hear (R16)

asked_by: contextvars.ContextVar[str] = contextvars.ContextVar("asked_by", default="nobody")


class Listening(BaseCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append(("start", asked_by.get()))

    def on_retry(self, retry_state: Any, *, run_id: Any, **kwargs: Any) -> None:
        error = retry_state.outcome.exception()
        self.heard.append(
            ("retry", retry_state.attempt_number, error.status, retry_state.upcoming_sleep >= 0)
        )

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append(("end", asked_by.get()))

    def on_llm_error(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append(("error", asked_by.get()))


class ListeningAsync(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def on_retry(self, retry_state: Any, *, run_id: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.heard.append(retry_state.attempt_number)


@pytest.mark.parametrize("way", ["invoke", "stream", "batch"])
def test_handlers_hear_of_each_retry_once(
    colour: Any, wire: Any, server: ProviderServer, way: str
) -> None:
    server.say(faults.status(500), faults.status(502), "good")
    handler, other = Listening(), ListeningAsync()
    token = asked_by.set("me")
    value = ["hi"] if way == "batch" else "hi"
    try:
        getattr(colour, way)(server.model(wire), value, {"callbacks": [handler, other]})
    finally:
        asked_by.reset(token)
    assert handler.heard == [
        ("start", "me"),
        ("retry", 1, 500, True),
        ("retry", 2, 502, True),
        ("end", "me"),
    ]
    assert other.heard == [1, 2]


def test_handlers_hear_of_retries_before_an_error(colour: Any, server: ProviderServer) -> None:
    server.default = faults.status(500)
    handler = Listening()
    with pytest.raises(ServerError):
        colour.invoke(server.model(max_retries=1), "hi", {"callbacks": [handler]})
    assert [event[0] for event in handler.heard] == ["start", "retry", "error"]


def test_where_nobody_hears_retries_nobody_is_told(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelwire.adapters.model import handlers

    def never(*args: Any) -> None:
        raise AssertionError("somebody was told")

    class Deaf(BaseCallbackHandler):
        pass

    monkeypatch.setattr(handlers.RetryState, "__init__", never)
    server.say(faults.status(500), "good", faults.status(500), "good")
    assert server.model().invoke("hi").text == "good"
    assert server.model().invoke("hi", {"callbacks": [Deaf()]}).text == "good"


def test_c15_a_handler_that_raises_changes_nothing_and_is_logged_once(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    class Raising(BaseCallbackHandler):
        def on_retry(self, *args: Any, **kwargs: Any) -> None:
            raise ValueError("oops")

    server.say(faults.status(500), "good")
    with caplog.at_level(logging.WARNING):
        assert colour.invoke(server.model(), "hi", {"callbacks": [Raising()]}).text == "good"
    assert [record.getMessage() for record in caplog.records].count(
        "Error in Raising.on_retry callback: ValueError('oops')"
    ) == 1


# ---------------------------------------------------------------- one layer retries (R17)


def test_with_retry_does_not_multiply_the_attempts_of_a_model(
    colour: Any, server: ProviderServer
) -> None:
    server.default = faults.status(500)
    with pytest.raises(ServerError):
        colour.invoke(
            server.model(max_retries=2).with_retry(
                stop_after_attempt=3, wait_exponential_jitter=False
            ),
            "hi",
        )
    assert len(server.requests) == 3


def test_with_retry_multiplies_where_it_is_asked_to(colour: Any, server: ProviderServer) -> None:
    server.default = faults.status(500)
    model = server.model(max_retries=1, rate_limit=None).with_retry(
        retry_if_exception_type=(ServerError,), stop_after_attempt=3, wait_exponential_jitter=False
    )
    with pytest.raises(ServerError):
        colour.invoke(model, "hi")
    assert len(server.requests) == 6


# ---------------------------------------------------------------- time (R13)


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_no_retry_sleeps_past_the_deadline(
    colour: Any, wire: Any, server: ProviderServer, way: str
) -> None:
    server.default = faults.status(503, retry_after=50)
    with pytest.raises(ChatError, match="left") as caught:
        getattr(colour, way)(server.model(wire), "hi", {"timeout": 40})
    assert caught.value.retry_after == 50
    assert len(server.requests) == 1


def test_a_call_ends_with_its_time_whatever_it_waits_for(
    colour: Any, server: ProviderServer
) -> None:
    server.default = faults.stall("request")
    with pytest.raises(Timeout, match=r"`timeout` of 1 s"):
        colour.invoke(server.model(), "hi", {"timeout": 1})
    assert len(server.requests) == 1

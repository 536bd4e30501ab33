"""The background loop ends with the interpreter: silently, and not before the threads that use it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest
from support.raw_server import RawServer

ANSWER = (
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"fine"},'
    b'"finish_reason":"stop"}],"model":"m"}'
)
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)

# A host name is looked up in the loop's default executor, so that there is one to shut down.
BATCH = """
    import sys
    from modelwire.adapters import ChatOpenAI
    model = ChatOpenAI(model="m", api_key="k", base_url=sys.argv[1])

    def ask():
        print([message.content for message in model.batch(["a", "b"])])
"""

# Python 3.12.1 refuses to start a thread as soon as the interpreter ends; this does so on every Python.
NO_THREAD_AT_EXIT = """
    import atexit, threading

    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    ask()
    atexit.register(setattr, threading.Thread, "start", refuse)
"""

# The first call makes the loop: Python 3.12.1 starts no thread at all once the main one has ended.
A_THREAD_THAT_OUTLIVES_MAIN = """
    import threading, time
    main = threading.main_thread()
    ask()

    def ask_later():
        while main.is_alive():
            time.sleep(0.01)
        time.sleep(0.1)
        ask()

    threading.Thread(target=ask_later).start()
"""

CALLS_IN_FLIGHT = """
    import threading
    from modelwire.runnables.background import background_loop

    async def wait():
        import asyncio
        try:
            await asyncio.sleep(60)
        finally:
            print("cleaned up")

    loop = background_loop().loop
    loop.call_soon_threadsafe(lambda: globals().setdefault("task", loop.create_task(wait())))
    started = threading.Event()
    loop.call_soon_threadsafe(lambda: loop.call_soon(started.set))
    started.wait()
"""

FAILS_WHILE_IT_IS_CANCELLED = CALLS_IN_FLIGHT.replace('print("cleaned up")', "1 / 0")


def outcome(program: str, host: str, raw_server: Any) -> tuple[str, str]:
    """Return the standard output and the standard error of a program that asks a server of its own."""
    server: RawServer = raw_server([[WHOLE]], repeat=True)
    url = f"http://{host}:{server.port}/v1"
    source = textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", source, url], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_batch_over_a_host_name_starts_no_thread_when_the_interpreter_ends(
    raw_server: Any,
) -> None:
    printed = outcome(BATCH + NO_THREAD_AT_EXIT, "localhost", raw_server)
    assert printed == ("['fine', 'fine']\n", "")


def test_a_thread_that_outlives_the_main_one_can_still_use_batch(raw_server: Any) -> None:
    printed = outcome(BATCH + A_THREAD_THAT_OUTLIVES_MAIN, "127.0.0.1", raw_server)
    assert printed == (2 * "['fine', 'fine']\n", "")


def test_what_still_runs_is_cancelled_and_cleans_up(raw_server: Any) -> None:
    assert outcome(CALLS_IN_FLIGHT, "127.0.0.1", raw_server) == ("cleaned up\n", "")


def test_an_error_of_what_is_cancelled_is_reported(raw_server: Any) -> None:
    _, errors = outcome(FAILS_WHILE_IT_IS_CANCELLED, "127.0.0.1", raw_server)
    assert "ZeroDivisionError" in errors


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_task_that_ends_the_loop_does_not_end_it_for_others(kind: type[BaseException]) -> None:
    from modelwire.runnables.background import BackgroundLoop

    background = BackgroundLoop()

    async def leave() -> None:
        raise kind

    task: list[Any] = []
    background.post(lambda: task.append(background.loop.create_task(leave())))
    background.post(lambda: task[0].add_done_callback(lambda done: done.exception()))
    background.close()
    assert not background.is_usable()
    assert background.loop.is_closed()

"""The connection to one MCP server: an event loop in a thread of its own, on which all requests to the server run.

Sync and async code, and several event loops, can share a connection. The official package `mcp`, an extra, implements
the protocol (https://modelcontextprotocol.io, read 2026-11).

The timeout of a call is set here, because the package's timeout does not include the time in which a request is
written, and because the timeout is suspended while the user answers a question of the server.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias, TypeVar

from modelwire import __version__
from modelwire.aliases import JSON, StrPath
from modelwire.errors import ConnectFailed, InvalidArgument, InvalidType
from modelwire.lazy import module
from modelwire.tools.base import ToolException
from modelwire.tools.mcp.elicitation import ElicitationHandler, checked_answer, question_of
from modelwire.tools.mcp.http import http_transport
from modelwire.tools.mcp.oauth import Pause
from modelwire.tools.mcp.package import package
from modelwire.tools.mcp.requests import FACTS, noting
from modelwire.tools.mcp.servers import Server, reason, run_metadata, shown
from modelwire.tools.mcp.user_thread import in_thread

if TYPE_CHECKING:
    import asyncio
    import threading
    from concurrent.futures import Future
else:
    asyncio = module("asyncio")
    threading = module("threading")

# A server that has not started and listed its tools within this many seconds cannot be used.
CONNECT_S = 30.0
# `close` waits this many seconds for a server that was started here to end.
_CLOSE_S = 10.0
# The code of an error that lists pages which the user has to visit before the tool can be called.
# Source: https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation, read 2026-11.
_URL_ELICITATION_REQUIRED = -32042
_THREAD_NAME = "modelwire-mcp"

Result = TypeVar("Result")
# A function that sends a request with the client of a connection, and returns the result.
Request: TypeAlias = Callable[[Any], Awaitable[Result]]

_log = logging.getLogger("modelwire.tools")


class Connection:
    """A connection to one MCP server, open until `close`. A new object begins to connect at once."""

    def __init__(
        self,
        server: Server,
        *,
        headers: Mapping[str, str] | None,
        env: Mapping[str, str] | None,
        cwd: StrPath | None,
        auth: Any,
        elicit: ElicitationHandler | None,
        timeout_s: float,
    ) -> None:
        self.description = shown(server)
        # The metadata of every run of a tool, for traces.
        self.run_metadata = run_metadata(server)
        self.timeout_s = timeout_s
        # The tools that the server lists, as values of the package. A new list of the server replaces it.
        self.listed_tools: Sequence[Any] = ()
        self._open_transport = _transport_of(
            server, headers=headers, env=env, cwd=cwd, auth=auth, pause=self._stopped_clocks
        )
        self._connect_s = getattr(auth, "login_s", 0.0) + CONNECT_S
        self._elicit = elicit
        self._users_loop = running_loop()
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._client: Any = None
        self._connecting: asyncio.Task[None] | None = None
        self._is_closing = False
        # It is set when the list of tools has changed, or the connection must close.
        self._wake = asyncio.Event()
        self._ready = threading.Event()
        self._trouble: BaseException | None = None
        self._clocks: set[asyncio.Timeout] = set()
        self._has_warned = False
        _filter_logs()
        self._thread = threading.Thread(target=self._run, name=_THREAD_NAME, daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether the server is connected."""
        return self._client is not None

    def wait(self) -> None:
        """Wait until the server is connected and has listed its tools. Raises `ConnectFailed`."""
        self._ready.wait(self._connect_s)
        if self.is_open:
            return
        trouble = self._trouble or TimeoutError(f"no answer in {self._connect_s:g} s")
        self.close()
        raise ConnectFailed(
            f"The MCP server {self.description} cannot be used: {reason(trouble)}."
        ) from trouble

    def submit(self, request: Request[Result]) -> Future[Result]:
        """Start `request(client)` on the connection's own loop, and return the future of its result.

        Cancelling the future cancels the request at the server.

        Raises: `ToolException` if the connection is closed.
        """
        client = self._client
        if client is None:
            raise ToolException(f"The connection to the MCP server {self.description} is closed.")
        return asyncio.run_coroutine_threadsafe(self._submitted(request(client)), self._loop)

    async def call_tool(
        self,
        client: Any,
        name: str,
        arguments: JSON,
        report: Any = None,
        facts: dict[str, str] | None = None,
    ) -> Any:
        """Return the result of a tool. If the user must visit pages first, ask the user, and call the tool once more.

        `report(progress, total, message)` is called for each progress report. The ids of the request are put into
        `facts`.
        """
        FACTS.set(facts)  # It is set for this task only, which makes no other call.
        try:
            return await client.call_tool(name, arguments, progress_callback=report)
        except package("mcp").MCPError as exc:
            pages = [page for page in _pages_to_visit(exc) if page.get("url")]
            if not pages or self._elicit is None:
                raise
            types = package("mcp_types")
            for page in pages:
                params = types.ElicitRequestURLParams.model_validate(page)
                answer = await self._answer(None, params)
                if getattr(answer, "action", None) != "accept":
                    raise ToolException(
                        f"The tool needs the user to visit a page first, but the user did not: {page['url']}"
                    ) from None
        return await client.call_tool(name, arguments, progress_callback=report)

    def request(self, request: Request[Result]) -> Result:
        """Send a request and wait for its result. Raises `ToolException`."""
        future = self.submit(request)
        try:
            with self.errors():
                return future.result()
        finally:
            future.cancel()

    async def arequest(self, request: Request[Result]) -> Result:
        """Do what `request` does, async."""
        with self.errors():
            return await asyncio.wrap_future(self.submit(request))

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert the errors of requests inside the block to `ToolException`."""
        try:
            yield
        except ToolException:
            raise
        except Exception as exc:
            raise ToolException(f"The MCP server did not answer: {reason(exc)}.") from exc

    def close(self) -> None:
        """Close the connection, and stop the server if it was started here."""
        self._is_closing = True
        with suppress(RuntimeError):  # The loop is closed already.
            self._loop.call_soon_threadsafe(self._stop)
        if self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def _stop(self) -> None:
        self._wake.set()
        if self._connecting is not None:
            self._connecting.cancel()

    def _run(self) -> None:
        try:
            self._runner.run(self._serve())
        except BaseException as exc:  # noqa: BLE001 - it is raised where the tools are used
            self._trouble = exc
        finally:
            self._client = None
            self._ready.set()
            self._runner.close()

    async def _serve(self) -> None:
        """Open the connection, list the tools, and keep the connection open; its cancel scopes need a single task."""
        mcp = package("mcp")
        self._connecting = asyncio.current_task()
        if self._is_closing:
            return
        async with (
            self._open_transport() as transport,
            mcp.Client(
                transport,
                client_info=mcp.Implementation(name="modelwire", version=__version__),
                elicitation_callback=None if self._elicit is None else self._answer,
                message_handler=self._receive,
            ) as client,
        ):
            self.run_metadata["mcp.protocol.version"] = client.protocol_version
            self.listed_tools = await _all_tools(client)
            self._connecting = None
            self._client = client
            self._ready.set()
            changes = asyncio.create_task(self._watch_changes(client))
            try:
                await self._hold(client)
            finally:
                self._client = None
                changes.cancel()

    async def _hold(self, client: Any) -> None:
        """Wait until the connection must close; list the tools again whenever the server's list has changed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._is_closing:
                return
            try:
                self.listed_tools = await self._timed(_all_tools(client))
            except Exception as exc:  # noqa: BLE001 - the known tools stay
                _log.warning(
                    "The MCP server %s could not list its tools again: %s",
                    self.description,
                    reason(exc),
                )

    async def _watch_changes(self, client: Any) -> None:
        """Subscribe to changes of the list of tools, which the protocol requires since its version 2026-07-28."""
        versions = package("mcp_types.version").MODERN_PROTOCOL_VERSIONS
        tools = client.server_capabilities.tools
        if client.protocol_version not in versions or tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._wake.set()
        except Exception as exc:  # noqa: BLE001 - the list stays as it is
            _log.debug(
                "MCP server %s: does not report changes of its tools: %s",
                self.description,
                reason(exc),
            )

    async def _receive(self, message: Any) -> None:
        """Called with each notification of the server, and with an error for text that is not a message."""
        if isinstance(message, Exception):
            self._warn_once()
        elif message.method == "notifications/tools/list_changed":
            self._wake.set()

    def _warn_once(self) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        _log.warning(
            "The MCP server %s sends text that is not a message of the protocol. It is skipped. A server over stdin "
            "and stdout must write its logs to stderr.",
            self.description,
        )

    async def _submitted(self, request: Awaitable[Result]) -> Result:
        """Await a request of `submit`, whose future gets its result or error.

        If the caller has cancelled the future, the error of the task is not read, and asyncio would log it. So the
        error is read here.
        """
        if task := asyncio.current_task():
            task.add_done_callback(_retrieve_error)
        return await self._timed(request)

    async def _timed(self, request: Awaitable[Result]) -> Result:
        """Await a request for at most `timeout_s`, without the time in which the user answers questions."""
        try:
            async with asyncio.timeout(self.timeout_s) as clock:
                self._clocks.add(clock)
                try:
                    return await request
                finally:
                    self._clocks.discard(clock)
        except TimeoutError:
            if not clock.expired():
                raise
            raise TimeoutError(f"no answer in {self.timeout_s:g} s") from None
        except asyncio.CancelledError:
            if self._is_closing:  # The connection was closed, and the caller was not cancelled.
                raise ConnectionResetError("the connection was closed") from None
            raise

    async def _answer(self, context: Any, params: Any) -> Any:
        """Called with a question of the server. Return the answer of the user's function `elicit`."""
        types = package("mcp_types")
        question = question_of(params, self.description)
        with self._stopped_clocks():
            try:
                answer = checked_answer(question, await self._ask(question))
            except Exception as exc:  # noqa: BLE001 - the user's function
                _log.exception("The `elicit` function of %s failed.", self.description)
                return types.ErrorData(
                    code=types.INTERNAL_ERROR,
                    message=f"The client cannot ask the user: {type(exc).__name__}",
                )
        return types.ElicitResult(**answer)

    async def _ask(self, question: Any) -> Any:
        """Call `elicit` in a thread; if it is async, await it on the event loop on which the tools were created."""
        answer = await in_thread(lambda: self._elicit(question))  # type: ignore[misc]
        if not isinstance(answer, Awaitable):
            return answer
        if self._users_loop is None or not self._users_loop.is_running():
            return await answer
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(_awaited(answer), self._users_loop)
        )

    @contextmanager
    def _stopped_clocks(self) -> Iterator[None]:
        """Suspend the timeouts of the calls in flight. After the block each of them has its full time again."""
        waiting = [clock for clock in self._clocks if not clock.expired()]
        for clock in waiting:
            clock.reschedule(None)
        try:
            yield
        finally:
            for clock in self._clocks.intersection(waiting):
                clock.reschedule(self._loop.time() + self.timeout_s)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that the caller runs on, or None. A caller on a loop must not block it by waiting."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _pages_to_visit(error: Any) -> list[JSON]:
    """Return the pages that the user has to visit, from an error with the code -32042; [] for another error."""
    is_about_pages = error.error.code == _URL_ELICITATION_REQUIRED
    data = error.error.data
    if not is_about_pages or not isinstance(data, dict):
        return []
    return [page for page in data.get("elicitations") or () if isinstance(page, dict)]


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def _retrieve_error(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def _all_tools(client: Any) -> Sequence[Any]:
    """Return all pages of the server's list of tools."""
    return await all_pages(client.list_tools, "tools")


async def all_pages(list_page: Callable[..., Coroutine[Any, Any, Any]], field: str) -> list[Any]:
    """Return the entries of all pages of a list, read from the server and never from a cache."""
    found: list[Any] = []
    cursor = None
    while True:
        page = await list_page(cursor=cursor, cache_mode="refresh")
        found += getattr(page, field)
        cursor = page.next_cursor
        if not cursor:
            return found


def _transport_of(
    server: Server, *, headers: Any, env: Any, cwd: Any, auth: Any, pause: Pause
) -> Callable[[], Any]:
    """Return a function that opens the transport to a server.

    Raises: `InvalidArgument` for options of another transport.
    """
    package("mcp")
    if isinstance(server, str):
        if not server.startswith(("http://", "https://")):
            raise InvalidArgument(
                f"`{server}` is not a URL. Write a command as a list: `MCPTools({server.split()!r})`."
            )
        if env is not None or cwd is not None:
            raise InvalidArgument(
                "`env` and `cwd` are for a server that is started here, not for a URL."
            )
        return lambda: http_transport(server, headers or {}, auth, pause)
    if headers is not None:
        raise InvalidArgument("`headers` are for a server with a URL.")
    if auth is not None:
        raise InvalidArgument("`auth` is for a server with a URL.")
    if isinstance(server, Sequence):
        if not server:
            raise InvalidArgument("The command of the MCP server is empty.")
        command, *args = map(os.fspath, server)
        own = None if env is None else dict(env)
        # If the server, or a library that it uses, prints other bytes to its stdout, the connection must not end.
        parameters = package("mcp").StdioServerParameters(
            command=command, args=args, env=own, cwd=cwd, encoding_error_handler="replace"
        )
        return lambda: _stdio_transport(parameters)
    if isinstance(server, int | float | Mapping):
        raise InvalidType(
            f"An MCP server is a URL or a command as a list, not a `{type(server).__name__}`."
        )
    return lambda: _as_it_is(server)


@asynccontextmanager
async def _as_it_is(server: Any) -> AsyncIterator[Any]:
    yield server


@asynccontextmanager
async def _stdio_transport(parameters: Any) -> AsyncIterator[Any]:
    """Yield the transport that starts a command. The stderr of the command appears on that of this process."""
    stdio = package("mcp.client.stdio")
    if (stream := _stream_of_errors()) is not None:
        yield noting(stdio.stdio_client(parameters, errlog=stream))
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: ASYNC230 - it never blocks
        yield noting(stdio.stdio_client(parameters, errlog=nowhere))


def _stream_of_errors() -> TextIO | None:
    """Return a stream that another program can write to.

    A notebook or a test may have replaced `sys.stderr` by an object without a descriptor.
    """
    for stream in (sys.stderr, sys.__stderr__):
        with suppress(AttributeError, OSError, ValueError):
            stream.fileno()  # type: ignore[union-attr]
            return stream
    return None


class _SecretsDropped(logging.Filter):
    """Removes secrets from log records that other packages write in the threads of this module.

    A record with a traceback is dropped, because the caller gets the error itself. A URL is cut to its address.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        is_ours = (record.threadName or "").startswith(_THREAD_NAME)
        if not is_ours:
            return True
        if record.exc_info:
            return False
        record.msg = _URL.sub(r"\1\2", record.getMessage())
        record.args = ()
        return True


# The scheme and the address of a URL; its user and password, query and fragment are in no group.
_URL = re.compile(r"(https?://)(?:[^/\s@]*@)?([^\s?#\"']*)[^\s\"']*")
_FILTER = _SecretsDropped()
_LOGGERS = (
    "client",
    "httpx2",
    "mcp.client.auth.oauth2",
    "mcp.client.stdio",
    "mcp.client.streamable_http",
    "mcp.shared.jsonrpc_dispatcher",
)


def _filter_logs() -> None:
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)  # Adding the same filter again has no effect.

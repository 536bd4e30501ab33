"""The tools of an MCP server, over stdio or HTTP, as tools like any other: for `bind_tools` and `run_tools`.

The protocol is the official package's, the extra `mcp` (https://modelcontextprotocol.io, read 2026-11). A connection
lives on an event loop and in a thread of its own, so that sync and async programs, and several loops, share it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

from pydantic_core import to_json

from modelwire.errors import ConnectFailed, InvalidArgument, InvalidType, MissingDependency
from modelwire.lazy import module
from modelwire.runnables.config import ensure_config
from modelwire.runnables.deadline import check
from modelwire.tools.base import BaseTool, ToolException

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Coroutine
    from concurrent.futures import Future
else:
    asyncio, threading = module("asyncio"), module("threading")

__all__ = ["MCPTool", "MCPTools"]

Server: TypeAlias = "str | Sequence[str | os.PathLike[str]] | Any"

CONNECT_S = 30.0  # A server that has not started and listed its tools by then cannot be used.
NAME_CHARS = 64  # The longest name of a tool that providers take.


class MCPTools(Sequence[BaseTool]):
    """The tools of one MCP server, connected until `close` or the end of the `with` block.

        with MCPTools(["python", "weather_server.py"]) as tools:
            messages = run_tools(model, "How is the weather in Bern?", tools)

    `server` is the URL of a server that speaks streamable HTTP, the command of one that speaks over stdin and stdout
    as a list, or another value that the package's own `mcp.Client` takes. `headers`, such as a token, are
    sent with each request to a URL; `env` and `cwd` are the command's, which inherits only a few safe variables.
    `timeout_s` is for one call of a tool. With `prefix="weather_"` the model sees the names with it: two servers may
    have tools of one name.

    A name that no provider takes (`files.read`) is changed for the model (`files_read`), and one of two equal names
    gets a number. In async code `async with MCPTools(...)` waits for the server without blocking the event loop.

    It is a sequence: `[*tools, my_own_tool]` mixes. A server that reports an error makes `ToolException`, which
    `run_tools` hands to the model.

    Raises `ConnectFailed` when the server does not start or answer within 30 s, `MissingDependency` without the extra.
    """

    def __init__(
        self,
        server: Server,
        *,
        headers: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        prefix: str = "",
        timeout_s: float = 60.0,
    ) -> None:
        self._describe = _shown(server)
        self._target = _target(server, headers=headers, env=env, cwd=cwd)
        self._timeout_s = timeout_s
        self._loop = asyncio.new_event_loop()
        self._stop: Callable[[], object] | None = None
        self._client: Any = None
        self._trouble: list[BaseException] = []
        self._ready = threading.Event()
        self._listed: list[Any] = []
        self._made: list[BaseTool] | None = None
        self._prefix = prefix
        self._thread = threading.Thread(target=self._run, name="modelwire-mcp", daemon=True)
        self._thread.start()
        if not _is_on_event_loop():
            self._connected()

    @property
    def _tools(self) -> list[BaseTool]:
        if self._made is None:
            return self._connected()
        return self._made

    def _connected(self) -> list[BaseTool]:
        """Wait for the server and return its tools. Raises `ConnectFailed`."""
        self._ready.wait(CONNECT_S)
        if not self.is_open:
            if self._trouble:
                trouble = self._trouble[0]
            else:
                trouble = TimeoutError(f"no answer in {CONNECT_S:g} s")
            self.close()
            raise ConnectFailed(
                f"The MCP server {self._describe} cannot be used: {_reason(trouble)}."
            ) from trouble
        names = _model_names([f"{self._prefix}{listed.name}" for listed in self._listed])
        pairs = zip(names, self._listed, strict=True)
        self._made = [MCPTool.of(listed, self, name) for name, listed in pairs]
        return self._made

    @property
    def is_open(self) -> bool:
        """Whether the server is connected."""
        return self._client is not None

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as exc:  # noqa: BLE001 - it is raised where the tools are used
            self._trouble.append(exc)
        finally:
            self._client = None
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        """Open the connection, list the tools, and hold it in this one task, as its cancel scopes demand."""
        mcp = _package("mcp")
        self._stop = cast(
            "asyncio.Task[None]", asyncio.current_task()
        ).cancel  # while nothing has answered yet
        async with mcp.Client(self._target) as client:
            cursor = None
            while True:
                page = await client.list_tools(cursor=cursor)
                self._listed += page.tools
                if not (cursor := page.next_cursor):
                    break
            closed = asyncio.Event()
            self._stop, self._client = closed.set, client
            self._ready.set()
            await closed.wait()

    def start(self, name: str, arguments: Mapping[str, Any]) -> Future[Any]:
        """Begin a call on the connection's own loop. Raises `ToolException` when it is closed."""
        client = self._client
        if client is None:
            raise ToolException(f"The connection to the MCP server {self._describe} is closed.")
        call: Coroutine[Any, Any, Any] = client.call_tool(
            name, dict(arguments), read_timeout_seconds=self._timeout_s
        )
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def close(self) -> None:
        """End the connection, and the server if we started it."""
        with suppress(RuntimeError):  # the loop has ended by itself
            if self._stop is not None:
                self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(10)

    def __enter__(self) -> MCPTools:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> MCPTools:
        await asyncio.to_thread(self._connected)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self.close)

    @overload
    def __getitem__(self, index: int) -> BaseTool: ...
    @overload
    def __getitem__(self, index: slice) -> list[BaseTool]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._tools[index]

    def __len__(self) -> int:
        return len(self._tools)

    def __repr__(self) -> str:
        return f"MCPTools({self._describe}, {[tool.name for tool in self._tools]})"


class MCPTool(BaseTool):
    """One tool of an MCP server. Text goes to the model as it is, images as blocks; `artifact` is the whole result."""

    response_format: Any = "content_and_artifact"
    server: Any = None
    server_name: str = ""  # what the server calls it

    @classmethod
    def of(cls, listed: Any, server: MCPTools, name: str) -> MCPTool:
        """Return a tool made from an entry of the server's list; the model sees it as `name`."""
        return cls(
            name=name,
            description=listed.description or listed.title or "",
            args_schema={"title": listed.name, **listed.input_schema},
            server=server,
            server_name=listed.name,
        )

    def _run(self, /, **kwargs: Any) -> Any:
        deadline = ensure_config().get("deadline")
        future = self.server.start(self.server_name, kwargs)
        try:
            return _outcome(future.result(None if deadline is None else deadline - monotonic()))
        except ToolException:
            raise
        except TimeoutError as exc:
            check(deadline, self)
            raise ToolException(f"The MCP server did not answer: {_reason(exc)}.") from exc
        except Exception as exc:
            raise ToolException(f"The MCP server did not answer: {_reason(exc)}.") from exc
        finally:
            future.cancel()  # a caller who is interrupted waits no longer, and so does the server

    async def _arun(self, /, **kwargs: Any) -> Any:
        try:
            return _outcome(await asyncio.wrap_future(self.server.start(self.server_name, kwargs)))
        except ToolException:
            raise
        except Exception as exc:
            raise ToolException(f"The MCP server did not answer: {_reason(exc)}.") from exc


def _outcome(result: Any) -> tuple[Any, Any]:
    """Return a result as content for the model and the whole of it. Raises `ToolException` for an error."""
    blocks = [_block(part) for part in result.content]
    structured = getattr(result, "structured_content", None)
    if not blocks and structured is not None:
        blocks = [{"type": "text", "text": to_json(structured).decode()}]
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    content: Any = "\n".join(texts) if len(texts) == len(blocks) else blocks
    if result.is_error:
        raise ToolException("\n".join(texts) or "The tool failed without a message.")
    return content, result.model_dump(mode="json", by_alias=True, exclude_none=True)


def _block(part: Any) -> dict[str, Any]:
    """Return a part of a result as a block that every wire takes in the answer to a call."""
    if part.type == "text":
        return {"type": "text", "text": part.text}
    if part.type == "image":
        return {"type": "image", "base64": part.data, "mime_type": part.mime_type}
    if part.type == "resource" and getattr(part.resource, "text", None) is not None:
        return {"type": "text", "text": part.resource.text}
    if part.type == "resource_link":
        about = [part.title or part.name, str(part.uri), part.mime_type, part.description]
        return {"type": "text", "text": f"Resource: {', '.join(filter(None, about))}"}
    where = getattr(part, "uri", None) or getattr(getattr(part, "resource", None), "uri", None)
    kind = getattr(part, "mime_type", None) or part.type
    return {"type": "text", "text": f"({kind}, {where or 'not shown'})"}


def _target(server: Server, *, headers: Any, env: Any, cwd: Any) -> Any:
    """Return what `mcp.Client` takes for this server. Raises `InvalidArgument` for options of the other transport."""
    mcp = _package("mcp")
    if isinstance(server, str):
        if not server.startswith(("http://", "https://")):
            raise InvalidArgument(
                f"`{server}` is not a URL. Write a command as a list: `MCPTools({server.split()!r})`."
            )
        if env is not None or cwd is not None:
            raise InvalidArgument(
                "`env` and `cwd` are for a server that is started here, not for a URL."
            )
        if not headers:
            return server
        client = _package("httpx2").AsyncClient(headers=dict(headers), timeout=300)
        return _package("mcp.client.streamable_http").streamable_http_client(
            server, http_client=client
        )
    if headers is not None:
        raise InvalidArgument("`headers` are for a server with a URL.")
    if isinstance(server, Sequence):
        if not server:
            raise InvalidArgument("The command of the MCP server is empty.")
        command, *args = map(os.fspath, server)
        own = None if env is None else dict(env)
        # A server, or a library of its, that prints other bytes to its stdout must not end the connection.
        return mcp.StdioServerParameters(
            command=command, args=args, env=own, cwd=cwd, encoding_error_handler="replace"
        )
    if isinstance(server, int | float | Mapping):
        raise InvalidType(
            f"An MCP server is a URL or a command as a list, not a `{type(server).__name__}`."
        )
    return server


def _shown(server: Server) -> str:
    """Return how errors name the server: without its query and password, or without the options of its command."""
    if isinstance(server, str):
        scheme, slashes, rest = server.partition("?")[0].partition("//")
        return f"`{scheme}{slashes}{rest.rpartition('@')[2]}`"
    if not isinstance(server, list | tuple):
        return f"`{type(server).__name__}`"
    words = [str(word) for word in server]
    plain = list(takewhile(lambda word: word in _HARMLESS or not _OPTION.match(word), words))
    return f"`{' '.join([*plain, '...'] if len(plain) < len(words) else plain)}`"


# What follows an option of a command may be a secret, and so may `NAME=VALUE`; these options of launchers are not.
_OPTION = re.compile("-|[^/]*=")
_HARMLESS = ("-m", "-u", "-y")


def _model_names(names: Sequence[str]) -> list[str]:
    """Return names that every provider takes, each once: letters, digits, `_` and `-`, 64 at most.

    A server may list `files.read`, and one name twice.
    Source: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
    """
    made: list[str] = []
    for name in names:
        plain = re.sub("[^a-zA-Z0-9_-]", "_", name)[:NAME_CHARS] or "tool"
        number, unique = 1, plain
        while unique in made:
            number += 1
            end = f"_{number}"
            unique = f"{plain[: NAME_CHARS - len(end)]}{end}"
        made.append(unique)
    return made


def _is_on_event_loop() -> bool:
    """Return whether the caller runs on an event loop, which must not wait for a server."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _reason(error: BaseException) -> str:
    """Return the innermost reason, without a password: task groups wrap what went wrong."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    text = re.sub(r"//[^/\s]*@", "//", str(error))
    if text:
        return f"{type(error).__name__}: {text}".rstrip(". ")
    return type(error).__name__


def _package(name: str) -> Any:
    from importlib import import_module

    try:
        found = import_module(name)
    except ImportError as exc:
        raise MissingDependency(
            "MCP servers need the package `mcp`: pip install 'modelwire[mcp]'"
        ) from exc
    if name == "mcp" and not hasattr(found, "Client"):
        raise MissingDependency(
            "The package `mcp` is older than 2: pip install --upgrade 'modelwire[mcp]'"
        )
    return found

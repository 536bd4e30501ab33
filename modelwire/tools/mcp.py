"""The tools of an MCP server, over stdio or HTTP, as tools like any other: for `bind_tools` and `run_tools`.

The protocol is the official package's, the extra `mcp` (https://modelcontextprotocol.io, read 2026-11). A connection
lives on an event loop and in a thread of its own, so that sync and async programs, and several loops, share it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

from modelwire._lazy import module
from modelwire.errors import ConnectFailed, InvalidArgument, InvalidType, MissingDependency
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

CONNECT_S = 30.0


class MCPTools(Sequence[BaseTool]):
    """The tools of one MCP server, connected until `close` or the end of the `with` block.

        with MCPTools(["python", "weather_server.py"]) as tools:
            messages = run_tools(model, "How is the weather in Bern?", tools)

    `server` is the URL of a server that speaks streamable HTTP, the command of one that speaks over stdin and stdout
    as a list, or what else the package's own `mcp.Client` takes. `headers` (a token, say) go with each request to a
    URL; `env` and `cwd` are the command's, which inherits only a few safe variables. `timeout_s` is for one call of a
    tool. With `prefix="weather_"` the model sees the names with it: two servers may have tools of one name.

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
        self._tools: list[BaseTool] = []
        self._thread = threading.Thread(target=self._run, name="modelwire-mcp", daemon=True)
        self._thread.start()
        self._ready.wait(CONNECT_S)
        if not self.is_open:
            trouble = (
                self._trouble[0] if self._trouble else TimeoutError(f"no answer in {CONNECT_S:g} s")
            )
            self.close()
            raise ConnectFailed(
                f"The MCP server {self._describe} cannot be used: {_reason(trouble)}."
            ) from trouble
        self._tools = [MCPTool.of(listed, self, prefix) for listed in self._listed]

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
    def of(cls, listed: Any, server: MCPTools, prefix: str) -> MCPTool:
        """Make a tool of what the server lists."""
        return cls(
            name=f"{prefix}{listed.name}",
            description=listed.description or listed.title or "",
            args_schema={"title": listed.name, **listed.input_schema},
            server=server,
            server_name=listed.name,
        )

    def _run(self, **kwargs: Any) -> Any:
        future = self.server.start(self.server_name, kwargs)
        try:
            return _outcome(future.result())
        except ToolException:
            raise
        except Exception as exc:
            raise ToolException(f"The MCP server did not answer: {_reason(exc)}.") from exc
        finally:
            future.cancel()  # a caller who is interrupted waits no longer, and so does the server

    async def _arun(self, **kwargs: Any) -> Any:
        try:
            return _outcome(await asyncio.wrap_future(self.server.start(self.server_name, kwargs)))
        except ToolException:
            raise
        except Exception as exc:
            raise ToolException(f"The MCP server did not answer: {_reason(exc)}.") from exc


def _outcome(result: Any) -> tuple[Any, Any]:
    """Return a result as content for the model and the whole of it. Raises `ToolException` for an error."""
    blocks = [_block(part) for part in result.content]
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    content: Any = "\n".join(texts) if len(texts) == len(blocks) else blocks
    if result.is_error:
        raise ToolException("\n".join(texts) or "The tool failed and did not say why.")
    return content, result.model_dump(mode="json", by_alias=True, exclude_none=True)


def _block(part: Any) -> dict[str, Any]:
    """Return a part of a result as a block that every wire takes in the answer to a call."""
    if part.type == "text":
        return {"type": "text", "text": part.text}
    if part.type == "image":
        return {"type": "image", "base64": part.data, "mime_type": part.mime_type}
    if part.type == "resource" and getattr(part.resource, "text", None) is not None:
        return {"type": "text", "text": part.resource.text}
    where = getattr(part, "uri", None) or getattr(getattr(part, "resource", None), "uri", None)
    kind = getattr(part, "mime_type", None) or part.type
    return {"type": "text", "text": f"({kind}, {where or 'not shown'})"}


def _target(server: Server, *, headers: Any, env: Any, cwd: Any) -> Any:
    """Return what `mcp.Client` takes for this server. Raises `InvalidArgument` for options of the other transport."""
    mcp = _package("mcp")
    if isinstance(server, str):
        if not server.startswith(("http://", "https://")):
            raise InvalidArgument(
                f"`{server}` is no URL. Write a command as a list: `MCPTools({server.split()!r})`."
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
        return mcp.StdioServerParameters(command=command, args=args, env=own, cwd=cwd)
    if isinstance(server, int | float | Mapping):
        raise InvalidType(
            f"An MCP server is a URL or a command as a list, not a `{type(server).__name__}`."
        )
    return server


def _shown(server: Server) -> str:
    if isinstance(server, str):
        return f"`{server.partition('?')[0]}`"
    return (
        f"`{' '.join(map(str, server))}`"
        if isinstance(server, list | tuple)
        else f"`{type(server).__name__}`"
    )


def _reason(error: BaseException) -> str:
    """Return the innermost reason: task groups wrap what went wrong."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".rstrip(". ") if str(error) else type(error).__name__


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

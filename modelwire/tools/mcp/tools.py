"""`MCPTools`: the tools of an MCP server as a sequence, and the connection to that server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from modelwire.aliases import JSON, StrPath
from modelwire.lazy import module
from modelwire.tools.base import BaseTool
from modelwire.tools.mcp.connection import Connection, running_loop
from modelwire.tools.mcp.elicitation import ElicitationHandler
from modelwire.tools.mcp.offers import (
    MCPPrompt,
    MCPResource,
    MCPResourceTemplate,
    prompts_of,
    reading,
    resources_of,
    templates_of,
)
from modelwire.tools.mcp.servers import Server
from modelwire.tools.mcp.tool import MCPTool, model_names

if TYPE_CHECKING:
    import asyncio
else:
    asyncio = module("asyncio")


class MCPTools(Sequence[BaseTool]):
    """The tools of one MCP server, connected until `close` or the end of the `with` block.

        with MCPTools(["python", "weather_server.py"]) as tools:
            messages = run_tools(model, "How is the weather in Bern?", tools)

    `server` is the URL of a server with streamable HTTP, the command (a list) of a server that uses stdin and stdout,
    or another value that the package's own `mcp.Client` accepts. `headers`, such as a token, are sent with each
    request to a URL. `env` and `cwd` are for the command, which otherwise inherits only a few safe variables.
    `timeout_s` limits each call of a tool. `prefix="weather_"` is put before the names that the model sees, since two
    servers may have tools of the same name.

    `elicit` is called with an `Elicitation` when the server asks the user a question; it returns
    `question.accept({...})`, `question.decline()` or `question.cancel()`. A function is called in a thread, an async
    function on the event loop on which this object was created. Meanwhile the timeouts of calls are suspended. Without
    `elicit` the client declares to the server that it takes no questions.

    For a URL that requires a login, the tokens of `modelwire mcp login URL` are used, unless `headers` has an
    `authorization`. `auth=OAuthLogin()` opens the browser whenever the server requires a login; an `httpx2.Auth`, such
    as the package's `ClientCredentialsOAuthProvider`, signs the requests itself.

    A name that no provider accepts (`files.read`) is changed for the model (`files_read`), and one of two equal names
    gets a number. When the server's list changes, the sequence changes too; a running loop keeps its tools. In async
    code `async with MCPTools(...)` waits for the server without blocking the event loop.

    Use `[*tools, my_own_tool]` to add tools of your own. If the server reports an error, is silent for `timeout_s` or
    has crashed, the tool raises `ToolException`, whose text `run_tools` sends to the model.

    Raises `ConnectFailed` if the server does not start or answer within 30 s, `MissingDependency` without the extra.
    """

    def __init__(
        self,
        server: Server,
        *,
        headers: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: StrPath | None = None,
        prefix: str = "",
        timeout_s: float = 60.0,
        auth: Any = None,
        elicit: ElicitationHandler | None = None,
    ) -> None:
        self._connection = Connection(
            server,
            headers=headers,
            env=env,
            cwd=cwd,
            auth=auth,
            elicit=elicit,
            timeout_s=timeout_s,
        )
        self._prefix = prefix
        # The server's list, and the tools that were created from it.
        self._made: tuple[Sequence[Any], list[BaseTool]] | None = None
        if running_loop() is None:
            self._connection.wait()

    @property
    def _tools(self) -> list[BaseTool]:
        made = self._made
        if made is None:
            self._connection.wait()
        listed = self._connection.listed_tools
        if made is None or made[0] is not listed:
            names = model_names([f"{self._prefix}{one.name}" for one in listed])
            pairs = zip(names, listed, strict=True)
            made = listed, [MCPTool.of(one, self._connection, name) for name, one in pairs]
            self._made = made
        return made[1]

    @property
    def is_open(self) -> bool:
        """Whether the server is connected."""
        return self._connection.is_open

    def resources(self) -> list[MCPResource]:
        """Return the server's resources, each with a method `read`. Raises `ToolException`."""
        return self._connection.request(resources_of(self._connection))

    async def aresources(self) -> list[MCPResource]:
        """Do what `resources` does, async."""
        return await self._connection.arequest(resources_of(self._connection))

    def resource_templates(self) -> list[MCPResourceTemplate]:
        """Return the templates of the server's resources, which have parameters. Raises `ToolException`."""
        return self._connection.request(templates_of(self._connection))

    async def aresource_templates(self) -> list[MCPResourceTemplate]:
        """Do what `resource_templates` does, async."""
        return await self._connection.arequest(templates_of(self._connection))

    def read_resource(self, uri: str) -> list[JSON]:
        """Return the content of a resource, such as one that a tool has linked, as blocks. Raises `ToolException`."""
        return self._connection.request(reading(uri))

    async def aread_resource(self, uri: str) -> list[JSON]:
        """Do what `read_resource` does, async."""
        return await self._connection.arequest(reading(uri))

    def prompts(self) -> list[MCPPrompt]:
        """Return the server's prompts, each with a method `messages`. Raises `ToolException`."""
        return self._connection.request(prompts_of(self._connection))

    async def aprompts(self) -> list[MCPPrompt]:
        """Do what `prompts` does, async."""
        return await self._connection.arequest(prompts_of(self._connection))

    def close(self) -> None:
        """Close the connection, and stop the server if it was started here."""
        self._connection.close()

    def __enter__(self) -> MCPTools:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> MCPTools:
        await asyncio.to_thread(self._connection.wait)
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
        return f"MCPTools({self._connection.description}, {[tool.name for tool in self._tools]})"

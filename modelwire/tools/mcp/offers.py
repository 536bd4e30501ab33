"""The resources of MCP servers as content blocks, and their prompts as messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean
from modelwire.messages import BaseMessage
from modelwire.tools.mcp.connection import Connection, Request, all_pages
from modelwire.tools.mcp.content import prompt_messages, resource_blocks
from modelwire.tools.mcp.package import package

Offer = TypeVar("Offer")


@dataclass(frozen=True)
class MCPResource:
    """A resource of a server, which can be read: a file, a page, a row of a database."""

    uri: str
    name: str
    title: str | None
    description: str | None
    mime_type: str | None
    server: Connection = field(repr=False, compare=False)

    def read(self) -> list[JSON]:
        """Return the content as blocks for a message: text, images, audio and files. Raises `ToolException`."""
        return self.server.request(reading(self.uri))

    async def aread(self) -> list[JSON]:
        """Do what `read` does, async."""
        return await self.server.arequest(reading(self.uri))


@dataclass(frozen=True)
class MCPResourceTemplate:
    """Resources whose URI has parameters: `template.read(city="Bern")`. `uri_template` has the syntax of RFC 6570."""

    uri_template: str
    name: str
    title: str | None
    description: str | None
    mime_type: str | None
    server: Connection = field(repr=False, compare=False)

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters."""
        names: list[str] = self._parsed().variable_names
        return names

    def uri(self, /, **values: str | list[str]) -> str:
        """Return the URI with these values, quoted.

        Raises: `InvalidArgument` for a value that is missing, unknown or not a text.
        """
        parsed = self._parsed()
        needed = [name for name in parsed.variable_names if name not in parsed.query_variable_names]
        _check_names(f"`{self.uri_template}`", values, known=parsed.variable_names, needed=needed)
        uri: str = parsed.expand(values)
        return uri

    def read(self, /, **values: str | list[str]) -> list[JSON]:
        """Return the content of the resource with these values, as `MCPResource.read` does."""
        return self.server.request(reading(self.uri(**values)))

    async def aread(self, /, **values: str | list[str]) -> list[JSON]:
        """Do what `read` does, async."""
        return await self.server.arequest(reading(self.uri(**values)))

    def _parsed(self) -> Any:
        templates = package("mcp.shared.uri_template")
        try:
            return templates.UriTemplate.parse(self.uri_template)
        except templates.InvalidUriTemplate as exc:
            raise InvalidArgument(
                f"The template `{self.uri_template}` of the MCP server {self.server.description} cannot be read: {exc}."
            ) from exc


@dataclass(frozen=True)
class MCPPrompt:
    """A prompt of a server: messages with parameters. Each of `arguments` has `name`, `description`, `required`."""

    name: str
    title: str | None
    description: str | None
    arguments: list[JSON]
    server: Connection = field(repr=False, compare=False)

    def messages(self, /, **arguments: str) -> list[BaseMessage]:
        """Return the prompt's messages with these arguments.

        Raises: `InvalidArgument` for an argument that is missing, unknown or not a text; `ToolException`.
        """
        return self.server.request(self._request(arguments))

    async def amessages(self, /, **arguments: str) -> list[BaseMessage]:
        """Do what `messages` does, async."""
        return await self.server.arequest(self._request(arguments))

    def _request(self, arguments: JSON) -> Request[list[BaseMessage]]:
        known = [one["name"] for one in self.arguments]
        needed = [one["name"] for one in self.arguments if one["required"]]
        _check_names(f"The prompt `{self.name}`", arguments, known=known, needed=needed)

        async def request(client: Any) -> list[BaseMessage]:
            return prompt_messages(await client.get_prompt(self.name, arguments))

        return request


def reading(uri: str) -> Request[list[JSON]]:
    """Return the request that reads a resource."""

    async def request(client: Any) -> list[JSON]:
        return resource_blocks(await client.read_resource(uri))

    return request


def resources_of(server: Connection) -> Request[list[MCPResource]]:
    """Return the request that lists the server's resources."""

    def make(one: Any) -> MCPResource:
        return MCPResource(uri=str(one.uri), mime_type=one.mime_type, **_named(one, server))

    return _listing("resources", "resources", make)


def templates_of(server: Connection) -> Request[list[MCPResourceTemplate]]:
    """Return the request that lists the templates of the server's resources."""

    def make(one: Any) -> MCPResourceTemplate:
        named = _named(one, server)
        return MCPResourceTemplate(one.uri_template, mime_type=one.mime_type, **named)

    return _listing("resources", "resource_templates", make)


def prompts_of(server: Connection) -> Request[list[MCPPrompt]]:
    """Return the request that lists the server's prompts."""

    def make(one: Any) -> MCPPrompt:
        return MCPPrompt(arguments=_arguments_of(one), **_named(one, server))

    return _listing("prompts", "prompts", make)


def _listing(capability: str, field: str, make: Callable[[Any], Offer]) -> Request[list[Offer]]:
    """Return the request for all entries of a list; its result is [] for a server without this capability."""

    async def request(client: Any) -> list[Offer]:
        if getattr(client.server_capabilities, capability) is None:
            return []
        return [make(one) for one in await all_pages(getattr(client, f"list_{field}"), field)]

    return request


def _named(one: Any, server: Connection) -> JSON:
    """Return the fields that resources, templates and prompts share."""
    return {
        "name": one.name,
        "title": one.title,
        "description": one.description,
        "server": server,
    }


def _arguments_of(prompt: Any) -> list[JSON]:
    return [
        {"name": one.name, "description": one.description, "required": bool(one.required)}
        for one in prompt.arguments or ()
    ]


def _check_names(what: str, values: JSON, *, known: list[str], needed: list[str]) -> None:
    """Raise `InvalidArgument` for a value that is missing, unknown or not a text."""
    if missing := [name for name in needed if name not in values]:
        raise InvalidArgument(f"{what} needs `{missing[0]}`.")
    for name, value in values.items():
        if name not in known:
            raise InvalidArgument(f"{what} has no `{name}`. {did_you_mean(name, known)}")
        if not isinstance(value, str | list):
            raise InvalidType(f"{what} takes texts: `{name}` is a `{type(value).__name__}`.")

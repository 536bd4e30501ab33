"""Makes calls through a user's client of the `openai` or `anthropic` SDK: checks it, and completes its requests.

Such a client has the address and the key, and may get a new key for every call; the model then has neither. Nothing of
an SDK is imported here. No I/O, except that of the connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.wire import WIRES, Endpoint, wire_named
from modelwire.aliases import HeaderFields
from modelwire.errors import InvalidArgument
from modelwire.runnables.closing import close
from modelwire.runnables.config import run_in_executor
from modelwire.transport.connections.sdk_client import AsyncSdkConnection, SyncSdkConnection

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from modelwire.adapters.model.arguments import Arguments
    from modelwire.adapters.model.settings import WireSettings
    from modelwire.adapters.wires.wire import SdkSeat
    from modelwire.messages import AIMessageChunk
    from modelwire.transport.steps import AnyExchange
    from modelwire.transport.wire import WireRequest

_FIELDS = {"client": "sync", "async_client": "async"}
# Settings that an SDK's client has. A model with such a client must not set them, too: it would be unclear which wins.
_KNOWN_BY_CLIENT = (
    "api_key",
    "auth_token",
    "base_url",
    "proxy",
    "http_client",
    "http_async_client",
)


def take_sdk_clients(cls: type[WireSettings], values: Arguments) -> None:
    """Check the SDK clients among the arguments of a model; LangChain's form of a client is replaced by the client."""
    for name, kind in _FIELDS.items():
        client = values.get(name)
        if client is None:
            continue
        # LangChain's form of a client is `OpenAI().chat.completions`.
        if hasattr(client, "create") and hasattr(client, "_client"):
            values[name] = client = client._client
        _check_package(cls, name, client)
        if hasattr(client, "__aenter__") != (kind == "async"):
            other = "client" if kind == "async" else "async_client"
            raise InvalidArgument(
                f"`{name}` was given a `{type(client).__name__}`, which belongs into `{other}`."
            )
    if twice := [name for name in _KNOWN_BY_CLIENT if values.get(name) is not None]:
        raise InvalidArgument(
            f"`{cls.__name__}` was given a `client` and {', '.join(f'`{name}`' for name in twice)}: "
            "with a client of an SDK these are the client's. Set them there, or leave the client out."
        )


def _check_package(cls: type[WireSettings], name: str, client: Any) -> None:
    """Raise `InvalidArgument` for a client that is not an SDK's, or is of another SDK than the wire's."""
    if not (hasattr(client, "post") and hasattr(client, "with_options")):
        raise InvalidArgument(
            f"`{name}` must be a client of the `openai` or `anthropic` SDK, such as `AzureOpenAI(...)`, not a "
            f"`{type(client).__name__}`. An HTTP client belongs into `http_client`."
        )
    packages = {cls_.__module__.partition(".")[0] for cls_ in type(client).__mro__}
    seat = wire_named(cls.WIRE).sdk
    if seat is None:
        raise InvalidArgument(f"`{cls.__name__}` takes no client of an SDK: leave `{name}` out.")
    seats = [wire_named(known).sdk for known in WIRES]
    if seat.package not in packages and any(
        other is not None and other.package in packages for other in seats
    ):
        raise InvalidArgument(
            f"`{name}` of `{cls.__name__}` must be a client of the `{seat.package}` SDK, not a "
            f"`{type(client).__name__}`."
        )


class SdkClients:
    """The SDK clients of `model`: their address, and connections that send through them."""

    def __init__(self, model: WireSettings) -> None:
        self._model = model

    def endpoint(self, headers: HeaderFields) -> Endpoint:
        """Return the endpoint of a call, without the host: the SDK takes paths and adds its own address.

        A header here replaces the client's header of the same name, except that beta features are joined.
        """
        clients = {name.lower(): value for name, value in self._either().default_headers.items()}
        headers = dict(headers)
        for joined in self._seat().joined_headers:
            if isinstance(first := clients.get(joined), str):
                more = [headers.pop(name) for name in list(headers) if name.lower() == joined]
                headers[joined] = ",".join([first, *more])
        return Endpoint("", headers)

    def direct(self, request: WireRequest) -> None:
        """Complete a request: add the client's address, and the fields that its cloud requires in the body."""
        request.url = self._address() + request.url
        fields = self._seat().body_fields
        for kind in type(self._either()).__mro__ if fields else ():
            request.body = {**fields.get(kind.__name__.removeprefix("Async"), {}), **request.body}

    def sync_connection(self, exchange: AnyExchange) -> SyncSdkConnection:
        client = self._either()
        if self._model.client is None:
            raise InvalidArgument(
                f"`{type(self._model).__name__}` was given an `async_client` alone, which cannot answer sync calls: "
                "give it a `client` too, or call `ainvoke`, `astream`, `abatch`."
            )
        return SyncSdkConnection(exchange, client, exchange.url.removeprefix(self._address()))

    def async_connection(self, exchange: AnyExchange) -> AsyncSdkConnection:
        return AsyncSdkConnection(
            exchange, self._model.async_client, exchange.url.removeprefix(self._address())
        )

    def _seat(self) -> SdkSeat:
        seat = self._model._wire().sdk
        if seat is None:
            raise InvalidArgument(f"`{type(self._model).__name__}` takes no client of an SDK.")
        return seat

    def _address(self) -> str:
        return str(self._either().base_url).partition("?")[0].rstrip("/")

    def _either(self) -> Any:
        model = self._model
        client = model.async_client if model.client is None else model.client
        if isinstance(client, str):  # A pickle contains only the name of the client's class.
            raise InvalidArgument(
                f"This `{type(model).__name__}` had a `{client}` as its client, which cannot be pickled: "
                "set `client` to a new one."
            )
        return client


async def by_thread(chunks: Iterator[AIMessageChunk]) -> AsyncGenerator[AIMessageChunk]:
    """Yield the chunks of a sync stream, each fetched in a thread."""
    fetching = left = False

    def fetch() -> AIMessageChunk | None:
        chunk = next(chunks, None)
        if left:  # The reader has left while this chunk was fetched.
            close(chunks)
        return chunk

    try:
        while True:
            fetching = True
            chunk = await run_in_executor(None, fetch)
            fetching = False
            if chunk is None:
                return
            yield chunk
    finally:
        left = True
        if not fetching:
            close(chunks)

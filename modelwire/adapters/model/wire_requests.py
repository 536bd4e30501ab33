"""`RequestBuilder` makes the provider's request from the settings of a model and the arguments of a call. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelwire import __version__
from modelwire.adapters.model.arguments import parameter_of
from modelwire.aliases import HeaderFields
from modelwire.errors import CallerError, InvalidArgument, ParameterWarning, warn_caller
from modelwire.prompt_caches import WATCHING
from modelwire.records import NamedTuple

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Arguments
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.adapters.model.secret import Secret
    from modelwire.adapters.wires.wire import ChatCall, Codec
    from modelwire.messages import BaseMessage
    from modelwire.transport.wire import WireRequest

# These keywords of a call are not sent as parameters: they name the model, or control how the request is built.
NO_PARAMETERS = frozenset(
    {"model", "model_name", "extra_body", "extra_headers", "stream", "prompt_cache"}
)


class RequestBuilder(NamedTuple):
    """Builds the request of one call of `model`, and builds it again when a new key is needed."""

    model: HTTPChatModel
    messages: Sequence[BaseMessage]
    stop: list[str] | str | None
    kwargs: Arguments
    is_sent: bool = (
        False  # True if the request is sent as a call, not only shown, counted or compared.
    )

    def build(self, *, stream: bool, **credential: Any) -> tuple[Codec, WireRequest]:
        """Return the codec that encodes the request and decodes the answer, and the request.

        `credential` are keywords of `_endpoint`: the `key` if it is known already, `ask=False` for a call without one.
        """
        model = self.model
        try:
            call = model._call(self.messages, self.stop, self.kwargs, stream=stream, **credential)
        except CallerError as exc:
            raise exc.with_traceback(None)  # noqa: B904 - the same error, without frames that hold keys
        codec = model._codec(call)
        if call.params:
            name = str(call.model)
            wire = getattr(codec, "wire", "")  # A user's codec may have none.
            if not _adjusted_parameters(codec.provider, wire, name).isdisjoint(call.params):
                self._adapt_parameters(call, codec.provider, name, wire)
        request = codec.encode(call)
        request.model = request.model or call.model
        if request.left_out:
            self._warn_of(dict.fromkeys(request.left_out))
        is_cached = model.prompt_cache or "prompt_cache" in self.kwargs
        if is_cached or WATCHING.get():
            self._ask_prompt_cache(request, codec.provider, getattr(codec, "wire", ""))
        if model.client is not None or model.async_client is not None:
            model._sdk().direct(request)
        else:
            request.headers = _default_headers(request.headers)
        if model.default_query:
            from urllib.parse import urlencode

            mark = "&" if "?" in request.url else "?"
            request.url += f"{mark}{urlencode(model.default_query)}"
        return codec, request

    def _ask_prompt_cache(self, request: WireRequest, provider: str, wire: str) -> None:
        from modelwire.adapters.model.prompt_caching import ask_prompt_cache

        wanted = self.kwargs.get("prompt_cache", self.model.prompt_cache)
        if self.is_sent and (wanted or WATCHING.get()):
            from modelwire.adapters.model.prompt_prefixes import note

            note(request, self.messages, wire)
        if notes := ask_prompt_cache(request, wanted, provider=provider, wire=wire):
            self._warn_of(notes)

    def renewal(self, deadline: float | None, *, is_async: bool) -> Callable[[], Any] | None:
        """Return a function that returns the headers with a new key; None if the key comes from no function."""
        credentials = self.model._credentials()
        if not credentials.are_from_function():
            return None

        def headers(key: Secret | None = None) -> HeaderFields:
            if key is None:
                credentials.expire()
            return self.build(stream=False, key=key)[1].headers

        async def aheaders() -> HeaderFields:
            credentials.expire()
            return headers(await credentials.key(self.kwargs, deadline))

        return aheaders if is_async else headers

    def _adapt_parameters(self, call: ChatCall, provider: str, model: str, wire: str) -> None:
        """Change the parameters of the call to those that the model takes, with a warning or an error for each."""
        from modelwire.adapters.providers.parameters import fit_call

        kind = type(self.model)
        service = getattr(self.model, "provider", None)
        call_parameters = frozenset(
            parameter_of(kind, name, service) for name in self.kwargs if name not in NO_PARAMETERS
        )
        if notes := fit_call(
            call, provider=provider, model=model, wire=wire, call_parameters=call_parameters
        ):
            self._warn_of(note.message for note in notes)

    def _warn_of(self, notes: Iterable[str]) -> None:
        """Warn of the parts of a call that are changed or left out. Raises `InvalidArgument` under `strict_params`."""
        if self.model.strict_params:
            raise InvalidArgument(f"Nothing was sent (`strict_params`): {' '.join(notes)}")
        for note in notes:
            warn_caller(note, ParameterWarning)


def _default_headers(headers: HeaderFields) -> HeaderFields:
    """Return `headers` with those that every call has; a user's header of the same name wins."""
    named = set(map(str.lower, headers))
    if named.isdisjoint(_OUR_NAMES):
        return {**_OUR_HEADERS, **headers}
    return {
        **{name: value for name, value in _OUR_HEADERS.items() if name.lower() not in named},
        **headers,
    }


_OUR_HEADERS = {"User-Agent": f"modelwire/{__version__}", "Accept-Encoding": "gzip, deflate"}
_OUR_NAMES = frozenset(map(str.lower, _OUR_HEADERS))


@lru_cache(maxsize=256)
def _adjusted_parameters(provider: str, wire: str, model: str) -> frozenset[str]:
    """Return the names of the parameters that may have to be adapted to the model."""
    from modelwire.adapters.providers.model_families import touched_parameters

    return touched_parameters(provider, wire, model)

"""`WireRequests`: from the settings of a model and the arguments of one call to the request in the provider's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from modelwire import __version__
from modelwire.adapters.model.arguments import RETRY_SETTINGS, checked_headers, parameter_of
from modelwire.adapters.model.secret import lost_credential
from modelwire.adapters.model.settings import WireSettings
from modelwire.adapters.parameter_aliases import set_parameter
from modelwire.adapters.wires.wire import ChatCall, Codec
from modelwire.errors import CallerError, InvalidArgument, ParameterWarning, warn_caller
from modelwire.messages import BaseMessage, convert_to_messages
from modelwire.transport.wire import LostHeaders, WireRequest

__all__ = ["WireRequests"]


class WireRequests(WireSettings):
    """A model that can say what a call would send."""

    def _codec(self, call: ChatCall) -> Codec:
        """Return the codec of `call`: that of the model's wire."""
        return self._wire().codec(getattr(self, "provider", self.WIRE))

    def build_request(self, messages: Any, *, stream: bool = False, **kwargs: Any) -> WireRequest:
        """Return what a call with these arguments would send, without sending it."""
        for name in [name for name in kwargs if self.ALIASES.get(name, name) in RETRY_SETTINGS]:
            del kwargs[name]  # it is never sent
        return self._build_request(
            self._messages(messages), kwargs.pop("stop", None), kwargs, stream=stream
        )[1]

    def _messages(self, input: Any) -> list[BaseMessage]:
        """Read the input of a call; raise before any request when there is nothing to answer."""
        messages = convert_to_messages(input)
        if not messages:
            raise InvalidArgument(
                f"`{self.get_name()}` was given an empty list of messages; give it at least one."
            )
        for message in messages:
            if message.content.__class__ is list:
                from modelwire.messages.validate_outgoing import validate_outgoing

                return validate_outgoing(messages)
        return messages

    def _call(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | str | None,
        kwargs: dict[str, Any],
        *,
        stream: bool,
        **credential: Any,
    ) -> ChatCall:
        params = self._params()
        if stop is not None:
            params["stop"] = stop
        extra_body, extra_headers = self.extra_body or {}, self.extra_headers or {}
        model = self.model
        if kwargs:
            provider = getattr(self, "provider", None)
            kwargs = dict(kwargs)  # a renewal of the key reads them again
            extra_body = {**extra_body, **(kwargs.pop("extra_body", None) or {})}
            named = kwargs.pop("extra_headers", None)
            if named.__class__ is LostHeaders:  # of a binding that was pickled
                raise lost_credential()
            extra_headers = {**extra_headers, **(named or {})}
            for name, value in kwargs.items():
                if name in ("model", "model_name"):
                    model = value or model
                elif name != "stream":  # it says how the answer is read
                    set_parameter(params, parameter_of(type(self), name, provider), value)
        form = params.get("response_format")
        if form is not None and not isinstance(
            form, Mapping
        ):  # a pydantic class, as the SDKs take it
            from modelwire.adapters.model.tools import response_format

            params["response_format"] = response_format(self, form, strict=None)
        if extra_headers:
            checked_headers(extra_headers)
        return ChatCall(
            messages=messages,
            model=model,
            endpoint=self._endpoint(extra_headers, **credential),
            params=params,
            stream=stream,
            extra_body=extra_body,
            extra_headers=extra_headers,
        )

    def _build_request(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | str | None,
        kwargs: dict[str, Any],
        *,
        stream: bool,
        **credential: Any,
    ) -> tuple[Codec, WireRequest]:
        """Return the call in the provider's words, and the codec that wrote it and will read the answer.

        `credential` is what `_endpoint` takes: the `key` where it is known already, `ask=False` for a call without one.
        """
        try:
            call = self._call(messages, stop, kwargs, stream=stream, **credential)
        except CallerError as exc:
            raise exc.with_traceback(None)  # noqa: B904 - the same error, without frames that hold keys
        codec = self._codec(call)
        if call.params:
            model, wire = (
                str(call.model),
                getattr(codec, "wire", ""),
            )  # a codec of one's own may have none
            if not _adjusted_parameters(codec.provider, wire, model).isdisjoint(call.params):
                call_parameters = frozenset(
                    parameter_of(type(self), name, getattr(self, "provider", None))
                    for name in kwargs
                    if name not in _NO_PARAMETERS
                )
                self._fit_parameters(call, codec.provider, model, wire, call_parameters)
        request = codec.encode(call)
        request.model = request.model or call.model
        if request.left_out:
            self._warn_of(dict.fromkeys(request.left_out))
        if self.client is not None or self.async_client is not None:
            self._sdk().direct(request)
        else:
            request.headers = _default_headers(request.headers)
        if self.default_query:
            from urllib.parse import urlencode

            request.url += f"{'&' if '?' in request.url else '?'}{urlencode(self.default_query)}"
        return codec, request

    def _fit_parameters(
        self, call: ChatCall, provider: str, model: str, wire: str, call_parameters: frozenset[str]
    ) -> None:
        """Give the call its parameters as the model takes them; warn of those that had to change, or refuse to send."""
        from modelwire.adapters.providers.parameters import fit_call

        if notes := fit_call(
            call, provider=provider, model=model, wire=wire, call_parameters=call_parameters
        ):
            self._warn_of(note.message for note in notes)

    def _warn_of(self, notes: Iterable[str]) -> None:
        """Say what is not sent as it was given, or refuse to send the rest."""
        if self.strict_params:
            raise InvalidArgument(f"Nothing was sent (`strict_params`): {' '.join(notes)}")
        for note in notes:
            warn_caller(note, ParameterWarning)


def _default_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Add the headers every call has; the user's own of the same name win."""
    named = set(map(str.lower, headers))
    if named.isdisjoint(_OUR_NAMES):
        return {**_OUR_HEADERS, **headers}
    return {
        **{name: value for name, value in _OUR_HEADERS.items() if name.lower() not in named},
        **headers,
    }


_OUR_HEADERS = {"User-Agent": f"modelwire/{__version__}", "Accept-Encoding": "gzip, deflate"}
_OUR_NAMES = frozenset(map(str.lower, _OUR_HEADERS))


_NO_PARAMETERS = frozenset({"model", "model_name", "extra_body", "extra_headers", "stream"})


@lru_cache(maxsize=256)
def _adjusted_parameters(provider: str, wire: str, model: str) -> frozenset[str]:
    """Return the parameters that may have to be fitted to the model; asked at every call that has any."""
    from modelwire.adapters.providers.model_families import touched_parameters

    return touched_parameters(provider, wire, model)

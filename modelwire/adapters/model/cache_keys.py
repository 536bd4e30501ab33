"""Computes the cache key of a call from all that determines its answer, and from no secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.aliases import Values

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Arguments, Stop
    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.messages import BaseMessage
    from modelwire.transport.wire import WireRequest

_log = logging.getLogger(__name__)


def request_key(
    request: WireRequest, more: Iterable[tuple[str, str]] = ()
) -> tuple[str, str] | None:
    """Return the key of a request: its body, address and headers without credentials; `more` are headers, too.

    The result is None for a call that cannot be cached: its answer depends on state at the provider, or comes later.
    """
    from hashlib import sha256
    from urllib.parse import urlsplit

    from pydantic_core import to_json

    address = urlsplit(request.url)
    where = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    body = dict(sorted(request.body.items()))
    if any(body.get(name) for name in _STATEFUL) or _names_a_container(body.get("container")):
        return None
    named = {name.lower(): text for name, text in (*more, *request.headers.items())}
    kept = sorted(
        (name, text) for name, text in named.items() if not _says_nothing_of_answers(name)
    )
    return sha256(
        to_json([where, kept, body])
    ).hexdigest(), f"{address.hostname} {body.get('model')}"


# A request with one of these fields is not cached: the state at the provider that it names changes between calls.
_STATEFUL = ("background", "conversation", "thread")
# Headers that do not change an answer, so the key does not contain them: they name the caller, describe the bytes or
# identify the call. Any other header may select another tenant, region or model behind a gateway.
_NO_MATTER = frozenset(
    {
        "authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "proxy-authorization",
        "openai-organization",
        "openai-project",
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-request-id",
        "x-client-request-id",
        "x-correlation-id",
        "idempotency-key",
        "request-id",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
        "x-amzn-trace-id",
        "x-cloud-trace-context",
        "x-trace-id",
    }
)


def _says_nothing_of_answers(header: str) -> bool:
    return header in _NO_MATTER or header.startswith(("x-stainless-", "x-b3-", "x-datadog-"))


def _names_a_container(container: Any) -> bool:
    """Return whether the code of a call runs in a container that has the files of earlier calls."""
    return bool(container.get("id") if isinstance(container, dict) else container)


def message_key(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    stop: Stop,
    kwargs: Arguments,
) -> tuple[str, str] | None:
    """Return the key of a call of a model without a wire; None if an argument cannot be part of a key.

    Such an argument has no description that is the same in every process.
    """
    try:
        messages_json = [
            {**message.__dict__, **(message.__pydantic_extra__ or {}), "id": None}
            for message in messages
        ]
        return json.dumps(messages_json, default=_named), model._get_llm_string(stop, **kwargs)
    except (TypeError, ValueError, RecursionError) as exc:
        _log.warning("A call of `%s` cannot be cached: %s.", model.get_name(), exc)
        return None


# These fields of a user's model class are part of the key, even if its `_identifying_params` do not list them. Other
# fields are not, because some are counters.
_PARAMETERS = (
    "model",
    "model_name",
    "temperature",
    "max_tokens",
    "top_p",
    "top_k",
    "seed",
    "stop",
    "n",
    "frequency_penalty",
    "presence_penalty",
    "model_kwargs",
    "system",
    "system_prompt",
)


def llm_string(model: BaseChatModel, params: Values) -> str:
    """Return the text that, with the messages, determines a model's answers: its class and the parameters."""
    cls = type(model)
    own = {name: getattr(model, name) for name in _PARAMETERS if name in cls.model_fields}
    return json.dumps(
        [f"{cls.__module__}.{cls.__qualname__}", {**own, **params}], sort_keys=True, default=_named
    )


def _named(value: Any) -> Any:
    """Return a JSON value for an object. Raises `TypeError` if its description differs from run to run."""
    schema = getattr(value, "model_json_schema", None)
    if isinstance(value, type):
        return [
            f"{value.__module__}.{value.__qualname__}",
            schema() if schema is not None else None,
        ]
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return [type(value).__qualname__, dump()]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    text = repr(value)
    if " at 0x" in text or "..." in text:
        raise TypeError(
            f"a `{type(value).__name__}` among its arguments has no lasting description"
        )
    return text

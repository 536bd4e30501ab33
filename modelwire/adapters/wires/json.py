"""Reads the JSON of a provider, and its errors, into values that are safe to show. No I/O here.

All codecs share this module: they show bytes of a provider by `snippet`, parse them by `read_json`, and make errors
by `error_from_reply` or `error_from_json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from modelwire.aliases import JSON, Fields, HeaderFields
from modelwire.errors import MalformedResponse, message_of
from modelwire.records import NamedTuple
from modelwire.transport.classify import provider_error
from modelwire.transport.wire import MASK

if TYPE_CHECKING:
    from modelwire.errors import ProviderError
    from modelwire.transport.wire import Reply

# What reading JSON raises that has another shape than its documentation says.
UNDOCUMENTED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
_SNIPPET_CHARS = 200
MESSAGE_CHARS = 300
_BODY_CHARS = 2_000  # of a body that is no JSON, kept as `.body` of the error

# OpenAI, Azure, Groq, Mistral ... / Anthropic / Amazon / Azure API Management, most telling first.
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id")


def snippet(text: bytes | str, limit: int = _SNIPPET_CHARS) -> str:
    """Return at most `limit` characters of `text`, secrets masked, white space collapsed, controls escaped."""
    head = text[: limit * 8]  # masking and white space shrink it; a body may have megabytes
    shown = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    shown = " ".join(mask_secrets(shown).split())
    if not shown.isprintable():  # a terminal must not obey what a provider sent
        shown = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown
        )
    if len(shown) <= limit:
        return shown
    return shown[: limit - 1] + "…"


def failure_text(error: BaseException) -> str:
    """Return an error as one line for a table, without secrets."""
    text = " ".join(mask_secrets(message_of(error)).split())
    if text:
        return f"{type(error).__name__}: {text}"
    return type(error).__name__


def mask_secrets(text: str) -> str:
    """Replace what looks like an API key by asterisks: providers echo the key they refuse."""
    text = re.sub(_KEY, MASK, text)
    return re.sub(_NAMED_KEY, rf"\g<1>{MASK}", text)


# By prefix: OpenAI and Anthropic `sk-`, Groq `gsk_`, xAI `xai-`, Hugging Face `hf_`, NVIDIA `nvapi-`, Perplexity
# `pplx-`, Cerebras `csk-`, Replicate `r8_`, Google `AIza`; bearer tokens and JSON web tokens.
_KEY = (
    r"\bsk-[\w\-*.]{6,}[\w*]"
    r"|\b(?:gsk_|xai-|hf_|nvapi-|pplx-|csk-|r8_)[\w\-*]{12,}"
    r"|\bAIza[\w\-]{20,}"
    r"|\beyJ[\w\-]{10,}\.[\w\-]+\.[\w\-]*"
    r"|(?i:(?<=\bbearer )[\w\-.=+/~]{8,})"
)
# "API key provided: something", unless the provider has put asterisks into it already.
_NAMED_KEY = r"(?i)(\bapi[ _-]?key(?: provided)?[\"'`]?\s*[:=]\s*[\"'`]?)(?!\S*\*)(?=\S*[\d_-])[^\s\"'`,;<>]{8,}"


def is_keep_alive(name: str, data: bytes) -> bool:
    """Return whether an event is `data:` alone, which some servers send while the model thinks.

    The standard dispatches it, with an empty text (WHATWG HTML, 9.2.6, read 2026-11); no wire has such an event.
    """
    return name != "error" and not data.strip()


def read_json(
    body: bytes,
    *,
    provider: str,
    request_id: str | None = None,
    status: int | None = None,
    what: str = "answer",
) -> Any:
    """Parse an answer or an event, whatever its content type says; white space around it is fine.

    Bytes that are no UTF-8 and lone surrogates come out as U+FFFD. NaN and Infinity are values. Raises
    `MalformedResponse` for the rest: HTML, half a body, nothing at all, nesting beyond 200 levels.
    """
    try:
        return from_json(body)
    except ValueError as first:
        try:
            if _HUGE in str(first):
                return _with_huge_numbers(body)
            return from_json(_repaired(body))
        except (ValueError, RecursionError):
            problem = f"is not JSON ({first})" if body.strip() else "is empty"
            raise malformed(
                f"The {what} of `{provider}` {problem}.",
                body,
                provider=provider,
                request_id=request_id,
                status=status,
            ) from first


_HUGE = "number out of range"  # jiter's words, pydantic's parser, for an integer of more than 4,300 digits


def _with_huge_numbers(body: bytes) -> Any:
    """Parse JSON with an integer too large for the parser: such a count must not make the answer unreadable."""
    import json

    return json.loads(
        _repaired(body),
        parse_int=lambda digits: int(digits) if len(digits) < 400 else float(digits),
    )


def read_reply(reply: Reply, provider: str) -> Any:
    """Parse a whole answer."""
    try:
        return from_json(reply.body)
    except ValueError:
        return read_json(
            reply.body,
            provider=provider,
            request_id=request_id_of(reply.headers),
            status=reply.status,
        )


def no_answer(reply: Reply, provider: str, why: str) -> MalformedResponse:
    """Return the error for JSON that is not an answer of this wire, with the reason."""
    request_id = request_id_of(reply.headers)
    message = f"The answer of `{provider}` {why}."
    return malformed(
        message, reply.body, provider=provider, request_id=request_id, status=reply.status
    )


def malformed(
    message: str,
    body: Any,
    *,
    provider: str,
    request_id: str | None = None,
    status: int | None = None,
) -> MalformedResponse:
    """Return the error for an answer that cannot be read; it shows a piece of it (bytes, text or parsed JSON)."""
    if not isinstance(body, bytes | str):
        body = _json_text(body)
    if seen := snippet(body):
        message = f"{message} It begins: `{seen}`"
    return MalformedResponse(
        message,
        provider=provider,
        request_id=request_id,
        status=status,
        body=snippet(body, _BODY_CHARS) or None,
    )


def _repaired(body: bytes) -> str:
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    return re.sub(_SURROGATES, lambda found: "\\ufffd" if found[1] else found[0], text)


# An escaped backslash and a whole pair stay; group 1 is half a pair.
_SURROGATES = r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"


def _json_text(value: Any) -> str:
    from pydantic_core import to_json

    return to_json(value, inf_nan_mode="constants", serialize_unknown=True).decode()


class ProviderWords(NamedTuple):
    """What an error body says. `code` is as on the wire: text, or a number that may be an HTTP status."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    detail_code: str | None = None
    request_id: str | None = None
    status: int | None = None  # in the body, for an error under a 200


def provider_words(body_json: Any) -> ProviderWords:
    """Find message, type and codes in an error body of any of the shapes seen; never raises.

    `{"error": {...}}` (OpenAI, Anthropic, Google, Azure; Google also in a list of one), `{"error": "text", "code": ..}`
    (xAI, Ollama, Hugging Face), `{"detail": "text" | [{"msg": ..}]}` (FastAPI: Mistral, vLLM), `{"message": ..}`
    (Mistral, vLLM, Cohere; Bedrock says `Message` too), `{"errors": [{"message": ..}]}` (Cloudflare). Seen in public
    recordings, 2026-11.
    """
    if isinstance(body_json, list) and body_json:
        body_json = body_json[0]
    if not isinstance(body_json, Mapping):
        return ProviderWords(text_or_none(body_json))
    inner = body_json.get("error")
    source: Fields = inner if isinstance(inner, Mapping) else body_json
    details = dict_or_empty(source.get("details"))
    return ProviderWords(
        message=_message_of(source, body_json),
        # OpenAI says `type`; Google `status` ("INVALID_ARGUMENT").
        type=text_or_none(source.get("type")) or text_or_none(source.get("status")),
        code=_code(source.get("code")) or _code(body_json.get("code")),
        # Anthropic: https://docs.anthropic.com/en/api/errors, read 2026-11
        detail_code=text_or_none(details.get("error_code")),
        request_id=text_or_none(body_json.get("request_id")),
        status=_status(source.get("status_code")) or _status(source.get("status")),
    )


def _message_of(source: Fields, body: Fields) -> str | None:
    places = (
        source.get("message"),
        *(body.get(name) for name in ("error", "detail", "errors", "message", "Message")),
    )
    for place in places:
        if found := _first_words(place):
            return found
    return None


def _first_words(value: Any) -> str | None:
    """Return the text in `value`, or in the `message`, `msg` or `detail` of the object or list it is."""
    for _ in range(5):  # shapes nest a little; hostile ones would for ever
        if isinstance(value, str):
            return value.strip() or None
        if isinstance(value, list) and value:
            value = value[0]
        elif isinstance(value, Mapping):
            value = value.get("message") or value.get("msg") or value.get("detail")
        else:
            return None
    return None


def text_or_none(value: Any) -> str | None:
    """Return `value` if it is a text with something in it."""
    if isinstance(value, str) and value:
        return value
    return None


def dict_or_empty(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}


def dicts_in(value: Any) -> list[JSON]:
    """Return the dicts in a list; an empty list if `value` is not a list."""
    if isinstance(value, list):
        return [it for it in value if isinstance(it, dict)]
    return []


@lru_cache(maxsize=64)
def in_snake_case(name: str) -> str:
    """Return a name of JSON in snake_case."""
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)


_MOST_DIGITS = 16  # A count that a service sends as a text has fewer digits than this.


def count_or_none(value: Any) -> int | None:
    """Return `value` if it is a number of tokens."""
    is_whole = type(value) is float and value.is_integer()
    is_digits = type(value) is str and value.isdecimal() and len(value) < _MOST_DIGITS
    if is_whole or is_digits:
        value = int(value)
    if type(value) is int and value >= 0:
        return value
    return None


def counts_of(usage: Fields, names: Sequence[str]) -> list[int | None]:
    counts = []
    for name in names:  # a loop, as every answer comes here: a comprehension is a call of its own
        counts.append(count_or_none(usage.get(name)))  # noqa: PERF401
    return counts


def _code(value: Any) -> str | int | None:
    if isinstance(value, int):
        if not isinstance(value, bool) and 0 < abs(value) < 1_000_000:
            return value
        return None
    return text_or_none(value)


def _status(value: Any) -> int | None:
    if isinstance(value, int) and 400 <= value <= 599:
        return value
    return None


def request_id_of(headers: HeaderFields) -> str | None:
    """Return the provider's name for the call; `headers` have lower-case names."""
    for name in _REQUEST_ID_HEADERS:
        if found := headers.get(name):
            return found
    return None


def error_from_reply(reply: Reply, provider: str) -> ProviderError:
    """Return the error for an answer with a status >= 300, of any shape and content type; never raises."""
    try:
        body = from_json(_repaired(reply.body))
    except ValueError:
        body = None
    if body is None:
        return provider_error(
            _status_words(reply),
            provider=provider,
            status=reply.status,
            headers=reply.headers,
            request_id=request_id_of(reply.headers),
            body=snippet(reply.body, _BODY_CHARS) or None,
        )
    return error_from_json(
        body,
        provider=provider,
        status=reply.status,
        headers=reply.headers,
        fallback=_status_words(reply),
    )


def error_from_json(
    body: Any,
    *,
    provider: str,
    status: int,
    headers: HeaderFields | None = None,
    model: str | None = None,
    fallback: str | None = None,
) -> ProviderError:
    """Return the error for `body`, the parsed JSON of an error answer or of an error event under a 200.

    `fallback` is the message if the body has none.
    """
    headers = headers or {}
    words = provider_words(body)
    return provider_error(
        snippet(words.message or fallback or _json_text(body), MESSAGE_CHARS),
        provider=provider,
        status=status if status >= 300 else words.status or status,
        type=_shown(words.type),
        code=_shown(words.code),
        detail_code=_shown(words.detail_code),
        headers=headers,
        request_id=request_id_of(headers) or _shown(words.request_id),
        model=model,
        body=_masked(body),
    )


def error_as(kind: type[ProviderError], error: ProviderError) -> ProviderError:
    """Return the error as one of another class, where only the words of a provider tell which it is."""
    made = kind(error.message)
    made.__dict__.update(error.__dict__)
    made.__dict__.pop("retry_class", None)  # The new class has its own.
    return made


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return snippet(value, 100)
    return value


def _masked(value: Any) -> Any:
    """Return parsed JSON with what looks like a key masked in every text; at most 200 levels, as the parser allows."""
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, dict):
        return {name: _masked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return value


def _status_words(reply: Reply) -> str:
    """Return the meaning of a status whose body has no message that can be found."""
    try:
        from http import HTTPStatus

        phrase = f" {HTTPStatus(reply.status).phrase}"
    except (ValueError, ImportError, OSError):  # no such status; no file descriptor for the import
        phrase = ""
    if 300 <= reply.status < 400:
        target = snippet(reply.headers.get("location", "").partition("?")[0])
        return (
            f"The server answered {reply.status}{phrase} to `{target}`. Redirects are not followed, because they would "
            "carry the key elsewhere: check `base_url`."
        )
    seen = snippet(reply.body, MESSAGE_CHARS)
    return f"The server answered {reply.status}{phrase}" + (
        f": `{seen}`" if seen else " and said nothing more."
    )

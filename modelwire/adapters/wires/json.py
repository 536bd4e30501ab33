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

# The exceptions that code raises when JSON has another shape than the provider documents.
UNDOCUMENTED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
_SNIPPET_CHARS = 200
MESSAGE_CHARS = 300
# The `.body` of an error has at most so much of a body that is not JSON.
_BODY_CHARS = 2_000

# The response headers with the provider's id of a request, the best one first:
# OpenAI, Azure, Groq, Mistral ... / Anthropic / Amazon / Azure API Management.
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id")


def snippet(text: bytes | str, limit: int = _SNIPPET_CHARS) -> str:
    """Return at most `limit` characters of `text`, safe to show.

    API keys are masked, white space is collapsed, and control characters are escaped.
    """
    head = text[: limit * 8]  # Masking and collapsing shorten the text; a body may have megabytes.
    shown = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    shown = " ".join(mask_secrets(shown).split())
    if not shown.isprintable():  # A provider's text must not control a terminal.
        shown = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown
        )
    if len(shown) <= limit:
        return shown
    return shown[: limit - 1] + "…"


def failure_text(error: BaseException) -> str:
    """Return the class and the message of an error as one line, with API keys masked."""
    text = " ".join(mask_secrets(message_of(error)).split())
    if text:
        return f"{type(error).__name__}: {text}"
    return type(error).__name__


def mask_secrets(text: str) -> str:
    """Replace everything that looks like an API key by asterisks: providers repeat a key that they reject."""
    text = re.sub(_KEY, MASK, text)
    return re.sub(_NAMED_KEY, rf"\g<1>{MASK}", text)


# Matches API keys by their prefixes (OpenAI and Anthropic `sk-`, Groq `gsk_`, xAI `xai-`, Hugging Face `hf_`, NVIDIA
# `nvapi-`, Perplexity `pplx-`, Cerebras `csk-`, Replicate `r8_`, Google `AIza`), bearer tokens and JSON web tokens.
_KEY = (
    r"\bsk-[\w\-*.]{6,}[\w*]"
    r"|\b(?:gsk_|xai-|hf_|nvapi-|pplx-|csk-|r8_)[\w\-*]{12,}"
    r"|\bAIza[\w\-]{20,}"
    r"|\beyJ[\w\-]{10,}\.[\w\-]+\.[\w\-]*"
    r"|(?i:(?<=\bbearer )[\w\-.=+/~]{8,})"
)
# Matches "API key provided: something", unless the provider has masked the key with asterisks already.
_NAMED_KEY = r"(?i)(\bapi[ _-]?key(?: provided)?[\"'`]?\s*[:=]\s*[\"'`]?)(?!\S*\*)(?=\S*[\d_-])[^\s\"'`,;<>]{8,}"


def is_keep_alive(name: str, data: bytes) -> bool:
    """Return whether a server-sent event has empty data, as some servers send it while the model thinks.

    The standard dispatches such an event (WHATWG HTML, 9.2.6, read 2026-11), but it means nothing on any wire.
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
    """Return the parsed JSON of an answer or an event, whatever its content type says.

    Invalid UTF-8 and lone surrogates become U+FFFD. NaN, Infinity and white space around the JSON are accepted. Raises
    `MalformedResponse` for everything else: HTML, a cut or empty body, nesting beyond 200 levels. `what` names the
    JSON in that error.
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


# The error text of pydantic's parser (jiter) for an integer of more than 4,300 digits.
_HUGE = "number out of range"


def _with_huge_numbers(body: bytes) -> Any:
    """Return parsed JSON that has an integer too large for pydantic's parser; from 400 digits it becomes a float."""
    import json

    return json.loads(
        _repaired(body),
        parse_int=lambda digits: int(digits) if len(digits) < 400 else float(digits),
    )


def read_reply(reply: Reply, provider: str) -> Any:
    """Return the parsed JSON of an unstreamed answer. Raises `MalformedResponse` if it is not JSON."""
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
    """Return the error for JSON that is not an answer of this wire. `why` ends its sentence "The answer of X ..."."""
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
    """Return the error for an unreadable answer. It shows the beginning of `body`: bytes, text or parsed JSON."""
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
    """Return a body as text without a byte order mark; invalid bytes and lone surrogates become U+FFFD."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    return re.sub(_SURROGATES, lambda found: "\\ufffd" if found[1] else found[0], text)


# Matches an escaped backslash, a whole surrogate pair, or, as group 1, a lone surrogate.
_SURROGATES = r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"


def _json_text(value: Any) -> str:
    from pydantic_core import to_json

    return to_json(value, inf_nan_mode="constants", serialize_unknown=True).decode()


class ProviderWords(NamedTuple):
    """The fields found in an error body. `code` is unchanged: a text, or a number that may be an HTTP status."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    detail_code: str | None = None
    request_id: str | None = None
    status: int | None = (
        None  # an HTTP status in the body, for an error that was sent with status 200
    )


def provider_words(body_json: Any) -> ProviderWords:
    """Return the message, type and codes of an error body in any of the shapes below; never raises.

    `{"error": {...}}` (OpenAI, Anthropic, Google, Azure; Google also in a list of one), `{"error": "text", "code": ..}`
    (xAI, Ollama, Hugging Face), `{"detail": "text" | [{"msg": ..}]}` (FastAPI: Mistral, vLLM), `{"message": ..}`
    (Mistral, vLLM, Cohere; Bedrock also has `Message`), `{"errors": [{"message": ..}]}` (Cloudflare). All occur in
    public recordings, 2026-11.
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
        # OpenAI has the class of the error in `type`, Google in `status` ("INVALID_ARGUMENT").
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
    """Return `value` if it is a text, else the `message`, `msg` or `detail` of an object or of a list's first item."""
    for _ in range(5):  # Real bodies nest a few levels; a hostile one may nest without end.
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
    """Return `value` if it is a non-empty text, else None."""
    if isinstance(value, str) and value:
        return value
    return None


def dict_or_empty(value: Any) -> JSON:
    """Return `value` if it is a dict, else an empty dict."""
    return value if isinstance(value, dict) else {}


def dicts_in(value: Any) -> list[JSON]:
    """Return the dicts in a list; an empty list if `value` is not a list."""
    if isinstance(value, list):
        return [it for it in value if isinstance(it, dict)]
    return []


@lru_cache(maxsize=64)
def in_snake_case(name: str) -> str:
    """Return a camelCase name in snake_case."""
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)


_MOST_DIGITS = 16  # A count that a service sends as a text has fewer digits than this.


def count_or_none(value: Any) -> int | None:
    """Return a token count as an int: a whole number >= 0, also as a float or as digits. None for all else."""
    if type(value) is not int:
        is_whole = type(value) is float and value.is_integer()
        is_digits = type(value) is str and value.isdecimal() and len(value) < _MOST_DIGITS
        if not (is_whole or is_digits):
            return None
        value = int(value)
    return value if value >= 0 else None


def counts_of(usage: Fields, names: Sequence[str]) -> list[int | None]:
    """Return the token counts of these names, in their order; None for one that is missing or invalid."""
    counts = []
    for name in names:  # This runs for every answer, and a comprehension would cost another call.
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
    """Return the provider's id of the request from response headers with lower-case names, or None."""
    for name in _REQUEST_ID_HEADERS:
        if found := headers.get(name):
            return found
    return None


def error_from_reply(reply: Reply, provider: str) -> ProviderError:
    """Return the error for an HTTP response with a status >= 300 and any body; never raises."""
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
    """Return the error for `body`, the parsed JSON of an error response, or of an error sent with status 200.

    `fallback` is the message of the error if the body has none.
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
    """Return a copy of the error as class `kind`, for a provider whose message alone shows the cause."""
    made = kind(error.message)
    made.__dict__.update(error.__dict__)
    made.__dict__.pop("retry_class", None)  # The new class decides whether a retry may help.
    return made


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return snippet(value, 100)
    return value


def _masked(value: Any) -> Any:
    """Return parsed JSON with API keys masked in every text. The parser allows 200 levels, so recursion is safe."""
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, dict):
        return {name: _masked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return value


def _status_words(reply: Reply) -> str:
    """Return the error message for a response whose body has none: its HTTP status and the beginning of the body."""
    try:
        from http import HTTPStatus

        phrase = f" {HTTPStatus(reply.status).phrase}"
    except (ValueError, ImportError, OSError):  # unknown status; no free file descriptor to import
        phrase = ""
    if 300 <= reply.status < 400:
        target = snippet(reply.headers.get("location", "").partition("?")[0])
        return (
            f"The server answered {reply.status}{phrase} to `{target}`. Redirects are not followed, because they would "
            "carry the key elsewhere: check `base_url`."
        )
    seen = snippet(reply.body, MESSAGE_CHARS)
    return f"The server answered {reply.status}{phrase}" + (
        f": `{seen}`" if seen else " with an empty body."
    )

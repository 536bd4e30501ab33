"""The format of a cassette: one line of JSON for each request, in the order in which they were sent. No I/O.

Behind the last request of a call, one more line has the call itself: its messages, parameters and
result. A replay ignores that line, and `compare` reads only such lines.

A cassette contains no secrets. The keys of objects are sorted, so that two recordings of one program
can be compared line by line. A replay finds a request by the hash of its method, URL and body. A long
text, such as an image, is written once, in the `texts` of the first request that has it, and every
request refers to it by its hash.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from modelwire import errors
from modelwire.aliases import JSON
from modelwire.errors import CassetteError, ChatError, RetryClass
from modelwire.ext import Redactor, address_of, shown_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from modelwire.transport.steps import Exchange

# Long texts by the hashes that replace them.
Texts = dict[str, str]
# A call in progress, of any wire.
AnyExchange: TypeAlias = "Exchange[Any, Any]"

VERSION = 1
# The first line of every cassette.
HEAD = json.dumps({"modelwire": "cassette", "version": VERSION})
# A text of a request with more characters than this is replaced by its hash.
_MAX_TEXT = 10_000
# A match is the hash that replaces a long text.
LEFT_OUT = re.compile(r"<\d+ characters, sha256 [0-9a-f]{64}>")


@dataclass
class Request:
    """A request without its secrets. A replay finds it by its `sha256`."""

    method: str
    url: str
    sha256: str
    headers: dict[str, str]
    body: Any

    @classmethod
    def of(cls, exchange: AnyExchange) -> Request:
        """Return the request of a call that is about to be sent."""
        redactor = Redactor(exchange)
        method = exchange.method
        url = _url(exchange.url)
        body = redactor.body(_json_or_text(exchange.content))
        whole = f"{method} {url}\n{json.dumps(body, sort_keys=True)}"
        digest = sha256(whole.encode()).hexdigest()
        headers = redactor.request_headers(exchange.headers)
        return cls(method, url, digest, dict(sorted(headers.items())), body)


@dataclass
class Answer:
    """A recorded answer: the `pieces` of its body with the seconds since the request was sent, and how it ended.

    The body is stored decompressed, whatever its content-encoding. `ended` is "complete", "left" if
    the caller stopped reading, or "failed" with the `error`. `status` is None if no headers arrived.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    head_s: float = 0.0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    ended: str = "left"
    end_s: float = 0.0
    error: JSON | None = None

    def fail(self, error: ChatError) -> None:
        """Record that a network error ended the answer."""
        self.ended = "failed"
        self.error = {
            "type": type(error).__name__,
            "message": error.message,
            "code": error.code,
            "retry_class": error.retry_class.value,
        }

    def failure(self) -> ChatError:
        """Return the recorded error as an exception."""
        about = self.error or {}
        kind: type[ChatError] = getattr(errors, about["type"])
        return kind(
            about["message"], code=about["code"], retry_class=RetryClass(about["retry_class"])
        )


@dataclass
class Call:
    """A call as a program made it. `messages` and `answer` are in the format of `messages_to_dict`.

    `params` have the names that all models share; `left_out` lists parameters that cannot be passed to
    another model. A call without an `answer` has an `error`. `line` is the number of its line in the file.
    """

    provider: str
    model: str
    messages: list[JSON]
    params: JSON
    left_out: list[str] = field(default_factory=list)
    answer: JSON | None = None
    error: str | None = None
    seconds: float = 0.0
    line: int = 0


class Contents(NamedTuple):
    """The contents of a cassette: each request with its answer, and the calls."""

    exchanges: list[tuple[Request, Answer]]
    calls: list[Call]


def call_to_line(call: Call, exchange: AnyExchange, written: set[str]) -> str:
    """Return the line of one call. The secrets of `exchange`, its last request, are masked.

    `written` has the hashes of long texts in the file; new ones are added.
    """
    redactor = Redactor(exchange)
    fields = dict(vars(call))
    del fields["line"]
    fields["params"] = redactor.body(call.params)
    plain = json.loads(json.dumps(redactor.value(fields), default=str))
    texts: Texts = {}
    # Keys are not sorted: a model answers in the order of a schema's properties.
    shown = _changed(plain, _by_hash(texts, written), ordered=True)
    if texts:
        shown["texts"] = texts
    return json.dumps({"call": shown}, ensure_ascii=False)


def _by_hash(texts: Texts, written: set[str]) -> Callable[[str], str]:
    """Return a function that replaces a long text by its hash. A hash that is not in `written` is added, and its text
    is added to `texts`.
    """

    def by_hash(text: str) -> str:
        long = _long_part(text)
        if long is None:
            return text
        short = shortened(long)
        if short not in written:
            texts[short] = long
            written.add(short)
        return text.replace(long, short)

    return by_hash


def _long_part(text: str) -> str | None:
    """Return the part of a text that a hash replaces: all of a long text, or the data of a long data URL; else None."""
    long = text
    if text.startswith("data:"):
        _, _, long = text.partition(",")
    if len(long) > _MAX_TEXT:
        return long
    return None


def to_line(request: Request, answer: Answer, exchange: AnyExchange, written: set[str]) -> str:
    """Return the line of one request and its answer.

    `written` has the hashes of long texts in the file; new ones are added.
    """
    redactor = Redactor(exchange)
    headers = redactor.answer_headers(answer.headers)
    texts: Texts = {}
    sent = dict(vars(request))
    sent["body"] = _changed(request.body, _by_hash(texts, written))
    if texts:
        sent["texts"] = texts
    pieces = [
        {"s": round(at_s, 3), **_as_text(data)}
        for at_s, data in _masked(answer.pieces, redactor.secrets)
    ]
    received = {
        "status": answer.status,
        "head_s": round(answer.head_s, 3),
        "headers": dict(sorted(headers.items())),
        "body": pieces,
        "ended": answer.ended,
        "end_s": round(answer.end_s, 3),
        "error": redactor.value(answer.error),
    }
    return json.dumps({"request": sent, "answer": received}, ensure_ascii=False)


def from_lines(data: bytes, path: object) -> Contents:
    """Return the requests and answers of a file, and its calls.

    Raises `CassetteError` if the file is truncated, is not a cassette, or has a newer version.
    """
    head, *lines = data.split(b"\n")
    _check_head(head, path)
    if lines:
        lines.pop()  # The text behind the last line break.
    if not data.endswith(b"\n"):
        number = len(lines) + 2
        raise CassetteError(
            f"`{path}`, line {number}: it is cut off. Delete the line, or record the file again."
        )
    found = Contents([], [])
    texts: Texts = {}
    for number, line in enumerate(lines, 2):
        try:
            fields = json.loads(line)
            if "call" in fields:
                found.calls.append(_call_of(fields["call"], texts, number))
            else:
                found.exchanges.append(_exchange_of(fields, texts))
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise CassetteError(
                f"`{path}`, line {number}: it is not a request or a call of a cassette ({type(exc).__name__}: {exc}). "
                "Record the file again."
            ) from exc
    if texts:
        for request, _ in found.exchanges:
            request.body = _with_texts(request.body, texts)
        for call in found.calls:
            call.messages = _with_texts(call.messages, texts)
            call.params = _with_texts(call.params, texts)
    return found


def _call_of(fields: JSON, texts: Texts, line: int) -> Call:
    texts.update(fields.pop("texts", {}))
    return Call(**fields, line=line)


def _with_texts(value: Any, texts: Mapping[str, str]) -> Any:
    """Return JSON in which long texts replace their hashes."""

    def whole(text: str) -> str:
        if "characters, sha256" not in text:
            return text
        return LEFT_OUT.sub(lambda found: texts.get(found[0], found[0]), text)

    return _changed(value, whole, ordered=True)


def _check_head(line: bytes, path: object) -> None:
    try:
        version = json.loads(line).get("version")
    except (ValueError, AttributeError):
        version = None
    if b'"modelwire": "cassette"' not in line or not isinstance(version, int):
        raise CassetteError(
            f"`{path}` is not a cassette of modelwire: its first line is not {HEAD}"
        )
    if version > VERSION:
        raise CassetteError(
            f"`{path}` was recorded by a newer modelwire (version {version} of the format, and this one reads "
            f"{VERSION}). Upgrade modelwire, or record the file again."
        )


def _exchange_of(line: Any, texts: Texts) -> tuple[Request, Answer]:
    sent = line["request"]
    received = line["answer"]
    texts.update(sent.get("texts", {}))
    request = Request(sent["method"], sent["url"], sent["sha256"], sent["headers"], sent["body"])
    ended = received["ended"]
    answer = Answer(
        received["status"],
        dict(received["headers"]),
        float(received["head_s"]),
        [(float(piece["s"]), _as_bytes(piece)) for piece in received["body"]],
        ended,
        float(received["end_s"]),
        received["error"],
    )
    if ended not in ("complete", "left", "failed"):
        raise ValueError(f"`ended` is {ended!r}")
    if ended == "failed" and not isinstance(answer.failure(), ChatError):
        raise ValueError("its error is not one that a call can raise")
    if ended == "complete" and not isinstance(answer.status, int):
        raise ValueError("it has no status")
    return request, answer


def _url(url: str) -> str:
    """Return the URL for comparison: without secrets, and without the port if it is on this machine, because test
    servers get random ports.
    """
    shown = shown_url(url)
    if address_of(url).is_loopback:
        return re.sub(r"(//[^/]*):\d+", r"\1", shown, count=1)
    return shown


def _masked(pieces: list[tuple[float, bytes]], secrets: list[str]) -> Iterable[tuple[float, bytes]]:
    """Return the pieces of a body with each byte of a secret replaced by `*`, even if two pieces share the secret."""
    forms: set[bytes] = set()
    for text in secrets:
        escaped = json.dumps(text)[1:-1]
        forms |= {text.encode(), escaped.encode()}
    if not forms:
        return pieces
    longest_first = sorted(forms, key=len, reverse=True)
    any_form = b"|".join(map(re.escape, longest_first))
    whole = b"".join(data for _, data in pieces)
    rest = BytesIO(re.sub(any_form, lambda found: b"*" * len(found[0]), whole))
    return [(at_s, rest.read(len(data))) for at_s, data in pieces]


def _json_or_text(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return _as_text(content)


def _as_text(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode("ascii")}


def _as_bytes(piece: Mapping[str, str]) -> bytes:
    if "text" in piece:
        return piece["text"].encode()
    return b64decode(piece["base64"], validate=True)


def _changed(value: Any, change: Callable[[str], str], *, ordered: bool = False) -> Any:
    """Return JSON with `change` applied to each text. The keys of objects are sorted unless `ordered`."""
    if isinstance(value, dict):
        names = list(value)
        if not ordered:
            names.sort()
        return {name: _changed(value[name], change, ordered=ordered) for name in names}
    if isinstance(value, list):
        return [_changed(item, change, ordered=ordered) for item in value]
    if isinstance(value, str):
        return change(value)
    return value


def shortened(value: Any) -> Any:
    """Return the hash that replaces a long text; any other value unchanged."""
    if not isinstance(value, str) or len(value) <= _MAX_TEXT:
        return value
    data = value.encode(errors="surrogatepass")
    return f"<{len(value)} characters, sha256 {sha256(data).hexdigest()}>"

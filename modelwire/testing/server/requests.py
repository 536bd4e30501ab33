"""The requests that the server has received, and the counts of their outcomes."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from modelwire import ext
from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument
from modelwire.testing.server.replies import Headers

if TYPE_CHECKING:
    from modelwire.testing.server.prompt_cache import Cached
    from modelwire.transport.connections.address import Address

# The repr of a request masks the values of these headers.
_SECRET_HEADERS = ext.KEY_HEADERS | {"cookie", "proxy-authorization"}


# A request has its conversation in one of these fields, whatever its wire.
_MESSAGE_FIELDS = ("messages", "input", "contents")


class SeenRequest:
    """One request to the server. `headers` have lower-case names and full values; the repr masks secrets."""

    # The status of the answer, once it has begun.
    status: int | None = None
    # The name of the fault that was applied.
    fault: str | None = None
    # Seconds from the last byte of the request to the end of its answer.
    in_flight_s: float | None = None
    # The name of its format in `WIRES`; None if the request is not a chat call.
    wire: str | None = None
    # The tokens read from the prompt cache and written to it; None if the cache was not used.
    prompt_cache: Cached | None = None
    # The embeddings API that it calls; None if the request does not ask for embeddings.
    embeddings: str | None = None
    # The position among all requests to the server, from 1.
    number: int = 0

    def __init__(self, method: str, target: str, headers: Headers, content: bytes) -> None:
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.content = content
        # Seconds since the server's start, on its own clock (`time_scale`).
        self.at_s = 0.0

    @cached_property
    def body(self) -> Any:
        """The content, parsed as JSON; None if it is not JSON."""
        from pydantic_core import from_json

        try:
            return from_json(self.content)
        except ValueError:
            return None

    @property
    def params(self) -> dict[str, str]:
        """The parameters of the query, each with its first value."""
        return {name: values[0] for name, values in parse_qs(self.query).items()}

    @property
    def fields(self) -> JSON:
        """The content if it is a JSON object, else an empty dict."""
        if isinstance(self.body, dict):
            return self.body
        return {}

    @property
    def model(self) -> str:
        if "model" in self.fields:
            return str(self.fields["model"])
        # In Amazon's and Google's APIs the URL contains the model.
        named = re.search(r"/models?/([^/:]+)[/:]", self.path)
        if named:
            return unquote(named[1])
        return ""

    @property
    def stream(self) -> bool:
        if self.fields.get("stream") is True:
            return True
        return self.path.endswith(("-stream", ":streamGenerateContent"))

    @property
    def messages(self) -> list[Any]:
        """The conversation so far, in the wire's own format."""
        fields = self.fields
        for name in _MESSAGE_FIELDS:
            if name in fields:
                turns = fields[name]
                if isinstance(turns, list):
                    return turns
                return [{"role": "user", "content": turns}]
        return []

    @property
    def text(self) -> str:
        """The text of the user's latest message; empty if there is none."""
        for message in reversed(self.messages):
            if isinstance(message, dict) and message.get("role") == "user":
                return _text(message.get("content", message.get("parts")))
        return ""

    @cached_property
    def key_hash(self) -> str:
        """Twelve hex digits that identify the API key; empty without a key."""
        from hashlib import sha256

        for name in sorted(ext.KEY_HEADERS):
            key = self.headers.get(name, "")
            if key:
                return sha256(key.removeprefix("Bearer ").encode("latin-1")).hexdigest()[:12]
        return ""

    def __repr__(self) -> str:
        masked = {
            name: "***" if name in _SECRET_HEADERS else value
            for name, value in self.headers.items()
        }
        return (
            f"SeenRequest({self.number}, {self.method} {self.path}, status={self.status}, fault={self.fault},"
            f" at_s={self.at_s:.3f}, key_hash={self.key_hash!r}, headers={masked}, body={self.body!r:.400})"
        )


def is_of_this_machine(headers: Headers) -> bool:
    """Return whether a request names this machine, and does not come from a web page of another origin.

    A page in the user's browser can reach loopback, too: from another origin, or by a host name
    that resolves to this machine (DNS rebinding).
    """
    origin = headers.get("origin")
    urls = [f"http://{headers.get('host', 'localhost')}"]
    if origin is not None:
        urls.append(origin)
    try:
        return all(map(_is_here, map(ext.address_of, urls)))
    except InvalidArgument:  # `null`, the origin of a page without one, is rejected, too.
        return False


def _is_here(address: Address) -> bool:
    host, _, _ = address.authority.partition(":")
    # RFC 6761, 6.3
    return address.is_loopback or host.endswith(".localhost")


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    text = ""
    if isinstance(content, list):
        for part in content:
            if isinstance(part, dict):
                text += str(part.get("text", ""))
    return text


@dataclass(slots=True)
class Counts:
    """The counts of all requests, including those that `keep` has dropped from `requests`.

    Every request to a chat API counts once in `chat_calls`.
    """

    requests: int = 0  # Requests of any kind.
    connections: int = 0  # Connections that were opened.
    chat_calls: int = 0
    answered: int = 0  # Chat calls with a whole 2xx answer and no fault.
    throttled: int = 0  # Answers with 429, 503 or 529, by the rate limits or by a fault.
    abandoned: int = 0  # The client disconnected before the end of the answer.
    by_status: Counter[int] = field(default_factory=Counter)
    by_fault: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    max_in_flight: int = 0


class Seen:
    """Holds the latest requests and counts all of them. Only the server's own thread calls it."""

    def __init__(self, keep: int | None) -> None:
        self.requests: deque[SeenRequest] = deque(maxlen=keep)
        self.counts = Counts()

    def begin(self, request: SeenRequest, now_s: float) -> None:
        counts = self.counts
        counts.requests += 1
        request.number = counts.requests
        request.at_s = now_s
        self.requests.append(request)
        counts.in_flight += 1
        counts.max_in_flight = max(counts.max_in_flight, counts.in_flight)

    def end(self, request: SeenRequest, now_s: float, *, whole: bool) -> None:
        counts = self.counts
        status = request.status
        counts.in_flight -= 1
        request.in_flight_s = now_s - request.at_s
        if status is not None:
            counts.by_status[status] += 1
        if request.fault is not None:
            counts.by_fault[request.fault] += 1
        if request.wire is None:
            return
        counts.chat_calls += 1
        has_no_fault = request.fault is None
        is_success = status is not None and 200 <= status < 300
        counts.answered += whole and has_no_fault and is_success
        counts.throttled += status in (429, 503, 529)
        counts.abandoned += not whole and has_no_fault

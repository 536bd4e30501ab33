"""The plain values that cross between a codec and the transport. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Reply", "ServerEvent", "WireRequest"]


class ServerEvent(NamedTuple):
    """One server-sent event. `event` is "" where the wire named none; `data` is UTF-8, unchecked."""

    event: str
    data: bytes


@dataclass(slots=True)
class WireRequest:
    """What will be sent: the whole of it, so that it can be shown before it goes."""

    url: str
    headers: Mapping[str, str]  # names as the provider writes them; may hold a secret
    body: Mapping[str, Any]  # the JSON object, not yet bytes
    stream: bool = False
    method: str = "POST"

    def __repr__(self) -> str:
        shown = {name: "**********" if _is_secret(name) else value for name, value in self.headers.items()}
        return f"WireRequest({self.method} {self.url}, headers={shown}, body={dict(self.body)}, stream={self.stream})"


@dataclass(slots=True)
class Reply:
    """A whole answer: headers by lower-case name, body decoded from its content-encoding."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""
    elapsed_s: float = field(default=0.0, compare=False)


SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "proxy-authorization", "cookie", "x-goog-api-key"})


def _is_secret(header: str) -> bool:
    return header.lower() in SECRET_HEADERS

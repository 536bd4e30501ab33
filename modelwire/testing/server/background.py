"""Answers requests with `background`, as OpenAI's Responses API does: clients poll for the result. No I/O.

Wire format: https://platform.openai.com/docs/guides/background, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pydantic_core import from_json

from modelwire.aliases import JSON
from modelwire.testing.server.replies import Headers, Reply, json_reply

if TYPE_CHECKING:
    from modelwire.testing.server.requests import SeenRequest


@dataclass(slots=True)
class _Response:
    whole: JSON
    polls: int  # So many more polls find the answer unfinished.
    events: Sequence[bytes] = field(default=())
    headers: Headers = field(default_factory=dict)


class BackgroundDesk:
    """Stores the answers to requests with `background`, which clients poll or resume as a stream."""

    def __init__(self) -> None:
        self._responses: dict[str, _Response] = {}
        # Clients have cancelled the answers with these ids.
        self.cancelled: list[str] = []

    def begin(self, whole: JSON, reply: Reply, polls: int) -> Reply:
        """Store an answer; return the reply to the request: the stream, or a queued response."""
        response = _Response(whole, polls)
        self._responses[str(whole["id"])] = response
        if not reply.is_stream:
            return json_reply(200, _unfinished(whole, "queued"))
        response.events = reply.parts
        response.headers = dict(reply.headers)
        return reply

    def finish(self, id: str) -> None:
        """Make the answer finished from the next poll on."""
        self._responses[id].polls = 0

    def handle(self, request: SeenRequest, path: str) -> Reply | None:
        """Answer a poll, a resumed stream, or a cancellation; return None for any other request."""
        _, place, rest = path.rpartition("/responses/")
        id, _, action = unquote(rest).partition("/")
        response = self._responses.get(id)
        if not place or response is None:
            return None
        if request.method == "POST" and action == "cancel":
            self.cancelled.append(id)
            response.polls = 0
            response.whole = _unfinished(response.whole, "cancelled")
            return json_reply(200, response.whole)
        if request.method != "GET" or action:
            return None
        if request.params.get("stream") == "true":
            after = int(request.params.get("starting_after", "-1"))
            events = [event for event in response.events if _number(event) > after]
            return Reply(200, response.headers, events, True)
        if response.polls > 0:
            response.polls -= 1
            return json_reply(200, _unfinished(response.whole, "in_progress"))
        return json_reply(200, response.whole)


def _unfinished(whole: JSON, status: str) -> JSON:
    unknown = dict.fromkeys(("usage", "incomplete_details", "completed_at"))
    return {**whole, **unknown, "status": status, "output": []}


def _number(event: bytes) -> int:
    data = event.partition(b"data: ")[2].strip()
    number = from_json(data).get("sequence_number", 0)
    return int(number)

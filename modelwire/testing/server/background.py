"""Answers in the background, as in OpenAI's Responses API. No I/O.

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

_PLACE = "/responses/"


@dataclass(slots=True)
class _Response:
    whole: JSON
    polls: int  # This many further polls find the answer unfinished.
    events: Sequence[bytes] = field(default=())
    headers: Headers = field(default_factory=dict)


class BackgroundDesk:
    """Stores the answers to requests with `background`, which clients poll or resume as a stream."""

    def __init__(self) -> None:
        self._responses: dict[str, _Response] = {}
        # These are the ids of the answers that clients have cancelled.
        self.cancelled: list[str] = []

    def begin(self, whole: JSON, reply: Reply, polls: int) -> Reply:
        """Store an answer; return the reply to the request: the stream, or a queued response."""
        events: Sequence[bytes] = ()
        if reply.is_stream:
            events = reply.parts
        response = _Response(whole, polls, events, dict(reply.headers))
        self._responses[str(whole["id"])] = response
        if reply.is_stream:
            return reply
        return json_reply(200, _unfinished(whole, "queued"))

    def finish(self, id: str) -> None:
        """Finish an answer at its next poll."""
        self._responses[id].polls = 0

    def handle(self, request: SeenRequest, path: str) -> Reply | None:
        """Answer a poll, a resumed stream, or a cancellation; None for any other request."""
        id, _, action = unquote(path.rpartition(_PLACE)[2]).partition("/")
        response = None
        if _PLACE in path:
            response = self._responses.get(id)
        if response is None:
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

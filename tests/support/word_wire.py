"""A wire of words, for tests of the transport that need no provider."""

from modelwire.errors import ChatError, IncompleteStream, MalformedResponse
from modelwire.transport.classify import provider_error
from modelwire.transport.wire import Reply, ServerEvent


class WordWire:
    """A wire whose answers are words; a stream ends with `END`, an event `BAD` is unreadable."""

    provider = "words"

    def decode(self, reply: Reply) -> str:
        if not reply.body:
            raise MalformedResponse("empty answer")
        return reply.body.decode()

    def error(self, reply: Reply) -> ChatError:
        return provider_error(
            reply.body.decode() or "no words", provider=self.provider, status=reply.status
        )

    def stream_decoder(self, headers: object = None) -> "WordDecoder":
        return WordDecoder()


class WordDecoder:
    request_id = "req_words"

    def __init__(self) -> None:
        self.ended = False

    def feed(self, event: ServerEvent) -> list[str]:
        if event.data == b"BAD":
            raise MalformedResponse("unreadable event")
        if event.event == "error":
            raise provider_error("busy", provider="words", status=200, type=event.data.decode())
        if event.data == b"END":
            self.ended = True
            return []
        return [event.data.decode()]

    def close(self) -> list[str]:
        if not self.ended:
            raise IncompleteStream("no END")
        return ["."]


def sse(*words: str, event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    return "".join(f"{head}data: {word}\n\n" for word in words).encode()

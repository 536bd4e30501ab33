"""A loopback server that takes traces as the tools do: OTLP over HTTP, and the runs of LangSmith's client.

It is strict: another path, a missing header, another content type, or a body that is not what the format says gets an
error, as the tool's own server gives one, and is not kept.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

__all__ = ["Ingest", "ReceivedSpan", "receiving", "tree"]

# LangSmith's client asks once what the server takes. Source: `BatchIngestConfig` in `schemas.py` of langsmith 0.15.1.
LANGSMITH_INFO = {
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
    }
}


class ReceivedSpan(NamedTuple):
    """A span as the server has read it; ids are in hexadecimal, `parent` is empty for a root."""

    id: str
    parent: str
    name: str
    attributes: dict[str, Any]


@dataclass
class Ingest:
    """What a tool takes, and what it has received."""

    path: str
    headers: Mapping[str, str]
    address: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    # The runs of LangSmith's client by their ids: what later parts say is added to what earlier ones said.
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def problem(self, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return the status and the reason with which a request is refused."""
        if path != self.path:
            return 404, f"there is no {path}"
        for name, value in self.headers.items():
            if headers.get(name) != value:
                return 401, f"the header {name} is {headers.get(name)!r}"
        return None

    def take(self, content_type: str, body: bytes) -> bytes:
        """Keep what a body says and return the answer. Raises: `ValueError` if it is not in the format."""
        if content_type.startswith("multipart/form-data"):
            self._take_parts(content_type, body)
            return b"{}"
        if content_type != "application/x-protobuf":
            raise ValueError(f"the content type is {content_type}")
        return self._take_spans(body)

    def _take_spans(self, body: bytes) -> bytes:
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
            ExportTraceServiceResponse,
        )

        try:
            request = ExportTraceServiceRequest.FromString(body)
        except DecodeError as exc:
            raise ValueError("the body is not an ExportTraceServiceRequest") from exc
        for resource in request.resource_spans:
            names = {one.key for one in resource.resource.attributes}
            if "service.name" not in names:
                raise ValueError("the resource has no service.name")
            for scope in resource.scope_spans:
                self.spans += [_read_span(span) for span in scope.spans]
        answer: bytes = ExportTraceServiceResponse().SerializeToString()
        return answer

    def _take_parts(self, content_type: str, body: bytes) -> None:
        """Read the parts `post.ID`, `patch.ID` and `post.ID.inputs` of LangSmith's multipart format."""
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        for part in message_from_bytes(head + body).get_payload():
            name = str(part.get_param("name", header="content-disposition"))
            operation, run_id, *rest = name.split(".")
            if operation not in ("post", "patch") or len(rest) > 1:
                raise ValueError(f"there is a part {name}")
            value = json.loads(part.get_payload(decode=True))
            run = self.runs.setdefault(run_id, {})
            run.update({rest[0]: value} if rest else value)


def _read_span(span: Any) -> ReceivedSpan:
    if len(span.trace_id) != 16 or len(span.span_id) != 8 or len(span.parent_span_id) not in (0, 8):
        raise ValueError("an id of a span has another length")
    if not span.name or not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
        raise ValueError(f"the span {span.name!r} has no name or ends before it starts")
    attributes = {one.key: _plain(one.value) for one in span.attributes}
    return ReceivedSpan(span.span_id.hex(), span.parent_span_id.hex(), span.name, attributes)


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def receiving(path: str, headers: Mapping[str, str]) -> Iterator[Ingest]:
    """Serve an ingest until the block ends."""
    ingest = Ingest(path, headers)

    class Receive(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_info = self.path == "/info"
            self._answer(200 if is_info else 404, json.dumps(LANGSMITH_INFO).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            sent = {name.lower(): value for name, value in self.headers.items()}
            problem = ingest.problem(self.path, sent)
            answer = b""
            if problem is None:
                try:
                    answer = ingest.take(sent.get("content-type", ""), body)
                except ValueError as error:
                    problem = 400, str(error)
            if problem is None:
                self._answer(200, answer)
                return
            ingest.refused.append(problem[1])
            self._answer(problem[0], problem[1].encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *about: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ingest.address = f"http://127.0.0.1:{server.server_port}"
        yield ingest
        server.shutdown()


def tree(spans: list[ReceivedSpan]) -> str:
    """Return the spans as a tree of lines, children below their parents, with the attributes of each."""
    ids = {span.id for span in spans}
    orphans = [span.name for span in spans if span.parent and span.parent not in ids]
    if orphans:
        raise ValueError(f"the parents of {orphans} are missing")
    roots = [span for span in spans if not span.parent]
    return "".join(f"{line}\n" for root in roots for line in _lines(root, spans, "", ""))


def _lines(
    span: ReceivedSpan, spans: list[ReceivedSpan], branch: str, indent: str
) -> Iterator[str]:
    children = [one for one in spans if one.parent == span.id]
    yield branch + span.name
    for name, value in sorted(span.attributes.items()):
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        yield f"{indent}  {name}: {shown}"
    for child in children:
        is_last = child is children[-1]
        own = indent + ("└─ " if is_last else "├─ ")
        yield from _lines(child, spans, own, indent + ("   " if is_last else "│  "))

"""The codec of Gemini: `POST {base_url}/v1beta/models/MODEL:generateContent`. No I/O here.

Vertex AI says the same at another address. Wire format: https://ai.google.dev/api/generate-content and
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference, read 2026-11.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.adapters.wires.dropped_content import foreign_work
from modelwire.adapters.wires.gemini.messages import OWN, contents_from_messages
from modelwire.adapters.wires.gemini.parameters import body_of_params
from modelwire.adapters.wires.gemini.response import read_answer
from modelwire.adapters.wires.gemini.stream import GenerateFraming, GenerateStreamDecoder
from modelwire.adapters.wires.json import dict_or_empty, dicts_in, error_as, error_from_reply
from modelwire.adapters.wires.wire import path_segment
from modelwire.aliases import JSON, Fields, HeaderFields
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    ContextTooLong,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    and_said,
)
from modelwire.transport.wire import WireRequest

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall
    from modelwire.errors import ChatError
    from modelwire.messages import AIMessage
    from modelwire.transport.wire import Reply

VERTEX = "google_vertexai"
# Only the words tell this 400 from others (recorded 2026-11).
_TOO_LONG = "input token count"
# What leads on, by the class of an error and whether it is Vertex AI's.
_ADVICE = {
    (NotFound, False): "What there is: https://ai.google.dev/gemini-api/docs/models.",
    (
        NotFound,
        True,
    ): "What there is: https://cloud.google.com/vertex-ai/generative-ai/docs/models and "
    ".../learn/locations.",
    (
        PermissionDenied,
        True,
    ): "`gcloud projects list` names the projects there are; the API and the role it takes: "
    "https://cloud.google.com/vertex-ai/generative-ai/docs/start/gcp-auth.",
}


class GenerateContentCodec(NamedTuple):
    """How Gemini says a chat call, at the Gemini API and on Vertex AI."""

    provider: str = "google_genai"
    wire: str = "gemini"  # its name in the registry
    framing: type[GenerateFraming] = GenerateFraming
    # It reserves nothing: its limits of tokens are of the input. https://ai.google.dev/gemini-api/docs/rate-limits

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. Raises `InvalidArgument` for what the Gemini API has no form for."""
        model = str(call.model)
        system, contents = contents_from_messages(call.messages, model)
        body: JSON = {"contents": contents}
        if system:
            body["systemInstruction"] = {"parts": system}
        if call.params:
            body |= body_of_params(call.params, model)
        if "cachedContent" in body and (twice := [f"`{name}`" for name in _CACHED if name in body]):
            raise InvalidArgument(
                f"`cached_content` holds {', '.join(twice)} already: a call with it takes no system message, tools or "
                "tool choice. Put them into the cache."
            )
        headers = {
            "content-type": "application/json",
            **call.endpoint.headers,
            **call.extra_headers,
        }
        method = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        url = method_url(call.endpoint.base_url, model, method, vertex=self.provider == VERTEX)
        request = WireRequest(url, headers, body | dict(call.extra_body), stream=call.stream)
        request.left_out = foreign_work(call.messages, OWN)
        return request

    def decode(self, reply: Reply) -> AIMessage:
        """Read a whole answer. Raises `MalformedResponse`, or the error that hides under the 200."""
        return read_answer(reply, self.provider)

    def stream_decoder(self, headers: HeaderFields | None = None) -> GenerateStreamDecoder:
        """Make the decoder of one streamed answer."""
        return GenerateStreamDecoder(provider=self.provider)

    def continued(self, body: Fields, answer: AIMessage) -> JSON | None:
        """Return the body that continues a `CONTINUATION` (google-genai 3.4, `prepare_continuation_config`)."""
        token = answer.response_metadata.get("continuation_token")
        if token:
            return {**body, "continuationToken": token}
        return None

    def error(self, reply: Reply) -> ChatError:
        """Read an error answer of whatever shape; never raises."""
        error = error_from_reply(reply, self.provider)
        details = _details(error.body)
        words = error.message.lower()
        if (delay := _seconds(details.get("RetryInfo", {}).get("retryDelay"))) is not None:
            error.retry_after = delay
        if (
            type(error) is BadRequest
            and details.get("ErrorInfo", {}).get("reason") == "API_KEY_INVALID"
        ):
            return error_as(AuthenticationError, error)
        if type(error) is BadRequest and _TOO_LONG in words and "exceeds" in words:
            return error_as(ContextTooLong, error)
        if type(error) is RateLimited and "PerDay" in str(
            details.get("QuotaFailure")
        ):  # the `quotaId` of a violation
            return error_as(QuotaExhausted, error)
        advice = _ADVICE.get((type(error), self.provider == VERTEX))
        error.message = error.message if advice is None else and_said(error.message, advice)
        return error


_CACHED = ("systemInstruction", "tools", "toolConfig")


def _details(body: Any) -> dict[str, JSON]:
    """Return the details of a `google.rpc.Status` by the last word of their type."""
    if isinstance(body, list) and body:
        body = body[0]
    details = dicts_in(dict_or_empty(dict_or_empty(body).get("error")).get("details"))
    return {str(it.get("@type")).rpartition(".")[2]: it for it in details}


def _seconds(duration: Any) -> float | None:
    """Read `"34.4s"`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", duration) if isinstance(duration, str) else None
    return float(found[1]) if found else None


@lru_cache(maxsize=256)
def method_url(base_url: str, model: str, method: str, *, vertex: bool) -> str:
    """Return the address of a method of the model. A base URL without a version gets the one that has all features."""
    base, _, query = base_url.partition("?")
    if not re.search(r"/v\d\w*(/|$)", base):
        base += "/v1beta1" if vertex else "/v1beta"
    if vertex:
        model = model.removeprefix("models/")
    if (_VERTEX_RESOURCE if vertex else _RESOURCE).fullmatch(model):
        resource = "/".join(map(path_segment, model.split("/")))
    else:  # a name, and one segment, whatever is in it
        resource = f"{'publishers/google/' if vertex else ''}models/{path_segment(model)}"
    if resource.startswith("projects/"):
        base = base.partition("/projects/")[0]
    mark = "&" if "?" in method else "?"
    return f"{base}/{resource}:{method}{mark + query if query else ''}"


# The other names that the services have for what answers, https://ai.google.dev/api/tuning and
# https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/generateContent, read 2026-11.
_RESOURCE = re.compile(r"(models|tunedModels)/[^/]+")
_VERTEX_RESOURCE = re.compile(
    r"(projects/[^/]+/locations/[^/]+/)?(endpoints/[^/]+|publishers/[^/]+/models/[^/]+)"
)

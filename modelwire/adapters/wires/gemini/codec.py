"""The codec of Gemini: `POST {base_url}/v1beta/models/MODEL:generateContent`. No I/O here.

Vertex AI has the same API at another address. Wire format: https://ai.google.dev/api/generate-content and
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
# This text distinguishes a too long prompt from other errors with status 400 (recorded 2026-11).
_TOO_LONG = "input token count"
# The sentence that is added to an error, by its class and whether Vertex AI sent it.
_ADVICE = {
    (NotFound, False): "The models: https://ai.google.dev/gemini-api/docs/models.",
    (NotFound, True): "The models and their locations: "
    "https://cloud.google.com/vertex-ai/generative-ai/docs/models and .../learn/locations.",
    (
        PermissionDenied,
        True,
    ): "`gcloud projects list` lists your projects. The API to enable and the role you need: "
    "https://cloud.google.com/vertex-ai/generative-ai/docs/start/gcp-auth.",
}


class GenerateContentCodec(NamedTuple):
    """The codec of Gemini, on the Gemini API and on Vertex AI."""

    provider: str = "google_genai"
    # The name of the wire in the registry.
    wire: str = "gemini"
    framing: type[GenerateFraming] = GenerateFraming
    # There is no `reserves`: only input tokens count against the rate limit.
    # https://ai.google.dev/gemini-api/docs/rate-limits

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. Raises `InvalidArgument` for content that the API does not accept."""
        model = str(call.model)
        system, contents = contents_from_messages(call.messages, model)
        body: JSON = {"contents": contents}
        if system:
            body["systemInstruction"] = {"parts": system}
        if call.params:
            body |= body_of_params(call.params, model)
        if "cachedContent" in body and (twice := [f"`{name}`" for name in _CACHED if name in body]):
            raise InvalidArgument(
                f"`cached_content` holds {', '.join(twice)} already: a call with it cannot have a system message, "
                "tools or a tool choice. Put them into the cached content."
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
        """Return the message of an unstreamed answer. Raises `MalformedResponse`, or the error that the body has."""
        return read_answer(reply, self.provider)

    def stream_decoder(self, headers: HeaderFields | None = None) -> GenerateStreamDecoder:
        """Return the decoder for one streamed answer. The headers have nothing that it needs."""
        return GenerateStreamDecoder(provider=self.provider)

    def continued(self, body: Fields, answer: AIMessage) -> JSON | None:
        """Return the body that continues an answer with a continuation token; None without one.

        Source: google-genai 3.4, `prepare_continuation_config`.
        """
        token = answer.response_metadata.get("continuation_token")
        if token:
            return {**body, "continuationToken": token}
        return None

    def error(self, reply: Reply) -> ChatError:
        """Return the error of a response with a status >= 300 and any body; never raises."""
        error = error_from_reply(reply, self.provider)
        details = _details(error.body)
        words = error.message.lower()
        if (delay := _seconds(details.get("RetryInfo", {}).get("retryDelay"))) is not None:
            error.retry_after = delay
        if type(error) is BadRequest:
            if details.get("ErrorInfo", {}).get("reason") == "API_KEY_INVALID":
                return error_as(AuthenticationError, error)
            if _TOO_LONG in words and "exceeds" in words:
                return error_as(ContextTooLong, error)
        # The `quotaId` of a violation tells whether it is a limit per day.
        if type(error) is RateLimited and "PerDay" in str(details.get("QuotaFailure")):
            return error_as(QuotaExhausted, error)
        advice = _ADVICE.get((type(error), self.provider == VERTEX))
        if advice is not None:
            error.message = and_said(error.message, advice)
        return error


# The fields of a request that cached content replaces.
_CACHED = ("systemInstruction", "tools", "toolConfig")


def _details(body: Any) -> dict[str, JSON]:
    """Return the details of a `google.rpc.Status` by the last part of their type's name, such as "RetryInfo"."""
    if isinstance(body, list) and body:
        body = body[0]
    details = dicts_in(dict_or_empty(dict_or_empty(body).get("error")).get("details"))
    return {str(it.get("@type")).rpartition(".")[2]: it for it in details}


def _seconds(duration: Any) -> float | None:
    """Return the seconds of a duration such as "34.4s"; None for any other value."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", duration) if isinstance(duration, str) else None
    return float(found[1]) if found else None


@lru_cache(maxsize=256)
def method_url(base_url: str, model: str, method: str, *, vertex: bool) -> str:
    """Return the URL of a method of the model. A base URL without a version gets the beta version."""
    base, _, query = base_url.partition("?")
    if not re.search(r"/v\d\w*(/|$)", base):
        base += "/v1beta1" if vertex else "/v1beta"
    if vertex:
        model = model.removeprefix("models/")
    if (_VERTEX_RESOURCE if vertex else _RESOURCE).fullmatch(model):
        resource = "/".join(map(path_segment, model.split("/")))
    else:  # A plain name is one segment of the URL, even if it contains a slash.
        resource = f"{'publishers/google/' if vertex else ''}models/{path_segment(model)}"
    if resource.startswith("projects/"):
        base = base.partition("/projects/")[0]
    mark = "&" if "?" in method else "?"
    return f"{base}/{resource}:{method}{mark + query if query else ''}"


# The names of models that contain their collection: https://ai.google.dev/api/tuning and
# https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/generateContent, read 2026-11.
_RESOURCE = re.compile(r"(models|tunedModels)/[^/]+")
_VERTEX_RESOURCE = re.compile(
    r"(projects/[^/]+/locations/[^/]+/)?(endpoints/[^/]+|publishers/[^/]+/models/[^/]+)"
)

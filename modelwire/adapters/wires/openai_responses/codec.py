"""Encodes and decodes calls of OpenAI's Responses API, `POST {base_url}/responses`. No I/O here.

Wire format: https://platform.openai.com/docs/api-reference/responses, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from modelwire.adapters.wires.dropped_content import foreign_work
from modelwire.adapters.wires.json import error_from_reply, no_answer, read_reply, request_id_of
from modelwire.adapters.wires.openai_chat.codec import request_for
from modelwire.adapters.wires.openai_chat.response import error_within
from modelwire.adapters.wires.openai_chat.tools import tool_params
from modelwire.adapters.wires.openai_responses.messages import History, items_from_messages
from modelwire.adapters.wires.openai_responses.response import failure, message_from_response
from modelwire.aliases import JSON, Fields, HeaderFields
from modelwire.errors import InvalidArgument
from modelwire.messages.block_translators.standard import type_of, without

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall, StreamDecoder
    from modelwire.errors import ProviderError
    from modelwire.messages import AIMessage, BaseMessage
    from modelwire.transport.wire import Reply, WireRequest

# The beginnings of the names of models that can return their reasoning encrypted. The program then sends it back in
# later calls, if the provider does not store it.
# https://platform.openai.com/docs/guides/reasoning#encrypted-reasoning-items, read 2026-11.
_REASONING_MODELS = ("o1", "o3", "o4", "gpt-5", "gpt-6", "codex-")
_ENCRYPTED_REASONING = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"


class ResponsesCodec(NamedTuple):
    """The codec of OpenAI's Responses API, and of services that have it."""

    provider: str = "openai"
    # The name of the wire in the registry.
    wire: str = "responses"
    # The fields that the provider counts against the rate limit before it answers.
    reserves: tuple[str, ...] = ("max_output_tokens",)

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call.

        With `use_previous_response_id` the request has only the messages after the latest answer of this API, and that
        answer's id. Raises `InvalidArgument` for content that the API does not accept.
        """
        if not call.messages:
            raise InvalidArgument("`messages` is empty: a chat call needs at least one message.")
        params = dict(call.params)
        since = 0
        if params.pop("use_previous_response_id", False) and "previous_response_id" not in params:
            since, answered = _latest_answer(call.messages)
            params |= {"previous_response_id": answered} if answered else {}
        fields = _params(params, call.model)
        custom = {
            tool.get("name") for tool in fields.get("tools") or () if tool.get("type") == "custom"
        }
        history = History(
            self.provider, fields.get("store") is not False, frozenset(filter(None, custom))
        )
        body: JSON = {
            "input": items_from_messages(call.messages, history, since=since),
            "model": call.model,
            **fields,
        }
        # As on Chat Completions, except that the usage of a stream need not be requested.
        options = body.pop("stream_options", None)
        if isinstance(options, Mapping):
            options = without(options, "include_usage")
        if call.stream:
            body |= {"stream": True, "stream_options": options} if options else {"stream": True}
        # The base URL of Azure's dated API ends with a deployment; this API has it in the body. Read 2026-11.
        request = request_for(call, "/responses", body, cut_at="/deployments/")
        request.left_out = foreign_work(
            call.messages[since:], (None, self.provider), only_words=True
        )
        return request

    def decode(self, reply: Reply) -> AIMessage:
        """Return the message of an unstreamed answer.

        A background answer that is not finished is a message without content, whose metadata have the `status`.
        Raises `MalformedResponse` for another body, or the error that the answer contains.
        """
        response = read_reply(reply, self.provider)
        is_answer = isinstance(response, dict) and (
            isinstance(response.get("output"), list) or isinstance(response.get("status"), str)
        )
        if error_within(response) or (is_answer and response.get("status") == "failed"):
            raise failure(
                response, provider=self.provider, headers=reply.headers, status=reply.status
            )
        if not is_answer:
            raise no_answer(reply, self.provider, "has no `output`")
        return message_from_response(
            response, provider=self.provider, request_id=request_id_of(reply.headers)
        )

    def stream_decoder(self, headers: HeaderFields | None = None) -> StreamDecoder:
        """Return the decoder for one streamed answer; `headers` are the response's."""
        from modelwire.adapters.wires.openai_responses.stream import ResponsesDecoder

        return ResponsesDecoder(self.provider, request_id_of(headers or {}))

    def answer_url(self, url: str, id: str, action: str = "") -> str:
        """Return the address of the background answer with this id; `url` is the call's, `action` is appended.

        Source: https://platform.openai.com/docs/api-reference/responses/get, read 2026-11.
        """
        path, mark, query = url.partition("?")
        return f"{path}/{quote(id, safe='')}{action}{mark}{query}"

    def error(self, reply: Reply) -> ProviderError:
        """Return the error of a response with a status >= 300 and any body; never raises."""
        return error_from_reply(reply, self.provider)


def _latest_answer(messages: Sequence[BaseMessage]) -> tuple[int, str | None]:
    """Return the index after the latest answer of this API, and the answer's id; (0, None) if there is no answer."""
    for after in range(len(messages), 0, -1):
        message = messages[after - 1]
        if message.type not in ("ai", "AIMessageChunk"):
            continue
        metadata = message.response_metadata
        id_ = metadata.get("id")
        is_own = str(id_).startswith("resp_") or metadata.get("object") == "response"
        if is_own and isinstance(id_, str):
            return after, id_
    return 0, None


def _params(params: JSON, model: str) -> JSON:
    """Return the parameters under this wire's names. A parameter that the caller set under that name wins."""
    fields = dict(params)
    if fields.pop("n", 1) != 1:
        raise InvalidArgument("The Responses API gives one answer a call: remove `n`.")
    for name in ("max_completion_tokens", "max_tokens"):
        if name in fields:
            max_tokens = fields.pop(name)
            fields.setdefault("max_output_tokens", max_tokens)
    if "reasoning_effort" in fields:
        effort = fields.pop("reasoning_effort")
        fields["reasoning"] = {"effort": effort, **(fields.get("reasoning") or {})}
    text = dict(fields.get("text") or {})
    if "verbosity" in fields:
        text.setdefault("verbosity", fields.pop("verbosity"))
    if "response_format" in fields:
        form = fields.pop("response_format")
        text["format"] = _flat(form, "json_schema") if isinstance(form, Mapping) else form
    if text:
        fields["text"] = text
    if "tools" in fields or "tool_choice" in fields:
        fields |= _tools(fields)
    return _included(fields, model)


def _included(fields: JSON, model: str) -> JSON:
    """Return the parameters with `include`, which requests log probabilities, and reasoning that is not stored."""
    wanted = [_LOGPROBS] if fields.pop("logprobs", False) else []
    is_reasoning_model = model.startswith(_REASONING_MODELS) and "-chat" not in model
    reasons = is_reasoning_model or "reasoning" in fields
    if reasons and fields.get("store") is False:
        wanted.append(_ENCRYPTED_REASONING)
    if wanted:
        included = fields.get("include") or ()
        fields["include"] = list(dict.fromkeys((*included, *wanted)))
    return fields


def _tools(params: JSON) -> JSON:
    """Return the tools and the tool choice, which may have the form of any wire, in the form of this wire."""
    chat = tool_params(params)
    if "tools" in chat:
        chat["tools"] = [_tool(tool) for tool in chat["tools"]]
    if isinstance(choice := chat.get("tool_choice"), Mapping):
        choice = _flat(choice, type_of(choice))
        if isinstance(choice.get("tools"), list):  # `allowed_tools`
            choice["tools"] = [_flat(tool, type_of(tool)) for tool in choice["tools"]]
        chat["tool_choice"] = choice
    return chat


def _tool(tool: Fields) -> JSON:
    flat = _flat(tool, tool["type"])
    if tool["type"] == "function":
        # Without `strict` this API uses strict mode, which has no optional arguments; Chat Completions does not.
        # https://platform.openai.com/docs/guides/migrate-to-responses, read 2026-11.
        flat.setdefault("strict", False)
        flat.setdefault("parameters", {"type": "object", "properties": {}})
    elif tool["type"] == "custom" and isinstance(flat.get("format"), Mapping):
        flat["format"] = _flat(flat["format"], "grammar")
    return flat


def _flat(value: Fields, inner: str) -> JSON:
    """Return a copy of `value` in which the fields of the dict under the key `inner` replace that dict."""
    if not isinstance(value.get(inner), Mapping):
        return dict(value)
    return {**without(value, inner), **value[inner]}

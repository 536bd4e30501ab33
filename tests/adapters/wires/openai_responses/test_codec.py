"""Parameters, messages and answers of the Responses API, where the SDK is no oracle."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from modelwire.adapters import ChatOpenAI
from modelwire.adapters.wires.openai_chat.messages import OPENAI, turns_from_messages
from modelwire.adapters.wires.openai_responses.codec import ResponsesCodec
from modelwire.adapters.wires.openai_responses.messages import History, items_from_messages
from modelwire.adapters.wires.wire import ChatCall, Endpoint
from modelwire.errors import (
    InvalidArgument,
    InvalidType,
    MalformedResponse,
    ParameterWarning,
    RateLimited,
    ServerError,
)
from modelwire.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from modelwire.transport.wire import Reply

CODEC = ResponsesCodec()
HI = HumanMessage("hi")


def encode(messages: list[Any], *, url: str = "https://x/v1", **params: Any) -> Any:
    return CODEC.encode(
        ChatCall(messages=messages, model="gpt-5", endpoint=Endpoint(url), params=params)
    )


def decode(output: Any, **more: Any) -> AIMessage:
    body = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "m",
        "output": output,
        **more,
    }
    return CODEC.decode(Reply(200, {}, json.dumps(body).encode()))


# ---------------------------------------------------------------- parameters


def test_stream_options_go_with_streams_and_without_what_only_chat_completions_has() -> None:
    def said(stream: bool, **options: bool) -> Any:
        params = {"stream_options": options}
        call = ChatCall(
            messages=[HI], model="m", endpoint=Endpoint("https://x"), params=params, stream=stream
        )
        return CODEC.encode(call).body.get("stream_options")

    assert said(True, include_usage=True, include_obfuscation=False) == {
        "include_obfuscation": False
    }
    assert said(True, include_usage=True) is None
    assert said(False, include_obfuscation=False) is None


@pytest.mark.parametrize(
    "params",
    [{"stop": ["a"]}, {"seed": 1}, {"logit_bias": {"1": 1}}, {"modalities": ["audio"]}],
)
def test_a_parameter_this_wire_has_no_words_for_is_left_out(params: dict[str, Any]) -> None:
    (name,) = params
    model = ChatOpenAI(model="m", api_key="k", use_responses_api=True)
    with pytest.warns(ParameterWarning, match=f"`{name}` is left out"):
        assert model.build_request("hi", **params).body == model.build_request("hi").body


def test_more_than_one_answer_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="`n`"):
        encode([HI], n=2)


@pytest.mark.parametrize(
    ("model", "store", "asked"),
    [
        ("gpt-5", False, True),
        ("gpt-5", True, False),
        ("gpt-5-chat-latest", False, False),
        ("gpt-4o", False, False),
    ],
)
def test_encrypted_reasoning_is_asked_for_where_nobody_else_keeps_it(
    model: str, store: bool, asked: bool
) -> None:
    call = ChatCall(
        messages=[HI], model=model, endpoint=Endpoint("https://x"), params={"store": store}
    )
    assert ("reasoning.encrypted_content" in CODEC.encode(call).body.get("include", [])) is asked


def test_extra_body_and_headers_win() -> None:
    call = ChatCall(
        [HI],
        "m",
        Endpoint("https://x/v1?a=b", {"Authorization": "1"}),
        {"temperature": 1},
        stream=True,
        extra_body={"temperature": 0},
        extra_headers={"authorization": "2"},
    )
    request = CODEC.encode(call)
    assert (request.url, request.body["temperature"], request.body["stream"]) == (
        "https://x/v1/responses?a=b",
        0,
        True,
    )
    assert {name.lower(): value for name, value in request.headers.items()}["authorization"] == "2"


def test_the_dated_api_of_azure_has_one_address_for_all_deployments() -> None:
    url = "https://me.openai.azure.com/openai/deployments/gpt-4o?api-version=2025-03-01-preview"
    assert (
        encode([HI], url=url).url
        == "https://me.openai.azure.com/openai/responses?api-version=2025-03-01-preview"
    )


def answer(id_: str, **metadata: Any) -> AIMessage:
    return AIMessage("so", response_metadata={"id": id_, **metadata})


def test_only_what_came_after_the_latest_answer_of_this_api_is_sent() -> None:
    calls = AIMessage(
        [{"type": "custom_tool_call", "call_id": "c1", "name": "run", "input": "1"}],
        tool_calls=[{"name": "run", "args": {"__arg1": "1"}, "id": "c1"}],
        response_metadata={"id": "0b-1", "object": "response"},
    )
    body = encode(
        [HI, answer("resp_0"), calls, ToolMessage("1", tool_call_id="c1")],
        use_previous_response_id=True,
    ).body
    assert body["previous_response_id"] == "0b-1"
    assert body["input"] == [{"type": "custom_tool_call_output", "call_id": "c1", "output": "1"}]
    assert "use_previous_response_id" not in body


def test_all_is_sent_where_no_answer_was_of_this_api() -> None:
    body = encode([HI, answer("chatcmpl-1"), HI], use_previous_response_id=True).body
    assert "previous_response_id" not in body
    assert len(body["input"]) == 3


# ---------------------------------------------------------------- messages

UNSAYABLE: dict[str, tuple[Any, type[Exception], str]] = {
    "no messages": ([], InvalidArgument, "empty"),
    "a block of no kind": ([HumanMessage([{"kind": "x"}])], InvalidArgument, "Message 0"),
    "a video": (
        [HI, HumanMessage([{"type": "video", "url": "https://x"}])],
        InvalidArgument,
        "Message 1.*`video`",
    ),
    "an image without data": ([HumanMessage([{"type": "image"}])], InvalidArgument, "Message 0"),
    "a function message": ([FunctionMessage("1", name="f")], InvalidArgument, "ToolMessage"),
    "a role": ([ChatMessage("x", role="critic")], InvalidArgument, "`critic`"),
    "an edit": ([RemoveMessage(id="1")], InvalidArgument, "RemoveMessage"),
    "a screenshot without one": (
        [ToolMessage(["x"], tool_call_id="c", additional_kwargs={"type": "computer_call_output"})],
        InvalidArgument,
        "screenshot",
    ),
}


@pytest.mark.parametrize("case", UNSAYABLE)
def test_what_the_responses_api_cannot_say_is_named(case: str) -> None:
    messages, cls, words = UNSAYABLE[case]
    with pytest.raises(cls, match=words):
        encode(messages)


def test_a_foreign_object_is_no_message() -> None:
    class Odd:
        type = "odd"
        content = "x"
        additional_kwargs: dict[str, Any] = {}

    with pytest.raises(InvalidType, match="Odd"):
        encode([Odd()])


FUNCTION_CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "f",
    "arguments": '{"a": 1}',
}


def test_arguments_a_program_has_changed_are_the_ones_sent() -> None:
    message = AIMessage([FUNCTION_CALL], tool_calls=[{"name": "f", "args": {"a": 2}, "id": "c1"}])
    (item,) = items_from_messages([message], History())
    assert item == {**FUNCTION_CALL, "arguments": '{"a":2}'}
    unchanged = AIMessage([FUNCTION_CALL], tool_calls=[{"name": "f", "args": {"a": 1}, "id": "c1"}])
    assert items_from_messages([unchanged], History()) == [FUNCTION_CALL]


def test_reasoning_that_nobody_has_kept_is_left_out() -> None:
    kept = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    lost = {"type": "reasoning", "id": "rs_2", "summary": []}
    message = AIMessage([kept, lost])
    assert items_from_messages([message], History(stored=False))[:2] == [kept]
    assert items_from_messages([message], History()) == [kept, lost]


def test_what_came_with_reasoning_that_nobody_has_kept_goes_without_the_ids_that_ask_for_it() -> (
    None
):
    lost = {"type": "reasoning", "id": "rs_2", "summary": []}
    kept = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    call = {key: value for key, value in FUNCTION_CALL.items() if key != "id"}
    text = {"type": "text", "text": "so", "id": "msg_1"}
    said = items_from_messages(
        [AIMessage([kept, lost, text, FUNCTION_CALL])], History(stored=False)
    )
    part = {"type": "output_text", "text": "so", "annotations": []}
    assert said == [kept, {"type": "message", "role": "assistant", "content": [part]}, call]
    assert (
        items_from_messages([AIMessage([kept, text, FUNCTION_CALL])], History(stored=False))[-1]
        == FUNCTION_CALL
    )


def test_an_answer_of_the_responses_api_can_be_said_on_chat_completions() -> None:
    message = decode(
        [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "hm"}],
            },
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "mcp_list_tools", "id": "mcpl_1", "tools": []},
            {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"},
            {
                "type": "message",
                "id": "msg_1",
                "phase": "commentary",
                "content": [{"type": "output_text", "text": "so"}],
            },
            FUNCTION_CALL,
        ]
    )
    (turn,) = turns_from_messages([message], OPENAI)
    assert turn == {
        "role": "assistant",
        "content": "so",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        ],
    }


# ---------------------------------------------------------------- answers


def test_commentary_and_final_answer_stay_apart_by_phase() -> None:
    message = decode(
        [
            {
                "type": "message",
                "id": f"msg_{phase}",
                "phase": phase,
                "content": [{"type": "output_text", "text": phase}],
            }
            for phase in ("commentary", "final_answer")
        ]
    )
    said = {block["phase"]: block["text"] for block in message.content}  # type: ignore[index]
    assert said == {"commentary": "commentary", "final_answer": "final_answer"}
    assert message.text == "commentaryfinal_answer"


def test_calls_of_every_kind_are_read() -> None:
    message = decode(
        [
            FUNCTION_CALL,
            {**FUNCTION_CALL, "call_id": "c2", "arguments": '{"a'},
            {"type": "custom_tool_call", "call_id": "c3", "name": "run", "input": "1+1"},
            {"type": "function_call", "name": "g", "arguments": ""},
        ]
    )
    assert [(call["id"], call["args"]) for call in message.tool_calls[:2]] == [
        ("c1", {"a": 1}),
        ("c3", {"__arg1": "1+1"}),
    ]
    assert message.tool_calls[2]["id"].startswith("call_")  # type: ignore[union-attr]
    assert [bad["id"] for bad in message.invalid_tool_calls] == ["c2"]
    assert message.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_answer_not_there_yet_is_a_message_with_its_status(status: str) -> None:
    message = decode([], status=status, usage=None)
    assert (message.id, message.content, message.response_metadata["status"]) == (
        "resp_1",
        [],
        status,
    )
    assert message.usage_metadata is None


def test_a_failed_answer_is_an_error_with_its_code() -> None:
    with pytest.raises(RateLimited, match="slow"):
        decode([], status="failed", error={"code": "rate_limit_exceeded", "message": "slow"})
    with pytest.raises(ServerError):
        decode([], status="failed", error=None)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"choices": []}', b"<html>"])
def test_an_answer_that_is_none_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedResponse):
        CODEC.decode(Reply(200, {}, body))


@pytest.mark.parametrize(
    "output",
    [
        None,
        [None, 1, {}],
        [{"type": "message"}],
        [{"type": "message", "content": [{}, 1]}],
        [{"type": "reasoning"}],
    ],
)
def test_odd_pieces_of_an_answer_are_passed_over(output: Any) -> None:
    assert decode(output).text == ""


@pytest.mark.parametrize("phase", [{}, {"phase": "final_answer"}])
@pytest.mark.parametrize("version", ["v0", "v1"])
def test_text_and_refusal_of_one_item_go_back_as_one(version: str, phase: dict[str, str]) -> None:
    parts = [
        {"type": "output_text", "text": "a", "annotations": []},
        {"type": "refusal", "refusal": "no"},
    ]
    item = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        **phase,
        "content": parts,
    }
    body = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "gpt-5",
        "output": [item],
    }
    client = httpx2.Client(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json=body))
    )
    model = ChatOpenAI(
        model="gpt-5",
        api_key="k",
        use_responses_api=True,
        output_version=version,
        http_client=client,
        on_refusal="message",
    )
    assert (
        model.build_request([HumanMessage("hi"), model.invoke("hi"), HumanMessage("x")]).body[
            "input"
        ][1]
        == item
    )


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "base64": "aGk=", "mime_type": "image/png"},
        {"type": "image", "base64": "aGk=", "mime_type": "image/png", "id": "lc_1"},
        {"type": "image", "url": "https://x.example/a.png"},
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
        {"type": "input_image", "image_url": "https://x.example/a.png"},
        {"type": "file", "file_id": "file-1"},
        {"type": "audio", "base64": "aGk=", "mime_type": "audio/wav"},
    ],
)
def test_an_input_in_an_answer_of_the_user_is_an_error(block: Any) -> None:
    """The API rejects such a block as an item; before, it was sent as one."""
    answer = AIMessage(content=[{"type": "text", "text": "look"}, block])
    with pytest.raises(InvalidArgument, match=r"Message 1 \(`assistant`\): on the Responses API"):
        encode([HI, answer, HI])


def test_an_image_that_the_model_made_is_sent_back() -> None:
    made = {"type": "image_generation_call", "id": "ig_1", "result": "aGk=", "status": "completed"}
    answer = decode([made])
    standard = answer.model_copy(update={"content": answer.content_blocks})
    for message in (answer, standard):
        assert encode([HI, message, HI]).body["input"][1] == made

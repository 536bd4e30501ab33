"""Every recorded Chat Completions request: its messages, read into ours and said again, are what was sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from support.recordings import records

from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
from modelwire.adapters.wires.openai_chat.messages import OPENAI, Dialect
from modelwire.adapters.wires.wire import ChatCall, Endpoint
from modelwire.errors import CallerError
from modelwire.messages import convert_to_messages

# What a service takes in messages beside what OpenAI does, as far as the recorded requests use it.
DIALECTS = {
    "gpustack": Dialect(replayed=("reasoning", "reasoning_content")),
    "mistral": Dialect(
        extra_block_types=frozenset({"document_url", "thinking"}), replayed=("prefix",)
    ),
    "ollama": Dialect(replayed=("reasoning", "reasoning_content")),
    "openrouter": Dialect(
        frozenset({"video_url"}), cache_control=True, replayed=("reasoning_details",)
    ),
    "perplexity": Dialect(extra_block_types=frozenset({"file_url"})),
    "snowflake": Dialect(replayed=("reasoning_details",)),
    "zai": Dialect(replayed=("reasoning_content",)),
}
# Why a request cannot be said again, and how many cannot.
CANNOT = {
    # OpenRouter takes it where the model behind it does (Claude); OpenAI's API refuses it.
    "Message 2 (`tool`): on Chat Completions `tool` messages hold `text` blocks, not `image_url`. "
    "Send it in a human message after the tool result.": 1,
    "tool_choice": 2,  # "any" of Mistral's goes out as "required", which is the same, there too
}
ENDPOINT = Endpoint("https://api.openai.com/v1")


def said_again(record: Mapping[str, Any]) -> dict[str, Any]:
    """Encode a recorded body as if its messages and parameters were a caller's."""
    body = {name: value for name, value in record["request_body"].items() if value is not None}
    messages, model = convert_to_messages(body.pop("messages")), body.pop("model")
    stream = bool(body.pop("stream", False))
    codec = ChatCompletionsCodec(
        provider=record["provider"],
        max_tokens_name="max_tokens",
        takes_stream_options=False,
        dialect=DIALECTS.get(record["provider"], OPENAI),
    )
    return dict(codec.encode(ChatCall(messages, model, ENDPOINT, body, stream=stream)).body)


def without_defaults(value: Any) -> Any:
    """Leave out what says nothing: nulls, no content, places in a list; read what has two spellings in one of them."""
    if isinstance(value, list):
        return [without_defaults(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {name: without_defaults(item) for name, item in value.items() if item is not None}
    if (
        isinstance(plain.get("function"), dict)
        and plain.setdefault("type", "function") == "function"
    ):
        plain.pop("index", None)
        if isinstance(text := plain["function"].get("arguments"), str):
            plain["function"]["arguments"] = json.loads(text or "{}")
    if isinstance(plain.get("image_url"), str):
        plain["image_url"] = {"url": plain["image_url"]}
    if "role" in plain:
        for name in ("content", "tool_calls", "prefix"):
            if name in plain and not plain[name]:
                del plain[name]
    return plain


def difference(record: Mapping[str, Any]) -> str | None:
    """Say in a few words why a request cannot be said again as it was, `None` where it can."""
    try:
        ours = without_defaults(said_again(record))
    except CallerError as error:
        return str(error)
    theirs = without_defaults(record["request_body"])
    if not theirs.get("stream"):
        theirs.pop("stream", None)
    different = [name for name in ours | theirs if ours.get(name) != theirs.get(name)]
    if different == ["messages"]:
        pairs = zip(ours["messages"], theirs["messages"], strict=False)
        said, sent = next((pair for pair in pairs if pair[0] != pair[1]), ({}, {}))
        different = [
            f"{sent.get('role')}: `{name}`"
            for name in said | sent
            if said.get(name) != sent.get(name)
        ]
    return ", ".join(different) or None


def test_every_recorded_request_is_said_again_as_it_was_sent() -> None:
    reasons: Counter[str] = Counter()
    ids: dict[str, str] = {}
    number = 0
    for record in records("openai_chat"):
        number += 1
        if reason := difference(record):
            reasons[reason] += 1
            ids.setdefault(reason, record["id"])
    assert number == 572
    assert reasons == CANNOT, ids

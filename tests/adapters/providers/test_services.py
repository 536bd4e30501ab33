"""Every row of the compatible services: what is sent to it, as whom, and what comes back."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.recordings import decoded, records

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.adapters.providers.services import (
    SERVICES,
    Service,
    service_by_model,
    service_names,
    service_of,
)
from modelwire.config import init_chat_model
from modelwire.errors import (
    AuthenticationError,
    InvalidArgument,
    MissingKey,
    ParameterWarning,
    UnknownModel,
)
from modelwire.messages import AIMessage, HumanMessage, ToolMessage

KEY = "sk-secret-of-the-row"
PLACES = {
    "azure_openai": "https://me.openai.azure.com/",
    "snowflake": "myorg-me",
    "bedrock_openai": "eu-central-1",
    "bedrock_mantle": "eu-central-1",
    "databricks": "https://dbc-1.cloud.databricks.com",
    "watsonx": "https://us-south.ml.cloud.ibm.com",
}
# Where each is called, and what it calls the limit of an answer.
CALLED = {
    "azure_openai": ("https://me.openai.azure.com/openai/v1", "max_completion_tokens"),
    "openrouter": ("https://openrouter.ai/api/v1", "max_tokens"),
    "groq": ("https://api.groq.com/openai/v1", "max_completion_tokens"),
    "deepseek": ("https://api.deepseek.com", "max_tokens"),
    "mistralai": ("https://api.mistral.ai/v1", "max_tokens"),
    "together": ("https://api.together.xyz/v1", "max_tokens"),
    "fireworks": ("https://api.fireworks.ai/inference/v1", "max_tokens"),
    "xai": ("https://api.x.ai/v1", "max_completion_tokens"),
    "perplexity": ("https://api.perplexity.ai", "max_tokens"),
    "cerebras": ("https://api.cerebras.ai/v1", "max_completion_tokens"),
    "huggingface": ("https://router.huggingface.co/v1", "max_tokens"),
    "google_openai": ("https://generativelanguage.googleapis.com/v1beta/openai", "max_tokens"),
    "ollama": ("http://localhost:11434/v1", "max_tokens"),
    "vllm": ("http://localhost:8000/v1", "max_tokens"),
    "llamacpp": ("http://localhost:8080/v1", "max_tokens"),
    "lmstudio": ("http://localhost:1234/v1", "max_tokens"),
    "litellm": ("http://localhost:4000", "max_tokens"),
    "nvidia": ("https://integrate.api.nvidia.com/v1", "max_tokens"),
    "moonshot": ("https://api.moonshot.ai/v1", "max_completion_tokens"),
    "zai": ("https://api.z.ai/api/paas/v4", "max_tokens"),
    "snowflake": (
        "https://myorg-me.snowflakecomputing.com/api/v2/cortex/v1",
        "max_completion_tokens",
    ),
    "bedrock_openai": (
        "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1",
        "max_completion_tokens",
    ),
    "bedrock_mantle": ("https://bedrock-mantle.eu-central-1.api.aws/v1", "max_completion_tokens"),
    "sambanova": ("https://api.sambanova.ai/v1", "max_tokens"),
    "cohere": ("https://api.cohere.ai/compatibility/v1", "max_tokens"),
    "dashscope": ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "max_tokens"),
    "minimax": ("https://api.minimax.io/v1", "max_completion_tokens"),
    "vercel": ("https://ai-gateway.vercel.sh/v1", "max_tokens"),
    "github": ("https://models.github.ai/inference", "max_tokens"),
    "databricks": ("https://dbc-1.cloud.databricks.com/serving-endpoints", "max_tokens"),
    "watsonx": ("https://us-south.ml.cloud.ibm.com/ml/gateway/v1", "max_tokens"),
}
ROWS = [pytest.param(row, id=row.name) for row in SERVICES.values()]
KEYED = [pytest.param(row, id=row.name) for row in SERVICES.values() if not row.works_without_key]
MESSAGES = [
    pytest.param(row, id=row.name) for row in SERVICES.values() if "anthropic" in row.speaks()
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill the places of accounts, set the keys of others, and no key of a row."""
    for row in SERVICES.values():
        for name in (*row.keys, *row.url_variables, *row.place):
            monkeypatch.delenv(name, raising=False)
        for name in row.place:
            monkeypatch.setenv(name, PLACES[row.name])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-key-for-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-for-openai")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-key-for-anthropic")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-for-anthropic")


def made(row: Service, **given: Any) -> Any:
    return init_chat_model(f"{row.name}:some-model", **{"api_key": KEY, **given})


def by_lower_name(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


# ---------------------------------------------------------------- what is sent


def test_every_row_is_called_where_its_docs_say() -> None:
    sent = {}
    for row in SERVICES.values():
        request = made(row, max_tokens=5).build_request("hi")
        (limit,) = [name for name, value in request.body.items() if value == 5]
        sent[row.name] = (request.url.removesuffix("/chat/completions"), limit)
        assert request.body["model"] == "some-model"
    assert sent == CALLED


@pytest.mark.parametrize("row", ROWS)
def test_the_key_comes_from_each_of_the_rows_variables_and_goes_into_its_header(
    row: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in row.keys:
        with monkeypatch.context() as patch:
            patch.setenv(variable, KEY)
            headers = (
                init_chat_model("some-model", model_provider=row.name).build_request("hi").headers
            )  # type: ignore[attr-defined]
            assert {name: value for name, value in headers.items() if KEY in value} == (
                {"api-key": KEY}
                if row.name == "azure_openai"
                else {"Authorization": f"Bearer {KEY}"}
            )


@pytest.mark.parametrize("row", KEYED)
def test_a_missing_key_is_said_with_the_rows_variable_and_docs(row: Service) -> None:
    with pytest.raises(MissingKey) as caught:
        ChatOpenAI(model="m", provider=row.name)
    assert row.keys[0] in str(caught.value)
    assert row.docs in str(caught.value)
    assert row.name in str(caught.value)
    assert "OPENAI_API_KEY" not in str(caught.value).replace("AZURE_OPENAI_API_KEY", "")


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_nobody_gets_the_key_of_another(row: Service, wire: str) -> None:
    if wire not in row.speaks():
        with pytest.raises(InvalidArgument, match="does not speak"):
            init_chat_model(f"{row.name}:m", wire=wire)
        return
    # An address of one's own needs no key, but where the address is an account's.
    own = {"api_key": None} if not row.place else {"api_key": KEY}
    model: Any = init_chat_model(f"{row.name}:m", wire=wire, base_url="http://localhost:1", **own)
    headers = str(model.build_request("hi").headers)
    for other in ("openai", "anthropic"):
        assert f"for-{other}" not in headers


@pytest.mark.parametrize("row", ROWS)
def test_usage_of_streams_is_asked_for_where_it_has_to_be(row: Service) -> None:
    asked = made(row).build_request("hi", stream=True).body.get("stream_options")
    assert asked == ({"include_usage": True} if row.takes_stream_options else None)
    assert (
        "stream_options" not in made(row, stream_usage=False).build_request("hi", stream=True).body
    )
    own = made(row).build_request("hi", stream=True, stream_options={"include_usage": False}).body
    assert own["stream_options"] == {"include_usage": False}


@pytest.mark.parametrize("row", [row for row in ROWS if row.values[0].renames])  # type: ignore[attr-defined]
def test_parameters_go_by_the_rows_own_names(row: Service) -> None:
    ours = {name: f"value of {name}" for name, _ in row.renames}
    body = made(row, model_kwargs=ours).build_request("hi").body
    assert {theirs: body.get(theirs) for _, theirs in row.renames} == {
        theirs: f"value of {name}" for name, theirs in row.renames
    }
    assert not ours.keys() & body.keys()


@pytest.mark.parametrize("row", [row for row in ROWS if row.values[0].lacks])  # type: ignore[attr-defined]
def test_what_a_row_lacks_is_left_out_with_a_warning_or_refused(row: Service) -> None:
    given = dict.fromkeys(row.lacks, 2)
    with pytest.warns(ParameterWarning, match=row.docs):
        body = made(row).build_request("hi", **given, top_p=0.5).body
    assert not given.keys() & body.keys()
    assert body["top_p"] == 0.5
    with pytest.raises(InvalidArgument, match=f"`{row.lacks[0]}`"):
        made(row, strict_params=True).build_request("hi", **given)


@pytest.mark.parametrize(
    ("name", "returned"),
    [
        ("deepseek", {"reasoning_content": "hm"}),
        ("moonshot", {"reasoning_content": "hm"}),
        ("zai", {"reasoning_content": "hm"}),
        ("openrouter", {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        ("vercel", {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        ("minimax", {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        ("ollama", {"reasoning": "hm"}),
        ("cerebras", {}),
        ("snowflake", {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        ("groq", {}),
        ("xai", {}),
    ],
)
def test_what_the_model_thought_returns_to_those_who_want_it(
    name: str, returned: dict[str, Any]
) -> None:
    thought = AIMessage(
        "",
        tool_calls=[{"name": "look", "args": {}, "id": "c1"}],
        additional_kwargs={
            "reasoning_content": "hm",
            "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
        },
    )
    history = [HumanMessage("hi"), thought, ToolMessage("seen", tool_call_id="c1")]
    turn = made(SERVICES[name]).build_request(history).body["messages"][1]
    assert {key: value for key, value in turn.items() if "reasoning" in key} == returned
    assert turn["tool_calls"][0]["id"] == "c1"


def test_mistral_gets_thinking_back_as_a_part_of_the_content() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    said = AIMessage("yes", additional_kwargs={"reasoning_content": "hm"})
    called = AIMessage(
        "",
        tool_calls=[{"name": "f", "args": {}, "id": "c1"}],
        additional_kwargs={"reasoning_content": "hm"},
    )
    body = (
        made(SERVICES["mistralai"])
        .build_request(["hi", said, called, "and?", AIMessage("no")])
        .body
    )
    assert [turn["content"] for turn in body["messages"]] == [
        "hi",
        [thinking, {"type": "text", "text": "yes"}],
        [thinking],
        "and?",
        "no",
    ]


def test_ollama_says_what_its_compatible_endpoint_drops_and_the_way_round(
    recwarn: pytest.WarningsRecorder,
) -> None:
    dropped = {"num_ctx": 8192, "keep_alive": "10m", "options": {"min_p": 0.1}}
    model: Any = init_chat_model("ollama:qwen3", **dropped)
    assert not recwarn.list  # nothing goes "to the provider as it is"
    with pytest.warns(ParameterWarning) as caught:
        body = model.build_request("hi").body
    assert not dropped.keys() & body.keys()
    words = " ".join(str(warning.message) for warning in caught)
    assert re.findall(r"`(PARAMETER num_ctx|OLLAMA_CONTEXT_LENGTH|OLLAMA_KEEP_ALIVE)", words) == [
        "PARAMETER num_ctx",
        "OLLAMA_CONTEXT_LENGTH",
        "OLLAMA_KEEP_ALIVE",
    ]
    with pytest.raises(InvalidArgument, match="Modelfile"):
        init_chat_model("ollama:qwen3", strict_params=True).build_request("hi", num_ctx=8192)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wire", "name"), [("anthropic", "tool_choice"), ("responses", "truncation")]
)
def test_ollama_says_what_its_other_wires_drop(wire: str, name: str) -> None:
    model: Any = init_chat_model("ollama:qwen3", wire=wire, keep_alive="10m", top_p=0.5)
    with pytest.warns(ParameterWarning) as caught:
        body = model.build_request(
            "hi",
            tools=[{"name": "f", "input_schema": {}}],
            reasoning={"effort": "low"},
            **{name: "any"},
        ).body
    assert (body["top_p"], body.keys() & {"keep_alive", name}) == (0.5, set())
    assert body.get("reasoning") == (None if wire == "anthropic" else {"effort": "low"})
    foreign = {"reasoning"} if wire == "anthropic" else set()
    assert {str(it.message).split("`")[1] for it in caught} == {"keep_alive", name} | foreign
    assert "OLLAMA_KEEP_ALIVE" in " ".join(str(it.message) for it in caught)


def test_qwens_thinking_goes_by_its_flag_and_its_budget() -> None:
    def body(**kwargs: Any) -> dict[str, Any]:
        sent = made(SERVICES["dashscope"]).build_request("hi", **kwargs).body
        return {name: value for name, value in sent.items() if "think" in name or "reason" in name}

    assert body(reasoning={"effort": "none"}) == {"enable_thinking": False}
    assert body(thinking={"type": "enabled", "budget_tokens": 900}) == {
        "enable_thinking": True,
        "thinking_budget": 900,
    }
    with pytest.warns(ParameterWarning, match="levels"):
        assert body(reasoning_effort="low") == {"enable_thinking": True}


def test_cohere_gets_the_efforts_it_knows() -> None:
    model = made(SERVICES["cohere"])
    assert model.build_request("hi", reasoning_effort="none").body["reasoning_effort"] == "none"
    with pytest.warns(ParameterWarning, match=r'"high", not "low"'):
        assert model.build_request("hi", reasoning_effort="low").body["reasoning_effort"] == "high"


def test_databricks_reasoning_is_a_part_of_the_content(raw_server: Any) -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    server = raw_server([said_by({"content": [thought, {"type": "text", "text": "yes"}]})])
    answer = made(SERVICES["databricks"], base_url=server.url, max_retries=0).invoke("hi")
    assert (answer.content, answer.additional_kwargs["reasoning_content"]) == ("yes", "hm")


FILE_AT = {"type": "file", "url": "https://e.org/a.pdf"}
FILE_DATA = {"type": "file", "base64": "JVBERi0xLjQ=", "mime_type": "application/pdf"}
PDF_URL = "data:application/pdf;base64,JVBERi0xLjQ="
VIDEO_AT = {"type": "video_url", "video_url": {"url": "https://e.org/a.mp4"}}
OWN_BLOCKS = [
    ("mistralai", FILE_AT, {"type": "document_url", "document_url": "https://e.org/a.pdf"}),
    (
        "mistralai",
        {**FILE_AT, "extras": {"title": "a"}},
        {"type": "document_url", "document_url": "https://e.org/a.pdf", "document_name": "a"},
    ),
    ("mistralai", FILE_DATA, {"type": "document_url", "document_url": PDF_URL}),
    ("mistralai", {"type": "file", "file_id": "f1"}, {"type": "file", "file_id": "f1"}),
    ("openrouter", {"type": "video", "url": "https://e.org/a.mp4"}, VIDEO_AT),
    (
        "openrouter",
        {"type": "video", "base64": "AAAA", "mime_type": "video/mp4"},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
    ),
    (
        "perplexity",
        {"type": "file_url", "file_url": {"url": "https://e.org/a.pdf"}},
        {"type": "file_url", "file_url": {"url": "https://e.org/a.pdf"}},
    ),
]


@pytest.mark.parametrize(("name", "block", "part"), OWN_BLOCKS)
def test_blocks_that_a_service_adds_are_sent_to_it(
    name: str, block: dict[str, Any], part: dict[str, Any]
) -> None:
    for written in (block, part):  # standard, or in the service's own words
        (turn,) = made(SERVICES[name]).build_request([HumanMessage([written])]).body["messages"]
        assert turn["content"] == [part]


def test_such_a_block_is_a_standard_one_elsewhere_and_refused_where_that_is() -> None:
    for name in ("groq", "zai"):
        model = made(SERVICES[name])
        for refused, words in (
            (OWN_BLOCKS[0][2], "does not take file URLs"),
            (VIDEO_AT, "`video_url`"),
        ):
            with pytest.raises(InvalidArgument, match=words):
                model.build_request([HumanMessage([refused])])
        document = {"type": "document_url", "document_url": PDF_URL}
        (turn,) = model.build_request([HumanMessage([document])]).body["messages"]
        assert turn["content"] == [
            {"type": "file", "file": {"filename": "file.pdf", "file_data": PDF_URL}}
        ]


def test_a_services_own_block_is_read_on_another_wire() -> None:
    document = {"type": "document_url", "document_url": "https://e.org/a.pdf"}
    model = ChatAnthropic(model="claude-sonnet-4-5", api_key="k")
    (block,) = model.build_request([HumanMessage([document])]).body["messages"][0]["content"]
    assert block == {"type": "document", "source": {"type": "url", "url": "https://e.org/a.pdf"}}
    assert HumanMessage([VIDEO_AT]).content_blocks == [
        {"type": "video", "url": "https://e.org/a.mp4"}
    ]


@pytest.mark.parametrize(("name", "kept"), [("openrouter", True), ("groq", False)])
def test_cache_marks_go_to_those_who_know_them(name: str, kept: bool) -> None:
    block = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    (turn,) = made(SERVICES[name]).build_request([HumanMessage([block])]).body["messages"]
    assert ("cache_control" in turn["content"][0]) is kept


# ---------------------------------------------------------------- names


def test_no_two_rows_share_a_name_a_model_or_a_port() -> None:
    names = service_names()
    assert len(names) == len(set(names))
    prefixes = [prefix for row in SERVICES.values() for prefix in row.models]
    assert not [(a, b) for a in prefixes for b in prefixes if a != b and a.startswith(b)]
    addresses = [row.base_url for row in SERVICES.values()]
    assert len(addresses) == len(set(addresses))


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("azure", "azure_openai"),
        ("mistral", "mistralai"),
        ("llama.cpp", "llamacpp"),
        ("lm-studio", "lmstudio"),
        ("kimi", "moonshot"),
        ("z.ai", "zai"),
        ("HF", "huggingface"),
        ("azure-openai", "azure_openai"),
        ("grok", "xai"),
    ],
)
def test_a_service_answers_to_its_other_names(spelled: str, name: str) -> None:
    assert service_of(spelled) is SERVICES[name]
    model: Any = init_chat_model(f"{spelled}:m", api_key=KEY)
    assert model.provider == name
    assert model._get_ls_params()["ls_provider"] == name


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("deepseek-chat", "deepseek"),
        ("mistral-large-latest", "mistralai"),
        ("codestral-2508", "mistralai"),
        ("grok-4", "xai"),
        ("sonar-pro", "perplexity"),
        ("kimi-k2.6", "moonshot"),
        ("glm-5", "zai"),
        ("deepseek-ai/DeepSeek-V4", None),
        ("llama-3.3-70b-versatile", None),
    ],
)
def test_a_models_name_may_tell_whose_it_is(model: str, name: str | None) -> None:
    row = service_by_model(model)
    assert (row.name if row else None) == name
    if name:
        assert init_chat_model(model, api_key=KEY).provider == name  # type: ignore[attr-defined]


def test_a_slip_in_a_services_name_offers_the_close_one() -> None:
    with pytest.raises(InvalidArgument, match=r"`grooq`.*`groq`.*`base_url`"):
        ChatOpenAI(model="m", provider="grooq")
    with pytest.raises(UnknownModel, match="`groq`"):
        init_chat_model("grooq:llama")
    own = ChatOpenAI(model="m", provider="ours", base_url="http://localhost:1/v1")
    assert own.build_request("hi").url == "http://localhost:1/v1/chat/completions"


def test_an_account_that_is_not_named_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNOWFLAKE_ACCOUNT")
    with pytest.raises(InvalidArgument, match="`SNOWFLAKE_ACCOUNT`"):
        made(SERVICES["snowflake"])
    url = "https://a-b.snowflakecomputing.com/api/v2/cortex/v1"
    assert (
        made(SERVICES["snowflake"], base_url=url).build_request("hi").url
        == f"{url}/chat/completions"
    )


def test_a_service_may_stand_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "modelwire.toml"
    file.write_text(
        '[models.quick]\nprovider = "groq"\nmodel = "llama-3.3-70b-versatile"\n'
        '[models.deep]\nmodel = "deepseek:deepseek-v4-pro"\nwire = "anthropic"\n'
    )
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    quick: Any = init_chat_model("quick", config_file=file)
    deep: Any = init_chat_model("deep", config_file=file)
    assert quick.build_request("hi").url == "https://api.groq.com/openai/v1/chat/completions"
    assert deep.build_request("hi").url == "https://api.deepseek.com/anthropic/v1/messages"


# ---------------------------------------------------------------- other wires


@pytest.mark.parametrize("row", MESSAGES)
def test_messages_are_called_at_their_address_with_the_rows_key(
    row: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(row.keys[0], KEY)
    model: Any = init_chat_model(f"{row.name}:m", wire="anthropic", max_tokens=5)
    request = model.build_request("hi")
    assert isinstance(model, ChatAnthropic)
    assert request.url == f"{row.address('anthropic')}/v1/messages"
    headers = by_lower_name(request.headers)
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in headers


@pytest.mark.parametrize("row", [row for row in ROWS if "responses" in row.values[0].speaks()])  # type: ignore[attr-defined]
def test_responses_of_every_row_that_speaks_them_are_read(row: Service, raw_server: Any) -> None:
    text = {"type": "output_text", "text": "yes", "annotations": []}
    item = {
        "type": "message",
        "id": "i1",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    thought = {"type": "reasoning", "id": "i0", "summary": [{"type": "summary_text", "text": "hm"}]}
    told = {
        "id": "r1",
        "object": "response",
        "status": "completed",
        "model": "m",
        "output": [thought, item],
    }
    server = raw_server(
        [whole({**told, "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}})]
    )
    model: Any = init_chat_model(f"{row.name}:m", wire="responses", api_key=KEY)
    assert model.build_request("hi").url == f"{row.address('responses')}/responses"
    near = init_chat_model(f"{row.name}:m", wire="responses", api_key=KEY, base_url=server.url)
    answer: Any = near.invoke("hi")
    assert (answer.text, answer.usage_metadata["total_tokens"]) == ("yes", 5)
    assert answer.response_metadata["model_provider"] == row.name
    assert [block.get("reasoning") for block in answer.content_blocks] == ["hm", None]


def test_a_wire_that_a_row_does_not_speak_needs_an_address(raw_server: Any) -> None:
    with pytest.raises(
        InvalidArgument, match=r"`zai` does not speak the wire `responses`.*`base_url`"
    ):
        made(SERVICES["zai"], use_responses_api=True)
    own = made(SERVICES["zai"], use_responses_api=True, base_url="http://localhost:1")
    assert own.build_request("hi").url == "http://localhost:1/responses"


def test_the_addresses_of_the_other_wires_end_where_our_classes_go_on() -> None:
    for row in SERVICES.values():
        for wire, _ in row.wires:
            address = row.address(wire)
            assert address.startswith("http")
            assert not address.endswith(("/", "/messages", "/responses"))
            assert wire != "anthropic" or not address.endswith("/v1")


# ---------------------------------------------------------------- over the wire


def whole(body: Any, status: str = "200 OK") -> list[bytes]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return [head.encode() + content]


def streamed(*events: bytes) -> list[Any]:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    return [head + b"".join(b"data: " + event + b"\n\n" for event in events), None]


def delta(more: dict[str, Any] | None = None, reason: str | None = None, **said: Any) -> bytes:
    choice = {"index": 0, "delta": said, "finish_reason": reason}
    return json.dumps({"id": "a1", "model": "m", "choices": [choice], **(more or {})}).encode()


USAGE = {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}


@pytest.mark.parametrize(
    ("name", "events"),
    [
        (
            "deepseek",
            [
                delta(reasoning_content="hm"),
                delta(content="yes"),
                delta(USAGE, "stop", content=""),
                b"[DONE]",
            ],
        ),
        (
            "mistralai",
            [
                delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
                delta(content=[{"type": "text", "text": "yes"}]),
                delta(USAGE, "stop", content=""),
                b"[DONE]",
            ],
        ),
        (
            "groq",
            [
                delta(reasoning="hm"),
                delta(content="yes"),
                delta({"x_groq": USAGE}, "stop"),
                b"[DONE]",
            ],
        ),
        ("perplexity", [delta(USAGE, content="y"), delta(USAGE, "stop", content="es")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_stream_of_each_kind_comes_through(
    colour: Any, raw_server: Any, name: str, events: list[bytes]
) -> None:
    server = raw_server([streamed(*events)])
    model = made(SERVICES[name], base_url=server.url, max_retries=0)
    chunks = colour.stream(model, "hi")
    answer = chunks[0]
    for chunk in chunks[1:]:
        answer += chunk
    thought = answer.additional_kwargs.get("reasoning_content", "")
    assert (answer.text, thought) == ("yes", "hm" if SERVICES[name].reasoning_at else "")
    assert answer.usage_metadata["total_tokens"] == 5
    assert answer.response_metadata["model_provider"] == name
    assert f"authorization: bearer {KEY}".encode() in server.requests[0].lower()


def thinking_at(place: str) -> dict[str, Any]:
    """Return a message that thought "hm", at that place of it."""
    part = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    said: dict[str, dict[str, Any]] = {
        "content": {"content": [part, {"type": "text", "text": "yes"}]},
        "reasoning_details": {
            "content": "yes",
            "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
        },
    }
    return said.get(place, {"content": "yes", place: "hm"})


def said_by(message: dict[str, Any]) -> list[bytes]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return whole({"id": "a1", "model": "m", "choices": [choice], **USAGE})


@pytest.mark.parametrize("row", ROWS)
def test_every_row_goes_through_what_the_table_of_the_page_calls_synthetic(
    row: Service, raw_server: Any
) -> None:
    place = row.reasoning_at[0] if row.reasoning_at else ""
    thinking = thinking_at(place) if place else {"content": "yes"}
    call = {"id": "c1", "type": "function", "function": {"name": "Form", "arguments": '{"n": 1}'}}
    form = (
        {"tool_calls": [call]}
        if row.structured_by == "function_calling"
        else {"content": '{"n": 1}'}
    )
    end = [delta(USAGE, "stop"), *([b"[DONE]"] if row.sends_done else [])]
    script = [
        said_by(thinking),
        streamed(delta(**thinking), *end),
        said_by({"tool_calls": [call]}),
        said_by(form),
    ]
    server = raw_server(script)
    model = made(row, base_url=server.url, max_retries=0)
    schema = {"title": "Form", "type": "object", "properties": {"n": {"type": "integer"}}}

    picture = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    answer, (first, *rest) = model.invoke([HumanMessage([picture])]), model.stream("hi")
    for chunk in rest:
        first += chunk
    for told in (answer, first):
        assert (told.text, told.usage_metadata["input_tokens"]) == ("yes", 3)
        assert told.additional_kwargs.get("reasoning_content", "") == ("hm" if place else "")
    assert model.bind_tools([schema]).invoke("hi").tool_calls[0]["args"] == {"n": 1}
    assert model.with_structured_output(schema).invoke("hi") == {"n": 1}
    bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]
    assert bodies[0]["messages"][0]["content"] == [picture]
    assert ("tools" in bodies[3]) is (row.structured_by == "function_calling")


@pytest.mark.parametrize("row", MESSAGES)
def test_messages_of_every_row_that_speaks_them_are_read(row: Service, raw_server: Any) -> None:
    message = {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "yes"}],
    }
    ended = {
        "model": "m",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    server = raw_server(
        [whole({**message, **ended}), whole({"error": {"message": "no"}}, "401 No")]
    )
    model: Any = init_chat_model(
        f"{row.name}:m",
        wire="anthropic",
        api_key=KEY,
        base_url=server.url.removesuffix("/v1"),
        max_retries=0,
    )
    assert model.invoke("hi").text == "yes"
    assert server.requests[0].startswith(b"POST /v1/messages ")
    with pytest.raises(AuthenticationError) as caught:
        model.invoke("hi")
    assert caught.value.provider == row.name


def test_an_error_names_the_service_and_shows_no_key(colour: Any, raw_server: Any) -> None:
    server = raw_server(
        [whole({"error": {"message": "Invalid API Key", "code": "invalid_api_key"}}, "401 No")]
    )
    model = made(SERVICES["groq"], base_url=server.url, max_retries=0)
    with pytest.raises(AuthenticationError) as caught:
        colour.invoke(model, "hi")
    assert caught.value.provider == "groq"
    shown = f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    assert KEY not in shown + repr(model) + str(model) + str(model.model_dump()) + repr(
        model.build_request("hi")
    )


def test_a_copy_elsewhere_takes_the_rows_key_from_the_environment_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for wire in ("openai", "anthropic"):
        data = pickle.dumps(init_chat_model("deepseek:m", wire=wire, api_key=KEY))
        assert KEY.encode() not in data
        with monkeypatch.context() as patch:
            patch.setenv("DEEPSEEK_API_KEY", "the-key-there")
            headers = by_lower_name(pickle.loads(data).build_request("hi").headers)
        assert headers["authorization"] == "Bearer the-key-there"
        assert "x-api-key" not in headers


def test_a_plain_model_loads_no_rows() -> None:
    code = (
        "import sys; from modelwire.adapters import ChatOpenAI, ChatAnthropic; "
        "ChatOpenAI(model='m', api_key='k').build_request('hi'); "
        "ChatAnthropic(model='m', api_key='k').build_request('hi'); "
        "print([name for name in sys.modules if name.endswith(('compatible', 'azure'))])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


# ---------------------------------------------------------------- recorded

RECORDED_AS = {
    "azure_openai": "azure",
    "mistralai": "mistral",
    "google_openai": "google-openai-compat",
    "litellm": "litellm-proxy",
}


def test_recorded_answers_of_every_row_are_read_as_the_row_says() -> None:
    by_recorded_name = {RECORDED_AS.get(name, name): row for name, row in SERVICES.items()}
    read: dict[str, int] = {}
    wrong = []
    for record in records("openai_chat", failed=False):
        row = by_recorded_name.get(record["provider"])
        if row is None or record.get("accept_error"):
            continue
        answer, expected = decoded(made(row)._codec(None), record), record["expected"]
        read[row.name] = read.get(row.name, 0) + 1
        thought = answer.additional_kwargs.get("reasoning_content", "")
        same = (answer.text, len(answer.tool_calls) + len(answer.invalid_tool_calls)) == (
            expected["text"],
            len(expected["tool_calls"]),
        )
        if not same or answer.response_metadata["model_provider"] != row.name:
            wrong.append(f"{record['id']} ({row.name})")
        if thought and not any(
            f'"{place}"' in record["response_body_text"] for place in row.reasoning_at
        ):
            wrong.append(f"{record['id']} ({row.name}): reasoning is not at {row.reasoning_at}")
        if record["stream"] and row.sends_done != ("[DONE]" in record["response_body_text"]):
            wrong.append(f"{record['id']} ({row.name}): [DONE]")
    assert wrong == []
    assert read.keys() == {
        "azure_openai",
        "openrouter",
        "groq",
        "deepseek",
        "mistralai",
        "together",
        "perplexity",
        "cerebras",
        "huggingface",
        "google_openai",
        "ollama",
        "litellm",
        "zai",
        "snowflake",
    }


def test_what_a_row_says_it_lacks_no_recorded_request_has() -> None:
    by_recorded_name = {RECORDED_AS.get(name, name): row for name, row in SERVICES.items()}
    for record in records("openai_chat", failed=False):
        row = by_recorded_name.get(record["provider"])
        if row is not None:
            given = {name for name, value in record["request_body"].items() if value is not None}
            assert not given & set(row.lacks), record["id"]


@pytest.mark.parametrize(
    ("cls", "provider"), [(ChatOpenAI, "anthropic"), (ChatAnthropic, "openai")]
)
def test_a_class_is_not_sent_to_its_own_address_in_the_name_of_the_other(
    cls: Any, provider: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"`{provider}` is called with"):
        cls(provider=provider, model="m", api_key="k")
    cls(provider=provider, model="m", api_key="k", base_url="https://llm.example.org/v1")

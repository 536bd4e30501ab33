"""Gemini and Claude on Vertex AI: addresses, credentials, and what of the environment counts."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from modelwire import init_chat_model
from modelwire.adapters import ChatAnthropicVertex, ChatGoogleGenerativeAI, ChatVertexAI
from modelwire.errors import (
    AuthenticationError,
    InvalidArgument,
    MissingDependency,
    MissingKey,
    NotFound,
    PermissionDenied,
)

SETTINGS = (
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_GENAI_USE_VERTEXAI",
    "GOOGLE_GENAI_USE_ENTERPRISE",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_LOCATION",
    "GOOGLE_CLOUD_REGION",
    "GOOGLE_VERTEX_BASE_URL",
    "GOOGLE_GEMINI_BASE_URL",
    "GOOGLE_APPLICATION_CREDENTIALS",
)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


def token() -> str:
    return "tok"


HOST = "aiplatform.googleapis.com"
ADDRESSES: list[tuple[dict[str, Any], str]] = [
    ({"project": "p", "credentials": token}, f"https://{HOST}/v1beta1/projects/p/locations/global"),
    (
        {"project": "p", "location": "europe-west4", "credentials": token},
        f"https://europe-west4-{HOST}/v1beta1/projects/p/locations/europe-west4",
    ),
    (
        {"project": "p", "location": "eu", "credentials": token},
        "https://aiplatform.eu.rep.googleapis.com/v1beta1/projects/p/locations/eu",
    ),
    ({"vertexai": True, "api_key": "k"}, f"https://{HOST}/v1beta1"),  # express mode
    (
        {"vertexai": True, "api_key": "k", "project": "p", "location": "us-east1"},
        f"https://us-east1-{HOST}/v1beta1/projects/p/locations/us-east1",
    ),
    (
        {"project": "p", "credentials": token, "base_url": "https://gateway.test/vertex"},
        "https://gateway.test/vertex/v1beta1/projects/p/locations/global",
    ),
    (
        {"credentials": token, "base_url": "https://gateway.test/v1/projects/q/locations/here"},
        "https://gateway.test/v1/projects/q/locations/here",
    ),
]


@pytest.mark.parametrize(("settings", "address"), ADDRESSES)
def test_a_call_goes_to_the_project_and_the_location(
    settings: dict[str, Any], address: str
) -> None:
    model = ChatGoogleGenerativeAI(model="gemini-2.5-flash", **settings)
    request = model.build_request("hi", stream=True)
    assert (
        request.url
        == f"{address}/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    )
    assert model.provider == "google_vertexai"
    who = {
        name: value
        for name, value in request.headers.items()
        if name in ("Authorization", "x-goog-api-key")
    }
    assert who == (
        {"x-goog-api-key": "k"} if "api_key" in settings else {"Authorization": "Bearer tok"}
    )


@pytest.mark.parametrize("explicit", [{}, {"vertexai": False}])
def test_a_project_beside_a_key_of_the_gemini_api_is_said_to_have_no_effect(
    explicit: dict[str, Any],
) -> None:
    with pytest.warns(
        UserWarning, match="`project` and `location` have no effect .* `vertexai=True`"
    ):
        model = ChatGoogleGenerativeAI(
            model="gemini-2.5-flash", project="p", location="us-east1", api_key="k", **explicit
        )
    assert model.build_request("hi").url.startswith("https://generativelanguage.googleapis.com/")


@pytest.mark.parametrize(
    ("model", "resource"),
    [
        ("publishers/meta/models/llama-4", "publishers/meta/models/llama-4"),
        ("endpoints/123", "endpoints/123"),
        ("models/gemini-2.5-pro", "publishers/google/models/gemini-2.5-pro"),
    ],
)
def test_other_models_are_named_as_the_service_names_them(model: str, resource: str) -> None:
    url = ChatVertexAI(model=model, project="p", credentials=token).build_request("hi").url
    assert url == f"https://{HOST}/v1beta1/projects/p/locations/global/{resource}:generateContent"


def test_a_whole_name_of_a_resource_needs_no_project_before_it() -> None:
    model = ChatVertexAI(
        model="projects/q/locations/us/endpoints/1", project="p", credentials=token
    )
    assert (
        model.build_request("hi").url
        == f"https://{HOST}/v1beta1/projects/q/locations/us/endpoints/1:generateContent"
    )


@pytest.mark.parametrize(
    ("environment", "settings", "is_vertex", "who"),
    [
        ({"GOOGLE_API_KEY": "a"}, {}, False, "a"),
        ({"GEMINI_API_KEY": "b"}, {}, False, "b"),
        ({"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_API_KEY": "a"}, {}, True, "a"),
        # as google-genai: the project of the environment wins over its key
        (
            {"GOOGLE_GENAI_USE_VERTEXAI": "1", "GOOGLE_API_KEY": "a", "GOOGLE_CLOUD_PROJECT": "p"},
            {"credentials": token},
            True,
            "Bearer tok",
        ),
        (
            {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_CLOUD_PROJECT": "p"},
            {"vertexai": False, "api_key": "k"},
            False,
            "k",
        ),
        ({"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_API_KEY": "a"}, {}, False, "a"),
    ],
)
def test_the_environment_is_read_as_googles_sdk_reads_it(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    settings: dict[str, Any],
    is_vertex: bool,
    who: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    request = ChatGoogleGenerativeAI(model="gemini-2.5-flash", **settings).build_request("hi")
    assert ("aiplatform" in request.url) == is_vertex
    assert who in request.headers.values()


def test_of_two_keys_in_the_environment_the_first_is_taken_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "a")
    monkeypatch.setenv("GEMINI_API_KEY", "b")
    with pytest.warns(UserWarning, match="`GEMINI_API_KEY`"):
        model = ChatGoogleGenerativeAI(model="gemini-2.5-flash")
    assert model.build_request("hi").headers["x-goog-api-key"] == "a"


def test_without_a_project_or_a_key_the_error_names_what_to_set() -> None:
    with pytest.raises(MissingKey, match="`GOOGLE_API_KEY` or `GEMINI_API_KEY`"):
        ChatGoogleGenerativeAI(model="m").build_request("hi")
    with pytest.raises(InvalidArgument, match="`GOOGLE_CLOUD_PROJECT`"):
        ChatVertexAI(model="m", credentials=token).build_request("hi")


@pytest.mark.parametrize("wrong", ["evil.test/", "a b", "us\n", "é", "mars-1", "us_east1"])
def test_a_location_cannot_lead_to_another_host(wrong: str) -> None:
    with pytest.raises(InvalidArgument, match="`location`"):
        ChatVertexAI(model="m", project="p", location=wrong, credentials=token)


REFUSALS = [
    (
        ChatVertexAI,
        403,
        "Permission 'aiplatform.endpoints.predict' denied",
        PermissionDenied,
        "projects list",
    ),
    (ChatVertexAI, 404, "Publisher Model `m` was not found", NotFound, "docs/models"),
    (
        ChatAnthropicVertex,
        404,
        "Publisher Model `m` was not found",
        NotFound,
        "partner-models/claude",
    ),
]


@pytest.mark.parametrize(("kind", "status", "words", "error", "row"), REFUSALS)
def test_a_wrong_project_or_model_hears_the_services_words_and_where_the_right_ones_are_listed(
    kind: Any, status: int, words: str, error: Any, row: str
) -> None:
    refused = {"error": {"code": status, "message": words, "status": "X"}}
    with recording(lambda body, headers: (status, refused)) as (url, seen):
        with pytest.raises(error) as caught:
            kind(model="m", project="p", credentials=token, base_url=url).invoke("hi")
        assert len(seen) == 1
    assert str(caught.value).startswith(words)
    assert row in str(caught.value)


def test_a_missing_extra_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("google.auth", "google.auth.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependency, match=r"modelwire\[google\]"):
        ChatVertexAI(model="m", project="p").invoke("hi")


def test_claude_is_called_on_vertex_over_messages() -> None:
    model = init_chat_model(
        "google_anthropic_vertex:claude-sonnet-4-5@20250929", project="p", credentials=token
    )
    assert isinstance(model, ChatAnthropicVertex)
    request = model.build_request("hi", stream=True)
    assert request.url == (
        f"https://{HOST}/v1/projects/p/locations/global/publishers/anthropic/models/"
        "claude-sonnet-4-5@20250929:streamRawPredict"
    )
    assert request.headers["authorization"] == "Bearer tok"
    assert "anthropic-version" not in request.headers
    assert request.body["anthropic_version"] == "vertex-2023-10-16"
    assert request.body["stream"] is True
    assert "model" not in request.body
    assert request.model == "claude-sonnet-4-5@20250929"


def test_the_sdk_sends_the_same_to_claude_on_vertex() -> None:
    anthropic = pytest.importorskip("anthropic")
    pytest.importorskip("google.auth")
    with recording(lambda body, headers: (200, ANSWER)) as (url, seen):
        client = anthropic.AnthropicVertex(
            region="global", project_id="p", access_token="tok", base_url=f"{url}/v1", max_retries=0
        )
        client.messages.create(
            model="claude-sonnet-5", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        )
        model = ChatAnthropicVertex(
            model="claude-sonnet-5",
            max_tokens=9,
            project="p",
            credentials=token,
            base_url=f"{url}/v1",
        )
        assert model.invoke("hi").content == "ok"
    (path, headers, body), ours = seen
    # The SDK names a later version than the codec speaks (`wires/anthropic/__init__.py`).
    assert (ours[0], {**ours[2], "anthropic_version": body["anthropic_version"]}) == (path, body)
    assert ours[1]["authorization"] == headers["authorization"]


class Credentials:
    """google-auth's, as far as they are asked for."""

    token: str | None = None
    valid = False
    quota_project_id = "payer"

    def __init__(self) -> None:
        self.refreshed = 0

    def refresh(self, request: Any) -> None:
        self.refreshed += 1
        self.token, self.valid = f"tok{self.refreshed}", True


ANSWER = {
    "content": [{"type": "text", "text": "ok"}],
    "role": "assistant",
    "type": "message",
    "id": "m",
    "model": "c",
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
GEMINI = {"candidates": [{"content": {"parts": [{"text": "ok"}]}, "finishReason": "STOP"}]}
REFUSED = {"error": {"code": 401, "message": "Invalid credentials.", "status": "UNAUTHENTICATED"}}
Seen = list[tuple[str, dict[str, str], Any]]


class recording:
    """A raw server that notes requests and answers as `answer` says."""

    def __init__(self, answer: Callable[[Any, dict[str, str]], tuple[int, Any]]) -> None:
        self.seen: Seen = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen.append((self.path, headers, body))
                status, reply = answer(body, headers)
                content = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> tuple[str, Seen]:
        Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}", self.seen

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def credentials() -> Iterator[Credentials]:
    pytest.importorskip("google.auth")
    return Credentials()


def test_a_refused_token_is_refreshed_once(colour: Any, credentials: Credentials) -> None:
    def answer(body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        return (200, GEMINI) if headers["authorization"] == "Bearer tok2" else (401, REFUSED)

    with recording(answer) as (url, seen):
        model = ChatVertexAI(
            model="gemini-2.5-flash", project="p", credentials=credentials, base_url=url
        )
        assert colour.invoke(model, "hi").content == "ok"
        assert colour.invoke(model, "hi").content == "ok"
    assert [headers["authorization"] for _, headers, _ in seen] == [
        "Bearer tok1",
        "Bearer tok2",
        "Bearer tok2",
    ]
    assert {headers["x-goog-user-project"] for _, headers, _ in seen} == {"payer"}
    assert credentials.refreshed == 2


def test_a_token_that_stays_refused_is_an_authentication_error(
    colour: Any, credentials: Credentials
) -> None:
    with recording(lambda body, headers: (401, REFUSED)) as (url, seen):
        model = ChatVertexAI(
            model="gemini-2.5-flash", project="p", credentials=credentials, base_url=url
        )
        with pytest.raises(AuthenticationError, match="Invalid credentials"):
            colour.invoke(model, "hi")
    assert len(seen) == credentials.refreshed == 2


def test_credentials_that_cannot_be_refreshed_say_so(credentials: Credentials) -> None:
    from google.auth.exceptions import RefreshError

    def fail(request: Any) -> None:
        raise RefreshError("invalid_grant: Token has been expired or revoked.")  # type: ignore[no-untyped-call]

    credentials.refresh = fail  # type: ignore[method-assign]
    with pytest.raises(AuthenticationError, match=r"google_vertexai.*|.*expired or revoked"):
        ChatVertexAI(model="m", project="p", credentials=credentials).invoke("hi")


def test_copies_and_pickles_keep_no_credentials(credentials: Credentials) -> None:
    model = ChatVertexAI(model="m", project="p", credentials=credentials)
    assert model._endpoint().headers["Authorization"] == "Bearer tok1"
    assert copy.deepcopy(model).credentials is not None
    data = pickle.dumps(model)
    assert b"tok1" not in data
    woken = pickle.loads(data)
    assert type(woken.credentials).__name__ == "GoogleToken"  # the machine's own, there
    assert "Credentials" not in repr(model)

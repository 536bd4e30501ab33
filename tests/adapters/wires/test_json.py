from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.adapters.wires.json import (
    error_from_reply,
    mask_secrets,
    provider_words,
    read_json,
    request_id_of,
    snippet,
)
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    MalformedResponse,
    NotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RetryClass,
    ServerError,
)
from modelwire.transport.wire import Reply


def reply(status: int, body: object, headers: dict[str, str] | None = None) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, headers or {}, raw)


# ---------------------------------------------------------------- snippet and mask


def test_snippet_is_short_on_one_line_and_without_controls() -> None:
    shown = snippet(b"<html>\r\n\t<b>\x1b[31mred\x07</b>\xff " + b"x" * 5_000, 60)
    assert len(shown) == 60
    assert shown.startswith("<html> <b>\\x1b[31mred\\x07</b>")
    assert shown.isprintable()
    assert shown.endswith("…")


@given(st.text(max_size=400), st.integers(1, 300))
def test_snippet_is_always_printable_and_within_its_limit(text: str, limit: int) -> None:
    shown = snippet(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefghijklmnop1234",
        "sk-proj-AbC_d-123456789012345678901234567890",
        "sk-ant-api03-abcdef-GHIJ_1234",
        "sk-abc***********wxyz",
        "gsk_abcdEFGH12345678",
        "xai-abcdEFGH12345678",
        "hf_abcdEFGH12345678",
        "AIzaSyA-1234567890abcdefghijk",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF",
    ],
)
def test_what_looks_like_a_key_is_masked(secret: str) -> None:
    masked = mask_secrets(
        f"Incorrect API key provided: {secret}. Find yours at https://platform.openai.com."
    )
    assert secret not in masked
    assert "**********" in masked
    assert "https://platform.openai.com" in masked


def test_a_bearer_token_and_a_named_key_are_masked_whatever_their_form() -> None:
    assert mask_secrets("got Bearer my.very-secret") == "got Bearer **********"
    assert mask_secrets('API key: "my_canary_1"') == 'API key: "**********"'


def test_words_and_keys_the_provider_has_masked_stay() -> None:
    for text in (
        "Your api key: ****-key is invalid",
        "the risk-averse task-runner",
        "model gpt-4o-mini not found",
    ):
        assert mask_secrets(text) == text


# ---------------------------------------------------------------- JSON in


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b"<html><body>Bad gateway</body></html>", "is not JSON"),
        (b'{"a": 1', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a":' * 100_000, "is not JSON"),
    ],
)
def test_what_nobody_can_read_is_a_malformed_response(body: bytes, said: str) -> None:
    with pytest.raises(MalformedResponse) as caught:
        read_json(body, provider="openai", request_id="req_1", status=200)
    error = caught.value
    assert said in str(error)
    assert (error.provider, error.request_id, error.status) == ("openai", "req_1", 200)
    assert error.retry_class is RetryClass.GLITCH
    assert len(error.message) < 400
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' \n\n {"a": 1} ', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "x\xffy"}', {"a": "x�y"}),
        (b'{"a": "x\xe2\x82y"}', {"a": "x�y"}),
        (b'{"a": "\\ud83d!"}', {"a": "�!"}),
        (b'{"a": "\\ude00!"}', {"a": "�!"}),
        (b'{"a": "\\ud83d\\ude00 \\\\ud83d", "b": "\xff"}', {"a": "😀 \\ud83d", "b": "�"}),
        (b'{"a": 1e999}', {"a": math.inf}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_odd_json_is_a_value_and_its_text_can_be_encoded(body: bytes, value: object) -> None:
    read = read_json(body, provider="openai")
    assert read == value
    json.dumps(read, ensure_ascii=False).encode("utf-8")


def test_not_a_number_is_a_value() -> None:
    assert math.isnan(read_json(b'{"a": NaN}', provider="openai")["a"])


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_malformed_response(body: bytes) -> None:
    try:
        read_json(body, provider="openai")
    except MalformedResponse:
        pass


# ---------------------------------------------------------------- errors in


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {
                "error": {
                    "message": "no",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "bad",
                }
            },
            ("no", "invalid_request_error", "bad", None, None),
        ),
        ({"error": {"message": "no", "code": 502}}, ("no", None, 502, None, None)),
        ({"error": "no", "code": "Some error"}, ("no", None, "Some error", None, None)),
        ({"error": "no"}, ("no", None, None, None, None)),
        ({"detail": "no"}, ("no", None, None, None, None)),
        (
            {"detail": [{"loc": ["body"], "msg": "no", "type": "missing"}]},
            ("no", None, None, None, None),
        ),
        (
            {"object": "error", "message": "no", "type": "BadRequestError", "code": 400},
            ("no", "BadRequestError", 400, None, None),
        ),
        ({"message": {"detail": [{"msg": "no"}]}}, ("no", None, None, None, None)),
        ({"errors": [{"message": "no", "code": 7003}]}, ("no", None, None, None, None)),
        (
            [{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}],
            ("no", "INVALID_ARGUMENT", 400, None, None),
        ),
        (
            {
                "type": "error",
                "error": {
                    "type": "rate_limit_error",
                    "message": "no",
                    "details": {"error_code": "spend"},
                },
                "request_id": "req_9",
            },
            ("no", "rate_limit_error", None, "spend", "req_9"),
        ),
        ({"error": {"message": "", "code": ""}}, (None, None, None, None, None)),
        ("no", ("no", None, None, None, None)),
        (None, (None, None, None, None, None)),
        ([], (None, None, None, None, None)),
        (True, (None, None, None, None, None)),
    ],
)
def test_every_shape_of_error_gives_its_words(body: object, expected: tuple[object, ...]) -> None:
    words = provider_words(body)
    assert (words.message, words.type, words.code, words.detail_code, words.request_id) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "detail", "details", "status"]),
            inner,
        )
    ),
    max_leaves=8,
)


@given(JSON, st.integers(100, 999))
def test_error_from_reply_never_raises(body: object, status: int) -> None:
    error = error_from_reply(reply(status, body), "openai")
    assert str(error)
    assert error.provider == "openai"


@given(st.binary(max_size=50))
def test_error_from_reply_never_raises_whatever_the_bytes(body: bytes) -> None:
    assert error_from_reply(reply(500, body), "openai").status == 500


@pytest.mark.parametrize(
    ("status", "body", "cls", "retry_class"),
    [
        (
            401,
            {"error": {"message": "no", "code": "invalid_api_key"}},
            AuthenticationError,
            RetryClass.FATAL,
        ),
        (404, {"detail": "Not Found"}, NotFound, RetryClass.FATAL),
        (429, {"error": {"message": "slow"}}, RateLimited, RetryClass.THROTTLE),
        (
            429,
            {"error": {"message": "pay", "code": "insufficient_quota"}},
            QuotaExhausted,
            RetryClass.FATAL,
        ),
        (400, b"<html>", BadRequest, RetryClass.FATAL),
        (502, b"", ServerError, RetryClass.TRANSIENT),
        (529, b"", Overloaded, RetryClass.OVERLOAD),
    ],
)
def test_an_error_answer_is_the_class_that_fits(
    status: int, body: object, cls: type[Exception], retry_class: RetryClass
) -> None:
    error = error_from_reply(reply(status, body), "openai")
    assert type(error) is cls
    assert error.status == status
    assert error.retry_class is retry_class


def test_error_carries_the_facts_and_hides_the_key() -> None:
    body = {
        "error": {
            "message": "Incorrect API key provided: sk-canary-1234567890.",
            "code": "invalid_api_key",
        }
    }
    error = error_from_reply(reply(401, body, {"x-request-id": "req_7"}), "openai")
    assert error.request_id == "req_7"
    assert error.code == "invalid_api_key"
    assert error.body["error"]["code"] == "invalid_api_key"
    assert "sk-canary" not in f"{error} {error!r} {error.__dict__}"


def test_error_text_obeys_no_terminal_and_is_short() -> None:
    error = error_from_reply(
        reply(400, {"error": {"message": "\x1b[2Jgone\r\n" + "x" * 900}}), "openai"
    )
    assert error.message.startswith("\\x1b[2Jgone x")
    assert len(error.message) == 300


def test_an_answer_without_words_says_its_status() -> None:
    assert error_from_reply(reply(503, b""), "x").message == (
        "The server answered 503 Service Unavailable with an empty body."
    )
    assert (
        "502 Bad Gateway: `<h1>oops</h1>`"
        in error_from_reply(reply(502, b"<h1>oops</h1>"), "x").message
    )


def test_a_redirect_says_where_and_what_to_do_but_not_its_query() -> None:
    error = error_from_reply(reply(307, b"", {"location": "https://else.where/v1?token=abc"}), "x")
    assert "https://else.where/v1" in error.message
    assert "token" not in error.message
    assert "base_url" in error.message


def test_request_id_is_found_under_any_name() -> None:
    assert request_id_of({"request-id": "a"}) == "a"
    assert request_id_of({"x-request-id": "b", "request-id": "a"}) == "b"
    assert request_id_of({}) is None


@pytest.mark.parametrize("medium", ["image", "audio"])
def test_a_picture_that_llama_cpp_cannot_see_is_not_asked_about_again(medium: str) -> None:
    """Its server answers a request that no model with eyes is there for by a 500."""
    message = f"{medium} input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    body = {"error": {"code": 500, "message": message, "type": "server_error"}}
    error = error_from_reply(Reply(500, {}, json.dumps(body).encode()), "local")
    assert (type(error), error.status, error.retry_class) == (BadRequest, 500, RetryClass.FATAL)
    plain = {"error": {"code": 500, "message": "out of memory", "type": "server_error"}}
    assert (
        type(error_from_reply(Reply(500, {}, json.dumps(plain).encode()), "local")) is ServerError
    )

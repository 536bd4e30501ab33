"""Which error an answer is: every status, and the codes that win over it."""

import pytest

from modelwire import errors as e
from modelwire.errors import RetryClass as R
from modelwire.transport.classify import provider_error

TABLE = [
    *[(s, e.BadRequest, R.FATAL) for s in (400, 405, 406, 415, 418, 422, 431, 451, 499)],
    (401, e.AuthenticationError, R.FATAL),
    (402, e.QuotaExhausted, R.FATAL),
    (403, e.PermissionDenied, R.FATAL),
    (404, e.NotFound, R.FATAL),
    (413, e.RequestTooLarge, R.FATAL),
    *[(s, e.Conflict, R.TRANSIENT) for s in (408, 409, 425)],
    (429, e.RateLimited, R.THROTTLE),
    *[(s, e.ServerError, R.TRANSIENT) for s in (500, 502, 504, 520, 521, 522, 523, 524, 530, 599)],
    *[(s, e.ServerError, R.FATAL) for s in (501, 505)],
    *[(s, e.Overloaded, R.OVERLOAD) for s in (503, 529)],
    *[(s, e.BadRequest, R.FATAL) for s in (301, 302, 307, 308)],
]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize(("status", "cls", "retry"), TABLE)
def test_every_status_has_its_class(provider: str, status: int, cls: type, retry: R) -> None:
    error = provider_error("m", provider=provider, status=status)
    assert (type(error), error.retry_class, error.status) == (cls, retry, status)


@pytest.mark.parametrize(
    ("status", "words", "cls", "retry"),
    [
        (429, {"code": "insufficient_quota"}, e.QuotaExhausted, R.FATAL),
        (429, {"type": "insufficient_quota"}, e.QuotaExhausted, R.FATAL),
        (
            429,
            {"type": "rate_limit_error", "detail_code": "enforced_spend_limit_reached"},
            e.QuotaExhausted,
            R.FATAL,
        ),
        (
            429,
            {"type": "rate_limit_error", "detail_code": "ramp_limit_exceeded"},
            e.RateLimited,
            R.THROTTLE,
        ),
        (400, {"code": "context_length_exceeded"}, e.ContextTooLong, R.FATAL),
        (200, {"type": "overloaded_error"}, e.Overloaded, R.OVERLOAD),
        (200, {"type": "api_error"}, e.ServerError, R.TRANSIENT),
        (503, {"type": "api_error"}, e.Overloaded, R.OVERLOAD),
        (429, {"type": "api_error"}, e.RateLimited, R.THROTTLE),
        (500, {"type": "api_error"}, e.ServerError, R.TRANSIENT),
        (500, {"code": "server_overloaded"}, e.Overloaded, R.OVERLOAD),
        (
            429,
            {"code": "resource_unavailable"},
            e.Overloaded,
            R.TRANSIENT,
        ),  # of flex: the others need not slow down
        (429, {"type": "resource_unavailable"}, e.Overloaded, R.TRANSIENT),
        (200, {"code": 502}, e.ServerError, R.TRANSIENT),
        (200, {"code": "429"}, e.RateLimited, R.THROTTLE),
        (413, {"code": "rate_limit_exceeded"}, e.RequestTooLarge, R.FATAL),
        (
            401,
            {"type": "invalid_request_error", "code": "invalid_api_key"},
            e.AuthenticationError,
            R.FATAL,
        ),
    ],
)
def test_the_providers_code_wins_over_the_status(
    status: int, words: dict, cls: type, retry: R
) -> None:
    error = provider_error("m", provider="p", status=status, **words)
    assert (type(error), error.retry_class) == (cls, retry)


def test_the_provider_may_say_itself_whether_to_retry() -> None:
    def retry_class(status: int, said: str, **words: str) -> R:
        return provider_error(
            "m", provider="p", status=status, headers={"x-should-retry": said}, **words
        ).retry_class

    assert retry_class(500, "false") is R.FATAL
    assert retry_class(400, "true") is R.TRANSIENT
    assert retry_class(429, "true") is R.THROTTLE
    assert retry_class(429, "true", code="insufficient_quota") is R.FATAL


@pytest.mark.parametrize("what", ["image", "audio"])
def test_a_model_that_reads_no_images_is_not_asked_five_times(what: str) -> None:
    """llama.cpp's server says 500 for it, its status of everything that is thrown; seen on 2026-11-22."""
    message = f"{what} input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    error = provider_error(message, provider="local", status=500, code=500, type="server_error")
    assert (type(error), error.retry_class) == (e.BadRequest, R.FATAL)
    assert type(provider_error("it broke", provider="local", status=500, code=500)) is e.ServerError

"""Maps a provider's error (status, type and code) to a class of `modelwire.errors`, for every wire. No I/O here."""

from __future__ import annotations

import re
from typing import Any

from modelwire.aliases import HeaderFields
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    Conflict,
    ContextTooLong,
    NotFound,
    Overloaded,
    PermissionDenied,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Refused,
    RequestTooLarge,
    RetryClass,
    ServerError,
)

_BY_STATUS: dict[int, type[ProviderError]] = {
    400: BadRequest,
    401: AuthenticationError,
    402: QuotaExhausted,
    403: PermissionDenied,
    404: NotFound,
    405: BadRequest,
    407: PermissionDenied,
    408: Conflict,
    409: Conflict,
    410: NotFound,
    413: RequestTooLarge,
    415: BadRequest,
    422: BadRequest,
    425: Conflict,
    429: RateLimited,
    503: Overloaded,
    529: Overloaded,  # Anthropic `overloaded_error`: https://docs.anthropic.com/en/api/errors, read 2026-11
}


def usual_status(kind: type[ProviderError]) -> int:
    """Return the status that providers usually send for an error of this class; 500 if no status stands for it."""
    return next((status for status, cls in _BY_STATUS.items() if cls is kind), 500)


# These codes take precedence over the status: first `code`, then `type`. Of OpenAI: https://platform.openai.com/docs/guides/error-codes
# and, why a response failed, `ResponseError.code` of openai 3.52; of Anthropic: https://docs.anthropic.com/en/api/errors;
# of llama.cpp's server: https://github.com/ggml-org/llama.cpp, tools/server/README.md; of Bedrock:
# https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html and `bedrock-runtime` of botocore 1.44; all
# read 2026-11.
_CODES: dict[type[ProviderError], tuple[str, ...]] = {
    QuotaExhausted: (
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "billing_error",
        "ServiceQuotaExceededException",
    ),
    ContextTooLong: (
        "context_length_exceeded",
        "string_above_max_length",
        "exceed_context_size_error",
    ),
    AuthenticationError: (
        "invalid_api_key",
        "authentication_error",
        "ExpiredTokenException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "IncompleteSignatureException",
        "MissingAuthenticationTokenException",
    ),
    PermissionDenied: ("permission_error",),
    NotFound: ("model_not_found", "not_found_error"),
    RequestTooLarge: ("request_too_large",),
    RateLimited: ("rate_limit_exceeded", "slow_down", "rate_limit_error", "ThrottlingException"),
    Overloaded: (
        "server_overloaded",
        "overloaded_error",
        "unavailable_error",
        "ModelNotReadyException",
        "resource_unavailable",
    ),
    ServerError: (
        "vector_store_timeout",
        "timeout_error",
        "api_error",
        "server_error",
        "ModelErrorException",
        "ModelStreamErrorException",
    ),
    Refused: (
        "content_filter",
        "content_policy_violation",
        "bio_policy",
        "image_content_policy_violation",
        "misalignment_policy_violation",
    ),
}
_BY_CODE = {code: cls for cls, codes in _CODES.items() for code in codes}

# This code means that OpenAI's flex tier has no capacity for the call. Other calls and the key's limits are not
# concerned: https://platform.openai.com/docs/guides/flex-processing, read 2026-11.
_NO_ROOM = "resource_unavailable"

_FATAL_SERVER_STATUSES = frozenset({501, 505})


def provider_error(
    message: str,
    *,
    provider: str,
    status: int,
    type: str | None = None,
    code: str | int | None = None,
    detail_code: str | None = None,
    headers: HeaderFields | None = None,
    request_id: str | None = None,
    model: str | None = None,
    body: Any = None,
) -> ProviderError:
    """Return the error for a reply.

    `status` is the HTTP status, or the one that an error event inside a 200 means. `code` may itself be a status
    (OpenRouter sends `{"error": {"code": 502}}` under a 200); it then counts as the status. `headers` have lower-case
    names. Only codes identify billing errors, never the text of the message.
    """
    headers = headers or {}
    status = _embedded_status(code) or status
    code = None if code is None else str(code)
    cls = _class_of(status, type, code, detail_code)
    if cls is RateLimited and _exceeds_limit(message):
        cls = RequestTooLarge
    # llama.cpp sends this for an image if the model accepts none (seen 2026-11).
    if status == 500 and " input is not supported" in message:
        cls = BadRequest
    retry_class = _retry_class(cls, status, headers.get("x-should-retry"))
    if cls is Overloaded and _NO_ROOM in (code, type):
        retry_class = RetryClass.TRANSIENT
    return cls(
        message,
        provider=provider,
        model=model,
        status=status,
        code=code,
        type=type,
        request_id=request_id,
        retry_class=retry_class,
        body=body,
    )


# OpenAI and services like it send "Request too large for gpt-4o ... (TPM): Limit 30000, Requested 45000." If a request
# fits the limit, they send "Rate limit reached for ... Limit 30000, Used 29000, Requested 4500."; it succeeds later.
# https://community.openai.com/t/request-too-large-for-gpt-4o, read 2026-11.
_TOO_LARGE = r"(?i)request too large\b"
_LIMIT_AND_REQUESTED = r"(?is)\blimit:? ([\d,]+).{0,80}?\brequested:? ([\d,]+)"


def _exceeds_limit(message: str) -> bool:
    """Return whether the text of a refusal says that the request exceeds the limit itself, so that no wait helps."""
    numbers = re.search(_LIMIT_AND_REQUESTED, message)
    if numbers is None:
        return re.match(_TOO_LARGE, message) is not None
    limit, requested = (digits.replace(",", "") for digits in numbers.groups())
    return limit.isdecimal() and requested.isdecimal() and int(requested) > int(limit)


def _embedded_status(code: str | int | None) -> int | None:
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599:
        return code
    return None


def _class_of(status: int, *codes_and_types: str | None) -> type[ProviderError]:
    # The request is larger than the limit itself, so waiting does not help. Groq's code is
    # `rate_limit_exceeded` here.
    if status == 413:
        return RequestTooLarge
    type_, code, detail_code = codes_and_types
    for word in (detail_code, code, type_):
        cls = None if word is None else _BY_CODE.get(word)
        # A known status is more specific than the code of a general server error.
        is_vague = cls is ServerError and status in _BY_STATUS
        if cls is not None and not is_vague:
            return cls
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ServerError if status >= 500 else BadRequest


def _retry_class(cls: type[ProviderError], status: int, should_retry: str | None) -> RetryClass:
    """Return the retry class of an error: that of its class, unless the provider's `x-should-retry` overrides it.

    A billing error is never retried.
    """
    if cls is QuotaExhausted:
        return RetryClass.FATAL
    by_class = RetryClass.FATAL if status in _FATAL_SERVER_STATUSES else cls.retry_class
    if should_retry == "false":
        return RetryClass.FATAL
    if should_retry == "true" and by_class is RetryClass.FATAL:
        return RetryClass.TRANSIENT
    return by_class

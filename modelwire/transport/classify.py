"""Which error a provider's answer is, as data. No I/O here.

The one place that maps (status, type, code) to a class of `modelwire.errors`, for every wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

__all__ = ["provider_error"]

BY_STATUS: dict[int, type[ProviderError]] = {
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

# Wins over the status: by `code`, then by `type`.
BY_CODE: dict[str, type[ProviderError]] = {
    # OpenAI: https://platform.openai.com/docs/guides/error-codes, read 2026-11
    "insufficient_quota": QuotaExhausted,
    "credit_balance_exhausted": QuotaExhausted,
    "organization_spend_limit_exceeded": QuotaExhausted,
    "project_spend_limit_exceeded": QuotaExhausted,
    "organization_usage_limit_exceeded": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "context_length_exceeded": ContextTooLong,
    "string_above_max_length": ContextTooLong,
    "invalid_api_key": AuthenticationError,
    "model_not_found": NotFound,
    "rate_limit_exceeded": RateLimited,
    "slow_down": RateLimited,
    "server_overloaded": Overloaded,
    "content_filter": Refused,
    "content_policy_violation": Refused,
    # openai 3.52, `ResponseError.code`: why a response failed, read 2026-11
    "bio_policy": Refused,
    "image_content_policy_violation": Refused,
    "misalignment_policy_violation": Refused,
    "vector_store_timeout": ServerError,
    # Anthropic: https://docs.anthropic.com/en/api/errors, read 2026-11
    "enforced_spend_limit_reached": QuotaExhausted,
    "contract_spend_limit_reached": QuotaExhausted,
    "billing_error": QuotaExhausted,
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDenied,
    "not_found_error": NotFound,
    "request_too_large": RequestTooLarge,
    "rate_limit_error": RateLimited,
    "overloaded_error": Overloaded,
    "timeout_error": ServerError,
    "api_error": ServerError,
    "server_error": ServerError,
    # llama.cpp's server: https://github.com/ggml-org/llama.cpp, tools/server/README.md, read 2026-11
    "exceed_context_size_error": ContextTooLong,
    "unavailable_error": Overloaded,
}

FATAL_SERVER_STATUSES = frozenset({501, 505})


def provider_error(
    message: str,
    *,
    provider: str,
    status: int,
    type: str | None = None,
    code: str | int | None = None,
    detail_code: str | None = None,
    headers: Mapping[str, str] | None = None,
    request_id: str | None = None,
    model: str | None = None,
    body: Any = None,
    partial: Any = None,
) -> ProviderError:
    """Make the error that fits.

    `status` is the HTTP status, or the one an error event inside a 200 stands for. `code` may itself be a status
    (OpenRouter sends `{"error": {"code": 502}}` under a 200); it then counts as the status. `headers` have lower-case
    names. Billing is told by codes only, never by the message's words (RELIABILITY 1.2).
    """
    headers = headers or {}
    status = _embedded_status(code) or status
    cls = _class_of(status, type, str(code) if code is not None else None, detail_code)
    error = cls(
        message,
        provider=provider,
        model=model,
        status=status,
        code=str(code) if code is not None else None,
        type=type,
        request_id=request_id,
        retry_class=_retry_class(cls, status, headers.get("x-should-retry")),
        body=body,
        partial=partial,
    )
    return error


def _embedded_status(code: str | int | None) -> int | None:
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599 else None


def _class_of(status: int, *codes_and_types: str | None) -> type[ProviderError]:
    if status == 413:  # larger than the limit itself (Groq says `rate_limit_exceeded` then): waiting does not help
        return RequestTooLarge
    type_, code, detail_code = codes_and_types
    for word in (detail_code, code, type_):
        if word is not None and word in BY_CODE and not (BY_CODE[word] is ServerError and status in BY_STATUS):
            return BY_CODE[word]  # a bare "server error" says less than a status that is known
    if status in BY_STATUS:
        return BY_STATUS[status]
    return ServerError if status >= 500 else BadRequest


def _retry_class(cls: type[ProviderError], status: int, should_retry: str | None) -> RetryClass:
    """R1: the class says, unless the provider itself says more; billing is never retried."""
    if cls is QuotaExhausted:
        return RetryClass.FATAL
    by_class = RetryClass.FATAL if status in FATAL_SERVER_STATUSES else cls.retry_class
    if should_retry == "false":
        return RetryClass.FATAL
    if should_retry == "true" and by_class is RetryClass.FATAL:
        return RetryClass.TRANSIENT
    return by_class

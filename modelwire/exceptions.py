"""Errors under LangChain's names and path; `modelwire.errors` has them all, with what each means."""

from __future__ import annotations

from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    ContextTooLong,
    LangChainException,
    ModelError,
    ModelRefusalError,
    NotFound,
    OutputParserException,
    PermissionDenied,
    ProviderError,
    RateLimited,
    Timeout,
    WireError,
)

__all__ = [
    "ContextOverflowError",
    "LangChainException",
    "ModelAPIError",
    "ModelAuthenticationError",
    "ModelConnectionError",
    "ModelError",
    "ModelInvalidRequestError",
    "ModelNotFoundError",
    "ModelPermissionDeniedError",
    "ModelRateLimitError",
    "ModelRefusalError",
    "ModelTimeoutError",
    "OutputParserException",
]

ContextOverflowError = ContextTooLong
ModelAPIError = ProviderError
ModelAuthenticationError = AuthenticationError
ModelConnectionError = WireError
ModelInvalidRequestError = BadRequest
ModelNotFoundError = NotFound
ModelPermissionDeniedError = PermissionDenied
ModelRateLimitError = RateLimited
ModelTimeoutError = Timeout

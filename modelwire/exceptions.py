"""Errors under LangChain's names and path; `modelwire.errors` defines all errors and explains them."""

from __future__ import annotations

from modelwire.errors import AuthenticationError as ModelAuthenticationError
from modelwire.errors import BadRequest as ModelInvalidRequestError
from modelwire.errors import ContextTooLong as ContextOverflowError
from modelwire.errors import (
    LangChainException,
    ModelError,
    ModelRefusalError,
    OutputParserException,
)
from modelwire.errors import NotFound as ModelNotFoundError
from modelwire.errors import PermissionDenied as ModelPermissionDeniedError
from modelwire.errors import ProviderError as ModelAPIError
from modelwire.errors import RateLimited as ModelRateLimitError
from modelwire.errors import Timeout as ModelTimeoutError
from modelwire.errors import WireError as ModelConnectionError

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

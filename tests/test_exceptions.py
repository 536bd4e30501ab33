"""Errors under LangChain's names."""

import pytest

from modelwire import errors, exceptions


def test_every_name_is_an_error_of_ours() -> None:
    for name in exceptions.__all__:
        assert issubclass(getattr(exceptions, name), errors.ModelwireError)


@pytest.mark.parametrize(
    ("raised", "caught"),
    [
        (errors.RateLimited("x"), exceptions.ModelRateLimitError),
        (errors.Timeout("x"), exceptions.ModelTimeoutError),
        (errors.ContextTooLong("x"), exceptions.ContextOverflowError),
        (errors.ConnectFailed("x"), exceptions.ModelConnectionError),
        (errors.ServerError("x"), exceptions.ModelAPIError),
        (errors.AuthenticationError("x"), exceptions.ModelAuthenticationError),
        (errors.AuthenticationError("x"), exceptions.ModelError),
        (errors.OutputParserException("x"), exceptions.LangChainException),
    ],
)
def test_what_scripts_catch_is_caught(raised: Exception, caught: type[Exception]) -> None:
    assert isinstance(raised, caught)

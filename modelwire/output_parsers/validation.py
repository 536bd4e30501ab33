"""The error for a value that pydantic rejects: it is an `OutputParserException` and pydantic's `ValidationError`.

So both `except OutputParserException` and `except ValidationError` catch it, and `.errors()` lists the problems with
their positions in the value.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError, ValidationError

from modelwire.aliases import JSON, Args
from modelwire.errors import OutputParserException


class OutputValidationError(OutputParserException, ValidationError):
    """Raised if pydantic rejected the value of an answer; `validation_error` creates it."""

    def __init__(self, title: str, *line_errors: Any) -> None:  # `from_exception_data` calls it.
        super().__init__(title)

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> Args:
        return _rebuilt, (
            type(self),
            self.title,
            self.errors(include_url=False),
            self.args,
            self.__dict__,
        )


def validation_error(
    text: str, error: ValueError, *, llm_output: str, raw_message: Any = None
) -> OutputParserException:
    """Return the error for `error`, a `ValidationError` of pydantic v2 or v1, with the message `text`.

    Raise it `from error`. Any other `ValueError` becomes an `OutputParserException`.
    """
    both: OutputParserException
    if isinstance(error, ValidationError):
        both = _rebuilt(
            OutputValidationError, error.title, error.errors(include_url=False), (text,), {}
        )
    elif hasattr(error, "raw_errors"):
        both = _of_v1()(text, error)
    else:
        both = OutputParserException(text)
    both.llm_output = llm_output
    both.raw_message = raw_message
    return both


def _rebuilt(
    kind: type[OutputValidationError],
    title: str,
    errors: list[Any],
    args: Args,
    state: JSON,
) -> OutputValidationError:
    made = kind.from_exception_data(title, [_line(error) for error in errors])
    made.args = args
    made.__dict__.update(state)
    return made


def _line(error: JSON) -> InitErrorDetails:
    """Return one entry of `errors()` in the form that `from_exception_data` needs; a custom type needs its text."""
    kind: Any = error["type"]
    try:
        PydanticKnownError(kind, error.get("ctx"))
    except (KeyError, TypeError):
        kind = PydanticCustomError(kind, error["msg"], error.get("ctx"))
    line = InitErrorDetails(type=kind, loc=error["loc"], input=error["input"])
    if isinstance(kind, str) and "ctx" in error:
        line["ctx"] = error["ctx"]
    return line


@cache
def _of_v1() -> Any:
    """Return the class for errors of `pydantic.v1`, which is already loaded when such an error is raised."""
    from pydantic.v1 import ValidationError as OldValidationError

    class OldOutputValidationError(OutputParserException, OldValidationError):
        def __init__(self, text: str, error: Any) -> None:
            OldValidationError.__init__(self, error.raw_errors, error.model)
            self.args = (text,)
            self.observation = None
            self.send_to_llm = False

        def __str__(self) -> str:
            return str(self.args[0])

    return OldOutputValidationError

"""Every error that modelwire raises, and who must act on it. No I/O; imports nothing of ours.

    ModelwireError
    ├── CallerError                 raised before any request: the program must change
    │   ├── InvalidArgument         also a ValueError
    │   │   ├── InvalidType         also a TypeError
    │   │   ├── NoJsonSchema        also a NotImplementedError: a type of a tool that no JSON schema can express
    │   │   ├── InvalidTemplate     a prompt template that is not allowed or cannot be read
    │   │   ├── InvalidConfig       a configuration file, with its line
    │   │   ├── NetworkBlocked      (in tests) a call would have left this machine
    │   │   ├── CassetteError       (in tests) a recording cannot be used, or has no answer to a request
    │   │   ├── UnknownModel        offers the close matches
    │   │   └── NotBatchable        (in jobs) a chain that no Batch API can answer, naming the step
    │   ├── MissingVariable         also a KeyError: a prompt variable has no value
    │   ├── MissingKey              no API key in the arguments or the environment
    │   └── MissingDependency       also an ImportError: an extra is not installed
    ├── ChatError                   a call was made and has no answer
    │   ├── ProviderError           the provider refused or failed
    │   │   ├── BadRequest (400 422 …)   ├── RateLimited (429)
    │   │   │   ├── ContextTooLong       ├── Overloaded (503 529)
    │   │   │   └── RequestTooLarge      ├── ServerError (5xx)
    │   │   ├── AuthenticationError 401  ├── Conflict (408 409 425)
    │   │   ├── PermissionDenied 403     ├── QuotaExhausted (billing)
    │   │   └── Refused                  └── NotFound 404
    │   │       └── ModelRefusalError    the model refused to return the requested data; `.raw_message`
    │   ├── AllDeploymentsFailed    no deployment of a pool can answer; `.errors` by deployment
    │   ├── IncompleteAnswer        the provider suspended the answer, and it was not continued; `.partial`
    │   └── WireError               the connection or the bytes on it
    │       ├── ConnectFailed       nothing was sent
    │       ├── TLSFailed           the certificate or the handshake
    │       ├── ProxyFailed
    │       ├── ConnectionLost      it broke while the answer was awaited or read
    │       ├── Timeout             also a TimeoutError
    │       ├── MalformedResponse   an answer that cannot be read
    │       └── IncompleteStream    a stream without its terminal mark; `.partial`
    │           └── StreamInterrupted    it broke after chunks had been handed out
    ├── OutputParserException       also a ValueError: the answer does not have the requested form; `.raw_message`
    ├── BudgetExceeded              a call was not sent: it may cost more than its `budget` has left
    │   └── BudgetUnavailable       what the budget has left cannot be known now: its Redis does not answer
    ├── StepLimitReached            `run_tools` ended before the model did; `.messages`
    ├── ToolsPaused                 `run_tools` ended with open calls; `.messages`, `.calls`
    ├── CallLater                   a tool raises it: its result comes later
    └── JobError                    a job cannot start or continue; finished rows stay stored
        ├── JobChanged              the input, the prompt or the model is not what the job began with
        ├── JobBusy                 another process runs it
        ├── JobStopped              the same failure for every row: a wrong key, no credit, an outage
        │   └── BatchUncertain      (in jobs) which batch is ours? `.part`, `.batch_ids`; `adopt`, `submit_again`
        └── DiskError               also an OSError: a full or broken disk; `.path`

`ParameterWarning`, no error: a parameter was changed to fit the model before it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from modelwire.aliases import Fields
from modelwire.records import NamedTuple

__all__ = [
    "AllDeploymentsFailed",
    "Attempt",
    "AuthenticationError",
    "BadRequest",
    "BudgetExceeded",
    "BudgetUnavailable",
    "CallLater",
    "CallerError",
    "CassetteError",
    "ChatError",
    "Conflict",
    "ConnectFailed",
    "ConnectionLost",
    "ContextTooLong",
    "DiskError",
    "IncompleteAnswer",
    "IncompleteStream",
    "InvalidArgument",
    "InvalidConfig",
    "InvalidTemplate",
    "InvalidType",
    "JobBusy",
    "JobChanged",
    "JobError",
    "JobStopped",
    "LangChainException",
    "MalformedResponse",
    "MissingDependency",
    "MissingKey",
    "MissingVariable",
    "ModelError",
    "ModelRefusalError",
    "ModelwireError",
    "NetworkBlocked",
    "NoJsonSchema",
    "NotFound",
    "OutputParserException",
    "Overloaded",
    "ParameterWarning",
    "PermissionDenied",
    "ProviderError",
    "ProxyFailed",
    "QuotaExhausted",
    "RateLimited",
    "Refused",
    "RequestTooLarge",
    "RetryClass",
    "ServerError",
    "StepLimitReached",
    "StreamInterrupted",
    "TLSFailed",
    "Timeout",
    "ToolsPaused",
    "UnknownModel",
    "WireError",
    "and_said",
    "did_you_mean",
    "message_of",
]


class RetryClass(Enum):
    """What a failure means for the next attempt."""

    THROTTLE = "throttle"  # come back later, as often as it takes: a rate limit
    OVERLOAD = "overload"  # the same, and send less at a time
    TRANSIENT = "transient"  # a passing failure: a few more tries
    GLITCH = "glitch"  # an unreadable answer: one more try
    FATAL = "fatal"  # the same request will fail again


class Attempt(NamedTuple):
    """One try of a call that failed."""

    retry_class: RetryClass
    error: str  # class name
    status: int | None
    code: str | None
    request_id: str | None
    elapsed_s: float
    maybe_billed: bool = (
        False  # the whole request was sent and no refusal came back: the answer may have been made
    )


class ModelwireError(Exception):
    """The root: `except ModelwireError` catches everything modelwire raises."""


class CallerError(ModelwireError):
    """The arguments cannot be used; nothing was sent."""


class InvalidArgument(CallerError, ValueError):
    """An argument has a value that cannot be used."""


class NetworkBlocked(InvalidArgument):
    """A call would have left this machine, which `modelwire.testing.block_network` or its pytest plugin forbids."""


class CassetteError(InvalidArgument):
    """A recording of `modelwire.testing` cannot be read or written, or has no answer to a request."""


class InvalidType(InvalidArgument, TypeError):
    """An argument is of a type that cannot be used."""


class NoJsonSchema(InvalidArgument, NotImplementedError):
    """A tool or a schema has a type that a JSON schema cannot express."""


class InvalidTemplate(InvalidArgument):
    """A prompt template cannot be read, or uses more than a plain name."""


class InvalidConfig(InvalidArgument):
    """A configuration file cannot be used."""

    def __init__(self, message: str, *, path: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.line = line


class UnknownModel(InvalidArgument):
    """No such provider, model row or model string."""


class MissingVariable(CallerError, KeyError):
    """A prompt was formatted without one of its variables."""

    __str__ = Exception.__str__  # KeyError would show the repr of the text


class MissingKey(CallerError):
    """There is no API key, neither as an argument nor in the environment."""


class MissingDependency(CallerError, ImportError):
    """A part of modelwire needs an extra that is not installed."""


class ParameterWarning(UserWarning):
    """A parameter was changed or left out, because the model does not take it unchanged."""


class ChatError(ModelwireError):
    """A call was made and there is no answer.

    All facts are attributes; any of them may be `None` if unknown.
    `attempts` lists the failed tries, oldest first, this one last.
    `partial` is the merged `AIMessageChunk` received so far, for streams.
    """

    retry_class: RetryClass = RetryClass.FATAL
    deployment: str | None = None  # of a pool

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        code: str | None = None,
        type: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: Any = None,
        partial: Any = None,
        retry_class: RetryClass | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.model = model
        self.status = status
        self.code = code
        self.type = type
        self.request_id = request_id
        self.retry_after = retry_after  # seconds to wait, from the provider
        self.body = body
        self.partial = partial
        self.attempts: Sequence[Attempt] = ()
        if retry_class is not None:
            self.retry_class = retry_class

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.retry_class is not RetryClass.FATAL

    @property
    def maybe_billed_attempts(self) -> int:
        """The number of attempts that the provider may have answered and billed although no answer arrived."""
        return sum(attempt.maybe_billed for attempt in self.attempts)

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later, under the name LangChain uses."""
        return self.retryable

    @property
    def status_code(self) -> int | None:
        """The HTTP status, under the name the SDKs use."""
        return self.status

    def __str__(self) -> str:
        seen = [
            f"{name} {value}"
            for name, value in (
                ("provider", self.provider),
                ("model", self.model),
                ("status", self.status),
                ("code", self.code),
                ("request id", self.request_id),
            )
            if value is not None
        ]
        if len(self.attempts) > 1:
            seen.append(f"after {len(self.attempts)} attempts")
        if seen:
            return f"{self.message} [{', '.join(seen)}]"
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[ChatError], args: tuple[Any, ...], state: Fields) -> ChatError:
    error = cls(*args)
    error.__dict__.update(state)
    return error


class ProviderError(ChatError):
    """The provider answered with an error."""


class BadRequest(ProviderError):
    """The provider does not accept this request."""


class ContextTooLong(BadRequest):
    """The messages and the reserved output exceed the model's context window.

    Where that was seen before the call (`check_context`), there was no request, and `tokens` and `max_input_tokens` say
    how many there are and how many the model takes.
    """

    tokens: int | None = None
    max_input_tokens: int | None = None


class RequestTooLarge(BadRequest):
    """The request has more bytes than the provider takes."""


class AuthenticationError(ProviderError):
    """The key is wrong or missing."""


class PermissionDenied(ProviderError):
    """The key is valid but not allowed to do this."""


class NotFound(ProviderError):
    """The provider has no such model or endpoint."""


class Refused(ProviderError):
    """The model refused to answer, or a policy of the provider blocked the prompt or stopped the answer.

    The message has the reason in the provider's words; `.partial` holds the text so far, with its usage.
    """


class ModelRefusalError(Refused):
    """The model refused to answer in the requested form. `raw_message` is its answer."""

    def __init__(
        self,
        message: str = "Model refused to produce the requested output",
        *,
        raw_message: Any = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.raw_message = raw_message

    @classmethod
    def from_refusal(
        cls, block: Mapping[str, Any], *, raw_message: Any = None
    ) -> ModelRefusalError:
        """Return the error for a `refusal` content block."""
        text = "Model refused to produce the requested output"
        category = (block.get("extras") or {}).get("category")
        if category:
            text += f" (category={category!r})"
        if block.get("refusal"):
            text += f": {block['refusal']}"
        return cls(text, raw_message=raw_message)


class QuotaExhausted(ProviderError):
    """The account has no credit or has reached a spending limit: waiting does not help."""


class RateLimited(ProviderError):
    """Too many requests or tokens for now."""

    retry_class = RetryClass.THROTTLE


class Overloaded(ProviderError):
    """The provider is overloaded, for all its users."""

    retry_class = RetryClass.OVERLOAD


class ServerError(ProviderError):
    """The provider failed."""

    retry_class = RetryClass.TRANSIENT


class Conflict(ProviderError):
    """The provider asks to send the same request again (408, 409, 425)."""

    retry_class = RetryClass.TRANSIENT


class WireError(ChatError):
    """The connection, or the bytes that came over it."""

    retry_class = RetryClass.TRANSIENT


class ConnectFailed(WireError):
    """No connection could be made; nothing was sent."""


class TLSFailed(WireError):
    """The certificate is not trusted, or TLS could not be agreed."""

    retry_class = RetryClass.FATAL


class ProxyFailed(WireError):
    """The proxy did not let the request through."""

    retry_class = RetryClass.FATAL


class ConnectionLost(WireError):
    """The connection broke before the whole answer had come."""


class Timeout(WireError, TimeoutError):
    """A time limit ran out: the call's own, an attempt's, or the silence in a stream."""


class MalformedResponse(WireError):
    """The provider's answer cannot be read."""

    retry_class = RetryClass.GLITCH


class IncompleteStream(WireError):
    """A stream ended without its terminal mark; `.partial` holds what came."""


class AllDeploymentsFailed(ChatError):
    """No deployment of a pool can answer. `errors` has the last error of each, by the deployment's name."""

    errors: Mapping[str, BaseException]

    @classmethod
    def of(cls, errors: Mapping[str, BaseException]) -> AllDeploymentsFailed:
        """Return the error for these errors of the deployments."""
        lines = [
            f"  {name}: {type(error).__name__}: {message_of(error)}"
            for name, error in errors.items()
        ]
        made = cls("\n".join(["No deployment of the pool can answer:", *lines]))
        made.errors = dict(errors)
        made.attempts = tuple(
            attempt for error in errors.values() for attempt in getattr(error, "attempts", ())
        )
        return made


class IncompleteAnswer(ChatError):
    """The provider suspended the answer and it was not continued to its end; `.partial` holds what came."""


class StreamInterrupted(IncompleteStream):
    """A stream failed after chunks had been handed out; it is never restarted silently."""

    # `stream_resume="anchored"` gave up: a fallback may continue the text of `.partial`.
    may_continue_elsewhere: bool = False


class OutputParserException(ModelwireError, ValueError):
    """The answer does not parse, or does not have the requested form.

    `llm_output` is the text; with `send_to_llm`, `observation` tells the model what was wrong with it. `raw_message` is
    the model's answer, where there was one. Where pydantic refused the value, the error is a `ValidationError` of
    pydantic too (`modelwire.output_parsers.validation`).
    """

    def __init__(
        self,
        error: Any,
        observation: str | None = None,
        llm_output: str | None = None,
        send_to_llm: bool = False,  # noqa: FBT001, FBT002 - the name and place LangChain scripts use
        *,
        raw_message: Any = None,
    ) -> None:
        super().__init__(error)
        if send_to_llm and (observation is None or llm_output is None):
            raise InvalidArgument("`send_to_llm=True` needs both `observation` and `llm_output`.")
        self.observation = observation
        self.llm_output = llm_output
        self.send_to_llm = send_to_llm
        self.raw_message = raw_message


class StepLimitReached(ModelwireError):
    """The model still calls tools after `max_steps` answers; `.messages` is the conversation so far."""

    def __init__(self, message: str, *, messages: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.messages = list(messages)


class ToolsPaused(ModelwireError):
    """Tool calls are open: they wait for a decision, or their results come later.

    `.messages` is the conversation so far, `.calls` are the open calls as dicts with `name`, `args` and `id`. Pass the
    messages to `run_tools` again, here or elsewhere, with `results={id: value}`.
    """

    def __init__(
        self,
        message: str,
        *,
        messages: Sequence[Any] = (),
        calls: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.messages = list(messages)
        self.calls = list(calls)


class CallLater(ModelwireError):
    """Raised by a tool whose result comes later: `run_tools` raises `ToolsPaused` once the other calls have run."""


class BudgetExceeded(ModelwireError):
    """A call was not sent: it may cost more than its `budget` has left.

    `spent`, `reserved` (by calls in flight) and `needed` are each a `Spending`: USD, tokens and calls. Raised in
    `run_tools`, `messages` is the conversation so far.
    """

    def __init__(
        self,
        message: str,
        *,
        budget: Any = None,
        spent: Any = None,
        reserved: Any = None,
        needed: Any = None,
    ) -> None:
        super().__init__(message)
        self.messages: list[Any] = []
        self.budget = budget
        self.spent = spent
        self.reserved = reserved
        self.needed = needed


class BudgetUnavailable(BudgetExceeded):
    """A call was not sent: its budget is shared over Redis, which does not answer, so what is left is unknown.

    The same call may be sent when Redis is back. `budget(..., when_away="local")` goes on meanwhile.
    """


class JobError(ModelwireError):
    """A job cannot start or continue. Finished rows stay stored."""


class JobChanged(JobError):
    """A job is run again with another input, prompt or model than it began with."""


class JobBusy(JobError):
    """Another process runs the job."""


class JobStopped(JobError):
    """A job met a failure that would hit every row, and stopped; run it again to continue."""


class DiskError(JobError, OSError):
    """A file cannot be written or read."""

    __str__ = Exception.__str__  # OSError would show the arguments its own way

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path

    @classmethod
    def of(cls, error: OSError, path: object) -> DiskError:
        """Return the error for an `OSError` about the file `path`."""
        return cls(
            f"`{path}`: {error.strerror or error}. Finished rows stay stored.", path=str(path)
        )


# LangChain's names for the roots: `except ModelError` catches what it did.
LangChainException = ModelwireError
ModelError = ChatError


def message_of(error: BaseException) -> str:
    """Return the message of any error as text that every file takes, also where its `__str__` raises."""
    try:
        text = str(error)
    except Exception as exc:  # noqa: BLE001 - the `__str__` of a user's class
        text = f"its message cannot be read: `__str__` raises `{type(exc).__name__}`"
    return text.encode(errors="backslashreplace").decode()


def and_said(text: str, sentence: str) -> str:
    """Append a sentence to a text, whatever its last character."""
    text = text.rstrip(". ")
    end = "" if text.endswith(("?", "!")) else "."
    return f"{text}{end} {sentence}"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Name the close matches of `word`, or else all of `known`, as a sentence that ends an error's text."""
    from difflib import get_close_matches

    close = get_close_matches(
        word, known, n=3, cutoff=0.5
    )  # longer ones of that name first, as they are known
    close.sort(key=lambda name: known.index(name) if name.startswith(word) else len(known))
    names = [f"`{name}`" for name in (close or sorted(known))]
    if close:
        return f"Did you mean {', '.join(names)}?"
    return f"Known: {', '.join(names)}."


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the program that called us, through however many frames of ours and of pydantic's."""
    import sys
    import warnings

    level = 1
    frame = sys._getframe()
    while (
        frame.f_back is not None
        and frame.f_globals.get("__name__", "").partition(".")[0] in _OUR_FRAMES
    ):
        level += 1
        frame = frame.f_back
    warnings.warn(message, category, stacklevel=level)


_OUR_FRAMES = ("modelwire", "pydantic")

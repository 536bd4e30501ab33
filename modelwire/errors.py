"""Every error that modelwire raises, and who must act on it. No I/O; imports only `modelwire.aliases`.

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
    │           └── StreamInterrupted    it broke after the caller had received chunks
    ├── OutputParserException       also a ValueError: the answer does not have the requested form; `.raw_message`
    ├── BudgetExceeded              a call was not sent: it may cost more than its `budget` has left
    │   └── BudgetUnavailable       the rest of the budget is unknown, because its Redis does not answer
    ├── StepLimitReached            `run_tools` ended before the model did; `.messages`
    ├── ToolsPaused                 `run_tools` ended with open calls; `.messages`, `.calls`
    ├── CallLater                   a tool raises it if its result comes later
    └── JobError                    a job cannot start or continue; finished rows stay stored
        ├── JobChanged              the input, the prompt or the model has changed since the job began
        ├── JobBusy                 another process runs it
        ├── JobStopped              the same failure for every row: a wrong key, no credit, an outage
        │   └── BatchUncertain      (in jobs) it is unknown which batch belongs to the job; `.part`, `.batch_ids`
        └── DiskError               also an OSError: a full or broken disk; `.path`

`ParameterWarning` is a warning and not an error: a parameter was changed to fit the model before it was sent.
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
    """Whether and how a call is retried after a failure."""

    THROTTLE = "throttle"  # A rate limit: retry later, without a limit on the number of attempts.
    OVERLOAD = "overload"  # An overload: as for THROTTLE, and with fewer requests at a time.
    TRANSIENT = "transient"  # A failure that may not occur again: retry a few times.
    GLITCH = "glitch"  # An unreadable answer: retry once.
    FATAL = "fatal"  # The same request would fail again: do not retry.


class Attempt(NamedTuple):
    """A failed attempt of a call."""

    retry_class: RetryClass
    error: str  # The name of the error's class.
    status: int | None
    code: str | None
    request_id: str | None
    elapsed_s: float
    # True if the whole request was sent and no error came back: the provider may have billed an answer.
    maybe_billed: bool = False


class ModelwireError(Exception):
    """The base class of all errors: `except ModelwireError` catches every error that modelwire raises."""


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
    """A prompt template cannot be read, or uses more than the plain names of variables."""


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

    __str__ = Exception.__str__  # `KeyError.__str__` shows the repr of the text.


class MissingKey(CallerError):
    """There is no API key, neither as an argument nor in the environment."""


class MissingDependency(CallerError, ImportError):
    """A part of modelwire needs a package that is not installed; the text names the extra to install."""


class ParameterWarning(UserWarning):
    """A parameter was changed or left out, because the model does not take it unchanged."""


class ChatError(ModelwireError):
    """A call was made and there is no answer.

    All facts are attributes, which are `None` if unknown. `attempts` lists the failed attempts of the
    call, the last one last. `partial` is the sum of the chunks of a stream so far, as an
    `AIMessageChunk`.
    """

    retry_class: RetryClass = RetryClass.FATAL
    deployment: str | None = None  # The name of the deployment, for a call of a pool.

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
        self.retry_after = retry_after  # The seconds that the provider asks to wait.
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

    If this was seen before the call (`check_context`), no request was sent, `tokens` is the size of the input, and
    `max_input_tokens` is the model's limit.
    """

    tokens: int | None = None
    max_input_tokens: int | None = None


class RequestTooLarge(BadRequest):
    """The request has more bytes than the provider accepts."""


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
    """The model refused to return the requested structured output. `raw_message` is its answer."""

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
    """The account has sent too many requests or tokens in the current period."""

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
    """The connection failed, or the bytes that it delivered cannot be used."""

    retry_class = RetryClass.TRANSIENT


class ConnectFailed(WireError):
    """No connection could be made; nothing was sent."""


class TLSFailed(WireError):
    """The certificate is not trusted, or the TLS handshake failed."""

    retry_class = RetryClass.FATAL


class ProxyFailed(WireError):
    """The proxy did not let the request through."""

    retry_class = RetryClass.FATAL


class ConnectionLost(WireError):
    """The connection broke before the whole answer had arrived."""


class Timeout(WireError, TimeoutError):
    """A time limit was reached: that of the call, of an attempt, or of the silence in a stream."""


class MalformedResponse(WireError):
    """The provider's answer cannot be read."""

    retry_class = RetryClass.GLITCH


class IncompleteStream(WireError):
    """A stream ended without its terminal mark; `.partial` has the chunks that arrived."""


class AllDeploymentsFailed(ChatError):
    """No deployment of a pool can answer. `errors` has the last error of each, by the deployment's name."""

    errors: Mapping[str, BaseException]

    @classmethod
    def of(cls, errors: Mapping[str, BaseException]) -> AllDeploymentsFailed:
        """Return the error for the last error of each deployment, by name."""
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
    """The provider suspended the answer, which was not continued to its end; `.partial` has the part that arrived."""


class StreamInterrupted(IncompleteStream):
    """A stream failed after the caller had received chunks; such a stream is never restarted silently."""

    # `stream_resume="anchored"` gave up: a fallback may continue the text of `.partial`.
    may_continue_elsewhere: bool = False


class OutputParserException(ModelwireError, ValueError):
    """The answer does not parse, or does not have the requested form.

    `llm_output` is the text that was parsed; with `send_to_llm`, `observation` tells the model what was wrong with it.
    `raw_message` is the model's answer, if there was one. If pydantic rejected the value, the error is also a
    `ValidationError` of pydantic (`modelwire.output_parsers.validation`).
    """

    def __init__(
        self,
        error: Any,
        observation: str | None = None,
        llm_output: str | None = None,
        send_to_llm: bool = False,  # noqa: FBT001, FBT002 - LangChain scripts pass it by position
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
    """Raised by a tool whose result comes later; `run_tools` raises `ToolsPaused` once the other calls are done."""


class BudgetExceeded(ModelwireError):
    """A call was not sent: it may cost more than its `budget` has left.

    `spent`, `reserved` (by calls in flight) and `needed` (by this call) are each a `Spending`: USD, tokens and calls.
    If `run_tools` raises the error, `messages` is the conversation so far.
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
    """A call was not sent: its budget is shared over Redis, which does not answer, so the rest of it is unknown.

    The same call may succeed when Redis answers again. `budget(..., when_away="local")` allows calls in the meantime.
    """


class JobError(ModelwireError):
    """A job cannot start or continue. Finished rows stay stored."""


class JobChanged(JobError):
    """A job cannot continue, because its input, prompt or model has changed since it began."""


class JobBusy(JobError):
    """Another process runs the job."""


class JobStopped(JobError):
    """A job stopped after a failure that would hit every row; run it again to continue."""


class DiskError(JobError, OSError):
    """A file cannot be written or read."""

    __str__ = Exception.__str__  # `OSError.__str__` formats the arguments differently.

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path

    @classmethod
    def of(cls, error: OSError, path: object) -> DiskError:
        """Return the error for an `OSError` about the file `path`."""
        return cls(
            f"`{path}`: {error.strerror or error}. Finished rows stay stored.", path=str(path)
        )


# LangChain's names for the base classes: `except ModelError` catches the same errors as in LangChain.
LangChainException = ModelwireError
ModelError = ChatError


def message_of(error: BaseException) -> str:
    """Return the message of an error as text that can be written in UTF-8, even if its `__str__` raises an error."""
    try:
        text = str(error)
    except Exception as exc:  # noqa: BLE001 - the `__str__` of a user's class
        text = f"its message cannot be read: `__str__` raises `{type(exc).__name__}`"
    return text.encode(errors="backslashreplace").decode()


def and_said(text: str, sentence: str) -> str:
    """Return `text` with a sentence appended, with one full stop between them unless `text` ends in `?` or `!`."""
    text = text.rstrip(". ")
    end = "" if text.endswith(("?", "!")) else "."
    return f"{text}{end} {sentence}"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a sentence for the end of an error's text: the close matches of `word`, or else all names in `known`."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=3, cutoff=0.5)
    # Names that begin with `word` come first, in the order of `known`.
    close.sort(key=lambda name: known.index(name) if name.startswith(word) else len(known))
    names = [f"`{name}`" for name in (close or sorted(known))]
    if close:
        return f"Did you mean {', '.join(names)}?"
    return f"Known: {', '.join(names)}."


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that names the line of the user's program, above all frames of modelwire and of pydantic."""
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

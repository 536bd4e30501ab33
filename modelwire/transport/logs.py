"""The log of calls: the logger `modelwire` of Python's `logging`. The first log line loads this module.

INFO has one line for each call, WARNING each retry and each change of a limit, DEBUG each request with its headers
masked. Prompts and answers are logged only after `enable_logging("bodies")`. The values of a line are attributes of
its record, too (`extra`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from modelwire.aliases import JSON, Fields, Values
from modelwire.errors import InvalidArgument
from modelwire.transport.observer import CallObserver
from modelwire.transport.ratelimit.limits import Change
from modelwire.transport.redaction import shown_body
from modelwire.transport.wire import shown_headers, shown_url

if TYPE_CHECKING:
    from modelwire.errors import Attempt, ChatError
    from modelwire.transport.steps import AnyExchange, Sleep

__all__ = ["LOG", "enable_logging", "write_warning"]

LEVELS: Final = {"info": logging.INFO, "debug": logging.DEBUG, "bodies": logging.DEBUG}
Level = Literal["info", "debug", "bodies"]

_logger = logging.getLogger("modelwire")
_handler: logging.Handler | None = None
_bodies = False


def enable_logging(level: Level = "info", *, stream: TextIO | None = None) -> None:
    """Print the log of the calls to stderr or `stream`; the variable `MODELWIRE_LOG` does the same.

    "info" logs a line for each call, "debug" also each request without its body, and "bodies" prompts and answers, too.
    A program that configures `logging` itself does not need this function: the logger is named `modelwire`.

    Raises:
        InvalidArgument: There is no such level.
    """
    global _handler, _bodies
    if level not in LEVELS:
        raise InvalidArgument(
            f"`level` must be one of {', '.join(map(repr, LEVELS))}, not {level!r}."
        )
    if _handler is not None:
        _logger.removeHandler(_handler)
    _handler = logging.StreamHandler(stream)
    _handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    _logger.addHandler(_handler)
    _logger.setLevel(LEVELS[level])
    _bodies = level == "bodies"


def write_warning(about: Sleep | Change) -> None:
    """Log that an attempt failed and another one follows, or that a provider's limit has changed."""
    if isinstance(about, Change):
        _warn_of_limit(about)
    else:
        _warn_of_retry(about)


def _warn_of_retry(step: Sleep) -> None:
    error = step.error
    facts = {
        "event": "retry",
        "provider": error.provider,
        "model": error.model,
        "attempt": step.attempt,
        "error": type(error).__name__,
        "status": error.status,
        "code": error.code,
        "request_id": error.request_id,
        "wait_s": round(step.expected_s, 3),
    }
    _logger.warning(
        "%s: attempt %d failed with %s; the next one in %.3g s",
        error.model,
        step.attempt,
        _reason(error),
        step.expected_s,
        extra=facts,
    )


def _warn_of_limit(change: Change) -> None:
    facts = {"event": "limit", **change._asdict()}
    known = [change.kind]
    if change.requests_per_s:
        known.append(f"{change.requests_per_s:.3g} requests/s")
    if change.concurrency:
        known.append(f"{change.concurrency} calls at a time")
    if change.pause_s:
        known.append(f"a pause of {change.pause_s:.3g} s")
    _logger.warning("rate limit of %s: %s", change.key, ", ".join(known), extra=facts)


def warn_of_outage(name: str, error: ChatError | None, wait: str) -> None:
    """Log that rows wait long for a provider, and why. Otherwise a batch might be silent for minutes."""
    facts = {
        "event": "outage",
        "key": name,
        "wait": wait,
        "error": error and type(error).__name__,
        "status": error and error.status,
        "code": error and error.code,
    }
    last = "" if error is None else f" ({_reason(error)})"
    text = f"{name}: {wait}{last}; the rows of the batch wait for it"
    handlers = (*_logger.handlers, *(logging.root.handlers if _logger.propagate else ()))
    # Without a handler the log is not shown, but the user who waits must see this line.
    if all(isinstance(handler, logging.NullHandler) for handler in handlers):
        print(f"modelwire: {text}", file=sys.stderr)  # noqa: T201
    _logger.warning("%s", text, extra=facts)


class _Log(CallObserver):
    """Logs the result of every call."""

    __slots__ = ()

    def started(self, model: Any, messages: Sequence[Any], kwargs: Values) -> CallObserver:
        return _LoggedCall(
            str(kwargs.get("model") or getattr(model, "model", None) or model.get_name())
        )


class _LoggedCall(CallObserver):
    """Logs one call."""

    __slots__ = ("attempts", "model", "provider", "request_id", "started_s")

    def __init__(self, model: str) -> None:
        self.model = model
        self.provider: str | None = None
        self.request_id: str | None = None
        self.attempts = 0
        self.started_s = monotonic()

    def sent(self, exchange: AnyExchange) -> None:
        self.attempts += 1
        self.provider = exchange.wire.provider
        self.model = exchange.model or self.model
        if _logger.isEnabledFor(logging.DEBUG):
            self._log_request(exchange)

    def failed(self, error: BaseException, attempt: Attempt | None, partial: Any = None) -> None:
        if attempt is not None:
            self.request_id = attempt.request_id
            return
        facts = {
            "error": type(error).__name__,
            "status": getattr(error, "status", None),
            "code": getattr(error, "code", None),
        }
        self._log(f"failed with {_reason(error)}", _message_of(partial), facts, self.request_id)

    def answered(self, result: Any) -> None:
        message = _message_of(result)
        about: Fields = getattr(message, "response_metadata", None) or {}
        left = getattr(message, "chunk_position", "last") != "last"
        if message is None or left:
            says = "was left"
        elif self.attempts:
            says = "answered"
        else:
            says = "answered without a request"
        self._log(says, message, {"error": None}, about.get("request_id"))
        if _bodies and message is not None:
            facts = {"event": "answer", "model": self.model}
            _logger.debug("%s: answer: %s", self.model, message.text, extra=facts)

    def _log(self, says: str, message: Any, facts: JSON, request_id: str | None) -> None:
        seconds = monotonic() - self.started_s
        usage = getattr(message, "usage_metadata", None) or {}
        about = getattr(message, "response_metadata", None) or {}
        model = about.get("model_name") or self.model
        cost = _price(usage, model, self.provider, about.get("service_tier"))
        words = [f"{self.model} {says} in {seconds:.3g} s"]
        if usage:
            words.append(f"{usage.get('input_tokens', 0)} + {usage.get('output_tokens', 0)} tokens")
        if cost is not None:
            words.append(f"${cost:f}")
        words.append(f"{self.attempts} attempt{'' if self.attempts == 1 else 's'}")
        if request_id:
            words.append(f"request {request_id}")
        inputs = usage.get("input_token_details") or {}
        outputs = usage.get("output_token_details") or {}
        facts = {
            "event": "call",
            "provider": self.provider,
            "model": self.model,
            "response_model": model,
            "seconds": round(seconds, 6),
            "attempts": self.attempts,
            "request_id": request_id,
            "cost_usd": cost,
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
            "cached_tokens": inputs.get("cache_read"),
            "reasoning_tokens": outputs.get("reasoning"),
            **facts,
        }
        _logger.info("%s", ", ".join(words), extra=facts)

    def _log_request(self, exchange: AnyExchange) -> None:
        url = shown_url(exchange.url)
        size = len(exchange.content)
        headers = shown_headers(exchange.headers)
        facts = {
            "event": "request",
            "model": self.model,
            "attempt": self.attempts,
            "url": url,
            "size_bytes": size,
            "headers": headers,
        }
        _logger.debug(
            "%s: attempt %d: %s %s, %d bytes, headers %s",
            self.model,
            self.attempts,
            exchange.method,
            url,
            size,
            headers,
            extra=facts,
        )
        if _bodies:
            body = shown_body(exchange.content)
            _logger.debug(
                "%s: body: %s", self.model, body, extra={"event": "body", "model": self.model}
            )


LOG: Final = _Log()


def _reason(error: BaseException) -> str:
    """Return the class and codes of an error, without its text, which may quote the prompt."""
    kind = type(error).__name__
    codes = (getattr(error, "status", None), getattr(error, "code", None))
    facts = [str(code) for code in codes if code is not None]
    if facts:
        return f"{kind} ({', '.join(facts)})"
    return kind


def _message_of(result: Any) -> Any:
    if result is not None and result.generations:
        return result.generations[0].message
    return None


def _price(usage: Fields, model: str, provider: str | None, tier: Any) -> Any:
    """Return the price of a call in USD; None if it is unknown, or no list of prices is installed."""
    if not usage:
        return None
    from modelwire.usage.prices import price_of_usage

    return price_of_usage(usage, model, provider=provider, tier=tier)

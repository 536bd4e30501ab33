"""`with_retry`: again where that may help, once for each failure, and never past the deadline."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from support.heard import Heard

from modelwire.errors import (
    Attempt,
    BadRequest,
    InvalidArgument,
    InvalidType,
    RateLimited,
    RetryClass,
    ServerError,
)
from modelwire.runnables import Runnable, RunnableLambda


class Flaky:
    """Fails with the given errors, one a call, then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, x: Any) -> Any:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return x


def quick(func: Any, **given: Any) -> Runnable[Any, Any]:
    return RunnableLambda(func, name="flaky").with_retry(wait_exponential_jitter=False, **given)


def spent(error: Any, attempts: int) -> Any:
    error.attempts = [Attempt(RetryClass.THROTTLE, "RateLimited", 429, None, None, 0.1)] * attempts
    return error


def test_it_answers_after_failures(colour: Any) -> None:
    flaky = Flaky(ValueError("a"), KeyError("b"))
    assert colour.invoke(quick(flaky), 1) == 1
    assert flaky.calls == 3


def test_the_last_error_itself_is_raised_when_attempts_run_out(colour: Any) -> None:
    flaky = Flaky(ValueError("a"), ValueError("b"), ValueError("c"))
    with pytest.raises(ValueError, match="b"):
        colour.invoke(quick(flaky, stop_after_attempt=2), 1)
    assert flaky.calls == 2


def test_only_the_errors_asked_for_are_retried(colour: Any) -> None:
    for asked in ((KeyError,), KeyError, lambda error: isinstance(error, KeyError)):
        flaky = Flaky(KeyError("a"), ValueError("b"))
        with pytest.raises(ValueError, match="b"):
            colour.invoke(quick(flaky, retry_if_exception_type=asked), 1)
        assert flaky.calls == 2


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (lambda: ServerError("down"), 2),
        (
            lambda: spent(ServerError("down"), 1),
            2,
        ),  # a model with `max_retries=0`: nobody else has retried
        (lambda: spent(RateLimited("slow"), 5), 1),  # the model has: not 5 times 3
        (lambda: BadRequest("no"), 1),
        (lambda: InvalidArgument("your fault"), 1),
    ],
)
def test_exactly_one_layer_retries(colour: Any, error: Any, calls: int) -> None:
    flaky = Flaky(error())
    chain = quick(flaky)
    if calls == 1:
        with pytest.raises((RateLimited, BadRequest, InvalidArgument)):
            colour.invoke(chain, 1)
    else:
        assert colour.invoke(chain, 1) == 1
    assert flaky.calls == calls


def test_a_spent_error_is_retried_where_that_is_asked_for(colour: Any) -> None:
    flaky = Flaky(spent(RateLimited("slow"), 5))
    assert colour.invoke(quick(flaky, retry_if_exception_type=(RateLimited,)), 1) == 1


def test_a_batch_retries_what_failed_alone_and_keeps_the_order(colour: Any) -> None:
    calls: list[int] = []

    def odd_fail_once(x: int) -> int:
        calls.append(x)
        if x % 2 and calls.count(x) == 1:
            raise ValueError("odd")
        return x * 10

    assert colour.batch(quick(odd_fail_once), [1, 2, 3, 4]) == [10, 20, 30, 40]
    assert sorted(calls) == [1, 1, 2, 3, 3, 4]


def test_errors_stand_in_their_places_when_asked_for(colour: Any) -> None:
    def never(x: int) -> int:
        if x == 2:
            raise KeyError(x)
        return x

    results = colour.batch(quick(never), [1, 2, 3], return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["int", "KeyError", "int"]
    assert sorted(i for i, _ in colour.batch_as_completed(quick(never), [1, 3])) == [0, 1]


def test_later_attempts_say_so_in_their_tags(colour: Any) -> None:
    heard = Heard()
    colour.invoke(quick(Flaky(ValueError("a"))), 1, {"callbacks": [heard]})
    assert heard.runs == ["flaky []", "flaky []", "flaky ['retry:attempt:2']"]
    assert heard.over == [("flaky", "ValueError"), ("flaky", "end"), ("flaky", "end")]


def test_no_attempt_starts_that_would_come_after_the_deadline(colour: Any) -> None:
    flaky = Flaky(ValueError("a"), ValueError("b"))
    chain = RunnableLambda(flaky).with_retry(
        exponential_jitter_params={"initial": 60.0, "jitter": 0.0}
    )
    with pytest.raises(ValueError, match="a"):
        colour.invoke(chain, 1, {"timeout": 5.0})
    assert flaky.calls == 1


def test_bound_arguments_and_config_reach_every_attempt(colour: Any) -> None:
    seen: list[Any] = []

    def flaky(x: int, config: Any, extra: int = 0) -> int:
        seen.append((extra, config["tags"]))
        if len(seen) == 1:
            raise ValueError("again")
        return x + extra

    chain = quick(flaky).bind(extra=2).with_config(tags=["t"])
    assert colour.invoke(chain, 1) == 3
    assert seen == [(2, ["t"])] * 2


def test_a_stream_is_not_retried(colour: Any) -> None:
    flaky = Flaky(ValueError("a"))
    with pytest.raises(ValueError, match="a"):
        colour.stream(quick(flaky), 1)
    assert flaky.calls == 1


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"stop_after_attempt": 0}, InvalidArgument, "1 or more, not 0"),
        ({"stop_after_attempt": True}, InvalidArgument, "1 or more"),
        ({"retry_if_exception_type": ()}, InvalidType, "exception classes"),
        ({"retry_if_exception_type": ("ValueError",)}, InvalidType, "exception classes"),
        ({"retry_if_exception_type": 3}, InvalidType, "not a `int`"),
        (
            {"exponential_jitter_params": {"start": 1}},
            InvalidArgument,
            "has no `start`. Known: `initial`",
        ),
    ],
)
def test_bad_arguments_are_told_at_construction(given: Any, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        RunnableLambda(len).with_retry(**given)


def fail_twice(left: list[int]) -> str:
    if left:
        raise ValueError(left.pop())
    return "answered"


@pytest.mark.parametrize("kinds", [(ValueError,), ValueError, None])
def test_it_can_be_pickled_whatever_it_retries(kinds: Any) -> None:
    runnable = RunnableLambda(fail_twice).with_retry(
        retry_if_exception_type=kinds, wait_exponential_jitter=False
    )
    assert pickle.loads(pickle.dumps(runnable)).invoke([1, 2]) == "answered"
    other = RunnableLambda(fail_twice).with_retry(retry_if_exception_type=(KeyError,))
    with pytest.raises(ValueError, match="2"):
        pickle.loads(pickle.dumps(other)).invoke([1, 2])

"""Limits of Gemini and Bedrock, which no header speaks of: what a body says of them, and what is found out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.tries import fewest

from modelwire.adapters.model.call_parts import limiter_of_model
from modelwire.errors import QuotaExhausted, RateLimited, StreamInterrupted
from modelwire.testing import Fault, Limits, ProviderServer, faults

CLOUDS = pytest.mark.parametrize("cloud", ["gemini", "bedrock"])
RPC = "type.googleapis.com/google.rpc"


def gemini_says(quota: str, delay: str | None = None) -> Fault:
    """Refuse as Gemini does, with what it says in the details."""
    details: list[dict[str, Any]] = [
        {"@type": f"{RPC}.QuotaFailure", "violations": [{"quotaId": quota}]}
    ]
    if delay is not None:
        details.append({"@type": f"{RPC}.RetryInfo", "retryDelay": delay})
    error = {
        "code": 429,
        "message": "You exceeded your quota.",
        "status": "RESOURCE_EXHAUSTED",
        "details": details,
    }
    return faults.status(429, body=json.dumps({"error": error}).encode())


MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"


@CLOUDS
def test_a_limit_that_no_header_speaks_of_is_found_and_held(cloud: Any) -> None:
    """Without the limiter more than 100 are refused, with it ten."""
    rows = [f"row {n}" for n in range(60)]

    def throttled() -> int:
        with ProviderServer(limits=Limits(rpm=1800, window_s=0.2), latency=0.01, keep=1) as server:
            answers = server.model(cloud).batch(rows, {"max_concurrency": 64})
            assert [answer.text for answer in answers] == rows
            assert server.counts.answered == len(rows)
            return server.counts.throttled

    assert fewest(throttled, 40) <= 40


def test_the_wait_that_gemini_asks_for_is_kept(colour: Any, server: ProviderServer) -> None:
    server.say(gemini_says(MINUTE, "0.1s"), "good")
    model = server.model("gemini")
    assert colour.invoke(model, "hi").text == "good"
    refused, answered = (request.at_s for request in server.requests)
    assert answered - refused >= 0.09


def test_nobody_waits_as_long_as_gemini_may_ask_for(colour: Any, server: ProviderServer) -> None:
    server.default = gemini_says(MINUTE, "3600s")
    with pytest.raises(RateLimited, match="3600 s") as caught:
        colour.invoke(server.model("gemini"), "hi")
    assert (caught.value.retry_after, len(server.requests)) == (3600, 1)


PER_DAY = [
    ("gemini", gemini_says("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "34s")),
    (
        "bedrock",
        faults.status(429, message="Too many tokens per day, please wait before trying again."),
    ),
    ("bedrock", faults.status(400, type="ServiceQuotaExceededException")),
]


@pytest.mark.parametrize(("cloud", "spent"), PER_DAY, ids=["gemini", "bedrock", "bedrock-400"])
def test_a_quota_of_the_day_is_an_error_and_is_not_waited_for(
    colour: Any, cloud: Any, spent: Fault
) -> None:
    with ProviderServer(default=spent) as server:
        with pytest.raises(QuotaExhausted):
            colour.invoke(server.model(cloud), "hi")
        assert len(server.requests) == 1
        rows = colour.batch(
            server.model(cloud), ["a", "b", "c"], {"max_concurrency": 1}, return_exceptions=True
        )
        assert {type(row) for row in rows} == {QuotaExhausted}
        assert len(server.requests) == 1  # the limiter knows


@CLOUDS
def test_streams_and_whole_answers_share_what_is_known_of_the_limit(
    server: ProviderServer, cloud: Any
) -> None:
    model: Any = server.model(cloud)
    whole, streamed = (
        limiter_of_model(model, model.build_request("hi", stream=stream))
        for stream in (False, True)
    )
    assert whole is streamed
    other: Any = server.model(cloud, model="other")
    assert limiter_of_model(other, other.build_request("hi")) is not whole


@CLOUDS
def test_a_throttle_at_the_head_of_a_stream_is_tried_again(
    colour: Any, server: ProviderServer, cloud: Any
) -> None:
    server.say(faults.error_event(0, status=429), "good")
    assert "".join(chunk.text for chunk in colour.stream(server.model(cloud), "hi")) == "good"
    assert len(server.requests) == 2


@CLOUDS
def test_a_throttle_within_a_stream_is_told_to_the_limiter(
    colour: Any, server: ProviderServer, cloud: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.say(faults.error_event(2, status=429).on("one two three"))
    with pytest.raises(StreamInterrupted) as caught:
        colour.stream(server.model(cloud), "hi")
    assert isinstance(caught.value.__cause__, RateLimited)
    assert caught.value.partial.text == "one two"
    assert "half_open" in caplog.text
    assert len(server.requests) == 1

"""The state of a fleet: it survives being stored, and its rules are those of one limiter."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelwire.transport.ratelimit.rate import RateEstimate
from modelwire.transport.ratelimit.shared_congestion import Event, News, SharedCongestion, scaled


def news(now: float, sent: int, *events: Event, answered: int = 0, **other: object) -> News:
    values: dict[str, object] = {
        "in_flight": 5,
        "members": 3,
        "is_waiting": True,
        "ceiling": inf,
        **other,
    }
    return News(now, sent, answered, events=[(now, event) for event in events], **values)  # type: ignore[arg-type]


def fed(per_s: float, seconds: int) -> SharedCongestion:
    """Return the state after so many requests a second were answered."""
    state = SharedCongestion(0.0)
    for tenth in range(seconds * 10):
        sent = int(per_s * (tenth + 1) / 10)
        state.take_turn(news(tenth / 10, sent, answered=int(per_s / 10)))
    return state


KINDS = ("throttled", "overloaded", "ignored", "missed", "timeout", "outage", "recovered")
EVENTS = st.builds(
    Event,
    st.sampled_from(KINDS),
    st.floats(0, 3),
    st.integers(-1, 5),
    st.none() | st.floats(0, 200),
)


# An overload of a known pace, which recovers: the state must know that the gate was closed for it.
DOWN = [
    Event("throttled", 0.0, 0),
    Event("throttled", 0.0, 0),
    Event("throttled", 0.0, 1),
    Event("overloaded", 0.0, 1),
]


@example([(2, DOWN), (0, [Event("recovered", 0.0, 1)])])
@given(st.lists(st.tuples(st.integers(0, 50), st.lists(EVENTS, max_size=4)), max_size=12))
def test_a_stored_state_goes_on_as_one_that_was_not(
    turns: list[tuple[int, list[Event]]],
) -> None:
    kept, stored, sent = SharedCongestion(0.0), SharedCongestion(0.0).dump(), 0
    kept.congestion.gate._rng = Random(1)
    for number, (more, events) in enumerate(turns):
        sent += more
        now = number / 10
        loaded = SharedCongestion.load(stored, now)
        # Pauses have a random part, which is no part of the state.
        kept.congestion.gate._rng, loaded.congestion.gate._rng = Random(number), Random(number)
        for state in (kept, loaded):
            state.take_turn(news(now, sent, *events, answered=more // 2))
        stored = loaded.dump()
        assert stored == kept.dump()
        assert loaded.published() == kept.published()


def test_an_empty_text_is_a_new_state_on_its_ramp() -> None:
    pub = SharedCongestion.load("", 5.0).published()
    assert (pub.is_ramping, pub.epoch, pub.most, pub.is_proven) == (True, 0, inf, False)


def refuse(state: SharedCongestion, now: float, sent: int, count: int, epoch: int) -> None:
    state.take_turn(news(now, sent, *[Event("throttled", 0.0, epoch)] * count))


def test_a_refusal_of_an_older_epoch_does_not_cut_again() -> None:
    state = fed(100, 3)
    refuse(state, 3.0, 300, 8, 0)
    rate = state.published().pace
    assert state.epoch == 1
    refuse(state, 3.1, 310, 8, 0)
    assert (state.epoch, state.published().pace) == (1, rate)
    refuse(state, 13.0, 1000, 1, 1)
    assert state.epoch == 2


def test_a_pace_that_the_concurrency_limit_leaves_unused_does_not_grow() -> None:
    state, sent = fed(100, 3), 300
    refuse(state, 3.0, sent, 8, 0)
    known = state.congestion.rate.rate
    state.take_turn(news(3.2, sent, Event("overloaded", 0.0, 1), in_flight=20))
    for tenth in range(1, 1200):
        sent += 1
        in_flight = int(state.congestion.concurrency.most) + 5
        state.take_turn(news(3.2 + tenth / 10, sent, answered=1, in_flight=in_flight))
    assert state.published().most < inf
    assert state.congestion.rate.rate == known


def test_the_fleet_finds_a_hidden_limit_and_keeps_to_it() -> None:
    state, level, sent, refused, accepted = SharedCongestion(0.0), 80.0, 0.0, 0, 0
    for tenth in range(1, 601):
        now, pub = tenth / 10, state.published()
        level = min(level + 8, 80.0)
        new = 0 if pub.paused_until > now else int(sent + pub.pace / 10) - int(sent)
        sent += 0 if pub.paused_until > now else pub.pace / 10
        answered = min(new, int(level))
        level -= answered
        refused, accepted = refused + new - answered, accepted + answered
        events = [Event("throttled", 0.05, pub.epoch)] * (new - answered)
        state.take_turn(news(now, int(sent), *events, answered=answered))
    assert 72 <= state.congestion.rate.rate <= 96
    assert accepted >= 0.97 * 80 * 60
    assert refused <= 0.02 * sent


def test_nothing_is_sent_after_a_refusal_before_anything_was_answered() -> None:
    state = SharedCongestion(0.0)
    state.take_turn(news(0.1, 8, *[Event("throttled", 0.05, 0)] * 3))
    pub = state.published()
    assert pub.is_probing
    assert pub.paused_until > 0.1
    state.take_turn(news(2.0, 9, Event("recovered", 0.0, pub.epoch)))
    assert not state.published().is_probing


def test_an_outage_that_one_member_finds_is_known_to_all_until_a_probe_succeeds() -> None:
    state = fed(10, 2)
    state.take_turn(news(2.0, 20, Event("outage", 0.0, 0)))
    pub = state.published()
    assert (pub.is_probing, pub.is_outage) == (True, True)
    state.take_turn(news(3.0, 21, Event("recovered", 0.0, state.epoch - 1)))
    assert state.published().is_outage
    state.take_turn(news(3.0, 21, Event("recovered", 0.0, state.epoch)))
    assert not state.published().is_outage


def test_the_least_stated_limit_is_the_pace() -> None:
    state = fed(100, 3)
    state.take_turn(news(3.1, 310, ceiling=7.0))
    assert state.published().pace == pytest.approx(0.99 * 7)


def test_answers_speed_up_the_ramp_of_one_member_only() -> None:
    for members, is_faster in ((1, True), (2, False)):
        state = SharedCongestion(0.0)
        state.take_turn(news(0.1, 10, answered=10, members=members))
        assert (state.published().extra > 0) is is_faster


def test_a_member_that_goes_on_alone_takes_its_part_of_the_rate() -> None:
    state = fed(100, 3)
    refuse(state, 3.0, 300, 8, 0)
    rate = RateEstimate(0.0)
    scaled(rate, state.dump(), 1 / 4, now=50.0)
    assert rate.rate == pytest.approx(state.congestion.rate.rate / 4)
    assert rate.ready_at(50.0, waiting=True, mirrored=False) > 50.0

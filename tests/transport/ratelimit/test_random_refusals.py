"""What tells refusals by chance from a limit."""

from modelwire.transport.ratelimit.random_refusals import RandomRefusals


def a_trial(luck: RandomRefusals, *, most: int = 10_000) -> int:
    """Cut, twenty requests apart, until a trial begins; return how many cuts that took."""
    for cuts in range(1, most):
        for _ in range(20):
            luck.sent()
        luck.refused()
        if luck.slowed(in_vain=True):
            return cuts
    raise AssertionError("no trial")


def refusals_until_it_ends(luck: RandomRefusals) -> int:
    for refusals in range(1, 1000):
        luck.sent()
        if luck.refused():
            return refusals
    raise AssertionError("no end")


def test_cuts_that_do_not_help_begin_a_trial_and_a_limit_ends_it_soon() -> None:
    luck = RandomRefusals()
    assert a_trial(luck) <= 8
    assert luck.random
    assert refusals_until_it_ends(luck) <= 6
    assert not luck.random


def test_each_trial_that_fails_puts_off_the_next() -> None:
    luck, cuts = RandomRefusals(), []
    for _ in range(3):
        cuts.append(a_trial(luck))
        refusals_until_it_ends(luck)
        for _ in range(100):
            luck.sent()
    assert cuts[1] >= 3 * cuts[0]
    assert cuts[2] >= 3 * cuts[1]


def test_a_trial_that_has_paid_does_not_put_off_the_next() -> None:
    luck = RandomRefusals()
    first = a_trial(luck)
    for _ in range(100):
        luck.sent()
    refusals_until_it_ends(luck)
    for _ in range(100):
        luck.sent()
    assert a_trial(luck) <= first


def test_chance_at_its_old_rate_goes_on_being_chance() -> None:
    luck = RandomRefusals()
    a_trial(luck)
    for n in range(5000):
        luck.sent()
        if n % 20 == 0:
            assert not luck.refused()
    assert luck.random


def test_many_refusals_are_never_luck() -> None:
    luck = RandomRefusals()
    for _ in range(200):
        luck.sent()
        luck.refused()
        assert not luck.slowed(in_vain=True)
    assert not luck.narrowed(1.0)


def test_fewer_at_a_time_that_are_refused_all_the_same_are_luck() -> None:
    luck = RandomRefusals()
    assert not luck.narrowed(100.0)
    assert not luck.narrowed(80.0)
    assert luck.narrowed(60.0)

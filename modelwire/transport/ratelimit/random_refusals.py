"""Decides whether refusals have a limit as their cause, or come at random. No I/O and no clock here.

As long as no limit is known, a refusal counts as random until several come close together (`Suspicion`): a provider
refuses at least every second request at a pace above its limit, but random refusals are a few in a hundred.

If many cuts have not ended the refusals, the limiter tries to ignore them and lets the pace grow (a trial). With a
limit, a quarter of the requests is soon refused: the trial ends, and the next one needs four times as many cuts.
Without one, the refusals are random, and the limiter goes on ignoring them.
"""

from __future__ import annotations

# A cumulative sum of log-likelihood ratios (Page's test), in units of one accepted request: a refusal speaks for a
# limit, which refuses half of all, 3.6 times as strongly as an accepted request speaks for chance, which refuses one in
# twenty: ln(0.5 / 0.05) / ln(0.95 / 0.5).
_REFUSED_WEIGHT = 3.6
# This sum proves a limit: it takes five refusals, with one accepted request among them.
_PROOF = 16.5
# Among this many first requests of a key a smaller sum proves it, that of three refusals: a small
# bucket is common there, and each refusal is a large part of all requests.
FEW_SENT = 64
_PROOF_OF_FEW = 9.5
# Among the very first requests, two refusals in a row prove it.
_FIRST_SENT = 8
_PROOF_OF_FIRST = 6.5

# The share of refusals is a moving average; each request has this weight.
_REQUEST_WEIGHT = 0.06
# The lasting share is another one, with this weight.
_LASTING_WEIGHT = 0.005
# Up to this lasting share, one refusal at a proven pace is random.
_RARE_SHARE = 0.025
# A trial begins after this many cuts if the pace had grown before each of them,
_CUTS_TO_TRIAL = 100.0
# or after this many if it had not grown.
_CUTS_IN_VAIN_TO_TRIAL = 6.0
# Among rare refusals, a cut of a pace that had grown leaves this part of the cuts in vain: it speaks for a limit.
_IN_VAIN_LEFT = 0.7
# After a trial that failed, the next one needs this many times as many cuts.
_LATER_TRIAL_FACTOR = 4
# A trial without a concurrency limit begins if the limit was narrowed to this part in vain.
_NARROWED_PART = 0.7
# A larger share of refusals than this is not random.
_RANDOM_SHARE = 0.25
# A trial fails if the share of refusals grows to this multiple of the share at its start.
_TRIAL_FAILS_FACTOR = 2.5
# A trial that fails only after this many requests does not delay the next one.
_LONG_TRIAL_REQUESTS = 100


class Onset:
    """The first of several refusals that came close together, and what the provider had accepted before it."""

    __slots__ = ("accepted", "elapsed_s", "sent", "taken")

    def __init__(self, accepted: int, elapsed_s: float, sent: int) -> None:
        self.accepted = accepted
        self.elapsed_s = elapsed_s
        # The number of requests sent until the refusal was read, including the refused one.
        self.sent = sent
        # The number of these that are not known to be refused.
        self.taken = sent - 1


class Suspicion:
    """Adds up the evidence for a limit, in the order of sending, until a limit is proven or chance explains it.

    A refusal takes less time than an answer, so a request that was sent before a refused one and was not refused counts
    as accepted.
    """

    __slots__ = ("_level", "_refused_index", "onset")

    def __init__(self) -> None:
        self._level = 0.0
        self._refused_index = 0
        self.onset: Onset | None = None

    def refused(self, index: int, onset: Onset) -> Onset:
        """Count the refusal of the request with this index. Return the onset of its series: `onset` if it is new."""
        accepted = max(index - self._refused_index - 1, 0)
        self._refused_index = max(self._refused_index, index)
        if self.onset is None or self._level <= accepted:
            self.onset = onset
        elif index <= self.onset.sent:
            self.onset.taken -= 1
        self._level = max(self._level - accepted, 0.0) + _REFUSED_WEIGHT
        return self.onset

    def proves_limit(self, sent: int) -> bool:
        """Return whether the refusals among `sent` requests prove a limit."""
        if sent > FEW_SENT:
            proof = _PROOF
        elif sent > _FIRST_SENT:
            proof = _PROOF_OF_FEW
        else:
            proof = _PROOF_OF_FIRST
        return self._level >= proof

    def clear(self) -> None:
        """Reset the evidence for a limit to nothing."""
        self._level = 0.0
        self.onset = None


class RandomRefusals:
    """Compares refusals before and after cuts. While `random` is True, refusals do not slow the limiter down."""

    __slots__ = (
        "_cuts",
        "_cuts_factor",
        "_in_vain",
        "_lasted",
        "_lasting_share",
        "_most_share",
        "_widest",
        "share",
    )

    def __init__(self) -> None:
        # The share of refusals among the latest requests.
        self.share = 0.0
        # The share among many more requests.
        self._lasting_share = 0.0
        # A trial fails above this share of refusals; 0.0 if no trial runs.
        self._most_share = 0.0
        # The cuts since the last trial, as parts of the number that begins a trial.
        self._cuts = 0.0
        # The cuts of a pace that had not grown, since the last trial, as such parts.
        self._in_vain = 0.0
        # A trial begins after this many times the usual number of cuts.
        self._cuts_factor = 1
        # The number of requests since the trial began.
        self._lasted = 0
        # The largest number of requests in flight at a cut since the last trial.
        self._widest = 0.0

    @property
    def random(self) -> bool:
        """Whether refusals are ignored at present, in a trial of whether they are random."""
        return self._most_share > 0

    @property
    def may_be_random(self) -> bool:
        """Whether so few requests are refused that chance may explain it."""
        return self.share <= _RANDOM_SHARE

    @property
    def are_rare(self) -> bool:
        """Whether so few requests have been refused for long that one more need not have a limit as its cause."""
        return self._lasting_share <= _RARE_SHARE

    def sent(self, count: int = 1) -> None:
        """Count `count` sent requests as accepted; `refused` corrects that for a refused one."""
        self.share *= (1 - _REQUEST_WEIGHT) ** count
        self._lasting_share *= (1 - _LASTING_WEIGHT) ** count
        self._lasted += count

    def refused(self) -> bool:
        """Count a refusal. Return whether it ends a trial."""
        self.share += _REQUEST_WEIGHT
        self._lasting_share += _LASTING_WEIGHT
        if not 0 < self._most_share < self.share:
            return False
        self._most_share = 0.0
        if self._lasted >= _LONG_TRIAL_REQUESTS:
            self._cuts_factor = 1
        else:
            self._cuts_factor *= _LATER_TRIAL_FACTOR
        return True

    def slowed(self, *, in_vain: bool) -> bool:
        """Count a cut of the pace; return whether to try without a limit of the rate.

        `in_vain` is True if the pace had not grown since the last cut.
        """
        if in_vain:
            self._in_vain += 1 / _CUTS_IN_VAIN_TO_TRIAL
        else:
            self._cuts += 1 / _CUTS_TO_TRIAL
            if self.are_rare:
                self._in_vain *= _IN_VAIN_LEFT
        return self._cuts + self._in_vain >= self._cuts_factor and self._start_trial()

    def narrowed(self, at_once: float) -> bool:
        """Record that fewer than `at_once` requests may be in flight. Return whether to try without such a limit."""
        self._widest = max(self._widest, at_once)
        return at_once <= _NARROWED_PART * self._widest and self._start_trial()

    def _start_trial(self) -> bool:
        """Start a trial if the refusals may be random. Return whether one runs."""
        self._cuts = self._in_vain = self._widest = 0.0
        self._lasted = 0
        if self.may_be_random:
            self._most_share = max(_TRIAL_FAILS_FACTOR * self.share, _RANDOM_SHARE)
        return self.random

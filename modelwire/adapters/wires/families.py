"""The rows of model families that take less than their API documents, and the search for a model's row.

Each wire has the rows of its models in its own folder. A model that matches no row is unknown, and its parameters are
sent unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from modelwire.adapters.wires.wire import loaded

if TYPE_CHECKING:
    from modelwire.adapters.providers.services import Service
    from modelwire.adapters.wires.parameter_adaptation import ParameterAdaptation

LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")  # of reasoning, on any wire
REASONING = ("reasoning", "reasoning_effort", "thinking", "effort", "output_config")
LOW_TO_HIGH = ("low", "medium", "high")


class Family(NamedTuple):
    """Models that take the same. What is left out is as the API documents it."""

    models: str  # their names, without a date; `*` at the end is for any
    link: str  # where it is documented
    efforts: tuple[str, ...] = ()  # of reasoning; none of them: the model does not reason
    refuses: tuple[str, ...] = ()
    fixed: tuple[
        str, ...
    ] = ()  # taken only as it is by default; free where the effort is one of these:
    free_at: tuple[str | None, ...] = ()  # None: not set

    # Anthropic's
    thinking: tuple[str, ...] = ()  # the types of `thinking` that turn it on, best first
    off: str | None = (
        ""  # the type that turns it off; "" where setting none does, None where nothing does
    )
    one_sampler: bool = False  # `temperature` or `top_p`, not both
    forced_tools: bool = True  # `tool_choice` may name a tool
    prefill: bool = False  # a last turn of the assistant is continued
    schemas: bool = True  # structured outputs: a JSON schema for the answer


class ModelFamilies(NamedTuple):
    """The model families of a wire, and the function that adapts parameters to a family."""

    rows: Mapping[str, tuple[Family, ...]]  # by provider
    fit: Callable[
        [ParameterAdaptation, Family | None, Service | None], None
    ]  # put parameters into the wire's own words
    # Parameters that these models are not sent, beside those which only other wires have (`own_words.py`).
    lacks: tuple[str, ...] = ()
    touched: frozenset[str] = (
        frozenset()
    )  # those that `fit` looks at, beside the ones every wire has
    base_name: Callable[[str], str | None] = lambda model: model.removeprefix(
        "ft:"
    )  # None: no model of these

    def family_of(self, provider: str, model: str) -> Family | None:
        """Return what is known of the model, or None."""
        rows = self.rows.get(provider, ())
        if not rows or (name := self.base_name(model)) is None:
            return None
        return _row_for(rows, name) or _row_for(rows, re.sub(_SUFFIX, "", name))


def fit_at(reference: str) -> Callable[[ParameterAdaptation, Family | None, Service | None], None]:
    """Return the function at `module:name`; its module is loaded when it is called."""

    def fit(
        adaptation: ParameterAdaptation, family: Family | None, service: Service | None
    ) -> None:
        loaded(reference)(adaptation, family, service)

    return fit


# What may stand behind a name: a date, the version of a cloud, the organisation of a fine-tuned one.
_SUFFIX = r"(:[^:]*:.*|[-@](\d{8}|\d{4}-\d\d-\d\d)|-latest)?(-v\d+)?(:\d+)?$"


def _row_for(rows: tuple[Family, ...], name: str) -> Family | None:
    for row in rows:
        for known in row.models.split():
            if name == known or (known[-1] == "*" and name.startswith(known[:-1])):
                return row
    return None

"""Describes model families that accept fewer parameters than their API documents, and finds the row of a model.

`families.py` in the folder of each wire has the rows of its models. A model that matches no row is unknown, and its
parameters are sent unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from modelwire.adapters.wires.wire import loaded

if TYPE_CHECKING:
    from modelwire.adapters.providers.services import Service
    from modelwire.adapters.wires.parameter_adaptation import ParameterAdaptation

# The efforts of reasoning that any wire has, from the lowest to the highest.
LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# The parameters that set reasoning on some wire.
REASONING = ("reasoning", "reasoning_effort", "thinking", "effort", "output_config")
LOW_TO_HIGH = ("low", "medium", "high")


class Family(NamedTuple):
    """Models that accept the same parameters. The default of a field is what the API documents for all its models."""

    # The models' names without a date, separated by spaces. A `*` at the end matches any ending.
    models: str
    # The page that documents what these models accept.
    link: str
    # The efforts of reasoning that they accept. Empty: they do not reason.
    efforts: tuple[str, ...] = ()
    # The parameters that they reject.
    refuses: tuple[str, ...] = ()
    # The parameters that they accept only with the default value, unless the effort is one of `free_at`.
    fixed: tuple[str, ...] = ()
    # The efforts at which `fixed` parameters may have any value. None: the call sets no effort.
    free_at: tuple[str | None, ...] = ()

    # Anthropic's models only:
    # The values of `thinking.type` that turn thinking on, the best one first.
    thinking: tuple[str, ...] = ()
    # The value of `thinking.type` that turns it off. "": thinking is off unless it is set. None: it cannot be off.
    off: str | None = ""
    # They accept `temperature` or `top_p`, but not both.
    one_sampler: bool = False
    # `tool_choice` may force a tool.
    forced_tools: bool = True
    # They continue a last message of the assistant.
    prefill: bool = False
    # They accept a JSON schema for the answer.
    schemas: bool = True


class ModelFamilies(NamedTuple):
    """The model families of a wire, and the function that adapts parameters to a family."""

    # The families of each provider, by the provider's name.
    rows: Mapping[str, tuple[Family, ...]]
    # Converts parameters to the names and values of this wire, in place.
    fit: Callable[[ParameterAdaptation, Family | None, Service | None], None]
    # Parameters that are never sent to these models, beside those that only other wires have (`wire_parameters.py`).
    lacks: tuple[str, ...] = ()
    # The parameters that `fit` reads, beside those that every wire has.
    touched: frozenset[str] = frozenset()
    # Returns a model's name as the rows have it. None: no row can match the model.
    base_name: Callable[[str], str | None] = lambda model: model.removeprefix("ft:")

    def family_of(self, provider: str, model: str) -> Family | None:
        """Return the family of a model, or None if no row matches it."""
        rows = self.rows.get(provider, ())
        if not rows or (name := self.base_name(model)) is None:
            return None
        return _row_for(rows, name) or _row_for(rows, re.sub(_SUFFIX, "", name))


def fit_at(reference: str) -> Callable[[ParameterAdaptation, Family | None, Service | None], None]:
    """Return a function that calls the one at `module:name`, whose module is imported by the first call."""

    def fit(
        adaptation: ParameterAdaptation, family: Family | None, service: Service | None
    ) -> None:
        loaded(reference)(adaptation, family, service)

    return fit


# The ending that a model's name may have: a date, a cloud's version, the organisation of a fine-tuned model.
_SUFFIX = r"(:[^:]*:.*|[-@](\d{8}|\d{4}-\d\d-\d\d)|-latest)?(-v\d+)?(:\d+)?$"


def _row_for(rows: tuple[Family, ...], name: str) -> Family | None:
    for row in rows:
        for known in row.models.split():
            if name == known or (known[-1] == "*" and name.startswith(known[:-1])):
                return row
    return None

"""Adapts the parameters of a call to one model: the part that all wires share, and the settings of reasoning.

Parameters of another wire are converted to the model's; those that the model refuses are left out, with a note. No I/O
here. Only a call that may need it loads this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from modelwire.adapters.wires.families import LEVELS, Family
from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument, did_you_mean
from modelwire.messages.block_translators.standard import without


class Note(NamedTuple):
    """What became of a parameter that could not be sent as it was."""

    parameter: str
    message: str


# What the API does where a parameter is not set: one with just this value changes nothing.
_DEFAULTS: JSON = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "n": 1,
    "verbosity": "medium",
    "parallel_tool_calls": True,
    "store": False,
}

# How many tokens of thinking an effort is worth, on models that count them; and the other way round. Our choice: the
# smallest is the API's least, and the largest leaves room for the answer of a model that says 32,000 at most.
_BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 24_000,
    "max": 24_000,
}


def budget_of_effort(effort: str) -> int:
    """Return how many tokens of thinking an effort is worth. Raises `InvalidArgument` for an unknown one."""
    if effort not in _BUDGETS:
        raise InvalidArgument(f"An effort is `{effort}`. {did_you_mean(effort, list(_BUDGETS))}")
    return _BUDGETS[effort]


class Reasoning(NamedTuple):
    """How much a call wants the model to reason, under whichever parameter it was set."""

    effort: str | None = None
    budget: int | None = None
    summary: Any = None
    rest: JSON = {}  # what a wire has beside it: `exclude`, `context` ...  # noqa: RUF012

    def level(self) -> str | None:
        """Return the effort, or the one a budget amounts to."""
        if self.effort is not None or self.budget is None:
            return self.effort
        if self.budget == 0:
            return "none"
        return next((level for level in LEVELS[2:] if self.budget <= _BUDGETS[level]), "xhigh")


class ParameterAdaptation:
    """One call's parameters on their way to one model over the wire called `title`.

    Those whose names are in `call_parameters` were set by the call, and win over what the model was made with.
    """

    __slots__ = ("call_parameters", "model", "notes", "params", "title")

    def __init__(
        self, params: JSON, model: str, title: str, call_parameters: frozenset[str] = frozenset()
    ) -> None:
        self.params = params
        self.model = model
        self.title = title
        self.call_parameters = call_parameters
        self.notes: list[Note] = []

    def note(self, name: str, what: str) -> None:
        self.notes.append(Note(name, f"`{name}` {what}."))

    def leave_out(self, name: str, why: str) -> None:
        """Take a parameter out, with a note unless it is the default anyway."""
        if self.params.pop(name) != _DEFAULTS.get(name, _NOTHING):
            self.note(name, f"is left out for `{self.model}`: {why}")

    def leave_out_all(self, names: Iterable[str], why: str) -> None:
        for name in names:
            if name in self.params:
                self.leave_out(name, why)

    def limit(self, lacks: Iterable[str], family: Family) -> None:
        """Leave out what the wire has no word for, and what the family refuses at this effort of reasoning."""
        refusal = f"it does not take it, see {family.link}"
        self.leave_out_all(lacks, f"{self.title} has no such parameter")
        self.leave_out_all(family.refuses, refusal)
        if self._effort() in family.free_at:
            return
        for name in family.fixed:
            if name in self.params and self.params[name] != _DEFAULTS.get(name, _NOTHING):
                reasoning = " while it reasons" if family.free_at else ""
                self.leave_out(name, refusal.replace(" it,", f" it{reasoning},"))

    def _effort(self) -> str | None:
        effort = self.params.get("reasoning_effort")
        if isinstance(reasoning := self.params.get("reasoning"), Mapping):  # over the Responses API
            effort = reasoning.get("effort", effort)
        return effort if isinstance(effort, str) else None

    def closest_level(self, name: str, level: str | None, family: Family) -> str | None:
        """Return the effort nearest to `level` that the model takes; "none" is nearest to itself only."""
        if level not in LEVELS or level in family.efforts or not family.efforts:
            return level
        place = LEVELS.index(level)
        nearest = min(
            (e for e in family.efforts if e != "none"), key=lambda e: abs(LEVELS.index(e) - place)
        )
        self.note(
            name,
            f'is "{nearest}", not "{level}": `{self.model}` takes {quoted(family.efforts)}, '
            f"see {family.link}",
        )
        return nearest

    def take_reasoning(self, *names: str) -> tuple[str, Reasoning] | None:
        """Take out what `names` set about reasoning, and return what the first of them sets."""
        found: list[tuple[str, Reasoning]] = []
        for name in sorted(names, key=lambda name: name not in self.call_parameters):
            if (reasoning := read_reasoning(name, self.params.get(name))) is not None:
                found.append((name, reasoning))
                self._take(name)
        if not found:
            return None
        first, *others = found
        for name, reasoning in others:
            is_overruled = first[0] in self.call_parameters and name not in self.call_parameters
            differs = reasoning.level() != first[1].level()
            if differs and not is_overruled:
                self.note(name, f"is left out: `{first[0]}` says it too, and otherwise")
        return first

    def _take(self, name: str) -> None:
        if name == "output_config" and (config := without(self.params[name], "effort")):
            self.params[name] = config
        else:
            del self.params[name]


_NOTHING = object()


def read_reasoning(name: str, value: Any) -> Reasoning | None:
    """Read what `value`, under any of the names for it, sets about reasoning; None for what is not readable."""
    if name in ("reasoning_effort", "effort"):
        if isinstance(value, str):
            return Reasoning(value)
        return None
    if not isinstance(value, Mapping):
        return None
    if name == "output_config":
        if isinstance(value.get("effort"), str):
            return Reasoning(value["effort"])
        return None
    if name == "thinking":
        kind = value.get("type")
        if kind in ("disabled", "between_tools"):
            return Reasoning("none")
        if kind not in ("enabled", "adaptive"):
            return None
        summary = "auto" if value.get("display") == "summarized" else None
        budget = value.get("budget_tokens")
        return Reasoning(None, budget if isinstance(budget, int) else None, summary)
    effort = "none" if value.get("enabled") is False else value.get("effort")
    if not isinstance(effort, str | None):
        return None
    budget = value.get("budget_tokens", value.get("max_tokens"))
    rest = without(value, "effort", "budget_tokens", "max_tokens", "summary")
    if rest.get("enabled") is False:
        del rest["enabled"]
    return Reasoning(
        effort, budget if isinstance(budget, int) else None, value.get("summary"), rest
    )


def quoted(values: tuple[str, ...]) -> str:
    return " and ".join(", ".join(f'"{value}"' for value in values).rsplit(", ", 1))


def format_as_openai(params: JSON) -> None:
    """Turn Anthropic's form of the answer, `output_config.format` or the older `output_format`, into OpenAI's."""
    config = params.get("output_config")
    form = config.get("format") if isinstance(config, Mapping) else params.get("output_format")
    if not isinstance(form, Mapping) or form.get("type") != "json_schema" or "schema" not in form:
        return
    params.pop("output_format", None)
    if isinstance(config, Mapping):
        params["output_config"] = without(config, "format")
        if not params["output_config"]:
            del params["output_config"]
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": form["schema"]}}
    params.setdefault("response_format", schema)

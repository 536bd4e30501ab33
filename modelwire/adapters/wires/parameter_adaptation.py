"""Adapts the parameters of a call to one model: what all wires share, and the settings of reasoning.

Parameters of another wire are converted to those of the model's wire. Parameters that the model rejects are left out,
with a note for the caller. No I/O here. Only a call that may need it loads this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from modelwire.adapters.wires.families import LEVELS, Family
from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument, did_you_mean
from modelwire.messages.block_translators.standard import without


class Note(NamedTuple):
    """A sentence for the caller about a parameter that was changed or left out."""

    parameter: str
    message: str


# The APIs' defaults. A parameter with this value is left out without a note, as that changes nothing.
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

# Converts efforts to thinking budgets in tokens, for models that take a budget, and back. The numbers are our choice:
# the smallest is the least that the API accepts, and the largest leaves room for the text of an answer on models whose
# answers are limited to 32,000 tokens.
_BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 24_000,
    "max": 24_000,
}


def budget_of_effort(effort: str) -> int:
    """Return the thinking budget, in tokens, that equals an effort. Raises `InvalidArgument` for an unknown one."""
    if effort not in _BUDGETS:
        meant = did_you_mean(effort, list(_BUDGETS))
        raise InvalidArgument(f"`{effort}` is not an effort of reasoning. {meant}")
    return _BUDGETS[effort]


class Reasoning(NamedTuple):
    """How much the model is to reason, read from any of the parameters that can set it."""

    effort: str | None = None
    budget: int | None = None  # tokens
    summary: Any = None
    # Settings that only some wires have, such as `exclude` or `context`.
    rest: JSON = {}  # noqa: RUF012

    def level(self) -> str | None:
        """Return the effort, else the lowest effort whose budget is not less; None if neither is set."""
        if self.effort is not None or self.budget is None:
            return self.effort
        if self.budget == 0:
            return "none"
        return next((level for level in LEVELS[2:] if self.budget <= _BUDGETS[level]), "xhigh")


class ParameterAdaptation:
    """Changes the parameters of one call, in place, to those that one model accepts, and notes each loss.

    `title` names the wire in the notes. The parameters named in `call_parameters` were set by the call itself, and
    replace settings that the model was made with.
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
        """Add a note: the sentence that begins with the parameter's name and ends with `what`."""
        self.notes.append(Note(name, f"`{name}` {what}."))

    def leave_out(self, name: str, why: str) -> None:
        """Remove a parameter, with a note unless its value is the API's default."""
        if self.params.pop(name) != _DEFAULTS.get(name, _NOTHING):
            self.note(name, f"is left out for `{self.model}`: {why}")

    def leave_out_all(self, names: Iterable[str], why: str) -> None:
        """Remove those of the named parameters that are set, with notes."""
        for name in names:
            if name in self.params:
                self.leave_out(name, why)

    def limit(self, lacks: Iterable[str], family: Family) -> None:
        """Remove the parameters that the wire does not have (`lacks`), and those that the family rejects."""
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
        """Return the effort of reasoning that the parameters set, None without one."""
        effort = self.params.get("reasoning_effort")
        if isinstance(reasoning := self.params.get("reasoning"), Mapping):  # over the Responses API
            effort = reasoning.get("effort", effort)
        return effort if isinstance(effort, str) else None

    def closest_level(self, name: str, level: str | None, family: Family) -> str | None:
        """Return the effort nearest to `level` that the model accepts, with a note if it differs.

        "none" replaces no other effort. An unknown level, or a model without known efforts, is left unchanged.
        """
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
        """Remove the settings of reasoning in the parameters `names`; return the name and value of the one that wins.

        A parameter of the call wins, else the first of `names`. A note names each other one that differs.
        """
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
                self.note(name, f"is left out: `{first[0]}` is set too, and differs")
        return first

    def _take(self, name: str) -> None:
        """Remove a parameter of reasoning; `output_config` stays with its other settings."""
        if name == "output_config" and (config := without(self.params[name], "effort")):
            self.params[name] = config
        else:
            del self.params[name]


_NOTHING = object()


def read_reasoning(name: str, value: Any) -> Reasoning | None:
    """Return what the parameter `name` sets about reasoning, or None if its value has no known form."""
    if name in ("reasoning_effort", "effort"):
        if isinstance(value, str):
            return Reasoning(value)
        return None
    if not isinstance(value, Mapping):
        return None
    if name == "output_config":
        return read_reasoning("effort", value.get("effort"))
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
    """Return the values in quotes as a list for a sentence: `"a", "b" and "c"`."""
    return " and ".join(", ".join(f'"{value}"' for value in values).rsplit(", ", 1))


def format_as_openai(params: JSON) -> None:
    """Convert Anthropic's schema of the answer to OpenAI's `response_format`, in place.

    Anthropic has it in `output_config.format`, or in the older parameter `output_format`.
    """
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

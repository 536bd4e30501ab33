"""`compare`: runs the calls of a recording again on other models, as jobs, and compares the answers
with the recorded ones.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from difflib import SequenceMatcher
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from modelwire.aliases import JSON, Fields, StrPath, Values
from modelwire.compare.recording import RecordedCall, read_recording
from modelwire.config import init_chat_model
from modelwire.errors import CallerError, InvalidArgument, MissingKey, ParameterWarning
from modelwire.ext import (
    FILTERED_REASONS,
    HTTPChatModel,
    JsonSchemaCheck,
    extension,
    failure_text,
    finish_reason_of,
)
from modelwire.messages import (
    AIMessage,
    SystemMessage,
    message_to_dict,
    messages_from_dict,
    messages_to_dict,
)
from modelwire.runnables import RunnableLambda
from modelwire.usage import amount_of, known_price

# An answer that ended for one of these reasons counts as refused.
_REFUSING = FILTERED_REASONS | {"refusal", "guardrail_intervened", "content_filtered"}
# For one call: the model with all bound arguments (None if the call cannot be sent), and sentences about
# the arguments that are not sent.
_Planned = tuple[Any, list[str]]
# The planned calls of each model, by its name.
_Plans = Mapping[str, Sequence[_Planned]]
# A batch is polled at the intervals of `BatchJob.wait`.
POLL_S: Any = "auto"
_NO_CHAT = "`{}` is not a chat model with a wire of its own, so recorded calls cannot go to it. Name one such as {}."
_VERDICT = (
    "Two answers to one request. Do they say the same, so that one may stand for the other? Answer with one word, yes "
    "or no.\n\n<request>\n{request}\n</request>\n<first>\n{first}\n</first>\n<second>\n{second}\n</second>"
)


@dataclass(slots=True)
class Outcome:
    """A model's result for one call. Costs are in USD; a field is None if it is unknown or does not apply.

    `seconds` are those of the job's row, including retries and waits; rows of a batch have none.
    """

    text: str = ""
    tool_calls: list[JSON] = field(default_factory=list)
    error: str | None = None
    refused: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Decimal | None = None
    seconds: float | None = None
    # Whether the answer, and the arguments of its tool calls, fit their schemas.
    fits_schema: bool | None = None
    # Whether the answer has the same tool calls with the same arguments as the recorded one.
    same_tools: bool | None = None
    # The similarity of the texts' words, from 0 to 1.
    similarity: float | None = None
    # The judge's verdict.
    same_meaning: bool | None = None
    # The parts of the recorded request that are not sent, a sentence each.
    not_taken: list[str] = field(default_factory=list)


# The outcomes of a model, by the positions of the calls.
Outcomes = dict[int, Outcome]


@dataclass(slots=True)
class Row:
    """One recorded call, its recorded answer, and each model's result for it."""

    line: int
    request: str  # The end of the request's text.
    recorded: Outcome
    outcomes: dict[str, Outcome]


@dataclass(slots=True)
class Total:
    """The sums of one model. Counts are pairs `(how many, of how many)`."""

    model: str
    answered: tuple[int, int]
    refused: int
    same_tools: tuple[int, int]
    fits_schema: tuple[int, int]
    similarity: float | None  # The mean.
    same_meaning: tuple[int, int]
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    seconds: float | None  # The median.
    not_taken: list[str]


@dataclass(slots=True)
class Comparison:
    """All rows, and the totals of the recording and of each model."""

    rows: list[Row]
    totals: list[Total]

    def to_json(self) -> str:
        """Return rows and totals as JSON; costs are texts."""
        return to_json(asdict(self), indent=2).decode()


def compare(
    path: StrPath,
    models: Any,
    *,
    system: str | None = None,
    params: Values | None = None,
    judge: Any = None,
    batch: bool = False,
    bucket: str | None = None,
    dir: StrPath | None = None,
    max_cost: Any = None,
    limit: int | None = None,
    quiet: bool = True,
) -> Comparison:
    """Run every call of the recording at `path` again on each of `models`, and compare the answers.

    `models` are names for `init_chat_model`, or chat models, or a single one, or a mapping from the
    names of the report to chat models. `system` replaces the recorded system messages, and `params`
    replace the recorded parameters of the same names. The calls are jobs whose state is in `dir`
    (by default `path` followed by `.compare`): a repeated call resumes them and pays for nothing
    twice. With `batch` they go through the providers' Batch APIs, those of Gemini on Vertex AI with
    files in `bucket`, "gs://my-bucket/folder". `judge` is a model that decides whether differing
    texts mean the same. `max_cost` in USD applies to each model; `limit` is the number of calls,
    the first ones.

    Raises: `CassetteError`, `InvalidArgument` and `NotBatchable` before any request, and the errors
    of `run_job`.
    """
    options = _Options.checked(batch=batch, max_cost=max_cost, limit=limit, quiet=quiet)
    calls = _changed_calls(read_recording(path), system, params)
    named = _named(models)
    buckets = _buckets(named, bucket, batch=batch)
    judging = None
    if judge is not None:
        judging = _made(judge)
    plans = {name: [_plan(model, call) for call in calls] for name, model in named.items()}
    # No request has been sent up to here.
    folder = Path(dir or f"{os.fspath(path)}.compare")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = calls[:limit]
    rows = [Row(call.line, _last_words(call), _recorded(call), {}) for call in wanted]
    inputs = [call.messages for call in calls]
    found = _outcomes(plans, inputs, len(rows), folder, options, buckets)
    _fill_in(rows, plans, found, wanted)
    if judging is not None:
        _judge(rows, judging, folder / "judge", options)
    return Comparison(rows, _totals(rows, _models_of(calls), plans))


class _Options(NamedTuple):
    """The options of the jobs that a comparison runs."""

    max_cost: Decimal | None
    quiet: bool

    @classmethod
    def checked(cls, *, batch: bool, max_cost: Any, limit: int | None, quiet: bool) -> _Options:
        """Return the options. Raises `InvalidArgument` if one is invalid, or if two exclude each other."""
        amount = None
        if max_cost is not None:
            amount = amount_of(max_cost)
        if limit is not None and limit < 1:
            raise InvalidArgument(f"`limit` must be a whole number of at least 1, not {limit!r}.")
        if batch and amount is not None:
            raise InvalidArgument(
                "`max_cost` limits direct calls, but a batch is submitted as a whole. Leave out one of the two."
            )
        return cls(amount, quiet)


def _outcomes(
    plans: _Plans,
    inputs: Sequence[Any],
    count: int,
    folder: Path,
    options: _Options,
    buckets: Mapping[str, str | None] | None,
) -> dict[str, Outcomes]:
    """Run the first `count` calls on each model, as batches unless `buckets` is None.

    Return the outcomes by the model's name and the call's position.
    """
    with warnings.catch_warnings():
        # The report lists these warnings.
        warnings.simplefilter("ignore", ParameterWarning)
        if buckets is None:
            return _by_jobs(plans, inputs, count, folder, options)
        return _by_batch(plans, inputs, count, folder, buckets)


def _planned_outcome(planned: _Planned, found: Outcome | None) -> Outcome:
    """Return the outcome of a call, with the sentences about what was not sent."""
    bound, notes = planned
    if bound is None or found is None:
        found = Outcome(error=notes[0])
    found.not_taken = notes
    return found


def _fill_in(
    rows: Sequence[Row],
    plans: _Plans,
    found: Mapping[str, Outcomes],
    calls: Sequence[RecordedCall],
) -> None:
    """Set the outcome of each model in each row, and compare it with the recorded one."""
    for name, plan in plans.items():
        for place, row in enumerate(rows):
            row.outcomes[name] = _planned_outcome(plan[place], found[name].get(place))
    for row, call in zip(rows, calls, strict=True):
        for outcome in (row.recorded, *row.outcomes.values()):
            outcome.fits_schema = _fits(outcome, call.params)
        for outcome in row.outcomes.values():
            _hold_against(outcome, row.recorded)


def _changed_calls(
    calls: list[RecordedCall], system: str | None, params: Values | None
) -> list[RecordedCall]:
    """Return the calls with `system` and `params` in place of the recorded ones, unless they are None."""
    if system is not None:
        calls = [_with_system(call, system) for call in calls]
    if params is not None:
        calls = [call._replace(params={**call.params, **params}) for call in calls]
    return calls


def _with_system(call: RecordedCall, system: str) -> RecordedCall:
    others = [message for message in call.messages if message.type != "system"]
    return call._replace(messages=[SystemMessage(system), *others])


def _named(models: Any) -> JSON:
    if isinstance(models, Mapping):
        return {name: _made(model) for name, model in models.items()}
    if isinstance(models, str | HTTPChatModel):
        models = [models]
    named = {_name(model): _made(model) for model in models}
    if not named:
        raise InvalidArgument(
            "Name at least one model to compare with: `--model openai:gpt-4o-mini`."
        )
    if len(named) < len(models):
        raise InvalidArgument("The same model is named twice.")
    return named


def _buckets(named: Values, bucket: str | None, *, batch: bool) -> dict[str, str | None] | None:
    """Return the bucket for each model, None if its Batch API needs none. Without `batch`, return None.

    Raises: `NotBatchable` if a model has no Batch API.
    """
    batch_api = extension("batch_api")
    buckets = {
        name: bucket if batch_api.takes_bucket(model) else None for name, model in named.items()
    }
    if bucket is not None and not (batch and any(buckets.values())):
        raise InvalidArgument(
            "`bucket` is only for batches of Gemini on Vertex AI, which this comparison does not have. Leave it out."
        )
    if not batch:
        return None
    for name, model in named.items():
        batch_api.batch_api_of(model, buckets[name])
    return buckets


def _name(model: Any) -> str:
    if isinstance(model, str):
        return model
    return f"{getattr(model, 'provider', '?')}:{getattr(model, 'model', type(model).__name__)}"


def _made(model: Any) -> Any:
    made = model
    if isinstance(model, str):
        made = init_chat_model(model)
    if not isinstance(made, HTTPChatModel):
        raise InvalidArgument(_NO_CHAT.format(_name(model), "openai:gpt-4o-mini"))
    return made


def _plan(model: Any, call: RecordedCall) -> _Planned:
    """Return the model with the call's arguments bound, and sentences about the arguments that are not sent.

    No request is sent, but the model must have a key.
    """
    params = dict(call.params)
    tools = params.pop("tools", None)
    choice = params.pop("tool_choice", None)
    notes = [
        f"`{name}` of the recorded call is not sent to another model." for name in call.left_out
    ]
    bound = model
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if tools:
                bound = model.bind_tools(tools, tool_choice=choice)
            bound = bound.bind(on_refusal="message", **params)
            model.build_request(call.messages, **bound.kwargs)
        except MissingKey:
            raise
        except CallerError as exc:  # Only this call cannot be sent, and its row has the error.
            return None, [str(exc)]
    relevant = [one for one in caught if issubclass(one.category, ParameterWarning)]
    notes += [str(one.message) for one in relevant]
    return bound, notes


class _Group(NamedTuple):
    """The calls of a model that have the same bound arguments, and are run as one job.

    `places` are their positions among all calls.
    """

    bound: Any
    places: list[int]
    folder: Path


def _groups(plan: Sequence[_Planned], folder: Path, *, batch: bool) -> list[_Group]:
    places: dict[str, list[int]] = {}
    of_batch = None
    end = ".job"
    if batch:
        # All rows of a batch are submitted together, so their number is part of its name.
        of_batch = len(plan)
        end = ".batch.job"
    for place, (bound, _) in enumerate(plan):
        if bound is not None:
            digest = sha256(to_json([bound.kwargs, of_batch], fallback=repr)).hexdigest()[:8]
            places.setdefault(digest, []).append(place)
    groups = []
    for digest, group in places.items():
        bound, _ = plan[group[0]]
        groups.append(_Group(bound, group, Path(f"{folder}-{digest}{end}")))
    return groups


def _by_jobs(
    plans: _Plans,
    inputs: Sequence[Any],
    count: int,
    folder: Path,
    options: _Options,
) -> dict[str, Outcomes]:
    """Run the first `count` calls on each model as a job; return by the model's name the outcomes of each position."""
    return {
        name: _by_jobs_of_model(
            _groups(plan, folder / _slug(name), batch=False), inputs, count, options
        )
        for name, plan in plans.items()
    }


def _by_jobs_of_model(
    groups: Sequence[_Group], inputs: Sequence[Any], count: int, options: _Options
) -> Outcomes:
    outcomes: Outcomes = {}
    left = options.max_cost
    for bound, places, folder in groups:
        # The job gets all rows with a `limit`, so that a later comparison can continue it.
        limit = sum(place < count for place in places)
        if not limit:
            continue
        chain = RunnableLambda(_messages_of_row) | bound | RunnableLambda(_row_of_message)
        # Rows may be missing from a result, so they are matched by their `place`.
        rows = [{"place": place, "messages": messages_to_dict(inputs[place])} for place in places]
        result = extension("jobs").run_job(
            chain,
            rows,
            job_dir=folder,
            limit=limit,
            max_cost=left,
            dedupe=False,
            quiet=options.quiet,
        )
        if left is not None:
            left = max(left - result.cost, Decimal("0.000001"))
        stopped = f"It has no answer: the job has stopped ({result.stopped})."
        outcomes |= {place: Outcome(error=stopped) for place in places[:limit]}
        for row in result:
            message = None
            if row.get("answer"):
                message = messages_from_dict([row["answer"]])[0]
            outcome = outcomes[row["place"]] = _outcome(message, row.get("error"))
            outcome.seconds = row.get("latency_s")
    return outcomes


def _messages_of_row(row: Fields) -> Any:
    return messages_from_dict(row["messages"])


def _row_of_message(message: AIMessage) -> JSON:
    return {"answer": message_to_dict(message)}


def _by_batch(
    plans: _Plans,
    inputs: Sequence[Any],
    count: int,
    folder: Path,
    buckets: Mapping[str, str | None],
) -> dict[str, Outcomes]:
    """Run the first `count` calls by each model's Batch API; return by the model's name the outcomes by position."""
    # All batches are submitted first, so that they run at the same time.
    submitted = {
        name: [
            (group, _submit(group, inputs, buckets[name]))
            for group in _groups(plan[:count], folder / _slug(name), batch=True)
        ]
        for name, plan in plans.items()
    }
    return {name: _outcomes_of_batches(batches) for name, batches in submitted.items()}


def _submit(group: _Group, inputs: Sequence[Any], bucket: str | None) -> Any:
    rows = [inputs[place] for place in group.places]
    return group.bound.submit_batch(rows, dir=group.folder, bucket=bucket, dedupe=False)


def _outcomes_of_batches(batches: Iterable[tuple[_Group, Any]]) -> Outcomes:
    """Wait for the batches of a model; return the outcome of each call by its position."""
    outcomes: Outcomes = {}
    for group, job in batches:
        for result in job.wait(poll=POLL_S).results():
            error = None
            if result.error is not None:
                error = failure_text(result.error)
            outcome = outcomes[group.places[result.index]] = _outcome(result.message, error)
            outcome.cost = result.cost
    return outcomes


def _recorded(call: RecordedCall) -> Outcome:
    outcome = _outcome(call.answer, call.error)
    outcome.seconds = call.seconds
    return outcome


def _outcome(message: Any, error: str | None) -> Outcome:
    if message is None:
        return Outcome(
            error=error or "There is no answer.", refused=str(error).startswith("Refused")
        )
    usage = message.usage_metadata or {}
    calls = [{"name": call["name"], "args": call["args"]} for call in message.tool_calls]
    refusal = message.additional_kwargs.get("refusal")
    refused = bool(refusal) or finish_reason_of(message) in _REFUSING
    return Outcome(
        str(message.text) or str(refusal or ""),
        calls,
        error,
        refused,
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        known_price(message),
    )


def _fits(outcome: Outcome, params: Values) -> bool | None:
    """Return whether an answer fits the schema of its request, and its tool calls the schemas of their tools."""
    tools = dict(map(_name_and_schema, params.get("tools") or ()))
    pairs: list[tuple[Any, Any]] = []
    if tools:
        pairs = [(call["args"], tools.get(call["name"], False)) for call in outcome.tool_calls]
    form = params.get("response_format") or {}
    is_text = not outcome.tool_calls and outcome.error is None
    if is_text and form.get("type") == "json_schema":
        pairs.append((outcome.text, form["json_schema"]["schema"]))
    for value, schema in pairs:
        if schema is False:  # The request does not have this tool.
            return False
        try:
            check = JsonSchemaCheck(schema or {})
        except InvalidArgument:
            # The schema cannot be checked here, for example one in Gemini's own form.
            return None
        try:
            check(from_json(value) if isinstance(value, str) else value)
        except ValueError:
            return False
    return True if pairs else None


def _name_and_schema(tool: Fields) -> tuple[str, Any]:
    """Return a tool's name and the schema of its arguments, in the form of OpenAI or of Anthropic."""
    about = tool.get("function") or tool
    return str(about.get("name")), about.get("parameters") or about.get("input_schema")


def _hold_against(outcome: Outcome, recorded: Outcome) -> None:
    """Compare an outcome with the recorded one: tool calls, and the similarity of the texts."""
    if outcome.error is not None or recorded.error is not None:
        return
    if outcome.tool_calls or recorded.tool_calls:
        outcome.same_tools = outcome.tool_calls == recorded.tool_calls
    if outcome.text or recorded.text:
        words = SequenceMatcher(None, recorded.text.split(), outcome.text.split(), autojunk=False)
        outcome.similarity = round(words.ratio(), 3)


def _judge(rows: Iterable[Row], model: Any, folder: Path, options: _Options) -> None:
    """Ask the judge model whether differing texts mean the same; `same_meaning` stays None if it is not clear."""
    pairs = []
    for row in rows:
        for outcome in row.outcomes.values():
            if outcome.similarity == 1:
                outcome.same_meaning = True
            elif outcome.similarity is not None:
                pairs.append((row, outcome))
    questions = [
        {"pair": pair, "request": row.request, "first": row.recorded.text, "second": one.text}
        for pair, (row, one) in enumerate(pairs)
    ]
    if not questions:
        return
    # The digest is part of the job's name, because other answers make other questions.
    digest = sha256(to_json(questions)).hexdigest()[:8]
    answers = extension("jobs").run_job(
        _VERDICT,
        questions,
        model=model,
        job_dir=f"{folder}-{digest}.job",
        max_cost=options.max_cost,
        quiet=options.quiet,
    )
    for row in answers:
        _, outcome = pairs[row["pair"]]
        word = str(row.get("answer") or "").strip().lower()[:3]
        if word == "yes":
            outcome.same_meaning = True
        elif word.startswith("no"):
            outcome.same_meaning = False


def _last_words(call: RecordedCall) -> str:
    texts = [str(message.text) for message in reversed(call.messages)]
    return next(filter(None, texts), "")


def _models_of(calls: Sequence[RecordedCall]) -> str:
    return ", ".join(dict.fromkeys(call.model for call in calls))


def _slug(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-." else "_" for char in name)


def _totals(rows: Sequence[Row], recorded_models: str, names: Iterable[str]) -> list[Total]:
    totals = [_total(f"{recorded_models} (recorded)", [row.recorded for row in rows])]
    return totals + [_total(name, [row.outcomes[name] for row in rows]) for name in names]


def _total(model: str, outcomes: Sequence[Outcome]) -> Total:
    from statistics import fmean, median

    def share(name: str) -> tuple[int, int]:
        values = known(name)
        return sum(values), len(values)

    def known(name: str) -> list[Any]:
        return [value for one in outcomes if (value := getattr(one, name)) is not None]

    answered = [one for one in outcomes if one.error is None]
    priced = known("cost")
    are_all_priced = bool(priced) and len(priced) == len(answered)
    similarities = known("similarity")
    times_s = known("seconds")
    notes = dict.fromkeys(note for one in outcomes for note in one.not_taken)
    similarity = None
    if similarities:
        similarity = round(fmean(similarities), 3)
    cost = None
    if are_all_priced:
        cost = sum(priced, Decimal(0))
    seconds = None
    if times_s:
        seconds = round(median(times_s), 3)
    return Total(
        model,
        (len(answered), len(outcomes)),
        sum(one.refused for one in outcomes),
        share("same_tools"),
        share("fits_schema"),
        similarity,
        share("same_meaning"),
        sum(known("input_tokens")),
        sum(known("output_tokens")),
        cost,
        seconds,
        list(notes),
    )

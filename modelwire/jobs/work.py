"""The work of a job: its chain, the input that a row is for the chain, and the facts that are recorded of an answer.

A fingerprint of the chain detects a changed prompt or model.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from pydantic_core import to_json

from modelwire import adapters, ext
from modelwire.aliases import JSON, Fields
from modelwire.errors import (
    InvalidArgument,
    InvalidType,
    ParameterWarning,
    did_you_mean,
)
from modelwire.ext import CUT_REASONS, failure_text, finish_reason_of
from modelwire.jobs.attachments import QuestionWithAttachments
from modelwire.jobs.row_records import digest_of, record_value
from modelwire.jobs.stored_vectors import COLUMN, Vector, stored_vector
from modelwire.messages import AIMessage, BaseMessage, HumanMessage
from modelwire.prompts import BasePromptTemplate, ChatPromptTemplate
from modelwire.runnables import (
    DynamicRunnable,
    Runnable,
    RunnableAssign,
    RunnableBinding,
    RunnableLambda,
    RunnableParallel,
    RunnableSequence,
)
from modelwire.usage import (
    PromptCacheUse,
    check_price_list,
    known_price,
    prompt_cache_use_of,
)

if TYPE_CHECKING:
    from modelwire.adapters import BaseChatModel
    from modelwire.errors import Attempt
    from modelwire.runnables import RunnableConfig

__all__ = [
    "OPTIONS_OF_PROMPT",
    "Tally",
    "Work",
    "answer_value",
    "check_prices",
    "differences",
    "failure_text",
    "finish_reason",
    "make_work",
    "members_of",
    "models_of",
    "models_with_arguments",
    "price_of_counts",
    "prompt_cache_facts",
]


# These options of `run_job` are arguments of `make_work`.
OPTIONS_OF_PROMPT = ("system", "schema", "attachments", "attachment_folder")

# An answer of OpenAI names the tier by which it was billed, which is one of these or the default.
TIERS = ("flex", "priority")
# An error shows a changed text whole if it has at most this many characters.
WHOLE_CHARS = 200
# Of a longer text it shows this many characters before the first difference, and twice as many after it.
CHARS_AROUND = 30


class Work:
    """A chain as the work of a job.

    `columns` are the columns of the input that its prompt needs, and `answer_columns` the keys of
    its answers; None if they are unknown. `text` is True if the user gave the prompt as a text.
    """

    def __init__(self, chain: Runnable, *, text: bool = False) -> None:
        self.chain = chain
        self._is_text = text
        first = chain
        if isinstance(chain, RunnableSequence):
            first = chain.first
        self.prompt: BasePromptTemplate[Any] | None = None
        self.columns: list[str] | None = None
        self._prompt_columns: list[str] | None = None
        if isinstance(first, BasePromptTemplate):
            self.prompt = first
            self.columns = sorted(first.input_variables)
            self._prompt_columns = sorted({*self.columns, *first.optional_variables})
        self.answer_columns = _answer_columns(chain)
        # An error about a column that the input does not have starts with these words.
        self.named_by = "The prompt"
        # False if an answer is a vector, which has no tokens.
        self.has_answer_tokens = True
        # How many rows are in flight at first, and at most; None leaves that to the window.
        self.rows_at_once: int | None = None
        self.rows_at_most: int | None = None

    def question(self, values: Any) -> Any:
        """Return the part of a row that reaches the model. Rows with an equal part share one call."""
        if self._prompt_columns is None or not isinstance(values, dict):
            return values
        return [values.get(name) for name in self._prompt_columns]

    def filled(self, values: Any) -> Any:
        """Return the input of the chain for a row: its values, with an empty text instead of None.

        A prompt would otherwise contain the word `None` for an empty cell.
        """
        if self.prompt is None or not isinstance(values, dict):
            return values
        filled = values
        for name in self.columns or ():
            if name in values and values[name] is None:
                filled = {**filled, name: ""}
        return filled

    def check_columns(self, columns: Sequence[str] | None) -> None:
        """Raise `InvalidArgument` if the prompt names a column that the input does not have."""
        if columns is None:
            return
        if self._is_text and not self.columns and columns:
            raise InvalidArgument(
                f"The prompt names no column, so it would be the same for every row. Write `{{{columns[-1]}}}` where "
                f"that column goes. The input has {_listed(columns)}."
            )
        for name in self.columns or ():
            if name in columns:
                continue
            if not columns:
                raise InvalidArgument(
                    f"{self.named_by} names the column `{name}`, and the input has none: is it empty?"
                )
            normal = normalize("NFC", name)
            for column in columns:
                if normalize("NFC", column) == normal:
                    raise InvalidArgument(
                        f"{self.named_by} names the column `{name}`, and the input writes it with other code points: "
                        f"{column!a}, not {name!a}."
                    )
            hint = did_you_mean(name, columns)
            if not hint.startswith("Did"):
                hint = f"It has {_listed(columns)}."
            if self.prompt is not None and not name.isidentifier():
                hint += " Write a brace that is text as `{{`."
            raise InvalidArgument(
                f"{self.named_by} names the column `{name}`, but the input has no such column. {hint}"
            )

    def fingerprint(self, config: RunnableConfig | None = None) -> dict[str, str]:
        """Return a fingerprint that changes with the prompt, the model or a request. It contains no secrets.

        `work` describes the whole chain, `model` its models as `config` selects them, and `request`
        is a digest of the bodies that they would send for one fixed prompt. Parts that are unknown
        are left out.
        """
        chosen = list(_chosen_models(self.chain, config))
        models = [_described(model) for model, _ in chosen]
        parts = {
            "prompt": _prompt_text(self.prompt),
            "model": ", ".join(models),
            "request": _digest_of_requests(chosen),
            "work": _described(self.chain),
        }
        for name in ("prompt", "model", "request"):
            if not parts[name]:
                del parts[name]
        return parts


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in columns)


def _prompt_text(prompt: Any) -> str:
    """Return the text of a prompt template; "" if it is not made of texts."""
    pieces = getattr(prompt, "messages", None) or [prompt]
    texts = []
    for piece in pieces:
        text = getattr(getattr(piece, "prompt", piece), "template", None)
        if not isinstance(text, str):
            return ""
        texts.append(text)
    return _masked("\n".join(texts))


def make_work(
    work: Any,
    model: Any = None,
    *,
    system: str | None = None,
    schema: Any = None,
    attachments: Sequence[str] = (),
    attachment_folder: Path | None = None,
) -> Work:
    """Return the work of a chain, or of a prompt (a template with `{column}`s) and a model."""
    if attachments and not isinstance(work, str):
        raise InvalidArgument(
            "`attachments` are for a prompt that is a text. A chain's own prompt holds its content blocks."
        )
    if isinstance(work, Runnable) and model is None:
        return Work(work)
    if not isinstance(work, (str, BasePromptTemplate)):
        if isinstance(work, Runnable):
            raise InvalidArgument("`model` is for a prompt; a chain has its own model.")
        hint = ""
        if callable(work):
            hint = " `RunnableLambda(function)` makes a chain of it."
        raise InvalidType(
            f"A job's work is a chain or a prompt, not a `{type(work).__name__}`.{hint}"
        )
    if model is None:
        raise InvalidArgument(
            'A prompt needs a model: give `model="openai:gpt-4o-mini"`, or a chat model.'
        )
    if isinstance(model, str):
        from modelwire.config import init_chat_model

        model = init_chat_model(model)
    if schema is not None:
        if isinstance(schema, Mapping) and "properties" in schema:
            # Keys that the schema does not name have no column.
            schema = {"additionalProperties": False, **schema}
        model = model.with_structured_output(schema)
    if isinstance(work, str):
        messages: list[Any] = []
        if system is not None:
            messages.append(("system", system))
        if attachments:
            folder = attachment_folder or Path.cwd()
            messages.append(QuestionWithAttachments(work, attachments, folder))
        else:
            messages.append(("human", work))
        work = ChatPromptTemplate.from_messages(messages)
        return Work(work | model, text=True)
    return Work(work | model)


def _answer_columns(step: Runnable) -> list[str] | None:
    """Return the keys of the answers if a schema defines them, else None."""
    if isinstance(step, RunnableSequence):
        return _answer_columns(step.last)
    if isinstance(step, RunnableBinding):
        return _answer_columns(step.bound)
    columns = getattr(step, "answer_columns", None)
    if columns is None:
        return None
    return list(columns)


def models_of(step: Runnable) -> Iterator[BaseChatModel]:
    """Yield the chat models of a chain at any depth, except those that a function calls."""
    return (model for model, _, _ in models_with_arguments(step))


def models_with_arguments(
    step: Runnable,
    kwargs: Fields = MappingProxyType({}),
    times: int = 1,
) -> Iterator[tuple[BaseChatModel, Fields, int]]:
    """Yield the chat models of a chain with their bound arguments, and how often each may answer for one row."""
    if isinstance(step, adapters.BaseChatModel):
        yield step, kwargs, times
        return
    if isinstance(step, RunnableBinding):
        kwargs = {**step.kwargs, **kwargs}
    else:
        kwargs = {}
    # `with_retry` may repeat a call whose answer was billed but could not be parsed.
    times *= getattr(step, "max_attempt_number", 1)
    for inner in step._runnables_inside():
        yield from models_with_arguments(inner, kwargs, times)


def members_of(model: BaseChatModel) -> list[BaseChatModel]:
    """Return the models that may answer a call of `model`: those of a pool, or only the model itself."""
    deployments: Mapping[str, BaseChatModel] = getattr(model, "deployments", {"": model})
    return [*deployments.values()]


def _chosen_models(
    step: Runnable,
    config: RunnableConfig | None,
    kwargs: Fields = MappingProxyType({}),
) -> Iterator[tuple[BaseChatModel, Fields]]:
    """Yield the chat models that a call with `config` uses, each with its bound arguments."""
    if isinstance(step, adapters.BaseChatModel):
        yield step, kwargs
        return
    if isinstance(step, DynamicRunnable):
        chosen, config = step.prepare(config)
        yield from _chosen_models(chosen, config, kwargs)
        return
    bound: Fields = {}
    if isinstance(step, RunnableBinding):
        bound = {**step.kwargs, **kwargs}
        config = step._config(config)
    for inner in step._runnables_inside():
        yield from _chosen_models(inner, config, bound)


def _digest_of_requests(models: Iterable[tuple[BaseChatModel, Fields]]) -> str:
    """Return a digest of the body that each model would send for one fixed prompt; "" if none can be built.

    Addresses and headers are excluded: a job may resume at another gateway and with another key. A
    body that changes between two calls, such as one with a random id, is excluded, too.
    """
    bodies = []
    for model, kwargs in models:
        first = _body_of_probe(model, kwargs)
        second = _body_of_probe(model, kwargs)
        if first is not None and first == second:
            bodies.append(first)
    if bodies:
        return digest_of(b"\n".join(bodies)).hex()[:16]
    return ""


def _body_of_probe(model: Any, kwargs: Fields) -> bytes | None:
    if not isinstance(model, ext.HTTPChatModel):
        return None
    question: Any = [HumanMessage("What is it?")]
    with warnings.catch_warnings():
        # The rows of the job will raise these warnings.
        warnings.simplefilter("ignore", ParameterWarning)
        try:
            request = model._build_request(question, None, dict(kwargs), stream=False, ask=False)[1]
            return to_json(request.body, fallback=repr)
        except Exception:  # noqa: BLE001 - whatever is wrong with the call, its first row says so better
            return None


_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_SECRET = re.compile(
    r"""(['"]?[\w-]*(?:key|token|auth|secret|password|cookie)[\w-]*['"]?\s*[:=]\s*)(['"]).*?\2""",
    re.IGNORECASE,
)


def _described(value: Any) -> str:
    if isinstance(value, RunnableSequence):
        return "\n| ".join(_described(step) for step in value.steps)
    if isinstance(value, RunnableAssign):
        return f"RunnableAssign({_described(value.mapper)})"
    if isinstance(value, RunnableParallel):
        steps = value.steps__.items()
        return ", ".join(f"{name}: {_described(step)}" for name, step in steps)
    if isinstance(value, RunnableBinding):
        return f"{_described(value.bound)} with {_shown(value.kwargs)}"
    if isinstance(value, RunnableLambda):
        function = getattr(value, "func", None) or getattr(value, "afunc", None)
        return f"RunnableLambda({_source(function)})"
    # These fields of a model are excluded: its timeouts and its address.
    parameters = getattr(value, "_identifying_params", None)
    if parameters is None:
        return _shown(value)
    return f"{type(value).__name__}({_shown(dict(parameters))})"


def _shown(value: Any) -> str:
    return _masked(_ADDRESS.sub("", repr(value)))


def _masked(text: str) -> str:
    return ext.mask_secrets(_SECRET.sub(r"\1'***'", text))


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function).strip()
    except (OSError, TypeError):
        return getattr(function, "__qualname__", type(function).__name__)


def differences(before: Fields, now: Fields) -> list[str]:
    """Return the differences between two fingerprints, one sentence each; none if they are equal.

    A fingerprint of an older version has `work`, and neither `prompt` nor `model`.
    """
    compared = ("input", "prompt", "model", "work", "via")
    differ = [name for name in compared if before.get(name) != now.get(name)]
    requests = {before.get("request"), now.get("request")}
    if not differ and None not in requests and len(requests) > 1:
        return [
            "The request: the same prompt and model send other parameters, such as `extra_body`."
        ]
    parts = before.keys() & now.keys() & {"prompt", "model"} & {*differ}
    shown = {"input", "via"} | (parts or {"work"})
    found = []
    for name in differ:
        old = before.get(name)
        new = now.get(name)
        if name == "input":
            found.append(_changed_input(old or {}, new or {}))
        elif name in shown:
            found.append(f"The {name}: {_apart(str(old), str(new))}.")
    return found


def _changed_input(before: Fields, now: Fields) -> str:
    for name, unit in (("file", ""), ("bytes", " bytes"), ("limit", " rows of it")):
        old = before.get(name)
        new = now.get(name)
        if old == new:
            continue
        title = "The input"
        if name != "file":
            title = f"The input {now.get('file', '')}"
        return f"{title}: {_counted(old)}{unit} became {_counted(new)}."
    return f"The input {now.get('file', '')}: its text is another one."


def _counted(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return str(value or "all")


def _apart(before: str, now: str) -> str:
    """Return a phrase with both texts; of long texts only the part around their first difference."""
    before = before.replace("\n", "\\n")
    now = now.replace("\n", "\\n")
    if len(before) <= WHOLE_CHARS and len(now) <= WHOLE_CHARS:
        return f"`{before}` became `{now}`"
    start = 0
    for one, other in zip(before, now, strict=False):
        if one != other:
            break
        start += 1
    cut = max(0, start - CHARS_AROUND)
    end = start + 2 * CHARS_AROUND
    return f"`{_part(before, cut, end)}` became `{_part(now, cut, end)}`"


def _part(text: str, start: int, end: int) -> str:
    shown = text[start:end]
    if start > 0:
        shown = f"...{shown}"
    if len(text) > end:
        shown = f"{shown}..."
    return shown


def answer_value(answer: Any) -> Any:
    """Return an answer as JSON: a message as its text or its tool calls, an object as its fields, a vector as a column.

    Raises: `ValueError` for values that JSON does not have, and for JSON that no reader takes.
    """
    if isinstance(answer, Vector):
        return {COLUMN: stored_vector(answer)}
    if isinstance(answer, BaseMessage):
        calls = getattr(answer, "tool_calls", None)
        answer = str(answer.text) or calls or ""
    return record_value(answer)


class Tally:
    """Collects the answers and the failed attempts of the calls for one row, from any thread."""

    __slots__ = ("failed_attempts", "messages")

    def __init__(self) -> None:
        self.messages: list[AIMessage] = []
        self.failed_attempts: list[Attempt] = []

    def about(self) -> JSON:
        """Return attempts, tokens, cost and other facts for a record. A fact that is unknown is left out."""
        messages = self.messages
        paid = [message for message in messages if not _of_a_cache(message)]
        about: JSON = {"attempts": len(paid) + len(self.failed_attempts)}
        for message in paid:
            usage = getattr(message, "usage_metadata", None)
            if usage is not None:
                for name in ("input_tokens", "output_tokens"):
                    about[name] = about.get(name, 0) + usage[name]
        about |= prompt_cache_facts(paid)
        costs: list[Any] = [known_price(message) for message in paid]
        if None not in costs:  # A partial sum would look like the whole cost.
            about["cost"] = str(sum(costs, Decimal(0)))
        tiers = {message.response_metadata.get("service_tier") for message in paid}
        if len(tiers) == 1:
            (tier,) = tiers
            if tier in TIERS:
                about["way"] = tier
        reason = finish_reason(messages)
        if reason:
            about["finish_reason"] = reason
        if len(paid) < len(messages):
            about["cached"] = len(messages) - len(paid)
        return about


def prompt_cache_facts(messages: Sequence[Any], *, batch: bool = False) -> JSON:
    """Return for a record how many tokens were read from prompt caches and written to them, and what that saved.

    The result is empty if none were.
    """
    total = PromptCacheUse()
    for message in messages:
        usage: Any = getattr(message, "usage_metadata", None)
        if usage is None:
            continue
        about = message.response_metadata
        model = str(about.get("model_name"))
        provider = about.get("model_provider")
        tier = about.get("service_tier")
        total.add(prompt_cache_use_of(usage, model, provider=provider, batch=batch, tier=tier))
    if not (total.read_tokens or total.written_tokens):
        return {}
    return {
        "cache_read": total.read_tokens,
        "cache_written": total.written_tokens,
        "cache_saved": str(total.saved),
    }


def finish_reason(messages: Sequence[Any]) -> str | None:
    """Return the reason why the last answer has ended; if a token limit has cut answers, that of the last of them."""
    reasons = [finish_reason_of(message) for message in messages]
    cut = [reason for reason in reasons if reason in CUT_REASONS]
    return (cut or reasons or [None])[-1]


def _of_a_cache(message: AIMessage) -> bool:
    usage: Any = getattr(message, "usage_metadata", None)
    return usage is not None and usage.get("total_cost") == 0


def price_of_counts(
    model: Any,
    tokens_in: int,
    tokens_out: int,
    tier: str | None = None,
) -> Decimal | None:
    """Return the price in USD of an answer of `model` with these tokens; None if it is unknown.

    `tier` is the service tier, or None for the default one.
    """
    usage: Any = {
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
    }
    about = {
        "model_name": getattr(model, "model", None),
        "model_provider": getattr(model, "provider", None),
        "service_tier": tier,
    }
    return known_price(AIMessage("", usage_metadata=usage, response_metadata=about))


def check_prices(chain: Runnable) -> None:
    """Raise `InvalidArgument` if a cost limit cannot be enforced, because the price of a model is unknown."""
    check_price_list()
    models: list[BaseChatModel] = []
    for model in models_of(chain):
        models += members_of(model)
    for model in models:
        name = getattr(model, "model", None)
        client = getattr(model, "client", None)
        is_deployment = getattr(model, "provider", None) == "azure_openai"
        if name is None or client is not None or is_deployment:
            continue  # Only the answers of a deployment or a custom model name the model.
        if price_of_counts(model, 1000, 1000) is None:
            raise InvalidArgument(
                f"`max_cost` cannot be held: no price of `{name}` is known. No request was sent. Leave `max_cost` out "
                "and bound the cost by `limit`, a number of rows; or name the model as its provider's price list does."
            )

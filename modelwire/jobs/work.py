"""The work of a job: its chain, the row's input to it, its answers, and a fingerprint that detects
a changed prompt or model.
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

from pydantic_core import from_json, to_json

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
from modelwire.jobs.row_records import digest_of, record_json
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
# Texts of at most this many characters are shown whole where they differ from before.
WHOLE_CHARS = 200
# Of longer ones this many characters are shown before the first difference, and twice as many behind.
CHARS_AROUND = 30


class Work:
    """A chain, the columns that it takes and those of its answers; None if they are unknown.

    `text` says whether its prompt is a plain text.
    """

    def __init__(self, chain: Runnable, *, text: bool = False) -> None:
        self.chain = chain
        self._is_text = text
        first = chain
        if isinstance(chain, RunnableSequence):
            first = chain.first
        self.prompt = None
        if isinstance(first, BasePromptTemplate):
            self.prompt = first
        if self.prompt is None:
            self.columns = None
        else:
            self.columns = sorted(self.prompt.input_variables)
        if self.prompt is None:
            optional = []
        else:
            optional = self.prompt.optional_variables
        self.answer_columns = _answer_columns(chain)
        # The subject of errors about a column that the input does not have.
        self.named_by = "The prompt"
        # False if an answer is a vector, which has no tokens.
        self.has_answer_tokens = True
        # How many rows are in flight at first, and at most; None leaves that to the window.
        self.rows_at_once: int | None = None
        self.rows_at_most: int | None = None
        if self.columns is None:
            self._prompt_columns = None
        else:
            self._prompt_columns = tuple(sorted({*self.columns, *optional}))

    def question(self, values: Any) -> Any:
        """Return the part of a row that reaches the model: rows for which it is equal share one call."""
        if self._prompt_columns is None or not isinstance(values, dict):
            return values
        return [values.get(name) for name in self._prompt_columns]

    def filled(self, values: Any) -> Any:
        """Return the values of a row for its prompt.

        A null cell becomes an empty text instead of the word `None`.
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
            for column in columns:
                if normalize("NFC", column) == normalize("NFC", name):
                    raise InvalidArgument(
                        f"{self.named_by} names the column `{name}`, and the input writes it with other code points: "
                        f"{column!a}, not {name!a}."
                    )
            close = did_you_mean(name, columns)
            if close.startswith("Did"):
                hint = close
            else:
                hint = f"It has {_listed(columns)}."
            brace = " Write a brace that is text as `{{`."
            if name.isidentifier() or self.prompt is None:
                brace = ""
            raise InvalidArgument(
                f"{self.named_by} names the column `{name}`, but the input has no such column. {hint}{brace}"
            )

    def fingerprint(self, config: RunnableConfig | None = None) -> dict[str, str]:
        """Return a fingerprint that changes with the prompt, the model or a request, without secrets.

        `work` describes the whole chain, `model` its models as `config` selects them, and `request`
        is a digest of the bodies that they would send for one fixed prompt.
        """
        chosen = list(_chosen_models(self.chain, config))
        parts = {
            "prompt": _prompt_text(self.prompt),
            "model": ", ".join(_described(model) for model, _ in chosen),
            "request": _digest_of_requests(chosen),
        }
        known = {name: text for name, text in parts.items() if text}
        return {**known, "work": _described(self.chain)}


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
        question: Any = ("human", work)
        if attachments:
            question = QuestionWithAttachments(work, attachments, attachment_folder or Path.cwd())
        if system is None:
            messages = [question]
        else:
            messages = [("system", system), question]
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
    """Return the models of a pool, any of which may answer; of another model itself."""
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
    """Return a digest of the request of each model for one fixed prompt; "" if a request cannot be built.

    Addresses and headers are excluded: a job may resume at another gateway and with another key. So
    is a body that changes between two calls, such as one with a random id.
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
    """Return the differences between two fingerprints, one sentence each.

    An older fingerprint has only `work`, a newer one also `prompt` and `model`.
    """
    differ = [
        name
        for name in ("input", "prompt", "model", "work", "via")
        if before.get(name) != now.get(name)
    ]
    requests = {before.get("request"), now.get("request")}
    if not differ and None not in requests and len(requests) > 1:
        return [
            "The request: the same prompt and model send other parameters, such as `extra_body`."
        ]
    in_both = before.keys() & now.keys()
    parts = [name for name in ("prompt", "model") if name in differ and name in in_both]
    shown = ("input", "via", *(parts or ("work",)))
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
    """Return two texts side by side; long ones only around the first place where they differ."""
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
    """Return an answer as JSON: a message becomes its text or its tool calls, an object its fields, a vector a column.

    Raises: `ValueError` for values that JSON does not have, and for JSON that no reader takes.
    """
    if isinstance(answer, Vector):
        return {COLUMN: stored_vector(answer)}
    if isinstance(answer, BaseMessage):
        calls = getattr(answer, "tool_calls", None)
        answer = str(answer.text) or calls or ""
    return from_json(record_json(answer))


class Tally:
    """Collects the answers and the failed attempts of one row, from any thread."""

    __slots__ = ("failed_attempts", "messages")

    def __init__(self) -> None:
        self.messages: list[AIMessage] = []
        self.failed_attempts: list[Attempt] = []

    def about(self) -> JSON:
        """Return tokens, cost and attempts for a record; a value is None if it is unknown."""
        messages = self.messages
        paid = [message for message in messages if not _of_a_cache(message)]
        usages = []
        for message in paid:
            usage = getattr(message, "usage_metadata", None)
            if usage is not None:
                usages.append(usage)
        about: JSON = {"attempts": len(paid) + len(self.failed_attempts)}
        if usages:
            about["input_tokens"] = sum(usage["input_tokens"] for usage in usages)
            about["output_tokens"] = sum(usage["output_tokens"] for usage in usages)
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
    """Return what the prompt cache did for the answers, for a record; empty if it did nothing."""
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
    """Return the provider's reason for the end of the last answer, or of the last one that a token limit ended."""
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
    """Return the price of such an answer of `model` in USD; None if the price or the answering model is unknown."""
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
    """Raise if a cost limit cannot be enforced, because the price of one of the chain's models is unknown."""
    check_price_list()
    for model in [member for whole in models_of(chain) for member in members_of(whole)]:
        name = getattr(model, "model", None)
        client = getattr(model, "client", None)
        if name is None or client is not None or getattr(model, "provider", None) == "azure_openai":
            continue  # It is a deployment or a custom model; only its answers name the model.
        if price_of_counts(model, 1000, 1000) is None:
            raise InvalidArgument(
                f"`max_cost` cannot be held: no price of `{name}` is known. No request was sent. Leave `max_cost` out "
                "and hold the cost by `limit`, a number of rows; or name the model as its provider's price list does."
            )

"""`pool`: makes one chat model of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Literal, TypeAlias

from modelwire.adapters.model.base import BaseChatModel
from modelwire.config import init_chat_model
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.pools.choice import Preference
from modelwire.pools.deployment import Deployment
from modelwire.pools.model import PoolChatModel
from modelwire.pools.scheduler import Scheduler

__all__ = ["check_options", "pool"]

_Named: TypeAlias = "str | BaseChatModel"
# The name of a deployment, its model and its weight, if it has one.
_Member: TypeAlias = tuple[str, BaseChatModel, float | None]
# A call of a deployment waits at most this long for a paused limiter; then it goes elsewhere.
_MEMBER_WAIT_S = 1.0


def pool(
    models: Sequence[_Named | tuple[_Named, float]] | Mapping[str, _Named | tuple[_Named, float]],
    *,
    hedge: Literal["p95"] | float | None = None,
    sticky: bool = True,
    prefer: Literal["fastest", "first"] = "fastest",
    max_wait: float = 60.0,
) -> PoolChatModel:
    """Return a chat model made of several deployments: regions, keys, accounts or providers.

    Each call goes where it is expected to end first, by the state of each deployment's rate limiter and the median
    seconds of such calls. If none can start, the call waits for the first that can.

        model = pool(["openai:gpt-5-mini", "azure_openai:gpt-5-mini"])
        model = pool({"eu": eu_model, "us": us_model}, prefer="first")
        model = pool([("openai:gpt-5-mini", 3), ("anthropic:claude-haiku-4-5", 1)])

    Args:
        models: names for `init_chat_model` (also rows of `modelwire.toml`) or chat models; a mapping names the
            deployments. With weights, as in `(model, 3)`, calls are divided by them among the deployments that can
            start soon. A model without a weight among them has the weight 1.
        hedge: call a second deployment when an answer, or a stream's first chunk, takes longer than these seconds,
            or than 95 % of the latest calls ("p95"). The first answer wins. At most 5 % of the calls are sent twice.
        sticky: keep calls with the same beginning (system, tools, first user turn) where the provider's prompt cache
            is warm, while that costs less than moving.
        prefer: "first" takes the first deployment of the list that can start soon.
        max_wait: when every deployment is down, a call fails after these seconds; the rows of a batch wait on. Rate
            limits are waited out for as long as they take.

    Raises:
        `InvalidArgument`: there are no models, or an option has a value that cannot be used. The errors of
            `init_chat_model` for the names.
    """
    members = [*_members(models)]
    weights = [weight for _, _, weight in members if weight is not None]
    check_options(
        members, weights=weights, hedge=hedge, sticky=sticky, prefer=prefer, max_wait=max_wait
    )
    deployments = [
        Deployment(name, _impatient(model), float(weight or 1))
        for name, model, weight in _distinct(members)
    ]
    preference: Preference = "weights" if weights else prefer
    scheduler = Scheduler(
        deployments,
        prefer=preference,
        sticky=sticky and prefer != "first",
        hedge=hedge,
        max_wait=max_wait,
    )
    return PoolChatModel(scheduler=scheduler, runnables=[one.model for one in deployments])


def _members(models: Any) -> list[_Member]:
    if isinstance(models, str) or not isinstance(models, Sequence | Mapping):
        raise InvalidType(
            f"`models` must be a list of models or their names, or a mapping to them, not a `{type(models).__name__}`."
        )
    if isinstance(models, Mapping):
        return [_member(name, one) for name, one in models.items()]
    return [_member(None, one) for one in models]


def _member(name: str | None, item: Any) -> _Member:
    model = item
    weight = None
    if isinstance(item, tuple):
        if len(item) != 2:
            raise InvalidType("A model with its weight is written `(model, 3)`.")
        model, weight = item
        _check_weight(weight)
    if isinstance(model, str):
        return name or model, init_chat_model(model), weight
    if isinstance(model, PoolChatModel):
        raise InvalidArgument("A pool cannot contain a pool: list the models of both.")
    if not isinstance(model, BaseChatModel):
        raise InvalidType(
            f"A pool is made of chat models or their names, not of a `{type(model).__name__}`. "
            "Bind tools and parameters to the pool."
        )
    return name or _name_of(model), model, weight


def _name_of(model: Any) -> str:
    provider = getattr(model, "provider", None) or model._llm_type
    name = getattr(model, "model", None) or getattr(model, "model_name", None)
    if name is None:
        return str(provider)
    return f"{provider}:{name}"


def _distinct(
    members: Sequence[_Member],
) -> list[_Member]:
    """Return the members with a number behind the name of each that has another one's name."""
    seen = Counter[str]()
    named = []
    for name, model, weight in members:
        seen[name] += 1
        if seen[name] > 1:
            name = f"{name}#{seen[name]}"
        named.append((name, model, weight))
    return named


def _impatient(model: BaseChatModel) -> BaseChatModel:
    """Return a copy of the model that neither retries nor waits out a pause: the pool does both."""
    if not hasattr(model, "current_limiter"):
        return model
    # A key from a function is renewed once.
    retries = int(model._asks_for_key())  # type: ignore[attr-defined]
    return model.model_copy(update={"max_retries": retries, "max_wait": _MEMBER_WAIT_S})


def check_options(
    members: Sequence[Any],
    *,
    weights: Sequence[Any] = (),
    hedge: Any = None,
    sticky: Any = True,
    prefer: Any = "fastest",
    max_wait: Any = 1.0,
) -> None:
    """Raise `InvalidArgument` if a pool has no members, or an option has a value that cannot be used."""
    if not members:
        raise InvalidArgument("`models` is empty: give a pool at least one model.")
    for weight in weights:
        _check_weight(weight)
    if hedge is not None and hedge != "p95" and not (_is_number(hedge) and hedge > 0):
        raise InvalidArgument(f'`hedge` must be "p95" or a number of seconds, not {hedge!r}.')
    if not isinstance(sticky, bool):
        raise InvalidArgument(f"`sticky` must be true or false, not {sticky!r}.")
    if prefer not in ("fastest", "first"):
        raise InvalidArgument(f'`prefer` must be "fastest" or "first", not {prefer!r}.')
    if not (_is_number(max_wait) and max_wait > 0):
        raise InvalidArgument(f"`max_wait` must be more than 0 seconds, not {max_wait!r}.")
    if weights and prefer == "first":
        raise InvalidArgument('A pool has either weights or `prefer="first"`, not both.')


def _check_weight(weight: Any) -> None:
    if not (_is_number(weight) and 0 < weight < inf):
        raise InvalidArgument(f"A weight must be a finite number above 0, not {weight!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

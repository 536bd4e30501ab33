"""What a call carries besides its input: the `RunnableConfig`, how configs merge, and how they reach nested calls.

`settled` is the way in for our own classes: it costs a fraction of a microsecond for a config that is settled already.
`ensure_config` and its sisters are what scripts use; they always return a new dict.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypedDict, TypeVar, cast
from uuid import UUID

from modelwire._border import is_langchain, own
from modelwire.errors import InvalidArgument, InvalidType, warn_caller
from modelwire.runnables.deadline import start_clock
from modelwire.runnables.on_demand import managers

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from modelwire.callbacks import AsyncCallbackManager, CallbackManager, Callbacks
    from modelwire.transport.observer import CallObserver

__all__ = [
    "DEFAULT_RECURSION_LIMIT",
    "RunnableConfig",
    "ensure_config",
    "get_async_callback_manager_for_config",
    "get_callback_manager_for_config",
    "get_config_list",
    "get_executor_for_config",
    "merge_configs",
    "patch_config",
    "run_in_executor",
    "set_config_context",
    "var_child_runnable_config",
]

Args = ParamSpec("Args")
Result = TypeVar("Result")

DEFAULT_RECURSION_LIMIT = 25


class RunnableConfig(TypedDict, total=False):
    """What a call carries besides its input. Every key may be left out; an unknown key counts as `configurable`."""

    tags: list[str]  # for this run and those below it
    metadata: dict[str, Any]  # the same
    callbacks: Callbacks  # a list of handlers, or a manager
    run_name: str  # for this run only
    run_id: UUID | None  # for this run only
    max_concurrency: int | None  # calls at a time in `batch` and parallel branches
    recursion_limit: int  # how deep a function may return runnables
    configurable: dict[
        str, Any
    ]  # values for configurable fields, and for anything of the user's own
    timeout: float | None  # seconds for the whole call, queueing and retries included
    deadline: float  # set by the outermost call from its `timeout`; not for users
    observers: tuple[
        CallObserver, ...
    ]  # who hears what becomes of the calls of models; not for users


Configs: TypeAlias = (
    RunnableConfig | Sequence[RunnableConfig] | None
)  # for all inputs of a batch, or one for each


_COPIED = ("tags", "metadata", "configurable")
_KEYS = frozenset(RunnableConfig.__annotations__)


class _Settled(dict[str, Any]):
    """A config that is complete, checked, and has its clock running."""

    __slots__ = ()


# What a call without a config of its own inherits: set around the user's functions, and always settled there.
var_child_runnable_config: ContextVar[RunnableConfig | None] = ContextVar(
    "child_runnable_config", default=None
)

# Whether this is a row of a batch or a job: it may wait for a provider as long as it takes.
in_batch: ContextVar[bool] = ContextVar("in_batch", default=False)


def settled(config: RunnableConfig | None) -> RunnableConfig:
    """Complete `config` from its defaults and its context, check it, and start its clock.

    The result may be shared with other calls: it must not be changed.
    """
    if config is None:
        config = var_child_runnable_config.get()
        if config is None:
            return cast("RunnableConfig", _Settled(_defaults()))
    if type(config) is _Settled and "timeout" not in config:
        return cast("RunnableConfig", config)
    return cast("RunnableConfig", _Settled(_clocked(_complete(config))))


def clocked(config: Any) -> tuple[Any, float | None]:
    """Begin the clock of a call of a user's own runnable: return its config as it came, and its deadline."""
    inherited = (var_child_runnable_config.get() or {}).get("deadline")
    if not isinstance(config, Mapping):
        return config, inherited
    deadline = config.get("deadline")
    if deadline is None or type(config) is not _Settled:
        deadline = min((one for one in (deadline, inherited) if one is not None), default=None)
    if config.get("timeout") is not None:
        deadline = start_clock(config["timeout"], deadline)
        config = {**config, "deadline": deadline}
    return config, deadline


def below(config: RunnableConfig) -> RunnableConfig:
    """Return the config that the calls inside of a call with the settled `config` get, when nobody listens."""
    if "run_name" in config or "run_id" in config:
        inner = _Settled(config)
        inner.pop("run_name", None)
        inner.pop("run_id", None)
        return cast("RunnableConfig", inner)
    return config


def changed(config: RunnableConfig, **changes: Any) -> RunnableConfig:
    """Copy the settled `config` with `changes`, for a call inside of it."""
    return cast("RunnableConfig", _Settled(below(config), **changes))


def ensure_config(config: RunnableConfig | None = None) -> RunnableConfig:
    """Return a complete config: the defaults, then what the context passes down, then `config`."""
    ready = _Settled(settled(config))
    for key in _COPIED:
        if ready.get(key) is not None:
            ready[key] = ready[key].copy()
    return cast("RunnableConfig", ready)


def _defaults() -> dict[str, Any]:
    return {
        "tags": [],
        "metadata": {},
        "callbacks": None,
        "recursion_limit": DEFAULT_RECURSION_LIMIT,
        "configurable": {},
    }


def _complete(config: RunnableConfig | None) -> dict[str, Any]:
    """Lay `config` over what the context passes down over the defaults; unknown keys become `configurable`."""
    ready = _defaults()
    for layer in (var_child_runnable_config.get(), config):
        if layer is None:
            continue
        if not isinstance(layer, Mapping):
            raise InvalidType(
                f"`config` must be a dict such as `{{'tags': ['a']}}`, not a `{type(layer).__name__}`."
            )
        inherited, observers = ready.get("deadline"), ready.get("observers")
        ready.update(
            (key, value) for key, value in layer.items() if value is not None and key in _KEYS
        )
        if inherited is not None:
            ready["deadline"] = min(ready["deadline"], inherited)
        if observers is not None:
            ready["observers"] = _joined_observers(observers, ready["observers"])
    extras = {
        key: value
        for key, value in (config or {}).items()
        if key not in _KEYS and value is not None
    }
    for key in _COPIED:
        _check_kind(key, ready[key])
        ready[key] = ready[key].copy()
    for key in extras:
        if not isinstance(key, str):
            raise InvalidType(f"The keys of a config are strings, not `{key!r}`.")
        if (meant := _meant(key)) is not None:
            raise InvalidArgument(
                f"`{key}` is not a key of a config. Did you mean `{meant}`? A key of your own by this name goes into "
                "`configurable`."
            )
    if not isinstance(ready.get("run_name", ""), str):
        raise InvalidType(
            f"`run_name` in a config must be a string, not a `{type(ready['run_name']).__name__}`."
        )
    ready["configurable"].update(extras)
    model = ready["configurable"].get("model")
    if model is not None and "model" not in ready["metadata"]:
        ready["metadata"]["model"] = model
    _check_count("max_concurrency", ready.get("max_concurrency"))
    _check_count("recursion_limit", ready["recursion_limit"], least=0)
    if ready.get("timeout") is not None:
        start_clock(ready["timeout"])  # only to check it: it starts when its call does
    return ready


@lru_cache(256)
def _meant(key: str) -> str | None:
    """Return the key of a config that `key` is most likely a misspelling of."""
    from difflib import get_close_matches

    # All that is set in a config and not known to us is somebody's own: only what is very near is a slip.
    return next(iter(get_close_matches(key, _KEYS, n=1, cutoff=0.8)), None)


def _clocked(ready: dict[str, Any]) -> dict[str, Any]:
    """Replace the `timeout` of a complete config by the deadline it means now."""
    timeout = ready.pop("timeout", None)
    if timeout is not None:
        ready["deadline"] = start_clock(timeout, ready.get("deadline"))
    return ready


def _check_kind(key: str, value: Any) -> None:
    kind = list if key == "tags" else dict
    if not isinstance(value, kind):
        raise InvalidType(
            f"`{key}` in a config must be a {kind.__name__}, not a `{type(value).__name__}`."
        )


def _check_count(key: str, value: object, *, least: int = 1) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(f"`{key}` must be a whole number, not a `{type(value).__name__}`.")
    if value < least:
        hint = " Leave it out for the default." if key == "max_concurrency" else ""
        raise InvalidArgument(f"`{key}` must be at least {least}, not {value}.{hint}")


def patch_config(
    config: RunnableConfig | None,
    *,
    callbacks: Callbacks = None,
    recursion_limit: int | None = None,
    max_concurrency: int | None = None,
    run_name: str | None = None,
    configurable: dict[str, Any] | None = None,
) -> RunnableConfig:
    """Copy `config` with other values; new `callbacks` drop `run_name` and `run_id`, which name another run."""
    patched = ensure_config(config)
    if callbacks is not None:
        patched["callbacks"] = callbacks
        patched.pop("run_name", None)
        patched.pop("run_id", None)
    if recursion_limit is not None:
        patched["recursion_limit"] = recursion_limit
    if max_concurrency is not None:
        patched["max_concurrency"] = max_concurrency
    if run_name is not None:
        patched["run_name"] = run_name
    if configurable is not None:
        patched["configurable"] = {**patched.get("configurable", {}), **configurable}
    return patched


def merge_configs(*configs: RunnableConfig | None) -> RunnableConfig:
    """Merge configs, later ones first in rank: tags and callbacks add up, metadata and configurable by key.

    `None` never overrides, nor does the default `recursion_limit`; of two deadlines the earlier one holds.
    """
    merged: dict[str, Any] = {}
    for config in configs:
        for key, value in (config or {}).items():
            if value is None:
                continue
            combine = _COMBINE.get(key)
            have = merged.get(key)
            merged[key] = combine(have, value) if combine is not None else value
    return cast("RunnableConfig", merged)


def _joined_callbacks(have: Any, more: Any) -> Any:
    """Join lists of handlers and managers: the handlers of a list are inherited by the runs below."""
    if have is None:
        return [*more] if isinstance(more, (list, tuple)) else more
    if isinstance(have, (list, tuple)) and isinstance(more, (list, tuple)):
        return [*have, *more]
    if isinstance(have, (list, tuple)):
        have, more = more, have
    manager = own("manager", have) if is_langchain(have) else have.copy()
    if not isinstance(more, (list, tuple)) and is_langchain(more):
        more = own("manager", more)
    if not isinstance(more, (list, tuple)):
        return manager.merge(more)
    for handler in more:
        manager.add_handler(handler, inherit=True)
    return manager


def _joined_observers(
    have: tuple[CallObserver, ...] | None, more: tuple[CallObserver, ...]
) -> tuple[CallObserver, ...]:
    return tuple(dict.fromkeys((*(have or ()), *more)))


# How what a key has so far, perhaps None, goes together with a later config's value.
_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "tags": lambda have, more: sorted({*(have or ()), *more}),
    "metadata": lambda have, more: {**(have or {}), **more},
    "configurable": lambda have, more: {**(have or {}), **more},
    "callbacks": _joined_callbacks,
    "observers": _joined_observers,
    "recursion_limit": lambda have, more: (
        have if have is not None and more == DEFAULT_RECURSION_LIMIT else more
    ),
    "deadline": lambda have, more: more if have is None else min(have, more),
}


def element_config(config: RunnableConfig | None) -> RunnableConfig:
    """Complete and check the config of one element of a batch, without starting its clock."""
    return cast("RunnableConfig", _complete(config))


def started(config: RunnableConfig) -> RunnableConfig:
    """Start the clock of an element whose `element_config` this is."""
    return cast("RunnableConfig", _Settled(_clocked(dict(config))))


def get_config_list(config: Configs, length: int) -> list[RunnableConfig]:
    """Make one complete config for each of `length` inputs; a `run_id` in a single config is the first input's.

    Raises: `InvalidArgument` where the number of configs is another.
    """
    if length < 0:
        raise InvalidArgument(f"`length` must be 0 or more, not {length}.")
    if isinstance(config, Sequence):
        if len(config) != length:
            raise InvalidArgument(
                f"`config` has {len(config)} entries for {length} inputs. Give one config for each."
            )
        return [element_config(one) for one in config]
    first = element_config(config)
    if length > 1 and "run_id" in first:
        warn_of_run_id()
    rest = {key: value for key, value in first.items() if key != "run_id"}
    return [
        first
        if i == 0
        else cast("RunnableConfig", {**rest, **{key: rest[key].copy() for key in _COPIED}})  # type: ignore[attr-defined]
        for i in range(length)
    ]


def warn_of_run_id() -> None:
    """Say that only the first element of a batch can have the one `run_id`."""
    warn_caller(
        "A batch has one `run_id`: only its first element gets it. Give a list of configs instead.",
        RuntimeWarning,
    )


@contextmanager
def set_config_context(config: RunnableConfig) -> Generator[Context, None, None]:
    """Give a copy of the context in which calls without a config of their own inherit `config`."""
    context = copy_context()
    context.run(var_child_runnable_config.set, below(settled(config)))
    yield context


def _inheritable(config: RunnableConfig) -> dict[str, Any]:
    return {f"inheritable_{key}": config.get(key) for key in ("callbacks", "tags", "metadata")}


def get_callback_manager_for_config(config: RunnableConfig) -> CallbackManager:
    """Make the manager with which a sync run under `config` starts."""
    return managers.CallbackManager.configure(**_inheritable(config))


def get_async_callback_manager_for_config(config: RunnableConfig) -> AsyncCallbackManager:
    """Make the manager with which an async run under `config` starts."""
    return managers.AsyncCallbackManager.configure(**_inheritable(config))


@contextmanager
def get_executor_for_config(config: RunnableConfig | None) -> Generator[Executor, None, None]:
    """Open a thread pool of `max_concurrency` workers, whose work sees the context it was submitted in."""
    from modelwire.runnables.threads import ContextThreadPoolExecutor

    with ContextThreadPoolExecutor(max_workers=(config or {}).get("max_concurrency")) as executor:
        yield executor


async def run_in_executor(
    executor_or_config: Executor | RunnableConfig | None,
    func: Callable[Args, Result],
    *args: Args.args,
    **kwargs: Args.kwargs,
) -> Result:
    """Run a sync function in a thread that sees the caller's context, and await it.

    A `StopIteration` becomes a `RuntimeError`: no future can carry it.
    """
    import asyncio
    from functools import partial

    def call() -> Result:
        try:
            return func(*args, **kwargs)
        except StopIteration as exc:
            raise RuntimeError(
                "A `StopIteration` was raised in a function that runs in a thread."
            ) from exc

    executor = (
        None
        if executor_or_config is None or isinstance(executor_or_config, dict)
        else executor_or_config
    )
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, partial(copy_context().run, call))

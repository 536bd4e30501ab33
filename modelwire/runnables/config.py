"""`RunnableConfig`, the settings of a call besides its input: how configs are merged, and how
nested calls inherit them.

modelwire's own classes call `settled`, which takes a fraction of a microsecond for a config that is
settled already. `ensure_config`, `patch_config` and `merge_configs` are for scripts; they always
return a new dict.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypedDict, TypeVar, cast
from uuid import UUID

from modelwire import callbacks as managers
from modelwire.aliases import Kwargs
from modelwire.errors import InvalidArgument, InvalidType, warn_caller
from modelwire.langchain_bridge import is_langchain, own
from modelwire.runnables.deadline import start_clock

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
Item = TypeVar("Item")

DEFAULT_RECURSION_LIMIT = 25


class RunnableConfig(TypedDict, total=False):
    """The settings of a call besides its input.

    Every key is optional; an unknown key counts as `configurable`.
    """

    tags: list[str]  # They apply to this run and to nested runs.
    metadata: dict[str, Any]  # It applies to this run and to nested runs.
    callbacks: Callbacks  # A list of handlers, or a manager.
    run_name: str  # It applies to this run only.
    run_id: UUID | None  # It applies to this run only.
    max_concurrency: int | None  # The number of concurrent calls in `batch` and parallel branches.
    # How many runnables, each returned by the one before, a function may start.
    recursion_limit: int
    # Values of configurable fields, and any values of the user's own.
    configurable: dict[str, Any]
    timeout: float | None  # Seconds for the whole call, including queueing and retries.
    deadline: float  # The outermost call sets it from its `timeout`. It is not for users.
    # Observers of model calls. It is not for users.
    observers: tuple[CallObserver, ...]


# The config of a call, which may have none.
Config: TypeAlias = RunnableConfig | None
# A function of a config that returns another one, to be merged over the first.
ConfigFactory: TypeAlias = Callable[[RunnableConfig], RunnableConfig]
# One config for all inputs of a batch, or one for each.
Configs: TypeAlias = RunnableConfig | Sequence[RunnableConfig] | None


_COPIED = ("tags", "metadata", "configurable")
_KEYS = frozenset(RunnableConfig.__annotations__)


class _Settled(dict[str, Any]):
    """A config that is complete and checked, and whose timeout is running."""

    __slots__ = ()


# A call without a config inherits this one. It is set around the user's functions, and is always
# settled.
var_child_runnable_config: ContextVar[RunnableConfig | None] = ContextVar(
    "child_runnable_config", default=None
)

# True in a row of a batch or a job, which may wait for a provider without a time limit.
in_batch: ContextVar[bool] = ContextVar("in_batch", default=False)


def settled(config: Config) -> RunnableConfig:
    """Return `config` completed from its defaults and its context, checked, and with its timeout running.

    The result may be shared with other calls, so it must not be changed.
    """
    if config is None:
        config = var_child_runnable_config.get()
        if config is None:
            return cast("RunnableConfig", _Settled(_defaults()))
    if type(config) is _Settled and "timeout" not in config:
        return cast("RunnableConfig", config)
    return cast("RunnableConfig", _Settled(_clocked(_complete(config))))


def clocked(config: Any) -> tuple[Any, float | None]:
    """Start the timeout of a call of a runnable that a user has defined; return its config and its deadline.

    If `config` has a `timeout`, the result is a copy with the `deadline`; else it is unchanged.
    """
    inherited = (var_child_runnable_config.get() or {}).get("deadline")
    if not isinstance(config, Mapping):
        return config, inherited
    deadline = config.get("deadline")
    if deadline is None or type(config) is not _Settled:
        known = [one for one in (deadline, inherited) if one is not None]
        deadline = min(known, default=None)
    if config.get("timeout") is not None:
        deadline = start_clock(config["timeout"], deadline)
        config = {**config, "deadline": deadline}
    return config, deadline


def below(config: RunnableConfig) -> RunnableConfig:
    """Return the config of the calls nested in a call with the settled `config`: without `run_name` and `run_id`.

    This is for a `config` without handlers; `Run.below` is for one with handlers.
    """
    if "run_name" in config or "run_id" in config:
        inner = _Settled(config)
        inner.pop("run_name", None)
        inner.pop("run_id", None)
        return cast("RunnableConfig", inner)
    return config


def changed(config: RunnableConfig, **changes: Any) -> RunnableConfig:
    """Return a copy of the settled `config` with `changes`, for a nested call."""
    return cast("RunnableConfig", _Settled(below(config), **changes))


def ensure_config(config: RunnableConfig | None = None) -> RunnableConfig:
    """Return a complete config: the defaults, overridden by the context, overridden by `config`."""
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


def _complete(config: Config) -> dict[str, Any]:
    """Return the defaults, overridden by the context, overridden by `config`; unknown keys become `configurable`."""
    ready = _defaults()
    for layer in (var_child_runnable_config.get(), config):
        if layer is not None:
            _lay_over(ready, layer)
    for key in _COPIED:
        _check_kind(key, ready[key])
        ready[key] = ready[key].copy()
    ready["configurable"].update(_extras(config or {}))
    model = ready["configurable"].get("model")
    if model is not None and "model" not in ready["metadata"]:
        ready["metadata"]["model"] = model
    _check_values(ready)
    return ready


def _lay_over(ready: dict[str, Any], layer: RunnableConfig) -> None:
    """Override the values in `ready` by those of `layer`; the earlier deadline holds, and observers are added."""
    if not isinstance(layer, Mapping):
        raise InvalidType(
            f"`config` must be a dict such as `{{'tags': ['a']}}`, not a `{type(layer).__name__}`."
        )
    inherited = ready.get("deadline")
    observers = ready.get("observers")
    ready.update((key, value) for key, value in layer.items() if value is not None and key in _KEYS)
    if inherited is not None:
        ready["deadline"] = min(ready["deadline"], inherited)
    if observers is not None:
        ready["observers"] = _joined_observers(observers, ready["observers"])


def _extras(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a config whose keys are the user's own.

    Raises: `InvalidArgument` for a key that is probably a misspelt key of a config.
    """
    extras: Kwargs = {}
    for key, value in config.items():
        if key in _KEYS or value is None:
            continue
        if not isinstance(cast("object", key), str):
            raise InvalidType(f"The keys of a config are strings, not `{key!r}`.")
        meant = _meant(key)
        if meant is not None:
            raise InvalidArgument(
                f"`{key}` is not a key of a config. Did you mean `{meant}`? If it is a key of your own, put it into "
                "`configurable`."
            )
        extras[key] = value
    return extras


def _check_values(ready: Mapping[str, Any]) -> None:
    if not isinstance(ready.get("run_name", ""), str):
        raise InvalidType(
            f"`run_name` in a config must be a string, not a `{type(ready['run_name']).__name__}`."
        )
    _check_count("max_concurrency", ready.get("max_concurrency"))
    _check_count("recursion_limit", ready["recursion_limit"], least=0)
    if ready.get("timeout") is not None:
        # This only checks the value; the timeout starts with the call.
        start_clock(ready["timeout"])


@lru_cache(256)
def _meant(key: str) -> str | None:
    """Return the key that `key` is most likely a misspelling of, or None."""
    from difflib import get_close_matches

    # An unknown key is usually intended for `configurable`, so only a very similar one counts as a
    # typo.
    return next(iter(get_close_matches(key, _KEYS, n=1, cutoff=0.8)), None)


def _clocked(ready: dict[str, Any]) -> dict[str, Any]:
    """Replace the `timeout` of a complete config by its deadline, counted from now."""
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
    """Return a copy of `config` with other values.

    New `callbacks` drop `run_name` and `run_id`, which belong to another run.
    """
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
    """Return the merged configs. Tags and callbacks are added, metadata and configurable are merged
    by key; later ones win.

    `None` and the default `recursion_limit` never override. Of two deadlines the earlier one is
    used.
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
    """Return the callbacks of two configs joined; each is a list of handlers or a manager.

    If one is a manager, the result is a manager, and nested runs inherit the handlers of the list.
    """
    if have is None:
        if isinstance(more, (list, tuple)):
            return [*more]
        return more
    if isinstance(have, (list, tuple)) and isinstance(more, (list, tuple)):
        return [*have, *more]
    if isinstance(have, (list, tuple)):
        have, more = more, have
    manager = own("manager", have) if is_langchain(have) else have.copy()
    if isinstance(more, (list, tuple)):
        for handler in more:
            manager.add_handler(handler, inherit=True)
        return manager
    if is_langchain(more):
        more = own("manager", more)
    return manager.merge(more)


def _joined_observers(
    have: tuple[CallObserver, ...] | None, more: tuple[CallObserver, ...]
) -> tuple[CallObserver, ...]:
    return tuple(dict.fromkeys((*(have or ()), *more)))


# Each function merges a key's value so far, perhaps None, with a later config's value.
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


def element_config(config: Config) -> RunnableConfig:
    """Return the completed and checked config of one element of a batch, without starting its timeout."""
    return cast("RunnableConfig", _complete(config))


def started(config: RunnableConfig) -> RunnableConfig:
    """Return a copy of a config that `element_config` has made, with its timeout running."""
    return cast("RunnableConfig", _Settled(_clocked(dict(config))))


def hidden(kwargs: Kwargs) -> Kwargs:
    """Return the keywords with their headers wrapped, so that a traceback that prints local
    variables does not show them.
    """
    if "extra_headers" in kwargs:
        from modelwire.transport.wire import hide_headers

        hide_headers(kwargs)
    return kwargs


def get_config_list(config: Configs, length: int) -> list[RunnableConfig]:
    """Return a complete config for each of `length` inputs. The `run_id` of a single config goes to the first input.

    Raises: `InvalidArgument` if the number of configs differs.
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
    return [copied for _, copied in with_copies(iter(range(length)), first)]


def with_copies(
    inputs: Iterator[Item], first: RunnableConfig
) -> Iterator[tuple[Item, RunnableConfig]]:
    """Yield every input with a copy of the single config; only the first copy has its `run_id`."""
    run_id = first.pop("run_id", None)
    for input in inputs:
        config: Any = dict(first)
        for key in _COPIED:
            config[key] = config[key].copy()
        if run_id is not None:
            config["run_id"], run_id = run_id, None
        yield input, config


def warn_of_run_id() -> None:
    """Warn that only the first element of a batch can have the single `run_id`."""
    warn_caller(
        "A batch has one `run_id`: only its first element gets it. Give a list of configs instead.",
        RuntimeWarning,
    )


@contextmanager
def set_config_context(config: RunnableConfig) -> Generator[Context, None, None]:
    """Yield a copy of the context in which calls without a config inherit `config`."""
    context = copy_context()
    context.run(var_child_runnable_config.set, below(settled(config)))
    yield context


@contextmanager
def inner_context(config: RunnableConfig, **changes: Any) -> Iterator[None]:
    """Run the block so that calls without a config inherit `config`, a complete one, with `changes`."""
    token = var_child_runnable_config.set(changed(config, **changes))
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


class row_context:
    """A `with` block for a row of a job. It yields a function that starts the row's timeout and returns its config.

    `config` is the `element_config` of all rows. Inside the block `observer` observes all calls of the
    row, even those of steps that do not pass on their config, and calls wait for a provider's rate
    limits without a time limit. A class costs a row less than `contextmanager` does.
    """

    __slots__ = ("_config", "_observers", "_tokens")

    def __init__(self, config: RunnableConfig, observer: CallObserver) -> None:
        self._config = config
        self._observers = (observer,)

    def __enter__(self) -> Callable[[], RunnableConfig]:
        inherited = settled({"observers": self._observers})
        self._tokens = var_child_runnable_config.set(inherited), in_batch.set(True)
        return self._start

    def __exit__(self, *_: object) -> None:
        of_config, of_batch = self._tokens
        var_child_runnable_config.reset(of_config)
        in_batch.reset(of_batch)

    def _start(self) -> RunnableConfig:
        return started(cast("RunnableConfig", {**self._config, "observers": self._observers}))


def _inheritable(config: RunnableConfig) -> Kwargs:
    return {f"inheritable_{key}": config.get(key) for key in ("callbacks", "tags", "metadata")}


def get_callback_manager_for_config(config: RunnableConfig) -> CallbackManager:
    """Return the manager that starts a sync run under `config`."""
    return managers.CallbackManager.configure(**_inheritable(config))


def get_async_callback_manager_for_config(config: RunnableConfig) -> AsyncCallbackManager:
    """Return the manager that starts an async run under `config`."""
    return managers.AsyncCallbackManager.configure(**_inheritable(config))


@contextmanager
def get_executor_for_config(config: Config) -> Generator[Executor, None, None]:
    """Yield a thread pool of `max_concurrency` workers that run each function in the submitter's context."""
    from modelwire.runnables.threads import ContextThreadPoolExecutor

    with ContextThreadPoolExecutor(max_workers=(config or {}).get("max_concurrency")) as executor:
        yield executor


async def run_in_executor(
    executor_or_config: Executor | RunnableConfig | None,
    func: Callable[Args, Result],
    *args: Args.args,
    **kwargs: Args.kwargs,
) -> Result:
    """Run a sync function in a thread with the caller's context, and await it.

    A `StopIteration` becomes a `RuntimeError`, because a future cannot hold it.
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

    if executor_or_config is None or isinstance(executor_or_config, dict):
        executor = None
    else:
        executor = executor_or_config
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, partial(copy_context().run, call))

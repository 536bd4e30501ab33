"""How work composes: runnables, sequences, parallels, functions. Names load when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelwire.runnables.addable import AddableDict, aadd, add
    from modelwire.runnables.base import Runnable, RunnableLike, coerce_to_runnable
    from modelwire.runnables.binding import RunnableBinding
    from modelwire.runnables.config import (
        RunnableConfig,
        ensure_config,
        get_config_list,
        merge_configs,
        patch_config,
        run_in_executor,
    )
    from modelwire.runnables.each import RunnableEach
    from modelwire.runnables.functions import RunnableGenerator, RunnableLambda, chain
    from modelwire.runnables.parallel import RunnableMap, RunnableParallel
    from modelwire.runnables.passthrough import RunnableAssign, RunnablePassthrough, RunnablePick
    from modelwire.runnables.sequence import RunnableSequence
    from modelwire.runnables.serializable import RunnableSerializable

_MODULES = {
    "addable": ("AddableDict", "aadd", "add"),
    "base": ("Runnable", "RunnableLike", "coerce_to_runnable"),
    "binding": ("RunnableBinding",),
    "config": (
        "RunnableConfig",
        "ensure_config",
        "get_config_list",
        "merge_configs",
        "patch_config",
        "run_in_executor",
    ),
    "each": ("RunnableEach",),
    "functions": ("RunnableGenerator", "RunnableLambda", "chain"),
    "parallel": ("RunnableMap", "RunnableParallel"),
    "passthrough": ("RunnableAssign", "RunnablePassthrough", "RunnablePick"),
    "sequence": ("RunnableSequence",),
    "serializable": ("RunnableSerializable",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AddableDict",
    "Runnable",
    "RunnableAssign",
    "RunnableBinding",
    "RunnableConfig",
    "RunnableEach",
    "RunnableGenerator",
    "RunnableLambda",
    "RunnableLike",
    "RunnableMap",
    "RunnableParallel",
    "RunnablePassthrough",
    "RunnablePick",
    "RunnableSequence",
    "RunnableSerializable",
    "aadd",
    "add",
    "chain",
    "coerce_to_runnable",
    "ensure_config",
    "get_config_list",
    "merge_configs",
    "patch_config",
    "run_in_executor",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""Converts objects between modelwire and LangChain: `as_langchain` makes objects that LangChain can call,
`from_langchain` converts LangChain's messages and other values to modelwire's.

Needs the extra `langchain` (`langchain-core>=1.7`), which is imported when a name of this package is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.errors import MissingDependency
from modelwire.ext import lazy_exports

if TYPE_CHECKING:
    from modelwire.langchain.chat_model import ModelwireChatModel
    from modelwire.langchain.convert import as_langchain
    from modelwire.langchain.installing import install, uninstall
    from modelwire.langchain.values import from_langchain, to_langchain

__all__ = [
    "ModelwireChatModel",
    "as_langchain",
    "from_langchain",
    "install",
    "to_langchain",
    "uninstall",
]

OLDEST = (1, 7)

_load, __dir__, _ = lazy_exports(
    __name__,
    {
        "modelwire.langchain.callbacks": "own_handler own_manager",
        "modelwire.langchain.chat_model": "ModelwireChatModel",
        "modelwire.langchain.convert": "as_langchain own_callable_tool own_history own_runnable own_tool",
        "modelwire.langchain.installing": "install uninstall",
        "modelwire.langchain.values": "from_langchain own_form own_value to_langchain",
    },
)


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        _check_version()
    return _load(name)


def _check_version() -> None:
    wanted = f"langchain-core>={OLDEST[0]}.{OLDEST[1]}"
    remedy = "`pip install 'modelwire[langchain]'` installs a version that works."
    try:
        from langchain_core import __version__ as version
    except ImportError as exc:
        raise MissingDependency(
            f"`modelwire.langchain` needs {wanted}, which cannot be imported. {remedy}"
        ) from exc
    found = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if found < OLDEST:
        raise MissingDependency(
            f"`modelwire.langchain` needs {wanted}, and this is {version}. {remedy}"
        )

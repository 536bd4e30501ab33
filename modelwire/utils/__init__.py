"""Modules under paths that LangChain scripts import from; most of their names are defined elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.utils.env import convert_to_secret_str as convert_to_secret_str
    from modelwire.utils.env import from_env as from_env
    from modelwire.utils.env import get_from_dict_or_env as get_from_dict_or_env
    from modelwire.utils.env import get_from_env as get_from_env
    from modelwire.utils.env import secret_from_env as secret_from_env

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.utils.env": "convert_to_secret_str from_env get_from_dict_or_env get_from_env secret_from_env"
    },
)

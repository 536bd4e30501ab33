"""`dumpd`, `dumps`, `load`, `loads`: objects in LangChain's own JSON form, written and read.

Read are messages, generations, documents, `PromptTemplate` and the chat models of this package, by a table of names:
nothing a file names is imported. Anything else is written as `not_implemented`, and cannot be read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from modelwire.errors import InvalidArgument, MissingKey, did_you_mean

__all__ = ["dumpd", "dumps", "load", "loads"]

# Class -> the module of ours that has it.
CLASSES = {
    name: module
    for module, names in {
        "modelwire.adapters": "AzureChatOpenAI ChatAnthropic ChatAnthropicVertex ChatBedrockConverse "
        "ChatGoogleGenerativeAI ChatOpenAI ChatVertexAI",
        "modelwire.documents": "Document",
        "modelwire.messages": "AIMessage AIMessageChunk ChatMessage ChatMessageChunk FunctionMessage "
        "FunctionMessageChunk HumanMessage HumanMessageChunk RemoveMessage SystemMessage SystemMessageChunk "
        "ToolMessage ToolMessageChunk",
        "modelwire.outputs": "ChatGeneration ChatGenerationChunk Generation GenerationChunk",
        "modelwire.prompts": "PromptTemplate",
    }.items()
    for name in names.split()
}


def dumps(obj: Any, *, pretty: bool = False, **kwargs: Any) -> str:
    """Write `obj` down as JSON text; a key is never written, the name of its variable is."""
    if pretty:
        kwargs.setdefault("indent", 2)
    return json.dumps(obj, default=_form, **kwargs)


def dumpd(obj: Any) -> Any:
    """Write `obj` down as plain dicts and lists."""
    return json.loads(dumps(obj))


def _form(obj: Any) -> Any:
    if callable(to_json := getattr(obj, "to_json", None)) and not isinstance(obj, type):
        return to_json()
    kind = obj if isinstance(obj, type) else type(obj)
    return {
        "lc": 1,
        "type": "not_implemented",
        "id": [*kind.__module__.split("."), kind.__name__],
        "repr": repr(obj),
    }


def loads(text: str, **kwargs: Any) -> Any:
    """Read what `dumps` wrote, here or in LangChain; see `load`."""
    return load(json.loads(text), **kwargs)


def load(
    obj: Any,
    *,
    secrets_map: Mapping[str, str] | None = None,
    secrets_from_env: bool = False,
    **ignored: Any,
) -> Any:
    """Make the objects that `dumpd` wrote. Secrets come from `secrets_map`, or the environment where that is allowed.

    Raises: `InvalidArgument` for a class that is not ours, `MissingKey` for a secret that is not found. LangChain's
    further options (`allowed_objects`, `valid_namespaces`) are taken and have no effect: the table decides.
    """
    if isinstance(obj, list):
        return [
            load(item, secrets_map=secrets_map, secrets_from_env=secrets_from_env) for item in obj
        ]
    if not isinstance(obj, dict):
        return obj
    if obj.get("lc") != 1 or "id" not in obj:
        return {
            k: load(v, secrets_map=secrets_map, secrets_from_env=secrets_from_env)
            for k, v in obj.items()
        }
    path, kind = obj["id"], obj.get("type")
    if kind == "secret":
        return _secret(str(path[-1]), secrets_map or {}, from_env=secrets_from_env)
    name = str(path[-1])
    if kind != "constructor" or name not in CLASSES:
        raise InvalidArgument(
            f"`{'.'.join(map(str, path))}` cannot be loaded. {did_you_mean(name, list(CLASSES))}"
        )
    kwargs = load(
        obj.get("kwargs") or {}, secrets_map=secrets_map, secrets_from_env=secrets_from_env
    )
    cls = getattr(import_module(CLASSES[name]), name)
    if "messages" in CLASSES[name]:
        kwargs.pop("type", None)
    return cls(**kwargs)


def _secret(name: str, known: Mapping[str, str], *, from_env: bool) -> str:
    value = known.get(name) or (os.environ.get(name) if from_env else None)
    if not value:
        raise MissingKey(
            f"`{name}` is not among `secrets_map`"
            + (", nor in the environment." if from_env else ".")
        )
    return value

"""`dumpd`, `dumps`, `load`, `loads`: write objects in LangChain's JSON form, and read them.

They read messages, generations, documents, `PromptTemplate` and the chat models of this package, by a table of names,
so that a file cannot cause an import. Any other object is written as `not_implemented`, and cannot be read.

A dict in the data that looks like this form (a tool's arguments, a block that a model wrote) is written inside
`{"__lc_escaped__": ...}` and read as a dict, so that data never becomes an object.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from modelwire.aliases import JSON, Fields, Kwargs
from modelwire.errors import InvalidArgument, InvalidType, MissingKey, did_you_mean
from modelwire.langchain_bridge import is_langchain, own
from modelwire.messages.serialised import ESCAPE, LangChainForm, is_escaped, needs_escape

__all__ = ["dumpd", "dumps", "load", "loads"]

_MESSAGES = "modelwire.messages"
# The module of each class that is not a chat model. The chat models are named by the rows of the providers.
_CORE_CLASSES = {
    name: module
    for module, names in {
        "modelwire.documents": "Document",
        _MESSAGES: "AIMessage AIMessageChunk ChatMessage ChatMessageChunk FunctionMessage "
        "FunctionMessageChunk HumanMessage HumanMessageChunk RemoveMessage SystemMessage SystemMessageChunk "
        "ToolMessage ToolMessageChunk",
        "modelwire.outputs": "ChatGeneration ChatGenerationChunk Generation GenerationChunk",
        "modelwire.prompts": "PromptTemplate",
    }.items()
    for name in names.split()
}


def _classes() -> dict[str, str]:
    """Return the module of each class that can be loaded."""
    from modelwire.adapters.providers.registry import model_classes

    return {**_CORE_CLASSES, **model_classes()}


# For each value of `allowed_objects`, the modules whose classes `load` may create; None stands for all modules.
_ALLOWED = {"all": None, "core": {*_CORE_CLASSES.values()}, "messages": {_MESSAGES}}


def dumps(obj: Any, *, pretty: bool = False, **kwargs: Any) -> str:
    """Return `obj` as JSON text. A key is never written, but only the name of its environment variable.

    `loads` returns every JSON value unchanged, even one that looks like LangChain's form. An object inside such a dict
    is read as a dict, in the form in which it was written. `kwargs` are those of `json.dumps`.

    Raises: `InvalidArgument` for `default`, which would have no effect.
    """
    if "default" in kwargs:
        raise InvalidArgument(
            "`dumps` takes no `default`: an object that has no JSON form becomes `not_implemented`."
        )
    if pretty:
        kwargs.setdefault("indent", 2)
    return json.dumps(_written(obj), default=_form, **kwargs)


def dumpd(obj: Any) -> Any:
    """Return `obj` in the form of `dumps`, as plain dicts and lists."""
    return json.loads(dumps(obj))


def _written(value: Any) -> Any:
    """Return a value with its objects in LangChain's form, and with data that looks like that form escaped."""
    if isinstance(value, dict):
        if needs_escape(value):
            return {ESCAPE: value}
        return {key: _written(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return _form(value)


def _form(obj: Any) -> Any:
    if is_langchain(obj):
        return own("form", obj)
    if isinstance(obj, LangChainForm):
        return _constructor(obj)
    kind = obj if isinstance(obj, type) else type(obj)
    return {
        "lc": 1,
        "type": "not_implemented",
        "id": [*kind.__module__.split("."), kind.__name__],
        "repr": repr(obj),
    }


def _constructor(obj: LangChainForm) -> JSON:
    form = obj.to_json()
    if "kwargs" in form:
        secrets = obj.lc_secrets  # `to_json` has replaced each secret by the name of its variable.
        form["kwargs"] = {
            name: value if name in secrets else _written(value)
            for name, value in form["kwargs"].items()
        }
    return form


def loads(text: str, **kwargs: Any) -> Any:
    """Return the object in a JSON text that `dumps` has written, here or in LangChain; see `load`."""
    return load(json.loads(text), **kwargs)


def load(
    obj: Any,
    *,
    allowed_objects: str | Iterable[type] = "core",
    secrets_map: Mapping[str, str] | None = None,
    secrets_from_env: bool = False,
    **ignored: Any,
) -> Any:
    """Return the objects that `dumpd` has written.

    `allowed_objects` are the classes that may be created, as in LangChain: "core" (all but chat models), "messages",
    "all", or a list of classes, which may be your own. Allow models only for a text that you trust: it chooses the
    address of their calls. The keys of models come only from `secrets_map` and, with `secrets_from_env=True`, from the
    environment.

    Raises: `InvalidArgument` for a class that is not allowed, `MissingKey` for a secret that is not found. LangChain's
    further options (`valid_namespaces`, ...) are accepted and have no effect, since a name in `obj` is never imported.
    """
    reader = _Reader(
        _classes_allowed(allowed_objects), secrets_map or {}, from_env=secrets_from_env
    )
    return reader.read(obj)


def _classes_allowed(allowed: str | Iterable[Any]) -> Mapping[str, type | None]:
    """Return the allowed classes by name; None for a class of the table, which is loaded only if it is needed."""
    if isinstance(allowed, str):
        if allowed not in _ALLOWED:
            hint = did_you_mean(allowed, list(_ALLOWED))
            raise InvalidArgument(f"`allowed_objects` cannot be `{allowed}`. {hint}")
        modules = _ALLOWED[allowed]
        return {name: None for name, at in _classes().items() if modules is None or at in modules}
    classes: dict[str, type | None] = {}
    for cls in allowed:
        if not (isinstance(cls, type) and issubclass(cls, LangChainForm)):
            raise InvalidType(
                f"`allowed_objects` must hold classes of modelwire's serialisable objects, not `{cls!r}`."
            )
        classes[cls.__name__] = cls
    return classes


class _Reader:
    """Creates the objects that a JSON value describes, if they are of the allowed classes, with these secrets."""

    def __init__(
        self, classes: Mapping[str, type | None], secrets: Mapping[str, str], *, from_env: bool
    ) -> None:
        self._classes = classes
        self._secrets = secrets
        self._from_env = from_env

    def read(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.read(item) for item in value]
        if not isinstance(value, dict):
            return value
        if is_escaped(value):
            return value[ESCAPE]  # This is data, even if it has the form of an object.
        if value.get("lc") == 1 and "id" in value:
            return self._read_object(value)
        return {key: self.read(item) for key, item in value.items()}

    def _read_object(self, form: Fields) -> Any:
        path = form["id"] if isinstance(form["id"], list) else [form["id"]]
        name = str(path[-1]) if path else ""
        kind = form.get("type")
        if kind == "secret":
            return self._secret(name)
        shown = ".".join(map(str, path))
        known = _classes()
        if kind != "constructor" or (name not in known and name not in self._classes):
            raise InvalidArgument(f"`{shown}` cannot be loaded. {did_you_mean(name, list(known))}")
        if name not in self._classes:
            raise InvalidArgument(
                f"`{shown}` may not be loaded: it is not among `allowed_objects`. If you trust what you read, write "
                f'`allowed_objects=[{name}]`, or `"all"`.'
            )
        kwargs = form.get("kwargs") or {}
        if not isinstance(kwargs, dict):
            raise InvalidArgument(f"`{shown}` cannot be loaded: its `kwargs` are not an object.")
        return self._made(name, {key: self.read(item) for key, item in kwargs.items()})

    def _made(self, name: str, kwargs: Kwargs) -> Any:
        cls: Any = self._classes[name] or getattr(import_module(_classes()[name]), name)
        if _CORE_CLASSES.get(name) == _MESSAGES:
            kwargs.pop("type", None)
        secret_fields = getattr(cls, "SECRETS", ())
        if secret_fields and not self._from_env:
            named = {cls.ALIASES.get(key, key) for key, item in kwargs.items() if item is not None}
            if named.isdisjoint(secret_fields):
                raise MissingKey(
                    f"This `{name}` was written without a key, so it would take one from the environment. If you trust "
                    "what you read, write `secrets_from_env=True`."
                )
        return cls(**kwargs)

    def _secret(self, name: str) -> str:
        value = self._secrets.get(name) or (os.environ.get(name) if self._from_env else None)
        if value:
            return value
        where = "`secrets_map`, nor in the environment" if self._from_env else "`secrets_map`"
        raise MissingKey(f"`{name}` is not among {where}.")

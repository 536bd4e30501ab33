"""LangChain's serialised form of objects: the path of the class, and its arguments. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from modelwire.aliases import JSON, Kwargs

# A dict of data that looks like a serialised object is written under this key, so that the reader
# creates no object from it: langchain-core 1.7 (`load/_validation.py`), read 2026-11.
ESCAPE = "__lc_escaped__"


def needs_escape(data: dict[Any, Any]) -> bool:
    """Return whether a dict of the data could be mistaken for a serialised object, or for an escaped dict."""
    return "lc" in data or is_escaped(data)


def is_escaped(form: dict[Any, Any]) -> bool:
    """Return whether a dict has `ESCAPE` as its only key: its value is data, not a serialised object."""
    return len(form) == 1 and ESCAPE in form


def unescaped(form: Any) -> Any:
    """Return serialised data in which each dict `{ESCAPE: x}` is replaced by `x`. No object is created from it."""
    if isinstance(form, list):
        return [unescaped(item) for item in form]
    if not isinstance(form, dict):
        return form
    if is_escaped(form):
        return form[ESCAPE]
    return {key: unescaped(item) for key, item in form.items()}


class LangChainForm:
    """Adds `to_json` and related methods to a pydantic model; `modelwire.load` reads their output."""

    LC_NAMESPACE: ClassVar[tuple[str, ...]] = ("langchain",)

    if TYPE_CHECKING:
        model_fields: ClassVar[Any]

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return whether objects of this class can be serialised and loaded again."""
        return cls.LC_NAMESPACE != LangChainForm.LC_NAMESPACE

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return the parts of the path of the class's module in LangChain."""
        return list(cls.LC_NAMESPACE)

    @classmethod
    def lc_id(cls) -> list[str]:
        """Return the parts of the path of the class in LangChain, its name last."""
        return [*cls.get_lc_namespace(), cls.__name__]

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The fields for which only the name of an environment variable is serialised."""
        return {}

    @property
    def lc_attributes(self) -> JSON:
        """Values of fields that are serialised even if they are defaults."""
        return {}

    def to_json(self) -> JSON:
        """Return the object in LangChain's form: its class, and the fields that are not defaults."""
        name = type(self).__name__
        if not self.is_lc_serializable():
            path = [*type(self).__module__.split("."), name]
            return {"lc": 1, "type": "not_implemented", "id": path, "repr": repr(self)}
        kwargs: Kwargs = {}
        for key, field in type(self).model_fields.items():
            value = self.__dict__.get(key)
            default = field.get_default(call_default_factory=True)
            if not field.exclude and (field.is_required() or value != default):
                kwargs[key] = value
        kwargs |= self.lc_attributes
        kwargs |= {
            key: {"lc": 1, "type": "secret", "id": [variable]}
            for key, variable in self.lc_secrets.items()
        }
        return {"lc": 1, "type": "constructor", "id": self.lc_id(), "kwargs": kwargs}

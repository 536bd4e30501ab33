"""LangChain's serialised form of objects: the path of the class there, and its arguments. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

__all__ = ["LangChainForm"]


class LangChainForm:
    """Adds `to_json` and related methods to a pydantic model; `modelwire.load` reads their output."""

    LC_NAMESPACE: ClassVar[tuple[str, ...]] = ("langchain",)

    if TYPE_CHECKING:
        model_fields: ClassVar[Any]

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Tell whether objects can be serialised."""
        return cls.LC_NAMESPACE != LangChainForm.LC_NAMESPACE

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return the path of the class's module in LangChain."""
        return list(cls.LC_NAMESPACE)

    @classmethod
    def lc_id(cls) -> list[str]:
        """Return the path of the class in LangChain."""
        return [*cls.get_lc_namespace(), cls.__name__]

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Fields of which only the name of an environment variable is serialised."""
        return {}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """Values that are serialised although they are defaults."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Serialise the object as LangChain does: its class, and the fields that are not defaults."""
        name = type(self).__name__
        if not self.is_lc_serializable():
            path = [*type(self).__module__.split("."), name]
            return {"lc": 1, "type": "not_implemented", "id": path, "repr": repr(self)}
        kwargs: dict[str, Any] = {}
        for key, field in type(self).model_fields.items():
            value = self.__dict__.get(key)
            default = field.get_default(call_default_factory=True)
            if not field.exclude and (
                field.is_required() or (value != default and value not in ({}, []))
            ):
                kwargs[key] = value
        kwargs |= self.lc_attributes
        kwargs |= {
            key: {"lc": 1, "type": "secret", "id": [variable]}
            for key, variable in self.lc_secrets.items()
        }
        return {"lc": 1, "type": "constructor", "id": self.lc_id(), "kwargs": kwargs}

"""The docstring and signature of a model class, built when `help()` or `inspect` reads them. No call runs this code.

A setting is documented once, by the string below its field, where editors find it, too.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

_OTHERS = inspect.Parameter("model_parameters", inspect.Parameter.VAR_KEYWORD, annotation=Any)
# This is shown as the signature of `__init__`, which accepts positional arguments only to raise an error for them.
KEYWORDS_ONLY = inspect.Signature(
    [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), _OTHERS]
)


def settings_docs(cls: type[BaseModel]) -> dict[str, str]:
    """Return the documentation of each field of `cls`; {} if the source cannot be read, as in a frozen program."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if inspect.get_annotations(base) and base.__module__.partition(".")[0] != "pydantic":
            docs |= _docs_below_fields(base)
    return {name: docs[name] for name in cls.model_fields if name in docs}


def _docs_below_fields(cls: type) -> dict[str, str]:
    import ast
    import textwrap

    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    docs = {}
    field = None
    for node in getattr(tree, "body", ()):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            field = node.target.id
        elif field and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docs[field] = inspect.cleandoc(str(node.value.value))
            field = None
        else:
            field = None
    return docs


class SettingsDoc(str):
    """The `__doc__` of a model class: its own text, then a line for each setting with type, default and meaning."""

    __slots__ = ("owner",)
    owner: type[BaseModel]

    @classmethod
    def of(cls, owner: type[BaseModel]) -> SettingsDoc:
        made = cls(owner.__doc__ or "")
        made.owner = owner
        return made

    def __get__(self, instance: object, owner: object = None) -> str:
        lines = []
        for name, meaning in settings_docs(self.owner).items():
            field = self.owner.model_fields[name]
            if field.is_required():
                default = "required"
            else:
                default = f"default {field.get_default(call_default_factory=True)!r}"
            kind = inspect.formatannotation(field.annotation).replace("typing.", "")
            lines.append(f"    {name} ({kind}, {default}): {' '.join(meaning.split())}")
        return (
            inspect.cleandoc(str.__str__(self))
            + "\n\nSettings, all by keyword:\n"
            + "\n".join(lines)
        )

    def expandtabs(self, tabsize: Any = 8) -> str:
        """Return the whole text: `help()` reads this object from the class's dict, without `__get__`."""
        return self.__get__(None).expandtabs(tabsize)


class SettingsSignature:
    """The `__signature__` of a model class: one keyword for each setting."""

    def __get__(self, instance: object, owner: type[BaseModel]) -> inspect.Signature:
        parameters = []
        for name, field in owner.model_fields.items():
            default: Any = field.get_default(call_default_factory=True)
            empty = inspect.Parameter.empty if field.is_required() else default
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(
                inspect.Parameter(name, keyword, default=empty, annotation=field.annotation)
            )
        return inspect.Signature([*parameters, _OTHERS])

"""`NamedTuple` as that of `typing`, made in a third of the time: its annotations are for type checkers only.

`typing.NamedTuple` compiles the annotation of each field. A program that asks a model once makes some 30 such
classes, so the modules that a first call loads take this one.
"""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

    class _Maker(type):
        """Makes a class of named fields from its body. It has no other bases: a generic one needs `typing`."""

        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body["__annotations__"]
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            for attribute, value in body.items():
                setattr(made, attribute, value)
            return made

    class NamedTuple(metaclass=_Maker):
        """The base that a class of named fields names."""


__all__ = ["NamedTuple"]

"""`Described`: the description of a `Runnable`: its name, types, schemas and graph, and its configurable fields.

Everything but the name is computed on demand; a call loads none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args

from modelwire.aliases import JSON, Kwargs
from modelwire.errors import InvalidType
from modelwire.runnables.config import Config
from modelwire.runnables.lazy_rooms import fields, graphs, prompts, schemas

if TYPE_CHECKING:
    from modelwire.prompts.base import BasePromptTemplate
    from modelwire.runnables.base import Runnable
    from modelwire.runnables.fields import ConfigurableFieldSpec
    from modelwire.runnables.graph import Graph
    from modelwire.runnables.schema import Schema


class ComparedByParts:
    """Compares two objects of a class by the attributes in `_parts`; without `_parts`, by identity."""

    # The names of the attributes to compare. The first one differs most often; the hash is its hash.
    _parts: ClassVar[tuple[str, ...]] = ()

    def _state(self) -> Kwargs:
        return {name: getattr(self, name) for name in self._parts}

    def __eq__(self, other: object) -> bool:
        if not self._parts or type(other) is not type(self):
            return self is other
        return self._state() == other._state()

    def __hash__(self) -> int:
        if not self._parts:
            return object.__hash__(self)
        first = getattr(self, self._parts[0])
        if isinstance(first, (dict, list)):
            first = tuple(first)
        return hash((type(self), first))


class Described:
    """The description of a `Runnable`.

    Subclasses override the types, or the schemas if these are more precise.
    """

    name: str | None  # It is shown to handlers; see `get_name`.

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return the name under which runs are reported, with `suffix` in the same case style."""
        named = name or getattr(self, "name", None) or self._default_name()
        if not suffix:
            return named
        if named[0].isupper():
            return named + suffix.title()
        return f"{named}_{suffix.lower()}"

    def _default_name(self) -> str:
        """Return the name under which runs of a runnable without a `name` are reported."""
        return type(self).__name__

    @property
    def InputType(self) -> Any:
        """The type of the input, as the class declares it: `class Double(Runnable[int, int])`."""
        return self._declared(0)

    @property
    def OutputType(self) -> Any:
        """The type of the output, as the class declares it."""
        return self._declared(1)

    def _declared(self, position: int) -> Any:
        for cls in type(self).__mro__:
            for base in cls.__dict__.get("__orig_bases__", ()):
                arguments = get_args(base)
                if len(arguments) == 2 and not isinstance(arguments[position], TypeVar):
                    return arguments[position]
        side = ("Input", "Output")[position]
        raise InvalidType(
            f"`{self.get_name()}` does not declare its {side.lower()} type. Override `{side}Type`, "
            "or subclass `Runnable[YourInput, YourOutput]`."
        )

    @property
    def input_schema(self) -> Schema:
        """The schema of the input, as a pydantic model class."""
        return self.get_input_schema()

    @property
    def output_schema(self) -> Schema:
        """The schema of the output, as a pydantic model class."""
        return self.get_output_schema()

    def get_input_schema(self, config: Config = None) -> Schema:
        """Return the schema of the input, as a pydantic model class.

        For a configurable runnable, it is that of the runnable that `config` chooses.
        """
        return schemas.schema_of(self.get_name("Input"), schemas.declared(self, "InputType"))

    def get_output_schema(self, config: Config = None) -> Schema:
        """Return the schema of the output, as a pydantic model class.

        For a configurable runnable, it is that of the runnable that `config` chooses.
        """
        return schemas.schema_of(self.get_name("Output"), schemas.declared(self, "OutputType"))

    def get_input_jsonschema(self, config: Config = None) -> JSON:
        """Return the JSON schema of the input."""
        return schemas.json_schema(self.get_input_schema(config))

    def get_output_jsonschema(self, config: Config = None) -> JSON:
        """Return the JSON schema of the output."""
        return schemas.json_schema(self.get_output_schema(config))

    def _input_schema_before(self, rest: Sequence[Runnable], config: Config) -> Schema:
        """Return the input schema of a sequence of this step and then the steps `rest`.

        A step that passes its input on includes the fields that `rest` needs.
        """
        return self.get_input_schema(config)

    def _output_schema_after(self, before: Sequence[Runnable], config: Config) -> Schema:
        """Return the output schema of a sequence of the steps `before` and then this step."""
        return self.get_output_schema(config)

    def _runnables_inside(self) -> Iterable[Runnable]:
        """Return the runnables that this one is made of."""
        return ()

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The keys that `config={"configurable": {...}}` may have for this runnable and those inside of it."""
        return fields.get_unique_config_specs(
            spec for inner in self._runnables_inside() for spec in inner.config_specs
        )

    def config_schema(self, *, include: Sequence[str] | None = None) -> Schema:
        """Return a pydantic model class of the configurable keys, and of the keys of the config in `include`."""
        return schemas.config_schema(self.get_name("Config"), self.config_specs, include or ())

    def get_config_jsonschema(self, *, include: Sequence[str] | None = None) -> JSON:
        """Return the JSON schema of `config_schema`."""
        return schemas.json_schema(self.config_schema(include=include))

    def get_graph(self, config: Config = None) -> Graph:
        """Return the graph of the runnables inside, from the input to the output."""
        whole: Any = self
        return graphs.graph_of(whole, config)

    def get_prompts(self, config: Config = None) -> list[BasePromptTemplate[Any]]:
        """Return the prompts inside, in the graph's order."""
        found = (node.data for node in self.get_graph(config).nodes.values())
        return [data for data in found if isinstance(data, prompts.BasePromptTemplate)]

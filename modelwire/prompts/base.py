"""The base class of prompts: a runnable from variables to a prompt value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, Field, ValidationError

from modelwire.aliases import Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidType, MissingVariable
from modelwire.messages.base import set_slots
from modelwire.prompt_values import PromptValue
from modelwire.prompts.template import check_variables
from modelwire.runnables.config import Config, RunnableConfig, changed, settled
from modelwire.runnables.deadline import check, covered
from modelwire.runnables.lazy_rooms import schemas
from modelwire.runnables.run import acalled, called, listening
from modelwire.runnables.serializable import RunnableSerializable

if TYPE_CHECKING:
    from typing import Self

    from modelwire.documents import Document

__all__ = ["BasePromptTemplate", "aformat_document", "format_document"]

Formatted = TypeVar("Formatted")


class BasePromptTemplate(
    RunnableSerializable[dict[str, Any], PromptValue], ABC, Generic[Formatted]
):
    """A prompt with variables; subclasses format it.

    `input_variables` are required in every call, `optional_variables` are not, and
    `partial_variables` are set already: values, or functions without arguments that are called each
    time.
    """

    input_variables: list[str] = Field(default_factory=list)
    optional_variables: list[str] = Field(default_factory=list)
    input_types: dict[str, Any] = Field(default_factory=dict)
    output_parser: Any = None
    partial_variables: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] | None = None
    tags: list[str] | None = None

    @abstractmethod
    def format_prompt(self, **kwargs: Any) -> PromptValue:
        """Return the prompt value with the variables filled in."""

    @abstractmethod
    def format(self, **kwargs: Any) -> Formatted:
        """Return the text of the prompt with the variables filled in. Raises: `MissingVariable`."""

    async def aformat_prompt(self, **kwargs: Any) -> PromptValue:
        """Return the prompt value with the variables filled in."""
        return self.format_prompt(**kwargs)

    async def aformat(self, **kwargs: Any) -> Formatted:
        """Return the text of the prompt with the variables filled in. Raises: `MissingVariable`."""
        return self.format(**kwargs)

    def invoke(self, input: Any, config: Config = None, **kwargs: Any) -> PromptValue:
        """Return the prompt with the variables filled in from a mapping, or from any value if there is one variable."""
        config = self._configured(config)
        deadline = config.get("deadline")
        if deadline is None and not listening(config):
            return self._prompt_of(self._variables(input))

        def prompt(*_: Any) -> PromptValue:
            made = self._prompt_of(self._variables(input))
            check(deadline, self)
            return made

        return called(self, input, config, prompt, run_type="prompt", serialized={})

    async def ainvoke(self, input: Any, config: Config = None, **kwargs: Any) -> PromptValue:
        config = self._configured(config)
        deadline = config.get("deadline")
        if deadline is None and not listening(config):
            return await self._aprompt_of(self._variables(input))
        return await acalled(
            self,
            input,
            config,
            lambda *_: covered(self._aprompt_of(self._variables(input)), deadline, self),
            run_type="prompt",
            serialized={},
        )

    def partial(self, **kwargs: str | Callable[[], str]) -> Self:
        """Return a copy with some variables set: to values, or to functions that are called for each use."""
        copied = self.model_copy()
        copied.input_variables = [name for name in self.input_variables if name not in kwargs]
        copied.partial_variables = {**self.partial_variables, **kwargs}
        return copied

    @property
    def OutputType(self) -> Any:
        return PromptValue

    def get_input_schema(self, config: Config = None) -> type[BaseModel]:
        """Return a pydantic model of the variables, required and optional."""
        kinds = {**self._kinds(), **self.input_types}
        needed: dict[str, tuple[Any, Any]] = {
            name: (kinds.get(name, str), ...) for name in self.input_variables
        }
        optional = {name: (kinds.get(name, str), None) for name in self.optional_variables}
        return schemas.object_schema("PromptInput", {**optional, **needed})

    def _kinds(self) -> Kwargs:
        """Return the types of the variables that are not texts."""
        return {}

    @property
    def _prompt_type(self) -> str:
        raise NotImplementedError(f"`{type(self).__name__}` has no `_prompt_type`.")

    def asdict(self, **kwargs: Any) -> Kwargs:
        """Return the fields, and the type of prompt under `_type`; keywords are those of `model_dump`."""
        return {**self.model_dump(**kwargs), "_type": self._prompt_type}

    def _prompt_of(self, values: Values) -> PromptValue:
        """Return the prompt value for values that include all required variables."""
        return self.format_prompt(**values)

    async def _aprompt_of(self, values: Values) -> PromptValue:
        return await self.aformat_prompt(**values)

    def _loop_native(self) -> bool:
        return True

    def _may_block(self) -> bool:
        return False

    def _variables(self, input: Any) -> Values:
        """Return an input as a mapping from variables to values. Raises: `InvalidType` or `MissingVariable`."""
        if type(input) is not dict and not isinstance(input, Mapping):
            if len(self.input_variables) != 1:
                raise InvalidType(
                    f"Expected a mapping type as input to `{type(self).__name__}`, such as"
                    f" {dict.fromkeys(self.input_variables, '...')}. Received a `{type(input).__name__}`."
                )
            return {self.input_variables[0]: input}
        for name in self.input_variables:
            if name not in input:
                check_variables(self, self.input_variables, input)
        return input

    def _with_partials(self, values: Values) -> Values:
        """Return the values with the partial variables added; given values take precedence."""
        if not self.partial_variables:
            return values
        partials = {
            name: value() if callable(value) else value
            for name, value in self.partial_variables.items()
            if name not in values
        }
        return {**partials, **values}

    def _configured(self, config: Config) -> RunnableConfig:
        ready = settled(config)
        if self.tags or self.metadata:
            tags = [*(ready.get("tags") or []), *(self.tags or [])]
            return changed(
                ready,
                tags=tags,
                metadata={**(ready.get("metadata") or {}), **(self.metadata or {})},
            )
        return ready

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        fields = type(self).__pydantic_fields__
        for name, value in self.__dict__.items():
            field = fields.get(name)
            # Empty attributes are left out, because a chat prompt shows one prompt for each of its
            # messages.
            if field is not None and (
                name == "input_variables" or (value != field.default and value not in ([], {}))
            ):
                yield name, value

    def _fill(self, values: Kwargs) -> None:
        """Set the fields without validation, and the others to their defaults."""
        fields = type(self).__pydantic_fields__
        complete = {
            name: values[name]
            if name in values
            else field.get_default(call_default_factory=True, validated_data={})
            for name, field in fields.items()
        }
        set_slots(self, complete, {name for name in values if name in fields})

    def _check(self, values: Kwargs) -> None:
        """Set the fields with pydantic's validation, for subclasses with further fields."""
        try:
            BaseModel.__init__(self, **values)
        except ValidationError as exc:
            raise InvalidArgument(
                f"`{type(self).__name__}` cannot be created from these values: {exc}"
            ) from exc


def format_document(doc: Document, prompt: BasePromptTemplate[str]) -> str:
    """Return `prompt` filled with the document's `page_content` and metadata, any of which it may use.

    Raises: `MissingVariable` if it uses metadata that the document does not have.
    """
    return prompt.format(**_values(doc, prompt))


async def aformat_document(doc: Document, prompt: BasePromptTemplate[str]) -> str:
    """Do what `format_document` does, async."""
    return await prompt.aformat(**_values(doc, prompt))


def _values(doc: Document, prompt: BasePromptTemplate[str]) -> Kwargs:
    known = {"page_content": doc.page_content, **doc.metadata}
    missing = sorted(set(prompt.input_variables) - set(known))
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise MissingVariable(
            f"The prompt needs {names}, but the document has only {', '.join(sorted(known))}."
        )
    return {name: known[name] for name in prompt.input_variables}

"""The base of output parsers: a runnable from a model's answer to a value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_origin

from modelwire.aliases import Function
from modelwire.errors import InvalidType
from modelwire.messages import BaseMessage
from modelwire.messages.conversion import own_message
from modelwire.runnables.config import Config, run_in_executor, settled
from modelwire.runnables.deadline import check, covered
from modelwire.runnables.lazy_rooms import outputs
from modelwire.runnables.run import acalled, called, listening
from modelwire.runnables.serializable import RunnableSerializable

if TYPE_CHECKING:
    from modelwire.outputs import Generation
    from modelwire.prompt_values import PromptValue

__all__ = ["BaseGenerationOutputParser", "BaseLLMOutputParser", "BaseOutputParser"]

T = TypeVar("T")


class BaseLLMOutputParser(ABC, Generic[T]):
    """The interface of a parser: it returns a value from the candidate answers (one or more) to a prompt."""

    @abstractmethod
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> T:
        """Return the value of an answer; with `partial`, of an answer that is not complete yet."""

    async def aparse_result(self, result: list[Generation], *, partial: bool = False) -> T:
        """Return the value, as `parse_result` does. The default runs a user's `parse_result` in a thread."""
        if is_ours(type(self).parse_result):
            return self.parse_result(result, partial=partial)
        return await run_in_executor(None, self.parse_result, result, partial=partial)


class BaseGenerationOutputParser(BaseLLMOutputParser[T], RunnableSerializable[Any, T]):
    """A runnable that parses an answer as a whole; subclasses implement `parse_result`."""

    @property
    def InputType(self) -> Any:
        return str | BaseMessage

    @property
    def OutputType(self) -> Any:
        """The type of the parsed value, as the class declares it: `class Yes(BaseOutputParser[bool])`.

        Raises: `InvalidType` if the class does not declare it.
        """
        for cls in type(self).__mro__:
            for base in cls.__dict__.get("__orig_bases__", ()):
                origin = get_origin(base)
                args = get_args(base)
                of_parser = isinstance(origin, type) and issubclass(origin, BaseLLMOutputParser)
                if of_parser and len(args) == 1 and not isinstance(args[0], TypeVar):
                    return args[0]
        raise InvalidType(
            f"`{type(self).__name__}` does not declare what it returns."
            " Override `OutputType`, or subclass `BaseOutputParser[YourType]`."
        )

    def invoke(self, input: str | BaseMessage, config: Config = None, **kwargs: Any) -> T:
        """Return the value parsed from a model's answer, or from a text."""
        config = settled(config)
        deadline = config.get("deadline")

        def read(*_: Any) -> T:
            output = self._read(input)
            check(deadline, self)
            return output

        if not listening(config):
            return read()
        return called(self, input, config, read, "parser", {})

    async def ainvoke(self, input: str | BaseMessage, config: Config = None, **kwargs: Any) -> T:
        """Return the value parsed from a model's answer, or from a text."""
        config = settled(config)
        deadline = config.get("deadline")
        if deadline is None and not listening(config):
            return await self._aread(input)
        return await acalled(
            self,
            input,
            config,
            lambda *_: covered(self._aread(input), deadline, self),
            run_type="parser",
            serialized={},
        )

    def _read(self, input: Any) -> T:
        return self.parse_result([generation_of(input, self)])

    async def _aread(self, input: Any) -> T:
        return await self.aparse_result([generation_of(input, self)])

    def _loop_native(self) -> bool:
        kind = type(self)
        return (
            is_ours(kind.parse_result)
            or kind.aparse_result is not BaseLLMOutputParser.aparse_result
        )

    def _may_block(self) -> bool:
        return not is_ours(type(self).parse_result)


class BaseOutputParser(BaseGenerationOutputParser[T]):
    """A runnable that parses the text of an answer; subclasses implement `parse`.

    Raise `OutputParserException` for a text that does not parse.

    Example:
        class YesOrNo(BaseOutputParser[bool]):
            def parse(self, text: str) -> bool:
                return text.strip().lower() == "yes"
    """

    @abstractmethod
    def parse(self, text: str) -> T:
        """Return the value parsed from a text."""

    async def aparse(self, text: str) -> T:
        """Return the value parsed from a text. The default runs a user's `parse` in a thread."""
        if is_ours(type(self).parse):
            return self.parse(text)
        return await run_in_executor(None, self.parse, text)

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> T:
        """Return the value parsed from the text of the first candidate."""
        return self.parse(result[0].text)

    async def aparse_result(self, result: list[Generation], *, partial: bool = False) -> T:
        if type(self).parse_result is BaseOutputParser.parse_result:
            return await self.aparse(result[0].text)
        return await super().aparse_result(result, partial=partial)

    def parse_with_prompt(self, completion: str, prompt: PromptValue) -> Any:
        """Return the value parsed from a text; the default ignores the prompt of the text."""
        return self.parse(completion)

    def get_format_instructions(self) -> str:
        """Return instructions for the prompt, which describe the form that the answer must have."""
        raise NotImplementedError(f"`{type(self).__name__}` has no format instructions.")

    def asdict(self, **kwargs: Any) -> dict[str, Any]:
        """Return the fields, and the kind of parser under `_type`; keywords are those of `model_dump`."""
        return {**self.model_dump(**kwargs), "_type": self._type}

    @property
    def _type(self) -> str:
        raise NotImplementedError(f"`{type(self).__name__}` has no `_type`.")

    def _loop_native(self) -> bool:
        kind = type(self)
        if kind.parse_result is BaseOutputParser.parse_result:
            return is_ours(kind.parse) or kind.aparse is not BaseOutputParser.aparse
        return super()._loop_native()

    def _may_block(self) -> bool:
        return super()._may_block() or not is_ours(type(self).parse)


def is_ours(method: Function) -> bool:
    """Return whether modelwire defines the method. Its methods never block."""
    return method.__module__.startswith("modelwire.")


def generation_of(answer: Any, parser: BaseLLMOutputParser[Any]) -> Generation:
    """Return an answer as a generation, for `parse_result`.

    Raises: `InvalidType` for a value that is neither a message nor a text.
    """
    if isinstance(answer, BaseMessage):
        return outputs.ChatGeneration(message=answer)
    if isinstance(answer, str):
        return outputs.Generation(text=answer)
    if (message := own_message(answer)) is not None:
        return outputs.ChatGeneration(message=message)
    raise not_an_answer(answer, parser)


def not_an_answer(value: object, parser: object) -> InvalidType:
    """Return the error for an input that is neither a message nor a text."""
    hint = " Of a list of messages, pass one." if isinstance(value, Sequence) else ""
    return InvalidType(
        f"`{type(parser).__name__}` parses a message or a text, not a `{type(value).__name__}`.{hint}"
    )

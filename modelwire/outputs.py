"""Generations and results: the values that a custom model's `_generate` returns and callback handlers receive.

A value with the right types is created without validation, so that a custom model's first answer builds no schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError

from modelwire.aliases import JSON, Kwargs
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages.base import BaseMessage, BaseMessageChunk, set_slots
from modelwire.messages.merge import merge_dicts
from modelwire.messages.serialised import LangChainForm

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "ChatGeneration",
    "ChatGenerationChunk",
    "ChatResult",
    "Generation",
    "GenerationChunk",
    "LLMResult",
    "RunInfo",
]
# Import paths below this module, as LangChain has them, are those of `modelwire.compat`.
__path__: list[str] = []


class _Value(BaseModel):
    model_config = ConfigDict(defer_build=True, arbitrary_types_allowed=True)

    def _fill(self, **values: Any) -> None:
        """Set every field without validation."""
        set_slots(self, values, set(values))

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Return an object with these fields, without validation: the caller knows that they are valid."""
        made = cls.__new__(cls)
        set_slots(made, values, set(values))
        return made

    def _check(self, **values: Any) -> None:
        """Set the fields with pydantic's validation: for subclasses with further fields, and for dumped values."""
        try:
            BaseModel.__init__(self, **values)
        except (ValidationError, TypeError) as exc:
            raise InvalidArgument(
                f"`{type(self).__name__}` cannot be created from these values: {exc}"
            ) from exc


class RunInfo(_Value):
    """The id of the run that returned a result."""

    run_id: UUID


class Generation(LangChainForm, _Value):
    """One text that a model returned."""

    LC_NAMESPACE: ClassVar = ("langchain", "schema", "output")

    text: str
    generation_info: dict[str, Any] | None = None
    type: Literal["Generation"] = "Generation"

    def __init__(
        self, *, text: str = "", generation_info: dict[str, Any] | None = None, **more: Any
    ) -> None:
        if type(self) in (Generation, GenerationChunk) and type(text) is str and not more:
            self._fill(text=text, generation_info=generation_info, type="Generation")
        else:
            self._check(text=text, generation_info=generation_info, **more)

    def to_json(self) -> dict[str, Any]:
        """Return the generation in LangChain's JSON form, which `modelwire.load` writes and reads."""
        kwargs = {name: value for name, value in self.__dict__.items() if value is not None}
        return {"lc": 1, "type": "constructor", "id": self.lc_id(), "kwargs": kwargs}


class GenerationChunk(Generation):
    """A part of a text. The sum of two parts is a part with both texts."""

    def __add__(self, other: GenerationChunk) -> GenerationChunk:
        if not isinstance(other, GenerationChunk):
            return NotImplemented
        return GenerationChunk(
            text=self.text + other.text, generation_info=_merged_info([self, other])
        )


class ChatGeneration(Generation):
    """One message that a chat model returned; `text` is its text."""

    message: SerializeAsAny[BaseMessage]
    text: str = ""
    type: Literal["ChatGeneration"] = "ChatGeneration"  # type: ignore[assignment]  # narrowed as LangChain does

    def __init__(
        self,
        *,
        message: BaseMessage | dict[str, Any],
        generation_info: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        if not isinstance(message, (BaseMessage, dict)):
            raise InvalidType(f"`message` must be a message, not a `{type(message).__name__}`.")
        self._take(message, generation_info, more)

    @classmethod
    def of_message(cls, message: BaseMessage, generation_info: dict[str, Any] | None) -> Self:
        """Return the generation of a message, without checking its class."""
        text = _text_of(message)
        return cls.of(
            text=text, generation_info=generation_info, type=cls.__name__, message=message
        )

    def _take(self, message: Any, generation_info: JSON | None, more: Kwargs) -> None:
        kind = type(self)
        if (
            kind in (ChatGeneration, ChatGenerationChunk)
            and not isinstance(message, dict)
            and more.keys() <= _OWN
        ):
            text = _text_of(message)
            self._fill(
                text=text, generation_info=generation_info, type=kind.__name__, message=message
            )
        else:
            self._check(message=message, generation_info=generation_info, **more)
            self.text = _text_of(self.message)


class ChatGenerationChunk(ChatGeneration):
    """A part of a message. Adding a part, or a list of parts, gives a part with the sum of their messages."""

    message: SerializeAsAny[BaseMessageChunk]  # pyright: ignore[reportIncompatibleVariableOverride]
    type: Literal["ChatGenerationChunk"] = "ChatGenerationChunk"  # type: ignore[assignment]

    def __init__(
        self,
        *,
        message: BaseMessageChunk | dict[str, Any],
        generation_info: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        if not isinstance(message, (BaseMessageChunk, dict)):
            raise InvalidType(
                f"`message` of a `ChatGenerationChunk` must be a message chunk, not a `{type(message).__name__}`."
                " Yield an `AIMessageChunk`."
            )
        self._take(message, generation_info, more)

    def __add__(
        self, other: ChatGenerationChunk | list[ChatGenerationChunk]
    ) -> ChatGenerationChunk:
        others = other if isinstance(other, list) else [other]
        if not all(isinstance(part, ChatGenerationChunk) for part in others):
            return NotImplemented
        parts = [self, *others]
        first, *rest = [part.message for part in parts]
        # Adding a whole list takes linear time.
        message = first.__add__(rest) if rest else first
        return ChatGenerationChunk(message=message, generation_info=_merged_info(parts))


class ChatResult(_Value):
    """The result of a chat model's `_generate`: one or more candidate messages, and in `llm_output` further facts."""

    generations: list[ChatGeneration]
    llm_output: dict[str, Any] | None = None

    def __init__(
        self,
        *,
        generations: Sequence[ChatGeneration | dict[str, Any]],
        llm_output: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        if isinstance(generations, (str, bytes, dict)) or not isinstance(generations, Sequence):
            raise InvalidType(
                f"`generations` must be a list of `ChatGeneration`, not a `{type(generations).__name__}`."
            )
        items: Sequence[Any] = generations
        wrong = next((item for item in items if not isinstance(item, (ChatGeneration, dict))), None)
        if wrong is not None:
            raise InvalidType(
                f"`generations` must hold `ChatGeneration`, not a `{type(wrong).__name__}`."
                " Wrap the message: `ChatGeneration(message=...)`."
            )
        if (
            type(self) is ChatResult
            and not more
            and not any(isinstance(item, dict) for item in generations)
        ):
            self._fill(generations=list(generations), llm_output=llm_output)
        else:
            self._check(generations=generations, llm_output=llm_output, **more)


class LLMResult(_Value):
    """The answers to a list of prompts: for each prompt the list of its generations."""

    generations: list[list[SerializeAsAny[Generation]]]
    llm_output: dict[str, Any] | None = None
    run: list[RunInfo] | None = None
    type: Literal["LLMResult"] = "LLMResult"

    def __init__(
        self,
        *,
        generations: Sequence[Sequence[Generation | dict[str, Any]]],
        llm_output: dict[str, Any] | None = None,
        run: list[RunInfo] | None = None,
        **more: Any,
    ) -> None:
        rows = [[_generation(item) for item in row] for row in generations]
        if type(self) is LLMResult and more.keys() <= _OWN:
            self._fill(generations=rows, llm_output=llm_output, run=run, type="LLMResult")
        else:
            self._check(generations=rows, llm_output=llm_output, run=run, **more)

    def flatten(self) -> list[LLMResult]:
        """Return one result for each prompt; only the first has the token usage, which is that of all prompts."""
        results = []
        for i, row in enumerate(self.generations):
            output = self.llm_output
            if i and output is not None:
                output = {**output, "token_usage": {}}
            results.append(LLMResult(generations=[row], llm_output=output))
        return results

    def __eq__(self, other: object) -> bool:
        """Return whether the generations and `llm_output` are equal; the ids of the runs may differ."""
        if not isinstance(other, LLMResult):
            return NotImplemented
        return self.generations == other.generations and self.llm_output == other.llm_output

    __hash__ = None  # type: ignore[assignment]


# Fields of a dump that are not read, because they are computed from the message and the class.
_OWN = frozenset({"text", "type"})


def _generation(item: Generation | JSON) -> Generation:
    """Return a generation unchanged, or create one from its dump, a dict."""
    if isinstance(item, Generation):
        return item
    if not isinstance(item, dict):
        raise InvalidType(
            f"`generations` must hold lists of `Generation`, not a `{type(item).__name__}`."
        )
    if "message" in item:
        return ChatGeneration(**item)
    return Generation(**item)


def _text_of(message: BaseMessage) -> str:
    content = message.content
    if type(content) is str:
        return content
    parts = (block if isinstance(block, str) else _block_text(block) for block in content)
    return "".join(parts)


def _block_text(block: Any) -> str:
    text = block.get("text") if block.get("type", "text") == "text" else None
    return text if isinstance(text, str) else ""


def _merged_info(parts: Sequence[Generation]) -> JSON | None:
    infos = [part.generation_info for part in parts if part.generation_info]
    if len(infos) < 2:
        return infos[0] if infos else None
    return merge_dicts(*infos)

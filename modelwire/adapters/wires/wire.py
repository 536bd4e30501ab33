"""The contract of a wire: its codec, four pure functions, and the data that the shared code asks it for.

No I/O, no clock, no async here. CONTRIBUTING, "How to add a wire", says how the parts come together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import quote

from modelwire.aliases import JSON, Fields, Function, HeaderFields
from modelwire.errors import InvalidArgument, did_you_mean
from modelwire.records import NamedTuple

if TYPE_CHECKING:
    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.adapters.wires.families import ModelFamilies
    from modelwire.errors import ChatError
    from modelwire.messages import AIMessage, AIMessageChunk, BaseMessage
    from modelwire.transport.wire import Reply, ServerEvent, WireRequest


@lru_cache(maxsize=256)
def path_segment(name: str) -> str:
    """Return a name as one segment of a path, whatever is in it. Raises `InvalidArgument` for one of dots alone."""
    if not name.strip("."):
        raise InvalidArgument(f"`model` must be the name of a model, not {name!r}.")
    return quote(name, safe="@")


class Endpoint(NamedTuple):
    """Where calls go and as whom.

    `base_url` ends without a slash and includes the version where the provider documents it so
    (`https://api.openai.com/v1`, `https://api.anthropic.com`). `headers` are complete but for those the codec itself
    adds per call (content type, protocol version): authentication and the user's `default_headers` are in it.
    """

    base_url: str
    headers: Mapping[str, str] = {}  # secrets inside

    def __repr__(self) -> str:
        return f"Endpoint({len(self.headers)} headers)"  # the URL may hold a password


class ChatCall:
    """One call before it is encoded: n >= 1 messages, and the parameters.

    `params` holds wire-ready parameters under the common names (`temperature`, `max_tokens`, `stop`, `tools`,
    `tool_choice`, `response_format` ...), only those that were set: unset is absent, never `None`.
    `extra_body` is merged into the body last, `extra_headers` into the headers.
    """

    __slots__ = ("endpoint", "extra_body", "extra_headers", "messages", "model", "params", "stream")

    def __init__(
        self,
        messages: Sequence[BaseMessage],
        model: str,
        endpoint: Endpoint,
        params: Fields | None = None,
        *,
        stream: bool = False,
        extra_body: Fields | None = None,
        extra_headers: HeaderFields | None = None,
    ) -> None:
        self.messages = messages
        self.model = model
        self.endpoint = endpoint
        self.params = params or {}
        self.stream = stream
        self.extra_body = extra_body or {}
        self.extra_headers = extra_headers or {}


class StreamDecoder(Protocol):
    """Turns the events of one answer into chunks. One object a stream; all state of decoding lives here."""

    request_id: str | None  # the provider's name for the call, from the head

    def feed(self, event: ServerEvent) -> list[AIMessageChunk]:
        """Return the chunks this event completes, often one, possibly none.

        Raises the fitting `ChatError` for an error event and `MalformedResponse` for one that cannot be read.
        """

    def close(self) -> list[AIMessageChunk]:
        """Return what only the end of the stream completes (at least a chunk with `chunk_position="last"`).

        Raises `IncompleteStream` where the terminal mark of the wire has not been seen.
        """


class Codec(Protocol):
    """How one wire says a chat call. Every method is a pure function of its arguments.

    Optional: `wire`, its name in the registry; `reserves`, fields of the body in tokens that count against a rate
    limit before there is an answer; `has_output`, False where an answer has no tokens (a vector); `continued(body,
    answer)`, which returns the body of the request that continues a suspended answer, None where the answer lacks
    what that needs; `framing(max_event_bytes=)`, which makes an object with `feed(data) -> list[ServerEvent]` and,
    where a body may end within an event, `close()`, where streams are not server-sent events.
    """

    @property
    def provider(self) -> str: ...  # as errors and metadata name it

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. Raises `InvalidArgument` for what the wire has no form for."""

    def decode(self, reply: Reply) -> AIMessage:
        """Read a whole answer (status 200). Raises `MalformedResponse`, or the error that hides under the 200."""

    def stream_decoder(self, headers: HeaderFields | None = None) -> StreamDecoder:
        """Make the decoder of one streamed answer; `headers` are its head's, by lower-case name."""

    def error(self, reply: Reply) -> ChatError:
        """Read an error answer (status >= 300) of whatever shape; never raises. A `retry_after` of its body is kept."""


CONDITIONS = frozenset(
    ("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties")
)


class ToolDialect(NamedTuple):
    """How tools are bound: `convert(tool, openai_tool, strict=)` returns the dict for `tool` on this wire.

    `openai_tool` is the same tool in OpenAI's shape, which every codec takes too. The other fields describe what the
    wire's own provider accepts; a compatible service that differs has the difference in its row.
    """

    convert: Callable[..., JSON]
    name: str = r".+"  # the pattern of a tool's name
    top: frozenset[str] = frozenset()  # keywords the outermost schema may not have
    strict: frozenset[str] = frozenset()  # keywords no schema may have in strict mode
    strict_recursion: bool = True  # strict mode takes a schema that contains itself
    strict_types: bool = (
        False  # strict mode wants a type for everything, and of lists what is in them
    )
    source: str = "strict mode closes every object"  # where the provider says so
    clouds: tuple[str, ...] = ()  # other providers with the same limits


class StructuredOutput(NamedTuple):
    """How an answer is made to keep to a schema.

    `methods` are those of "json_schema", "function_calling" and "json_mode" that the wire has.
    `default(family, params, of_service)` chooses one of them: from what is known of the model (None: nothing), a
    function that returns the parameters as they are sent, and the method that the row of its service names (None: it
    has no row). `schema(schema, strict=)` is a JSON schema as the wire takes it.
    """

    methods: tuple[str, ...]
    default: Callable[[Any, Callable[[], Fields], str | None], str]
    schema: Callable[..., JSON]
    always_strict: bool = (
        False  # a schema is held to the limits of strict mode, whatever `strict` says
    )
    describes_in_schema: bool = False  # the description has no other place than in the schema
    one_tool_call: bool = False  # "function_calling" must forbid parallel calls


class SdkSeat(NamedTuple):
    """The provider's SDK, whose clients `client=` takes, and which makes those for Batch APIs.

    `make_client(headers, arguments)` returns a client and the headers that every call of it needs; `headers` are those
    of a call, by lower-case name, credentials included.
    """

    package: str
    make_client: Callable[[HeaderFields, JSON], tuple[Any, JSON]]
    joined_headers: tuple[
        str, ...
    ] = ()  # lower-case names of headers whose values add up, the client's and ours
    body_fields: Mapping[str, Fields] = {}  # by a client's class: what its cloud wants in the body


class TokenCounting(NamedTuple):
    """The endpoint that counts the input of a call: `request` makes the request for it out of the call's own."""

    providers: tuple[str, ...]  # those that have it
    request: Callable[[WireRequest], None]
    field: str  # of its answer
    exact: bool = True  # it counts what this wire sends
    model_options: Mapping[str, Any] = {}  # arguments that make the model speak the wire it counts


class AttachmentLimits(NamedTuple):
    """Which files the owner of a wire rejects, as far as that is documented; a call with such a file warns."""

    image_bytes: int | None = None  # A larger image is rejected. None: no limit is known.
    reads_office_files: bool = True  # False: files of Word, Excel and PowerPoint are rejected.


class Wire(NamedTuple):
    """One wire: everything that shared code may ask about it. Making one imports no codec."""

    name: str  # as `wire=` names it, the rows of services, and `Codec.wire`
    title: str  # in sentences, with a link to its documentation
    owner: str  # the provider whose API it is
    path: str  # what its addresses end with
    model_class: str  # `module:class` of the public class that speaks it
    codec: Callable[[str], Codec]  # of a provider; remembered, because each call asks for it
    tools: ToolDialect
    structured: StructuredOutput
    model_options: Mapping[str, Any] = {}  # arguments that make the class speak this wire
    version_path: str = "/v1"  # what a `base_url` of it has behind the origin
    families: Callable[[], ModelFamilies] | None = (
        None  # what its models take; None: nothing is known
    )
    sdk: SdkSeat | None = None  # None: no SDK client can carry its calls
    counting: TokenCounting | None = None  # None: it has no such endpoint
    attachments: AttachmentLimits = AttachmentLimits()
    blocks: str | None = (
        None  # module that reads its content blocks as standard ones, see `messages.wires`
    )
    # The function, as `module:name`, that puts `prompt_cache` into a request; None: the wire has no words for it.
    prompt_cache: str | None = None

    @property
    def batch_api(self) -> Function | None:
        """The class of the wire's Batch API, from `register_batch_api`; None if there is none."""
        reference = _BATCH_APIS.get(self.name)
        if reference is None:
            return None
        return cast("Callable[..., Any]", loaded(reference))

    def make_model(self, **arguments: Any) -> BaseChatModel:
        """Return a model of the public class that speaks this wire, made with `arguments`."""
        model_class = loaded(self.model_class)
        return cast("BaseChatModel", model_class(**{**self.model_options, **arguments}))


# Every wire by its name, as the module that has its `WIRE`. Loaded when it is asked for.
WIRES: dict[str, str] = {
    "openai": "modelwire.adapters.wires.openai_chat",
    "responses": "modelwire.adapters.wires.openai_responses",
    "anthropic": "modelwire.adapters.wires.anthropic",
    "bedrock": "modelwire.adapters.wires.bedrock",
    "gemini": "modelwire.adapters.wires.gemini",
}
HOME_WIRE = "openai"  # every compatible service speaks it; its rows say what else it speaks


# The Batch API of a wire, as `module:class`.
_BATCH_APIS: dict[str, str] = {}


def register_batch_api(wire: str, reference: str) -> None:
    """Make `module:class` the Batch API of a wire: a subclass of `modelwire.jobs.batch_api.api.BatchApi`.

    It is imported with the first batch. Raises: `InvalidArgument` for an unknown wire.
    """
    if wire not in WIRES:
        raise InvalidArgument(f"There is no wire `{wire}`. {did_you_mean(wire, list(WIRES))}")
    _BATCH_APIS[wire] = reference


def codec_at(reference: str) -> Callable[[str], Codec]:
    """Return the function that makes the codec of a provider, of the class at `module:class`; loaded when called."""

    @lru_cache(maxsize=256)
    def codec(provider: str) -> Codec:
        return cast("Codec", loaded(reference)(provider=provider))

    return codec


def families_at(reference: str) -> Callable[[], ModelFamilies]:
    """Return the function that gives the families at `module:name`; loaded when called."""
    return lambda: cast("ModelFamilies", loaded(reference))


@cache
def wire_named(name: str) -> Wire:
    """Return the wire of that name. Raises KeyError for one that is not in the registry."""
    return cast("Wire", import_module(WIRES[name]).WIRE)


def loaded(reference: str) -> Any:
    """Return what `module:name` refers to."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)

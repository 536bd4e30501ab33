"""Defines a wire, the HTTP format of a chat API: its codec, and the data that shared code reads from it.

No I/O, no clock, no async here. CONTRIBUTING, "How to add a wire", explains how the parts work together.
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
    """Return a model's name quoted as a segment of a URL. Raises `InvalidArgument` if it is empty or has only dots."""
    if not name.strip("."):
        raise InvalidArgument(f"`model` must be the name of a model, not {name!r}.")
    return quote(name, safe="@")


class Endpoint(NamedTuple):
    """The address that calls go to, and the headers that authenticate them.

    `base_url` has no slash at its end. It includes the version if the provider documents it so
    (`https://api.openai.com/v1`, `https://api.anthropic.com`). `headers` contain the credentials and the user's
    `default_headers`; the codec adds those of each call (content type, protocol version).
    """

    base_url: str
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Endpoint({len(self.headers)} headers)"  # The URL may contain a password.


class ChatCall:
    """One call before it is encoded: n >= 1 messages, and the parameters.

    `params` has only the parameters that were set, under the common names (`temperature`, `max_tokens`, `stop`,
    `tools`, `tool_choice`, `response_format` ...), with values that this wire accepts. An unset parameter is absent and
    never `None`. `extra_body` is merged into the body last, `extra_headers` into the headers.
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
    """Turns the events of one streamed answer into chunks. Each stream has its own decoder, which holds its state."""

    request_id: str | None  # the provider's id of the request, from the response headers

    def feed(self, event: ServerEvent) -> list[AIMessageChunk]:
        """Return the chunks that this event completes, often one, possibly none.

        Raises a `ChatError` of the fitting class for an error event, `MalformedResponse` for an unreadable event.
        """

    def close(self) -> list[AIMessageChunk]:
        """Return the chunks that only the end of the stream completes, the last with `chunk_position="last"`.

        Raises `IncompleteStream` if the event that ends an answer on this wire has not been seen.
        """


class Codec(Protocol):
    """Translates between chat calls and the requests and answers of one wire. Every method is a pure function.

    Optional attributes:

    - `wire`: its name in the registry.
    - `reserves`: the fields of the body, in tokens, that the provider counts against a rate limit before it answers.
    - `has_output`: False if an answer has no tokens, as of embeddings.
    - `continued(body, answer)`: returns the body of the request that continues an answer that the provider suspended,
      or None if that answer cannot be continued.
    - `framing(max_event_bytes=)`: for streams that are not server-sent events. Returns an object with
      `feed(data) -> list[ServerEvent]` and, if a body may end within an event, `close()`.
    """

    @property
    def provider(self) -> str:
        """The provider's name in errors and metadata."""

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. Raises `InvalidArgument` for content that the wire cannot express."""

    def decode(self, reply: Reply) -> AIMessage:
        """Return the message of an unstreamed answer with status 200.

        Raises `MalformedResponse` if it is unreadable, or the provider's error if the body contains one.
        """

    def stream_decoder(self, headers: HeaderFields | None = None) -> StreamDecoder:
        """Return a new decoder for one streamed answer; `headers` are the response's, with lower-case names."""

    def error(self, reply: Reply) -> ChatError:
        """Return the error of a response with a status >= 300 and any body; never raises.

        A wait before the next attempt that the body names becomes its `retry_after`.
        """


# The keywords of conditional JSON schemas, which the strict modes do not accept.
CONDITIONS = frozenset(
    ("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties")
)


class ToolDialect(NamedTuple):
    """The form of tools on a wire: `convert(tool, openai_tool, strict=)` returns the dict that is sent for `tool`.

    `openai_tool` is the same tool in OpenAI's form, which every codec accepts too. The other fields describe what the
    wire's own provider accepts; the row of a compatible service has what differs there.
    """

    convert: Callable[..., JSON]
    # The regular expression that a tool's name must match.
    name: str = r".+"
    # The keywords that the outermost schema of the arguments must not have.
    top: frozenset[str] = frozenset()
    # The keywords that no schema may have in strict mode.
    strict: frozenset[str] = frozenset()
    # Strict mode accepts a schema that contains itself.
    strict_recursion: bool = True
    # In strict mode every schema must have a type, and every array a schema of its items.
    strict_types: bool = False
    # The page, or the reason, that the error about a rejected schema names.
    source: str = "strict mode closes every object"
    # Other providers with the same limits.
    clouds: tuple[str, ...] = ()


class StructuredOutput(NamedTuple):
    """The ways in which a wire makes an answer follow a JSON schema.

    `methods` are those of "json_schema", "function_calling" and "json_mode" that the wire has.
    `default(family, params, of_service)` chooses one of them. Its arguments are the family of the model (None if it is
    unknown), a function that returns the parameters as they will be sent, and the method that the row of the service
    names (None without a row). `schema(schema, strict=)` converts a JSON schema to the form that the wire accepts.
    """

    methods: tuple[str, ...]
    default: Callable[[Any, Callable[[], Fields], str | None], str]
    schema: Callable[..., JSON]
    # The limits of strict mode apply to every schema, even without `strict=True`.
    always_strict: bool = False
    # The wire has no field for a description of the schema, so it must be in the schema itself.
    describes_in_schema: bool = False
    # "function_calling" must forbid parallel tool calls.
    one_tool_call: bool = False


class SdkSeat(NamedTuple):
    """The provider's SDK. Its clients can be passed as `client=`, and serve the Batch API.

    `make_client(headers, arguments)` returns a client and the headers that each of its calls needs. Its `headers` are
    those of a chat call, with lower-case names and credentials.
    """

    package: str
    make_client: Callable[[HeaderFields, JSON], tuple[Any, JSON]]
    # The lower-case names of headers that are sent with the client's values and ours together.
    joined_headers: tuple[str, ...] = ()
    # By the name of a client's class, the fields that its cloud requires in the body.
    body_fields: Mapping[str, Fields] = {}


class TokenCounting(NamedTuple):
    """The endpoint of a provider that counts the input tokens of a call."""

    # The providers that have the endpoint.
    providers: tuple[str, ...]
    # Changes the request of a call, in place, into the request that counts its tokens.
    request: Callable[[WireRequest], None]
    # The field of the response with the count.
    field: str
    # The count is that of a call over this wire. False: it is that of a similar call over another wire.
    exact: bool = True
    # Arguments that make a model use the wire whose calls the endpoint counts.
    model_options: Mapping[str, Any] = {}


class AttachmentLimits(NamedTuple):
    """The files that the owner of a wire is documented to reject. A call with such a file warns."""

    image_bytes: int | None = None  # A larger image is rejected. None: no limit is known.
    reads_office_files: bool = True  # False: files of Word, Excel and PowerPoint are rejected.


class Wire(NamedTuple):
    """A wire, as shared code sees it. Creating one imports no codec."""

    # The name that `wire=`, the rows of services and `Codec.wire` use.
    name: str
    # The name in sentences, with a link to the documentation.
    title: str
    # The provider whose API it is.
    owner: str
    # The end of its addresses, such as `/chat/completions`.
    path: str
    # The public class of its models, as `module:class`.
    model_class: str
    # Returns the codec for a provider, the same object each time, as every call needs it.
    codec: Callable[[str], Codec]
    tools: ToolDialect
    structured: StructuredOutput
    # Arguments that make `model_class` use this wire.
    model_options: Mapping[str, Any] = {}
    # The path of a `base_url` of this wire.
    version_path: str = "/v1"
    # Returns the families of its models. None: nothing is known about its models.
    families: Callable[[], ModelFamilies] | None = None
    # None: no SDK's client can send its calls.
    sdk: SdkSeat | None = None
    # None: its provider has no endpoint that counts tokens.
    counting: TokenCounting | None = None
    attachments: AttachmentLimits = AttachmentLimits()
    # The module that converts its content blocks to standard ones, see `modelwire.messages.block_readers`.
    blocks: str | None = None
    # The function, as `module:name`, that applies `prompt_cache` to a request. None: the wire has no parameters for it.
    prompt_cache: str | None = None

    @property
    def batch_api(self) -> Function | None:
        """The class of the wire's Batch API that `register_batch_api` has set; None if there is none."""
        reference = _BATCH_APIS.get(self.name)
        if reference is None:
            return None
        return cast("Callable[..., Any]", loaded(reference))

    def make_model(self, **arguments: Any) -> BaseChatModel:
        """Return a model that uses this wire, created with `arguments`."""
        model_class = loaded(self.model_class)
        return cast("BaseChatModel", model_class(**{**self.model_options, **arguments}))


# By a wire's name, the module that defines its `WIRE`. `wire_named` imports it when it is first needed.
WIRES: dict[str, str] = {
    "openai": "modelwire.adapters.wires.openai_chat",
    "responses": "modelwire.adapters.wires.openai_responses",
    "anthropic": "modelwire.adapters.wires.anthropic",
    "bedrock": "modelwire.adapters.wires.bedrock",
    "gemini": "modelwire.adapters.wires.gemini",
}
# Every compatible service has this wire; its row names the other wires that it has.
HOME_WIRE = "openai"


# By a wire's name, the class of its Batch API as `module:class`.
_BATCH_APIS: dict[str, str] = {}


def register_batch_api(wire: str, reference: str) -> None:
    """Register the Batch API of a wire: `module:class` of a subclass of `modelwire.jobs.batch_api.api.BatchApi`.

    The class is imported for the first batch. Raises: `InvalidArgument` for an unknown wire.
    """
    if wire not in WIRES:
        raise InvalidArgument(f"There is no wire `{wire}`. {did_you_mean(wire, list(WIRES))}")
    _BATCH_APIS[wire] = reference


def codec_at(reference: str) -> Callable[[str], Codec]:
    """Return a function that returns the codec for a provider's name, and remembers it.

    The codec's class is at `module:class`, which the first call imports.
    """

    @lru_cache(maxsize=256)
    def codec(provider: str) -> Codec:
        return cast("Codec", loaded(reference)(provider=provider))

    return codec


def families_at(reference: str) -> Callable[[], ModelFamilies]:
    """Return a function that returns the families at `module:name`, which its call imports."""
    return lambda: cast("ModelFamilies", loaded(reference))


@cache
def wire_named(name: str) -> Wire:
    """Return the wire with this name. Raises KeyError if `WIRES` has no such name."""
    return cast("Wire", import_module(WIRES[name]).WIRE)


def loaded(reference: str) -> Any:
    """Import and return the object at `module:name`."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)

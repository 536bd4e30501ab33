"""`ChatOpenAI`: OpenAI's chat models, and those of every compatible service.

Wire format: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

# This module does without `from __future__ import annotations`: the types of its many fields are evaluated
# once, as code, where pydantic would compile and evaluate each from its text.
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.fields import Field

from modelwire.adapters.model.arguments import service_for
from modelwire.adapters.model.http import HTTPChatModel
from modelwire.adapters.model.lazy_rooms import background
from modelwire.adapters.wires.wire import wire_named
from modelwire.aliases import Kwargs
from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
    from modelwire.adapters.wires.wire import ChatCall, Codec, Wire
    from modelwire.messages import AIMessage
    from modelwire.runnables import RunnableConfig

__all__ = ["ChatOpenAI"]

# The parameters, the tools that OpenAI runs, and the models (beginnings and parts of names) of the Responses API only.
# https://platform.openai.com/docs/api-reference/responses/create, and `ResponsesModel` of openai 3.54; read 2026-11.
RESPONSES_ONLY = frozenset(
    (
        "background",
        "background_options",
        "context_management",
        "conversation",
        "include",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "previous_response_id",
        "prompt",
        "text",
        "truncation",
    )
)
RESPONSES_TOOLS = frozenset(
    (
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use_preview",
        "file_search",
        "image_generation",
        "local_shell",
        "mcp",
        "namespace",
        "programmatic_tool_calling",
        "shell",
        "tool_search",
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    )
)
RESPONSES_MODELS = (
    "o1-pro",
    "computer-use-",
    "codex-",
    "gpt-daybreak-",
    "gpt-rosalind-",
    "gpt-6-rosalind",
)
RESPONSES_MODEL_PARTS = ("-deep-research", "-codex", "-cyber", "-pro", "-law")


class ChatOpenAI(HTTPChatModel):
    """Chat with OpenAI, or with a compatible service, which `provider` names or which is at `base_url`.

    The key comes from `api_key` or `OPENAI_API_KEY`; with your own `base_url` no key is needed. `organization` and
    `project` default to `OPENAI_ORG_ID` and `OPENAI_PROJECT_ID`, `base_url` to `OPENAI_BASE_URL`. With a `provider`
    such as "groq" (`docs/providers.md` lists them) the key variable, the address and the parameters are that service's.

    Calls go to Chat Completions. They go to the Responses API with `use_responses_api=True`, or if OpenAI has a
    parameter, a tool or the model only there. The content of an answer is then a list of blocks; `.text` is all of its
    text.

        ChatOpenAI(model="gpt-4o-mini", temperature=0).invoke("hi").content
    """

    LC_NAMESPACE: ClassVar = ("langchain", "chat_models", "openai")

    organization: str | None = None
    """Organization that is billed for the call (`OPENAI_ORG_ID`)."""
    project: str | None = None
    """Project that is billed for the call (`OPENAI_PROJECT_ID`)."""

    frequency_penalty: float | None = None
    """-2 to 2: above 0, tokens become less likely the more often the answer has them."""
    presence_penalty: float | None = None
    """-2 to 2: above 0, tokens that the answer has already become less likely."""
    seed: int | None = None
    """Number that makes answers repeatable, as far as the provider can."""
    n: int | None = None
    """The number of answers. `invoke` returns the first, `generate` all of them."""
    logprobs: bool | None = None
    """Return the log probabilities of the tokens."""
    top_logprobs: int | None = None
    """The number of alternatives of each token, 0 to 20, whose log probabilities are returned too."""
    logit_bias: dict[int, int] | None = None
    """By token id, a number from -100 to 100 that is added to the token's logit."""
    reasoning_effort: str | None = None
    """How much a reasoning model thinks: "minimal", "low", "medium", "high" ..."""
    verbosity: str | None = None
    """Length of the answer: "low", "medium", "high"."""
    service_tier: str | None = None
    """Class of service: "auto", "default", "flex", "priority"."""
    store: bool | None = None
    """Whether OpenAI stores the answer."""
    user: str | None = None
    """An id of your user, by which the provider can recognise abuse."""
    stream_usage: bool = True
    """Request the token counts of streams too."""
    disabled_params: dict[str, Any] | None = None
    """Parameters that methods such as `bind_tools` never add, such as `{"parallel_tool_calls": None}`. A list has the
    values that are not added. Parameters that a call sets are sent anyway."""

    use_responses_api: bool | None = None
    """True: the Responses API. False: Chat Completions. None: the Responses API if only that has a parameter, a tool or
    the model."""
    use_previous_response_id: bool = False
    """Send only the messages after the latest answer that has an id, and that id."""
    reasoning: dict[str, Any] | None = None
    """Settings of reasoning in the Responses API, such as `{"effort": "low", "summary": "auto"}`."""
    include: list[str] | None = None
    """Additional parts of the answer in the Responses API, such as "reasoning.encrypted_content"."""
    truncation: str | None = None
    """"auto": the Responses API drops old messages that do not fit."""

    provider: str = Field(default="openai", repr=False, exclude=True)
    """Name of a compatible service ("groq", ...), which errors and metadata show."""

    ALIASES: ClassVar = {
        **HTTPChatModel.ALIASES,
        "openai_api_key": "api_key",
        "openai_api_base": "base_url",
        "openai_organization": "organization",
        "openai_proxy": "proxy",
        "root_client": "client",
        "root_async_client": "async_client",
    }
    PARAMETERS: ClassVar = (
        *HTTPChatModel.PARAMETERS,
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "n",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "reasoning_effort",
        "verbosity",
        "service_tier",
        "store",
        "user",
        "reasoning",
        "include",
        "truncation",
    )
    # The parameters without a field of this class:
    # https://platform.openai.com/docs/api-reference/chat/create and .../responses/create, read 2026-11.
    SENDABLE: ClassVar = HTTPChatModel.SENDABLE | frozenset(
        (
            "audio",
            "function_call",
            "functions",
            "metadata",
            "modalities",
            "moderation",
            "parallel_tool_calls",
            "prediction",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "response_format",
            "safety_identifier",
            "stream_options",
            "tool_choice",
            "tools",
            "web_search_options",
            "access_programs",
            "image",
            *RESPONSES_ONLY,
        )
    )
    # https://platform.openai.com/docs/api-reference/authentication, read 2026-11. LangChain reads OPENAI_API_BASE.
    KEY_VARIABLES: ClassVar = ("OPENAI_API_KEY",)
    URL_VARIABLES: ClassVar = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
    DEFAULT_URL: ClassVar = "https://api.openai.com/v1"
    DEFAULT_MODEL: ClassVar = "gpt-3.5-turbo"  # The default of langchain-openai 1.7.
    ENVIRONMENT: ClassVar = {
        "organization": ("OPENAI_ORG_ID", "OPENAI_ORGANIZATION"),
        "project": ("OPENAI_PROJECT_ID",),
    }

    @property
    def _llm_type(self) -> str:
        return "openai-chat"

    def resume_response(
        self, id: str, config: "RunnableConfig | None" = None, **kwargs: Any
    ) -> "AIMessage":
        """Wait until an answer that an earlier call started in the background is final, and return it.

        `id` is the answer's `response_metadata["id"]`; another process may have started it. A timeout in `config`, and
        Ctrl-C, cancel the answer at the provider. Raises the errors of `invoke`, and `IncompleteAnswer` for an answer
        that was cancelled or ended incomplete.
        """
        self._check_responses()
        return background.resume(self, id, config, kwargs)

    async def aresume_response(
        self, id: str, config: "RunnableConfig | None" = None, **kwargs: Any
    ) -> "AIMessage":
        """Wait for an answer that an earlier call started in the background, and return it; see `resume_response`."""
        self._check_responses()
        return await background.aresume(self, id, config, kwargs)

    def _check_responses(self) -> None:
        chosen = self.use_responses_api
        if not chosen and (chosen is False or self.provider != "openai"):
            raise InvalidArgument(
                "Only an answer of the Responses API can be resumed by its id: set `use_responses_api=True`."
            )

    def _codec(self, call: "ChatCall") -> "Codec":
        chosen = self.use_responses_api
        if chosen or (
            chosen is None and self.provider == "openai" and self._is_only_in_responses(call)
        ):
            return wire_named("responses").codec(self.provider)
        return _codec(self.provider, stream_usage=self.stream_usage)

    def _is_only_in_responses(self, call: "ChatCall") -> bool:
        """Return whether only the Responses API has the model, or a parameter or a tool of the call."""
        params = call.params
        model = call.model
        if not RESPONSES_ONLY.isdisjoint(params) or self.use_previous_response_id:
            return True
        reasoning = params.get("reasoning")
        # Only the Responses API has other settings of reasoning, such as a summary.
        if isinstance(reasoning, Mapping) and reasoning.keys() - {"effort", "budget_tokens"}:
            return True
        tools = params.get("tools")
        if tools and any(
            isinstance(tool, Mapping) and tool.get("type") in RESPONSES_TOOLS for tool in tools
        ):
            return True
        return _is_responses_model(model)

    def _params(self) -> Kwargs:
        params = super()._params()
        if self.use_previous_response_id:
            params["use_previous_response_id"] = True
        return params

    def _wire(self) -> "Wire":
        if self.use_responses_api:
            return wire_named("responses")
        return super()._wire()

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _identity_headers(self) -> dict[str, str]:
        named: dict[str, str] = {}
        if self.organization:
            named["OpenAI-Organization"] = self.organization
        if self.project:
            named["OpenAI-Project"] = self.project
        return named


@lru_cache(maxsize=256)
def _is_responses_model(model: str) -> bool:
    if model.startswith(RESPONSES_MODELS):
        return True
    return model.startswith(("gpt-", "o3", "o4")) and any(
        part in model for part in RESPONSES_MODEL_PARTS
    )


@lru_cache(maxsize=256)
def _codec(provider: str, *, stream_usage: bool) -> "ChatCompletionsCodec":
    from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
    from modelwire.adapters.wires.openai_chat.messages import Dialect

    service = service_for(ChatOpenAI, {"provider": provider})
    if service is None:
        return ChatCompletionsCodec(provider=provider, takes_stream_options=stream_usage)
    return ChatCompletionsCodec(
        provider=provider,
        max_tokens_name=service.max_tokens_name,
        takes_stream_options=stream_usage and service.takes_stream_options,
        renames=service.renames,
        dialect=Dialect(
            frozenset(service.blocks),
            service.cache_control,
            service.replayed,
            service.replays_thinking,
        ),
    )

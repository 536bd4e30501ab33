"""`ChatAnthropic`: Anthropic's chat models, and those of every service that has Anthropic's Messages API.

Wire format: https://docs.anthropic.com/en/api/messages, read 2026-11.
"""

# This module does without `from __future__ import annotations`: the types of its many fields are evaluated
# once, as code, where pydantic would compile and evaluate each from its text.
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.fields import Field

from modelwire.adapters.model.http import HTTPChatModel
from modelwire.aliases import Kwargs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelwire.adapters.wires.wire import ChatCall
    from modelwire.messages import BaseMessage

__all__ = ["ChatAnthropic"]


class ChatAnthropic(HTTPChatModel):
    """Chat with Anthropic's models, or with a service that has Anthropic's Messages API, at `base_url`.

    The credential is `api_key` or `auth_token` (a bearer token), each a text or a function that returns one, sync or
    async. If neither is set, it is `ANTHROPIC_API_KEY`, else `ANTHROPIC_AUTH_TOKEN`. With your own `base_url` no
    credential is needed. `base_url` defaults to `ANTHROPIC_BASE_URL`. The API requires `max_tokens`: the default is the
    most that the model can write.

        ChatAnthropic(model="claude-sonnet-4-5").invoke("hi").content
    """

    LC_NAMESPACE: ClassVar = ("langchain", "chat_models", "anthropic")

    auth_token: Any = Field(default=None, repr=False, exclude=True)
    """Bearer token in place of `api_key`: a string or a function (`ANTHROPIC_AUTH_TOKEN`)."""

    top_k: int | None = None
    """The number of likeliest tokens from which each token is chosen."""
    thinking: dict[str, Any] | None = None
    """Extended thinking, such as `{"type": "enabled", "budget_tokens": 2000}`."""
    effort: str | None = None
    """How much the model thinks and writes: "low", "medium", "high" ..."""
    output_config: dict[str, Any] | None = None
    """Settings of the answer in the Messages API's form, such as `{"effort": "low"}`."""
    betas: list[str] | None = None
    """Beta features for the header `anthropic-beta`. Those that other parameters need are added."""
    mcp_servers: list[dict[str, Any]] | None = Field(default=None, repr=False)
    """MCP servers that Anthropic calls."""
    context_management: dict[str, Any] | None = None
    """Rules by which Anthropic edits a long context, such as clearing old tool results."""
    container: dict[str, Any] | str | None = None
    """Id or description of a container for code execution."""
    reuse_last_container: bool | None = None
    """Use the container that the latest answer names."""
    inference_geo: str | None = None
    """Region in which the model runs."""
    service_tier: str | None = None
    """Class of service: "auto" or "standard_only"."""
    speed: str | None = None
    """"fast" or "standard", for models that have both."""
    user_profile_id: str | None = None
    """Id of your user's profile at Anthropic."""

    provider: str = Field(default="anthropic", repr=False, exclude=True)
    """Name of a compatible service, which errors and metadata show."""

    ALIASES: ClassVar = {
        **HTTPChatModel.ALIASES,
        "anthropic_api_key": "api_key",
        "anthropic_api_url": "base_url",
        "anthropic_proxy": "proxy",
        "default_request_timeout": "timeout",
        "reasoning_effort": "effort",
    }
    PARAMETERS: ClassVar = (
        *HTTPChatModel.PARAMETERS,
        "top_k",
        "thinking",
        "effort",
        "output_config",
        "betas",
        "mcp_servers",
        "context_management",
        "container",
        "inference_geo",
        "service_tier",
        "speed",
        "user_profile_id",
    )
    # anthropic 2.11, `beta.message_create_params`. `metadata` is missing, because every model has a field of that name.
    SENDABLE: ClassVar = HTTPChatModel.SENDABLE | frozenset(
        (
            "billing_policy",
            "cache_control",
            "compaction",
            "diagnostics",
            "fallback_credit_token",
            "fallbacks",
            "system",
            "thread",
            "workspace_id",
        )
    )
    # https://docs.anthropic.com/en/api/client-sdks, read 2026-11. LangChain reads ANTHROPIC_API_URL.
    KEY_VARIABLES: ClassVar = ("ANTHROPIC_API_KEY",)
    URL_VARIABLES: ClassVar[tuple[str, ...]] = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_URL")
    DEFAULT_URL: ClassVar = "https://api.anthropic.com"
    ENVIRONMENT: ClassVar = {"auth_token": ("ANTHROPIC_AUTH_TOKEN",)}
    SECRETS: ClassVar[tuple[str, ...]] = (*HTTPChatModel.SECRETS, "auth_token")
    WIRE: ClassVar = "anthropic"

    @property
    def _llm_type(self) -> str:
        return "anthropic-chat"

    def _params(self) -> Kwargs:
        params = super()._params()
        # The API accepts only `user_id` in its metadata: https://docs.anthropic.com/en/api/messages, read 2026-11.
        if self.metadata and self.metadata.keys() == {"user_id"}:
            params.setdefault("metadata", dict(self.metadata))
        config = params.get("output_config")
        if isinstance(config, dict) and "effort" in config:  # A call may set `effort` alone.
            config = dict(config)
            params.setdefault("effort", config.pop("effort"))
            params["output_config"] = config
        return params

    def _call(
        self,
        messages: "Sequence[BaseMessage]",
        stop: list[str] | str | None,
        kwargs: Kwargs,
        *,
        stream: bool,
        **credential: Any,
    ) -> "ChatCall":
        if self.reuse_last_container and self.container is None and "container" not in kwargs:
            for message in reversed(messages):
                container = message.response_metadata.get("container")
                if isinstance(container, dict) and container.get("id"):
                    kwargs["container"] = container["id"]
                    break
        return super()._call(messages, stop, kwargs, stream=stream, **credential)

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"x-api-key": key}

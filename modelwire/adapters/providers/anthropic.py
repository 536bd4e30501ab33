"""`ChatAnthropic`: Anthropic's chat models, and those of every service that speaks Messages.

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
    """Chat with Anthropic's models, or with a service that speaks Messages, at `base_url`.

    The credential is `api_key` or `auth_token` (a bearer token), each a text or a function that returns one, sync or
    async; if neither is set, `ANTHROPIC_API_KEY` or else `ANTHROPIC_AUTH_TOKEN`. With a `base_url` of your own none is
    needed. `base_url` defaults to `ANTHROPIC_BASE_URL`. The API requires `max_tokens`: the default is the most that the
    model can write.

        ChatAnthropic(model="claude-sonnet-4-5").invoke("hi").content
    """

    LC_NAMESPACE: ClassVar = ("langchain", "chat_models", "anthropic")

    auth_token: Any = Field(default=None, repr=False, exclude=True)
    """Bearer token in place of `api_key`: a string or a function (`ANTHROPIC_AUTH_TOKEN`)."""

    top_k: int | None = None
    """How many of the likeliest tokens to choose from."""
    thinking: dict[str, Any] | None = None
    """Extended thinking, such as `{"type": "enabled", "budget_tokens": 2000}`."""
    effort: str | None = None
    """How much the model thinks and writes: "low", "medium", "high" ..."""
    output_config: dict[str, Any] | None = None
    """Form of the answer, as the Messages API has it."""
    betas: list[str] | None = None
    """Features for the header `anthropic-beta`, beside those that parameters need."""
    mcp_servers: list[dict[str, Any]] | None = Field(default=None, repr=False)
    """MCP servers that Anthropic calls."""
    context_management: dict[str, Any] | None = None
    """How Anthropic edits a long context."""
    container: dict[str, Any] | str | None = None
    """Id or description of a container for code execution."""
    reuse_last_container: bool | None = None
    """Go on in the container that the latest answer names."""
    inference_geo: str | None = None
    """Region in which the model runs."""
    service_tier: str | None = None
    """Class of service: "auto" or "standard_only"."""
    speed: str | None = None
    """"fast" or "standard", where the model has it."""
    user_profile_id: str | None = None
    """Profile of your user, as the Messages API has it."""

    provider: str = Field(default="anthropic", repr=False, exclude=True)
    """Name of a compatible service; errors and metadata name it too."""

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
    # anthropic 2.11, `beta.message_create_params`; `metadata` is a field of every model's, so `model_kwargs` has it.
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
    # https://docs.anthropic.com/en/api/client-sdks, read 2026-11; ANTHROPIC_API_URL is LangChain's.
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
        # The API takes `user_id` there and nothing else: https://docs.anthropic.com/en/api/messages, read 2026-11.
        if self.metadata and self.metadata.keys() == {"user_id"}:
            params.setdefault("metadata", dict(self.metadata))
        config = params.get("output_config")
        if isinstance(config, dict) and "effort" in config:  # a call may set one without the other
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
            named = (message.response_metadata.get("container") for message in reversed(messages))
            if (
                last := next(
                    (it["id"] for it in named if isinstance(it, dict) and it.get("id")), None
                )
            ) is not None:
                kwargs["container"] = last
        return super()._call(messages, stop, kwargs, stream=stream, **credential)

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"x-api-key": key}

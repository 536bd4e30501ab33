"""`ChatAnthropic`: Anthropic's chat models, and those of every service that speaks Messages.

Wire format: https://docs.anthropic.com/en/api/messages, read 2026-11.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.fields import Field

from modelwire.adapters.anthropic.messages_codec import MessagesCodec
from modelwire.adapters.base import WireChatModel
from modelwire.adapters.secret import reveal

if TYPE_CHECKING:
    from modelwire.adapters.codec import Codec

__all__ = ["ChatAnthropic"]


class ChatAnthropic(WireChatModel):
    """Chat with Anthropic's models, or with a service that speaks Messages, at `base_url`.

    The key comes from `api_key` or `ANTHROPIC_API_KEY`, a bearer token from `auth_token` or `ANTHROPIC_AUTH_TOKEN`;
    under a `base_url` of your own neither is needed. `base_url` defaults to `ANTHROPIC_BASE_URL`. The wire wants
    `max_tokens`: left out, it is as much as the model can say.

        ChatAnthropic(model="claude-sonnet-4-5").invoke("hi").content
    """

    auth_token: Any = Field(default=None, repr=False, exclude=True)

    top_k: int | None = None
    thinking: dict[str, Any] | None = None
    effort: str | None = None
    betas: list[str] | None = None
    mcp_servers: list[dict[str, Any]] | None = None
    context_management: dict[str, Any] | None = None
    service_tier: str | None = None

    provider: str = Field(default="anthropic", repr=False, exclude=True)  # as errors and metadata name it

    ALIASES: ClassVar = {
        **WireChatModel.ALIASES,
        "anthropic_api_key": "api_key",
        "anthropic_api_url": "base_url",
        "anthropic_proxy": "proxy",
        "default_request_timeout": "timeout",
    }
    PARAMETERS: ClassVar = (
        *WireChatModel.PARAMETERS,
        "top_k", "thinking", "betas", "mcp_servers", "context_management", "service_tier",
    )  # fmt: skip
    # https://docs.anthropic.com/en/api/client-sdks, read 2026-11; ANTHROPIC_API_URL is LangChain's.
    KEY_VARIABLES: ClassVar = ("ANTHROPIC_API_KEY",)
    URL_VARIABLES: ClassVar = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_URL")
    DEFAULT_URL: ClassVar = "https://api.anthropic.com"
    ENVIRONMENT: ClassVar = {"auth_token": ("ANTHROPIC_AUTH_TOKEN",)}
    SECRETS: ClassVar = (*WireChatModel.SECRETS, "auth_token")
    TOOL_SHAPE: ClassVar = "anthropic"

    @property
    def _llm_type(self) -> str:
        return "anthropic-chat"

    def _codec(self) -> Codec:
        return _codec(self.provider)

    def _params(self) -> dict[str, Any]:
        params = super()._params()
        if self.effort is not None:
            params["output_config"] = {"effort": self.effort, **params.get("output_config", {})}
        return params

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"x-api-key": key}

    def _identity_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"} if (token := reveal(self.auth_token)) else {}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return {**super()._get_ls_params(stop, **kwargs), "ls_provider": self.provider}


@cache
def _codec(provider: str) -> MessagesCodec:
    return MessagesCodec(provider=provider)

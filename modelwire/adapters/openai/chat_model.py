"""`ChatOpenAI`: OpenAI's chat models, and those of every service that speaks like them.

Wire format: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.fields import Field

from modelwire.adapters.base import WireChatModel
from modelwire.adapters.openai.chat_completions import ChatCompletionsCodec
from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from modelwire.adapters.codec import ChatCall, Codec

__all__ = ["ChatOpenAI"]


class ChatOpenAI(WireChatModel):
    """Chat with OpenAI, or with a service that speaks Chat Completions, at `base_url`.

    The key comes from `api_key` or `OPENAI_API_KEY`; under a `base_url` of your own none is needed. `organization`
    and `project` default to `OPENAI_ORG_ID` and `OPENAI_PROJECT_ID`, `base_url` to `OPENAI_BASE_URL`.

        ChatOpenAI(model="gpt-4o-mini", temperature=0).invoke("hi").content
    """

    organization: str | None = None
    project: str | None = None

    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[int, int] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    user: str | None = None
    stream_usage: bool = True  # ask for the token counts of streams too

    provider: str = Field(default="openai", repr=False, exclude=True)  # as errors and metadata name it

    ALIASES: ClassVar = {
        **WireChatModel.ALIASES,
        "openai_api_key": "api_key",
        "openai_api_base": "base_url",
        "openai_organization": "organization",
        "openai_proxy": "proxy",
    }
    PARAMETERS: ClassVar = (
        *WireChatModel.PARAMETERS,
        "frequency_penalty", "presence_penalty", "seed", "n", "logprobs", "top_logprobs", "logit_bias",
        "reasoning_effort", "verbosity", "service_tier", "store", "user",
    )  # fmt: skip
    # https://platform.openai.com/docs/api-reference/authentication, read 2026-11; OPENAI_API_BASE is LangChain's.
    KEY_VARIABLES: ClassVar = ("OPENAI_API_KEY",)
    URL_VARIABLES: ClassVar = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
    DEFAULT_URL: ClassVar = "https://api.openai.com/v1"
    ENVIRONMENT: ClassVar = {
        "organization": ("OPENAI_ORG_ID", "OPENAI_ORGANIZATION"),
        "project": ("OPENAI_PROJECT_ID",),
    }

    @classmethod
    def _read_arguments(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name in ("use_responses_api", "client"):
            if given.get(name):
                raise InvalidArgument(f"`{name}` is not supported yet: `ChatOpenAI` speaks Chat Completions by itself.")
            given.pop(name, None)
        return super()._read_arguments(given)

    @property
    def _llm_type(self) -> str:
        return "openai-chat"

    def _codec(self, call: ChatCall) -> Codec:
        return _codec(self.provider, stream_usage=self.stream_usage)

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _identity_headers(self) -> dict[str, str]:
        named = {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}
        return {name: value for name, value in named.items() if value}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return {**super()._get_ls_params(stop, **kwargs), "ls_provider": self.provider}


@cache
def _codec(provider: str, *, stream_usage: bool) -> ChatCompletionsCodec:
    return ChatCompletionsCodec(provider=provider, takes_stream_options=stream_usage)

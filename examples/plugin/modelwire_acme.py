"""Two providers for modelwire: a row for a service that speaks OpenAI's wire, and a class for one that does not."""

from __future__ import annotations

from typing import Any

from modelwire import AIMessage
from modelwire.adapters import BaseChatModel, Service
from modelwire.outputs import ChatGeneration, ChatResult

ACME = Service(
    name="acme",
    docs="https://acme.example/docs",  # named in errors
    base_url="https://api.acme.example/v1",
    keys=("ACME_API_KEY",),
    url_variables=("ACME_BASE_URL",),
    lacks=("logprobs", "top_logprobs"),  # what it would answer with an error
    max_tokens_name="max_completion_tokens",
)


class ChatAcmeEcho(BaseChatModel):
    """Answers with what it is asked; the model "loud" in capitals."""

    model: str
    temperature: float | None = None

    @property
    def _llm_type(self) -> str:
        return "acme-echo"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        text = messages[-1].text.upper() if self.model == "loud" else messages[-1].text
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

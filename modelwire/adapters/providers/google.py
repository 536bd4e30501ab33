"""The chat models of Google: Gemini on the Gemini API and on Vertex AI, and Anthropic's models on Vertex AI.

Wire format: https://ai.google.dev/api/generate-content; addresses and credentials of Vertex AI:
https://cloud.google.com/vertex-ai/generative-ai/docs/start/gcp-auth, read 2026-11.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic.fields import Field

from modelwire.adapters.model.http import HTTPChatModel
from modelwire.adapters.providers.anthropic import ChatAnthropic
from modelwire.adapters.providers.google_credentials import GoogleToken
from modelwire.adapters.wires.wire import Endpoint
from modelwire.aliases import HeaderFields, Kwargs, Values
from modelwire.errors import InvalidArgument, warn_caller

if TYPE_CHECKING:
    from modelwire.adapters.model.secret import Secret
    from modelwire.adapters.wires.wire import ChatCall, Codec
    from modelwire.transport.retry import RetryPolicy

__all__ = ["ChatAnthropicVertex", "ChatGoogleGenerativeAI", "ChatVertexAI"]

VERTEX = "google_vertexai"
LOCATIONS = "https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations"
_USE_VERTEX = ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE")
_PROJECT = ("GOOGLE_CLOUD_PROJECT",)
_LOCATION = ("GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION")


class GoogleCloudModel(HTTPChatModel):
    """Base class of models on Vertex AI, with a project, a location and Google's credentials."""

    project: str | None = None
    """Project of Google Cloud (`GOOGLE_CLOUD_PROJECT`). Unset: the project of the credentials."""
    location: str | None = None
    """Location on Vertex AI, such as "europe-west4" (`GOOGLE_CLOUD_LOCATION`). Unset: "global"."""
    credentials: Any = Field(default=None, repr=False, exclude=True)
    """Credentials of google-auth, or a function that returns a token. Unset: the credentials that google-auth finds."""

    SECRETS: ClassVar[tuple[str, ...]] = ("api_key", "credentials")
    VERTEX_VERSION: ClassVar[str] = "v1beta1"

    @classmethod
    def _is_on_vertex(cls, values: Values) -> bool:
        return True

    @classmethod
    def _ask_environment(cls, values: Kwargs) -> None:
        super()._ask_environment(values)
        credentials = values.get("credentials")
        if (
            credentials is not None
            and not callable(credentials)
            and not hasattr(credentials, "get_secret_value")
        ):
            values["credentials"] = GoogleToken(credentials)
        elif credentials is None and values.get("api_key") is None and cls._is_on_vertex(values):
            values["credentials"] = GoogleToken()

    def model_post_init(self, context: Any, /) -> None:
        if self.project is not None and not re.fullmatch(r"[\w.:-]+", self.project, re.ASCII):
            raise InvalidArgument(
                f"`project` must be letters, digits and dashes, not {self.project!r}."
            )
        if self.location is not None and not re.fullmatch(r"[a-z]+(-[a-z]+\d+)?", self.location):
            raise InvalidArgument(
                f"There is no `location` {self.location!r}. A location is `global` or such as `europe-west4`: "
                f"{LOCATIONS}."
            )
        super().model_post_init(context)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        if self.credentials is None and self.api_key is None and self._is_on_vertex(self.__dict__):
            self.credentials = GoogleToken()

    def _identity_headers(self) -> dict[str, str]:
        paying = getattr(self.credentials, "quota_project", None)
        if paying:
            return {"x-goog-user-project": paying}
        return {}

    def _endpoint(
        self,
        headers: HeaderFields | None = None,
        *,
        key: Secret | None = None,
        ask: bool = True,
    ) -> Endpoint:
        """Return the endpoint, on Vertex AI with the address of the project.

        An API key without a project uses the express mode of Vertex AI, whose address has no project.
        """
        endpoint = super()._endpoint(headers, key=key, ask=ask)
        # Classes without this field are on Vertex AI only.
        is_on_vertex = getattr(self, "vertexai", True)
        if not is_on_vertex:
            return endpoint
        location = self.location or "global"
        in_project = self.project or self.api_key is None
        base, mark, query = endpoint.base_url.partition("?")
        if self.base_url is None:
            base = f"https://{_host(location if in_project else 'global')}"
        if not re.search(r"/v\d\w*(/|$)", base):
            base += f"/{self.VERTEX_VERSION}"
        if "/projects/" not in base and in_project:
            base += f"/projects/{self.project or self._project_of_credentials(ask=ask)}/locations/{location}"
        return Endpoint(f"{base}{mark}{query}", endpoint.headers)

    def _project_of_credentials(self, *, ask: bool) -> str:
        """Return the project of the credentials; "-" with `ask=False`, which never looks for credentials.

        Raises `InvalidArgument` if the credentials have no project.
        """
        find = getattr(self.credentials, "project", None)
        project = find() if ask and find is not None else None
        if project is None and ask:
            raise InvalidArgument(
                f"`{type(self).__name__}` needs a project on Vertex AI: set `GOOGLE_CLOUD_PROJECT` in the environment, "
                "or pass `project=`."
            )
        return project or "-"


def _host(location: str) -> str:
    # https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations
    if location in ("us", "eu"):
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{'' if location == 'global' else location + '-'}aiplatform.googleapis.com"


class ChatGoogleGenerativeAI(GoogleCloudModel):
    """Chat with Gemini, on the Gemini API (AI Studio) or on Vertex AI.

    On the Gemini API the key is `api_key`, `GOOGLE_API_KEY` or `GEMINI_API_KEY`. On Vertex AI, which `vertexai=True`,
    `project`, `credentials` or `GOOGLE_GENAI_USE_VERTEXAI` selects, the credentials are those of google-auth. An
    `api_key` without a project uses the express mode of Vertex AI.

    `reasoning={"effort": "low"}` works as with every provider; `thinking_budget`, `thinking_level` and
    `include_thoughts` are Gemini's own parameters. The `content` of an answer with anything but plain text is a list of
    standard blocks. Their `extras` have the signatures of thoughts, which later requests send with the history.

        ChatGoogleGenerativeAI(model="gemini-2.5-flash").invoke("hi").content
    """

    LC_NAMESPACE: ClassVar = ("langchain", "chat_models", "google_generativeai")

    vertexai: bool | None = None
    """True: Vertex AI. False: the Gemini API. Unset: the other settings and the environment decide."""
    top_k: int | None = None
    """The number of likeliest tokens from which each token is chosen."""
    n: int | None = None
    """The number of answers (`candidateCount`). `invoke` returns the first, `generate` all of them."""
    seed: int | None = None
    """Number that makes answers repeatable, as far as the provider can."""
    presence_penalty: float | None = None
    """-2 to 2: above 0, tokens that the answer has already become less likely."""
    frequency_penalty: float | None = None
    """-2 to 2: above 0, tokens become less likely the more often the answer has them."""
    thinking_budget: int | None = None
    """The most tokens of thinking, on models 2.5. 0: none, if the model can do without. -1: the model decides."""
    thinking_level: str | None = None
    """How much to think, on models 3: "minimal", "low", "medium", "high"."""
    include_thoughts: bool | None = None
    """Return summaries of the thoughts as reasoning blocks."""
    reasoning: dict[str, Any] | None = None
    """How much to think, in the form of every provider: `{"effort": "low"}` or `{"budget_tokens": 2000}`."""
    safety_settings: Any = None
    """The content to block: a dict of category to threshold, or the API's list."""
    response_mime_type: str | None = None
    """Mime type of the answer: "application/json" or "text/x.enum"."""
    response_schema: dict[str, Any] | None = None
    """Schema of the answer in the form of OpenAPI. It needs `response_mime_type`."""
    response_modalities: list[Any] | None = None
    """The kinds of content that the answer may have: "TEXT", "IMAGE", "AUDIO"."""
    media_resolution: str | None = None
    """The resolution at which the model sees images and videos, such as "MEDIA_RESOLUTION_LOW"."""
    speech_config: dict[str, Any] | None = None
    """Voices of spoken answers."""
    image_config: dict[str, Any] | None = None
    """Size and shape of images, such as `{"aspectRatio": "16:9"}`."""
    cached_content: str | None = None
    """Name of a stored prompt: "cachedContents/ID"."""
    labels: dict[str, str] | None = None
    """Labels that Vertex AI shows in the bill."""

    provider: str = Field(default="google_genai", repr=False, exclude=True)
    """The provider's name in errors and metadata."""

    ALIASES: ClassVar = {
        **HTTPChatModel.ALIASES,
        "google_api_key": "api_key",
        "max_output_tokens": "max_tokens",
        "candidate_count": "n",
        "retries": "max_retries",
        "additional_headers": "default_headers",
        "api_endpoint": "base_url",
        "project_id": "project",
        "region": "location",
    }
    PARAMETERS: ClassVar = (
        *HTTPChatModel.PARAMETERS,
        "top_k",
        "n",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "thinking_budget",
        "thinking_level",
        "include_thoughts",
        "reasoning",
        "safety_settings",
        "response_mime_type",
        "response_schema",
        "response_modalities",
        "media_resolution",
        "speech_config",
        "image_config",
        "cached_content",
        "labels",
    )
    # google-genai 3.4, `GenerateContentConfig`, and the other fields of the body.
    SENDABLE: ClassVar = HTTPChatModel.SENDABLE | frozenset(
        (
            "response_json_schema",
            "response_logprobs",
            "audio_timestamp",
            "thinking_config",
            "tool_config",
            "generation_config",
            "modalities",
            "model_armor_config",
            "routing_config",
            "model_selection_config",
            "automatic_continuation",
            "continuation_token",
            "audio_transcription_config",
            "generation_output_config",
        )
    )
    WITHOUT_EFFECT: ClassVar = {
        **HTTPChatModel.WITHOUT_EFFECT,
        "convert_system_message_to_human": "",
        "transport": "",
        "wait_exponential_kwargs": "",
        "client_args": "",
        "client_options": "set `base_url` and `default_headers`",
    }
    # https://ai.google.dev/gemini-api/docs/api-key, read 2026-11
    KEY_VARIABLES: ClassVar = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    URL_VARIABLES: ClassVar = ("GOOGLE_GEMINI_BASE_URL",)
    DEFAULT_URL: ClassVar = "https://generativelanguage.googleapis.com"
    WIRE: ClassVar = "gemini"

    @property
    def _llm_type(self) -> str:
        return "chat-google-generative-ai"

    @classmethod
    def _is_on_vertex(cls, values: Values) -> bool:
        if (chosen := values.get("vertexai")) is not None:
            return bool(chosen)
        if values.get("credentials") is not None or (
            values.get("project") and values.get("api_key") is None
        ):
            return True
        return any(os.environ.get(name, "").lower() in ("true", "1") for name in _USE_VERTEX)

    @classmethod
    def _read_arguments(cls, kwargs: Kwargs) -> Kwargs:
        if "automatic_continuation" in kwargs:
            kwargs = dict(kwargs)
            if kwargs.pop("automatic_continuation") is False:
                kwargs.setdefault("max_continuations", 0)
        if kwargs.get("provider") == VERTEX:
            kwargs = {**kwargs, "vertexai": kwargs.get("vertexai", True)}
            del kwargs["provider"]
        values = super()._read_arguments(kwargs)
        if values.get("vertexai") and "provider" not in values:
            values["provider"] = VERTEX
        return values

    def _retry_settings(self, kwargs: Kwargs) -> tuple[Kwargs, RetryPolicy]:
        if kwargs.pop("automatic_continuation", None) is False:
            kwargs.setdefault("max_continuations", 0)
        return super()._retry_settings(kwargs)

    @classmethod
    def _ask_environment(cls, values: Kwargs) -> None:
        if cls._is_on_vertex(values):
            values["vertexai"] = True
        elif idle := " and ".join(
            f"`{name}`" for name in ("project", "location") if values.get(name)
        ):
            verb = "have" if " and " in idle else "has"
            warn_caller(
                f"{idle} {verb} no effect on the Gemini API, which an API key selects: pass `vertexai=True` for "
                "Vertex AI."
            )
        elif values.get("api_key") is None and all(
            os.environ.get(name) for name in cls.KEY_VARIABLES
        ):
            warn_caller(
                "`GOOGLE_API_KEY` and `GEMINI_API_KEY` are both set: the first is used, as Google's SDK does."
            )
        super()._ask_environment(values)

    @classmethod
    def _environment_fields(cls, values: Values) -> Mapping[str, tuple[str, ...]]:
        if not cls._is_on_vertex(values):
            return super()._environment_fields(values)
        fields = {"location": _LOCATION, "base_url": ("GOOGLE_VERTEX_BASE_URL",)}
        # As in google-genai, an API key in the code excludes the environment's project, which excludes its API key.
        if values.get("api_key") is not None:
            return fields
        has_project = values.get("project") or any(os.environ.get(name) for name in _PROJECT)
        if has_project:
            return {**fields, "project": _PROJECT}
        return {**fields, "api_key": cls.KEY_VARIABLES}

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}


class ChatVertexAI(ChatGoogleGenerativeAI):
    """Chat with Gemini on Vertex AI: `ChatGoogleGenerativeAI` under the name that LangChain's scripts use.

    ChatVertexAI(model="gemini-2.5-flash", project="my-project").invoke("hi").content
    """

    vertexai: bool | None = True
    """True: Vertex AI. False: the Gemini API."""
    provider: str = Field(default=VERTEX, repr=False, exclude=True)
    """The provider's name in errors and metadata."""

    @classmethod
    def _is_on_vertex(cls, values: Values) -> bool:
        return values.get("vertexai", True) is not False


class ChatAnthropicVertex(GoogleCloudModel, ChatAnthropic):
    """Chat with Anthropic's models on Vertex AI, in your project.

    The credentials are those of google-auth. `location` defaults to `GOOGLE_CLOUD_LOCATION`, else to "global".

        ChatAnthropicVertex(model="claude-sonnet-4-5@20250929", project="my-project").invoke("hi").content
    """

    LC_NAMESPACE: ClassVar = ("langchain", "chat_models", "anthropic_vertex")

    provider: str = Field(default="google_anthropic_vertex", repr=False, exclude=True)
    """The provider's name in errors and metadata."""

    ALIASES: ClassVar = {**ChatAnthropic.ALIASES, "project_id": "project", "region": "location"}
    SECRETS: ClassVar[Any] = ("credentials",)
    URL_VARIABLES: ClassVar = ("ANTHROPIC_VERTEX_BASE_URL",)
    VERTEX_VERSION: ClassVar = "v1"

    @classmethod
    def _environment_fields(cls, values: Values) -> Mapping[str, tuple[str, ...]]:
        # The names of anthropic 2.11, `AnthropicVertex`, after Google's own names.
        return {
            "project": (*_PROJECT, "ANTHROPIC_VERTEX_PROJECT_ID"),
            "location": (*_LOCATION, "CLOUD_ML_REGION"),
            "base_url": cls.URL_VARIABLES,
        }

    def _codec(self, call: ChatCall) -> Codec:
        from modelwire.adapters.wires.anthropic.vertex import VertexMessagesCodec

        return VertexMessagesCodec(provider=self.provider)

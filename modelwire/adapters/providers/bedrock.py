"""`ChatBedrockConverse`: the chat models of Amazon Bedrock, over Converse.

Wire format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11. Requests
have a bearer key, or are signed with credentials that botocore (extra `bedrock`) finds and renews.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic.fields import Field

from modelwire.adapters.model.http import HTTPChatModel
from modelwire.adapters.model.secret import Secret, reveal
from modelwire.adapters.providers.aws import Keys, SignedCall, region_of_profile
from modelwire.aliases import JSON, Kwargs, Values
from modelwire.errors import InvalidArgument

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall, Codec
    from modelwire.messages import BaseMessage

__all__ = ["ChatBedrockConverse"]

REGIONS = "https://docs.aws.amazon.com/general/latest/gr/bedrock.html"
_CREDENTIALS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


class ChatBedrockConverse(HTTPChatModel):
    """Chat with the models of Amazon Bedrock, over its Converse API.

    `model` is the id or the ARN of a model or of an inference profile (`us.anthropic.claude-...`). `region_name`
    defaults to `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile's region. The credential is `api_key` (a Bedrock API
    key), `aws_access_key_id` and `aws_secret_access_key` (with `aws_session_token` if they are temporary), or
    `credentials_profile_name`. If none is set, it is `AWS_BEARER_TOKEN_BEDROCK`, else what botocore finds in the
    environment, a profile, a web identity, the container or the instance, which needs the extra `bedrock`.

        ChatBedrockConverse(model="us.anthropic.claude-sonnet-4-5-20250929-v1:0", region_name="us-east-1").invoke("hi")
    """

    LC_NAMESPACE: ClassVar = ("langchain_aws", "chat_models")

    region_name: str | None = None
    """AWS region, such as "us-east-1"."""
    credentials_profile_name: str | None = None
    """Profile of `~/.aws/config` whose credentials sign the calls."""
    aws_access_key_id: Any = Field(default=None, repr=False, exclude=True)
    """Access key; needs `aws_secret_access_key`."""
    aws_secret_access_key: Any = Field(default=None, repr=False, exclude=True)
    """Secret access key."""
    aws_session_token: Any = Field(default=None, repr=False, exclude=True)
    """Session token of temporary credentials."""
    credentials: Any = Field(default=None, repr=False, exclude=True)
    """Credentials object of botocore or boto3, which renews itself."""
    base_model: str | None = None
    """Name of the model behind an ARN. It decides which parameters are sent."""

    system: list[Any] | str | None = None
    """System prompt of every call, before the system messages: a text, or a list of texts and blocks."""
    guardrail_config: dict[str, Any] | None = None
    """Guardrail: `guardrailIdentifier`, `guardrailVersion`, `trace`."""
    guard_last_turn_only: bool | None = None
    """Apply the guardrail to the last user turn only."""
    additional_model_request_fields: dict[str, Any] | None = None
    """Parameters of the model that Converse has no field for."""
    additional_model_response_field_paths: list[str] | None = None
    """JSON pointers to fields of the model's own answer that the metadata include."""
    performance_config: dict[str, Any] | None = None
    """`{"latency": "optimized"}` or `{"latency": "standard"}`."""
    service_tier: str | None = None
    """Class of service: "priority", "default", "flex" or "reserved"."""
    request_metadata: dict[str, str] | None = None
    """Pairs of name and value by which you can filter the logs of calls."""

    provider: str = Field(default="bedrock_converse", repr=False, exclude=True)
    """The provider's name in errors and metadata."""

    ALIASES: ClassVar = {
        **HTTPChatModel.ALIASES,
        "model_id": "model",
        "base_model_id": "base_model",
        "endpoint_url": "base_url",
        "guardrails": "guardrail_config",
        "bedrock_api_key": "api_key",
    }
    PARAMETERS: ClassVar = (
        *HTTPChatModel.PARAMETERS,
        "system",
        "guardrail_config",
        "guard_last_turn_only",
        "additional_model_request_fields",
        "additional_model_response_field_paths",
        "performance_config",
        "service_tier",
        "request_metadata",
    )
    SENDABLE: ClassVar = HTTPChatModel.SENDABLE | {"prompt_variables", "reasoning_config"}
    WITHOUT_EFFECT: ClassVar = {
        **HTTPChatModel.WITHOUT_EFFECT,
        "config": "set `timeout`, `max_retries`, `proxy`",
        "bedrock_client": "",
        "supports_tool_choice_values": "name the model behind an ARN in `base_model`",
        "raw_blocks": 'send blocks in Converse\'s own form as {"type": "non_standard", "value": {...}}',
    }
    KEY_VARIABLES: ClassVar = ("AWS_BEARER_TOKEN_BEDROCK",)
    URL_VARIABLES: ClassVar = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME",)
    ENVIRONMENT: ClassVar = {"region_name": ("AWS_REGION", "AWS_DEFAULT_REGION")}
    SIGNED_BY: ClassVar = ("aws_access_key_id", "credentials_profile_name", "credentials")
    WIRE: ClassVar = "bedrock"

    @property
    def _llm_type(self) -> str:
        return "amazon_bedrock_converse_chat"

    @classmethod
    def create_cache_point(cls, cache_type: str = "default") -> dict[str, Any]:
        """Return the block that ends a cached prefix of the prompt. Put it into content, `system` or the tools."""
        return {"cachePoint": {"type": cache_type}}

    @classmethod
    def _read_arguments(cls, kwargs: Kwargs) -> Kwargs:
        kwargs = {cls.ALIASES.get(name, name): value for name, value in kwargs.items()}
        if (client := kwargs.pop("client", None)) is not None:
            kwargs = {**_settings_of_client(client), **kwargs}
        if kwargs.get("provider") != cls.model_fields["provider"].default:
            # LangChain's argument: the company of the model behind an ARN.
            kwargs.pop("provider", None)
        access_key = kwargs.get("aws_access_key_id")
        secret_key = kwargs.get("aws_secret_access_key")
        if (access_key is None) != (secret_key is None):
            raise InvalidArgument(
                "`aws_access_key_id` and `aws_secret_access_key` must be set together."
            )
        values = super()._read_arguments(kwargs)
        for name in _CREDENTIALS:
            if isinstance(text := reveal(values.get(name)), str):
                values[name] = Secret(text)
        if values.get("base_url") is None:
            region = values.get("region_name") or region_of_profile(
                values.get("credentials_profile_name")
            )
            if region is None:
                raise InvalidArgument(
                    f"`{cls.__name__}` needs a region: set `AWS_REGION` in the environment, or pass `region_name=` "
                    '("us-east-1").'
                )
            # The region becomes a part of the host, which receives the key.
            if not re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d+", region):
                raise InvalidArgument(
                    f"There is no region `{region}`. A region is such as `us-east-1`: {REGIONS}."
                )
            values["base_url"] = _address_in(region)
            values["region_name"] = region
        return values

    @classmethod
    def _environment_fields(cls, values: Values) -> Mapping[str, tuple[str, ...]]:
        fields = {**super()._environment_fields(values)}
        if any(
            values.get(name) for name in (*_CREDENTIALS, "credentials_profile_name", "credentials")
        ):
            fields["api_key"] = ()  # Credentials in the code exclude a key in the environment.
        return fields

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {
            **state,
            "__dict__": {**state["__dict__"], **dict.fromkeys((*_CREDENTIALS, "credentials"))},
        }

    def _credential_source(self) -> Literal["code", "environment"] | None:
        if any(getattr(self, name) is not None for name in (*_CREDENTIALS, "credentials")):
            return "code"
        return super()._credential_source() or "environment"

    @classmethod
    def _own_addresses(cls, values: Values) -> list[str]:
        addresses = super()._own_addresses(values)
        if (region := values.get("region_name")) is not None:
            addresses.append(_address_in(region))
        return addresses

    def _auth_headers(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def _codec(self, call: ChatCall) -> Codec:
        codec: Any = super()._codec(call)
        return cast("Codec", codec._replace(model=str(call.model)))

    def _call(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | str | None,
        kwargs: Kwargs,
        *,
        stream: bool,
        **credential: Any,
    ) -> ChatCall:
        call = super()._call(messages, stop, kwargs, stream=stream, **credential)
        if self.base_model is not None and call.model == self.model:
            call.model = self.base_model
            call.params = {**call.params, "model_id": self.model}
        return call

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> JSON:
        return {**super()._get_ls_params(stop, **kwargs), "ls_provider": "amazon_bedrock"}

    def _exchange(self, *args: Any, is_async: bool = False, **kwargs: Any) -> Any:
        exchange = super()._exchange(*args, is_async=is_async, **kwargs)
        if "authorization" in exchange.headers:
            return exchange
        profile = self.credentials_profile_name
        keys = None
        if (region := self.region_name or region_of_profile(profile)) is None:
            raise InvalidArgument(
                f"A call to `{self.model}` is signed for a region: pass `region_name=`."
            )
        if self.aws_access_key_id is not None:
            keys = Keys(*[cast("str", reveal(getattr(self, name))) for name in _CREDENTIALS])
        signed = SignedCall(exchange, region, keys, self.credentials, profile, is_async=is_async)
        exchange.sign = signed.sign
        exchange.renew = signed.renew
        return exchange


def _address_in(region: str) -> str:
    suffix = ".cn" if region.startswith("cn-") else ""
    return f"https://bedrock-runtime.{region}.amazonaws.com{suffix}"


def _settings_of_client(client: Any) -> Kwargs:
    """Return the region, the address and the credentials of a boto3 client. Raises `InvalidArgument` for another."""
    meta: Any = getattr(client, "meta", None)
    if not hasattr(meta, "endpoint_url") or not hasattr(meta, "region_name"):
        raise InvalidArgument(
            f'`client` must be `boto3.client("bedrock-runtime")`, not a `{type(client).__name__}`.'
        )
    credentials = client._get_credentials()  # boto3 has no public method for this.
    return {
        "region_name": meta.region_name,
        "base_url": meta.endpoint_url,
        "credentials": credentials,
    }

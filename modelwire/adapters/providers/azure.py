"""`AzureChatOpenAI`: `ChatOpenAI` under the argument names Azure's scripts have. What Azure is, is a row of data.

Addresses: https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle and
https://learn.microsoft.com/azure/foundry/openai/reference, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic.fields import Field

from modelwire.adapters.environment import from_environment
from modelwire.adapters.providers.openai import ChatOpenAI
from modelwire.aliases import Kwargs, Values
from modelwire.errors import InvalidArgument

__all__ = ["AzureChatOpenAI"]


class AzureChatOpenAI(ChatOpenAI):
    """Chat with a deployment on Azure OpenAI.

    `azure_deployment` is its name; left out, `model` is. `azure_endpoint` defaults to `AZURE_OPENAI_ENDPOINT`. Who
    calls is set by `api_key`, or by a token of Entra ID: `azure_ad_token`, or `azure_ad_token_provider`, a function,
    sync or async, that gives one for each call. Where none is set, by `AZURE_OPENAI_AD_TOKEN` or else
    `AZURE_OPENAI_API_KEY`. With `api_version` (or `OPENAI_API_VERSION`) the dated API of the deployment is called,
    without one `/openai/v1`.

        AzureChatOpenAI(azure_endpoint="https://me.openai.azure.com", azure_deployment="gpt-4o").invoke("hi").content
    """

    azure_endpoint: str | None = Field(default=None, repr=False)
    """Address of the resource, such as `https://me.openai.azure.com` (`AZURE_OPENAI_ENDPOINT`)."""
    azure_deployment: str | None = None
    """Name of the deployment. Unset: `model`."""
    api_version: str | None = None
    """Version of the dated API (`OPENAI_API_VERSION`). Unset: `/openai/v1`."""
    azure_ad_token: Any = Field(default=None, repr=False, exclude=True)
    """Token of Entra ID, or a function (sync or async) that gives one for each call."""
    provider: str = Field(default="azure_openai", repr=False, exclude=True)
    """Name in errors and metadata."""

    ALIASES: ClassVar = {
        **ChatOpenAI.ALIASES,
        "deployment_name": "azure_deployment",
        "openai_api_version": "api_version",
        "azure_ad_token_provider": "azure_ad_token",
    }
    SECRETS: ClassVar = ("azure_ad_token", *ChatOpenAI.SECRETS)
    ADDRESSES: ClassVar = (*ChatOpenAI.ADDRESSES, "azure_endpoint")
    # https://learn.microsoft.com/azure/foundry/openai/how-to/structured-outputs, read 2026-11
    STRICT_DEFAULTS: ClassVar = False

    @classmethod
    def _environment_fields(cls, values: Values) -> Mapping[str, tuple[str, ...]]:
        return {**super()._environment_fields(values), "azure_ad_token": ("AZURE_OPENAI_AD_TOKEN",)}

    @classmethod
    def _read_arguments(cls, kwargs: Kwargs) -> Kwargs:
        kwargs.pop("openai_api_type", None)  # LangChain's; "azure" is all it can be here
        if (
            kwargs.get("azure_ad_token") is not None
            and kwargs.get("azure_ad_token_provider") is not None
        ):
            raise InvalidArgument(
                "`AzureChatOpenAI` was given `azure_ad_token` and `azure_ad_token_provider`: leave out one of them."
            )
        kwargs = {
            cls.ALIASES.get(name, name): value
            for name, value in kwargs.items()
            if value is not None
        }
        deployment = kwargs.get("azure_deployment") or kwargs.get("model")
        if deployment is None:
            raise InvalidArgument(
                "`AzureChatOpenAI` needs `azure_deployment`, the name of your deployment."
            )
        kwargs.setdefault("model", deployment)
        if kwargs.get("client") is None and kwargs.get("async_client") is None:
            kwargs |= _address(kwargs, str(deployment))
        return super()._read_arguments(kwargs)

    @property
    def _llm_type(self) -> str:
        return "azure-openai-chat"


def _address(kwargs: Values, deployment: str) -> dict[str, str]:
    """Return the address of a deployment, and the model's name where that is what says which deployment is meant."""
    version = kwargs.get("api_version") or from_environment(("OPENAI_API_VERSION",))
    if (base_url := kwargs.get("base_url")) is not None:
        dated = "/deployments/" in base_url and "?" not in base_url and version
        if dated:
            return {"base_url": f"{base_url.rstrip('/')}?api-version={version}"}
        return {}
    endpoint = kwargs.get("azure_endpoint") or from_environment(("AZURE_OPENAI_ENDPOINT",))
    if endpoint is None:
        raise InvalidArgument(
            "`AzureChatOpenAI` needs the address of your resource: set `AZURE_OPENAI_ENDPOINT` in the environment, or "
            "pass `azure_endpoint=`."
        )
    endpoint = endpoint.rstrip("/")
    found = {"azure_endpoint": endpoint}
    if not version:
        return {**found, "base_url": f"{endpoint}/openai/v1", "model": deployment}
    found["api_version"] = version
    if kwargs.get("use_responses_api"):
        return {
            **found,
            "base_url": f"{endpoint}/openai?api-version={version}",
            "model": deployment,
        }
    if deployment.strip(".") == "":
        raise InvalidArgument(
            f"`azure_deployment` must be the name of a deployment, not {deployment!r}."
        )
    segment = quote(deployment, safe="")  # one segment, whatever is in the name
    return {**found, "base_url": f"{endpoint}/openai/deployments/{segment}?api-version={version}"}

"""`AzureChatOpenAI`: `ChatOpenAI` with LangChain's arguments for Azure. The row of Azure is in `services.py`.

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

    `azure_deployment` is its name, which defaults to `model`. `azure_endpoint` defaults to `AZURE_OPENAI_ENDPOINT`. The
    credential is `api_key`, or a token of Entra ID: `azure_ad_token`, or `azure_ad_token_provider`, a sync or async
    function that returns one for each call. If none is set, it is `AZURE_OPENAI_AD_TOKEN`, else `AZURE_OPENAI_API_KEY`.
    With `api_version` (or `OPENAI_API_VERSION`) calls go to the dated API of the deployment, else to `/openai/v1`.

        AzureChatOpenAI(azure_endpoint="https://me.openai.azure.com", azure_deployment="gpt-4o").invoke("hi").content
    """

    azure_endpoint: str | None = Field(default=None, repr=False)
    """Address of the resource, such as `https://me.openai.azure.com` (`AZURE_OPENAI_ENDPOINT`)."""
    azure_deployment: str | None = None
    """Name of the deployment. Unset: the value of `model`."""
    api_version: str | None = None
    """Version of the dated API (`OPENAI_API_VERSION`). Unset: `/openai/v1`."""
    azure_ad_token: Any = Field(default=None, repr=False, exclude=True)
    """Token of Entra ID, or a function (sync or async) that returns one for each call."""
    provider: str = Field(default="azure_openai", repr=False, exclude=True)
    """The provider's name in errors and metadata."""

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
        # LangChain's argument, whose only value here is "azure".
        kwargs.pop("openai_api_type", None)
        kwargs = {name: value for name, value in kwargs.items() if value is not None}
        if "azure_ad_token" in kwargs and "azure_ad_token_provider" in kwargs:
            raise InvalidArgument(
                "`AzureChatOpenAI` has both `azure_ad_token` and `azure_ad_token_provider`: remove one of them."
            )
        kwargs = {cls.ALIASES.get(name, name): value for name, value in kwargs.items()}
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
    """Return the arguments for the address of a deployment; `model` is the deployment if the URL does not have it.

    Raises `InvalidArgument` without an endpoint, or for a wrong name of a deployment.
    """
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
    # The name is one segment of the URL, even with a slash in it.
    segment = quote(deployment, safe="")
    return {**found, "base_url": f"{endpoint}/openai/deployments/{segment}?api-version={version}"}

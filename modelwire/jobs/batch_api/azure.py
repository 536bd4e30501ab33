"""How Azure's Batch API differs from OpenAI's: one address for all deployments, each row naming its own as the model.

Wire format: https://learn.microsoft.com/azure/foundry/openai/how-to/batch, read 2026-11. No I/O
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from modelwire.ext import HTTPChatModel

# Azure takes this endpoint for every batch, even if the rows call the Responses API.
CREATE_ENDPOINT = "/chat/completions"
_MARK = "/deployments/"


def is_azure(model: HTTPChatModel) -> bool:
    """Return whether a model is a deployment on Azure, by its own class or by its SDK client."""
    if model.client is None:
        return bool(getattr(model, "provider", None) == "azure_openai")
    names = {cls.__name__ for cls in type(model.client).__mro__}
    return "AzureOpenAI" in names or ".azure.com/" in str(model.client.base_url)


def deployment_of(model: HTTPChatModel) -> str | None:
    """Return the deployment that a model's address names, or None.

    The address of a batch does not name it.
    """
    if model.client is not None:
        return getattr(model.client, "_azure_deployment", None)
    _, found, rest = model._endpoint().base_url.partition(_MARK)
    if found:
        return unquote(rest.partition("?")[0].partition("/")[0])
    return None


def batch_address(base_url: str) -> tuple[str, dict[str, str]]:
    """Return the base URL of batches for a model's address, and the query of every call: the version of the API."""
    address, _, query = base_url.partition("?")
    return address.partition(_MARK)[0], dict(parse_qsl(query))

"""Handles what differs between Azure's Batch API and OpenAI's.

All deployments have one address for batches, and each row names its deployment as the model.

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
    client = model.client
    if client is None:
        return bool(getattr(model, "provider", None) == "azure_openai")
    names = [cls.__name__ for cls in type(client).__mro__]
    if "AzureOpenAI" in names:
        return True
    return ".azure.com/" in str(client.base_url)


def deployment_of(model: HTTPChatModel) -> str | None:
    """Return the name of the deployment that a model calls, or None if its address does not name one."""
    if model.client is not None:
        return getattr(model.client, "_azure_deployment", None)
    address = model._endpoint().base_url.partition("?")[0]
    _, found, rest = address.partition(_MARK)
    if not found:
        return None
    name = rest.partition("/")[0]
    return unquote(name)


def batch_address(base_url: str) -> tuple[str, dict[str, str]]:
    """Return the base URL for batches from a model's address, and the query for every call, such as the API version."""
    address, _, query = base_url.partition("?")
    origin = address.partition(_MARK)[0]
    return origin, dict(parse_qsl(query))

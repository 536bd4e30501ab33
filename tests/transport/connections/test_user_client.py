"""A client of the user's own: what its `build_request` receives, and how its answers are read."""

from typing import Any

import httpx
import httpx2
import pytest

from modelwire.adapters import ChatOpenAI
from modelwire.transport.connections.user_client import reply_of

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
LIBRARIES = pytest.mark.parametrize("library", [httpx2, httpx], ids=lambda it: it.__name__)


def transport(library: Any, seen: list[str]) -> Any:
    def answer(request: Any) -> Any:
        seen.append(str(request.url))
        return library.Response(200, json={"id": "1", "model": "m", "choices": [CHOICE]})

    return library.MockTransport(answer)


@LIBRARIES
def test_a_client_of_either_library_calls_the_address_of_the_model(library: Any) -> None:
    seen: list[str] = []
    with library.Client(transport=transport(library, seen)) as client:
        for host in ("a.test", "b.test", "a.test"):
            address = f"http://{host}/v1?api-version=1"
            model = ChatOpenAI(model="m", api_key="k", base_url=address, http_client=client)
            assert model.invoke("hi").content == "hi"
    path = "/v1/chat/completions"
    assert [url.partition("?")[0] for url in seen] == [
        f"http://{host}{path}" for host in ("a.test", "b.test", "a.test")
    ]


@LIBRARIES
def test_a_client_that_builds_its_requests_itself_receives_the_address_as_a_text(
    library: Any,
) -> None:
    class Rerouted(library.Client):  # type: ignore[name-defined,misc]
        def build_request(self, method: str, url: Any, **kwargs: Any) -> Any:
            return super().build_request(method, url.replace("a.test", "b.test"), **kwargs)

    seen: list[str] = []
    with Rerouted(transport=transport(library, seen)) as client:
        model = ChatOpenAI(model="m", api_key="k", base_url="http://a.test/v1", http_client=client)
        assert model.invoke("hi").content == "hi"
    assert seen == ["http://b.test/v1/chat/completions"]


@LIBRARIES
def test_the_values_of_a_repeated_header_are_joined_under_its_lower_case_name(library: Any) -> None:
    response = library.Response(200, headers=[("X-Request-Id", "1"), ("x-request-id", "2")])
    assert reply_of(response).headers == {"x-request-id": "1, 2"}

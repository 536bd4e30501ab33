"""An HTTP client for Google's Batch APIs, with the methods that `BatchClient` uses of an SDK's client.

google-genai 3.4 has no public call that returns the raw body: its answers are parsed, and unknown
fields are dropped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelwire.aliases import Fields, HeaderFields, Kwargs

if TYPE_CHECKING:
    import httpx2

# The pause before the first retry; each further one is twice as long.
_FIRST_PAUSE_S = 0.5


class RefusedByProvider(Exception):
    """The provider's answer has a status that is not 2xx. The attributes have the same names as in the SDKs' errors."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response
        self.status_code = response.status_code


class PlainClient:
    """Sends requests to paths below one base URL or to whole URLs, and follows no redirects.

    Requests that may be repeated are retried up to `max_retries` times.
    """

    def __init__(
        self,
        *,
        base_url: str,
        default_query: Mapping[str, str],
        default_headers: HeaderFields,
        http_client: httpx2.Client,
    ) -> None:
        import httpx2

        # The paths of Google's files name their version, so the base URL must not.
        self.base_url = httpx2.URL(re.sub(r"/v\d\w*/?$", "", base_url.rstrip("/")))
        self._query = default_query
        self._headers = default_headers
        self._client = http_client

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, *, options: Fields, stream: bool = False, **_: Any) -> httpx2.Response:
        return self._call("GET", path, options, stream=stream)

    def delete(self, path: str, *, options: Fields, **_: Any) -> httpx2.Response:
        return self._call("DELETE", path, options)

    def post(
        self,
        path: str,
        *,
        options: Fields,
        body: Any = None,
        content: Any = None,
        **_: Any,
    ) -> httpx2.Response:
        if content is None:
            return self._call("POST", path, options, json=body)
        return self._call("POST", path, options, content=content)

    def upload(
        self,
        path: str,
        *,
        options: Fields,
        name: str,
        size: int,
        file: IO[bytes],
        **_: Any,
    ) -> httpx2.Response:
        """Upload a file of JSON lines: one request returns an address, and another one sends the file there.

        https://ai.google.dev/api/files, "Upload", read 2026-11; google-genai 3.4,
        `_api_client._upload_fd`, which uses the host of the base URL as we do.
        """
        start = {
            "X-Goog-Upload-Header-Content-Length": str(size),
            "X-Goog-Upload-Header-Content-Type": "application/jsonl",
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
        }
        about = {"file": {"displayName": name}}
        begun = self.post(path, options=_with(options, start), body=about)
        address = urlsplit(begun.headers.get("x-goog-upload-url", ""))
        send = {
            "X-Goog-Upload-Offset": "0",
            "X-Goog-Upload-Command": "upload, finalize",
            "Content-Length": str(size),
        }
        return self.post(
            f"{address.path}?{address.query}", options=_with(options, send), content=file
        )

    def _call(
        self,
        method: str,
        path: str,
        options: Fields,
        *,
        stream: bool = False,
        **content: Any,
    ) -> httpx2.Response:
        import httpx2

        headers = {**self._headers, **options.get("headers", {})}
        params = {**self._query, **options.get("params", {})}
        whole = path
        if "://" not in path:
            whole = f"{str(self.base_url).rstrip('/')}{path}"
        url = httpx2.URL(whole).copy_merge_params(params)
        retries = int(options.get("max_retries", 0))
        pauses_s = [_FIRST_PAUSE_S * 2**n for n in range(retries)]
        while True:
            request = self._client.build_request(
                method, url, headers=headers, timeout=options.get("timeout"), **content
            )
            try:
                response = self._client.send(request, stream=stream, follow_redirects=False)
            except httpx2.TransportError:
                if not pauses_s:
                    raise
            else:
                if response.is_success:
                    return response
                response.read()
                status = response.status_code
                is_transient = status >= 500 or status in (408, 429)
                if not pauses_s or not is_transient:
                    raise RefusedByProvider(response)
            time.sleep(pauses_s.pop(0))


def _with(options: Fields, headers: HeaderFields) -> Kwargs:
    return {**options, "headers": {**options.get("headers", {}), **headers}}

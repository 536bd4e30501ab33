"""A server of raw bytes on loopback: each request gets the next answer of a script."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

Action = (
    bytes | float | Callable[[socket.socket], None]
)  # send these bytes; wait so many seconds; do this


class RawServer:
    """Accepts connections, reads whole requests, plays one script entry (a list of actions) for each.

    After an entry the connection stays open unless its last action is `None`, which closes it.
    """

    def __init__(
        self, script: Sequence[Sequence[Any]], *, repeat: bool = False, tls: Any = None
    ) -> None:
        self.script = list(script)
        self.repeat = repeat
        self.tls = tls  # an `ssl.SSLContext`
        self.requests: list[bytes] = []
        self.connections = 0
        self._lock = threading.Lock()
        self._stop = False
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._stop:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        buffer = b""
        try:
            if self.tls is not None:
                peer = self.tls.wrap_socket(peer, server_side=True)
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = peer.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in lines
                        if line.startswith(b"content-length")
                    ),
                    0,
                )
                while len(buffer) < length:
                    buffer += peer.recv(65536)
                body, buffer = buffer[:length], buffer[length:]
                with self._lock:
                    self.requests.append(head + b"\r\n\r\n" + body)
                    # `requests` has one beyond the script; a thread's error would be another test's.
                    if not self.script:
                        return
                    entry = self.script[0] if self.repeat else self.script.pop(0)
                for action in entry:
                    if action is None:
                        return
                    if isinstance(action, bytes):
                        peer.sendall(action)
                    elif callable(action):
                        action(peer)
                    else:
                        time.sleep(action)
        except OSError:
            pass
        finally:
            peer.close()

    def close(self) -> None:
        self._stop = True
        self._listener.close()
        for peer in self._open:
            peer.close()


def answer(body: bytes = b"hello", *, status: int = 200, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
END_CHUNKED = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"

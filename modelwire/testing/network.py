"""The network of a test: closed, for every call of ours that would leave this machine."""

from __future__ import annotations

from modelwire.transport.connections.closed_network import Block

__all__ = ["Block", "block_network"]


def block_network() -> Block:
    """Let no call of ours leave this machine from now on: `lift` of what is returned ends it, or a `with` does.

    Connections to loopback are opened as ever, and mocks answer as ever; any other call raises `NetworkBlocked`. It
    holds for all threads and event loops of the process, on both engines, for clients of your own and of the SDKs too.
    In pytest the plugin has done it already. For other runners:

        class Tests(unittest.TestCase):
            def setUp(self):
                self.addCleanup(block_network().lift)
    """
    return Block()

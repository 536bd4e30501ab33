"""`block_network`: makes every call of modelwire's fail that would leave this machine during a test."""

from __future__ import annotations

from modelwire.transport.connections.closed_network import Block

__all__ = ["Block", "block_network"]


def block_network() -> Block:
    """Block all calls that would leave this machine, until `lift` of the result is called or its `with` block ends.

    Connections to loopback and mocks work as usual; any other call raises `NetworkBlocked`. The
    block applies to all threads and event loops of the process, to both engines, and to your own
    and the SDKs' clients. The pytest plugin calls it automatically. For other test runners:

        class Tests(unittest.TestCase):
            def setUp(self):
                self.addCleanup(block_network().lift)
    """
    return Block()

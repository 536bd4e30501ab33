"""Record calls into a file (a cassette) with `recorded`, and answer later calls from it with `replayed`."""

from modelwire.testing.cassettes.recording import Recording as recorded
from modelwire.testing.cassettes.replaying import Replay as replayed

__all__ = ["recorded", "replayed"]

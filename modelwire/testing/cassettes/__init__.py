"""Record calls into a file, and answer from it: `recorded` and `replayed`."""

from modelwire.testing.cassettes.recording import Recording as recorded
from modelwire.testing.cassettes.replaying import Replay as replayed

__all__ = ["recorded", "replayed"]

"""`python -m modelwire`, and the script `modelwire`: the command."""

import sys

try:
    from modelwire.cli import main
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())

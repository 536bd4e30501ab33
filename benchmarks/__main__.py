"""`python -m benchmarks` prints the tables."""

from __future__ import annotations

import sys

from benchmarks.run import main

sys.exit(main())

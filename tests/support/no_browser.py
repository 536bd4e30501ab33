"""Stand in for a browser: write the address into the file `opened` of the working directory."""

from __future__ import annotations

import sys
from pathlib import Path

Path("opened").write_text(sys.argv[1], encoding="utf-8")

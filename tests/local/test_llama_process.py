from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import modelwire.local

SCRIPT = Path(modelwire.local.__file__).with_name("llama_process.py")


def test_the_child_process_needs_no_module_of_modelwire() -> None:
    """The child may not find the package: a program may have put its folder on `sys.path` itself."""
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='child')"
    # Without `site` and the environment, only the standard library can be imported.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(SCRIPT)], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.returncode == 0

"""The user's folders for configuration, cache and data, and how files in them are created."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

__all__ = ["MODEL_FILE_NAME", "MODEL_FILE_VARIABLE", "model_file_places", "owned", "user_folder"]

# The file in which a user chooses models and settings, and the environment variable that names another one.
MODEL_FILE_NAME = "modelwire.toml"
MODEL_FILE_VARIABLE = "MODELWIRE_CONFIG"


def model_file_places() -> tuple[Path, ...]:
    """Return the paths where `modelwire.toml` may be, in the order of search; only one if the environment names it."""
    named = os.environ.get(MODEL_FILE_VARIABLE)
    if named is not None:
        return (Path(os.path.expanduser(named)),)
    return Path(MODEL_FILE_NAME), user_folder("config") / MODEL_FILE_NAME


def user_folder(kind: Literal["config", "cache", "data"]) -> Path:
    """Return modelwire's folder of this kind, where the operating system expects it; it may not exist.

    Source: XDG Base Directory Specification 0.8, by which a relative path in its variables is ignored.
    """
    cache = kind == "cache"
    try:
        home = Path.home()
    except RuntimeError:  # The user has no name and no home, as in some containers.
        home = Path("/nonexistent")  # Debian uses this path for a user without a home.
    if sys.platform == "win32":
        named = os.environ.get("LOCALAPPDATA" if cache else "APPDATA")
        if named:
            base = Path(named)
        else:
            base = home / "AppData" / ("Local" if cache else "Roaming")
        if cache:
            return base / "modelwire" / "Cache"
        return base / "modelwire"
    if cache and sys.platform == "darwin":
        return home / "Library" / "Caches" / "modelwire"
    xdg = Path(os.environ.get(f"XDG_{kind.upper()}_HOME") or "")
    usual = home / (".local/share" if kind == "data" else f".{kind}")
    return (xdg if xdg.is_absolute() else usual) / "modelwire"


def owned(path: str, flags: int) -> int:
    """Return a file descriptor for `open(..., opener=owned)`; only its owner can read a new file."""
    return os.open(path, flags, 0o600)

"""Folders: where the templates are, inside the installed package or beside it in the repository; one writer at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from gradgen.errors import GradgenError


def templates_dir() -> Path:
    """Return the folder of templates: package data (``gradgen/templates``) first, else the repository's ``templates``.

    Raises GradgenError when neither exists, which means a broken installation.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "templates", package.parent / "templates"):
        if (folder / "kernels").is_dir():
            return folder
    raise GradgenError(
        f"the templates that gradgen ships are missing: looked in {package / 'templates'} and "
        f"{package.parent / 'templates'}; reinstall gradgen"
    )


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Other processes and threads that ask for the same wait meanwhile.  Nothing is left in the folder.

    Where the system has no such locks, or the file system none for folders, nobody waits.
    """
    if os.name == "nt":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

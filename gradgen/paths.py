"""Where the templates are: inside the installed package, or beside it in the repository."""

from __future__ import annotations

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

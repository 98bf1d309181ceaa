"""Filling templates: Jinja2 with strict undefined names; a template gets exactly the keys it uses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from gradgen.errors import CodegenError
from gradgen.paths import templates_dir


@cache
def template_text(path: str) -> str:
    """The text of a file below `templates/`, unfilled."""
    try:
        return (templates_dir() / path).read_text(encoding="utf-8")
    except OSError as error:
        raise CodegenError(f"the template {path} cannot be read: {error}", hint="reinstall gradgen") from error


@cache
def _environment() -> Any:
    import jinja2  # takes longer to import than most modules take to emit

    return jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


@cache
def _template(path: str) -> Any:
    return _environment().from_string(template_text(path))


@cache
def template_keys(path: str) -> frozenset[str]:
    """The names that a template uses."""
    import jinja2.meta

    return frozenset(jinja2.meta.find_undeclared_variables(_environment().parse(template_text(path))))


def render_text(text: str, keys: Mapping[str, str]) -> str:
    """Text that is no file of its own, filled; more keys may be given than it uses."""
    return str(_environment().from_string(text).render(keys))


def render(path: str, **keys: Any) -> str:
    """The filled template.  Raises CodegenError for keys missing, or given and not used."""
    wanted = template_keys(path)
    if wanted != keys.keys():
        missing, unused = sorted(wanted - keys.keys()), sorted(keys.keys() - wanted)
        raise CodegenError(f"template {path}: missing keys {missing}, unused keys {unused}")
    return str(_template(path).render(**keys))

"""Filling templates: Jinja2 with strict undefined names; a template gets exactly the keys it uses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

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
    from jinja2.compiler import CodeGenerator

    class Noting(CodeGenerator):
        """Notes under the template's file name what names it asks its caller for."""

        asked: ClassVar[dict[str | None, set[str]]] = {}

        def enter_frame(self, frame: Any) -> None:
            super().enter_frame(frame)
            names = {name for action, name in frame.symbols.loads.values() if action == "resolve"}
            self.asked.setdefault(self.filename, set()).update(names - self.environment.globals.keys())

    class Environment(jinja2.Environment):
        code_generator_class = Noting

    return Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


@cache
def _template(path: str) -> tuple[Any, frozenset[str]]:
    """A template, read and translated once, and the names that it uses."""
    environment = _environment()
    code = environment.compile(template_text(path), filename=path)
    made = environment.template_class.from_code(environment, code, environment.make_globals(None), None)
    return made, frozenset(environment.code_generator_class.asked.get(path, ()))


def render_text(text: str, keys: Mapping[str, str]) -> str:
    """Text that is no file of its own, filled; more keys may be given than it uses."""
    return str(_environment().from_string(text).render(keys))


def render(path: str, **keys: Any) -> str:
    """The filled template.  Raises CodegenError for keys missing, or given and not used."""
    template, wanted = _template(path)
    if wanted != keys.keys():
        missing, unused = sorted(wanted - keys.keys()), sorted(keys.keys() - wanted)
        raise CodegenError(f"template {path}: missing keys {missing}, unused keys {unused}")
    return str(template.render(**keys))

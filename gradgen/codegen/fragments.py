"""The C functions that emitted modules may need: fragments over a dtype, each with what it defines and what it calls.

A file below `templates/kernels` is cut into fragments by lines of its own:

    //= tiny: 0.000244140625f | 7.450580596923828e-09        a constant of this file, for f32 | f64 or i32 | i64
    //: gg_sin_{{ s }} < GG_INLINE, gg_trig_reduce_{{ s }}   defines the first, needs the others

`{{ s }}` in a name stands for every floating dtype, in the folders `linalg` and `sort` for every dtype, `{{ i }}` for every
integer; a name that says its dtype is the form for that one alone.  The keys of the text are those of the dtype's record
(`c_types.py`), the constants of the file, and what the caller of `filled` gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from gradgen.codegen.c_types import C_TYPES, FLOATS, INTEGERS
from gradgen.codegen.templates import render_text
from gradgen.errors import CodegenError
from gradgen.paths import templates_dir

FOLDERS = ("math", "small", "linalg", "sort", "gemm")
_ANY = ("linalg", "sort", "gemm")
_KEY, _END = "{{ ", " }}"


class Helper(str):
    """C text that stands before the functions of a module, with the names that it defines and those that it needs."""

    names: tuple[str, ...]
    needs: tuple[str, ...]

    def __new__(cls, text: str, names: Iterable[str] = (), needs: Iterable[str] = ()) -> Helper:
        made = super().__new__(cls, text)
        made.names, made.needs = tuple(names), tuple(needs)
        return made


@dataclass(frozen=True, slots=True)
class Section:
    """A fragment as the file has it; `constants` have a value for each of the two dtypes of a kind."""

    file: str
    names: tuple[str, ...]
    needs: tuple[str, ...]
    text: str
    constants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@cache
def sections() -> dict[str, Section]:
    """Every fragment by each of its names."""
    found: dict[str, Section] = {}
    for folder in FOLDERS:
        for path in sorted((templates_dir() / "kernels" / folder).iterdir()):
            enter(found, f"{folder}/{path.name}", path.read_text(encoding="utf-8"))
    return found


def enter(found: dict[str, Section], file: str, text: str) -> None:
    """Adds the fragments of a file; into `sections()` also that of a function that is not below templates."""
    for made in cut(file, text):
        for name in made.names:
            if name in found and "gg_" in name:
                raise CodegenError(f"{name} is defined in {found[name].file} and in {made.file}")
            found.setdefault(name, made)


def cut(file: str, text: str) -> list[Section]:
    """The fragments of one file."""
    constants: dict[str, tuple[str, ...]] = {}
    found: list[Section] = []
    for part in f"\n{text}".split("\n//")[1:]:
        head, _, body = part.partition("\n")
        if head.startswith("= "):
            key, _, values = head.removeprefix("= ").partition(": ")
            constants[key] = tuple(v.strip() for v in values.split(" | "))
        else:
            names, _, needs = head.removeprefix(": ").partition(" < ")
            found.append(Section(file, _listed(names), _listed(needs), body.strip("\n"), constants))
    return found


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def find(name: str) -> tuple[Section, str] | None:
    """The fragment that defines a name, and the suffix of the dtype that it is filled for."""
    known = sections()
    if name in known:
        return known[name], next((s for s in C_TYPES if name.endswith(f"_{s}")), "")
    for suffix in C_TYPES:
        if suffix in name:
            for key in ("i", "s") if suffix in INTEGERS else ("s",):
                made = known.get(name.replace(suffix, f"{_KEY}{key}{_END}"))
                if made is not None and (key == "i" or suffix in FLOATS or made.file.startswith(_ANY)):
                    return made, suffix
    return None


def defined(name: str) -> bool:
    return find(name) is not None


@cache
def helper(name: str) -> Helper:
    """The fragment that defines a name, for the name's dtype.  Raises CodegenError where there is none."""
    found = find(name)
    if found is None:
        raise CodegenError(f"no fragment below templates/kernels defines {name}")
    return _filled(found[0], found[1], {})


def filled(name: str, **keys: object) -> Helper:
    """The same for a fragment that has keys of its own."""
    return _with_keys(name, tuple((key, str(value)) for key, value in keys.items()))


@cache
def _with_keys(name: str, keys: tuple[tuple[str, str], ...]) -> Helper:
    found = find(name)
    if found is None:
        raise CodegenError(f"no fragment below templates/kernels defines {name}")
    return _filled(found[0], found[1], dict(keys))


def _filled(section: Section, suffix: str, more: Mapping[str, str]) -> Helper:
    keys = {**C_TYPES.get(suffix, {}), **more}
    for key, values in section.constants.items():
        keys[key] = values[C_TYPES[suffix]["U"] == "uint64_t"]

    def fill(text: str) -> str:
        if _KEY not in text:
            return text
        first, *rest = text.split(_KEY)
        made = [first]
        for part in rest:
            key, _, after = part.partition(_END)
            if key not in keys:
                raise CodegenError(f"{section.file}: {key!r} has no value for {suffix or 'no dtype'}")
            made += [keys[key], after]
        return "".join(made)

    text = fill(render_text(section.text, keys) if "{% if" in section.text else section.text)
    return Helper(text, map(fill, section.names), map(fill, section.needs))


def with_needs(roots: Iterable[str | Helper]) -> dict[str, Helper]:
    """The fragments behind these names, each after what it needs, by the first name of each."""
    found: dict[str, Helper] = {}
    stack: list[tuple[Helper, bool]] = [(r if isinstance(r, Helper) else helper(r), False) for r in reversed(list(roots))]
    while stack:
        made, ready = stack.pop()
        if made.names[0] in found:
            continue
        if ready:
            found[made.names[0]] = made
        else:
            stack.append((made, True))
            stack += [(helper(n), False) for n in reversed(made.needs)]
    return found


def is_macro(name: str) -> bool:
    return name.upper() == name


__all__ = ["Helper", "Section", "cut", "defined", "enter", "filled", "find", "helper", "is_macro", "sections", "with_needs"]

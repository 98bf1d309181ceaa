"""The trainer of a module in C: the structs of parameters and of what an optimizer keeps, and the functions on them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradgen.codegen.checks import function_checks
from gradgen.codegen.declarations import TENSORS, comment_block, comment_text, parameter_text, wrap
from gradgen.codegen.extents import as_size, to_c
from gradgen.codegen.interface import OUTPUT, WORK, Interface, Parameter
from gradgen.codegen.layout import short
from gradgen.codegen.literals import floating
from gradgen.codegen.words import names_in
from gradgen.ir.draws import STATE
from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Graph
from gradgen.ir.symbols import Extent

STEP, ACCUMULATE, APPLY, PREDICT = "train_step", "accumulate", "step", "predict"
COUNT, RATE = "steps", "lr"
"""Members of the trainer: how many steps there were, and the rate of each group."""


@dataclass(frozen=True)
class Field:
    """A member of the trainer: `name`, of the parameter `of` where each has one; the programs call it `input`."""

    name: str
    input: str
    dtype: DType
    shape: tuple[int, ...]
    start: float = 0.0  # every element's value in the beginning
    of: str = ""
    each: tuple[float, ...] = ()  # the elements' values, where they differ
    path: str = ""  # torch's name of a parameter

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def starts(self) -> tuple[float, ...]:
        """What its elements are in the beginning, one number where they are all the same."""
        return self.each or (self.start,)


@dataclass(frozen=True, eq=False)
class Trainer:
    """`params` are members of <name>_params, `fields` what stands beside it; a step changes the parameters `moved`.

    `step` and `predict` are the graphs of the functions, `trained` values of the parameters that the module brings along.
    """

    params: tuple[Field, ...]
    fields: tuple[Field, ...] = ()
    moved: tuple[str, ...] = ()
    recipe: str = ""  # one line, for people
    draws: bool = False
    step: Graph | None = None
    accumulate: Graph | None = None
    apply: Graph | None = None
    predict: Graph | None = None
    trained: Mapping[str, np.ndarray] = field(default_factory=dict)
    slots: int = 1  # that a store has: with 2, the newer one is kept while the other is written

    @property
    def graphs(self) -> dict[str, Graph]:
        found = {STEP: self.step, ACCUMULATE: self.accumulate, APPLY: self.apply, PREDICT: self.predict}
        return {name: g for name, g in found.items() if g is not None}

    @property
    def held(self) -> dict[str, Field]:
        """Every member by what the programs call it."""
        return {f.input: f for f in (*self.params, *self.fields)}

    def key(self) -> str:
        """What decides all that is emitted for it."""
        parts = [repr((self.params, self.fields, self.moved, self.recipe, self.draws, self.slots))]
        parts += [g.key for g in self.graphs.values()]
        parts += [hashlib.sha256(np.asarray(v, order="C").tobytes()).hexdigest() for v in self.trained.values()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


    def sizes(self) -> dict[str, int]:
        """Bytes of its members, each rounded up to 8: the parameters together, and what stands beside them."""
        found = {"p": self.params, **dict(members(self))} if self.step is not None else {"p": self.params}
        return {name: sum(-(-f.count * f.dtype.itemsize // 8) * 8 for f in fields) for name, fields in found.items()}

    def layout(self) -> bytes:
        """8 bytes that tell stores of this trainer from others, on whatever machine: what its members are."""
        kinds = [(place(self, f), f.dtype.name, f.shape) for f in self.held.values()]
        said = repr((kinds, self.recipe.split(",")[0].split(";")[0], self.draws))
        return hashlib.sha256(said.encode()).digest()[:8]


@dataclass(frozen=True, eq=False)
class TrainerCode:
    """The trainer with what is known when its functions are scheduled; `faces` are interfaces whose forward they are."""

    trainer: Trainer
    faces: Mapping[str, Interface]
    arena_bytes: Extent
    arena_bytes_c: str
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)  # that stand in the functions' bodies


def members(trainer: Trainer) -> list[tuple[str, list[Field]]]:
    """The members behind the parameters: a name with the fields of a struct, or with one field that is no struct."""
    found: dict[str, list[Field]] = {}
    for f in trainer.fields:
        found.setdefault(f.name, []).append(f)
    return list(found.items())


def place(trainer: Trainer, f: Field) -> str:
    """The member as C behind `t->`: `p.w1`, `momentum_buffer.w1`, `steps`."""
    return f"p.{f.input}" if f in trainer.params else f"{f.name}.{f.of}" if f.of else f.name


def declared(f: Field, name: str) -> str:
    """`w1[64 * 64]`, `lr`."""
    if not f.shape:
        return name
    extents = [str(e) for e in f.shape if e != 1] or ["1"]
    return f"{name}[{' * '.join(extents) if f.count else '1'}]"  # C has no empty arrays


def _declarations(fields: Sequence[tuple[Field, str]]) -> list[str]:
    """The members in lines, those of one type after each other on one."""
    lines: list[str] = []
    for f, name in fields:
        text = declared(f, name)
        if lines and lines[-1].split(" ", 1)[0] == f.dtype.ctype and len(lines[-1]) + len(text) < 100:
            lines[-1] = f"{lines[-1][:-1]}, {text};"
        else:
            lines.append(f"{f.dtype.ctype} {text};")
    return lines


def struct_lines(name: str, trainer: Trainer) -> list[str]:
    """The two structs, as the header and cffi have them."""
    lines = [f"typedef struct {name}_params {{", *(f"    {t}" for t in _declarations([(f, f.input) for f in trainer.params])),
             f"}} {name}_params;"]
    if trainer.step is None:
        return lines
    lines += ["", f"typedef struct {name}_trainer {{", f"    {name}_params p;"]
    whole = [(f.input, f.dtype, f.shape) for f in trainer.params]
    for member, fields in members(trainer):
        if not fields[0].of:
            lines += [f"    {t}" for t in _declarations([(f, member) for f in fields])]
        elif [(f.of, f.dtype, f.shape) for f in fields] == whole:
            lines.append(f"    {name}_params {member};")
        else:
            own = _declarations([(f, f.of) for f in fields])
            lines += ["    struct {", *(f"        {t}" for t in own), f"    }} {member};"]
    lines += ["    uint64_t seed;"] if trainer.draws else []
    return [*lines, f"}} {name}_trainer;"]


# --- functions --------------------------------------------------------------------------------------------------------


def _free(code: TrainerCode, suffix: str, *names: str) -> str:
    """The first of the names that no argument, no member and nothing in the body of the function has."""
    given = {p.name for p in code.faces[suffix].functions["forward"]}
    taken = {*given, *code.trainer.held, *code.names.get(suffix, ())}
    return next((n for n in names if n not in taken), f"gradgen_{names[0]}")


def face_parameters(code: TrainerCode, suffix: str) -> list[Parameter]:
    """What a function of the trainer takes behind the trainer: dimensions, inputs, results, the arena."""
    arena = _free(code, suffix, "arena", "memory")
    return [Parameter(arena, WORK, arena) if p.kind == WORK else p for p in code.faces[suffix].functions["forward"]]


def subject(code: TrainerCode, suffix: str) -> str:
    """What the function calls the trainer or the parameters."""
    return _free(code, suffix, "p", "params") if suffix == PREDICT else _free(code, suffix, "t", "trainer")


def prototype(code: TrainerCode, name: str, suffix: str, *, restrict: bool = False) -> str:
    """`gradgen_status digits_train_step(digits_trainer *t, int64_t N, ...)`, without its `;`."""
    kind = f"const {name}_params *" if suffix == PREDICT else f"{name}_trainer *"
    items = [f"{kind}{subject(code, suffix)}",
             *(parameter_text(p, restrict=restrict) for p in face_parameters(code, suffix))]
    one = f"gradgen_status {name}_{suffix}({', '.join(items)})"
    return one if len(one) <= 110 else f"gradgen_status {name}_{suffix}(\n{wrap(items, '    ')})"


def prototypes(code: TrainerCode, name: str) -> list[tuple[str, list[str]]]:
    """Every function of the trainer with the lines of its comment."""
    trainer = code.trainer
    dims = next(iter(code.faces.values())).dims if code.faces else ()
    sizes = ", ".join(f"int64_t {d}" for d in dims) or "void"
    found = [(f"size_t {name}_arena_bytes({sizes})", [
        f"Bytes of the arena that the functions below work in, aligned to {name.upper()}_ALIGN.",
        *(["SIZE_MAX where a dimension is out of range."] if dims else [])])]
    if trainer.step is not None:
        found.append((f"void {name}_reset({name}_trainer *t)", [
            "The optimizer's state, the count of steps and the rate as they are in the beginning; p stays as it is."]))
        found += _storing(name, trainer)
    for suffix in code.faces:
        found.append((prototype(code, name, suffix), _said(code, suffix)))
    return found


def _storing(name: str, trainer: Trainer) -> list[tuple[str, list[str]]]:
    two = ["It has two slots: the newer one stays while the other is written, so that a loss of power loses one store."]
    return [
        (f"size_t {name}_store_bytes(void)", [
            "Bytes of a store of the trainer: little-endian whatever the machine, with a checksum.",
            *(two if trainer.slots == 2 else [])]),
        (f"gradgen_status {name}_store(const {name}_trainer *t, void *to)", ["Writes all of t."]),
        (f"gradgen_status {name}_load({name}_trainer *t, const void *from)", [
            "Reads all of t.  GRADGEN_ERR_STORE: the store is torn or of another trainer, and nothing in t has changed."]),
    ]


def store_lines(name: str, trainer: Trainer) -> dict[str, Any]:
    """What the template of stores needs."""
    rows = [(place(trainer, f), f.count, f.dtype.ctype) for f in trainer.held.values() if f.count]
    rows += [("seed", 1, "uint64_t")] if trainer.draws else []
    sizes = [f.count * f.dtype.itemsize for f in trainer.held.values()] + ([8] if trainer.draws else [])
    return {
        "bytes": sum(sizes), "slots": trainer.slots,
        "layout": ", ".join(f"0x{b:02x}" for b in trainer.layout()),
        "rows": [f"{{offsetof({name}_trainer, {at}), {count}, sizeof({kind})}}" for at, count, kind in rows],
    }


def _said(code: TrainerCode, suffix: str) -> list[str]:
    trainer, face = code.trainer, code.faces[suffix]
    results = ", ".join(p.name for p in face_parameters(code, suffix) if p.kind == OUTPUT)
    t = subject(code, suffix)
    if suffix == APPLY:
        return [f"The update of {t} by {t}->grad, which is cleared."]
    if suffix in (STEP, ACCUMULATE):
        loss = face.outputs[0].name
        does = f"One step of training: the gradients of {loss}, and the update of {t} by them."
        lines = [does if suffix == STEP else f"Adds the gradients of {loss} to {t}->grad, for a {APPLY} to come.",
                 f"{results} as before the update; NULL where not wanted.",
                 f"Unless GRADGEN_OK is returned, nothing in {t} has changed."]
        return [*lines, f"{t}->seed and {t}->{COUNT} decide the random numbers."] if trainer.draws else lines
    return [f"{results} with these parameters; NULL where not wanted."]


def source_function(code: TrainerCode, name: str, suffix: str, body: str, work: tuple[Extent, str]) -> dict[str, object]:
    """A function with its checks: `body` finds the members of the trainer under the names that its program has for them."""
    trainer, face = code.trainer, code.faces[suffix]
    t, ps = subject(code, suffix), face_parameters(code, suffix)
    head = short(function_checks(face, ps, *work, first=[f"{t} == NULL"]))
    body = body.strip("\n")
    words = names_in([body])
    written = {old for old, _ in trainer.graphs[suffix].states}
    for f in trainer.held.values():
        if f.input in words:
            const = "" if f.input in written else "const "
            at = place(trainer, f)
            address = f"{t}->{f.input}" if suffix == PREDICT else f"{t}->{at}"
            head.append(f"    {const}{f.dtype.ctype} *GRADGEN_RESTRICT const {f.input} = {'' if f.shape else '&'}{address};")
    if "work" in words:
        head.append(f"    void *const work = {ps[-1].name};")
    if STATE.name in words:
        head.append(f"    const int64_t {STATE.name}[2] = {{(int64_t){t}->seed, {t}->{COUNT}}};")
    known = names_in([*head, body])
    head += [f"    (void){p.name};" for p in ps if p.name not in known]
    tail = [f"    {t}->{COUNT} += 1;"] if suffix in (STEP, APPLY) else []
    return {"signature": prototype(code, name, suffix, restrict=True), "head": head, "body": body, "tail": tail}


def reset_lines(trainer: Trainer) -> list[str]:
    """What puts the optimizer's state to its beginning."""
    lines: list[str] = []
    for member, fields in members(trainer):
        starts = {s for f in fields for s in f.starts}
        if fields[0].of and starts == {0.0}:
            lines.append(f"memset(&t->{member}, 0, sizeof t->{member});")
            continue
        for f in fields:
            at = f"t->{place(trainer, f)}"
            texts = [floating(f.dtype.numpy.type(s), f.dtype) if f.dtype.is_floating_point else str(int(s)) for s in f.starts]
            if not f.shape:
                lines.append(f"{at} = {texts[0]};")
            elif len(texts) == 1 and f.count:
                lines += [f"for (size_t k = 0; k < {f.count}; k++) {{", f"    {at}[k] = {texts[0]};", "}"]
            else:
                lines += [f"{at}[{k}] = {text};" for k, text in enumerate(texts)]
    return [f"    {line}" for line in lines]


def trained_lines(name: str, trainer: Trainer) -> list[str]:
    """The definition of <name>_trained."""
    if not trainer.trained:
        return []
    lines = [f"const {name}_params {name}_trained = {{"]
    for f in trainer.params:
        values = np.asarray(trainer.trained[f.input], f.dtype.numpy).ravel()
        texts = [floating(v, f.dtype) if f.dtype.is_floating_point else str(int(v)) for v in values] or ["0"]
        lines.append(f"    /* {f.input} */")
        lines += [f"    {texts[0]}," if not f.shape else "    {\n" + wrap(texts, "        ") + "\n    },"]
    return [*lines, "};"]


def header(code: TrainerCode, interface: Interface) -> dict[str, Any]:
    """What the header says, for its template."""
    name, dims = interface.name, interface.dims
    trainer = code.trainer
    arena = _macro(name, code.arena_bytes, dims)
    notes = [f"{f.input} is {f.path}" for f in trainer.params if f.path and f.path != f.input]
    return {
        "name": name,
        "title": comment_text(f"training: {trainer.recipe}" if trainer.step is not None else "parameters in a struct"),
        "structs": struct_lines(name, trainer),
        "notes": comment_block(["The parameters under the program's names, in flash or RAM.", *wrap(notes, "").splitlines()]),
        "macro": arena,
        "functions": [{"doc": comment_block(doc), "prototype": text} for text, doc in prototypes(code, name)],
        "trained": bool(trainer.trained),
    }


def _macro(name: str, extent: Extent, dims: Sequence[str]) -> str:
    head = f"{name.upper()}_ARENA_BYTES"
    if not dims:
        return f"{head} ((size_t){to_c(extent)})"
    text = to_c(extent, {d: f"(int64_t)({d})" for d in dims})
    return f"{head}({', '.join(dims)}) ((size_t)({text}))"


def cdef(code: TrainerCode, name: str) -> list[str]:
    """What cffi reads."""
    found = struct_lines(name, code.trainer)
    found += [f"{text.replace('gradgen_status', 'int', 1)};" for text, _ in prototypes(code, name)]
    return [*found, *([f"extern const {name}_params {name}_trained;"] if code.trainer.trained else [])]


def described(code: TrainerCode, name: str) -> dict[str, Any]:
    """What the README says of it."""
    functions = [{"prototype": " ".join(text.split()).replace("( ", "("), "doc": " ".join(doc)}
                 for text, doc in prototypes(code, name)]
    return {"recipe": code.trainer.recipe or "parameters in a struct", "functions": functions}


def listed(code: TrainerCode) -> dict[str, Any]:
    """What the manifest says of it: members of the struct in order, and what each function takes behind it."""
    trainer = code.trainer
    kinds = [{"member": place(trainer, f), "dtype": f.dtype.name, "shape": list(f.shape), "path": f.path}
             for f in trainer.held.values()]
    functions = {s: [{"name": p.name, "kind": p.kind} for p in face_parameters(code, s)] for s in code.faces}
    return {"recipe": trainer.recipe, "arena_bytes": str(code.arena_bytes), "slots": trainer.slots, "members": kinds,
            "functions": functions}


def arena_size(code: TrainerCode) -> str:
    return as_size(code.arena_bytes_c)


__all__ = ["COUNT", "PREDICT", "RATE", "STEP", "TENSORS", "Field", "Trainer", "TrainerCode"]

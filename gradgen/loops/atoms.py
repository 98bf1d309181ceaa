"""Conditions as conjunctions: what is known where a statement stands, and whether that implies what its producer needed.

A condition is a conjunction of clauses, a clause a disjunction of literals, a literal an atom or its negation.  Atoms are
that an optional argument is present, that SAVED is, the flag of the caller, one integer condition, or a boolean of which
no more is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gradgen.ir.guards import EQ, GE, Condition, Guard
from gradgen.loops.statements import SAVED, Apply, Buffer, Expr, Holds, Literal, Present, SetFlag, Variable
from gradgen.loops.walk import index_symbols, signature, subexpressions, used

Atom = tuple
Lit = tuple[Atom, bool]
Clause = frozenset  # of literals
Conjunction = tuple[frozenset[Lit], ...]

ALWAYS: Conjunction = ()
NEVER: Conjunction = (frozenset(),)
_MOST = 24  # clauses of a condition that is taken apart
_DEEP = 3  # atoms on which cases are distinguished

Definition = Callable[[str], Expr | None]


def presence(b: Buffer) -> Conjunction:
    """The buffer is there: SAVED is there as a whole."""
    return (frozenset({(_present(b), True)}),)


def _present(b: Buffer) -> Atom:
    return ("present", "saved" if b.space == SAVED else b.name)


def holding(guard: Guard) -> Conjunction:
    """What is known where a guard holds; conditions on numbers are decided."""
    known = [_decided(c) for c in guard]
    if False in known:
        return NEVER
    return tuple(frozenset({(_integer(c), True)}) for c, k in zip(guard, known, strict=True) if k is None)


def _decided(c: Condition) -> bool | None:
    if not c.expr.is_Integer or not isinstance(c.modulus, int):
        return None
    return c.expr >= 0 if c.kind == GE else c.expr == 0 if c.kind == EQ else int(c.expr) % c.modulus == 0


def _integer(c: Condition) -> Atom:
    return ("integer", c.kind, c.expr, c.modulus)


def atom_names(atom: Atom) -> frozenset[str]:
    """The locals and counters that an atom depends on."""
    if atom[0] == "integer":
        return frozenset(s.name for s in atom[2].free_symbols)
    if atom[0] != "opaque":
        return frozenset()
    return frozenset({atom[1]}) if isinstance(atom[1], str) else _mentioned(atom[1].value)


def formula(e: Expr, truth: bool, definition: Definition) -> Conjunction:
    """What is known where a boolean expression has this truth; `definition` gives the values of constant locals."""
    match e:
        case Variable():
            value = definition(e.name)
            if value is not None:
                return formula(value, truth, definition)
            return (frozenset({(("opaque", e.name), truth)}),)
        case Literal():
            return ALWAYS if (e.value != 0) == truth else NEVER
        case Present():
            return (frozenset({(_present(e.buffer), truth)}),)
        case SetFlag():
            return (frozenset({(("set",), truth)}),)
        case Holds():
            if truth:
                return holding(e.guard)
            known = [_decided(c) for c in e.guard]
            if False in known:
                return ALWAYS
            return (frozenset((_integer(c), False) for c, k in zip(e.guard, known, strict=True) if k is None),)
        case Apply(op="not_"):
            return formula(e.args[0], not truth, definition)
        case Apply(op=("and_" | "or_") as op):
            parts = [formula(a, truth, definition) for a in e.args]
            if (op == "and_") == truth:
                return tuple(c for p in parts for c in p)
            found: list[frozenset[Lit]] = [frozenset()]
            for p in parts:
                found = [a | b for a in found for b in p]
                if len(found) > _MOST:
                    break
            else:
                return tuple(found)
        case Apply(op="cast") if not e.args[0].dtype.is_floating_point:
            return formula(e.args[0], truth, definition)
    return (frozenset({(("opaque", Opaque(e)), truth)}),)


class Opaque:
    """A test that is not taken apart: two are one where they say the same."""

    __slots__ = ("key", "value")

    def __init__(self, value: Expr) -> None:
        self.value, self.key = value, signature(value)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and self.key == other.key


def _mentioned(e: Expr) -> frozenset[str]:
    return frozenset(n for p in subexpressions((e,)) for n in (*used(p), *(s.name for s in index_symbols(p))))


def implies(known: Conjunction, wanted: Conjunction) -> bool:
    """Every clause that is wanted contains one that is known, what single literals decide being left out."""
    known_units = {next(iter(c)) for c in known if len(c) == 1}
    if any((atom, not truth) in known_units for atom, truth in known_units) or frozenset() in known:
        return True  # nobody comes here
    rest: list[frozenset[Lit]] | None = None
    for clause in wanted:
        if clause & known_units:
            continue
        if rest is None:
            rest = _propagated(known, known_units)
        if any((atom, not truth) in known_units for atom, truth in known_units):
            return True
        if not (clause & known_units or any(c <= clause for c in rest)):
            return False
    return True


def _propagated(known: Conjunction, units: set[Lit]) -> list[frozenset[Lit]]:
    """The clauses without literals that are known to be false; `units` grows."""
    rest = list(known)
    while True:
        rest = [frozenset(x for x in c if (x[0], not x[1]) not in units or x in units) for c in rest]
        new = {next(iter(c)) for c in rest if len(c) == 1} - units
        if not new:
            return rest
        units |= new


def literals(known: Conjunction) -> set[Lit]:
    """What certainly holds of single atoms."""
    units = {next(iter(c)) for c in known if len(c) == 1}
    _propagated(known, units)
    return units


def covered(known: Conjunction, producers: Iterable[Conjunction], deep: int = _DEEP) -> bool:
    """In every case in which `known` holds, one of the producers has run."""
    producers = list(producers)
    if any(implies(known, p) for p in producers):
        return True
    if not deep:
        return False
    units = {next(iter(c)) for c in known if len(c) == 1}
    atoms: dict[Atom, None] = {}
    for p in producers:
        for c in p:
            atoms.update({atom: None for atom, _ in c if (atom, True) not in units and (atom, False) not in units})
    negated = {atom for p in producers for c in p for atom, truth in c if not truth}
    for atom in atoms:
        if atom in negated and all(
            covered((*known, frozenset({(atom, truth)})), producers, deep - 1) for truth in (True, False)
        ):
            return True
    clauses = [c for c in known if 1 < len(c) <= 4]  # one of several that wanted the value is there
    return any(
        all(covered((*known, frozenset({lit})), producers, deep - 1) for lit in c)
        for c in clauses if any(atom in atoms for atom, _ in c)
    )


def said(c: Conjunction) -> str:
    """For a message."""
    return " and ".join(" or ".join(sorted(("" if t else "not ") + _text(a) for a, t in clause)) for clause in c) or "always"


def _text(atom: Atom) -> str:
    if atom[0] == "present":
        return f"{atom[1]} is there"
    if atom[0] == "integer":
        return f"{atom[2]} {dict(ge='>= 0', eq='== 0').get(atom[1], f'% {atom[3]} == 0')}"
    return "the gradient is set" if atom[0] == "set" else "some test holds"

"""Who uses memory: which statements touch a buffer, and whether anything reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gradgen.loops.statements import Buffer, Call, Contract, Copy, If, KernelCall, Load, Statement
from gradgen.schedule.memory import pointer_targets, touched
from gradgen.schedule.rewrite import expressions, statements_in, subexpressions


def users(statements: Iterable[Statement], rows: Mapping[str, tuple[Buffer, ...]]) -> dict[Buffer, set[int]]:
    """Which of these statements (conditions aside) touch each buffer, through row pointers too; `rows` are those from
    before."""
    statements = tuple(statements)
    pointers = {**rows, **pointer_targets(statements)}
    found: dict[Buffer, set[int]] = {}

    def walk(block: Iterable[Statement]) -> None:
        for s in block:
            if isinstance(s, If):
                walk((*s.body, *s.otherwise))
                continue
            for named in touched(s):
                for b in pointers.get(named.name, (named,)):
                    found.setdefault(b, set()).add(id(s))

    walk(statements)
    return found


def read_names(statements: Iterable[Statement]) -> set[str]:
    """The names of buffers and rows that are ever read; what is behind a row that is read counts as well."""
    statements = tuple(statements)
    found: set[str] = set()
    for s in statements_in(statements):
        found |= {e.buffer.name for e in subexpressions(expressions(s)) if isinstance(e, Load)}
        match s:
            case Contract():
                found |= {s.a.buffer.name, s.b.buffer.name, s.c.buffer.name}
            case Copy():
                found.add(s.source.name)
            case KernelCall():
                found |= {b.name for b in (*s.operands, *s.results, *s.workspace)}
            case Call():
                found |= {b.name for b, _ in s.pointers}
    targets = pointer_targets(statements)
    return found | {b.name for name in found for b in targets.get(name, ())}

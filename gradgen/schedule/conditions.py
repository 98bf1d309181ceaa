"""Neighbouring statements under the same condition become one, in every block."""

from __future__ import annotations

from gradgen.loops.statements import Comment, Expr, If, Statement
from gradgen.loops.walk import alike, changed, mapped, seen, statements_in


def merge_conditions(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Comments between two statements of the same condition belong to the second and move inside."""
    out: list[Statement] = []
    run: list[Statement] = []  # the body of the condition that is still open
    condition: Expr | None = None
    comments: list[Statement] = []

    def close() -> None:
        nonlocal condition
        if condition is not None:
            out.append(If(condition, merge_conditions(tuple(run))))
            run.clear()
            condition = None

    for s in statements:
        if isinstance(s, Comment):
            comments.append(s)
            continue
        if isinstance(s, If) and not s.otherwise:
            if condition is None or not alike(condition, s.condition) or _decides(run, condition):
                close()
                out.extend(comments)
                condition = s.condition
                run.extend(s.body)
            else:
                run.extend((*comments, *s.body))
        else:
            close()
            out.extend((*comments, mapped(s, block=merge_conditions)))
        comments.clear()
    close()
    return (*out, *comments)


def _decides(block: list[Statement], condition: Expr) -> bool:
    """Something in the block changes what the condition asks."""
    asked = set(seen((condition,)))
    return any(not asked.isdisjoint(changed(s)) for s in statements_in(block))


__all__ = ["merge_conditions"]

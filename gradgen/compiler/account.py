"""What each pass decided, in a line, or that it changed nothing: `show("passes")`, and GRADGEN_DEBUG from 3 on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from gradgen.ir.graph import topological_until
from gradgen.ir.nodes import Node
from gradgen.loops import walk
from gradgen.loops.draft import Draft
from gradgen.loops.procedure import Procedure
from gradgen.loops.statements import WORK, Comment
from gradgen.passes import Pass, observed
from gradgen.simplify.levels import Whole

UNCHANGED = "(unchanged)"
STEP = "step"  # the name of the procedure that the step of a recurrence is
MOST = 3  # nodes that a line names


class Account:
    """An observer that writes down what it sees: `with observed(account): ...`."""

    def __init__(self) -> None:
        self.looked: dict[str, int] = {}  # passes over single nodes: how many they got, and changed
        self.changed: Counter[str] = Counter()
        self.why: dict[str, str] = {}
        self.steps: dict[str, list[tuple[str, str]]] = {}  # of each procedure: the pass and what it did
        self.inner: list[tuple[str, str]] = []  # passes over steps of recurrences of the procedure that is being emitted

    def __call__(self, one: Pass[Any], before: Any, after: Any) -> None:
        self.why.setdefault(one.name, one.why)
        if isinstance(before, (Node, Whole)):
            self.looked[one.name] = self.looked.get(one.name, 0) + 1
            same = after is before or (isinstance(before, Whole) and before.outputs == after.outputs)
            self.changed[one.name] += not same
            return
        owner = after.procedure if isinstance(after, Draft) else after
        done = _difference(before, after)
        if owner.name == STEP:
            self.inner.append((one.name, done))
            return
        found = self.steps.setdefault(owner.name, [])
        found += [(f"{STEP}: {name}", what) for name, what in self.inner]
        self.inner.clear()
        found.append((one.name, done))

    def lines(self) -> list[str]:
        """All of it: passes over the graph, then each procedure's in their order."""
        found = ["graph", *(self._line(name, self._nodes(name)) for name in self.looked)]
        for owner, steps in self.steps.items():
            found += ["", owner, *(self._line(name, done) for name, done in steps)]
        return found

    def _nodes(self, name: str) -> str:
        changed, looked = self.changed[name], self.looked[name]
        return f"{changed} of {looked} nodes" if changed else UNCHANGED

    def _line(self, name: str, done: str) -> str:
        return f"  {name:<18} {done}" + ("" if done == UNCHANGED else f"  ({self.why[name]})")


def _difference(before: Any, after: Any) -> str:
    """What a pass did to a procedure or its statements."""
    if isinstance(before, Procedure) and isinstance(after, Procedure):
        return _of_nodes(_nodes(before), _nodes(after))
    assert isinstance(after, Draft)
    if not isinstance(before, Draft):
        return _counted(_kinds(after))
    if after is before:
        return UNCHANGED
    found: list[str] = []
    if not walk.same(before.statements, after.statements):
        found.append(_counts(_kinds(before), _kinds(after)) or "other expressions")
    if after.layout is not None and before.layout is None:
        count = sum(b.space == WORK for b in after.layout.offsets)
        found.append(f"WORK {after.layout.work} bytes for {count} buffers, SAVED {after.layout.saved}")
    functions = walk.functions_in(after.statements)
    if len(functions) > len(walk.functions_in(before.statements)):
        found.append(f"{len(functions)} functions")
    found += after.notes[len(before.notes) :]
    return "; ".join(found) or UNCHANGED


def _nodes(p: Procedure) -> list[Node]:
    return topological_until(tuple(o.node for o in p.outputs), set(p.given))


def _of_nodes(before: list[Node], after: list[Node]) -> str:
    old, new = set(before), set(after)
    made = [n for n in after if n not in old]
    gone = sum(n not in new for n in before)
    if not made and not gone:
        return UNCHANGED
    said = [f"{type(n).__name__}[{', '.join(map(str, n.shape))}]" for n in made[:MOST]]
    return f"{gone} nodes became {len(made)}: {', '.join([*said, '...'] if len(made) > MOST else said)}"


def _kinds(draft: Draft) -> Counter[str]:
    return Counter(type(s).__name__ for s in walk.statements_in(draft.statements) if not isinstance(s, Comment))


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items()))


def _counts(before: Counter[str], after: Counter[str]) -> str:
    return ", ".join(f"{k} {before[k]} -> {after[k]}" for k in sorted(before | after) if before[k] != after[k])


def watched(run: Callable[[], Any]) -> list[str]:
    """The account of whatever runs."""
    account = Account()
    with observed(account):
        run()
    return account.lines()


__all__ = ["Account", "watched"]

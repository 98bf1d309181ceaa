"""The border of a trace: whatever a function that is being recorded exchanges with the world around it is asked for here.

While `gg.trace`, `gg.jit`, `gg.scan` or a transform of `gg.func` runs a function, one `Border` is open (`state.border`, the
innermost).  What the function makes is inside (`Cell.home`); everything else is outside, and crosses: values that it reads
(`enter`), tensors that it changes (`writing`), gradients it adds into leaves, draws, states of modules.  What a trace
changes outside is put back when it ends, also where it raises (`remember`).

The border also knows what autograd's tape says of the tensors inside.  A tensor's value and its place in the history need
not agree (`.data`, `detach_()`, a change in place under `no_grad`): the value is what its storage holds, the derivative goes
where its edge leads.  `seen` gives the one record that says both.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from gradgen.eager import masks, views
from gradgen.eager.apply import Plan
from gradgen.eager.grad_fn import FREED, AccumulateGrad, Edge, Node, OpNode
from gradgen.eager.modes import state
from gradgen.eager.storage import Cell
from gradgen.eager.tensor import Tensor
from gradgen.eager.views import CopySlices
from gradgen.errors import TraceError
from gradgen.ir.nodes import Input
from gradgen.ops.registry import Op
from gradgen.record.records import Record, symbol_leaf
from gradgen.record.user_lines import users_line
from gradgen.trace import tape
from gradgen.trace.whereabouts import name_of


class Border:
    """Open while `function` is recorded; a context manager.

    `entered` are the tensors from outside by the record that stands for each, `carried` what the tape says of the edges that
    operations made, `moving` what forward mode differentiates of changed storage, `changed` the storage from outside that
    holds a value of the trace, `behind` that which was written through `.data`, `outer` the border around this one.
    """

    transform = ""
    """Which transform of gg.func the function is given to."""
    puts_back_numbers = False
    """Whether attributes of Modules are put back that hold no tensors."""

    def __init__(self, function: Callable[..., Any] | None) -> None:
        self.function = function
        self.outer: Border | None = state.border
        self.closed = False
        self.entered: dict[Record, Tensor] = {}
        self._symbols: dict[tuple[Any, ...], Record] = {}
        self.carried: dict[Edge, Record] = {}
        self.moving: dict[Cell, dict[Tensor | None, Record]] = {}
        self.behind: set[Cell] = set()
        self.changed: dict[Cell, Tensor] = {}
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Border:
        self.outer, state.border = state.border, self
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        state.border, self.closed = self.outer, True
        for restore in reversed(self._undo):
            restore()
        self._undo.clear()
        if self.outer is not None:  # what depends on no argument of this function goes on as the outer one's
            self.outer.carried.update(self.carried)

    @property
    def depth(self) -> int:
        """How many borders are around this one."""
        return 0 if self.outer is None else self.outer.depth + 1

    def is_inside(self, cell: Cell) -> bool:
        """Whether the storage was made by the function that is recorded, or holds a value of it."""
        if cell in self.changed:
            return True
        home = cell.home
        while home is not None and home.closed:
            home = home.outer
        return home is self

    def remember(self, restore: Callable[[], None]) -> None:
        """`restore()` runs when the trace ends, however it ends; the last one first."""
        self._undo.append(restore)

    # --- at the end -----------------------------------------------------------------------------------------------------

    def arguments_unchanged(self, arguments: Sequence[Tensor], before: Sequence[Record], names: Sequence[str]) -> None:
        """TraceError where the function changed one of its arguments, whose caller would not see it."""
        for tensor, record, name in zip(arguments, before, names):
            now = tensor._cell.record
            if now is not record and now is not None:
                raise TraceError(
                    f"the argument {name} is changed in place: the caller's tensor would stay as it is",
                    where=str(now.location) if now.location else None,
                    hint=f"work on a copy ({name} = {name}.clone()) and return the new value",
                )
            if tensor._grad is not None:
                raise TraceError(
                    f"backward() in what is traced adds into .grad of the argument {name}: the caller's stays as it is",
                    hint=f"use autograd.grad(), which returns the gradients, or set {name}.grad to None again",
                )
            if tensor._requires != record.requires_grad:
                raise TraceError(f"requires_grad of the argument {name} is changed: the caller's tensor would stay as it is",
                                 hint=f"use {name}.detach(), or no_grad() around what needs no gradient")

    def audit(self, results: Sequence[Tensor]) -> None:
        """Walks the tape below the results, as backward would.

        RuntimeError in PyTorch's words where a saved tensor was changed in place since, TraceError where backward would do
        what a graph cannot: run hooks, or read saved values that were changed behind the tape's back.
        """
        given: dict[Node, set[int]] = {}
        waiting: list[tuple[int, int, Node]] = []

        def arrive(edge: Edge | None) -> None:
            if edge is None or not self._made(edge[0]):
                return
            if edge[0] not in given:
                heapq.heappush(waiting, (-edge[0].sequence, id(edge[0]), edge[0]))
            given.setdefault(edge[0], set()).add(edge[1])

        for t in results:
            arrive(t._edge())
        while waiting:
            node = heapq.heappop(waiting)[2]
            inner = node.inner if isinstance(node, CopySlices) else node
            outputs = given[node] if inner is node else {node.number}  # type: ignore[attr-defined]
            self._audit_node(node)
            if inner is not node:
                self._audit_node(inner)
            flows = inner.flows(tuple(k in outputs for k in range(len(inner.outs)))) if isinstance(inner, OpNode) else None
            for k, edge in enumerate(node.edges):
                if flows is None or k in flows or inner is not node:
                    arrive(edge)

    def _made(self, node: Node) -> bool:
        if isinstance(node, AccumulateGrad):
            return self.is_inside(node.variable._cell)
        return True

    def _audit_node(self, node: Node) -> None:
        hooks = node.hooks
        origin = node.origin if isinstance(node, OpNode) else None
        where = Record(None, (), (), node.outs[0], origin=origin).location if origin is not None else None
        if (hooks is not None and (any(hooks.tensor.values()) or hooks.pre or hooks.post)) or (
            isinstance(node, AccumulateGrad) and node.variable._post_hooks
        ):
            raise TraceError(f"a hook is registered on {node.name()}, which is traced: it would never run",
                             where=str(where) if where else None,
                             hint="change the gradient by operations, for example by an autograd.Function")
        if isinstance(node, AccumulateGrad):
            node.check_leaf()
        if isinstance(node, OpNode):
            if node.freed and node.plan.pullback(node.wanted, tuple(True for _ in node.outs)).saves:
                raise RuntimeError(FREED)
            if node.changed_unseen():
                raise TraceError(
                    f"a tensor that {node.name()} saved for backward was changed in place through .data or numpy()",
                    where=str(where) if where else None,
                    hint="backward would use the changed value for the derivative of the old one; change a clone() instead",
                )

    # --- reading --------------------------------------------------------------------------------------------------------

    def operands(self, given: Sequence[Any], values: list[Any], edges: Sequence[Edge | None] | None) -> None:
        """Puts in `values` what an operation on the tensors among `given` sees of them; `edges` where it has a history."""
        for k, x in enumerate(given):
            if isinstance(x, Tensor):
                values[k] = self.seen(x, values[k], edges[k] if edges is not None else None, edges is not None)

    def seen(self, tensor: Tensor, record: Record, edge: Edge | None, tracked: bool) -> Record:
        """`record`, the value of `tensor`, with the derivative that its `edge` has."""
        if not self.is_inside(tensor._cell):
            masks.refuse_selected(tensor, "an operand of another function")
            if not tracked and self.outer is not None and not state.inference:
                edge = tensor._edge()  # under no_grad: constant in reverse mode, and not in forward mode around
            return self.enter(tensor, record, edge)
        moving = None if state.inference else tape.moving(tensor, record, self)
        if tracked or moving is not record:
            derived = tape.grafted(record, self._history(edge, record) if edge is not None else None, moving)
            root = tensor._base if tensor._base is not None else tensor
            if root._still == 2 or tensor._cell in self.behind:
                return tape.localised(record, derived)
            return derived
        return record

    def _history(self, edge: Edge, record: Record) -> Record | None:
        """What the tape says of `edge`; of nodes that another trace made, that `record` is right."""
        try:
            return tape.meaning(edge, self)
        except KeyError:
            return record

    def looking(self, tensor: Tensor) -> None:
        """Called where the value of a tensor is looked at: what is recorded may depend on it."""
        if not self.is_inside(tensor._cell):
            self.looks(tensor)
            if self.outer is not None:
                self.outer.looking(tensor)

    def looks(self, tensor: Tensor) -> None:
        """The value of a tensor from outside is looked at."""

    def result(self, tensor: Tensor) -> Record:
        """The record of a tensor that the function returns."""
        masks.refuse_selected(tensor, "a result")
        return self.seen(tensor, tensor._record, tensor._edge(), True)

    def enter(self, tensor: Tensor, record: Record, edge: Edge | None) -> Record:
        """A tensor from outside is read: a symbol stands for it, one more operand of the operation that the trace becomes.

        `edge` where the operation that reads it has a history.  Views are taken inside, of what they are views of.
        """
        root = tensor._base if tensor._base is not None and (edge is None or tensor._fn is not None) else tensor
        if root._cell is not tensor._cell:
            root = tensor
        source = self._symbol(root, root._edge() if edge is not None else None)
        return source if root is tensor else views.applied(source, views.below(tensor))

    def _symbol(self, tensor: Tensor, edge: Edge | None) -> Record:
        key = (tensor._cell, tensor._chain, edge)
        found = self._symbols.get(key)
        if found is None:
            spec = tensor._spec
            node = Input(f"outside{len(self._symbols)}_depth{self.depth}", spec.shape, spec.dtype, edge is not None)
            found = self._symbols[key] = symbol_leaf(node, requires_grad=edge is not None)
            self.entered[found] = tensor if edge is not None or not tensor.requires_grad else tensor.detach()
        return found

    def selection(self, op: Op, plan: Plan, operands: tuple[Any, ...]) -> masks.Selection | None:
        """Which elements the result stands for, where operands are what a traced mask selects."""
        return masks.selection_of(op, plan, operands)

    def select(self, tensor: Tensor, selection: masks.Selection) -> None:
        """The tensor stands for the selected elements only."""
        tensor.__class__, tensor._selection = masks.Selected, selection

    def carry(self, tensors: Sequence[Tensor], records: Sequence[Record]) -> None:
        """An operation was recorded: what its results are is what its history says."""
        for tensor, record in zip(tensors, records):
            if tensor._fn is not None:
                self.carried[tensor._fn, tensor._nr] = record

    def argument(self, tensor: Tensor) -> Tensor:
        """A symbolic tensor that the function is called with."""
        if tensor._requires:
            self.carried[tensor._accumulator(), 0] = tensor._record
        return tensor

    # --- writing --------------------------------------------------------------------------------------------------------

    def may_change(self, tensor: Tensor) -> bool:
        """Whether a tensor from outside may take a value of the trace: until it ends, then it has its old one again."""
        return False

    def writing(self, tensor: Tensor) -> None:
        """Called before the value of `tensor` changes.  TraceError where it is from outside and may not (`may_change`)."""
        cell = tensor._cell
        if self.is_inside(cell):
            return
        if self.may_change(tensor):
            self.changed[cell] = tensor
            self.remember(restored(cell))
            cell.owner, cell.record = None, cell.current()
        else:
            raise TraceError(
                f"{self.called(tensor)} is changed in place, and is no argument: a trace leaves what is outside as it is",
                where=users_line(),
                hint="pass it as an argument and return the new value, or work on a copy: clone()",
            )

    def wrote(self, tensor: Tensor, record: Record) -> None:
        """Called before `record` becomes the value of `tensor`."""
        tape.written(tensor, record, self)

    def setting(self, owner: Any, name: str, value: Any) -> None:
        """Called before attribute `name` of the Module `owner` becomes `value`; what it was comes back at the trace's end."""
        if isinstance(value, Tensor) or hasattr(value, "_parameters") or self.puts_back_numbers:
            tables = [*(owner.__dict__[t] for t in ("_parameters", "_buffers", "_modules")), owner.__dict__]
            before = [(t, name in t, t.get(name)) for t in tables]
            self.remember(lambda: [t.update({name: v}) if there else t.pop(name, None) for t, there, v in before])

    def rebased(self, slices: CopySlices, before: Record) -> None:
        """A view was changed in place; `before` was the value of its base."""
        edge, part = slices.edges[0], (slices.inner, slices.number)
        view = views.read(before, slices.chain)
        below = self._history(edge, before) if edge is not None else None
        tape.rebased((slices, 0), slices.chain, before, below, self._history(part, view), self)

    def accumulating(self, leaf: Tensor) -> None:
        """Called before a gradient is added into `.grad` of `leaf`.  TraceError where it is from outside."""
        if not self.is_inside(leaf._cell):
            raise TraceError(
                f"backward() inside of what is traced adds into .grad of {self.called(leaf)}, which is no argument",
                where=users_line(),
                hint="use autograd.grad(), which returns the gradients, or pass the tensor as an argument",
            )

    def called(self, tensor: Tensor) -> str:
        """What the user calls a tensor from outside, or its shape."""
        return name_of(tensor, self.function) or f"a tensor of shape {list(tensor.shape)}"


def restored(cell: Cell) -> Callable[[], None]:
    """What puts the storage back as it is now."""
    return functools.partial(_restore, cell, cell.record, cell.version, cell.owner)


def _restore(cell: Cell, record: Record | None, version: int, owner: Any) -> None:
    cell.record, cell.version, cell.owner = record, version, owner
    cell.generation += 1


class Constants(Border):
    """The border of `gg.trace`: what enters is a constant of the program; `constants` are those, with their names."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.constants: dict[str, Tensor] = {}

    def enter(self, tensor: Tensor, record: Record, edge: Edge | None) -> Record:
        """A constant.  TraceError for a tensor that requires a gradient, which a constant has not."""
        if edge is not None:
            raise TraceError(
                f"{self.called(tensor)} requires grad and is no argument: a constant of the program gets no gradient",
                where=users_line(),
                hint="make it an argument of the traced function (of a module: gg.func.functional_call), or say that it is "
                "a constant: detach(), or no_grad() around it",
            )
        if record not in self.entered:
            self.entered[record] = tensor
            self.constants.setdefault(self.called(tensor), tensor)
        return record

"""Running graphs backward: `backward`, `grad`, and the order in which nodes and hooks run.

The order is PyTorch's: a node runs when all its gradients have arrived, the one recorded last first, accumulation into
leaves before anything else; gradients that meet are added in the order they arrive.  Per node: hooks on the tensors it
made, prehooks of the node, gradients to be retained, the node itself, its posthooks.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import gradgen.eager.apply as recording
from gradgen.eager import internal, replay
from gradgen.eager.grad_fn import AccumulateGrad, Edge, Node
from gradgen.eager.modes import state
from gradgen.eager.services import services
from gradgen.eager.subscripts import stack_rows
from gradgen.eager.tensor import Tensor
from gradgen.errors import TraceError

Grads = list[Tensor | None]


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Adds the gradients of `tensors`, weighted by `grad_tensors`, into `.grad` of the leaves, or of `inputs` only."""
    if state.border is not None and state.border.transform:
        raise RuntimeError(
            "backward() called inside a functorch transform. This is not supported, please use functorch.grad or "
            "functorch.vjp instead or call backward() outside of functorch transforms."
        )
    note = None
    if type(tensors) is Tensor and grad_tensors is None and inputs is None and not create_graph:
        start = replay.walk(tensors, bool(retain_graph))
        if start is not None:
            program = replay.known(start)
            if program is not None:
                program.run(start, bool(retain_graph))
                return
            note = replay.Note(start)
            del start
    if inputs is not None and not isinstance(inputs, Tensor) and len(tuple(inputs)) == 0:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    roots = _tensors(tensors)
    cotangents = _cotangents(roots, _tensors(grad_tensors, len(roots)), create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    for t in _tensors(inputs):
        t.retain_grad()
    targets = None if inputs is None else _edges_of(_tensors(inputs))
    run(roots, cotangents, keep, create_graph, targets, True, note)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of `outputs`, weighted by `grad_outputs`, by `inputs`; nothing is accumulated.

    An input that no output depends on raises RuntimeError, or gives None with `allow_unused`, zeros with
    `materialize_grads`.
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    if is_grads_batched:
        return _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    roots, wrt = _tensors(outputs), _tensors(inputs)
    if not wrt:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    cotangents = _cotangents(roots, _tensors(grad_outputs, len(roots)), create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    found = run(roots, cotangents, keep, create_graph, _edges_of(wrt), accumulate=False)
    if materialize_grads:
        found = [internal.filled(x._spec, 0) if g is None else g for g, x in zip(found, wrt)]
    elif not allow_unused:
        for k, g in enumerate(found):
            if g is None:
                raise RuntimeError(
                    f"The differentiated Tensor at index {k} appears to not have been used in the graph. Set "
                    "allow_unused=True if this is the desired behavior."
                )
    return tuple(found)


def _batched(
    outputs: Any, inputs: Any, grad_outputs: Any, retain: bool | None, create: bool, unused: bool | None, fill: bool
) -> tuple[Tensor | None, ...]:
    """One backward per row of the stacked cotangents; rows of the results stacked again."""
    roots, wrt = _tensors(outputs), _tensors(inputs)
    stacked = _tensors(grad_outputs, len(roots))
    count = next(len(g) for g in stacked if g is not None)
    rows = []
    for k in range(count):
        last = k == count - 1
        cotangents = [None if g is None else g[k] for g in stacked]
        rows.append(
            grad(roots, wrt, cotangents, (retain or create) if last else True, create, True, unused, False, fill)
        )
    return tuple(None if column[0] is None else stack_rows(column) for column in zip(*rows))


def _tensors(given: Any, count: int = 0) -> list[Any]:
    if given is None:
        return [None] * count
    return [given] if isinstance(given, Tensor) else list(given)


def _edges_of(tensors: Sequence[Any]) -> list[Edge]:
    edges = []
    for t in tensors:
        if not isinstance(t, Tensor):
            raise RuntimeError(f"all inputs have to be Tensors or GradientEdges, but got {type(t).__name__}")
        edge = t._edge()
        if edge is None and not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        edges.append(edge if edge is not None else (AccumulateGrad(t), 0))
    return edges


def _cotangents(roots: Sequence[Tensor], given: Sequence[Any], create_graph: bool) -> list[Tensor]:
    if len(given) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(given)} gradients")
    found = []
    for k, (root, gradient) in enumerate(zip(roots, given)):
        if gradient is None:
            if root.requires_grad:
                if root.numel() != 1:
                    raise RuntimeError("grad can be implicitly created only for scalar outputs")
                if not root.dtype.is_floating_point:
                    raise RuntimeError(
                        f"grad can be implicitly created only for real scalar outputs but got {root.dtype}"
                    )
            found.append(internal.filled(root._spec, 1))
        elif not isinstance(gradient, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(gradient).__name__}")
        else:
            if gradient._spec.shape != root._spec.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{k}] has a shape of {gradient.shape} and output[{k}] has a shape of "
                    f"{root.shape}."
                )
            found.append(gradient)
    for k, root in enumerate(roots):
        if not root.requires_grad:
            raise RuntimeError(f"element {k} of tensors does not require grad and does not have a grad_fn")
    return found


# --- the engine --------------------


class _Task:
    """One run: what has arrived at each node, what is to be captured, and which leaves were added into."""

    __slots__ = ("buffers", "captured", "keep", "needed", "touched", "wanted")

    def __init__(self, roots: Sequence[Node], targets: Sequence[Edge] | None, keep: bool, accumulate: bool) -> None:
        self.keep = keep
        self.buffers: dict[Node, Grads] = {}
        self.captured: Grads = [None] * len(targets or ())
        self.touched: list[Tensor] = []
        self.wanted: dict[Node, list[tuple[int, int]]] = {}
        self.needed: set[Node] | None = None
        if targets is not None:
            for k, (node, number) in enumerate(targets):
                self.wanted.setdefault(node, []).append((k, number))
            self.needed = _leading_to(set(self.wanted), roots)
            if accumulate:
                self.needed |= self.wanted.keys()

    def arrive(self, edge: Edge, gradient: Tensor, source: Node | None, position: int) -> None:
        """Adds a gradient to what has arrived at output `edge[1]` of node `edge[0]`."""
        node, number = edge
        if (gradient._cell.spec if gradient._chain is None else gradient._spec) is not node.outs[number]:
            gradient = _validated(gradient, edge, source, position)
        buffer = self.buffers.get(node)
        if buffer is None:
            buffer = self.buffers[node] = [None] * len(node.outs)
        before = buffer[number]
        buffer[number] = gradient if before is None else recording.apply(internal.ADD, (before, gradient))


def _dependencies(roots: Sequence[Node]) -> dict[Node, int]:
    """How many gradients every reachable node gets, the roots' own left out."""
    waiting: dict[Node, int] = {}
    seen = set(roots)
    stack = list(seen)
    while stack:
        for edge in stack.pop().edges:
            if edge is None:
                continue
            node = edge[0]
            waiting[node] = waiting.get(node, 0) + 1
            if node not in seen:
                seen.add(node)
                stack.append(node)
    return waiting


def _leading_to(targets: set[Node], roots: Sequence[Node]) -> set[Node]:
    """The nodes above the targets: those that have to run."""
    needed: set[Node] = set()
    done: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(n, False) for n in roots]
    while stack:
        node, expanded = stack.pop()
        below = [e[0] for e in node.edges if e is not None]
        if expanded:
            if any(n in needed or n in targets for n in below):
                needed.add(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack.extend((n, False) for n in below)
    return needed


def run(
    roots: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    keep: bool,
    create_graph: bool,
    targets: Sequence[Edge] | None,
    accumulate: bool,
    note: replay.Note | None = None,
) -> Grads:
    """Runs the graph below `roots`; the gradients captured for `targets`, in order."""
    edges = [root._edge() for root in roots]
    before = state.grad
    state.grad = create_graph
    try:
        task = _Task([e[0] for e in edges if e is not None], targets, keep, accumulate)
        for k, edge in enumerate(edges):
            if edge is not None:
                task.arrive(edge, cotangents[k], None, k)
        _walk(task, _dependencies(tuple(task.buffers)))
    finally:
        state.grad = before
    if not create_graph:
        evaluation = _look(task, roots)
        if note is not None:
            note.remember(evaluation)
    return task.captured


_FIRST = -(1 << 62)


def _walk(task: _Task, waiting: dict[Node, int]) -> None:
    """Runs every node once its gradients have arrived, the one recorded last first, accumulators before all."""
    ready: list[tuple[int, int, Node]] = []
    count = 0
    for node in task.buffers:
        if not waiting.get(node):
            ready.append((-node.sequence, count, node))
            count += 1
    heapq.heapify(ready)
    while ready:
        node = heapq.heappop(ready)[2]
        gradients = task.buffers.pop(node, None)
        found = _step(task, node, gradients if gradients is not None else [None] * len(node.outs))
        if found is None:
            continue
        for k, edge in enumerate(node.edges):
            if edge is None:
                continue
            below = edge[0]
            gradient = found[k] if k < len(found) else None
            if gradient is not None:
                task.arrive(edge, gradient, node, k)
            waiting[below] -= 1
            if not waiting[below]:
                heapq.heappush(ready, (_FIRST if isinstance(below, AccumulateGrad) else -below.sequence, count, below))
                count += 1


def _step(task: _Task, node: Node, gradients: Grads) -> Sequence[Tensor | None] | None:
    """Hooks, captures and the node itself; None for a node that need not run."""
    hooks = node.hooks
    if task.needed is not None:
        captures = task.wanted.get(node, ())
        runs = node in task.needed
        if captures and not runs:
            gradients = _tensor_hooks(node, gradients)
        for k, number in captures:
            task.captured[k] = gradients[number]  # of a node that runs: before its hooks, as PyTorch has it
        if not runs:
            return None
    if hooks is not None:
        gradients = _prehooks(node, _tensor_hooks(node, gradients))
        _retain(node, gradients)
    return _run_node(task, node, gradients)


def _run_node(task: _Task, node: Node, gradients: Grads) -> Sequence[Tensor | None]:
    found = node.pull(gradients)
    if not task.keep:
        node.release()
    if isinstance(node, AccumulateGrad):
        if gradients[0] is not None and node.variable.requires_grad:
            task.touched.append(node.variable)
            for hook in list((node.variable._post_hooks or {}).values()):
                if hook(node.variable) is not None:
                    raise RuntimeError("Tensor post accumulate grad hooks should return None.")
    elif node.hooks is not None and node.hooks.post:
        for hook in list(node.hooks.post.values()):
            result = hook(tuple(found), tuple(gradients))
            if result is not None:
                found = result if isinstance(result, tuple) else (result,)
    return found


def _tensor_hooks(node: Node, gradients: Grads) -> Grads:
    if node.hooks is None or not node.hooks.tensor:
        return gradients
    found = list(gradients)
    for number, hooks in node.hooks.tensor.items():
        for hook in list(hooks.values()):
            gradient = found[number]
            if gradient is None:
                continue
            result = hook(gradient)
            if result is not None:
                found[number] = _checked_hook(result, gradient)
    return found


def _checked_hook(result: Any, gradient: Tensor) -> Tensor:
    if not isinstance(result, Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(result).__name__}'")
    if result._spec.shape != gradient._spec.shape:
        raise RuntimeError("hook '<lambda>' has changed the size of value")
    return result


def _prehooks(node: Node, gradients: Grads) -> Grads:
    if node.hooks is None or not node.hooks.pre:
        return gradients
    for hook in list(node.hooks.pre.values()):
        result = hook(tuple(gradients))
        if result is not None:
            gradients = list(result) if isinstance(result, tuple) else [result]
    return gradients


def _retain(node: Node, gradients: Grads) -> None:
    if node.hooks is None or not node.hooks.retain:
        return
    for number, reference in node.hooks.retain.items():
        tensor, gradient = reference(), gradients[number]
        if tensor is None or gradient is None:
            continue
        kept = gradient if state.grad else gradient._alone()
        if tensor._grad is None:
            tensor._grad = kept
        else:
            tensor._grad = recording.apply(internal.ADD, (tensor._grad, kept))


def _validated(gradient: Tensor, edge: Edge, node: Node | None, position: int) -> Tensor:
    """The gradient in the shape and dtype of the tensor it is for."""
    node_to, number = edge
    wanted = node_to.outs[number]
    if gradient._spec is wanted:
        return gradient
    if gradient._spec.shape != wanted.shape:
        if not internal.expandable(wanted.shape, gradient._spec.shape):
            name = node.name() if node is not None else "GraphRoot"
            raise RuntimeError(
                f"Function {name} returned an invalid gradient at index {position} - got {list(gradient.shape)} but "
                f"expected shape compatible with {list(wanted.shape)}"
            )
        gradient = internal.sum_to(gradient, wanted.shape)
    return internal.to_dtype(gradient, wanted.dtype)


def _look(task: _Task, roots: Sequence[Tensor]) -> Any:
    """backward() is a look: gradients are computed now, and the outputs with them."""
    records = [t._grad._record for t in task.touched if t._grad is not None]
    records += [g._record for g in task.captured if g is not None]
    if not records:
        return None
    records += [t._record for t in roots]
    try:
        return recording.evaluate_records(list(dict.fromkeys(records)))
    except TraceError:
        return None  # part of a trace: there is nothing to look at yet


services.backward = backward

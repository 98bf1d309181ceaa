"""Function transforms by PyTorch's names (torch.func): grad, vjp, jvp, jacrev, jacfwd, hessian, vmap, and hvp.

A transform traces the function on the shapes of its arguments and records one operation whose lowering transforms the
graph; so transforms nest, differentiate, run eagerly, and are emitted as C inside a traced function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from gradgen.autodiff import gradients, tangents
from gradgen.autodiff.jacobian import hessian as graph_hessian
from gradgen.autodiff.jacobian import hvp as graph_hvp
from gradgen.autodiff.jacobian import jacobian as graph_jacobian
from gradgen.eager.apply import apply
from gradgen.eager.drawing import Source, current, states_by_step
from gradgen.eager.tensor import Tensor
from gradgen.errors import DerivativeError, ShapeError
from gradgen.ir.batch import batched, moved_axis, repeated
from gradgen.ir.functions import local, retold
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read
from gradgen.ir.rewrite import substitute
from gradgen.ir.scalar_table import NoDerivative
from gradgen.ir.symbols import placeholder, same_extent
from gradgen.trace import tape
from gradgen.trace.closure import capture, flatten, operation, unflatten

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "hvp", "jacfwd", "jacrev", "jvp", "stack_module_state", "vjp",
    "vmap",
]

Function = Callable[..., Any]
Lower = Callable[[Graph, Sequence[Node], Sequence[Node]], Sequence[Node]]
"""(graph over its own inputs, its inputs, further operands) -> nodes over the same."""


def _positions(argnums: int | Sequence[int], count: int) -> list[int]:
    wanted = [argnums] if isinstance(argnums, int) else list(argnums)
    return [k % count if -count <= k < count else _out_of_range(k, count) for k in wanted]


def _out_of_range(k: int, count: int) -> int:
    raise RuntimeError(f"Got argnum={k}, but only {count} positional inputs")


class _Call:
    """A function's graph for given arguments, and which of its inputs belong to which argument."""

    def __init__(self, function: Function, args: tuple[Any, ...], name: str) -> None:
        tensors, tree = flatten(args)
        shapes = [tuple(t.shape) for t in tensors]
        source = current()
        before = source.count
        self.graph, outside, self.tree = capture(function, tensors, shapes, tree, name, source)
        self.draws = source.count > before
        self.operands = [*tensors, *outside]
        self.spans: list[range] = []
        self.trees: list[Any] = []
        start = 0
        for a in args:
            inner, inner_tree = flatten(a)
            self.spans.append(range(start, start + len(inner)))
            self.trees.append(inner_tree)
            start += len(inner)

    def inputs(self, argnums: Sequence[int]) -> list[int]:
        return [k for a in argnums for k in self.spans[a]]

    def scalar(self, name: str) -> None:
        if len(self.graph.outputs) < 1 or self.graph.outputs[0].shape:
            shape = list(self.graph.outputs[0].shape) if self.graph.outputs else None
            raise RuntimeError(f"{name}: Expected f(*args) to return a scalar tensor, got tensor with {len(shape or ())} "
                               f"dims. Maybe you wanted to use the vjp or jacrev APIs instead?")

    def nested(self, values: Sequence[Any], argnums: int | Sequence[int]) -> Any:
        """`values`, one per input of the chosen arguments, nested like them."""
        wanted = _positions(argnums, len(self.spans))
        result, start = [], 0
        for a in wanted:
            count = len(self.spans[a])
            result.append(unflatten(self.trees[a], values[start : start + count]))
            start += count
        return result[0] if isinstance(argnums, int) else tuple(result)


def _zeros(node: Node) -> Node:
    return Compute(node.shape, placeholder(0), [Read(Constant(0, node.dtype), ())], node.dtype)


def grad_and_value(func: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """`f(*args)` becomes (gradient of its scalar result by the chosen arguments, result); with `has_aux` f returns
    (result, aux) and the value is (result, aux)."""

    @functools.wraps(func)
    def call(*args: Any) -> Any:
        made = _Call(func, args, "grad")
        made.scalar("grad_and_value")
        chosen = made.inputs(_positions(argnums, len(args)))

        def lower(graph: Graph, inputs: Sequence[Node], extra: Sequence[Node]) -> Sequence[Node]:
            wrt = [inputs[k] for k in chosen]
            found = gradients(graph.outputs[:1], [Constant(1, graph.outputs[0].dtype)], wrt)
            return [*(g if g is not None else _zeros(w) for g, w in zip(found, wrt)), *graph.outputs]

        results = _record(f"grad_{chosen}", made, (), lower, len(chosen) + len(made.graph.outputs))
        value = unflatten(made.tree, results[len(chosen) :])
        return made.nested(results[: len(chosen)], argnums), value

    return call


def grad(func: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """`f(*args)` becomes the gradient of its scalar result by the chosen arguments (and aux, with `has_aux`)."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def call(*args: Any) -> Any:
        gradient, value = both(*args)
        return (gradient, value[1]) if has_aux else gradient

    return call


def vjp(func: Function, *primals: Any) -> tuple[Any, Function]:
    """(f(*primals), a function from cotangents of the result to the products with the Jacobian's transpose)."""
    made = _Call(func, primals, "vjp")
    if made.draws:  # the function once more would draw other numbers
        values = _record("value", made, (), lambda graph, inputs, extra: graph.outputs, len(made.graph.outputs))
        outputs = unflatten(made.tree, values)
    else:
        outputs = func(*primals)
    count = len(flatten(primals)[0])

    def pull(*cotangents: Any) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        seeds, _ = flatten(given)
        if len(seeds) != len(made.graph.outputs):
            raise RuntimeError(f"Expected {len(made.graph.outputs)} cotangents, one per output, got {len(seeds)}")

        def lower(graph: Graph, inputs: Sequence[Node], extra: Sequence[Node]) -> Sequence[Node]:
            wrt = list(inputs[:count])
            found = gradients(graph.outputs, extra, wrt)
            return [g if g is not None else _zeros(w) for g, w in zip(found, wrt)]

        results = _record(f"vjp_{count}", made, seeds, lower, count)
        return tuple(made.nested(results, tuple(range(len(primals)))))

    return outputs, pull


def _record(name: str, made: _Call, extra: Sequence[Tensor], lower: Lower, outputs: int) -> list[Tensor]:
    """One operation on the call's operands and `extra`, with `outputs` results; `name` says what `lower` does.

    It is applied over inputs that nothing else has, then to the operands: one tensor may be an argument and be used by
    the function from outside too.
    """
    graph, count = made.graph, len(made.graph.inputs)
    own = [Input(f"own_{graph.key[:16]}_{k}", n.shape, n.dtype) for k, n in enumerate(graph.inputs)]

    def lowered(*nodes: Node) -> Node | tuple[Node, ...]:
        over = substitute(graph.outputs, dict(zip(graph.inputs, own)))
        made_own = lower(Graph((), over, graph.output_names), own, nodes[count:])
        found = substitute(tape.seen_around(made_own), dict(zip(own, nodes[:count])))
        return found if len(found) > 1 else found[0]

    op = operation(f"func_{name}_{graph.key[:24]}_{len(extra)}", lowered, f"{name.split('_')[0].capitalize()}Backward",
                   outputs)
    results = apply(op, (*made.operands, *extra), {})
    return list(results) if isinstance(results, tuple) else [results]


def jvp(func: Function, primals: tuple[Any, ...], tangents_: tuple[Any, ...] | None = None, **named: Any) -> tuple[Any, Any]:
    """(f(*primals), its directional derivative along `tangents`, nested like the result)."""
    directions = named.pop("tangents", tangents_)
    if not isinstance(primals, tuple) or not isinstance(directions, tuple) or len(primals) != len(directions):
        raise RuntimeError("jvp(f, primals, tangents): primals and tangents are tuples of the same length")
    made = _Call(func, primals, "jvp")
    extra, _ = flatten(directions)
    count = len(made.graph.outputs)

    def lower(graph: Graph, inputs: Sequence[Node], extra: Sequence[Node]) -> Sequence[Node]:
        try:
            moved = tangents(graph.outputs, dict(zip(inputs, extra)))
        except NoDerivative as error:
            raise DerivativeError(str(error), hint="reverse mode has one: func.vjp, func.grad, func.jacrev") from None
        return [*graph.outputs, *(m if m is not None else _zeros(o) for m, o in zip(moved, graph.outputs))]

    results = _record("jvp", made, extra, lower, 2 * count)
    return unflatten(made.tree, results[:count]), unflatten(made.tree, results[count:])


def _jacobian(func: Function, argnums: int | Sequence[int], mode: str) -> Function:
    @functools.wraps(func)
    def call(*args: Any) -> Any:
        made = _Call(func, args, mode)
        chosen = made.inputs(_positions(argnums, len(args)))
        count = len(made.graph.outputs)

        def lower(graph: Graph, inputs: Sequence[Node], extra: Sequence[Node]) -> Sequence[Node]:
            wrt = [inputs[k] for k in chosen]
            return [j for output in graph.outputs for j in graph_jacobian(output, wrt, mode)]

        results = _record(f"jacobian_{mode}_{chosen}", made, (), lower, count * len(chosen))
        rows = [made.nested(results[k * len(chosen) : (k + 1) * len(chosen)], argnums) for k in range(count)]
        return unflatten(made.tree, rows)

    return call


def jacrev(func: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The Jacobian [*result.shape, *argument.shape] by reverse mode: for more inputs than outputs."""
    return _jacobian(func, argnums, "reverse")


def jacfwd(func: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The Jacobian [*result.shape, *argument.shape] by forward mode: for more outputs than inputs."""
    return _jacobian(func, argnums, "forward")


def hessian(func: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Second derivatives of a scalar function, forward over reverse: [*a.shape, *b.shape] per pair of arguments."""

    @functools.wraps(func)
    def call(*args: Any) -> Any:
        made = _Call(func, args, "hessian")
        asymmetric = any(isinstance(n, Compute) and isinstance(n.body, (local, retold)) for n in made.graph.nodes)
        if made.graph.outputs[0].shape or asymmetric:
            return jacfwd(jacrev(func, argnums), argnums)(*args)
        chosen = made.inputs(_positions(argnums, len(args)))
        n = len(chosen)

        def lower(graph: Graph, inputs: Sequence[Node], extra: Sequence[Node]) -> Sequence[Node]:
            blocks = graph_hessian(graph.outputs[0], [inputs[k] for k in chosen])
            return [b for row in blocks for b in row]

        results = _record(f"hessian_{chosen}", made, (), lower, n * n)
        rows = [made.nested(results[k * n : (k + 1) * n], argnums) for k in range(n)]
        return made.nested(rows, argnums)

    return call


def hvp(func: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """(f(*primals), Hessian times `tangents`, one per argument) for a scalar f: a few gradients' cost."""
    made = _Call(func, primals, "hvp")
    made.scalar("hvp")
    extra, _ = flatten(tangents)
    count = len(extra)

    def lower(graph: Graph, inputs: Sequence[Node], extra: Sequence[Node]) -> Sequence[Node]:
        wrt = list(inputs[:count])
        found = graph_hvp(graph.outputs[0], wrt, dict(zip(wrt, extra)))
        return [graph.outputs[0], *(h if h is not None else _zeros(w) for h, w in zip(found, wrt))]

    results = _record("hvp", made, extra, lower, 1 + count)
    return results[0], tuple(made.nested(results[1:], tuple(range(len(primals)))))


def _random_source(randomness: str) -> Source:
    """Where the calls of a vmap draw from."""
    if randomness == "same":
        return current()
    if randomness == "different":
        return Source(None)

    def refuse() -> Tensor:
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
            "randomness flags on vmap or perform the randomness operation out of vmap"
        )

    return Source(refuse)


def vmap(func: Function, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error") -> Function:
    """`f` over a new axis of its arguments: `in_dims` says which axis of each (None: the argument is shared).

    With `randomness` "same" all calls draw the same random numbers, with "different" each draws others; by default
    drawing is a RuntimeError.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError("Only allowed values for randomness are 'error', 'different', or 'same'. Got "
                           f"{randomness}")

    @functools.wraps(func)
    def call(*args: Any) -> Any:
        dims = list(in_dims) if isinstance(in_dims, (tuple, list)) else [in_dims] * len(args)
        tensors, tree = flatten(args)
        axes_of = [d for a, d in zip(args, dims) for _ in flatten(a)[0]]
        size = None
        shapes = []
        for t, d in zip(tensors, axes_of):
            shape = tuple(t.shape)
            if d is None:
                shapes.append(shape)
                continue
            if not -len(shape) <= d < len(shape):
                raise ValueError(f"vmap: in_dim {d} is out of range for a tensor of shape {list(shape)}")
            d = d % len(shape)
            if size is not None and not same_extent(size, shape[d]):
                raise ShapeError(f"vmap: batch sizes differ: {size} and {shape[d]}")
            size = shape[d]
            shapes.append(shape[:d] + shape[d + 1 :])
        if size is None:
            raise ValueError("vmap: at least one argument must have a batch axis")
        source = _random_source(randomness)
        graph, outside, out_tree = capture(func, tensors, shapes, tree, "vmap", source)
        if source.make is None and source.count:
            tensors, axes_of = [*tensors, states_by_step(size)], [*axes_of, 0]
        out_axis = out_dims if isinstance(out_dims, int) else 0

        def lower(*nodes: Node) -> Node | tuple[Node, ...]:
            batch = {
                inner: moved_axis(node, d % node.ndim, 0)
                for inner, node, d in zip(graph.inputs, nodes, axes_of) if d is not None
            }
            shared = {inner: node for k, (inner, node) in enumerate(zip(graph.inputs, nodes))
                      if k >= len(axes_of) or axes_of[k] is None}
            outputs = substitute(graph.outputs, shared)
            new = batched(outputs, batch, size)
            made = tuple(
                moved_axis(new[o] if o in new else repeated(o, size), 0, out_axis % (o.ndim + 1)) for o in outputs
            )
            return made if len(made) > 1 else made[0]

        name = f"func_vmap_{graph.key[:24]}_{axes_of}_{out_axis}_{size}"
        op = operation(name, lower, "VmapBackward", len(graph.outputs))
        results = apply(op, (*tensors, *outside), {})
        return unflatten(out_tree, list(results) if isinstance(results, tuple) else [results])

    return call


def __getattr__(name: str) -> Any:
    if name in ("functional_call", "stack_module_state"):  # they need modules, which need not be loaded for transforms
        from gradgen.nn.utils import stateless

        return getattr(stateless, name)
    raise AttributeError(f"module 'gradgen.func' has no attribute {name!r}")

"""JAX's primitives that hold functions: calls, loops, branches, and functions with derivatives of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradgen.autograd.function import Function, once_differentiable
from gradgen.importers.jax_table import At, Tensor, entry, lib, refuse
from gradgen.trace.scan import scan

DEEPEST = 2
"""Derivatives of functions that have their own: the first and the second are by their rules."""
MOST = 1_000_000
"""Rounds that a loop is followed for, to count them."""


@entry("jit", "pjit", "closed_call", "core_call", "core_closed_call", "remat", "remat2", "checkpoint", raw=True)
def _call(at: At, *operands: Any) -> Any:
    inner = at.eqn.params.get("jaxpr", at.eqn.params.get("call_jaxpr"))
    return at.run.inner(inner, operands)


@entry("scan", raw=True)
def _scan(at: At, *operands: Any) -> Any:
    consts, first = operands[:at.num_consts], at.num_consts + at.num_carry
    carry = tuple(map(at.run.tensor, operands[at.num_consts:first]))
    slices = tuple(map(at.run.tensor, operands[first:]))
    return loop(at, at.jaxpr, consts, carry, slices, at.size(at.length), at.reverse)


def loop(at: At, body: Any, consts: Sequence[Any], carry: tuple[Tensor, ...], slices: tuple[Tensor, ...], length: Any,
         reverse: bool = False) -> Any:
    """The results of a loop: the last carry, and what its rounds give."""
    def step(held: Any, taken: Any) -> Any:
        found = at.run.inner(body, (*consts, *(held or ()), *(taken or ())))
        results = tuple(map(at.run.tensor, found))
        return results[:len(carry)], results[len(carry):] or None

    last, rows = scan(step, carry, slices or None, length, reverse)
    return (*last, *(rows or ()))


@entry("while", raw=True)
def _while(at: At, *operands: Any) -> Any:
    """A loop whose rounds can be counted: the condition depends on what is known and changes by what is known."""
    n, m = at.cond_nconsts, at.body_nconsts
    of_condition, of_body, carry = operands[:n], operands[n:n + m], operands[n + m:]
    rounds = _rounds(at, of_condition, of_body, carry)
    return loop(at, at.body_jaxpr, of_body, tuple(map(at.run.tensor, carry)), (), rounds)


def _rounds(at: At, of_condition: Sequence[Any], of_body: Sequence[Any], carry: Sequence[Any]) -> int:
    from jax.interpreters import partial_eval

    run = at.run
    condition, used = partial_eval.dce_jaxpr(at.cond_jaxpr.jaxpr, [True])
    wanted = set(np.flatnonzero(used[len(of_condition):]))
    while True:  # with all that decides what decides
        needed = [k in wanted for k in range(len(carry))]
        body, used_body = partial_eval.dce_jaxpr(at.body_jaxpr.jaxpr, needed)
        more = wanted | set(np.flatnonzero(used_body[len(of_body):]))
        if more == wanted:
            break
        wanted = more
    state = {k: run.known(carry[k]) for k in sorted(wanted)}
    first = [run.known(v) for v, u in zip(of_condition, used) if u]
    others = [run.known(v) for v, u in zip(of_body, used_body) if u]
    if any(v is None for v in (*first, *others, *state.values())):
        raise refuse("while whose number of rounds is not known")
    for count in range(MOST):
        shown = [state[k] for k in sorted(wanted) if used[len(of_condition) + k]]
        if not bool(run.evaluated(condition, at.cond_jaxpr, [*first, *shown])[0]):
            return count
        held = [state[k] for k in sorted(wanted) if used_body[len(of_body) + k]]
        state = dict(zip(sorted(wanted), run.evaluated(body, at.body_jaxpr, [*others, *held])))
    raise refuse(f"while of more than {MOST} rounds")


@entry("cond", raw=True)
def _cond(at: At, index: Any, *operands: Any) -> Any:
    """Both branches, and a selection between their results; one branch where it is known which."""
    known = at.run.number(index)
    if known is not None:
        return at.run.inner(at.branches[min(max(int(known), 0), len(at.branches) - 1)], operands)
    which = at.run.tensor(index)
    results = [tuple(map(at.run.tensor, at.run.inner(branch, operands))) for branch in at.branches]
    found = results[0]
    for k, others in enumerate(results[1:], 1):
        chosen = which >= k if k == len(results) - 1 else which == k
        found = tuple(lib.where(chosen, new, old) for new, old in zip(others, found))
    return found


# --- functions with derivatives of their own ----------------------------------------------------------------------------


@entry("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", raw=True)
def _custom(at: At, *operands: Any) -> Any:
    """The value by the function, the derivative by what JAX makes of its rule.

    A rule may call the function itself: in the rule of a rule it is a function like others.
    """
    inner = at.eqn.params.get("call_jaxpr", at.eqn.params.get("fun_jaxpr"))
    places = [k for k, v in enumerate(operands) if isinstance(v, Tensor)]
    wants = [k for k in places if operands[k].dtype.is_floating_point and operands[k].requires_grad]
    results = [k for k, v in enumerate(at.eqn.outvars) if at.run.kind(v.aval.dtype).is_floating_point]
    if not wants or not results or at.run.depth == DEEPEST:
        return at.run.inner(inner, operands)

    class Own(Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> Any:
            given = list(operands)
            for k, t in zip(places, tensors):
                given[k] = t
            ctx.save_for_backward(*tensors)
            found = tuple(map(at.run.tensor, at.run.inner(inner, given)))
            ctx.mark_non_differentiable(*(t for k, t in enumerate(found) if k not in results))
            return found

        @staticmethod
        def backward(ctx: Any, *cotangents: Tensor) -> Any:
            given = list(operands)
            for k, t in zip(places, ctx.saved_tensors):
                given[k] = t
            pulled = _pullback(at, wants, results)
            with at.run.deeper():
                found = at.run.inner(pulled, [*given, *(cotangents[k] for k in results)])
            gradients = dict(zip(wants, map(at.run.tensor, found)))
            return tuple(gradients.get(k) for k in places)


    return Own.apply(*(operands[k] for k in places))


def _pullback(at: At, wants: Sequence[int], results: Sequence[int]) -> Any:
    """The jaxpr of the cotangents of the operands `wants`, of all operands and the cotangents of `results`."""
    import jax
    from jax.interpreters import partial_eval

    eqn = at.eqn

    def pull(*given: Any) -> Any:
        operands, cotangents = given[:len(eqn.invars)], given[len(eqn.invars):]

        def function(*some: Any) -> Any:
            full = list(operands)
            for k, v in zip(wants, some):
                full[k] = v
            made = bind(eqn, full)
            return [made[k] for k in results]

        _, back = jax.vjp(function, *(operands[k] for k in wants))
        return back(list(cotangents))

    shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in (*eqn.invars, *(eqn.outvars[k] for k in results))]
    closed = jax.make_jaxpr(pull)(*shapes)
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True)
    return closed.replace(jaxpr=jaxpr)


@entry("custom_linear_solve", raw=True)
def _linear_solve(at: At, *operands: Any) -> Any:
    """x with A x = b by the solver given, the derivative by A and b: solves with A^T b's, minus that times x is A's."""
    lengths = [getattr(at.const_lengths, name) for name in _ROLES]
    parts, start = {}, 0
    for name, length in zip(_ROLES, lengths):
        parts[name] = (getattr(at.jaxprs, name), operands[start:start + length])
        start += length
    return _solved(at, parts, tuple(map(at.run.tensor, operands[start:])))


_ROLES = ("matvec", "vecmat", "solve", "transpose_solve")


def _solved(at: At, parts: dict[str, Any], right: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    product, given = parts["matvec"]
    solve, held = parts["solve"]
    places = [k for k, v in enumerate(given) if isinstance(v, Tensor) and v.dtype.is_floating_point]
    known = [v.detach() if isinstance(v, Tensor) else v for v in held]
    if at.run.depth >= DEEPEST:
        return tuple(map(at.run.tensor, at.run.inner(solve, [*known, *right])))

    class Solve(Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> Any:
            results = at.run.inner(solve, [*known, *tensors[len(places):]])
            found = tuple(at.run.tensor(v).clone() for v in results)  # no views: they are what is saved
            ctx.save_for_backward(*tensors[:len(places)], *found)
            return found

        @staticmethod
        def backward(ctx: Any, *cotangents: Tensor) -> Any:
            if parts["transpose_solve"][0] is None:
                raise refuse("the derivative of a linear solve without a transposed one")
            saved = ctx.saved_tensors
            turned = {a: parts[b] for a, b in (("matvec", "vecmat"), ("vecmat", "matvec"), ("solve", "transpose_solve"),
                                               ("transpose_solve", "solve"))}
            with at.run.deeper():
                back = _solved(at, turned, cotangents)
                full = list(given)
                for k, t in zip(places, saved):
                    full[k] = t
                pulled = _pulled_consts(product, len(given), places)
                found = at.run.inner(pulled, [*full, *saved[len(places):], *back])
            return (*(-at.run.tensor(v) for v in found), *back)

    if at.run.depth == DEEPEST - 1:  # a third derivative is an error, not a wrong one
        Solve.backward = staticmethod(once_differentiable(Solve.backward))  # type: ignore[method-assign]
    return Solve.apply(*(given[k] for k in places), *right)  # type: ignore[no-any-return]


def _pulled_consts(product: Any, count: int, places: Sequence[int]) -> Any:
    """The jaxpr of the cotangents of the constants `places` of a product with a matrix, of all constants, the vector, and
    the cotangents of the result."""
    import jax

    def pull(*operands: Any) -> Any:
        consts, vector = operands[:count], operands[count:count + len(product.jaxpr.outvars)]

        def function(*some: Any) -> Any:
            full = list(consts)
            for k, v in zip(places, some):
                full[k] = v
            return jax.core.eval_jaxpr(product.jaxpr, product.consts, *full, *vector)

        _, back = jax.vjp(function, *(consts[k] for k in places))
        return back(list(operands[count + len(vector):]))

    shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in (*product.jaxpr.invars, *product.jaxpr.outvars)]
    return jax.make_jaxpr(pull)(*shapes)


def bind(eqn: Any, values: Sequence[Any]) -> list[Any]:
    """The results of an equation by JAX itself."""
    given = eqn.primitive.get_bind_params(eqn.params)  # older versions of JAX say functions apart
    functions, parameters = given if isinstance(given, tuple) else ((), given)
    found = eqn.primitive.bind(*functions, *values, **parameters)
    return list(found) if eqn.primitive.multiple_results else [found]

"""The argument checks at the head of every emitted function, generated from the Interface.

All checks come before anything is written.  A pointer may be NULL where its tensor has no elements; every pointer must
be aligned as its type asks, SAVED and WORK to <NAME>_ALIGN; dimensions must not be negative and must satisfy the program's
conditions, and no tensor or block may exceed what size_t and int64_t can count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import sympy

from gradgen.codegen.declarations import TENSORS, wrap
from gradgen.codegen.demands import violations
from gradgen.codegen.extents import (
    Shape,
    comfortable_limit,
    constant,
    elements,
    evaluate,
    is_monotone,
    to_c,
    to_saturating_c,
)
from gradgen.codegen.interface import COTANGENT, DERIVATIVE, INPUT, SAVED, WORK, Interface, Parameter
from gradgen.errors import CodegenError
from gradgen.ir.assumptions import facts_of
from gradgen.ir.inequalities import proves
from gradgen.ir.minima import greatest
from gradgen.ir.symbols import Extent
from gradgen.loops.extremes import is_positive


def function_checks(
    interface: Interface, parameters: Sequence[Parameter], work_bytes: Extent, work_bytes_c: str, first: Sequence[str] = ()
) -> list[str]:
    """C lines for one function, indented by 4; `first` are conditions under which something needed is NULL."""
    lines: list[str] = []
    if checks_sizes(interface):
        lines += _return_if([f"!{interface.name}_dims_fit({', '.join(interface.dims)})"], "DIM")
    lines += _return_if([*first, *_null_conditions(parameters, work_bytes, work_bytes_c)], "NULL")
    lines += _return_if(_alignment_conditions(parameters, f"{interface.name.upper()}_ALIGN"), "ALIGN")
    return lines


def _return_if(conditions: Sequence[str], status: str) -> list[str]:
    if not conditions:
        return []
    text = wrap(conditions, "        ", separator=" || ").lstrip()
    return [f"    if ({text}) {{", f"        return GRADGEN_ERR_{status};", "    }"]


def _null_conditions(parameters: Iterable[Parameter], work_bytes: Extent, work_bytes_c: str) -> list[str]:
    found = []
    for p in parameters:
        if p.kind == WORK:
            found += _null_condition(p.name, work_bytes, work_bytes_c)
        elif p.kind == SAVED and not p.optional:
            found.append(f"{p.name} == NULL")
        elif p.kind in (INPUT, COTANGENT) and not p.optional:
            count = elements(p.shape)
            found += _null_condition(p.name, count, _nonzero(count))
    return found


def _null_condition(name: str, count: Extent, text: str) -> list[str]:
    """NULL is an error where `count` is not 0."""
    known = constant(count)
    if known is None and is_positive(count):
        return [f"{name} == NULL"]
    if known is not None:
        return [f"{name} == NULL"] if known else []
    return [f"({name} == NULL && {text} > 0)"]


def _nonzero(count: Extent) -> str:
    """Text that is positive exactly where `count` is: without its constant factor."""
    if isinstance(count, int):
        return str(count)
    _, rest = count.as_coeff_Mul()
    text = to_c(rest)
    return f"({text})" if rest.is_Add else text


def _alignment_conditions(parameters: Iterable[Parameter], of_blocks: str) -> list[str]:
    groups: dict[str, list[str]] = {}
    for p in parameters:
        if p.kind in TENSORS and p.dtype is not None and p.dtype.itemsize > 1:
            groups.setdefault(f"GRADGEN_ALIGNOF({p.dtype.ctype})", []).append(p.name)
        elif p.kind in (SAVED, WORK):
            groups.setdefault(of_blocks, []).append(p.name)
    conditions = []
    for size, names in groups.items():
        together = wrap([f"(uintptr_t){name}" for name in names], "         ", separator=" | ").lstrip()
        together = f"({together})" if len(names) > 1 else together
        conditions.append(f"{together} % {size} != 0")
    return conditions


def dims_fit_lines(interface: Interface) -> list[str]:
    """The body of `<name>_dims_fit`: 1 where all dimensions are in range."""
    dims = interface.dims
    sizes = _byte_sizes(interface)
    lines = _return_zero([f"{d} < 0" for d in dims])
    lines += _return_zero(violations(interface.conditions, interface.name))
    lines += _return_zero([f"{to_saturating_c(e, interface.name)} < 0" for e in _possibly_negative(interface)])
    narrow = interface.index_bits < 64
    if narrow and _large_constants(interface):
        most = countable_bytes(interface)
        largest = _large_constants(interface)[0]
        raise CodegenError(f"{interface.name} has a tensor or block of {largest:,} bytes, and its target counts to {most:,}",
                           hint=f"target= has size_t of {interface.index_bits} bits")
    if narrow and len(dims) == 1 and all(is_monotone(e) for e in sizes):
        return [*lines, f"    return {dims[0]} <= {_greatest(dims[0], sizes, countable_bytes(interface))};"]
    limit = None if narrow else comfortable_limit(sizes)
    if limit and not _large_constants(interface):
        conditions = ["PTRDIFF_MAX >= INT32_MAX", *(f"{d} <= {limit}" for d in dims)]
        lines += [f"    if ({wrap(conditions, '        ', separator=' && ').lstrip()}) {{", "        return 1;", "    }"]
    conditions = [f"{to_saturating_c(e, interface.name)} <= limit" for e in (*_large_constants(interface), *sizes)]
    if not conditions:
        return [*lines, "    return 1;"]
    if narrow:
        lines.append(f"    const int64_t limit = {countable_bytes(interface)};")
    else:
        lines.append("    const int64_t limit = PTRDIFF_MAX < INT64_MAX / 2 ? PTRDIFF_MAX : INT64_MAX / 2;")
    return [*lines, f"    return {wrap(conditions, '        ', separator=' && ').lstrip()};"]


def countable_bytes(interface: Interface) -> int:
    """What a tensor or block may take where counters are narrow: steps behind an end, and twice an index, still fit."""
    return 2 ** (interface.index_bits - 2) - 1


def _greatest(dim: str, sizes: Iterable[Extent], most: int) -> int:
    """The greatest dimension with which no size exceeds `most`: sizes grow with it."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if all(evaluate(e, {dim: middle}) <= most for e in sizes):
            low = middle
        else:
            high = middle - 1
    return low


def checks_sizes(interface: Interface) -> bool:
    """Whether there is anything that a machine might not be able to count."""
    return bool(interface.dims) or bool(_large_constants(interface))


def _return_zero(conditions: Sequence[str]) -> list[str]:
    if not conditions:
        return []
    return [f"    if ({wrap(conditions, '        ', separator=' || ').lstrip()}) {{", "        return 0;", "    }"]


def _arguments_extents(interface: Interface) -> list[Extent]:
    return [e for a in (*interface.inputs, *interface.outputs) for e in a.shape]


def _possibly_negative(interface: Interface) -> list[sympy.Expr]:
    """Derived extents, such as N - 4, that are not known to be 0 or more for every N that the conditions allow."""
    facts = facts_of(interface.conditions)
    found = {e: None for e in _arguments_extents(interface) if not isinstance(e, int) and e.is_nonnegative is not True}
    return [e for e in found if not proves(facts, e)]


INT32_MAX = 2**31 - 1


def _all_sizes(interface: Interface) -> list[Extent]:
    """The bytes of every tensor and block."""
    arguments = (*interface.inputs, *interface.outputs)
    made = [p for s in interface.derivatives for p in interface.functions[s] if p.kind == DERIVATIVE]
    sizes = [countable(a.shape) * a.dtype.itemsize for a in arguments]
    sizes += [countable(p.shape) * p.dtype.itemsize for p in made if p.dtype is not None]
    return [*sizes, interface.saved_bytes, interface.work_bytes, *interface.blocks]


def countable(shape: Shape) -> Extent:
    """The elements of a tensor, or where one extent is 0, what the others still count in loops and indices."""
    known = math.prod(max(e, 1) for e in shape if isinstance(e, int))
    open_ = [e for e in shape if not isinstance(e, int)]
    if len(open_) == 1:
        return known * open_[0]
    return known * sympy.Mul(*(greatest(1, e) for e in open_)) if open_ else known


def _large_constants(interface: Interface) -> list[int]:
    """The largest size that is known and that a machine with addresses of 32 bits could not count, if there is one."""
    most = INT32_MAX if interface.index_bits == 64 else countable_bytes(interface)
    found = [n for n in map(constant, _all_sizes(interface)) if n is not None and n > most]
    return [max(found)] if found else []


def _byte_sizes(interface: Interface) -> list[Extent]:
    """Those of them that depend on dimensions, each once, largest degree kept."""
    return _without_dominated(list({e: None for e in _all_sizes(interface) if constant(e) is None}))


def _without_dominated(sizes: list[Extent]) -> list[Extent]:
    """Drops c*t where a larger k*t is present: fewer checks to run and to read."""
    largest: dict[sympy.Expr, Extent] = {}
    for size in sizes:
        coefficient, rest = sympy.sympify(size).as_coeff_Mul()
        if rest not in largest or not is_monotone(size) or coefficient > sympy.sympify(largest[rest]).as_coeff_Mul()[0]:
            largest[rest] = size
    return list(largest.values())

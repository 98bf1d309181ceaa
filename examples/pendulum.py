"""A mechanism from SymPy to C, with its Jacobian: a pendulum of several links on a cart.

    python examples/pendulum.py [links]

SymPy's mechanics derive the equations of motion M(q) du/dt = f(q, u).  Mass matrix, forcing and the Jacobian of the
forcing become one C function, written to generated/pendulum/, compiled, and compared with what SymPy itself computes
from the same expressions by `lambdify`.
"""

from __future__ import annotations

import sys
import timeit
from pathlib import Path
from typing import Any

import numpy as np
import sympy
from sympy.physics.mechanics import dynamicsymbols
from sympy.physics.mechanics.models import n_link_pendulum_on_cart

import gradgen as gg

OUT = Path(__file__).resolve().parents[1] / "generated"
LINKS = 3


def equations(links: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Expressions and arguments: M [n, n], f [n]; q [n], u [n], the force on the cart, and lengths, masses, gravity."""
    kane = n_link_pendulum_on_cart(links, cart_force=True, joint_torques=False)
    expressions = {"M": kane.mass_matrix, "f": list(kane.forcing)}
    symbols = (kane.mass_matrix.free_symbols | kane.forcing.free_symbols) - {dynamicsymbols._t}
    arguments = {
        "q": list(kane.q),
        "u": list(kane.u),
        "force": dynamicsymbols("F"),
        "constants": sorted(symbols, key=str),
    }
    return expressions, arguments


def program(links: int = LINKS) -> gg.TracedFunction:
    """One function with four outputs; the Jacobians share every subexpression with the values."""
    expressions, arguments = equations(links)
    return gg.from_sympy(
        expressions,
        arguments,
        name="pendulum",
        requires_grad=False,
        jacobians={"df_dq": ("f", "q"), "df_du": ("f", "u")},
    )


def reference(links: int) -> Any:
    """SymPy's own numbers for the same expressions and their Jacobians."""
    expressions, arguments = equations(links)
    forcing = sympy.Matrix(expressions["f"])
    values = [expressions["M"], forcing, forcing.jacobian(arguments["q"]), forcing.jacobian(arguments["u"])]
    return sympy.lambdify(list(arguments.values()), values, cse=True)


def operations(links: int) -> tuple[int, int]:
    """Operations as SymPy writes the values and Jacobians out, and after its common subexpression elimination."""
    expressions, arguments = equations(links)
    forcing = sympy.Matrix(expressions["f"])
    written = [*expressions["M"], *forcing, *forcing.jacobian(arguments["q"]), *forcing.jacobian(arguments["u"])]
    shared, rest = sympy.cse(written, order="none")
    return int(sympy.count_ops(written)), int(sympy.count_ops([e for _, e in shared]) + sympy.count_ops(rest))


def main() -> None:
    links = int(sys.argv[1]) if len(sys.argv) > 1 else LINKS
    traced = program(links)
    module = gg.build(traced, out=OUT if links == LINKS else OUT.parent / "build" / f"pendulum{links}", target="portable")
    lambdified = reference(links)

    rng = np.random.default_rng(0)
    at = [rng.normal(size=links + 1), rng.normal(size=links + 1), np.array(1.0), rng.uniform(0.5, 1.5, 2 * links + 2)]
    found, exact = module.forward(*at), lambdified(*at)
    print(f"{links} links")
    for name, value, other in zip(traced.graph.output_names, found, exact):
        error = np.abs(value - np.reshape(other, value.shape)).max()
        print(f"  {name:<6} {value.shape!s:<9} largest {np.abs(other).max():9.3f}   difference {error:.1e}")

    written, shared = operations(links)
    steps = sum(1 for node in traced.graph.nodes if node.sources)
    print(f"operations: {written:,} as written, {shared:,} after SymPy's cse, {steps:,} nodes here")
    folder = Path(module.__file__).parent
    for name in ("pendulum.c", "pendulum.h"):
        print(f"{name}: {(folder / name).stat().st_size:,} bytes")
    ours = min(timeit.repeat(lambda: module.forward(*at), number=1000, repeat=5)) / 1000
    theirs = min(timeit.repeat(lambda: lambdified(*at), number=100, repeat=5)) / 100
    print(f"one call from Python: {1e6 * ours:.1f} us, lambdify {1e6 * theirs:.1f} us ({theirs / ours:.1f} times)")


if __name__ == "__main__":
    main()

"""Where we differ from PyTorch on purpose: "path-number" -> (which parts are not compared, why).

Everything else is compared at every value, infinities and nans included.
"""

from __future__ import annotations

VALUES, FIRST, SECOND = "values", "first", "second"

DEVIATIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "copysign-1": ((FIRST,), "torch forms result/input, inf/inf; the derivative is the sign, finite everywhere"),
    "nanmean-1": ((FIRST,), "torch multiplies by a mask: nan * 0 in a row of nans; a selection gives 0"),
    "digamma-0": ((FIRST,), "torch's trigamma is good to 1e-10 only; ours is checked against mpmath"),
    "digamma-1": ((FIRST, SECOND), "as digamma-0; poles"),
    "digamma-2": ((FIRST,), "as digamma-0"),
    "special.psi-0": ((FIRST,), "as digamma-0"),
    "special.digamma-0": ((FIRST,), "as digamma-0"),
    "polygamma-0": ((VALUES,), "as digamma-0: this is trigamma"),
    "special.log_ndtr-1": ((SECOND,), "far tails: torch's exp(-x^2/2 - f) loses digits in float32, ours divides by erfcx"),
    "special.entr-1": ((SECOND,), "at 0 and below: torch differentiates its own masks"),
    "nn.functional.gelu-1": ((VALUES,), "float32 tails: ours by erfc, torch's 1 + erf cancels; torch is nan at inf"),
    "nn.functional.hardsigmoid-0": ((FIRST,), "torch multiplies by 1/6 rounded to float32"),
    "nn.functional.hardsigmoid-1": ((FIRST,), "torch multiplies by 1/6 rounded to float32"),
    "nn.functional.hardswish-1": ((VALUES,), "-inf: torch forms -inf * 0, the limit is 0"),
    "nn.functional.binary_cross_entropy-3": ((SECOND,), "at 0 and 1, behind torch's clamp of p (1 - p) at 1e-12"),
    "nn.functional.elu-1": ((SECOND,), "at the kink 0"),
    "nn.functional.elu-2": ((SECOND,), "at the kink 0"),
    "nn.functional.celu-1": ((SECOND,), "at the kink 0"),
    "nn.functional.celu-2": ((SECOND,), "at the kink 0"),
    "nn.functional.selu-1": ((SECOND,), "at the kink 0"),
    "nn.functional.prelu-2": ((SECOND,), "mixed derivative at the kink 0"),
    "pow-9": ((SECOND,), "x ** 0.5 is sqrt, derivative 1/(2 sqrt(x)): the sign at -0.0, and nan at -inf"),
    "pow-10": ((FIRST, SECOND), "x ** -0.5 is rsqrt: the sign at -0.0, and nan at -inf"),
    **{
        f"cholesky_{name}-{k}": ((FIRST, SECOND), "L is no triangle: torch differentiates as if all of it had been read")
        for name in ("solve", "inverse") for k in range(3)
    },
}


def compared(path: str, number: int, kind: str) -> bool:
    return kind not in DEVIATIONS.get(f"{path}-{number}", ((), ""))[0]

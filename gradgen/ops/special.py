"""torch.special beyond the elementary: scaled complementary error function, modified Bessel functions, polygamma."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradgen.ir import special_functions as special
from gradgen.ops.registry import FLOAT, pointwise
from gradgen.ops.samples import INF, NAN, edges, one, sample, t
from gradgen.ops.table import METHODS, call, public, require_tensor, unary
from gradgen.ops.unary import digamma

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

erfcx = unary("erfcx", special.erfcx, namespaces=("special",), method=False, inplace=False,
              grad_name="SpecialErfcxBackward0")
log_ndtr = unary("log_ndtr", special.log_ndtr, namespaces=("special",), method=False, inplace=False,
                 grad_name="SpecialLogNdtrBackward0")
erfinv = unary("erfinv", special.erfinv, domain="unit", namespaces=("", "special"))
i0 = unary("i0", special.i0, namespaces=("", "special"))
i0e = unary("i0e", special.i0e, namespaces=("special",), method=False, inplace=False, grad_name="SpecialI0EBackward0")
i1 = unary("i1", special.i1, namespaces=("special",), method=False, inplace=False, grad_name="SpecialI1Backward0")
i1e = unary("i1e", special.i1e, namespaces=("special",), method=False, inplace=False, grad_name="SpecialI1EBackward0")
public("special", samples=[one(t(3, domain="positive"))], name="digamma")(digamma)

_polygamma = pointwise("polygamma", lambda x, n: special.polygamma(int(n), x), rule=FLOAT)
_multigammaln = pointwise("mvlgamma", lambda x, p: special.multigammaln(int(p), x), rule=FLOAT)


@public("", "special", samples=[
    sample(1, t(3, domain="positive")), sample(2, t(3, domain="positive")),
    sample(3, edges((0.5, 1.0, 12.0, INF, NAN)), differentiable=False), one(2, edges((-0.3, -1.7, -12.4))),
    one(3, edges((-0.3, -1.7, 0.2))), one(4, edges((-0.3, -2.5, 0.4))),
])
def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma."""
    require_tensor(input, "polygamma")
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return call(_polygamma, input, n=int(n))


METHODS["polygamma"] = lambda self, n: polygamma(n, self)


@public("special", samples=[sample(t(3, domain="large"), 2), sample(edges((1.5, 3.0, INF, NAN)), 3)])
def multigammaln(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p, of every element; input > (p - 1)/2."""
    require_tensor(input, "multigammaln")
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    return call(_multigammaln, input, p=int(p))


@public("", method=True, samples=[one(t(3, domain="large"), 2)])
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """special.multigammaln of every element."""
    return multigammaln(input, p)

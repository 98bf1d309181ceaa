"""Programs by hand, for what the generators do not reach: recurrences, kernels, index tables, windows, strips, packed panels.

`below` gives for integer inputs the exclusive bound of their values, over the dimensions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradgen as gg
from gradgen.options import Options
from tests.golden.small import PROGRAMS
from tests.sweep.calls import Program

F = gg.nn.functional
f64 = gg.float64
Bound = Callable[[Mapping[str, int]], int]


@dataclass(frozen=True)
class Case:
    """`make` traces the program; `sizes` are the values of open dimensions, where not all of them make sense."""

    name: str
    make: Callable[[], Any]
    options: Options = field(default_factory=Options)
    below: Mapping[str, Bound] = field(default_factory=dict)
    positive: bool = False  # its inputs are: logarithms, roots
    sizes: tuple[int, ...] | None = None

    @functools.cached_property
    def program(self) -> Program:
        return Program(self.name, self.make().graph, self.options, self.below, self.positive, self.sizes)


CASES: dict[str, Case] = {}


def case(*, below: Mapping[str, Bound] | None = None, positive: bool = False, sizes: tuple[int, ...] | None = None,
         **options: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def add(make: Callable[[], Any]) -> Callable[[], Any]:
        name = make.__name__
        CASES[name] = Case(name, make, Options(**options), below or {}, positive, sizes)
        return make

    return add


def wanted(*shape: Any, dtype: Any = gg.float32) -> Any:
    return gg.spec(*shape, dtype=dtype, requires_grad=True)


# --- recurrences ------------------------------------------------------------------------------------------------------


def running(name: str, shape: tuple[Any, ...], dim: int) -> None:
    """A running sum, product or extreme along one axis."""
    def function(x: Any) -> Any:
        found = getattr(gg, name)(x, dim)
        return found if isinstance(found, gg.Tensor) else found[0]

    label = f"{name}_{'_'.join(map(str, shape))}_{dim}"
    CASES[label] = Case(label, lambda: gg.trace(function, x=wanted(*shape, dtype=f64), name=label.lower()))


for operation in ("cumsum", "cumprod", "cummax", "logcumsumexp"):
    for extents in ((1,), (1, 1), (3, 1), (1, 3), ("N", 1), (1, "N"), ("N", 0)):
        for along in range(len(extents)):
            running(operation, extents, along)


@case()
def inner_scan() -> Any:
    def inner_scan(x, c):
        def step(c, x):
            last, rows = gg.scan(lambda d, y: (d + y, d * y), x[0] * 0, x)
            return c + rows * last, c * 2

        return gg.scan(step, c, x)

    return gg.trace(inner_scan, x=wanted("N", 1, dtype=f64), c=wanted(1, dtype=f64))


@case()
def inner_scan_of_open_length() -> Any:
    def inner_scan_of_open_length(x, c):
        def step(c, x):
            last, rows = gg.scan(lambda d, y: (d + y, d * y), c.sum(), x)
            return c + last, rows.sum()

        return gg.scan(step, c, x)

    return gg.trace(inner_scan_of_open_length, x=wanted(2, "N", dtype=f64), c=wanted(2, dtype=f64))


@case()
def inner_scan_of_one_row_read_twice() -> Any:
    def inner_scan_of_one_row_read_twice(x, c):
        def step(c, x):
            _, rows = gg.scan(lambda d, y: (d + y, gg.sin(d * y)), c[0], x)
            return c * rows[0] + rows[2], rows[1]

        return gg.scan(step, c, x)

    return gg.trace(inner_scan_of_one_row_read_twice, x=wanted("N", 3, dtype=f64), c=wanted(2, dtype=f64))


@case()
def inner_scan_reversed() -> Any:
    def inner_scan_reversed(x, c):
        def step(c, x):
            _, rows = gg.scan(lambda d, y: (gg.tanh(d + y), d), c.sum(), x, reverse=True)
            return rows, rows * c

        return gg.scan(step, c, x, reverse=True)

    return gg.trace(inner_scan_reversed, x=wanted("N", 1, dtype=f64), c=wanted(1, dtype=f64))


@case()
def scan_of_nothing() -> Any:
    def scan_of_nothing(x, c):
        return gg.scan(lambda c, x: (c * x, c + x.sum()), c, x)

    return gg.trace(scan_of_nothing, x=wanted(0, 2, dtype=f64), c=wanted(2, dtype=f64))


@case()
def scan_over_empty_rows() -> Any:
    def scan_over_empty_rows(x, c):
        return gg.scan(lambda c, x: (c + x.sum(), x * c), c, x)

    return gg.trace(scan_over_empty_rows, x=wanted("N", 0, dtype=f64), c=wanted(dtype=f64))


@case()
def scan_with_constant_carry() -> Any:
    def scan_with_constant_carry(x):
        return gg.scan(lambda c, x: (c * 0.5 + x, c), gg.ones(1, dtype=f64), x)

    return gg.trace(scan_with_constant_carry, x=wanted("N", 1, dtype=f64))


@case()
def scan_that_keeps_its_carry() -> Any:
    def scan_that_keeps_its_carry(x, c, w):
        (kept, last), (rows, before) = gg.scan(lambda c, x: ((c[0], c[1] + x @ w), (c[0] * x, c[1])), (c, c * 2), x)
        return kept, last, rows, before

    return gg.trace(scan_that_keeps_its_carry, x=wanted("N", 3), c=wanted(3), w=wanted(3, 3))


@case()
def scan_of_a_stack() -> Any:
    def scan_of_a_stack(x, c):
        last, rows = gg.scan(lambda c, x: (c + x, gg.stack([c, x * 2, c * x])), c, x)
        return last, rows[:, 1], rows.sum(1)

    return gg.trace(scan_of_a_stack, x=wanted("N", "M", dtype=f64), c=wanted("M", dtype=f64))


@case()
def recurrent_network() -> Any:
    def recurrent_network(x, h, w, u, b):
        last, states = gg.scan(lambda h, x: ((n := gg.tanh(x @ w + h @ u + b)), n), h, x)
        return (states * states).mean(), last

    return gg.trace(recurrent_network, x=gg.spec("T", "B", 3), h=wanted("B", 4), w=wanted(3, 4), u=wanted(4, 4), b=wanted(4))


@case(sizes=(0, 1, 2))
def convolution_of_a_carry() -> Any:
    """A step whose windows reach over borders, of what it carries and of a row: laid out and multiplied like outside."""
    def f(w: Any, v: Any, x: Any, h: Any) -> Any:
        def step(h: Any, row: Any) -> Any:
            new = gg.tanh(F.conv2d(h, w, padding=1) + F.conv2d(row, v, stride=2, padding=1))
            return new, new

        last, every = gg.scan(step, h, x)
        return (every * every).sum() + last.sum()

    return gg.trace(f, w=wanted(6, 6, 3, 3), v=wanted(6, 2, 3, 3), x=gg.spec(2, "N", 2, 12, 12), h=wanted("N", 6, 6, 6))


@case(sizes=(0, 1, 7))
def windows_and_three_factors_in_a_step() -> Any:
    def f(a: Any, b: Any, c: Any, x: Any, h: Any) -> Any:
        def step(h: Any, row: Any) -> Any:
            mixed = gg.einsum("ni,ij,jk,kl->nl", h, a, b, c)
            near = F.conv1d(row.unsqueeze(1), a[:4, :3].reshape(4, 1, 3), padding=1, groups=1).amax(1)
            new = gg.sigmoid(mixed) + near
            return new, new.sum(1)

        last, sums = gg.scan(step, h, x)
        return last.sum() + (sums * sums).sum()

    return gg.trace(f, a=wanted(8, 9), b=wanted(9, 10), c=wanted(10, 8), x=gg.spec(4, "N", 8), h=wanted("N", 8))


@case()
def scan_with_cumsum_inside() -> Any:
    def scan_with_cumsum_inside(x, c):
        return gg.scan(lambda c, x: (c + x.cumsum(0), (c * x).cumprod(0)), c, x)

    return gg.trace(scan_with_cumsum_inside, x=wanted(3, "N", dtype=f64), c=wanted("N", dtype=f64))


# --- kernels ----------------------------------------------------------------------------------------------------------


@case()
def sorting() -> Any:
    def sorting(x):
        values, order = x.sort(dim=1, descending=True)
        return values, order, x.median(dim=1)[0]

    return gg.trace(sorting, x=wanted("N", 5))


@case(derivatives=("jvp",))
def linear_system() -> Any:
    def linear_system(a, b):
        m = a @ a.t() + 3 * gg.eye(4, dtype=f64)
        return gg.linalg.solve(m, b), gg.linalg.det(m).log(), gg.linalg.cholesky(m).sum()

    return gg.trace(linear_system, a=wanted(4, 4, dtype=f64), b=wanted(4, "K", dtype=f64))


@case()
def many_small_systems() -> Any:
    def many_small_systems(a, b):
        m = a @ a.transpose(-1, -2) + 3 * gg.eye(2, dtype=f64)
        return gg.linalg.solve(m, b).sin().sum(), gg.linalg.slogdet(m)[1]

    return gg.trace(many_small_systems, a=wanted("N", 2, 2, dtype=f64), b=wanted("N", 2, 1, dtype=f64))


# --- positions that are data ------------------------------------------------------------------------------------------


@case(below={"i": lambda d: 6, "j": lambda d: 4})
def gather_and_scatter() -> Any:
    def gather_and_scatter(x, v, i, j):
        picked = x[i, j]
        return picked * v, gg.zeros(6).index_add(0, i, v * 2), x.index_select(0, i).sum()

    return gg.trace(gather_and_scatter, x=wanted(6, 4), v=wanted("K"), i=gg.spec("K", dtype=gg.int64),
                    j=gg.spec("K", dtype=gg.int64))


@case(below={"labels": lambda d: 5})
def classifier() -> Any:
    def classifier(x, labels, w, b):
        scores = x @ w + b
        return F.cross_entropy(scores, labels), scores.argmax(1), (scores.argmax(1) == labels).sum()

    return gg.trace(classifier, x=gg.spec("N", 6), labels=gg.spec("N", dtype=gg.int64), w=wanted(6, 5), b=wanted(5))


@case()
def positions_of_extremes() -> Any:
    def positions_of_extremes(x):
        values, at = x.max(dim=1)
        return values * at, x.argmin(1), x.gather(1, at[:, None]).sum()

    return gg.trace(positions_of_extremes, x=wanted("N", 4))


@case(below={"i": lambda d: d["N"]})
def table_of_open_size() -> Any:
    def table_of_open_size(x, i, v):
        return x[i] * v, x.index_put((i,), v, accumulate=True)

    return gg.trace(table_of_open_size, x=wanted("N", 2), i=gg.spec("N", dtype=gg.int64), v=wanted("N", 2))


# --- windows and guards -----------------------------------------------------------------------------------------------


@case()
def convolution() -> Any:
    def convolution(x, w, b):
        return F.max_pool2d(gg.relu(F.conv2d(x, w, b, padding=1, stride=2)), 2).sum(dim=(1, 2, 3))

    return gg.trace(convolution, x=wanted("N", 2, 6, 5), w=wanted(3, 2, 3, 3), b=wanted(3))


@case()
def convolution_along_an_open_axis() -> Any:
    def convolution_along_an_open_axis(x, w):
        return F.conv1d(x, w, padding=1), F.pad(x, (2, 1), value=0.5).cumsum(-1)

    return gg.trace(convolution_along_an_open_axis, x=wanted(2, 1, "L"), w=wanted(2, 1, 3))


@case()
def borders() -> Any:
    def borders(x):
        return gg.cat([x, x.flip(0), x[:2] * 3]), F.pad(x, (1, 2), value=-1.0)

    return gg.trace(borders, x=wanted(5, "M"))


@case()
def triangles() -> Any:
    def triangles(x):
        return x.tril() @ x.triu(1), x.diagonal().sum(), x.roll(1, 0)

    return gg.trace(triangles, x=wanted("N", "N"))


# --- products, panels, strips -----------------------------------------------------------------------------------------


@case()
def products() -> Any:
    def products(a, b, c):
        return (a @ b).tanh() @ c, gg.einsum("ij,kj->ik", a, b.t())

    return gg.trace(products, a=wanted("N", 33), b=wanted(33, 17), c=wanted(17, 9))


@case()
def batch_of_products() -> Any:
    def batch_of_products(a, b):
        return gg.bmm(a, b), gg.einsum("bij,bij->b", a, a)

    return gg.trace(batch_of_products, a=wanted("B", 3, "K", dtype=f64), b=wanted("B", "K", 2, dtype=f64))


@case(sizes=(0, 1, 7))
def large_products() -> Any:
    """Blocks of the matrix kernel are packed into scratch memory."""
    def large_products(a, b):
        return ((a @ b) * 0.01).sum(0)

    return gg.trace(large_products, a=wanted("N", 300), b=wanted(300, 80))


@case(below={"t": lambda d: 10})
def two_layers() -> Any:
    """Forward and backward of one strip at a time."""
    def two_layers(x, t, w1, b1, w2, b2):
        return F.cross_entropy(gg.relu(x @ w1 + b1) @ w2 + b2, t)

    return gg.trace(two_layers, x=gg.spec("N", 20), t=gg.spec("N", dtype=gg.int64), w1=wanted(20, 12), b1=wanted(12),
                    w2=wanted(12, 10), b2=wanted(10))


@case()
def mixture() -> Any:
    """Strips through a batch of products."""
    def mixture(x, m, q, w):
        d = x[:, None] - m
        z = gg.einsum("nki,kij->nkj", d, q)
        return gg.logsumexp(w - 0.5 * (z * z).sum(-1), 1).sum()

    return gg.trace(mixture, x=gg.spec("N", 3, dtype=f64), m=wanted(4, 3, dtype=f64), q=wanted(4, 3, 3, dtype=f64),
                    w=wanted(4, dtype=f64))


@case()
def attention() -> Any:
    def attention(q, k, v):
        return F.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v

    return gg.trace(attention, q=wanted("B", "T", 4), k=wanted("B", "T", 4), v=wanted("B", "T", 4))


# --- lanes, straight code, derivatives --------------------------------------------------------------------------------


@case()
def many_rotations() -> Any:
    """Independent items of straight-line code: computed by lanes, the last block not whole."""
    def many_rotations(p, v):
        angle = (p * p).sum(1, keepdim=True).sqrt() + 0.5
        axis = p / angle
        cross = gg.linalg.cross(axis, v)
        turned = v * angle.cos() + cross * angle.sin() + axis * (axis * v).sum(1, keepdim=True) * (1 - angle.cos())
        return (turned * turned).sum(), turned

    return gg.trace(many_rotations, p=wanted("N", 3), v=wanted("N", 3))


@case(derivatives=("jacobian", "hessian", "hvp", "jvp"))
def small_fixed_model() -> Any:
    def small_fixed_model(p, q):
        r = gg.stack([p[0] * q[0] - p[1].sin(), p[1] * q[1].exp(), p[0] / (1 + q[0] ** 2)])
        return (r * r).sum()

    return gg.trace(small_fixed_model, p=wanted(2, dtype=f64), q=wanted(2, dtype=f64))


@case(derivatives=("jvp", "hvp"))
def derivatives_of_open_extent() -> Any:
    def derivatives_of_open_extent(x, a):
        return (gg.sigmoid(a * x) * x ** 3).sum()

    return gg.trace(derivatives_of_open_extent, x=wanted("N", dtype=f64), a=wanted(dtype=f64))


@case(sparse=("jacobian",))
def chain_of_neighbours() -> Any:
    def chain_of_neighbours(x):
        return x[1:] * x[:-1].sin() - x[:-1]

    return gg.trace(chain_of_neighbours, x=wanted(9, dtype=f64))


@case(threads=3)
def chunks_of_products() -> Any:
    def chunks_of_products(x, w):
        return gg.tanh(x @ w).sum(), (x * x).sum(0), x.exp() + 1

    return gg.trace(chunks_of_products, x=wanted("N", 24), w=wanted(24, 8))


@case(threads=2)
def threads_in_a_small_batch() -> Any:
    def threads_in_a_small_batch(x):
        return F.softmax(x, 1), x.amax(1), (x > 0).sum()

    return gg.trace(threads_in_a_small_batch, x=wanted("N", 6, dtype=f64))


# --- several outputs, cotangents, flags -------------------------------------------------------------------------------


@case()
def four_outputs() -> Any:
    def four_outputs(x, y):
        return x * y, x.sum(), (x - y).abs().amax(0), x > y

    return gg.trace(four_outputs, x=wanted("N", 3), y=wanted("N", 3))


@case(below={"i": lambda d: 4})
def a_table_that_one_of_two_wants() -> Any:
    """With grad_x NULL the positions of what was overwritten were not computed, and used."""
    def a_table_that_one_of_two_wants(x, i, w):
        v = x.clone()
        v[i] = v * 2
        m = x.amin(dim=0)
        h = gg.cat([m[..., 1:], m, m[..., :1] * 2], -1)
        return gg.hstack([h, h]) @ w, v

    return gg.trace(a_table_that_one_of_two_wants, x=wanted(4, 2, 1, 2, dtype=f64), i=gg.spec(4, dtype=gg.int64),
                    w=wanted(4, 16, dtype=f64))


@case()
def positions_that_are_an_output() -> Any:
    """With the integers NULL nobody computed them, and their test failed."""
    def positions_that_are_an_output(x, y):
        at = (x.argmax(1) + 1) % 5
        return at, y[at] * 2, x.amax(1), y.sum()

    return gg.trace(positions_that_are_an_output, x=wanted("N", 5), y=wanted(5))


@case(positive=True, nan_safe=True)
def safe_branches() -> Any:
    def safe_branches(x):
        return gg.where(x > 0.5, gg.sqrt(x - 0.5), x * 0), gg.where(x > 1, x.log(), x)

    return gg.trace(safe_branches, x=wanted("N", dtype=f64))


@case()
def integers_and_truths() -> Any:
    def integers_and_truths(x, k):
        return (x // 3).sum(0), x % 4, (x > k).any(), (x == 2).all(1), x.cumsum(1), x.amax()

    return gg.trace(integers_and_truths, x=gg.spec(3, 4, dtype=gg.int32), k=gg.spec(4, dtype=gg.int32))


@case()
def statistics() -> Any:
    def statistics(x):
        return x.var(0), F.layer_norm(x, (4,)), x.std(), x.prod(1)

    return gg.trace(statistics, x=wanted("N", 4, dtype=f64))


@case()
def long_rows() -> Any:
    """Rows of which an optional output is a part: stores go through pointers."""
    def long_rows(x, a):
        return gg.tanh(x) * a, gg.exp(-x * x)

    return gg.trace(long_rows, x=wanted("N", 40), a=wanted())


@case()
def a_long_unrolled_loop() -> Any:
    """Nests that repeat become functions."""
    def a_long_unrolled_loop(x, w):
        for _ in range(14):
            x = gg.tanh(x @ w) + 0.1 * x
        return x.sum()

    return gg.trace(a_long_unrolled_loop, x=wanted(6, 5), w=wanted(5, 5))


# --- the small programs of the golden bundles --------------------------------------------------------------------------


_BELOW: dict[str, dict[str, Bound]] = {"softmax_regression": {"t": lambda d: 3}, "lookup": {"rows": lambda d: 10}}
for golden, (trace, chosen) in PROGRAMS.items():
    kept = {k: v for k, v in chosen.items() if k != "single_file"}
    CASES[f"golden_{golden}"] = Case(f"golden_{golden}", trace, Options(**kept), _BELOW.get(golden, {}),
                                     positive=golden.startswith("branches"))

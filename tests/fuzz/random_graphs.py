"""Random graphs of every node kind, for differential tests against the reference interpreter."""

from __future__ import annotations

from random import Random

import numpy as np
import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as F
from gradgen.ir.dtypes import DType
from gradgen.ir.guards import in_range
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read, Scatter, identity_read
from gradgen.ir.symbols import Extent, axes, axis, dim, placeholder, reduce_axes, reduce_axis
from gradgen.loops.procedure import Output, Place, Procedure

A, B = placeholder(0), placeholder(1)
UNARY = [
    F.tanh(A), F.sigmoid(A), F.exp(-A * A), 1 - A**2, A**3 - A / 3, F.abs_(A), F.select(F.gt(A, 0), A, 0), F.sign(A),
    sympy.sqrt(2) / 2 * A, F.softplus(A), F.floor(A), F.log1p(A * A), F.select(F.lt(A, 0), F.div(1, A), F.sqrt_(A)),
]
BINARY = [A + B, A - 2 * B, A * B, F.maximum(A, B), F.minimum(A, B), F.select(F.lt(A, B), A, B), F.div(A, B * B + 1),
          A * B + A - B]


class Generator:
    """Grows a pool of nodes; shapes come from a few extents so that operands meet."""

    def __init__(self, random: Random, symbolic: bool) -> None:
        self.random = random
        self.extents: list[Extent] = [1, 2, 3, 5, random.choice([0, 4, 33])]
        if symbolic:
            self.extents.append(dim("N"))
        self.dtype = random.choice([dtypes.float32, dtypes.float64])
        self.inputs: list[Input] = []
        self.pool: list[Node] = []

    def shape(self, most: int = 3) -> tuple[Extent, ...]:
        return tuple(self.random.choice(self.extents) for _ in range(self.random.randint(0, most)))

    def input(self, shape: tuple[Extent, ...], dtype: DType | None = None) -> Input:
        node = Input(f"x{len(self.inputs)}", shape, dtype or self.dtype)
        self.inputs.append(node)
        return node

    def floating(self, shape: tuple[Extent, ...] | None = None) -> Node:
        """A floating node from the pool, of this shape if one is given; else a new input."""
        found = [n for n in self.pool if n.dtype.is_floating_point and (shape is None or n.shape == shape)]
        if found and self.random.random() < 0.85:
            return self.random.choice(found)
        node = self.input(self.shape() if shape is None else shape)
        self.pool.append(node)
        return node

    def step(self) -> None:
        make = self.random.choice([
            self.unary, self.unary, self.binary, self.binary, self.broadcast, self.reduce, self.reduce, self.matmul,
            self.permute, self.slice, self.pad, self.comparison, self.integers, self.arg, self.gather, self.scatter,
            self.constant, self.flatten, self.onehot, self.cast,
        ])
        node = make()
        if node is not None:
            self.pool.append(node)

    def unary(self) -> Node:
        x = self.floating()
        return Compute(x.shape, self.random.choice(UNARY), [identity_read(x)], x.dtype)

    def binary(self) -> Node:
        x = self.floating()
        y = self.floating(x.shape)
        return Compute(x.shape, self.random.choice(BINARY), [identity_read(x), identity_read(y)], self.dtype)

    def broadcast(self) -> Node:
        x = self.floating()
        kept = [k for k in range(x.ndim) if self.random.random() < 0.6]
        y = self.floating(tuple(x.shape[k] for k in kept))
        return Compute(x.shape, self.random.choice(BINARY), [identity_read(x), Read(y, [axis(k) for k in kept])],
                       self.dtype)

    def reduce(self) -> Node:
        x = self.floating()
        over = [k for k in range(x.ndim) if self.random.random() < 0.6]
        index: list[sympy.Symbol] = []
        shape, reduce_shape = [], []
        for k in range(x.ndim):
            if k in over:
                index.append(reduce_axis(len(reduce_shape)))
                reduce_shape.append(x.shape[k])
            else:
                index.append(axis(len(shape)))
                shape.append(x.shape[k])
        if not reduce_shape:
            return self.unary()
        reducer = self.random.choice(["sum", "sum", "sum", "max", "min", "prod"])
        body = self.random.choice([A, A, F.exp(-A * A), A * A])
        return Compute(shape, body, [Read(x, index)], self.dtype, reduce_shape=reduce_shape, reducer=reducer)

    def matmul(self) -> Node:
        m, n, k = (self.random.choice(self.extents) for _ in range(3))
        i, r = axes(2), reduce_axes(1)
        a = self.floating((m, k)) if self.random.random() < 0.5 else None
        b = self.floating((k, n)) if self.random.random() < 0.5 else None
        left = Read(a, (i[0], r[0])) if a is not None else Read(self.floating((k, m)), (r[0], i[0]))
        right = Read(b, (r[0], i[1])) if b is not None else Read(self.floating((n, k)), (i[1], r[0]))
        return Compute((m, n), A * B, [left, right], self.dtype, reduce_shape=(k,), reducer="sum")

    def permute(self) -> Node:
        x = self.floating()
        order = list(range(x.ndim))
        self.random.shuffle(order)
        index = [axis(order.index(k)) for k in range(x.ndim)]
        return Compute([x.shape[k] for k in order], A, [Read(x, index)], x.dtype)

    def slice(self) -> Node | None:
        x = self.floating()
        if not x.ndim or not isinstance(x.shape[0], int) or x.shape[0] < 2:
            return None
        n = x.shape[0]
        how = self.random.choice(["flip", "step", "tail"])
        first = {"flip": n - 1 - axis(0), "step": 2 * axis(0), "tail": axis(0) + 1}[how]
        size = {"flip": n, "step": (n + 1) // 2, "tail": n - 1}[how]
        return Compute((size, *x.shape[1:]), A, [Read(x, (first, *axes(x.ndim)[1:]))], x.dtype)

    def pad(self) -> Node | None:
        x = self.floating()
        if not x.ndim:
            return None
        at = axis(0) - 1
        read = Read(x, (at, *axes(x.ndim)[1:]), in_range(at, x.shape[0]), self.random.choice([0, sympy.Rational(1, 2)]))
        body = self.random.choice([A, A, F.tanh(A)])
        return Compute((x.shape[0] + 2, *x.shape[1:]), body, [read], x.dtype)

    def comparison(self) -> Node:
        x = self.floating()
        return Compute(x.shape, F.gt(A, sympy.Rational(1, 4)), [identity_read(x)], dtypes.bool_)

    def cast(self) -> Node:
        x = self.random.choice([n for n in self.pool if not n.dtype.is_floating_point] or [self.comparison()])
        return Compute(x.shape, A, [identity_read(x)], self.dtype)

    def integers(self) -> Node:
        x = self.input(self.shape(2), self.random.choice([dtypes.int64, dtypes.int32]))
        body = self.random.choice([A * 3 - 1, F.remainder(A, 3), F.floor_div(A, 2), A + axis(0) if x.ndim else A])
        return Compute(x.shape, body, [identity_read(x)], dtypes.int64)

    def arg(self) -> Node | None:
        x = self.floating()
        if x.ndim == 0 or not isinstance(x.shape[-1], int) or x.shape[-1] == 0:
            return None
        return Compute(x.shape[:-1], A, [Read(x, (*axes(x.ndim - 1), reduce_axis(0)))], dtypes.int64,
                       reduce_shape=(x.shape[-1],), reducer=self.random.choice(["argmax", "argmin"]))

    def index(self, rows: int, count: Extent) -> Node:
        raw = self.input((count,), dtypes.int64)
        return Compute((count,), F.remainder(A, rows), [identity_read(raw)], dtypes.int64)

    def gather(self) -> Node | None:
        x = self.floating()
        if not x.ndim or not isinstance(x.shape[0], int) or x.shape[0] == 0:
            return None
        count = self.random.choice(self.extents)
        where = self.index(x.shape[0], count)
        reads = [Read(where, (axis(0),)), Read(x, (A, *axes(x.ndim)[1:]))]
        return Compute((count, *x.shape[1:]), self.random.choice([B, B * 2, F.tanh(B)]), reads, x.dtype)

    def scatter(self) -> Node | None:
        x = self.floating()
        if not x.ndim:
            return None
        rows = self.random.choice([1, 3, 6])
        where = self.index(rows, x.shape[0])
        base = self.floating((rows, *x.shape[1:])) if self.random.random() < 0.4 else None
        reads = [Read(where, (axis(0),)), identity_read(x)]
        mode = self.random.choice(["add", "add", "max"])
        return Scatter((rows, *x.shape[1:]), base, x.shape, (A, *axes(x.ndim)[1:]), B, reads, self.dtype, mode=mode)

    def constant(self) -> Node:
        values = np.random.default_rng(self.random.randint(0, 99)).normal(size=self.random.choice([(), (3,), (2, 5)]))
        return Constant(values, self.dtype)

    def flatten(self) -> Node | None:
        x = self.floating()
        if x.ndim != 2 or not isinstance(x.shape[1], int) or x.shape[1] == 0:
            return None
        n = x.shape[1]
        return Compute((x.shape[0] * n,), A, [Read(x, (sympy.floor(axis(0) / n), sympy.Mod(axis(0), n)))], x.dtype)

    def onehot(self) -> Node | None:
        count = self.random.choice(self.extents)
        where = self.index(5, count)
        return Compute((count, 5), F.select(F.eq(A, axis(1)), 1, 0), [Read(where, (axis(0),))], self.dtype)


def procedure(seed: int, size: int, symbolic: bool) -> Procedure:
    """A random procedure: some outputs stored, some accumulated, some optional."""
    random = Random(seed)
    g = Generator(random, symbolic)
    for _ in range(size):
        g.step()
    last = [n for n in g.pool[-4:] if not isinstance(n, (Input, Constant))] or [g.unary()]
    outputs = []
    for k, node in enumerate(dict.fromkeys(last)):
        mode = "accumulate" if node.dtype.is_floating_point and random.random() < 0.4 else "store"
        place = Place(f"out{k}", optional=random.random() < 0.5)
        outputs.append(Output(node, place, mode))
        if random.random() < 0.15:
            outputs.append(Output(node, Place(f"slot{k}", "saved")))
    return Procedure("run", tuple(outputs), {n: Place(n.name) for n in g.inputs})


def values(p: Procedure, seed: int, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for node, place in p.given.items():
        shape = tuple(e if isinstance(e, int) else int(e.subs({dim("N"): n})) for e in node.shape)
        if node.dtype.is_floating_point:
            array = rng.normal(size=shape).astype(node.dtype.numpy)
            flat = array.reshape(-1)
            if flat.size and rng.random() < 0.2:  # a few special values
                flat[rng.integers(flat.size)] = rng.choice([np.inf, -np.inf, np.nan, 0.0])
            found[place.name] = array
        else:
            found[place.name] = rng.integers(-7, 8, size=shape).astype(node.dtype.numpy)
    return found

"""Random programs as a stranger writes them, as source text: run with PyTorch, and traced, built and run with gradgen.

A program grows statement by statement while PyTorch runs it: a statement that PyTorch refuses, or that makes values too
large or too many, is dropped.  What is left is a plain function that a report can show and a reader can paste.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

UNARY = [
    "{a}.sin()", "{a}.tanh()", "(-{a}.abs()).exp()", "{a}.sigmoid()", "{a}.relu()", "{a}.abs()", "-{a}",
    "{a}.square()", "{a}.abs().add(0.5).sqrt()", "{a}.abs().log1p()", "F.softplus({a})", "{a}.sign()",
    "F.gelu({a})", "{a}.erf()", "{a} * 2.5", "1 / ({a}.square() + 1)", "{a}.clamp(-0.5, 0.75)", "{a} + 1",
    "{a}.floor()", "3 - {a}", "{a} ** 3", "{a}.detach()", "F.elu({a})", "F.leaky_relu({a}, 0.1)", "{a}.expm1()",
    "{a}.atan()", "{a} % 0.7", "{a}.sgn()", "torch.where({a} > 0, {a}, -0.5)",
]  # fmt: skip
BINARY = [
    "{a} + {b}", "{a} - {b}", "{a} * {b}", "{a} / ({b}.abs() + 1)", "torch.maximum({a}, {b})",
    "torch.minimum({a}, {b})", "torch.where({a} > {b}, {a}, {b} * 2)", "torch.atan2({a}, {b} + 3)",
    "torch.lerp({a}, {b}, 0.3)", "torch.hypot({a}, {b} + 2)", "{a}.add({b}, alpha=0.5)",
    "torch.where({a} < 0, {b}, 1.0)", "{a} * ({b} > 0)", "({a} + {b}).sum() * {a}", "{a}.abs().pow({b})",
    "F.mse_loss({a}, {b})", "F.smooth_l1_loss({a}, {b}, reduction='none')",
    "torch.addcmul({a}, {b}, {b}, value=0.5)",
]  # fmt: skip
REDUCE = [
    "{a}.sum()", "{a}.sum({d})", "{a}.mean({d}, keepdim=True)", "{a}.prod({d})", "{a}.amax({d})",
    "{a}.amin({d}, True)", "{a}.var({d}, unbiased=False)", "{a}.logsumexp({d})", "{a}.norm()", "{a}.norm(dim={d})",
    "{a}.cumsum({d})", "{a}.cumprod({d})", "{a}.softmax({d})", "{a}.log_softmax({d})", "{a}.max({d})[0]",
    "{a}.min({d}).values", "{a}.mean()", "{a}.sum(({d}, {e}))", "{a}.sort({d})[0]", "{a}.cummax({d})[0]",
    "F.layer_norm({a}, {a}.shape[-1:])", "F.normalize({a}, dim={d})", "{a}.std({d}) * 0.1", "{a}.median({d})[0]",
    "{a}.logcumsumexp({d})", "{a}.argmax({d}).to({a}.dtype)", "{a}.count_nonzero({d}) * 0.5", "{a}.max()",
]  # fmt: skip
SHAPE = [
    "{a}.reshape(-1)", "{a}.flatten()", "{a}.t()", "{a}.transpose({d}, {e})", "{a}.unsqueeze({d})", "{a}.squeeze()",
    "{a}.flip({d})", "{a}.roll({i}, {d})", "{a}.tril()", "{a}.triu({i})", "{a}.diagonal()", "{a}[{i}]", "{a}[{i}:]",
    "{a}[::2]", "{a}[..., {i}]", "{a}[..., {i}:{j}]", "{a}[None]", "{a}[:, None]", "{a}.narrow({d}, {i}, 1)",
    "{a}.select({d}, -1)", "{a}.chunk(2, {d})[0]", "{a}.split(1, {d})[-1]", "{a}.unbind({d})[0]",
    "torch.cat([{a}, {b}], {d})", "torch.stack([{a}, {b}], {d})", "torch.cat([{a}, {a}.flip({d})], {d})",
    "{a}.repeat(2, 1)", "{a}.expand(2, *{a}.shape)", "F.pad({a}, (1, 2))", "{a}.tile((2,))",
    "F.pad({a}, (-1, 1), value=0.5)", "{a}.movedim({d}, {e})", "{a}[[0, -1]]", "{a}[[0, 0, 1]]",
    "{a}[..., [1, 0, 1]]", "{a}[torch.tensor([[0, 1], [1, 0]])]", "{a}[{k} % max({a}.shape[0], 1)]",
    "{a}.repeat_interleave(2, {d})", "{a}.diag()", "{a}.index_select({d}, torch.tensor([1, 0, 0]))",
    "{a}.gather({d}, torch.zeros({a}.ndim * (1,), dtype=torch.int64))", "{a}[:, {k} % {a}.shape[1]]",
    "{a}.view({a}.shape[0], -1)", "{a}.reshape(-1, {a}.shape[0])", "{a}.unflatten(0, (1, -1))",
    "{a}.masked_fill({a} > 0.5, {i}.0)", "{a}.T", "{a}.swapaxes(0, -1)", "{a}[{i}:{j}, 1:]", "{a}[:, ::2]",
    "{a}.contiguous()",
]  # fmt: skip
PRODUCT = [
    "{a} @ {b}", "{a} @ {b}.t()", "{a}.t() @ {b}", "torch.outer({a}, {b})", "torch.einsum('ij,kj->ik', {a}, {b})",
    "torch.einsum('ij,ij->j', {a}, {b})", "F.linear({a}, {b})", "torch.dot({a}, {b})",
    "{a} @ {a}.transpose(-1, -2)", "torch.bmm({a}, {b})", "torch.einsum('...i,...i->...', {a}, {b})",
    "torch.cdist({a}, {b} + 0.1)", "torch.tensordot({a}, {b}, 1)",
]  # fmt: skip
WRITE = [
    "{c} = {a}.clone(); {c}[{i}] = {b}", "{c} = {a} * 1; {c}.add_({b})", "{c} = {a} * 1; {c}[{i}].mul_({b})",
    "{c} = {a} + 0; {c}.t()[{i}] = 0.5", "{c} = {a}.clone(); {c}[..., {i}] += {b}", "{c} = {a} * 1; {c}[::2] = {b}",
    "{c} = {a} * 1; {c}.view(-1)[{i}:{j}].copy_({b})", "{c} = {a}.clone(); {c}[[0, 1]] = {b}",
    "{c} = {a} * 1; {c}.zero_()",
    "{c} = {a}.clone(); {c}.index_put_((torch.tensor([0, 1, 0]),), {b}, accumulate=True)",
    "{c} = {a} * 1; {c}.clamp_(min=0)", "{c} = {a}.index_add({d}, torch.tensor([0, 1, 0]), {b})",
    "{c} = {a} * 1; {c}.masked_fill_({c} < 0, 0.25)",
    "{c} = {a}.scatter({d}, torch.zeros({a}.ndim * (1,), dtype=torch.int64), 2.0)", "{c} = {a} * 1; {c}.mul_({c})",
    "{c} = torch.zeros_like({a}); {c}[{i}:] = {b}", "{c} = {a} * 1; {c}.diagonal().add_(1)",
    "{c} = {a} * 1; {c}.fill_(2)", "{c} = {a}.clone(); {c}[{i}], {c}[{j}] = {c}[{j}] * 2, {c}[{i}] + 1",
    "{c} = {a} * 1; {c}.transpose(0, -1).mul_({b})",
    "{c} = {a}.clone()\n    with torch.no_grad():\n        {c} = {c} * {b}",
    "{c} = {a} * 1; {c}[:, {i}] = {c}[:, {j}] * {b}", "{c} = {a} * 1; {c}[{k} % max({a}.shape[0], 1)] = {b}",
    "{c} = {a} * 1; {c}.scatter_add_(0, {k} % max({a}.shape[0], 1), {b})",
]  # fmt: skip
LOOP = [
    "{c} = {a}\n    for _ in range(3):\n        {c} = {c}.sin() * {b} + 0.1",
    "{c} = sum({a}[k] * (k + 1) for k in range({a}.shape[0]))",
    "{c} = torch.stack([{a}[k] ** (k + 1) for k in range({a}.shape[0])])",
]  # fmt: skip


@dataclass(frozen=True)
class Program:
    """`source` defines f(x0, x1, ..., k0); `shapes` of the floating inputs; k0 is a vector of integers."""

    source: str
    shapes: tuple[tuple[int, ...], ...]
    seed: int

    def function(self, module: Any) -> Any:
        names = {"torch": module, "F": module.nn.functional}
        exec(compile(self.source, f"<program {self.seed}>", "exec"), names)
        return names["f"]

    def inputs(self, dtype: str) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        found = {f"x{k}": rng.normal(size=s).astype(dtype) for k, s in enumerate(self.shapes)}
        return found | {"k0": rng.integers(0, 50, 3)}


def grow(seed: int, torch: Any, size: int = 9) -> Program:
    """A program of about `size` statements that PyTorch runs."""
    random = Random(seed)
    extents = [1, 2, 3, 3, 3, random.choice([4, 5]), random.choice([0, 1, 2])]
    ranks = [random.choice([0, 1, 1, 2, 2, 2, 3]) for _ in range(random.randint(1, 3))]
    shapes = tuple(tuple(random.choice(extents) for _ in range(rank)) for rank in ranks)
    lines: list[str] = []
    values = {f"x{k}": np.random.default_rng(seed + k).normal(size=s) for k, s in enumerate(shapes)}
    pool = {k: torch.tensor(v, requires_grad=True) for k, v in values.items()}
    names = {"torch": torch, "F": torch.nn.functional, "k0": torch.tensor([7, 12, 3]), **pool}
    floating = list(pool)
    while len(lines) < size and random.random() > 0.02:
        name = f"v{len(lines)}"
        text = statement(random, floating, name)
        trial = dict(names)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec("def step():\n    " + text + f"\n    return {name}\n", trial)
                made = trial["step"]()
        except Exception:
            continue
        fits = isinstance(made, torch.Tensor) and made.is_floating_point() and made.numel() <= 300 and made.ndim <= 4
        if fits and bool(torch.isfinite(made).all()) and float(made.detach().abs().sum()) < 1e4:
            lines.append(text)
            names[name] = made
            floating.append(name)
    chosen = random.sample(floating[len(shapes):], min(len(lines), random.randint(1, 3))) or [floating[0] + " * 1"]
    if floating[-1] not in chosen:
        chosen.append(floating[-1] if lines else floating[0] + " + 1")
    arguments = ", ".join([*(f"x{k}" for k in range(len(shapes))), "k0"])
    body = "".join(f"    {line}\n" for line in lines)
    results = ", ".join(chosen) + ("," if len(chosen) == 1 else "")
    return Program(f"def f({arguments}):\n{body}    return {results}\n", shapes, seed)


def statement(random: Random, floating: list[str], name: str) -> str:
    table = random.choice([UNARY, UNARY, BINARY, BINARY, REDUCE, REDUCE, SHAPE, SHAPE, SHAPE, PRODUCT, WRITE, WRITE, LOOP])
    recent = floating[-4:]
    text = random.choice(table).format(
        a=random.choice(recent if random.random() < 0.7 else floating), b=random.choice(floating), c=name, k="k0",
        d=random.choice([0, 0, 1, -1, 2]), e=random.choice([0, 1, -1]), i=random.choice([0, 0, 1, 2]),
        j=random.choice([1, 2, 3]),
    )  # fmt: skip
    return text if table in (WRITE, LOOP) else f"{name} = {text}"


def expected(program: Program, torch: Any, dtype: str) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Outputs, cotangents and gradients, by PyTorch."""
    given = program.inputs(dtype)
    tensors = {n: torch.tensor(v, requires_grad=v.dtype.kind == "f") for n, v in given.items()}
    outputs = program.function(torch)(**tensors)
    rng = np.random.default_rng(program.seed + 1)
    cotangents = [rng.uniform(0.5, 1.5, tuple(o.shape)).astype(dtype) for o in outputs]
    wanted = [(o, torch.tensor(c)) for o, c in zip(outputs, cotangents) if o.requires_grad]
    if wanted:
        torch.autograd.backward([o for o, _ in wanted], [c for _, c in wanted])
    found = {n: None if t.grad is None else t.grad.numpy() for n, t in tensors.items() if t.requires_grad}
    return [o.detach().numpy() for o in outputs], cotangents, found

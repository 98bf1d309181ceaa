"""Corners that programs have fallen into: empty views, bools as numbers, singular matrices, indices from the end."""

import copy
import math

EMPTY_VIEWS = [
    "x[:0].view(-1)", "x[1:1, 1:].view(-1)", "x[:0].t().view(-1)", "x[:, 1:1].t()[...].view(-1, 5)",
    "x[1:1, 2:].view(3, 0, 2)",
    "x[1:1, 2:].reshape(3, 0, 2)", "x[1:, 2:].view(-1)[0:0].view(-1).view(0, 3)", "x[:0].t()[1:].view(0, 7).stride()",
    "x[:0].expand(2, 0, 3).reshape(-1)", "x[:0].view(3, 0, 5).stride()",
]  # fmt: skip
BOOLS = [
    "b ** 2", "b.square()", "2 ** b", "b ** 0.5", "b ** b", "b // b", "b % b", "b.fmod(b)",
    "torch.div(b, b, rounding_mode='trunc')",
    "torch.div(b, b, rounding_mode='floor')", "torch.addr(b, b, b)", "b // 2", "b % 2.0", "torch.addr(b, b, b, beta=0)",
]  # fmt: skip
INTEGERS = [
    "torch.addmv(i, m, i, beta=2.0)", "torch.addmv(i, m, i, beta=0.5)", "torch.addmm(m, m, m, alpha=2.5)",
    "torch.baddbmm(m[None], m[None], m[None], alpha=2.5)", "torch.logspace(0.2, 1.2, 2, dtype=torch.int64)",
    "torch.tensor([1, 2], dtype=float)", "torch.full(2, 3)", "i.to(float)", "torch.arange(3, dtype=float)",
]  # fmt: skip
PLACES = [
    "torch.nonzero(s)", "torch.nonzero(s * 0)", "torch.nonzero(s, as_tuple=True)", "torch.masked_select(s, s > 0)",
    "torch.unique(s, return_inverse=True)", "torch.take_along_dim(v, torch.tensor([-1, 0]), 0)", "v[..., ...]",
    "v[..., 1, ...]",
    "torch.tensor_split(v, torch.tensor(3))", "torch.tensor_split(v, torch.tensor([1, 4]))", "torch.tensor_split(v, 0)",
    "torch.repeat_interleave(v, torch.tensor([1, 2, 0, 1, 1]))", "torch.repeat_interleave(torch.tensor([1, 2, 0]))",
    "torch.repeat_interleave(v.view(5, 1), torch.tensor([2]), dim=0).t()", "torch.repeat_interleave(v, torch.tensor([1, 2]))",
    "torch.diff(v, n=6)", "torch.diff(v, n=0, prepend=v).detach()", "torch.diff(v, n=-1)", "torch.diff(s)",
    "torch.nn.functional.pad(v.view(1, 1, 5), (-1, 2), mode='circular')",
    "torch.nn.functional.pad(v.view(1, 1, 5), (-1, -2), mode='circular')",
    "torch.nn.functional.alpha_dropout(v, p=1.0, training=True)",
]  # fmt: skip
SINGULAR = [
    "inv(zero)", "solve(zero, zero)", "solve(rank1, ones)", "solve(rank1, ones.T, left=False)",
    "cholesky(zero)",
    "cholesky(indefinite)", "cholesky(indefinite, upper=True)", "cholesky(torch.stack([eye, indefinite]))",
    "inv(torch.stack([eye, rank1]))", "matrix_power(zero, -2)", "cholesky(eye * math.nan)", "inv(eye * math.nan)",
    "det(zero)",
]  # fmt: skip


def each(attempt, texts, names):
    for text in texts:
        attempt(lambda text=text: eval(text, names))


def case_empty_views(torch, show, attempt):
    each(attempt, EMPTY_VIEWS, {"x": torch.arange(6.0).reshape(2, 3)})
    x = torch.zeros(2, 3, requires_grad=True)
    z = x * 1
    z[:0].view(-1).add_(1)
    z.sum().backward()
    show(x.grad)


def case_bools_as_numbers(torch, show, attempt):
    each(attempt, BOOLS, {"b": torch.tensor([True, False]), "torch": torch})


def case_integers_and_floats(torch, show, attempt):
    each(attempt, INTEGERS, {"i": torch.tensor([1, 2]), "m": torch.tensor([[1, 2], [3, 4]]), "torch": torch})


def case_places(torch, show, attempt):
    each(attempt, PLACES, {"s": torch.tensor(3.0), "v": torch.arange(5.0), "torch": torch})


def case_singular_matrices(torch, show, attempt):
    names = {name: getattr(torch.linalg, name) for name in ("inv", "solve", "cholesky", "matrix_power", "det")}
    eye, rank1 = torch.eye(2), torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    names |= {"zero": eye * 0, "eye": eye, "rank1": rank1, "ones": torch.ones(2, 1), "torch": torch, "math": math}
    each(attempt, SINGULAR, names | {"indefinite": torch.tensor([[1.0, 2.0], [2.0, 1.0]])})
    try:
        torch.linalg.cholesky(rank1 - eye * 3)
    except torch.linalg.LinAlgError as error:
        show("caught as LinAlgError", isinstance(error, RuntimeError))


def case_floor_divide_has_no_derivative(torch, show, attempt):
    x = torch.tensor([5.0, -5.0], requires_grad=True)
    show(x // 2)
    attempt(lambda: (x // 2).sum().backward())
    show(torch.autograd.grad(torch.div(x, 2, rounding_mode="floor").sum(), x))


def case_copies_share_what_the_originals_shared(torch, show, attempt):
    base = torch.arange(4.0)
    p, q = copy.deepcopy([base, base[2:]])
    p[2] = 77
    show(base, p, q)


def case_gradients_of_scattered_extremes_and_products(torch, show, attempt):
    places = torch.tensor([1, 1, 0, 0])
    for first, second in (([1.0, 2.0, 2.0], [2.0, 3.0, 1.0, 4.0]), ([0.0, 2.0, 2.0], [0.0, 3.0, 0.0, 5.0])):
        for how in ("prod", "amax", "amin"):
            x, y = torch.tensor(first, requires_grad=True), torch.tensor(second, requires_grad=True)
            y_ = x.scatter_reduce(0, places, y, how)
            show(how, y_.detach(), torch.autograd.grad((y_ * torch.tensor([1.0, 2.0, 3.0])).sum(), [x, y]))
    x, y = torch.tensor([3.0, 2.0], requires_grad=True), torch.tensor([5.0, 4.0, -7.0], requires_grad=True)
    for how in ("prod", "amax"):
        y_ = x.scatter_reduce(0, torch.tensor([1, 1, 0]), y, how)
        g = torch.autograd.grad((y_**2).sum(), [x, y], create_graph=True)
        show(how, torch.autograd.grad(g[0].sum() + (g[1] ** 2).sum(), [x, y]))


def case_reshape_of_a_view_writes_through_where_strides_allow(torch, show, attempt):
    cuts = "[:, ::2].reshape(2, 2, 1)", "[:, 1].reshape(-1)", ".t().reshape(6)", ".t().flatten(0, 1)", "[:, ::2].flatten()"
    for cut in cuts:
        x = torch.arange(6.0).reshape(2, 3).requires_grad_()
        base = x * 1
        part = eval("base" + cut, {"base": base})
        show(cut, part.grad_fn.name())
        part.mul_(2)
        base.sum().backward()
        show(base.detach(), x.grad)


def case_sums_over_an_axis_of_one(torch, show, attempt):
    a, b = torch.arange(3.0).view(3, 1).requires_grad_(), torch.arange(8.0).view(4, 2).requires_grad_()
    y = torch.tensordot(a, b, 1)
    show(y.detach(), torch.autograd.grad((y * torch.arange(6.0).view(3, 2)).sum(), [a, b]))
    attempt(lambda: torch.inner(torch.ones(1), torch.ones(3)))
    attempt(lambda: torch.ones(2, 3).gather(1, torch.tensor([[0], [0], [0]])))
    attempt(lambda: torch.ones(2, 3).scatter(0, torch.tensor([[1, 0, 0]]), torch.ones(1, 2)))
    attempt(lambda: torch.addmm(torch.ones(3), torch.ones(2, 3), torch.ones(3, 4)))
    attempt(lambda: torch.tensor([1]) // torch.tensor([0]))

"""Other spellings of arguments, and operands at the edge of what functions take."""

NUMPY_NAMES = [
    "x.sum(axis=0)", "torch.sum(x, axis=1, keepdims=True)", "x.mean(axis=(0, 1))", "x.max(axis=1)", "torch.argmax(x, axis=0)",
    "x.std(axis=0)", "torch.cat([x, x], axis=1)", "torch.stack([x, x], axis=0)", "x.softmax(axis=1)", "x.cumsum(axis=0)",
    "torch.logsumexp(x, axis=0)", "torch.unsqueeze(x, axis=0)", "x.any(axis=0)", "x.amax(axis=1)", "x.squeeze(axis=0)",
    "x.unbind(axis=1)", "x.chunk(2, axis=1)", "x.var(axis=0, keepdims=True)", "x.cummax(0)", "x.aminmax()", "x.min(0)",
]  # fmt: skip


def case_numpy_names(torch, show, attempt):
    x = torch.arange(6.0).reshape(2, 3)
    for text in NUMPY_NAMES:
        attempt(lambda text=text: eval(text, {"x": x, "torch": torch}))


def case_scatter_into_a_scalar(torch, show, attempt):
    z, s = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    i = torch.tensor(0)
    for made in (
        z.scatter(0, i, s), z.scatter_add(0, i, s), z.index_add(0, torch.tensor([0]), s), z.index_copy(0, i, s),
        z.index_fill(0, torch.tensor([0]), s), z.scatter_reduce(0, i, s, "sum"), z.gather(0, i), z.index_select(0, i),
    ):  # fmt: skip
        show(made.detach(), torch.autograd.grad(made, [z, s], allow_unused=True))


def case_index_writes_check_dtypes(torch, show, attempt):
    x, i, rows = torch.zeros(3, 4), torch.tensor([0]), torch.ones(1, 4, dtype=torch.float64)
    attempt(lambda: x.index_add(0, i, rows))
    attempt(lambda: x.index_copy(0, i, rows))


def case_index_fill_names_a_slice_twice(torch, show, attempt):
    v, w = torch.tensor(1.5, requires_grad=True), torch.arange(12.0, requires_grad=True)
    y = w.view(3, 4).index_fill(1, torch.tensor([1, 1, 3]), v)
    show(y.detach(), torch.autograd.grad((y * torch.arange(12.0).view(3, 4)).sum(), [v, w]))


def case_extremes_of_integers(torch, show, attempt):
    images = torch.arange(16).reshape(1, 1, 4, 4) - 20
    show(torch.nn.functional.max_pool2d(images, 3, 2, 1))
    zeros, places, values = torch.zeros(3, dtype=torch.int64), torch.tensor([0, 0, 1]), torch.tensor([-5, -3, 2])
    for how in ("amax", "amin"):
        show(zeros.scatter_reduce(0, places, values, how, include_self=False))


def case_bits(torch, show, attempt):
    a, b = torch.tensor([-7, 0, 5, 12, 6, -1]), torch.tensor([3, 1, 0, 2, 70, -1])
    show(a & b, a | b, a ^ b, a << b, a >> b, ~a, 3 & a, 1 << b.clamp(0, 5))
    attempt(lambda: a & 1.5)
    attempt(lambda: a.float() | a)
    a <<= 1
    show(a)


def case_no_inputs(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    attempt(lambda: torch.autograd.grad(x.sum(), []))

"""Looking at values, creating, converting, indexing: what has to be PyTorch's without autograd too."""

# ruff: noqa: RUF005, SIM300  (written as a user might, on purpose)

import copy
import pickle

import numpy as np


def case_single_values(torch, show, attempt):
    x = torch.tensor([1.5, 2.5])
    attempt(lambda: x.item())
    attempt(lambda: float(x))
    attempt(lambda: int(x))
    attempt(lambda: bool(x))
    attempt(lambda: bool(torch.ones(0)))
    attempt(lambda: len(torch.tensor(1.0)))
    attempt(lambda: list(torch.tensor(1.0)))
    show(x[0].item(), float(x[1]), int(x[1]), bool(x[0]), len(x), x.tolist(), [t.item() for t in x])
    show(torch.tensor([[True]]).item(), torch.tensor(3).tolist(), f"{x[0]:.3f}", f"{x[0]}", f"{x}")
    show([10, 20, 30][torch.tensor(1)], 1.5 in x, 9 in x)
    if x[0] > 1:
        show("yes")


def case_creation(torch, show, attempt):
    show(torch.zeros(2, 3), torch.ones((2,)), torch.full((2, 2), 7), torch.full((2,), 0.5), torch.eye(2, 3))
    show(torch.arange(5), torch.arange(1, 10, 2.5), torch.arange(5, 0, -2), torch.arange(0, 1, 0.25), torch.arange(3.0))
    show(
        torch.linspace(0, 1, 5),
        torch.logspace(0, 2, 3),
        torch.linspace(3, 1, 1),
        torch.linspace(0, 10, 5, dtype=torch.int64),
    )
    show(torch.tensor([1, 2.5, True]), torch.tensor([]), torch.tensor(2**40), torch.tensor([True, False]))
    show(torch.tensor([[1, 2], [3, 4]], dtype=torch.float64), torch.zeros(2, dtype=torch.bool), torch.empty(0))
    x = torch.ones(2, 2, dtype=torch.float64)
    show(torch.zeros_like(x), torch.ones_like(x, dtype=torch.int32), torch.full_like(x, 3), torch.rand_like(x).shape)
    show(x.new_zeros(2), x.new_ones((1, 2)), x.new_full((2,), 5), x.new_tensor([1, 2]), x.new_empty(1).shape)
    show(
        torch.scalar_tensor(3),
        torch.as_tensor([1, 2]),
        torch.tensor(np.float32(3)),
        torch.tensor([np.float32(3)]).dtype,
    )
    show(torch.tensor(np.arange(3)), torch.tensor(np.float64(3)).dtype, torch.Tensor([1, 2]), torch.Tensor(2, 3).shape)
    show(torch.zeros(2, requires_grad=True), torch.ones(1, requires_grad=True, dtype=torch.float64))


def case_creation_errors(torch, show, attempt):
    attempt(lambda: torch.arange(5, 1))
    attempt(lambda: torch.arange(1, 5, 0))
    attempt(lambda: torch.tensor([[1, 2], [3]]))
    attempt(lambda: torch.tensor("a"))
    attempt(lambda: torch.tensor([1, "a"]))
    attempt(lambda: torch.zeros(-1))
    attempt(lambda: torch.eye(-1))
    attempt(lambda: torch.ones("a"))
    attempt(lambda: torch.ones(2.5))
    attempt(lambda: torch.linspace(0, 1, -1))
    attempt(lambda: torch.set_default_dtype(torch.int32))
    attempt(lambda: torch.from_numpy([1]))
    attempt(lambda: torch.from_numpy(np.ones(3, ">f4")))
    attempt(lambda: torch.from_numpy(np.ones(3)[::-1]))
    attempt(lambda: torch.randint(0, 0, (2,)))


def case_random(torch, show, attempt):
    torch.manual_seed(7)
    show(torch.rand(3), torch.randn(2, 2), torch.randint(0, 10, (4,)), torch.randint(5, (2,)), torch.randperm(5))
    g = torch.Generator().manual_seed(1)
    show(torch.randn(2, generator=g), torch.rand(2, generator=g), torch.normal(0.0, 1.0, (2,), generator=g))
    show(torch.bernoulli(torch.tensor([0.0, 1.0, 0.5])), torch.multinomial(torch.tensor([1.0, 2.0, 3.0]), 2))


def case_default_dtype(torch, show, attempt):
    show(torch.get_default_dtype(), (torch.tensor([1, 2]) / 2).dtype)
    torch.set_default_dtype(torch.float64)
    try:
        show(torch.tensor([1.0]).dtype, torch.ones(1).dtype, (torch.tensor([1, 2]) / 2).dtype, torch.tensor([1.0]))
        show((torch.tensor([1]) + 1.5).dtype, torch.arange(0, 1, 0.5).dtype)
    finally:
        torch.set_default_dtype(torch.float32)
    show(torch.tensor([1.0], dtype=torch.float64), (torch.tensor([1]) + 1.5).dtype)


def case_promotion(torch, show, attempt):
    kinds = [torch.bool, torch.int32, torch.int64, torch.float32, torch.float64]
    for a in kinds:
        row = []
        for b in kinds:
            one, other = torch.ones(2, dtype=a), torch.ones(2, dtype=b)
            zero_d = torch.ones((), dtype=b)
            row.append(
                (str((one * other).dtype), str((one * zero_d).dtype), str((torch.ones((), dtype=a) * zero_d).dtype))
            )
        show(a, row)
        show(
            [str((torch.ones(2, dtype=a) * s).dtype) for s in (True, 2, 2.5)],
            [str((torch.ones((), dtype=a) * s).dtype) for s in (True, 2, 2.5)],
        )
    show(torch.promote_types(torch.int32, torch.float32), torch.result_type(torch.ones(2, dtype=torch.int32), 1.5))


def case_conversions(torch, show, attempt):
    x = torch.tensor([1.7, -2.3, 0.0])
    show(x.long(), x.int(), x.bool(), x.double(), x.float() is x, x.to(torch.int32), x.to(x) is x, x.type())
    show(x.to(torch.float64).dtype, x.to("cpu") is x, x.type(torch.int64), x.cpu() is x, x.device, x.layout)
    show(x.to(dtype=torch.float64).to(torch.float32).dtype, x.type_as(torch.ones(1, dtype=torch.int64)))
    y = torch.ones(2, requires_grad=True)
    show(y.double(), y.double().grad_fn.next_functions)
    (y.double() * 2).sum().backward()
    show(y.grad)
    show(x.element_size(), x.nbytes, x.is_floating_point(), x.numel(), x.nelement(), x.dim(), x.ndim)


def case_numpy(torch, show, attempt):
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    show(x.numpy(), np.asarray(x).dtype, np.sum(x.numpy()), x.t().numpy().shape)
    attempt(lambda: torch.ones(2, requires_grad=True).numpy())
    show(torch.ones(2, requires_grad=True).detach().numpy())
    a = x.numpy()
    a[0, 0] = 100
    show(x)
    x[1, 1] = -1
    show(a)
    x.mul_(2)
    show(a)
    r = x.t().numpy()
    r[0, 1] = 55
    show(x, a)


def case_from_numpy(torch, show, attempt):
    a = np.arange(4, dtype=np.float32)
    x = torch.from_numpy(a)
    y = x * 2
    a[0] = 10
    show(x, y)
    x += 1
    show(a)
    z = x[1:3]
    a[1] = -5
    show(z, z + 1)
    w = torch.as_tensor(a)
    a[3] = 77
    show(w)
    c = torch.tensor(a)
    a[3] = 78
    show(c)


def case_copies(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    y = copy.deepcopy(x)
    show(y, y.grad, y is x, y.requires_grad)
    attempt(lambda: copy.deepcopy(x * 2).shape)
    z = pickle.loads(pickle.dumps(x))
    show(z, z.requires_grad, z.grad)
    c = x.clone()
    show(c)
    d = x.detach().clone()
    d[0] = 9
    show(x, d)


def case_basic_indexing(torch, show, attempt):
    x = torch.arange(24).reshape(2, 3, 4)
    for index in (
        0,
        -1,
        (1, 2),
        (0, 1, 2),
        slice(None),
        (slice(None), 1),
        (..., 0),
        (0, ..., 1),
        None,
        (None, 0),
        (slice(0, 1), slice(1, None), slice(None, None, 2)),
        (slice(None), None, 1),
        Ellipsis,
        (),
        slice(5, 9),
        slice(-1, None),
        (0, slice(2, 1)),
    ):
        show(x[index].shape, x[index].tolist())
    attempt(lambda: x[2])
    attempt(lambda: x[0, 3])
    attempt(lambda: x[0, 0, 0, 0])
    attempt(lambda: x[::-1])
    attempt(lambda: x[1.5])
    attempt(lambda: torch.tensor(1)[0])
    attempt(lambda: x["a"])


def case_advanced_indexing(torch, show, attempt):
    x = torch.arange(24).reshape(2, 3, 4)
    i = torch.tensor([0, 1, 1])
    show(x[i].tolist(), x[[0, 1]].shape, x[:, [0, 2]].tolist(), x[:, i, i].tolist(), x[i, :, i].tolist())
    show(x[torch.tensor([[0, 1], [1, 0]])].shape, x[..., [1, 3]].tolist(), x[[0, 1], [1, 2], [3, 0]].tolist())
    show(x[x > 20].tolist(), x[torch.tensor([True, False])].tolist(), x[:, torch.tensor([True, False, True])].shape)
    show(
        x[torch.tensor(1)].tolist(),
        x[np.array([1, 0])].shape,
        x[-1, [-1, 0]].tolist(),
        x[0][torch.tensor([-1])].tolist(),
    )
    show(
        x[None, [0]].shape,
        x[[1], None].shape,
        x[i[:, None], torch.tensor([0, 2])].tolist(),
        x[True].shape,
        x[False].shape,
    )
    attempt(lambda: x[torch.tensor([2])])
    attempt(lambda: x[torch.tensor([0.5])])
    attempt(lambda: x[torch.tensor([True, False, True])])
    attempt(lambda: x[[0, 1], [0, 1, 2]])
    f = torch.arange(4.0).requires_grad_()
    y = f[[0, 0, 3]]
    show(y)
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    show(f.grad)
    (f[f > 1.5] * 10).sum().backward()
    show(f.grad)


def case_iteration(torch, show, attempt):
    x = torch.arange(4.0).reshape(2, 2).requires_grad_()
    for row in x:
        show(row)
    a, b = x
    show(a.grad_fn is b.grad_fn)
    show(max(x.flatten().tolist()), sum(t for t in x[0]))


def case_shapes(torch, show, attempt):
    x = torch.zeros(2, 3, 4)
    show(x.shape, x.size(), x.size(1), x.size(-1), x.shape[0], x.shape[1:], x.dim(), len(x), x.numel(), x.shape.numel())
    attempt(lambda: x.size(5))
    show(torch.Size([1, 2]), torch.Size([1]) + (2,), tuple(x.shape), x.shape == (2, 3, 4), torch.zeros(()).shape)


def case_zero_size(torch, show, attempt):
    x = torch.zeros(0, 3, requires_grad=True)
    show(x.sum(), x.sum(0), x.shape, x + 1, (x * 2).sum(1))
    x.sum().backward()
    show(x.grad, x.grad.shape)
    show(torch.zeros(2, 0).tolist(), torch.cat([torch.zeros(0), torch.ones(2)]))


def case_printing_knows_autograd(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    show(x, x * 2, x.detach(), (x * 2)[0], x.view(2, 1), x.double(), x.long(), repr(x.sum()), str(x.t()))
    with torch.no_grad():
        show(x, x * 2)


def case_information(torch, show, attempt):
    show(
        torch.finfo(torch.float32),
        torch.iinfo(torch.int32),
        torch.finfo(torch.float64).eps,
        torch.iinfo(torch.int64).max,
    )
    attempt(lambda: torch.finfo(torch.int32))
    attempt(lambda: torch.iinfo(torch.float32))
    show(
        torch.device("cpu"),
        repr(torch.device("cpu")),
        torch.float32,
        torch.is_tensor(torch.ones(1)),
        torch.is_tensor(1),
    )
    show(torch.numel(torch.ones(2, 3)), torch.float, torch.long, torch.double, torch.int, torch.bool)
    show(torch.pi, torch.inf, torch.nan, torch.e, torch.strided, torch.contiguous_format)


def case_reflected_operators(torch, show, attempt):
    x = torch.tensor([1.0, 2.0, 4.0])
    show(1 + x, 1 - x, 2 * x, 1 / x, 2**x, 7 // x, 7 % x, -x, +x, abs(x), x // 2, x % 2, x @ x)
    show(x == 2, x != 2, x < 2, 2 < x, x >= 2, x <= 2)
    b = torch.tensor([True, False])
    show(~b, b & True, b | True, b ^ True)
    attempt(lambda: x + "a")
    attempt(lambda: x + None)
    attempt(lambda: [1] + x[:1])
    show(x == None, x != "a")  # noqa: E711


def case_equality_and_hash(torch, show, attempt):
    x, y = torch.ones(2), torch.ones(2)
    show(x == y, x is y, len({x, y}), torch.equal(x, y), torch.allclose(x, y), x in [x])


def case_data_assignment_keeps_grad(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    x.data = x.data - 0.1 * x.grad
    show(x, x.grad, x.is_leaf)
    (x * x).sum().backward()
    show(x.grad)


def case_attributes(torch, show, attempt):
    x = torch.ones(2)
    x.note = "mine"
    show(x.note, x.T, x.is_leaf, x.itemsize, x.is_cuda, x.ndim)

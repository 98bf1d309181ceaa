"""Functions whose results depend on values, views and in-place forms, records of results, checks of derivatives."""

import math


def near(x):
    """Values without the last roundings."""
    return [round(v, 9) + 0.0 for v in x.detach().reshape(-1).tolist()]


def case_windows_are_views(torch, show, attempt):
    x = torch.arange(10.0, requires_grad=True)
    y = x * 1
    w = y.unfold(0, 4, 3)
    show(w, w.shape, w.grad_fn.name(), torch.autograd.grad((w * w).sum(), x))
    base = torch.zeros(2, 5)
    base.unfold(1, 2, 2).fill_(1)
    show(base, torch.arange(6.0).reshape(2, 3).unfold(0, 2, 1))
    attempt(lambda: x.unfold(0, 11, 1))
    attempt(lambda: x.unfold(0, 2, 0))


def case_fill_diagonal(torch, show, attempt):
    x = torch.arange(12.0).reshape(4, 3)
    x.fill_diagonal_(-1.0)
    show(x, torch.zeros(7, 2).fill_diagonal_(1.0, wrap=True), torch.zeros(2, 2, 2).fill_diagonal_(3.0))
    y = torch.ones(3, 3, requires_grad=True)
    z = (y * 2).fill_diagonal_(5.0)
    show(z.detach(), torch.autograd.grad(z.sum(), y))
    attempt(lambda: torch.zeros(3).fill_diagonal_(1.0))
    attempt(lambda: torch.zeros(2, 3, 2).fill_diagonal_(1.0))


def case_counts(torch, show, attempt):
    n = torch.tensor([1, 3, 0, 3, 5])
    show(torch.bincount(n), torch.bincount(n, minlength=8), torch.bincount(n, torch.tensor([0.5, 1.0, 2.0, 0.25, 1.0])))
    show(torch.histc(torch.tensor([0.0, 1.0, 2.0, 2.5]), 4), torch.histc(torch.ones(3), 3))
    x = torch.tensor([1, 1, 2, 2, 2, 1, 3])
    show(torch.unique_consecutive(x, return_inverse=True, return_counts=True), x.unique_consecutive())
    show(torch.unique_consecutive(torch.tensor([[1, 2], [1, 2], [3, 2]]), dim=0))
    show(torch.mode(torch.tensor([[1.0, 2.0, 2.0, 1.0], [3.0, 3.0, 0.0, 1.0]])), torch.tensor([4, 4, 2]).mode())
    show(torch.isin(x, 2), torch.isin(3, x), torch.tril_indices(3, 3), torch.triu_indices(3, 4, 1))
    show(torch.unravel_index(torch.tensor([5, 2]), (2, 3)))
    for wrong in (
        lambda: torch.bincount(torch.tensor([-1])), lambda: torch.bincount(torch.tensor([1.0])),
        lambda: torch.histc(torch.tensor([1]), 2), lambda: torch.histc(torch.tensor([1.0, math.inf]), 2),
        lambda: torch.quantile(torch.ones(2), 1.5), lambda: torch.quantile(torch.tensor([1]), 0.5),
        lambda: torch.trapezoid(torch.ones(2, 4), torch.ones(3)), lambda: torch.renorm(torch.ones(2), 2, 0, 1.0),
        lambda: torch.cov(torch.ones(2, 2, 2)), lambda: torch.hsplit(torch.ones(2, 4), 3),
        lambda: torch.vsplit(torch.ones(2), 2),
    ):  # fmt: skip
        attempt(wrong)


def case_in_place_functions(torch, show, attempt):
    x = torch.tensor([-1.5, 0.25, 4.0])
    torch.relu_(x)
    torch.sqrt_(x)
    torch.exp_(x)
    show(x, torch.fill(x, 2.0), torch.is_floating_point(x), torch.is_nonzero(torch.tensor([1])), torch.typename(x))
    show(torch.nn.functional.leaky_relu_(torch.tensor([-1.0, 1.0]), 0.5), torch.is_same_size(x, x))
    m = torch.zeros(4).masked_scatter_(torch.tensor([True, False, True, False]), torch.tensor([1.0, 2.0, 3.0]))
    show(m, torch.zeros(2, 3).put_(torch.tensor([1, -1]), torch.tensor([5.0, 6.0])))
    show(torch.zeros(3).ldexp_(torch.ones(3)))
    show(torch.hann_window(5), torch.hamming_window(4, periodic=False))
    show(torch.bartlett_window(4), torch.blackman_window(3) + 1)


def case_singular_values(torch, show, attempt):
    a = torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    u, s, vh = torch.linalg.svd(a, full_matrices=False)
    show(near(s), u.shape, vh.shape, near((u * s) @ vh))
    weights = torch.arange(6.0, dtype=torch.float64).reshape(3, 2)
    invariant = ((u.abs() * weights).sum() + (vh.abs() * weights[:2]).sum() + s.sum())
    show(near(torch.autograd.grad(invariant, a)[0]))
    zero = torch.linalg.svd(torch.zeros(3, 2, dtype=torch.float64), full_matrices=False)
    show(zero.S, near(zero.U.T @ zero.U))
    b = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = torch.linalg.lstsq(a, b.unsqueeze(1))
    show(near(found.solution), found.residuals.shape, found.rank)
    with_residuals = torch.linalg.lstsq(a, b.unsqueeze(1), driver="gelsd")
    show(near(with_residuals.residuals), near(with_residuals.singular_values))
    show(torch.linalg.matrix_rank(torch.ones(3, 3)), near(torch.linalg.pinv(torch.ones(2, 2, dtype=torch.float64))))
    sizes = torch.linalg.norm(a, "nuc"), torch.linalg.norm(a, 2), torch.linalg.cond(a), torch.norm(a, "nuc")
    show([near(x) for x in sizes])
    show(near(torch.linalg.matrix_exp(torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64) * math.pi / 3)))
    show(torch.linalg.inv_ex(torch.eye(2) * 2), torch.linalg.cholesky_ex(-torch.eye(2)).info)


def case_gradcheck(torch, show, attempt):
    x = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64, requires_grad=True)
    show(torch.autograd.gradcheck(lambda v: (v.sin() * v).cumsum(0), (x,)))
    show(torch.autograd.gradgradcheck(lambda v: (v**3).exp(), (x,)))

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            return v * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    show(torch.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False), x)
    attempt(lambda: torch.autograd.gradcheck(Wrong.apply, (torch.tensor(1.0, dtype=torch.float64),)))


def case_data_loader(torch, show, attempt):
    data = torch.utils.data
    dataset = data.TensorDataset(torch.arange(10.0).reshape(5, 2), torch.arange(5))
    for batch in data.DataLoader(dataset, batch_size=2, shuffle=True):
        show(batch)
    show(torch.rand(1), [x[1] for x in data.DataLoader(dataset, batch_size=2, drop_last=True)])
    show([list(part.indices) for part in data.random_split(range(6), [0.5, 0.5])], len(data.DataLoader(dataset, 2)))
    show(list(data.WeightedRandomSampler([0.1, 0.9, 0.4], 5)), list(data.RandomSampler(range(4), True, 6)))
    show(list(data.DataLoader([{"a": 1, "b": (2.0, "x")}, {"a": 3, "b": (4.0, "y")}], batch_size=2)))
    show(data.ConcatDataset([[1, 2], [3]])[2], len(data.ConcatDataset([[1, 2], [3]])))
    attempt(lambda: data.DataLoader(dataset, batch_size=0))
    attempt(lambda: data.TensorDataset(torch.ones(2), torch.ones(3)))


def case_functional_call(torch, show, attempt):
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh())
    changed = {"0.weight": torch.eye(2), "0.bias": torch.zeros(2)}
    show(torch.func.functional_call(module, changed, (torch.ones(1, 2),)), module[0].weight.shape)
    w = torch.eye(2, requires_grad=True)
    out = torch.func.functional_call(module, {"0.weight": w}, torch.ones(1, 2)).sum()
    show(len(torch.autograd.grad(out, [w])), module[0].weight.grad)
    attempt(lambda: torch.func.functional_call(module, {"1.x": w}, torch.ones(1, 2), strict=True) and None)


def case_initialisers(torch, show, attempt):
    init = torch.nn.init
    q = init.orthogonal_(torch.empty(3, 2), gain=2.0)
    show(near((q.T @ q).round(decimals=4)), init.dirac_(torch.empty(2, 2, 3)))
    show((init.sparse_(torch.empty(4, 2), 0.5) == 0).sum(0))
    attempt(lambda: init.orthogonal_(torch.empty(3)))


def case_saved_and_loaded(torch, show, attempt):
    import io

    module = torch.nn.Linear(2, 1)
    file = io.BytesIO()
    torch.save({"model": module.state_dict(), "epoch": 3}, file)
    file.seek(0)
    found = torch.load(file)
    other = torch.nn.Linear(2, 1)
    show(other.load_state_dict(found["model"]), bool((other.weight == module.weight).all()), found["epoch"])


def case_rng_state(torch, show, attempt):
    state = torch.get_rng_state()
    a = torch.rand(2)
    torch.set_rng_state(state)
    show(bool((torch.rand(2) == a).all()), state.shape)
    with torch.random.fork_rng():
        torch.rand(3)
    show(torch.rand(1))


def case_lu_factors(torch, show, attempt):
    a = torch.tensor([[0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [4.0, 3.0, 1.0]], dtype=torch.float64)
    factors, pivots = torch.linalg.lu_factor(a)
    b = torch.tensor([[1.0, 0.0], [2.0, 1.0], [3.0, 5.0]], dtype=torch.float64)
    show(near(factors), pivots)
    show(near(torch.linalg.lu_solve(factors, pivots, b)), near(torch.linalg.lu_solve(factors, pivots, b, adjoint=True)))
    show(near(torch.linalg.lu_solve(factors, pivots, b.T, left=False)), near(b.lu_solve(factors, pivots)))


def case_spectral_norm(torch, show, attempt):
    module = torch.nn.utils.spectral_norm(torch.nn.Linear(3, 2).double())
    show(list(module.state_dict()))
    out = module(torch.ones(1, 3, dtype=torch.float64))
    out.sum().backward()
    show(near(out), near(module.weight_orig.grad), near(module.weight_u))
    module.eval()
    show(near(module(torch.ones(1, 3, dtype=torch.float64))))
    torch.nn.utils.remove_spectral_norm(module)
    show(sorted(module.state_dict()), near(module.weight))


def case_averaged_models(torch, show, attempt):
    swa = torch.optim.swa_utils
    module = torch.nn.Linear(1, 1)
    for options in ({}, {"avg_fn": lambda average, present, count: (average + present) / 2}):
        average = swa.AveragedModel(module, **options)
        for value in (1.0, 2.0, 4.0):
            with torch.no_grad():
                module.weight.fill_(value)
            average.update_parameters(module)
        show(average.module.weight, int(average.n_averaged))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.2)
    for strategy in ("cos", "linear"):
        scheduler = swa.SWALR(optimizer, 0.05, 3, strategy)
        rates = []
        for _ in range(5):
            optimizer.step()
            scheduler.step()
            rates.append(round(optimizer.param_groups[0]["lr"], 9))
        show(rates)


def case_what_is_absent_says_so(torch, show, attempt):
    x = torch.ones(2)
    show(x.is_pinned(), x.is_shared(), x.to_dense() is x, x.apply_(lambda v: v * 3), x.is_same_size(x))
    show(hasattr(x, "no_such_thing"), hasattr(torch, "no_such_thing"))

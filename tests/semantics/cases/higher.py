"""autograd.grad, create_graph, second derivatives, gradient penalties."""


def case_grad(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    y = (x * w).sum()
    show(torch.autograd.grad(y, [x, w], retain_graph=True), x.grad)
    show(torch.autograd.grad(y, x, torch.tensor(2.0)))
    attempt(lambda: torch.autograd.grad(y, x))
    h = x * w
    show(torch.autograd.grad((h * h).sum(), h))
    show(torch.autograd.grad(x * 2, x, torch.tensor([1.0, 5.0])))
    attempt(lambda: torch.autograd.grad(x * 2, x))
    show(torch.autograd.grad([x.sum(), (x * x).sum()], [x]))
    show(torch.autograd.grad(x.sum(), x))


def case_unused(torch, show, attempt):
    x, w = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    y = (x * x).sum()
    attempt(lambda: torch.autograd.grad(y, [x, w]))
    y = (x * x).sum()
    show(torch.autograd.grad(y, [x, w], allow_unused=True))
    y = (x * x).sum()
    show(torch.autograd.grad(y, [x, w], materialize_grads=True))
    attempt(lambda: torch.autograd.grad(y, [x, w], materialize_grads=True, allow_unused=False))
    attempt(lambda: torch.autograd.grad(y, torch.ones(2)))
    attempt(lambda: torch.autograd.grad(y, [3]))


def case_second_derivative(torch, show, attempt):
    x = torch.tensor([1.0, 2.0, -3.0], requires_grad=True)
    y = (x**3).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    show(g.requires_grad)
    show(g.detach())
    (h,) = torch.autograd.grad(g.sum(), x, create_graph=True)
    show(h.detach())
    (t,) = torch.autograd.grad(h.sum(), x)
    show(t)


def case_double_backward_through_many(torch, show, attempt):
    x = torch.tensor([0.5, 1.5, 2.5], dtype=torch.float64, requires_grad=True)
    c = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    for f in (
        lambda x: x.exp(),
        lambda x: x.log(),
        lambda x: x.sqrt(),
        lambda x: x.sin(),
        lambda x: x.sigmoid(),
        lambda x: x.tanh(),
        lambda x: x * x,
        lambda x: 1 / x,
        lambda x: x**2.5,
        lambda x: x.softmax(0),
        lambda x: x.log_softmax(0),
        lambda x: x.logsumexp(0),
        lambda x: x.prod(),
        lambda x: x.norm(),
        lambda x: torch.outer(x, x) @ x,
        lambda x: x.var(),
        lambda x: torch.where(x > 1, x**2, x**3),
        lambda x: x[1:] * x[:-1],
        lambda x: torch.cat([x, x * x]) ** 2,
        lambda x: x.relu() ** 2,
        lambda x: x.abs() * x,
        lambda x: x.max() ** 2,
        lambda x: x.mean() ** 3,
        lambda x: x.expand(2, 3) ** 2,
        lambda x: x.clamp(1, 2) ** 2,
        lambda x: torch.nn.functional.gelu(x),
        lambda x: torch.nn.functional.softplus(x),
        lambda x: torch.nn.functional.silu(x),
        lambda x: torch.nn.functional.mse_loss(x, c),
        lambda x: torch.nn.functional.binary_cross_entropy_with_logits(x, c.abs() / 4),
    ):
        y = f(x)
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        if not g.requires_grad:
            show("linear")
            continue
        (h,) = torch.autograd.grad((g * c).sum(), x)
        show(*([f"{v if abs(v) > 1e-7 else 0.0:.6f}" for v in t.tolist()] for t in (g, h)))


def case_gradient_penalty(torch, show, attempt):
    w = torch.tensor([[0.5, -0.2], [0.1, 0.3]], requires_grad=True)
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
    score = torch.tanh(x @ w).sum()
    (g,) = torch.autograd.grad(score, x, create_graph=True)
    penalty = ((g.norm(dim=1) - 1) ** 2).mean()
    (score + 10 * penalty).backward()
    show(w.grad)
    show(x.grad)


def case_hessian_vector_product(torch, show, attempt):
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    v = torch.tensor([1.0, 0.0, -1.0])
    y = (x[0] ** 2 * x[1] + x[1] * x[2] ** 3).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    show(torch.autograd.grad(g, x, v))


def case_through_in_place_twice(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    y[0] = y[1].clone() * x[0]
    y.mul_(x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    show(g.detach())
    show(torch.autograd.grad(g.sum(), x))


def case_functional(torch, show, attempt):
    f = torch.autograd.functional
    x = torch.tensor([1.0, 2.0])
    show(f.jacobian(lambda x: x**2, x))
    show(f.hessian(lambda x: (x**3).sum(), x))
    show(f.vjp(lambda x: x**2, x, torch.tensor([1.0, 10.0])))
    show(f.jvp(lambda x: x**2, x, torch.tensor([1.0, 10.0])))
    show(f.hvp(lambda x: (x**3).sum(), x, torch.tensor([1.0, 10.0])))
    show(f.jacobian(lambda x, y: (x * y, x.sum()), (x, x + 1)))


def case_batched(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    show(torch.autograd.grad(y, x, torch.eye(2), is_grads_batched=True))


def case_hooks_in_create_graph(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    y.register_hook(lambda g: g * x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    show(g.detach(), torch.autograd.grad(g.sum(), x))


def case_captured_and_hooks(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g * 100)
    z = (y * 3).sum()
    show(torch.autograd.grad(z, y, retain_graph=True))
    show(torch.autograd.grad(z, x, retain_graph=True))
    show(torch.autograd.grad(z, [x, y], retain_graph=True))

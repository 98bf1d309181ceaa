"""Forward mode goes through what no_grad computed and stops at detach(); .data cuts off for the innermost transform only."""

# ruff: noqa: B023  (what a loop defines is called before the loop goes on)


def functions(torch):
    """Of x of shape [3], by name."""

    def no_grad(x):
        with torch.no_grad():
            y = x * x
        return y * x

    def switched_off(x):
        with torch.set_grad_enabled(False):
            y = x.sin()
        return y * x

    def no_grad_all(x):
        with torch.no_grad():
            return x * x

    def detached_in_no_grad(x):
        with torch.no_grad():
            y = x.detach() * x
        return y * x

    def no_grad_then_detached(x):
        with torch.no_grad():
            y = x * x
        return y.detach() * x

    def view_in_no_grad(x):
        with torch.no_grad():
            y = x[0:1]
        return y * x

    def changed_in_no_grad(x):
        y = x * 2
        with torch.no_grad():
            y.mul_(x)
        return y * x

    def view_changed_in_no_grad(x):
        y = x * 2
        with torch.no_grad():
            y[1:].mul_(x[:-1])
        return y * x

    def detach(x):
        return x.detach() * x + (x * x).detach() * x

    def changed_through_detach(x):
        y = x * 2
        y.detach().mul_(x)
        return y * x

    def view_changed_through_detach(x):
        y = x * 2
        y.detach()[1:].mul_(3)
        y[:1].mul_(x[:1])
        return y * x

    def detach_in_place(x):
        y = x * 2
        y.detach_()
        return y * x

    def data(x):
        return (x * x).data * x

    def changed_through_data(x):
        y = x * 2
        y.data.mul_(3)
        return y * x

    def enabled_again(x):
        with torch.no_grad():
            z = x * 2
            with torch.enable_grad():
                y = x * x
        return y * x + z

    def gradient_inside(x):
        g = torch.func.grad(lambda y: (y * y * y).sum())(x)
        with torch.no_grad():
            z = g * 2
        return z * x + g

    def chosen(x):
        with torch.no_grad():
            mask = x > 0.5
        return torch.where(mask, x * x, x)

    def straight_through(x):
        return x * x + ((x * x).round() - x * x).detach()

    return {n: f for n, f in locals().items() if n != "torch"}


def transforms(torch):
    f, tangent = torch.func, torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)

    def along(g, x):
        return f.jvp(g, (x,), (tangent,))[1]

    def summed(g):
        return lambda x: g(x).sum()

    return {
        "grad": lambda g, x: f.grad(summed(g))(x),
        "jvp": along,
        "jacfwd": lambda g, x: f.jacfwd(g)(x),
        "jacrev": lambda g, x: f.jacrev(g)(x),
        "hessian": lambda g, x: f.hessian(summed(g))(x),
        "jvp of grad": lambda g, x: along(f.grad(summed(g)), x),
        "grad of jvp": lambda g, x: f.grad(lambda y: along(g, y).sum())(x),
        "jacrev of jacfwd": lambda g, x: f.jacrev(f.jacfwd(g))(x),
        "vmap of jvp": lambda g, x: f.vmap(lambda t: f.jvp(g, (x,), (t,))[1])(torch.stack([tangent, 2 * tangent])),
    }


def results(torch, transform, x):
    """The transform of every function, one after another."""
    nought = torch.zeros((), dtype=torch.float64)  # what PyTorch knows to be zero has no memory until something is added
    return torch.cat([(transforms(torch)[transform](g, x) + nought).reshape(-1) for g in functions(torch).values()])


def _show(torch, show, transform):
    x = torch.tensor([0.3, 0.6, 1.2], dtype=torch.float64)
    show(*(f"{v:.9g}" for v in results(torch, transform, x).tolist()))


def case_grad(torch, show, attempt):
    _show(torch, show, "grad")


def case_jvp(torch, show, attempt):
    _show(torch, show, "jvp")


def case_jacfwd(torch, show, attempt):
    _show(torch, show, "jacfwd")


def case_jacrev(torch, show, attempt):
    _show(torch, show, "jacrev")


def case_hessian(torch, show, attempt):
    _show(torch, show, "hessian")


def case_jvp_of_grad(torch, show, attempt):
    _show(torch, show, "jvp of grad")


def case_grad_of_jvp(torch, show, attempt):
    _show(torch, show, "grad of jvp")


def case_jacrev_of_jacfwd(torch, show, attempt):
    _show(torch, show, "jacrev of jacfwd")


def case_vmap_of_jvp(torch, show, attempt):
    _show(torch, show, "vmap of jvp")


def case_of_what_is_outside(torch, show, attempt):
    """What an inner function computes under no_grad of a variable of the transform around it."""
    f, w = torch.func, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def square(x):
        def inner(w):
            with torch.no_grad():
                y = x * x
            return (w * w * y).sum()

        return f.grad(inner)(w)

    def product(x):
        def inner(w):
            with torch.no_grad():
                y = x * w
            return (w * y * x).sum()

        return f.grad(inner)(w)

    def mapped(x):
        with torch.no_grad():
            y = x * x
        return f.vmap(lambda a: (a * y).sum())(torch.stack([w, w * 2])) * x.sum()

    def whole(x):
        with torch.no_grad():
            return f.grad(lambda w: (w * w * x).sum())(w) * x

    x, nought = torch.tensor([0.3, 0.6, 1.2], dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for function in (square, product, mapped, whole):
        for transform in ("jvp", "jacrev"):
            show(*(f"{v:.9g}" for v in (transforms(torch)[transform](function, x) + nought).reshape(-1).tolist()))


def case_under_no_grad(torch, show, attempt):
    """What is around a transform does not matter to it."""
    x = torch.tensor([0.3, 0.6, 1.2], dtype=torch.float64)
    with torch.no_grad():
        for name in ("grad", "jvp"):
            show([round(v, 9) for v in results(torch, name, x).tolist()])


def case_inference_mode(torch, show, attempt):
    def inside(x):
        with torch.inference_mode():
            y = x * x
        return y * x

    x = torch.tensor([0.3, 0.6, 1.2], dtype=torch.float64)
    for transform in ("jvp", "jacfwd", "grad", "hessian", "vmap of jvp"):
        attempt(lambda: [round(v, 9) for v in transforms(torch)[transform](inside, x).reshape(-1).tolist()])


def case_refused(torch, show, attempt):
    x = torch.tensor([0.3, 0.6, 1.2], dtype=torch.float64)
    calls = {
        "requires_grad_": lambda x: x.detach().requires_grad_() * x,
        "requires_grad_(False)": lambda x: x.detach().requires_grad_(False) * x,
        "retain_grad": lambda x: ((x * 2).retain_grad(), x)[1],
        "backward": lambda x: (x.sum().backward(), x)[1],
        "made so": lambda x: torch.ones(3, dtype=torch.float64, requires_grad=True) * x,
    }
    for name, function in calls.items():
        show(name)
        for transform in ("grad", "hessian") if name == "retain_grad" else ("grad", "jvp", "jacfwd", "hessian"):
            attempt(lambda: (transforms(torch)[transform](function, x) + 0).reshape(-1).tolist())


def case_functional_of_constants(torch, show, attempt):
    def constant(x):
        with torch.no_grad():
            return (x * x).sum()

    x, f = torch.tensor([0.3, 0.6, 1.2], dtype=torch.float64), torch.autograd.functional
    for call in (lambda: f.vjp(constant, x), lambda: f.jvp(constant, x, torch.ones_like(x)),
                 lambda: f.hvp(constant, x, torch.ones_like(x)), lambda: f.vhp(constant, x, torch.ones_like(x))):
        attempt(lambda: [t.tolist() for t in call()])
    attempt(lambda: f.jacobian(constant, x).tolist())
    attempt(lambda: f.hessian(constant, x).tolist())

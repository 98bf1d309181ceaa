"""no_grad, enable_grad, set_grad_enabled, inference_mode: contexts, decorators, what they leave behind."""

# ruff: noqa: B007, SIM117  (written as a user might, on purpose)


def case_contexts(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    show(torch.is_grad_enabled())
    with torch.no_grad():
        show(torch.is_grad_enabled(), (x * 2).requires_grad)
        with torch.enable_grad():
            show(torch.is_grad_enabled(), (x * 2).requires_grad)
        show(torch.is_grad_enabled())
    show(torch.is_grad_enabled())


def case_set_grad_enabled(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    with torch.set_grad_enabled(False):
        show((x * 2).requires_grad)
    show((x * 2).requires_grad)
    torch.set_grad_enabled(False)
    show((x * 2).requires_grad)
    torch.set_grad_enabled(True)
    show((x * 2).requires_grad)


def case_decorators(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)

    @torch.no_grad()
    def f(x):
        return x * 2

    @torch.no_grad
    def g(x):
        return x * 2

    @torch.set_grad_enabled(False)
    def h(x):
        return x * 2

    @torch.inference_mode()
    def i(x):
        return x * 2

    @torch.inference_mode
    def j(x):
        return x * 2

    show(torch.is_grad_enabled(), f.__name__)
    show([k(x).requires_grad for k in (f, g, h, i, j)])

    @torch.enable_grad()
    def e(x):
        return x * 2

    with torch.no_grad():
        show(e(x).requires_grad)


def case_generator_decorator(torch, show, attempt):
    @torch.no_grad()
    def numbers():
        for k in range(2):
            yield torch.is_grad_enabled()

    show([(inside, torch.is_grad_enabled()) for inside in numbers()])


def case_restored_after_an_exception(torch, show, attempt):
    def fail():
        with torch.no_grad():
            raise ValueError("x")

    attempt(fail)
    show(torch.is_grad_enabled())


def case_nested_reuse(torch, show, attempt):
    mode = torch.no_grad()
    with mode:
        show(torch.is_grad_enabled())
    with mode:
        show(torch.is_grad_enabled())
    show(torch.is_grad_enabled())


def case_leaf_in_no_grad(torch, show, attempt):
    with torch.no_grad():
        x = torch.ones(2, requires_grad=True)
        y = torch.zeros(2)
        y.requires_grad_()
    show(x.requires_grad, y.requires_grad)
    (x * y).sum().backward()
    show(x.grad, y.grad)


def case_in_place_on_a_leaf_under_no_grad(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        x += 1
        x.mul_(3)
        x[0] = 7
    show(x, x._version, x.is_leaf)
    x.sum().backward()
    show(x.grad)


def case_inference_mode(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    with torch.inference_mode():
        i = torch.ones(2)
        r = x * 2
        show(torch.is_inference_mode_enabled(), torch.is_grad_enabled())
    show(i.is_inference(), r.is_inference(), r.requires_grad, r.grad_fn, r.is_leaf)
    attempt(lambda: i * x)
    show(i * 2)
    attempt(lambda: torch.inference_mode()(torch.ones)(2).add_(1))
    attempt(lambda: i.requires_grad_())
    attempt(lambda: i._version)
    with torch.inference_mode():
        show(i.add_(1))
    show(i.clone() * x)
    with torch.inference_mode():
        with torch.inference_mode(False):
            show(torch.is_inference_mode_enabled(), torch.is_grad_enabled(), (x * 2).requires_grad)


def case_detach(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    d = y.detach()
    show(d.requires_grad, d.is_leaf, d.grad_fn, d._is_view())
    d[0] = 100
    show(y, d)
    show(y._version, d._version)
    (x * y.detach()).sum().backward()
    show(x.grad)


def case_detach_then_require(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    d = (x * 2).detach().requires_grad_()
    (d * 3).sum().backward()
    show(x.grad, d.grad)


def case_detach_in_place(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.detach_()
    show(y, y.is_leaf, y.requires_grad)
    attempt(lambda: (x * 2)[0:1].detach_())


def case_data(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (x + x).sum()
    x.data.mul_(10)
    show(x, x._version, x.data.requires_grad)
    y.backward()
    show(x.grad)
    x.data = torch.tensor([5.0, 6.0, 7.0])
    show(x, x.is_leaf)


def case_requires_grad_(torch, show, attempt):
    x = torch.ones(2)
    show(x.requires_grad_() is x, x.requires_grad)
    x.requires_grad = False
    show(x.requires_grad)
    y = torch.ones(2, requires_grad=True) * 2
    attempt(lambda: y.requires_grad_(False))
    show(y.requires_grad_() is y)

    def switch():
        y.requires_grad = False

    attempt(switch)
    attempt(lambda: torch.ones(2, dtype=torch.int64).requires_grad_())
    attempt(lambda: torch.tensor([1], requires_grad=True))
    attempt(lambda: torch.zeros(2, dtype=torch.bool, requires_grad=True))


def case_integer_results_never_require(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    show((x > 1).requires_grad, x.argmax().requires_grad, x.long().requires_grad, (x > 1).grad_fn)

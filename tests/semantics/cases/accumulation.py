"""backward() adds into .grad; None before; zero_grad; arguments of backward and their errors."""

# ruff: noqa: B023  (written as a user might, on purpose)


def case_grad_is_none_then_accumulates(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    show(x.grad)
    (x * x).sum().backward()
    show(x.grad, x.grad.requires_grad, x.grad.grad_fn, x.grad.is_leaf)
    (x * 3).sum().backward()
    show(x.grad)
    x.grad.zero_()
    show(x.grad)
    x.grad = None
    show(x.grad)


def case_accumulation_is_in_place(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    g = x.grad
    (x * x).sum().backward()
    show(g, g is x.grad)


def case_accumulation_with_create_graph_is_not(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    show(g.requires_grad)
    (x**3).sum().backward(create_graph=True)
    show(g is x.grad)
    show(g)
    show(x.grad)


def case_scalar_only(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    attempt(lambda: (x * 2).backward())
    (x[:1] * 2).backward()
    show(x.grad)
    y = (x * 2).reshape(2, 1)
    attempt(lambda: y.backward())
    y.backward(torch.tensor([[1.0], [10.0]]))
    show(x.grad)


def case_gradient_shape_must_match(torch, show, attempt):
    x = torch.ones(3, requires_grad=True)
    attempt(lambda: (x * 2).backward(torch.ones(2)))
    attempt(lambda: (x * 2).backward(torch.tensor(1.0)))
    attempt(lambda: x.sum().backward(torch.ones(1)))
    attempt(lambda: (x * 2).backward(3.0))


def case_gradient_of_another_dtype_is_cast(torch, show, attempt):
    x = torch.ones(3, requires_grad=True)
    (x * 2).backward(torch.ones(3, dtype=torch.float64))
    show(x.grad, x.grad.dtype)


def case_nothing_requires_grad(torch, show, attempt):
    attempt(lambda: torch.ones(3).sum().backward())
    attempt(lambda: torch.autograd.grad(torch.ones(3).sum(), torch.ones(3)))
    x = torch.ones(2, requires_grad=True)
    attempt(lambda: torch.autograd.backward([x.sum(), torch.ones(())]))


def case_backward_on_a_leaf(torch, show, attempt):
    x = torch.tensor(3.0, requires_grad=True)
    x.backward()
    show(x.grad)
    x.backward(torch.tensor(4.0))
    show(x.grad)


def case_freed_graph(torch, show, attempt):
    x = torch.ones(3, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    attempt(lambda: y.backward())
    show(x.grad)


def case_graph_without_saved_tensors_runs_again(torch, show, attempt):
    x = torch.ones(3, requires_grad=True)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    show(x.grad)
    z = (x - 2).reshape(3, 1).t().mean()
    z.backward()
    z.backward()
    show(x.grad)


def case_constants_are_saved_only_where_needed(torch, show, attempt):
    x = torch.ones(3, requires_grad=True)
    c = torch.tensor([1.0, 2.0, 3.0])
    for make in (
        lambda: x * c,
        lambda: x + c,
        lambda: x - c,
        lambda: c / x,
        lambda: x / c,
        lambda: x.exp(),
        lambda: x.neg(),
        lambda: x * 2,
        lambda: x**2,
        lambda: x.sum(),
        lambda: x.clone(),
        lambda: x[1:],
    ):
        y = make().sum()
        y.backward()
        attempt(lambda: y.backward())


def case_freed_part_of_a_graph(torch, show, attempt):
    x = torch.ones(3, requires_grad=True)
    h = x * x
    a, b = h.sum(), (h * 2).sum()
    a.backward()
    attempt(lambda: b.backward())
    show(x.grad)


def case_retain_graph(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    show(x.grad)
    y.backward()
    show(x.grad)
    attempt(lambda: y.backward(retain_graph=True))


def case_create_graph_implies_retain(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward(create_graph=True)
    show(x.grad)
    y.backward()
    show(x.grad)


def case_inputs(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    h = x * w
    h.sum().backward(inputs=[w])
    show(x.grad, w.grad)
    h = x * w
    (h * h).sum().backward(inputs=[h])
    show(x.grad, w.grad, h.grad)
    h = x * w
    (h * h).sum().backward(inputs=[h, x])
    show(x.grad, w.grad, h.grad)
    attempt(lambda: (x * 2).sum().backward(inputs=[]))
    attempt(lambda: (x * 2).sum().backward(inputs=[torch.ones(2)]))
    (x * 2).sum().backward(inputs=x)
    show(x.grad)


def case_several_roots(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    torch.autograd.backward([x.sum(), x * x], [None, torch.tensor([1.0, 10.0])])
    show(x.grad)
    attempt(lambda: torch.autograd.backward([x.sum(), x.sum()], [None]))


def case_same_tensor_many_times(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (x * x + x * x * x).sum().backward()
    show(x.grad)
    x.grad = None
    y = x + x
    (y * y).sum().backward()
    show(x.grad)


def case_unused_leaf_keeps_none(torch, show, attempt):
    x, w = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    show(w.grad)


def case_zero_derivatives_are_zeros(torch, show, attempt):
    x = torch.tensor([1.5, -2.5], requires_grad=True)
    for f in ("floor", "ceil", "round", "trunc", "sign"):
        x.grad = None
        getattr(x, f)().sum().backward()
        show(f, x.grad)


def case_grad_can_be_set(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    x.grad = torch.tensor([5.0, 6.0])
    x.sum().backward()
    show(x.grad)

    def assign(value):
        x.grad = value

    attempt(lambda: assign(torch.ones(3)))
    attempt(lambda: assign(torch.ones(2, dtype=torch.float64)))
    attempt(lambda: assign(3))
    attempt(lambda: assign(x))
    del x.grad
    show(x.grad)


def case_grad_assigned_is_shared(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    g = torch.zeros(2)
    x.grad = g
    (x * 3).sum().backward()
    show(g)


def case_leaves_and_non_leaves(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    z = torch.ones(2)
    show(x.is_leaf, y.is_leaf, z.is_leaf, x.requires_grad, y.requires_grad, z.requires_grad, (z * 2).is_leaf)
    show(y.grad_fn, x.grad_fn, z.grad_fn)
    y.sum().backward()
    show(y.grad)


def case_broadcast_gradients_are_summed(torch, show, attempt):
    x = torch.ones(3, requires_grad=True)
    w = torch.ones(2, 1, requires_grad=True)
    s = torch.tensor(2.0, requires_grad=True)
    (x * w * s).sum().backward()
    show(x.grad)
    show(w.grad)
    show(s.grad)


def case_promotion_inside_an_operation(torch, show, attempt):
    x = torch.ones(3, requires_grad=True)
    d = torch.ones(3, dtype=torch.float64, requires_grad=True)
    y = x * d
    show(y.dtype, y.grad_fn.next_functions)
    y.sum().backward()
    show(x.grad, d.grad)
    i = torch.tensor([1, 2, 3])
    y = x * i
    show(y, y.grad_fn.next_functions)
    y.sum().backward()
    show(x.grad)


def case_training_loop(torch, show, attempt):
    w = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    x = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, -1.0]])
    y = torch.tensor([1.0, 0.0])
    for _ in range(5):
        loss = ((torch.matmul(x, w) - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= 0.05 * w.grad
            w.grad.zero_()
        show(f"{loss.item():.5f}")
    show(w)


def case_long_chain(torch, show, attempt):
    x = torch.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(60):
        y = y * 1.01 + 0.001
    y.backward()
    show(x.grad)

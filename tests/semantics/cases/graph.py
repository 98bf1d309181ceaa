"""grad_fn objects: names, next_functions, AccumulateGrad, hooks."""

# ruff: noqa: RUF059  (written as a user might, on purpose)


def case_names(torch, show, attempt):
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    results = [
        x + 1,
        x - 1,
        1 - x,
        x * 2,
        x / 2,
        2 / x,
        -x,
        x**2,
        x.exp(),
        x.log(),
        x.sqrt(),
        x.sin(),
        x.sigmoid(),
        x.tanh(),
        x.relu(),
        x.abs(),
        x.sum(),
        x.sum(0),
        x.mean(),
        x.mean(1),
        x.t(),
        x.T,
        x.reshape(4),
        x.view(4),
        x[0],
        x[0:1],
        x[None],
        x[:, 1],
        x.clone(),
        x.unsqueeze(0),
        x.permute(1, 0),
        x.transpose(0, 1),
        x.flatten(),
        x.expand(3, 2, 2),
        torch.matmul(x, x),
        x @ x[0],
        torch.cat([x, x]),
        torch.stack([x, x]),
        x.max(),
        x.min(),
        x.prod(),
        x.softmax(0),
        x.log_softmax(0),
        x.double(),
        torch.where(x > 1, x, x * 2),
        x.clamp(1, 2),
        x.squeeze(),
        x.masked_fill(x > 1, 0.0),
        x[[0, 1]],
        x[x > 1],
        x.norm(),
        x.var(),
        x.std(),
        x.logsumexp(0),
        x.maximum(x * 2),
    ]
    for r in results:
        show(r.grad_fn)
    show(type(results[0].grad_fn).__name__, results[0].grad_fn.name())


def case_next_functions(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    w = torch.ones(2, requires_grad=True)
    y = x * w
    show(y.grad_fn.next_functions)
    a = y.grad_fn.next_functions[0][0]
    show(a, a.variable is x, a.name(), a.next_functions)
    z = y + torch.ones(2)
    show(z.grad_fn.next_functions, z.grad_fn.next_functions[0][0] is y.grad_fn)
    show((x + 1).grad_fn.next_functions)
    show((x * w).grad_fn.next_functions[0][0] is a)
    show((x * y).grad_fn.next_functions)


def case_multiple_outputs(torch, show, attempt):
    x = torch.tensor([[3.0, 1.0], [2.0, 5.0]], requires_grad=True)
    values, indices = x.max(1)
    show(values, indices)
    show(values.output_nr, indices.requires_grad, indices.grad_fn)
    a, b = x.unbind(0)
    show(a, b)
    show(a.grad_fn is b.grad_fn, a.output_nr, b.output_nr)
    (a * 2 + b * b).sum().backward()
    show(x.grad)
    x.grad = None
    c, d = x.split(1)
    (c * 3).sum().backward()
    show(x.grad)


def case_tensor_hooks(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: show("y", g))
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: show("y again", g))
    x.register_hook(lambda g: show("x", g))
    (y * y).sum().backward()
    show(x.grad)


def case_hook_handles(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    h = x.register_hook(lambda g: g * 100)
    (x * 2).sum().backward()
    show(x.grad)
    h.remove()
    h.remove()
    x.grad = None
    (x * 2).sum().backward()
    show(x.grad)
    with x.register_hook(lambda g: g * 7):
        x.grad = None
        (x * 2).sum().backward()
    show(x.grad)
    attempt(lambda: torch.ones(2).register_hook(lambda g: g))


def case_hooks_may_not_change_size(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: g[:1])
    attempt(lambda: y.sum().backward())
    z = x * 2
    z.register_hook(lambda g: 3)
    attempt(lambda: z.sum().backward())


def case_hook_order(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    a = x * 2
    b = x * 3
    c = a + b
    for name, t in (("x", x), ("a", a), ("b", b), ("c", c)):
        t.register_hook(lambda g, name=name: show(name, g))
    c.sum().backward()


def case_leaf_hook_runs_once_with_the_sum(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: show("sum", g))
    (x * 2 + x * 3 + x).sum().backward()
    show(x.grad)


def case_post_accumulate_grad_hook(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    h = x.register_post_accumulate_grad_hook(lambda p: show("post", p.grad, p is x))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    h.remove()
    (x * 2).sum().backward()
    show(x.grad)
    attempt(lambda: (x * 2).register_post_accumulate_grad_hook(lambda p: None))


def case_node_hooks(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.grad_fn.register_prehook(lambda gs: show("pre", gs))
    y.grad_fn.register_hook(lambda gin, gout: show("post", gin, gout))
    y.grad_fn.register_prehook(lambda gs: (gs[0] * 5,))
    y.register_hook(lambda g: show("tensor", g))
    (y * y).sum().backward()
    show(x.grad)


def case_accumulator_hooks(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    a = y.grad_fn.next_functions[0][0]
    a.register_prehook(lambda gs: (gs[0] * 5,))
    y.sum().backward()
    show(x.grad)


def case_retain_grad(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    z = y * y
    y.retain_grad()
    z.retain_grad()
    show(y.retains_grad, x.retains_grad)
    z.sum().backward(retain_graph=True)
    show(y.grad, z.grad, x.grad)
    (y * 3).sum().backward()
    show(y.grad, x.grad)
    attempt(lambda: torch.ones(2).retain_grad())
    x.retain_grad()
    show(x.retains_grad)


def case_retain_grad_sees_hooks(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    (y * 3).sum().backward()
    show(y.grad, x.grad)


def case_retain_grad_follows_in_place(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * 5).sum().backward()
    show(y.grad, x.grad)


def case_non_leaf_grad_warns(torch, show, attempt):
    import warnings

    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        show(y.grad)
    show(len(caught), str(caught[0].message)[:60])


def case_metadata(torch, show, attempt):
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    y.grad_fn.metadata["a"] = 1
    show(y.grad_fn.metadata)


def case_calling_a_node(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * torch.tensor([5.0, 7.0])
    show(y.grad_fn(torch.ones(2)))


def case_user_function(torch, show, attempt):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x * x * g

    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = Cube.apply(x)
    show(y.grad_fn, y)
    y.sum().backward(retain_graph=True)
    show(x.grad)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    show(torch.autograd.grad(g.sum(), x))
    y.sum().backward()
    attempt(lambda: y.sum().backward())

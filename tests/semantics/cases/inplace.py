"""In-place operations, version counters, views and their bases."""

# ruff: noqa: RUF059  (written as a user might, on purpose)


def case_leaf_errors(torch, show, attempt):
    x = torch.ones(3, requires_grad=True)
    attempt(lambda: x.add_(1))
    attempt(lambda: x[0:2].mul_(2))
    attempt(lambda: x.zero_())
    attempt(lambda: x.fill_(1))
    attempt(lambda: x.copy_(torch.ones(3)))

    def assign():
        x[0] = 1

    attempt(assign)
    y = torch.ones(3)
    y.mul_(x)
    show(y)


def case_augmented_assignment(torch, show, attempt):
    x = torch.ones(3)
    y = x
    y += 2
    y *= 3
    y -= 1
    y /= 2
    y **= 2
    show(x, y is x, x._version)
    i = torch.tensor([7, 8])
    i //= 2
    i %= 3
    show(i)
    m = torch.tensor([True, False])
    m &= torch.tensor([True, True])
    m |= torch.tensor([False, True])
    m ^= torch.tensor([True, True])
    show(m)


def case_dtype_and_shape_errors(torch, show, attempt):
    i = torch.ones(3, dtype=torch.int64)
    attempt(lambda: i.add_(1.5))
    attempt(lambda: i.mul_(torch.ones(3)))
    attempt(lambda: torch.ones(3).add_(torch.ones(2, 3)))
    attempt(lambda: torch.ones(3).expand(2, 3).add_(1))
    attempt(lambda: torch.zeros(3, dtype=torch.bool).add_(1))
    attempt(lambda: torch.ones(3).copy_(torch.ones(2)))
    attempt(lambda: torch.ones(3).fill_(torch.ones(2)))
    f = torch.ones(3)
    f.add_(torch.ones(3, dtype=torch.float64))
    show(f, i.add_(True), i.fill_(2.7), torch.ones(2, dtype=torch.int64).copy_(torch.tensor([1.9, -1.9])))


def case_history_of_in_place(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.add_(1)
    show(y, y._version)
    show(y.grad_fn.next_functions)
    y.mul_(x)
    show(y)
    y.sum().backward()
    show(x.grad)


def case_in_place_makes_a_leaf_a_non_leaf(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = torch.zeros(2)
    y.add_(x)
    show(y, y.is_leaf)
    y.sum().backward()
    show(x.grad)


def case_version_error(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x.clone()
    z = y * y
    y.add_(1)
    attempt(lambda: z.sum().backward())
    e = x.exp()
    e.add_(1)
    attempt(lambda: e.sum().backward())
    c = torch.tensor([1.0, 2.0])
    z = x * c
    c.mul_(2)
    attempt(lambda: z.sum().backward())
    w = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)
    c = torch.ones(2, 2, dtype=torch.float64)
    z = w @ c
    c[0, 0] = 5
    attempt(lambda: z.sum().backward())


def case_version_not_checked_where_not_needed(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x.clone()
    z = y + 1
    y.mul_(5)
    z.sum().backward()
    show(x.grad)
    x.grad = None
    y = x * 3
    z = y.sin()
    z.mul_(2)
    z.sum().backward()
    show(x.grad)


def case_leaf_changed_after_use(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    with torch.no_grad():
        x.mul_(2)
    attempt(lambda: y.backward())
    z = (x + x).sum()
    with torch.no_grad():
        x.mul_(2)
    z.backward()
    show(x.grad)


def case_in_place_self_operand(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x.clone()
    y.mul_(torch.tensor([3.0, 4.0]))
    y.sum().backward()
    show(x.grad)
    y = x.clone()
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    y.mul_(w)
    y.sum().backward()
    show(x.grad, w.grad)


def case_zero_and_fill(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.zero_()
    show(y)
    y.sum().backward()
    show(x.grad)
    y = x * 2
    y.fill_(3)
    show(y)
    y.sum().backward()
    show(x.grad)
    s = torch.tensor(4.0, requires_grad=True)
    y = x * 2
    y.fill_(s)
    show(y)
    y.sum().backward()
    show(x.grad, s.grad)


def case_copy(torch, show, attempt):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = torch.zeros(2, 2)
    y.copy_(x)
    show(y)
    show(y.grad_fn.next_functions)
    (y * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    show(x.grad)
    i = torch.zeros(2, dtype=torch.int64)
    i.copy_(torch.tensor([1.7, -2.2]))
    show(i)


def case_views_share(torch, show, attempt):
    x = torch.arange(6.0)
    v = x.view(2, 3)
    r = v[1]
    t = v.t()
    x[5] = 50
    show(v, r, t)
    t[0, 0] = -1
    show(x)
    r += 100
    show(x)
    v[:, 1] = torch.tensor([7.0, 8.0])
    show(x)
    show(x._version, v._version, r._version)


def case_many_view_kinds_write_through(torch, show, attempt):
    for make in (
        lambda x: x[1],
        lambda x: x[:, 2],
        lambda x: x[0:2, 1:3],
        lambda x: x[::2],
        lambda x: x[:, 1::2],
        lambda x: x.t(),
        lambda x: x.t()[1:3],
        lambda x: x.reshape(2, 6),
        lambda x: x.view(12),
        lambda x: x.view(12)[3:9],
        lambda x: x.view(12)[::5],
        lambda x: x.unsqueeze(1),
        lambda x: x.view(3, 2, 2)[:, 1],
        lambda x: x.permute(1, 0),
        lambda x: x.view(3, 2, 2).transpose(0, 2)[0],
        lambda x: x[1:2, 2:3],
        lambda x: x[2:2],
        lambda x: x[-1, -2:],
        lambda x: x.diagonal(),
        lambda x: x.unflatten(1, (2, 2)),
        lambda x: x.narrow(1, 1, 2),
        lambda x: x.flatten(),
        lambda x: x.select(1, 2),
        lambda x: x.view(4, 3).t().view(3, 2, 2),
    ):
        x = torch.arange(12.0).reshape(3, 4)
        v = make(x)
        v.mul_(10)
        v.add_(0.5)
        show(x)


def case_detached_views_write_through(torch, show, attempt):
    x = torch.zeros(3, requires_grad=True)
    x.detach()[1:].add_(5)
    show(x, x._version)
    x.data[0] = 9
    show(x, x._version)


def case_reshape_copies_when_it_must(torch, show, attempt):
    x = torch.arange(6.0).reshape(2, 3)
    r = x.t().reshape(6)
    r[0] = 100
    show(x, r)
    r = x.reshape(6)
    r[0] = 100
    show(x)
    attempt(lambda: x.t().view(6))
    attempt(lambda: x.view(4))
    attempt(lambda: x.view(-1, -1))
    show(x.t().is_contiguous(), x.t().contiguous().is_contiguous(), x.contiguous() is x)


def case_strides(torch, show, attempt):
    x = torch.arange(24.0).reshape(2, 3, 4)
    for v in (
        x,
        x.t() if x.ndim == 2 else x.transpose(0, 2),
        x[1],
        x[:, 1],
        x[:, :, ::2],
        x.permute(2, 0, 1),
        x[:, None],
        x.unsqueeze(-1),
        x.expand(5, 2, 3, 4),
        x.view(6, 4),
        x.view(2, 12)[:, 3:7],
        x.flatten(1),
        x[0, 1, 2],
        x.transpose(0, 1)[1:],
    ):
        show(v.shape, v.stride(), v.is_contiguous(), v.storage_offset())


def case_copy_slices(torch, show, attempt):
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    v = y[:2]
    v.mul_(10)
    show(y)
    show(v)
    show(y.grad_fn.next_functions, v.grad_fn.next_functions)
    y.sum().backward()
    show(x.grad)


def case_assignment_history(torch, show, attempt):
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x.clone()
    y[0] = 5
    show(y)
    y[1] = x[2] * 7
    show(y, y.grad_fn.next_functions)
    (y * y).sum().backward()
    show(x.grad)
    z = torch.zeros(2, 2)
    z[0] = x[:2]
    z[1, 1] = x[2]
    show(z)
    z.sum().backward()
    show(x.grad)


def case_view_history_follows_its_base(torch, show, attempt):
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    a = torch.zeros(3)
    v = a[:2]
    a.add_(x)
    show(v.requires_grad, v.grad_fn, v)
    v.sum().backward()
    show(x.grad)
    b = x * 1
    v, w = b[:2], b[1:]
    v.mul_(5)
    show(w)
    w.sum().backward()
    show(x.grad)


def case_in_place_through_chains_of_views(torch, show, attempt):
    x = torch.arange(6.0).requires_grad_()
    y = x * 1
    v = y.view(2, 3)
    w = v.t()[1:]
    w.mul_(w.detach().clone())
    w.sigmoid_()
    show(y)
    (y * torch.arange(6.0)).sum().backward()
    show(x.grad)


def case_no_grad_views(torch, show, attempt):
    x = torch.ones(3, requires_grad=True)
    y = x * 1
    with torch.no_grad():
        v = y.view(-1)
    attempt(lambda: v.mul_(2))
    with torch.no_grad():
        v.mul_(2)
    show(y)


def case_multi_output_views(torch, show, attempt):
    x = torch.ones(2, 3, requires_grad=True)
    y = x.clone()
    a, b = y.unbind(0)
    attempt(lambda: a.mul_(2))
    z = torch.ones(2, 3)
    a, b = z.unbind(0)
    a.mul_(2)
    show(z)
    c, d = torch.ones(4).split(2)
    c.add_(1)
    show(c, d)


def case_in_place_views(torch, show, attempt):
    x = torch.arange(6.0).reshape(2, 3)
    x.t_()
    show(x, x.stride())
    x.unsqueeze_(0)
    show(x.shape)
    x.squeeze_(0)
    show(x.shape)
    x.transpose_(0, 1)
    show(x)
    x += 1
    show(x)


def case_base_attribute(torch, show, attempt):
    x = torch.ones(4)
    v = x.view(2, 2)
    show(x._base is None, v._base is x, v[0]._base is x, v._is_view(), (v + 1)._base is None)
    show(v.data_ptr() == x.data_ptr(), v[1].data_ptr() - x.data_ptr(), x.clone().data_ptr() == x.data_ptr())


def case_in_place_random(torch, show, attempt):
    x = torch.zeros(3)
    torch.manual_seed(3)
    show(x.normal_(), x.uniform_(-1, 1), x.bernoulli_(0.5), x.exponential_(), x._version)
    w = torch.zeros(2, requires_grad=True)
    attempt(lambda: w.normal_())
    y = w * 1
    y.uniform_()
    y.sum().backward()
    show(w.grad)


def case_index_put_in_place(torch, show, attempt):
    x = torch.zeros(5)
    x[[0, 2]] = torch.tensor([1.0, 2.0])
    x[torch.tensor([3, 4])] = 9
    show(x)
    x[x > 1.5] = -1
    show(x)
    m = torch.zeros(2, 3)
    m[torch.tensor([0, 1]), torch.tensor([1, 2])] = torch.tensor([5.0, 6.0])
    show(m)
    m[:, [0, 2]] += 10
    show(m)
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    y = torch.zeros(4)
    y[[1, 3]] = w
    show(y)
    (y * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    show(w.grad)


def case_pending_readers_keep_the_old_value(torch, show, attempt):
    x = torch.ones(3)
    y = x * 2
    x.add_(10)
    z = x * 2
    show(y, z)
    v = x[:1]
    a = v + 1
    x[0] = 100
    show(a, v + 1)


def case_many_updates(torch, show, attempt):
    x = torch.zeros(4)
    for k in range(40):
        x[k % 4] += k
    show(x)


def case_an_operand_that_is_not_saved_may_change(torch, show, attempt):
    """relu saves its result: whether or not its derivative was asked for before, a change of the operand is not seen."""
    for shape in ((5, 7), (5, 7), (7, 5)):
        x = (torch.arange(35, dtype=torch.float64).reshape(shape) / 35 - 0.4).requires_grad_()
        y = x * 1
        z = y.relu()
        y.detach().add_(0.5)
        z.sum().backward()
        show(int(x.grad.sum()))


def case_activations_in_place_have_derivatives(torch, show, attempt):
    f = torch.nn.functional
    for act in (
        lambda y: f.elu_(y), lambda y: f.elu(y, 0.5, inplace=True), lambda y: f.leaky_relu_(y, 0.25), lambda y: f.selu_(y),
        lambda y: f.relu6(y, inplace=True), lambda y: f.hardtanh_(y), lambda y: f.celu_(y), lambda y: f.silu(y, inplace=True),
        lambda y: f.threshold_(y, 0.1, 5.0), lambda y: f.mish(y, inplace=True), lambda y: f.hardswish(y, inplace=True),
        lambda y: f.hardsigmoid(y, inplace=True), lambda y: f.relu(y[1:], inplace=True),
    ):
        x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
        y = 2 * x
        act(y)
        y.sum().backward()
        show(x.grad, y._version)
    leaf = torch.ones(2, requires_grad=True)
    attempt(lambda: f.relu_(leaf))


def case_comparisons_in_place(torch, show, attempt):
    other = torch.tensor([1.0, 0.0, 0.0])
    for name in ("eq_", "ne_", "lt_", "le_", "gt_", "ge_", "logical_and_"):
        x = torch.tensor([1.0, 0.0, 3.0], requires_grad=True)
        y = getattr(x.clone(), name)(other)
        y.sum().backward()
        show(name, y, x.grad)

"""PyTorch's CreationMeta, whole: how a view was made (ordinarily, one of several, by a custom Function, under no_grad, in
inference mode) decides what a change in place means for its history, and what looking at that history later says."""

# ruff: noqa: B023  (what a loop defines is called before the loop goes on)
import itertools

MODES = ("enable_grad", "no_grad", "inference_mode")
VIEWS = {
    "item": lambda b: b[0],
    "unbind": lambda b: b.unbind(0)[0],
    "split": lambda b: b.split(1)[0],
    "split of one": lambda b: b.split(3)[0],
    "chunk": lambda b: b.chunk(2)[0],
    "tensor_split": lambda b: b.tensor_split(2)[0],
    "iteration": lambda b: next(iter(b)),
    "expand": lambda b: b.expand(1, 3, 2),
    "view of view": lambda b: b.view(-1)[:2],
    "several of a view": lambda b: b[:2].unbind(0)[0],
    "detach": lambda b: b.detach(),
    "data": lambda b: b.data,
}


def _base(torch, requires_grad=True):
    values = [[0.3, 0.4], [0.5, 0.6], [0.7, 0.8]]
    return torch.tensor(values, dtype=torch.float64, requires_grad=requires_grad) * 1


def _short(error):
    return f"{type(error).__name__}: {str(error)[:85]}"


def _history(tensor):
    try:
        node = tensor.grad_fn
    except RuntimeError as error:
        return _short(error)
    return f"{node.name() if node is not None else None} {tensor.requires_grad} {tensor._version}"


def _change(torch, made, changed, kind, what):
    base = _base(torch)
    with getattr(torch, made)():
        view = VIEWS[kind](base)
    below = view.view(-1) if view.is_contiguous() else view
    target = {"view": view, "base": base, "below": below}[what]
    try:
        with getattr(torch, changed)():
            target.mul_(2)
    except RuntimeError as error:
        return _short(error)
    return ", ".join(map(_history, (view, below, base)))


def case_table(torch, show, attempt):
    for made, kind, changed, what in itertools.product(MODES, VIEWS, MODES, ("view", "base", "below")):
        show(f"{kind} under {made}, {what} changed under {changed}:", _change(torch, made, changed, kind, what))


def case_words(torch, show, attempt):
    for made, kind in itertools.product(MODES, ("item", "unbind")):
        for what in ("view", "base", "below"):
            base = _base(torch)
            with getattr(torch, made)():
                view = VIEWS[kind](base)
            below = view.view(-1)
            attempt(lambda: {"view": view, "base": base, "below": below}[what].mul_(2).grad_fn.name())
            attempt(lambda: view.grad_fn.name())
            attempt(lambda: below.grad_fn.name())


def case_what_looks_at_history(torch, show, attempt):
    def stale():
        base = _base(torch)
        with torch.no_grad():
            view = base[0]
        base.mul_(2)
        return view

    looks = [
        lambda v: v.is_leaf, lambda v: v.requires_grad, lambda v: v.grad_fn, lambda v: v.requires_grad_().requires_grad,
        lambda v: v.requires_grad_(False).requires_grad, lambda v: v.retain_grad(), lambda v: v.register_hook(lambda g: g),
        lambda v: v.detach().tolist(), lambda v: v.detach_(), lambda v: repr(v), lambda v: v[0].item(), lambda v: v[0],
        lambda v: v.sin(), lambda v: v.output_nr, lambda v: v.sum().backward(), lambda v: torch.autograd.grad(v.sum(), v),
    ]
    for look in looks:
        attempt(lambda: look(stale()))
    view = stale()
    with torch.no_grad():
        show(view.sin().requires_grad, view[0].requires_grad, view.mul_(2).tolist())
    with torch.inference_mode():
        show(view.sin().requires_grad, view[0].requires_grad, view.is_inference(), view.detach().is_inference())


def case_inference_tensors(torch, show, attempt):
    with torch.inference_mode():
        made = torch.ones(3, 2, dtype=torch.float64)
        inside = made[0]
    outside = made[0]
    for v in (inside, outside):
        show(v.is_inference(), v._is_view(), v.requires_grad)
        attempt(lambda: v.mul_(2))
        attempt(lambda: v * _base(torch)[0])


def case_leads_nowhere(torch, show, attempt):
    """A view made under no_grad requires a gradient by its base, and its history begins with it."""
    base = _base(torch)
    with torch.no_grad():
        view = base[0]
    for made in (view.clone(), view.sin(), view[:], view * view):
        show(made.requires_grad, made.grad_fn.name(), [n for n, _ in made.grad_fn.next_functions])
        show([g.tolist() for g in torch.autograd.grad((made * made).sum(), made, retain_graph=True)])
        attempt(lambda: torch.autograd.grad(made.sum(), base, retain_graph=True))


def case_leaves_moved_into_the_graph(torch, show, attempt):
    """A view that is a leaf, and whose base is changed before its gradient arrives."""
    def arrived(made, by):
        base = torch.ones(3, 2, dtype=torch.float64) if by != "history" else _base(torch)
        with getattr(torch, made)():
            view = base.t()
        view.requires_grad_()
        result = view * 2
        base.mul_(_base(torch) if by == "tracked" else 2)
        result.sum().backward()
        return view.is_leaf, view.grad.tolist()

    for made, by in itertools.product(MODES[:2], ("number", "tracked", "history")):
        if (made, by) != ("enable_grad", "history"):
            attempt(lambda: arrived(made, by))


OPERATIONS = {
    "abs": lambda T, v: v.abs(), "relu": lambda T, v: v.relu(), "exp": lambda T, v: v.exp(), "tanh": lambda T, v: v.tanh(),
    "clamp": lambda T, v: v.clamp(-0.5, 0.5), "mul": lambda T, v: v * v, "mul 2": lambda T, v: v * 2,
    "mul constant": lambda T, v: v * T.ones(2, dtype=T.float64), "div": lambda T, v: v / v, "div 2": lambda T, v: v / 2,
    "2 div": lambda T, v: 2 / v, "square": lambda T, v: v**2, "pow": lambda T, v: v**v, "2 pow": lambda T, v: 2**v,
    "maximum": lambda T, v: T.maximum(v, v), "where": lambda T, v: T.where(v > 0, v, v),
    "lerp": lambda T, v: T.lerp(v, v, 0.3), "lerp by tensor": lambda T, v: T.lerp(v, v, v),
    "hypot": lambda T, v: T.hypot(v, v), "sum": lambda T, v: v.sum(), "prod": lambda T, v: v.prod(),
    "amax": lambda T, v: v.amax(), "norm": lambda T, v: v.norm(), "softmax": lambda T, v: v.softmax(0),
    "logsumexp": lambda T, v: v.logsumexp(0), "cumprod": lambda T, v: v.cumprod(0), "matmul": lambda T, v: v @ v,
    "std": lambda T, v: v.std(), "reciprocal": lambda T, v: v.reciprocal(), "addcmul": lambda T, v: T.addcmul(v, v, v),
    "gather": lambda T, v: v.gather(0, T.tensor([0, 1])), "mse": lambda T, v: T.nn.functional.mse_loss(v, v),
    "gelu": lambda T, v: T.nn.functional.gelu(v), "view": lambda T, v: v.view(2, 1), "clone": lambda T, v: v.clone(),
}


def case_saved_though_nothing_is_wanted(torch, show, attempt):
    """What PyTorch saves, and checks in backward, of an operation on a view that leads nowhere."""
    for name, changed in itertools.product(OPERATIONS, ("result", "base", "base under no_grad", "nothing")):
        base = _base(torch)
        with torch.no_grad():
            view = base[0]
        result = OPERATIONS[name](torch, view)
        if changed == "base":
            base.mul_(2)
        elif changed != "nothing":
            with torch.no_grad():
                (result if changed == "result" else base).mul_(2)
        try:
            loss = (result * 1).sum()
            loss.backward()
            loss.backward()
        except RuntimeError as error:
            show(name, changed, _short(error))
        else:
            show(name, changed, "no error")


def _functions(torch):
    def dirty(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    def constant(ctx, x):
        made = x * 2
        ctx.mark_non_differentiable(made)
        return made

    def constant_view(ctx, x):
        made = x.view(-1)
        ctx.mark_non_differentiable(made)
        return made

    def constant_argument(ctx, x):
        ctx.mark_non_differentiable(x)
        return x

    return {
        "argument": lambda ctx, x: x, "view": lambda ctx, x: x.view(-1), "views": lambda ctx, x: (x[0], x[1]),
        "view and more": lambda ctx, x: (x[0], x * 2), "argument twice": lambda ctx, x: (x, x),
        "result": lambda ctx, x: x * 1,
        "list": lambda ctx, x: [x * 2, 5, None], "dirty": dirty, "dirty and more": lambda ctx, x: (dirty(ctx, x), x + 1),
        "constant": constant, "constant view": constant_view, "constant argument": constant_argument,
    }


def _argument(torch, kind):
    leaf = torch.ones(2, 2, dtype=torch.float64, requires_grad=kind != "constant")
    if kind == "no_grad view":
        with torch.no_grad():
            return leaf, (leaf * 1)[:]
    return leaf, {"computed": lambda: leaf * 1, "view of leaf": lambda: leaf[:], "view": lambda: (leaf * 1)[:]}.get(
        kind, lambda: leaf)()


def case_custom_functions(torch, show, attempt):
    arguments = ("leaf", "computed", "constant", "view of leaf", "view", "no_grad view")
    for (name, forward), kind, mode in itertools.product(_functions(torch).items(), arguments, MODES[:2]):
        methods = {"forward": staticmethod(forward), "backward": staticmethod(lambda ctx, *g: g[0] * 3)}
        function = type("F", (torch.autograd.Function,), methods)

        def called(given):
            with getattr(torch, mode)():
                made = function.apply(given)
            return list(made) if isinstance(made, (tuple, list)) else [made]

        def told():
            given = _argument(torch, kind)[1]
            made = [t for t in called(given) if isinstance(t, torch.Tensor)]
            return [(t is given, t._is_view(), _history(t)) for t in (*made, given)]

        def changed():
            made = called(_argument(torch, kind)[1])
            made[0].mul_(2)
            return _history(made[0])

        def differentiated():
            leaf, given = _argument(torch, kind)
            (called(given)[0] * 1).sum().backward()
            return leaf.grad.tolist() if leaf.grad is not None else None

        for step in (told, changed, differentiated) if mode == "enable_grad" else (told,):
            show(f"{name} of {kind} under {mode}:")
            try:
                show(step())
            except RuntimeError as error:
                show(_short(error))

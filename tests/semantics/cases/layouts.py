"""Where results lie in memory: element by element in the order of the operands, so that a view may be refused later."""

# ruff: noqa: B023  (what a loop defines is called before the loop goes on)


def operands(torch):
    """Matrices that are not row-major, by name."""
    base = (torch.arange(1, 13, dtype=torch.float64) / 30).reshape(4, 3)
    block = (torch.arange(1, 25, dtype=torch.float64) / 30).reshape(2, 3, 4)
    return {"transposed": base.t(), "part": base[:3].t()[:, :2], "columns": base[:, :2], "rows": base.t()[:1],
            "permuted": block.permute(2, 0, 1)[1], "swapped": block.transpose(0, 1)[:, 1], "plain": base}


def results(torch):
    def ones(*shape):
        return torch.ones(*shape, dtype=torch.float64)

    f, first = torch.nn.functional, torch.zeros(1, dtype=torch.int64)
    return {
        "double": lambda x: x * 2, "from one": lambda x: 1 - x, "square": lambda x: x**2, "sin": lambda x: x.sin(),
        "clone": lambda x: x.clone(), "contiguous": lambda x: x.contiguous(),
        "row-major": lambda x: x.clone(memory_format=torch.contiguous_format), "detach": lambda x: (x * 2).detach(),
        "float": lambda x: x.float(), "compare": lambda x: x > 0.2, "zeros_like": torch.zeros_like,
        "flip": lambda x: x.flip(0),
        "where": lambda x: torch.where(x > 0.1, x, 0.0), "times row": lambda x: x * ones(x.shape[1]),
        "times column": lambda x: ones(x.shape[0], 1) * x, "plus plain": lambda x: ones(*x.shape) + x,
        "with an axis": lambda x: x.unsqueeze(0) * ones(2, 1, 1), "repeated": lambda x: x.expand(2, *x.shape).sin(),
        "gelu": lambda x: f.gelu(x), "logsigmoid": lambda x: f.logsigmoid(x), "softmax": lambda x: x.softmax(0),
        "cumsum": lambda x: x.cumsum(0), "matmul": lambda x: x @ x.t(), "sum": lambda x: x.sum(0, keepdim=True),
        "gather": lambda x: x.gather(0, first.expand(1, x.shape[1])), "stack": lambda x: torch.stack([x, x])[1],
        "sort": lambda x: x.sort(0)[0], "index_fill": lambda x: x.index_fill(0, first, 2.0),
        "masked_fill": lambda x: x.masked_fill(x > 0.2, 1.0), "tril": lambda x: x.tril(), "row": lambda x: x[:1] * 2,
        "every other": lambda x: x[:, ::2].exp() if x.shape[1] > 2 else x,
    }


def case_strides_of_results(torch, show, attempt):
    for name, function in results(torch).items():
        for kind, x in operands(torch).items():
            made = function(x)
            show(name, "of", kind, tuple(made.shape), tuple(made.stride()), made.is_contiguous())


def case_views_of_results(torch, show, attempt):
    for kind, x in operands(torch).items():
        made = x * 2
        show(kind)
        attempt(lambda: [round(v, 9) for v in made.view(-1).tolist()])
        attempt(lambda: [round(v, 9) for v in made.t().view(-1).tolist()])
        attempt(lambda: (made.requires_grad_() * 1).reshape(-1).grad_fn.name())


def case_reshapes_that_copy(torch, show, attempt):
    """What is written to a reshape of a result is seen by the result where the reshape is a view of it."""
    for kind, x in operands(torch).items():
        for other in (lambda t: t.reshape(-1), lambda t: t.t().reshape(-1), lambda t: t.contiguous()):
            made = x * 2
            other(made).zero_()
            show(kind, [round(v, 9) for v in made.flatten().tolist()])


def case_shared_memory(torch, show, attempt):
    made = operands(torch)["transposed"] * 2
    array = made.numpy()
    array[0, 1] = 7
    show(array.strides, made.tolist()[0][1], made.t().numpy().flags["C_CONTIGUOUS"], made.t().numpy()[1, 0])
    made[0, 1] = 8
    show(array[0, 1], made.data_ptr() == made.t().data_ptr(), made[1].storage_offset())


def case_gradients(torch, show, attempt):
    for kind, x in operands(torch).items():
        leaf = x.clone().requires_grad_()
        ((leaf * leaf).reshape(-1)[1:] * leaf.t().contiguous().view(-1)[:-1]).sum().backward()
        show(kind, [round(v, 9) for v in leaf.grad.flatten().tolist()])

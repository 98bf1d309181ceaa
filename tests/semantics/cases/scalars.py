"""Tensors without dimensions stay so wherever a tensor passes: files, checkpoints, optimisers, gradcheck, arrays."""

import copy
import io
import pickle
import warnings


def through_a_file(torch, value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file)


def shapes(torch, value):
    if isinstance(value, dict):
        return {k: shapes(torch, v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [shapes(torch, v) for v in value]
    return (list(value.shape), value.dtype) if isinstance(value, torch.Tensor) else value


def case_saved_tensors(torch, show, attempt):
    tensors = [
        torch.tensor(3.5), torch.tensor(3), torch.tensor(True), torch.tensor(2.0, dtype=torch.float64, requires_grad=True),
        torch.nn.Parameter(torch.tensor(1.0)), torch.zeros(0, 3), torch.arange(6).reshape(2, 3).t(), torch.ones(1),
    ]
    for x in tensors:
        show(through_a_file(torch, x), pickle.loads(pickle.dumps(x)), copy.deepcopy(x))


def case_checkpoint_of_batch_norm(torch, show, attempt):
    def made():
        return torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1))

    old, new = made(), made()
    old(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    state = through_a_file(torch, old.state_dict())
    show(shapes(torch, dict(state)))
    show(new.load_state_dict(state), new[0].num_batches_tracked, new[0].running_mean)


def case_checkpoint_of_optimisers(torch, show, attempt):
    """Of parameters of which one has no dimensions: the steps after it are the same with and without the detour."""
    choices = {"SGD": {"momentum": 0.9}, "Adam": {"amsgrad": True}, "RMSprop": {"centered": True}, "LBFGS": {"max_iter": 4}}
    others = ("AdamW", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop")
    for name, options in (choices | {key: {} for key in others}).items():
        results = []
        for detour in (False, True):
            p = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
            q = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
            optimiser = getattr(torch.optim, name)([p, q], lr=0.01, **options)

            def closure(optimiser=optimiser, p=p, q=q):
                optimiser.zero_grad()
                loss = ((p * q - 0.5) ** 2).sum()
                loss.backward()
                return loss

            for step in range(4):
                optimiser.step(closure)
                if detour and step == 1:
                    state = through_a_file(torch, optimiser.state_dict())
                    optimiser = getattr(torch.optim, name)([p, q], lr=0.01, **options)
                    optimiser.load_state_dict(state)
            results.append((p.item(), q.tolist(), list(p.shape)))
        # torch.NAdam keeps its product of momenta in float32 and loses digits of it on the way
        p, q, shape = results[1]
        show(name, name == "NAdam" or results[0] == results[1], shape, [round(v, 6) for v in (p, *q)])


def case_gradcheck(torch, show, attempt):
    def at(value):
        return torch.tensor(value, dtype=torch.float64, requires_grad=True)

    x = at(2.0)
    show(torch.autograd.gradcheck(lambda v: v * v, (x,)), x, torch.autograd.gradgradcheck(lambda v: v**3, (x,)), x.shape)
    show(torch.autograd.gradcheck(lambda v: v[:0], (at([1.0, 2.0]),)))
    show(torch.autograd.gradcheck(lambda v: (v * 2, v.long()), (at([1.0]),)))
    show(torch.autograd.gradcheck(lambda v: v.long(), (x,)))
    attempt(lambda: torch.autograd.gradcheck(lambda v: v.sqrt(), (at([-1.0]),)))
    attempt(lambda: torch.autograd.gradcheck(lambda v: v.detach() * 2, (at(1.0),)))
    attempt(lambda: torch.autograd.gradcheck(lambda v: v.detach() * 2 + v, (at(1.0),)))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        show(torch.autograd.gradcheck(lambda v: v * 2, (torch.ones(2, requires_grad=True),), raise_exception=False))
    show([str(w.message) for w in found])


def case_arrays(torch, show, attempt):
    import numpy as np

    x = torch.tensor(3.0, dtype=torch.float64)
    show(x.numpy().shape, np.asarray(x).shape, np.from_dlpack(x).shape, torch.from_dlpack(np.array(3.0)).shape)
    show(torch.from_numpy(np.array(3)).shape, torch.as_tensor(np.array(2.5)), torch.tensor(np.float64(3)))
    show(torch.asarray(np.array(1)))
    for name in ("normal_", "uniform_", "exponential_", "random_", "bernoulli_"):
        show(getattr(torch.tensor(0.5), name)().shape)
    show(torch.unique(x), torch.unique_consecutive(x), x.nonzero().shape, x.sort().values.shape, x.unique().shape)

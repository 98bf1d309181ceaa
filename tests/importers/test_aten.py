"""ATen's operators by gg.from_torch, beside torch: what PyTorch's samples leave out, and a part of the sweep."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import gradgen as gg
from tests.importers import aten_sweep


def test_the_page_of_operators_is_true() -> None:
    """Written by `python -m tests.importers.aten_sweep` from what it records; needs no torch."""
    assert aten_sweep.page() == aten_sweep.PAGE.read_text()


torch = pytest.importorskip("torch")

from tests.importers.beside_torch import Expected, difference, module_of  # noqa: E402


def agrees(function: Callable[..., Any], *args: Any, **options: Any) -> None:
    model, inputs = module_of(function, (args, {}))
    program = gg.from_torch(model, tuple(inputs), via="export", **options)
    assert difference(program, inputs, Expected(model, inputs)) == ""


def normal(*shape: int) -> Any:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


# --- the sweep ----------------------------------------------------------------------------------------------------------

SHARE = 9
"""Of the functions every ninth, a sample each; `python -m tests.importers.aten_sweep` takes all of them."""


@pytest.mark.filterwarnings("ignore")
def test_samples_agree_or_are_refused() -> None:
    infos = aten_sweep.infos()
    rows = [row for k in range(0, len(infos), SHARE) for row in aten_sweep.swept(k, 1, 0, 0)]
    assert len(rows) > len(infos) / SHARE / 2
    assert not [row for row in rows if row[2] in (aten_sweep.WRONG, aten_sweep.RAISED)]
    for row in rows:
        if row[2] == aten_sweep.REFUSED:
            assert re.search(r"aten\.\w+|gradgen has no|beside_torch\.py:\d+", row[3]), row


def test_the_sweep_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradgen.importers import aten

    (index,) = (k for k, info in enumerate(aten_sweep.infos()) if aten_sweep.label_of(info) == "rsub")
    assert {row[2] for row in aten_sweep.swept(index, 1, 0, 0)} == {aten_sweep.PASSED}
    monkeypatch.setitem(aten.TABLE, "rsub", lambda b: b["self"] - b["other"])
    aten._way.cache_clear()
    assert aten_sweep.WRONG in {row[2] for row in aten_sweep.swept(index, 1, 0, 0)}
    aten._way.cache_clear()


# --- what samples leave out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("indices", [
    (None, [0, 2, 1]), ([1, 0], None, [2, 3]), (None, [[0], [1]], [0, 2]), ([0, 1], None), (None, None, [3, 0]),
], ids=str)
def test_index_put_with_axes_left_out(indices: Any, accumulate: bool) -> None:
    x, said = normal(2, 3, 4), tuple(None if i is None else torch.tensor(i) for i in indices)
    target = torch.ops.aten.index.Tensor(x, said)

    def put(x: Any, values: Any, *given: Any) -> Any:
        rest = iter(given)
        return torch.ops.aten.index_put(x, [None if i is None else next(rest) for i in said], values, accumulate)

    agrees(put, x, normal(*target.shape), *(i for i in said if i is not None))


def test_repeated_rows_are_added() -> None:
    def put(x: Any, at: Any, values: Any) -> Any:
        return x.clone().index_put_((at,), values, accumulate=True)

    agrees(put, normal(4, 3), torch.tensor([1, 1, 0, 3, 1]), normal(5, 3))


def test_out_is_written() -> None:
    def add(x: Any, y: Any) -> Any:
        found = torch.empty(3, 4, dtype=torch.float64)
        torch.add(x, y, alpha=2, out=found)
        return found * 2

    with torch.no_grad():
        model, inputs = module_of(add, ((normal(3, 4), normal(3, 4)), {}))
        for p in model.parameters():
            p.requires_grad_(False)
        program = gg.from_torch(model, tuple(inputs), via="export")
        assert difference(program, inputs, Expected(model, inputs)) == ""


def test_fractional_pooling_takes_torchs_windows() -> None:
    for shape, samples, size in (((2, 3, 7, 6), (2, 3, 2), [3, 3]), ((1, 2, 5, 6, 5), (1, 2, 3), [2, 3, 2])):
        pool = getattr(torch.ops.aten, f"fractional_max_pool{len(size)}d")
        at = torch.rand(*samples, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        agrees(lambda x, pool=pool, size=size, at=at: pool(x, [2] * len(size), size, at), normal(*shape))


def test_small_integers_come_in_as_int32() -> None:
    image = torch.randint(0, 255, (3, 4), dtype=torch.uint8)
    agrees(lambda image, w: image.to(torch.float64) / 255 * w, image, normal(4))
    agrees(lambda image, w: image[1:].reshape(-1).max() * w, image, normal(2))
    for what in (lambda image: image + image, lambda image: -image, lambda image: (image * 2.5).to(torch.uint8)):
        model, inputs = module_of(what, ((image,), {}))
        with pytest.raises(gg.errors.GradgenError, match=r"aten\.\w+\.\w+ in uint8(.|\n)*beside_torch\.py:\d+"):
            gg.from_torch(model, tuple(inputs), via="export")


def test_half_precision_wants_a_dtype() -> None:
    model = torch.nn.Linear(3, 2).half()
    with pytest.raises(gg.errors.GradgenError, match="float16"):
        gg.from_torch(model, (torch.randn(2, 3).half(),), via="export")
    program = gg.from_torch(model, (torch.randn(2, 3).half(),), via="export", dtype="float32")
    assert {n.dtype.name for n in program.graph.inputs} == {"float32"}


def test_an_error_from_inside_names_operator_and_line() -> None:
    model, inputs = module_of(lambda x: torch.as_strided(x, (2,), (1,)), ((normal(4),), {}))
    with pytest.raises(gg.errors.GradgenError, match=r"aten\.as_strided(.|\n)*test_aten\.py|beside_torch\.py:\d+"):
        gg.from_torch(model, tuple(inputs), via="export")


# --- sizes --------------------------------------------------------------------------------------------------------------


class Sizes(torch.nn.Module):
    def __init__(self, use: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.use, self.w = use, torch.nn.Parameter(normal(3))

    def forward(self, x: Any) -> Any:
        return self.use(x, self.w)


@pytest.mark.parametrize("use", [
    lambda x, w: torch.arange(x.shape[0] // 2).sum() * w, lambda x, w: x[: x.shape[0] - 1].sum() * w,
    lambda x, w: x[x.shape[0] - 3 : x.shape[0] - 1] * w, lambda x, w: x[x.shape[0] - 3 :: 2] * w,
    lambda x, w: torch.zeros(x.shape[0], 3, dtype=x.dtype) + x * w / x.shape[0],
    lambda x, w: torch.ones(torch.sym_max(x.shape[0], 5)).sum() * w,
    lambda x, w: torch.ones(torch.sym_min(x.shape[0], 5)).sum() * w,
    lambda x, w: x * w if x.shape[0] > 2 else x - w, lambda x, w: x.mean(0) * w * (x.numel() - 1),
    lambda x, w: x.reshape(-1)[: 3 * x.shape[0] - 3].reshape(-1, 3) * w, lambda x, w: x.repeat(2, 1)[x.shape[0] :] * w,
])
def test_sizes_of_open_dimensions(use: Callable[[Any, Any], Any]) -> None:
    model, x = Sizes(use), normal(6, 3)
    program = gg.from_torch(model, (x,), dynamic_shapes={"x": {0: torch.export.Dim("n", min=4, max=50)}}, via="export")
    for rows in (4, 7):
        x = normal(rows, 3)
        assert difference(program, [x], Expected(model, [x])) == ""

"""Kernels are functions of the tree: chosen, shared and given memory before anything is printed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import gradgen as gg
import gradgen.nn.functional as F
from gradgen.compiler.pipeline import bodies, programs, stages
from gradgen.loops.bill import table
from gradgen.loops.draft import Draft
from gradgen.loops.laws import LoopError, verify
from gradgen.loops.program import Program
from gradgen.loops.statements import KERNEL, PRODUCT, WORK, Buffer, Call, Operand
from gradgen.loops.walk import renamed, statements_in
from gradgen.options import Options
from gradgen.passes import observed
from gradgen.reference.loop_interpreter import Loops
from gradgen.schedule import schedule
from tests.products import products


def weight(*shape: int) -> Any:
    return gg.spec(*shape, requires_grad=True)


def network(x: Any, a: Any, b: Any, t: Any) -> Any:
    return F.cross_entropy((x @ a).tanh().softmax(1) @ b, t)


def traced(n: int | str = 40) -> Any:
    return gg.trace(network, name="net", x=gg.spec(n, 20), a=weight(20, 30), b=weight(30, 7), t=gg.spec(n, dtype=gg.int64))


def scheduled(program: Any, **options: Any) -> dict[str, Program]:
    return {p.name: p for p in programs(stages(program.graph, Options(**options)))}


def scratch_of(p: Program) -> list[Buffer]:
    return [o.buffer for s in products(p.statements) for o in s.scratch if o is not None]


def test_products_of_a_module_share_functions() -> None:
    found: dict[str, set[int]] = {}
    for p in (*scheduled(traced()).values(), *scheduled(traced("N"), target="cortex-m4").values()):
        for s in statements_in(p.statements):
            if isinstance(s, Call):
                found.setdefault(s.function.name, set()).add(hash(s.function))
    assert any(name.endswith("_both") for name in found), "one sets and adds"
    assert "gg_gemm_f32_set" in found and all(len(same) == 1 for same in found.values())


def test_a_kernel_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradgen.codegen import fragments, gemm

    gemm.kernel_texts.cache_clear()
    gemm._general_function.cache_clear()
    fragments._with_keys.cache_clear()
    count: dict[str, int] = {}
    right = fragments.render_text

    def counted(text: str, keys: Any) -> str:
        count[text] = count.get(text, 0) + 1
        return right(text, keys)

    monkeypatch.setattr(fragments, "render_text", counted)
    bodies(list(scheduled(traced()).values()))
    assert count and max(count.values()) == 1


def test_scratch_lies_where_other_tensors_do_not_live() -> None:
    p = scheduled(traced())["value_and_grad"]
    found = scratch_of(p)
    assert len(found) == len(set(found)) >= 3
    at = {b: (int(o), int(o) + int(b.size) * b.dtype.itemsize) for b, o in p.layout.offsets.items() if b.space == WORK}
    rest = [b for b in at if b not in found]
    total = max(at[b][1] for b in rest) + max(at[b][1] - at[b][0] for b in found)
    assert int(p.layout.work) < total, "it stands behind all else"
    assert any(at[s][0] < at[b][1] and at[b][0] < at[s][1] for s in found for b in rest)


@pytest.mark.parametrize("options", [{}, {"threads": 3}, {"target": "cortex-m4"}], ids=str)
@pytest.mark.parametrize("n", [1, 40, 5000, "N"])
def test_scratch_is_never_more_than_behind_all_else(n: int | str, options: dict[str, Any], monkeypatch: Any) -> None:
    made = {name: p.layout.work for name, p in scheduled(traced(n), **options).items()}
    monkeypatch.setattr("gradgen.schedule.fits", lambda size, slot: False)
    for name, p in scheduled(traced(n), **options).items():
        for dim in (1, 3, 300, 5000):
            now, then = (e if isinstance(e, int) else int(e.subs(dict.fromkeys(e.free_symbols, dim)).doit())
                         for e in (made[name], p.layout.work))
            assert now <= then, (name, dim)


def moved(draft: Draft) -> Draft:
    """The first scratch over a tensor that its product reads."""
    assert draft.layout is not None
    call = next(s for s in products(draft.statements) if s.scratch[0] is not None
                and any(o.buffer.space == WORK for o in s.reads))
    over = next(o.buffer for o in call.reads if o.buffer.space == WORK)
    (scratch,) = call.scratch
    assert scratch is not None
    offsets = {**draft.layout.offsets, scratch.buffer: draft.layout.offsets[over]}
    return replace(draft, layout=replace(draft.layout, offsets=offsets, work=int(draft.layout.work) + 100_000))


def last_draft(n: int = 40) -> Draft:
    found: list[Draft] = []
    made = stages(traced(n).graph, Options())
    with observed(lambda one, before, after: found.append(after) if one.name == "memory" else None):
        schedule(next(p for p in made.procedures if p.name == "value_and_grad"))
    return found[-1]


def test_scratch_over_a_living_tensor_is_named() -> None:
    draft = last_draft()
    verify(draft)
    with pytest.raises(LoopError, match="memory"):
        verify(moved(draft))
    text = Loops(draft.procedure, draft.statements, draft.buffers, draft.layout).text()
    assert text.count(".poison()") == len(scratch_of(Program("", (), draft.statements)))


def test_an_operand_outside_of_its_memory_is_named_inside_the_kernel() -> None:
    draft = last_draft()
    call = products(draft.statements)[0]
    a = call.reads[0]
    wrong = replace(call, reads=(Operand(a.buffer, a.start + 1), *call.reads[1:]))
    statements = tuple(wrong if s is call else s for s in draft.statements)
    if statements == draft.statements:
        pytest.skip("the product stands inside of another statement")
    with pytest.raises(LoopError, match="inside"):
        verify(replace(draft, statements=statements))


def test_named_kernels_are_calls_with_their_memory() -> None:
    program = gg.trace(lambda a, b: gg.linalg.solve(a, b).square().sum(), a=weight(6, 6), b=weight(6, 2))
    for p in scheduled(program).values():
        calls = [s for s in statements_in(p.statements) if isinstance(s, Call) and s.function.kind == KERNEL]
        assert calls and all(s.function.text is not None and len(s.pointers) == len(s.function.pointers) for s in calls)
        (one,) = {s.reads[0].buffer for s in calls[:1]}
        other = renamed(p.statements, {one: Buffer("other", one.dtype, one.shape, one.space)}, {})
        assert any(o.buffer.name == "other" for s in statements_in(other) if isinstance(s, Call) for o in s.reads)


def test_the_bill_names_the_functions_of_the_deepest_calls() -> None:
    assert "gg_gemm_f32" in table(traced().bill(name="net"))
    small = gg.trace(lambda x: x.sum(), x=gg.spec(100_000)).bill(target="cortex-m4")
    assert small.stack < 400, "a small machine has no pairwise accumulator of 64 sums"
    assert all(f.kind != PRODUCT or f.stack for p in scheduled(traced()).values() for f in p.functions)

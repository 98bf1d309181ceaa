"""PyTorch's own samples of every function, exported and brought in by gg.from_torch: values and gradients beside torch's.

    python -m tests.importers.aten_sweep                       # all of them, and docs/aten-operators.md
    python -m tests.importers.aten_sweep linalg --limit 3      # functions whose name begins so, three samples of each

Needs torch.  A sample is a Module: floating-point tensors are its parameters, other tensors inputs.  Some go
both ways: as torch.export gives them, composite operators kept, and decomposed into the core operators of ATen.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import logging
import re
import sys
import types
import unittest
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import gradgen as gg
from gradgen.errors import GradgenError
from gradgen.importers import aten
from tests.importers.beside_torch import Expected, difference, flat, module_of

PASSED, WRONG, REFUSED, RAISED = "passed", "wrong", "refused", "raised"
KINDS = ("float64", "float32", "int64", "bool")
LARGEST = 4096
"""Elements of a sample's largest tensor: the interpreter scatters element by element."""
DECOMPOSED = 2
"""Samples of each function that go both ways: torch takes a second for each."""
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
"""Of the largest entry: ill-conditioned factorisations among the samples, logcumsumexp in float32, leave so much."""


Row = tuple[str, str, str, str, list[str]]
"""Function, dtype and way, outcome, why, operators."""
HERE = Path(__file__).resolve().parent
RECORD, PAGE = HERE / "aten_sweep.json", HERE.parents[1] / "docs" / "aten-operators.md"
VERSION, ALL = "2.13.0", "samples"
TIES = ("kthvalue", "topk", "mode")
"""Which of equal elements they take PyTorch does not say: integers have equal ones."""


FLOAT32_INSIDE = {"aten.hardsigmoid.default", "aten.hardsigmoid_.default", "aten.celu.default", "aten.celu_.default"}
"""Operators of which torch has a constant of the derivative in float32, even for float64: 1 / 6, 1 / alpha."""
ONLY_PLAIN = ("torch.ops.aten._safe_softmax.default",)
"""Functions whose decomposition has another derivative than they have: where() over a softmax that is nan."""


@dataclass
class Outcome:
    """What came of one sample on one way, and the ATen operators that it has."""

    kind: str
    why: str = ""
    operators: list[str] = field(default_factory=list)


def infos() -> list[Any]:
    """PyTorch's functions with their samples.  Their module asks for expecttest, of which samples use nothing."""
    if "expecttest" not in sys.modules and importlib.util.find_spec("expecttest") is None:
        stub = types.ModuleType("expecttest")
        stub.TestCase = unittest.TestCase  # type: ignore[attr-defined]
        sys.modules["expecttest"] = stub
    from torch.testing._internal.common_methods_invocations import op_db

    return list(op_db)


# --- samples -------------------------------------------------------------------------------------------------------------


def variants(info: Any) -> dict[str, Any]:
    """The function, and the one that changes its first argument in place."""
    found = {"": info.op}
    if info.inplace_variant is not None:
        found["_"] = lambda x, *args, **kwargs: info.inplace_variant(x.clone(), *args, **kwargs)
    return found


def form(a: Any) -> Any:
    """What kind of argument it is, to leave out samples that differ in nothing else than their numbers."""
    import torch

    if isinstance(a, torch.Tensor):
        return f"{a.dtype}{min(a.ndim, 3)}{'empty' if a.numel() == 0 else ''}"
    if isinstance(a, dict):
        return {k: form(v) for k, v in a.items()}
    if isinstance(a, (list, tuple)):
        return [form(v) for v in a]
    if isinstance(a, (str, bool, type(None))):
        return a
    return f"{type(a).__name__}{'-' if isinstance(a, (int, float)) and a < 0 else ''}"


def samples(info: Any, kind: str, limit: int) -> list[Any]:
    import torch

    dtype = getattr(torch, kind)
    if dtype not in info.dtypes or (info.name in TIES and not dtype.is_floating_point):
        return []
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    try:
        for sample in itertools.islice(info.sample_inputs("cpu", dtype), 400):
            found.setdefault(repr(form((sample.input, sample.args, sample.kwargs))), sample)
    except Exception:  # this build of PyTorch cannot make it
        pass
    return list(found.values())[:limit]


# --- comparing ----------------------------------------------------------------------------------------------------------


def outcomes_of(function: Any, sample: Any, both: bool = True) -> Iterator[tuple[str, Outcome]]:
    """The ways of a sample, decomposed only if `both`; nothing where torch itself does not give it."""
    import torch

    try:
        tensors = flat((sample.input, sample.args, sample.kwargs))
        if any(not _fits(t) or t.numel() > LARGEST for t in tensors):
            return
        arguments = (sample.input, *sample.args), dict(sample.kwargs)
        model, inputs = module_of(function, arguments, sample.output_process_fn_grad)
        exported = torch.export.export(model, tuple(inputs), strict=False)
        expected = Expected(model, inputs, undefined(exported))
        if not expected.results or not all(_fits(t) for t in expected.results):
            return
    except Exception:  # torch.export or torch itself refuses it
        return
    yield "plain", outcome(exported, inputs, expected)
    try:
        decomposed = exported.run_decompositions() if both else None
    except Exception:
        return
    if decomposed is not None:
        yield "decomposed", outcome(decomposed, inputs, expected)


def _fits(t: Any) -> bool:
    return not t.is_sparse and str(t.layout) == "torch.strided" and not t.is_complex() and not t.is_quantized


def outcome(exported: Any, inputs: list[Any], expected: Expected) -> Outcome:
    operators = operators_of(exported)
    try:
        tolerance = TOLERANCE | ({"float64": 1e-7} if FLOAT32_INSIDE & {*operators} else {})
        why = difference(gg.from_torch(exported), inputs, expected, tolerance)
    except GradgenError as error:
        kind = RAISED if isinstance(error.__cause__, (AttributeError, KeyError, AssertionError, NameError)) else REFUSED
        return Outcome(kind, str(error), operators)
    except Exception as error:
        return Outcome(RAISED, f"{type(error).__name__}: {error}", operators)
    return Outcome(WRONG if why else PASSED, why, operators)


def undefined(exported: Any) -> bool:
    """Whether values are random, or of memory that nobody wrote."""
    import torch

    overloads = {n.target for n in exported.graph.nodes if isinstance(n.target, torch._ops.OpOverload)}
    return any(torch.Tag.nondeterministic_seeded in o.tags or "empty" in o._schema.name for o in overloads)


def operators_of(exported: Any) -> list[str]:
    import torch

    return sorted({str(n.target) for m in exported.graph_module.modules() if isinstance(m, torch.fx.GraphModule)
                   for n in m.graph.nodes if isinstance(n.target, torch._ops.OpOverload)})


# --- all of them --------------------------------------------------------------------------------------------------------


def label_of(info: Any) -> str:
    return f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name


def swept(index: int, limit: int, few: int, decomposed: int = DECOMPOSED) -> list[Row]:
    """Every sample of one function."""
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)  # torch logs what its meta functions refuse, integers in place
    info = infos()[index]
    found: list[Row] = []
    for kind in KINDS:
        count = limit if kind == "float64" or (kind == "int64" and torch.float64 not in info.dtypes) else few
        for variant, function in variants(info).items():
            for k, sample in enumerate(samples(info, kind, count if not variant else few)):
                both = kind == "float64" and not variant and k < decomposed and info.name not in ONLY_PLAIN
                for way, one in outcomes_of(function, sample, both):
                    found.append((label_of(info), f"{variant}{kind} {way}", one.kind, one.why, one.operators))
    return found


def main() -> int:
    op_db = infos()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", nargs="?", default="", help="functions whose name begins so; the others stay as recorded")
    parser.add_argument("--limit", type=int, default=6, help="float64 samples of each function that differ in kind")
    parser.add_argument("--few", type=int, default=1, help="samples of each other dtype, and in place")
    parser.add_argument("--decomposed", type=int, default=DECOMPOSED, help="samples that go both ways")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    chosen = [k for k, info in enumerate(op_db) if label_of(info).startswith(options.prefix)]
    found: dict[str, list[Row]] = {label_of(op_db[k]): [] for k in chosen}
    with Pool(options.processes) as pool:
        counts = {"limit": options.limit, "few": options.few, "decomposed": options.decomposed}
        for rows in pool.imap_unordered(partial(swept, **counts), chosen):
            for row in rows:
                found[row[0]].append(row)
                if row[2] in (WRONG, RAISED):
                    print(*row[:3], row[3][:300].replace("\n", " | "), flush=True)
    record = recorded() if RECORD.exists() else {}
    record |= {label: {} for label in found if label in record}
    record |= {label: summary(rows) for label, rows in found.items() if rows}
    lines = (f"{json.dumps(k)}: {json.dumps(record[k])}" for k in sorted(record) if record[k])
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    PAGE.write_text(page())
    kinds = Counter(row[2] for rows in found.values() for row in rows)
    print(dict(kinds))
    return 1 if kinds[WRONG] or kinds[RAISED] else 0


# --- the record and the page --------------------------------------------------------------------------------------------


def recorded() -> dict[str, dict[str, list[Any]]]:
    """By PyTorch's function and operator: how many samples passed and were refused, and why."""
    found: dict[str, dict[str, list[Any]]] = json.loads(RECORD.read_text())
    return found


def summary(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Samples by operator.  Of one that is refused only the operators count that the error names."""
    found: dict[str, list[Any]] = {ALL: [sum(r[2] == PASSED for r in rows), sum(r[2] != PASSED for r in rows), ""]}
    for _, _, kind, why, operators in rows:
        named = [o for o in operators if o in why] or operators[:1]
        for operator in operators if kind == PASSED else named:
            entry = found.setdefault(operator, [0, 0, ""])
            entry[0 if kind == PASSED else 1] += 1
            if kind != PASSED:
                entry[2] = entry[2] or reason(why)
    return dict(sorted(found.items()))


def reason(why: str) -> str:
    """The first line of an error, without places."""
    line = re.sub(r" \([^()]*:\d+\)", "", why.partition("\n")[0])
    return line.replace("|", "/")[:160]


HEAD = """\
# ATen operators

Generated by `python -m tests.importers.aten_sweep`: samples of {functions} functions, from the tests of torch {version}
(`OpInfo`), each wrapped in a Module, exported by `torch.export` and brought in by `gg.from_torch`. Values and every gradient
were compared with torch's by the graph's interpreter: of {total} samples {passed} agree, none disagrees, and {refused} are
refused by one error that names the operator and the user's line. The record (`tests/importers/aten_sweep.json`; a test
compares this page with it) has the first sample of each function (`--limit 1 --few 0 --decomposed 0`); without these options
the command takes more samples, float32, int64 and bool, in-place forms, and graphs decomposed into ATen's core operators.

how: "entry" is a rule of the importer; "function" is gradgen's function of that name, to which arguments go by their names
in ATen's schema. `name_` writes what `name` gives, `name.out` writes into `out`; both count as `name`. An operator that has
neither is decomposed by torch where it can be; what is left over is an error that names all of it.

- **uint8, int8, int16** are int32 here: inputs and buffers come in as int32, and operators that only move values (or compare
  or sum them) go on with it; what might wrap around in the small type, and conversions into it, are refused.
- **float16, bfloat16** are refused unless `dtype=` says what every floating-point value is to be; **complex** numbers are.
- **Memory**: what nobody wrote (`empty`) is zeros; `as_strided` is refused; a view that would be a copy here is one, unless
  one of the two is changed in place later, which is refused.
- **Sizes** may be expressions over named dimensions: sums, products, quotients, `max`, `min`, and comparisons that the
  dimensions' bounds decide.
- **Shapes that depend on values** (`nonzero`, `masked_select`, `unique`, `AdaptiveLogSoftmaxWithLoss`, `CTCLoss` with traced
  targets, a mask that `TransformerEncoder` compares with a causal one unless `is_causal=` is given) have no program.
  Of torch.nn's layers these are refused besides: `CrossMapLRN2d`, and `Embedding` with `max_norm`.

| operator | how | samples | refused | refused is |
|---|---|---|---|---|"""


def page() -> str:
    """Needs no torch: the record and gradgen's own table."""
    record, found = recorded(), dict[str, list[Any]]()
    for operators in record.values():
        for overload, (done, not_done, why) in operators.items():
            if overload == ALL:
                continue
            entry = found.setdefault(plain_name(overload), [0, 0, {}])
            entry[0] += done
            entry[1] += not_done
            if why:
                entry[2][why] = None
    for key in aten.TABLE:
        found.setdefault(key.partition(".")[0].removesuffix("_") or key, [0, 0, {}])
    passed, refused = (sum(operators[ALL][k] for operators in record.values()) for k in (0, 1))
    lines = [HEAD.format(version=VERSION, functions=len(record), total=passed + refused, passed=passed, refused=refused)]
    missing = []
    for name in sorted(found):
        done, not_done, whys = found[name]
        how = how_done(name)
        if how:
            lines.append(f"| {name} | {how} | {done or ''} | {not_done or ''} | {'; '.join(whys)} |")
        elif not_done:
            missing.append(name)
        else:
            lines.append(f"| {name} | decomposed | {done or ''} |  |  |")
    return "\n".join([*lines, "", f"Sampled, and missing: {', '.join(missing)}.", ""])


def plain_name(overload: str) -> str:
    """aten.add_.Tensor, aten.add.out: add."""
    name = overload.split(".")[1]
    return name[:-1] if name.endswith("_") and not name.startswith("__") else name


def how_done(name: str) -> str:
    """The way of an operator, in place or not."""
    if any(key.partition(".")[0] in (name, f"{name}_") for key in aten.TABLE):
        return "entry"
    return "function" if any(aten.function_of(n) for n in (name, f"{name}_")) else ""


if __name__ == "__main__":
    sys.exit(main())

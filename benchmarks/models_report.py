"""docs/models.md, made from what benchmarks.models found and the remarks of benchmarks/models_remarks.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Notes = Mapping[str, Mapping[str, Any]]
REMARKS = Path(__file__).with_name("models_remarks.json")
"""Why a figure is what it is: by model."""

HEAD = """# Models of other packages

Made by `python -m benchmarks.models` (the first tables; `--reduced` for small extents) and by `python -m
benchmarks.models --wide` (the last), with torch 2.13, torchvision 0.28, transformers 5.24 and timm 1.0.31: models
from the untouched sources of their packages, random weights, dropout and stochastic depth at 0, training mode.
`benchmarks/zoo.py` and `benchmarks/wide.py` say with which arguments. The reduced forms are a test,
`tests/importers/test_models.py`.

**Agreement.** The loss relative to torch's, and the worst of all gradients: the largest difference in a tensor by
that tensor's largest entry. A gradient that is 0 in exact arithmetic (of a bias before a normalisation, of a key's
bias) is rounding alone in both frameworks and is measured by the largest of all gradients. float64 is asked to be
within 1e-10. float32 is measured from torch's float64; it is asked to be within 1e-5, or nearer than torch's own
float32, which is in the next column. The float64 oracle computes in float64 where models cast to float32 (rotary
embeddings, RMS norms: gradgen does by `dtype=gg.float64`), and has the derivative of hardsigmoid by that of relu6,
since torch 2.13 multiplies it with 1/6 rounded to float32.

*Trained*: after 20 steps of SGD with momentum in float64, the worst difference of losses, parameters and running
statistics between torch and the built module, and between torch and a C program around the generated C.
"""

COSTS = """
**Costs**, float32, one thread, in processor time: *generate* is tracing and writing C, *compile* the C compiler at the flags
of `gg.build` (gcc 12, -O3 -march=native), *code* the bytes of code and constants of the compiled module (its cffi glue
included), *step* forward and backward by the built module and by eager torch, sampled by turns.
"""

WIDE = """
## More models

Small forms of other models: import by `gg.from_torch`, then loss and every gradient in float64 as above.
"""


def written(found: Mapping[str, Notes]) -> str:
    full, reduced, wide = (found.get(size, {}) for size in ("full", "reduced", "wide"))
    remarks: dict[str, str] = json.loads(REMARKS.read_text()) if REMARKS.exists() else {}
    parts = [HEAD]
    for title, notes in (("The packages' own sizes", full), ("Reduced", reduced)):
        if notes:
            parts.append(f"\n## {title}\n\n{_agreement(notes)}")
            if any("step" in n for n in notes.values()):
                parts.append(f"{COSTS if notes is full else ''}\n{_costs(notes)}")
            parts.append(_remarks({n: r for n, r in remarks.items() if n in notes} if notes is full else {}))
    if wide:
        parts.append(f"{WIDE}\n{_wide(wide)}{_remarks({n: r for n, r in remarks.items() if n in wide})}")
    return "".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(r) + " |" for r in rows)]) + "\n"


def _small(value: Any) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.0e}"


def _agreement(notes: Notes) -> str:
    rows = []
    for name, n in notes.items():
        double, single, own = (n.get(k, [None] * 3) for k in ("float64", "float32", "torch32"))
        errors = (*double[:2], *single[:2], own[1], n.get("module"), n.get("c"))
        rows.append([name, *map(_small, errors), n.get("error", "")])
    head = ["model", "float64 loss", "gradients", "float32 loss", "gradients", "torch's float32",
            "trained: module", "trained: C"]
    rows = [r if any(r[-1] for r in rows) else r[:-1] for r in rows]
    return _table([*head, ""] if rows and len(rows[0]) > len(head) else head, rows)


def _costs(notes: Notes) -> str:
    rows = []
    for name, n in notes.items():
        if "step" not in n:
            continue
        rows.append([name, f"{n['parameters']:,}", f"{n['text'] / 1024:.0f} KiB", f"{n['generation']:.1f} s",
                     f"{n['compile']:.0f} s", _time(n["step"]), _time(n["torch_step"]), f"{n['step'] / n['torch_step']:.2f}"])
    return _table(["model", "parameters", "code", "generate", "compile", "step", "torch's", "ratio"], rows)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _wide(notes: Notes) -> str:
    rows = []
    for name, n in sorted(notes.items()):
        found = n.get("float64", [None] * 3)
        ok = found[1] is not None and max(found[:2]) <= 1e-10
        verdict = "agrees" if ok else n.get("error") or (f"differs in {found[2]}" if found[1] is not None else "imported")
        rows.append([name, str(n.get("inputs", "")), _small(found[0]), _small(found[1]), verdict.replace("|", "\\|")])
    passed = sum(r[-1] == "agrees" for r in rows)
    return f"{passed} of {len(rows)} agree.\n\n" + _table(["model", "inputs", "loss", "gradients", ""], rows)


def _remarks(remarks: Mapping[str, str]) -> str:
    return "".join(f"\n- **{name}**: {text}" for name, text in remarks.items()) + ("\n" if remarks else "")

"""Results as a line of text, a JSON file, a plot, and the page docs/performance.md."""

from __future__ import annotations

import contextlib
import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
Data = dict[str, Any]


def seconds(value: float) -> str:
    """A time with three digits and the unit that fits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def case_of(name: str) -> Any:
    from benchmarks.__main__ import all_cases

    return next((c for c in all_cases() if c.name == name), None)


def row(result: Data) -> str:
    """One line for people who watch the run."""
    case = case_of(result["case"])
    own = case.own if case else "gradgen"
    cells = [f"{result['case']:<26}"]
    timings = result["timings"]
    for peer, t in sorted(timings.items(), key=lambda item: item[0] != own):
        if not math.isfinite(t["minimum"]):
            continue
        text = f"{peer} {seconds(t['minimum'])}"
        if peer != own and own in timings:
            text += f" {timings[own]['minimum'] / t['minimum']:.3g}x{_mark(case, result, peer)}"
        elif peer == own:
            text += f" (median {seconds(t['median'])}, first {seconds(t['first'])})"
        cells.append(text)
    cells += [f"{k}: {v}" for k, v in result["rows"].items()]
    cells += [f"FAILED {k}: {v}" for k, v in result["failed"].items()]
    return " | ".join(cells)


def _mark(case: Any, result: Data, peer: str) -> str:
    aim = case.targets.get(peer)
    if aim is None:
        return ""
    ratio = result["timings"][case.own]["minimum"] / result["timings"][peer]["minimum"]
    return f" [aim {aim:.3g}: {'met' if ratio <= aim else 'MISSED'}]"


def store(folder: Path, result: Data) -> None:
    """Keeps the result: the newest of each case and number of threads."""
    folder.mkdir(exist_ok=True)
    data = load(folder)
    data["machine"] = machine()
    data["results"][f"{result['case']}/{result['threads']}"] = result
    (folder / "results.json").write_text(json.dumps(data, indent=1) + "\n")


def load(folder: Path) -> Data:
    file = folder / "results.json"
    data: Data = json.loads(file.read_text()) if file.exists() else {}
    return data if isinstance(data.get("results"), dict) else {"machine": {}, "results": {}}


def machine() -> Data:
    """Processor, operating system, compiler and versions."""
    import subprocess
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for name in ("numpy", "torch", "jax", "casadi"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    compiler = subprocess.run(["gcc", "--version"], capture_output=True, text=True).stdout.splitlines()
    versions["gcc"] = compiler[0].split()[-1] if compiler else ""
    model = ""
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text()
        model = next((x.split(":")[1].strip() for x in text.splitlines() if x.startswith("model name")), "")
        wide = [w for w in ("avx512f", "avx2", "avx", "sse4_2") if f" {w} " in text]
        model += f", {wide[0]}" if wide else ""
    return {"processor": model or platform.machine(), "system": platform.system(), "versions": versions}


def ordered(data: Data) -> list[Data]:
    from benchmarks.__main__ import all_cases

    place = {c.name: k for k, c in enumerate(all_cases())}
    found = [r for r in data["results"].values() if r["case"] in place]
    return sorted(found, key=lambda r: (r["threads"], place[r["case"]]))


def write(folder: Path) -> None:
    """The table as text, and the plot where matplotlib is installed."""
    data = load(folder)
    (folder / "results.txt").write_text("".join(row(r) + "\n" for r in ordered(data)))
    with contextlib.suppress(ImportError):
        plot(data, folder / "results.png")


def plot(data: Data, file: Path) -> None:
    """A point per case and peer: the peer's time over gradgen's, so that to the right of 1 gradgen is faster."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = [r for r in ordered(data) if r["threads"] == 1 and r["timings"]]
    if not results:
        return
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.22 * len(results)))
    styles: Mapping[str, str] = {"torch": "o", "torch.compile": "s", "jax": "^", "casadi": "D", "c": "x", "memcpy": "|"}
    for peer, marker in styles.items():
        points = [(k, _speedup(r, peer)) for k, r in enumerate(results)]
        known = [(k, s) for k, s in points if s is not None]
        if known:
            axes.plot([s for _, s in known], [k for k, _ in known], marker, label=peer, fillstyle="none")
    axes.set_yticks(range(len(results)), [r["case"] for r in results], fontsize=7)
    axes.set_xscale("log")
    axes.axvline(1.0, color="grey", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("time of the peer / time of gradgen, one thread")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _speedup(result: Data, peer: str) -> float | None:
    case = case_of(result["case"])
    own, other = result["timings"].get(case.own), result["timings"].get(peer)
    return other["minimum"] / own["minimum"] if own and other else None


# --- docs/performance.md ---------------------------------------------------------------------------------------------


def write_docs(folder: Path) -> None:
    """docs/performance.md from the latest results; the same results give the same bytes."""
    data = load(folder)
    if not data["results"]:
        raise SystemExit("there are no results yet: run python -m benchmarks first")
    DOCS.parent.mkdir(exist_ok=True)
    DOCS.write_text("\n".join(page(data)) + "\n")
    print(DOCS)


def page(data: Data) -> list[str]:
    m = data["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items())
    lines = [
        "# Performance", "", "Generated by `python -m benchmarks --write-docs`; do not edit.", "",
        f"Machine: {m['processor']}, {m['system']}.  Versions: {versions}.", "",
        "Times are minima over many short samples, peers in strict alternation in one process, after all results were",
        "compared.  A ratio is gradgen's time over the peer's: below 1, gradgen is faster.  In bold: an aim that is missed.",
        "",
    ]
    for threads in sorted({r["threads"] for r in data["results"].values()}):
        results = [r for r in ordered(data) if r["threads"] == threads]
        lines += [f"## {threads} thread{'s' if threads > 1 else ''}", "", *_table(results), "", *_first(results), ""]
        for result in (r for r in results if r["rows"]):
            lines += _rows(result)
    return [*lines[:-1], *_notes(ordered(data))]


def _table(results: list[Data]) -> list[str]:
    lines = ["| case | gradgen | median | ratios to peers (aims) |", "|---|---|---|---|"]
    for result in (r for r in results if r["timings"] or r["failed"]):
        case, timings = case_of(result["case"]), result["timings"]
        own = timings.get(case.own)
        cells = [_cell(case, timings, peer) for peer in timings if peer != case.own and own]
        cells += [f"{k} failed" for k in result["failed"]]
        limit = f" (aim {seconds(case.limit)})" if case.limit else ""
        times = (f"{seconds(own['minimum'])}{limit}", seconds(own["median"])) if own else ("-", "-")
        lines.append(f"| {case.name} | {times[0]} | {times[1]} | {'; '.join(cells)} |")
    return lines


def _cell(case: Any, timings: Data, peer: str) -> str:
    ratio, aim = timings[case.own]["minimum"] / timings[peer]["minimum"], case.targets.get(peer)
    if aim is None:
        return f"{peer} {ratio:.3g}"
    text = f"{peer} {ratio:.3g} ({aim:.3g})"
    return text if ratio <= aim else f"**{text}**"


def _first(results: list[Data]) -> list[str]:
    """From nothing to the first result, compiler included."""
    peers = ("torch.compile", "jax")
    chosen = [r for r in results if any(p in r["timings"] for p in peers) and "gradgen" in r["timings"]]
    if not chosen:
        return []
    lines = ["First call: trace, generate, compile and run, in seconds (aims: 0.2 of torch.compile, 1 of jax)", "",
             "| case | gradgen | torch.compile | jax |", "|---|---|---|---|"]
    for r in chosen:
        cells = [f"{r['timings'][p]['first']:.2f}" if p in r["timings"] else "" for p in ("gradgen", *peers)]
        lines.append(f"| {r['case']} | {' | '.join(cells)} |")
    return lines


def _rows(result: Data) -> list[str]:
    peers = list(dict.fromkeys(p for row in result["rows"].values() for p in row))
    lines = [f"### {result['case']}", "", f"{case_of(result['case']).note}.", "", f"| | {' | '.join(peers)} |",
             "|---|" + "---|" * len(peers)]
    lines += [f"| {k} | {' | '.join(str(v.get(p, '')) for p in peers)} |" for k, v in result["rows"].items()]
    return [*lines, ""]


def _notes(results: list[Data]) -> list[str]:
    cases = [case_of(name) for name in dict.fromkeys(r["case"] for r in results)]
    noted = [f"- {c.name}: {c.note}." for c in cases if c.note and c.measure is None]
    return ["", "## Notes", "", *noted] if noted else []

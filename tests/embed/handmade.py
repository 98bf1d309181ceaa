"""Modules whose loops are written here by hand, so that everything around the loops is tested without the scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gradgen.codegen.bundle import ModuleCode
from gradgen.codegen.fragments import Helper
from gradgen.codegen.interface import Argument, Interface
from gradgen.ir.dtypes import bool_, float32, float64, int64
from gradgen.ir.symbols import Extent, dim


@dataclass(frozen=True)
class HandCode:
    """What the scheduler's side delivers: see gradgen.codegen.bundle.ProcedureCode."""

    name: str
    body: str
    helpers: dict[str, Helper] = field(default_factory=dict)
    work_bytes: Extent = 0
    work_bytes_c: str = "0"


LOGISTIC = {
    "logistic": Helper("""\
/* 1 / (1 + exp(-x)), without overflow */
static inline float logistic(float x)
{
    const float e = expf(-fabsf(x));
    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}""", ("logistic",)),
    "softplus": Helper("""\
/* log(1 + exp(x)), without overflow */
static inline float softplus(float x)
{
    return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
}""", ("softplus",)),
}

_LOGITS = """\
    for (int64_t n = 0; n < N; n++) {
        for (int64_t j = 0; j < 3; j++) {
            float z = b[j];
            for (int64_t i = 0; i < 5; i++) {
                z += x[n * 5 + i] * w[i * 3 + j];
            }
"""
_FORWARD = f"""\
    float *const residual = saved == NULL ? NULL : (float *)((unsigned char *)saved + 64);
    float sum = 0.0f;
{_LOGITS}\
            sum += softplus(z) - y[n * 3 + j] * z;
            if (residual != NULL) {{
                residual[n * 3 + j] = (logistic(z) - y[n * 3 + j]) / (3.0f * (float)N);
            }}
        }}
    }}
    if (loss != NULL) {{
        loss[0] = sum / (3.0f * (float)N);
    }}
"""
_ADD = """\
    for (int64_t j = 0; j < 3; j++) {
        float of_b = 0.0f;
        float of_w[5] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        for (int64_t n = 0; n < N; n++) {
            of_b += residual[n * 3 + j];
            for (int64_t i = 0; i < 5; i++) {
                of_w[i] += residual[n * 3 + j] * x[n * 5 + i];
            }
        }
        for (int64_t i = 0; grad_w != NULL && i < 5; i++) {
            grad_w[i * 3 + j] = seed * of_w[i] + ((flags & GRADGEN_SET_GRAD) != 0 ? 0.0f : grad_w[i * 3 + j]);
        }
        if (grad_b != NULL) {
            grad_b[j] = seed * of_b + ((flags & GRADGEN_SET_GRAD) != 0 ? 0.0f : grad_b[j]);
        }
    }
"""
_BACKWARD = f"""\
    const float *const residual = (const float *)((const unsigned char *)saved + 64);
    const float seed = grad_loss == NULL ? 1.0f : grad_loss[0];
{_ADD}"""
_VALUE_AND_GRAD = f"""\
    float *const residual = (float *)work;
    const float seed = 1.0f;
    float sum = 0.0f;
{_LOGITS}\
            sum += softplus(z) - y[n * 3 + j] * z;
            residual[n * 3 + j] = (logistic(z) - y[n * 3 + j]) / (3.0f * (float)N);
        }}
    }}
    if (loss != NULL) {{
        loss[0] = sum / (3.0f * (float)N);
    }}
{_ADD}"""


def linear_bce(name: str = "linear_bce") -> ModuleCode:
    """The module of the C contract: one open dimension, float32, one scalar output."""
    n = dim("N")
    interface = Interface(
        name,
        ("N",),
        (
            Argument("x", float32, (n, 5)),
            Argument("y", float32, (n, 3)),
            Argument("w", float32, (5, 3), True, "grad_loss/(3N) sum_n x[n,i] (sigmoid(z[n,j]) - y[n,j])"),
            Argument("b", float32, (3,), True, "grad_loss/(3N) sum_n sigmoid(z[n,j]) - y[n,j]"),
        ),
        (Argument("loss", float32, (), True, "1/(3N) sum_nj softplus(z[n,j]) - y[n,j] z[n,j]"),),
        digest="sha256:" + "4f1c" * 16,
        version="0.1.0",
        saved_bytes=64 + 12 * n,
        work_bytes=12 * n,
        options=(("dtype", "float32"), ("simplify", "safe")),
        lines=("linear_bce.py:7", "linear_bce.py:8"),
    )
    procedures = (
        HandCode("forward", _FORWARD, LOGISTIC),
        HandCode("backward", _BACKWARD),
        HandCode("value_and_grad", _VALUE_AND_GRAD, LOGISTIC, 12 * n, "N * 12"),
    )
    return ModuleCode(interface, procedures, "64 + N * 12", "N * 12")


_PICK = """\
    double sum = 0.0;
    for (int64_t k = 0; k < 4; k++) {
        if (index[k] < 0 || index[k] >= 6) {
            return GRADGEN_ERR_INDEX;
        }
        for (int64_t j = 0; j < 3; j++) {
            const double value = keep[k] != 0 ? table[index[k] * 3 + j] : 0.0;
            if (rows != NULL) {
                rows[k * 3 + j] = value;
            }
            sum += value * value;
        }
    }
    if (total != NULL) {
        total[0] = sum;
    }
"""
_PICK_ADD = """\
    const double seed = grad_total == NULL ? 1.0 : grad_total[0];
    if (grad_table != NULL) {
        if ((flags & GRADGEN_SET_GRAD) != 0) {
            memset(grad_table, 0, 18 * sizeof(double));
        }
        for (int64_t k = 0; k < 4; k++) {
            if (index[k] < 0 || index[k] >= 6) {
                return GRADGEN_ERR_INDEX;
            }
            for (int64_t j = 0; j < 3; j++) {
                const double of_row = grad_rows == NULL ? 0.0 : grad_rows[k * 3 + j];
                const double add = of_row + seed * 2.0 * table[index[k] * 3 + j];
                grad_table[index[k] * 3 + j] += keep[k] != 0 ? add : 0.0;
            }
        }
    }
"""


def lookup(name: str = "lookup") -> ModuleCode:
    """Fixed shapes, float64, an index and a mask input, two outputs: constant sizes and GRADGEN_ERR_INDEX."""
    interface = Interface(
        name,
        (),
        (
            Argument("index", int64, (4,)),
            Argument("keep", bool_, (4,)),
            Argument("table", float64, (6, 3), True),
        ),
        (Argument("rows", float64, (4, 3), True, "rows[k,j] = keep[k] table[index[k],j]"),
         Argument("total", float64, (), True)),
        digest="sha256:" + "00ff" * 16,
        version="0.1.0",
        saved_bytes=64,
        work_bytes=0,
    )
    backward = HandCode("backward", _PICK_ADD)
    procedures = (HandCode("forward", _PICK), backward, HandCode("value_and_grad", _PICK + _PICK_ADD))
    return ModuleCode(interface, procedures, "64", "0")


def forward_only(name: str = "power_sum") -> ModuleCode:
    """No gradients, two open dimensions, an output of derived shape."""
    n, m = dim("N"), dim("M")
    interface = Interface(
        name,
        ("N", "M"),
        (Argument("x", float64, (n, m)),),
        (Argument("inner", float64, (n - 1, 2 * m)),),
        digest="sha256:" + "0a" * 32,
        version="0.1.0",
        saved_bytes=0,
        work_bytes=0,
        differentiable=False,
    )
    body = """\
    for (int64_t k = 0; inner != NULL && k < (N - 1) * 2 * M; k++) {
        inner[k] = x[k % (N * M)];
    }
"""
    return ModuleCode(interface, (HandCode("forward", body),), "0", "0")


def scaled(name: str = "scaled") -> ModuleCode:
    """One output that is no scalar: its incoming gradient is needed, in value_and_grad, too."""
    n = dim("N")
    interface = Interface(
        name,
        ("N",),
        (Argument("x", float64, (n,)), Argument("w", float64, (1,), True)),
        (Argument("y", float64, (n,), True, "w[0] x[n]"),),
        digest="sha256:" + "5a" * 32,
        version="0.1.0",
        saved_bytes=64,
        work_bytes=0,
    )
    forward = """\
    for (int64_t k = 0; y != NULL && k < N; k++) {
        y[k] = w[0] * x[k];
    }
"""
    backward = """\
    double sum = 0.0;
    for (int64_t k = 0; k < N; k++) {
        sum += grad_y[k] * x[k];
    }
    if (grad_w != NULL) {
        grad_w[0] = sum + ((flags & GRADGEN_SET_GRAD) != 0 ? 0.0 : grad_w[0]);
    }
"""
    procedures = (HandCode("forward", forward), HandCode("backward", backward),
                  HandCode("value_and_grad", forward + backward))  # fmt: skip
    return ModuleCode(interface, procedures, "64", "0")


def many(count: int = 13, name: str = "many") -> ModuleCode:
    """More tensors than fit comfortably into a parameter list: total = sum over k of k * sum(p_k)."""
    names = [f"p{k}" for k in range(count)]
    interface = Interface(
        name,
        (),
        tuple(Argument(p, float32, (2,), True) for p in names),
        (Argument("total", float32, (), True),),
        digest="sha256:" + "77" * 32,
        version="0.1.0",
        saved_bytes=64,
        work_bytes=0,
    )
    value = " + ".join(f"{k}.0f * ({p}[0] + {p}[1])" for k, p in enumerate(names))
    forward = f"    if (total != NULL) {{\n        total[0] = {value};\n    }}\n"
    lines = []
    for k, p in enumerate(names):
        for e in (0, 1):
            old = f"((flags & GRADGEN_SET_GRAD) != 0 ? 0.0f : grad_{p}[{e}])"
            lines.append(f"    if (grad_{p} != NULL) {{\n        grad_{p}[{e}] = {old} + seed * {k}.0f;\n    }}")
    adding = "\n".join(lines)
    seed = "    const float seed = grad_total == NULL ? 1.0f : grad_total[0];\n"
    procedures = (
        HandCode("forward", forward),
        HandCode("backward", seed + adding),
        HandCode("value_and_grad", forward + "    const float seed = 1.0f;\n" + adding),
    )
    return ModuleCode(interface, procedures, "64", "0")


def with_interface(code: ModuleCode, **changes: object) -> ModuleCode:
    return replace(code, interface=replace(code.interface, **changes))


ALL = {"linear_bce": linear_bce, "lookup": lookup, "power_sum": forward_only, "scaled": scaled, "many": many}

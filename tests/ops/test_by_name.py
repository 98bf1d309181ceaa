"""Operations by name, as importers call them, and their schemas against PyTorch's signatures.

That every operation gives the right values by this door is what test_parity.py and the others of this folder check.
"""

from __future__ import annotations

import numpy as np
import pytest

from gradgen.errors import TraceError
from gradgen.ir import dtypes
from gradgen.ir.nodes import Input, Node
from gradgen.ops import by_name
from gradgen.ops.registry import OPS
from gradgen.reference.interpreter import evaluate

from . import signatures

PYTORCH = signatures.recorded()

OTHERWISE = {
    "einsum": "PyTorch hides equation and operands behind *args",
    "max_pool1d": "a number stands for PyTorch's list of one number, None for its empty list",
    "max_pool2d": "likewise",
    "max_pool3d": "likewise",
    "swapaxes": "NumPy's axis0 and axis1 are taken for dim0 and dim1, as of every function that has those",
}


@pytest.mark.parametrize("path", PYTORCH)
def test_schema_is_pytorch_s(path: str) -> None:
    ours = signatures.of_parameters(by_name.schema(path).parameters)
    found = [signatures.disagreement(ours, theirs) for theirs in PYTORCH[path]]
    assert ("" in found) == (path not in OTHERWISE), f"{by_name.schema(path)}: {found}"


def test_every_function_has_a_recorded_signature() -> None:
    assert {n for n in by_name.names() if not n.startswith("Tensor.")} == set(PYTORCH)


def test_the_record_is_of_this_torch() -> None:
    torch = pytest.importorskip("torch")
    if torch.__version__.split("+")[0] == "2.13.0":
        for path in ("nn.functional.conv2d", "linalg.diagonal", "embedding", "nn.functional.cross_entropy"):
            assert signatures.of_torch(path) == PYTORCH[path]


def test_entries_know_their_schema() -> None:
    assert str(OPS["permute"].schema) == "permute(input, dims)"
    assert OPS["unsafe_view"].schema is None
    assert [p.name for p in by_name.schema("nn.functional.conv2d").parameters][:3] == ["input", "weight", "bias"]


X, W = Input("x", (2, 3, 8, 8), dtypes.float64), Input("w", (4, 3, 3, 3), dtypes.float64)


def test_names_and_arguments_in_nodes_out() -> None:
    y = by_name.call("conv2d", (X, W), {"padding": 1, "stride": 2})
    assert isinstance(y, Node) and y.shape == (2, 4, 4, 4)
    assert y is by_name.call("nn.functional.conv2d", (X, W, None, 2, 1))  # the same nodes, interned
    values, places = by_name.call("max", (X, -1))
    assert (values.shape, places.dtype) == ((2, 3, 8), dtypes.int64)
    assert by_name.call("cat", ([X, X], 1)).shape == (2, 6, 8, 8)
    assert by_name.call("Tensor.view", (X, 2, -1)).shape == (2, 192)
    assert by_name.call("add", (Input("n", (3,), dtypes.int64), 1.5)).dtype is dtypes.float32


def test_compositions_are_known_by_name() -> None:
    """One call, several entries of the library: a cross-entropy with label smoothing, and attention."""
    logits, target = Input("l", (4, 5), dtypes.float64), Input("t", (4,), dtypes.int64)
    loss = by_name.call("nn.functional.cross_entropy", (logits, target), {"label_smoothing": 0.1})
    rng = np.random.default_rng(0)
    given = {logits: rng.normal(size=(4, 5)), target: np.array([0, 4, 2, 2])}
    logp = given[logits] - np.log(np.exp(given[logits]).sum(1, keepdims=True))
    wanted = -(0.9 * logp[np.arange(4), given[target]] + 0.1 * logp.mean(1)).mean()
    np.testing.assert_allclose(evaluate([loss], given)[0], wanted, rtol=1e-12)
    q = Input("q", (2, 3, 4), dtypes.float64)
    assert by_name.call("nn.functional.scaled_dot_product_attention", (q, q, q), {"is_causal": True}).shape == (2, 3, 4)


def test_open_dimensions_stay_open() -> None:
    import gradgen as gg

    rows = Input("r", gg.spec("N", 3).shape, dtypes.float64)
    assert str(by_name.call("nn.functional.softmax", (rows, 1)).shape) == "(N, 3)"


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(TypeError, match=r"nn.functional.gelu\(\): got an unexpected keyword argument 'alpha'; its schema is"):
        by_name.call("nn.functional.gelu", (X,), {"alpha": 1})
    with pytest.raises(TypeError, match="missing a required argument: 'weight'"):
        by_name.call("conv2d", (X,))
    with pytest.raises(KeyError, match="no 'conv9d'"):
        by_name.call("conv9d", (X,))
    with pytest.raises(RuntimeError, match="must match the size of tensor b"):
        by_name.call("add", (X, W))
    with pytest.raises(TraceError, match="depends on values"):
        by_name.call("nonzero", (X,))
    with pytest.raises(NotImplementedError, match="bernoulli"):
        by_name.call("nn.functional.dropout", (X, 0.5))


A, B, C, SIGN = (Input(n, (4, 5), dtypes.float64) for n in ("a", "b", "c", "sign"))
SIDE = Input("side", (4,), dtypes.float64)
PLAIN = {
    "binary_cross_entropy_with_logits": ((A, B, None, C, 2), (A, B), {"pos_weight": C, "reduction": "sum"}),
    "cosine_embedding_loss": ((A, B, SIDE, 0.2, 0), (A, B, SIDE, 0.2), {"reduction": "none"}),
    "hinge_embedding_loss": ((A, SIGN, 0.5, 2), (A, SIGN, 0.5), {"reduction": "sum"}),
    "kl_div": ((A, B, 0), (A, B), {"reduction": "none"}),
    "margin_ranking_loss": ((A, B, SIGN, 0.1, 1), (A, B, SIGN, 0.1), {}),
    "triplet_margin_loss": ((A, B, C, 1.5, 2.0, 1e-6, False, 2), (A, B, C, 1.5), {"reduction": "sum"}),
    "group_norm": ((X, 3, None, None, 1e-5, False), (X, 3), {}),
    "layer_norm": ((A, (5,), None, None, 1e-5, False), (A, (5,)), {}),
    "dropout": ((A, 0.5, False), (A, 0.5, False), {}),
    "alpha_dropout": ((A, 0.5, False), (A, 0.5, False), {}),
    "feature_alpha_dropout": ((A, 0.5, False), (A, 0.5, False), {}),
}


@pytest.mark.parametrize("name", PLAIN)
def test_both_forms_say_the_same(name: str) -> None:
    """The operator's arguments at the top level, those of nn.functional there; equal nodes are one."""
    plain, args, kwargs = PLAIN[name]
    assert by_name.call(name, plain) is by_name.call(f"nn.functional.{name}", args, kwargs)


def test_a_reduction_is_a_number() -> None:
    with pytest.raises(ValueError, match="3 is not a valid value for reduction"):
        by_name.call("kl_div", (A, B, 3))


def test_in_place_forms() -> None:
    import gradgen as gg

    x = gg.ones(3)
    assert gg.dropout_(x, 0.5, False) is x and gg.alpha_dropout_(x, 0.5, False) is x


def test_the_operator_s_signature_at_the_top_level() -> None:
    """torch.embedding takes the weight first, torch.batch_norm weight and bias before the statistics."""
    table, rows = Input("e", (7, 2), dtypes.float64), Input("i", (3,), dtypes.int64)
    assert by_name.call("embedding", (table, rows)) is by_name.call("nn.functional.embedding", (rows, table))
    c = [Input(n, (3,), dtypes.float64) for n in ("weight", "bias", "mean", "var")]
    assert by_name.call("batch_norm", (X, *c, False, 0.1, 1e-5, True)) is by_name.call(
        "nn.functional.batch_norm", (X, c[2], c[3], c[0], c[1]))
    assert by_name.call("kl_div", (X, X, 2)) is by_name.call("nn.functional.kl_div", (X, X), {"reduction": "sum"})

"""Errors that users meet: PyTorch's exception types and texts.  The texts are written here; torch confirms them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gradgen

ERRORS: list[tuple[str, Callable[[Any], Any], type[Exception], str]] = [
    ("mm", lambda g: g.ones(2, 3) @ g.ones(4, 5), RuntimeError, "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    ("vector @ matrix", lambda g: g.ones(3) @ g.ones(4, 5), RuntimeError,
     "mat1 and mat2 shapes cannot be multiplied (1x3 and 4x5)"),
    ("mv", lambda g: g.mv(g.ones(2, 3), g.ones(4)), RuntimeError, "size mismatch, got input (2), mat (2x3), vec (4)"),
    ("dot", lambda g: g.dot(g.ones(3), g.ones(4)), RuntimeError,
     "inconsistent tensor size, expected tensor [3] and src [4] to have the same number of elements, but got 3 and 4 "
     "elements respectively"),
    ("bmm", lambda g: g.bmm(g.ones(2, 2, 3), g.ones(2, 4, 5)), RuntimeError,
     "Expected size for first two dimensions of batch2 tensor to be: [2, 3] but got: [2, 4]."),
    ("scalar @", lambda g: g.tensor(1.0) @ g.ones(2), RuntimeError,
     "both arguments to matmul need to be at least 1D, but they are 0D and 1D"),
    ("dtypes @", lambda g: g.ones(2, 2) @ g.ones(2, 2, dtype=g.float64), RuntimeError,
     "expected m1 and m2 to have the same dtype, but got: float != double"),
    ("linear", lambda g: g.nn.functional.linear(g.ones(2, 3), g.ones(4, 5)), RuntimeError,
     "mat1 and mat2 shapes cannot be multiplied (2x3 and 5x4)"),
    ("broadcast", lambda g: g.ones(3) + g.ones(4), RuntimeError,
     "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 0"),
    ("sum dim", lambda g: g.ones(2, 3).sum(2), IndexError,
     "Dimension out of range (expected to be in range of [-2, 1], but got 2)"),
    ("softmax dim", lambda g: g.softmax(g.ones(2), 1), IndexError,
     "Dimension out of range (expected to be in range of [-1, 0], but got 1)"),
    ("sum twice", lambda g: g.ones(2, 3).sum((0, 0)), RuntimeError, "dim 0 appears multiple times in the list of dims"),
    ("mean int", lambda g: g.tensor([1, 2]).mean(), RuntimeError,
     "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: Long"),
    ("max empty", lambda g: g.ones(0).max(), RuntimeError,
     "max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' "
     "argument."),
    ("amax empty", lambda g: g.ones(0, 2).amax(0), IndexError,
     "amax(): Expected reduction dim 0 to have non-zero size."),
    ("reshape", lambda g: g.ones(3).reshape(2, 2), RuntimeError, "shape '[2, 2]' is invalid for input of size 3"),
    ("reshape -1", lambda g: g.ones(3).reshape(2, -1), RuntimeError, "shape '[2, -1]' is invalid for input of size 3"),
    ("reshape -1 -1", lambda g: g.ones(4).reshape(-1, -1), RuntimeError, "only one dimension can be inferred"),
    ("permute", lambda g: g.ones(2, 3).permute(0, 0), RuntimeError, "permute(): duplicate dims are not allowed."),
    ("t", lambda g: g.ones(2, 3, 4).t(), RuntimeError, "t() expects a tensor with <= 2 dimensions, but self is 3D"),
    ("expand", lambda g: g.ones(2, 3).expand(2, 4), RuntimeError,
     "The expanded size of the tensor (4) must match the existing size (3) at non-singleton dimension 1.  Target sizes: "
     "[2, 4].  Tensor sizes: [2, 3]"),
    ("cat", lambda g: g.cat([g.ones(2, 3), g.ones(2, 4)]), RuntimeError,
     "Sizes of tensors must match except in dimension 0. Expected size 3 but got size 4 for tensor number 1 in the list."),
    ("cat ndim", lambda g: g.cat([g.ones(2, 3), g.ones(2)]), RuntimeError,
     "Tensors must have same number of dimensions: got 2 and 1"),
    ("cat scalar", lambda g: g.cat([g.tensor(1.0), g.ones(2)]), RuntimeError,
     "zero-dimensional tensor (at position 0) cannot be concatenated"),
    ("stack", lambda g: g.stack([g.ones(2), g.ones(3)]), RuntimeError,
     "stack expects each tensor to be equal size, but got [2] at entry 0 and [3] at entry 1"),
    ("split", lambda g: g.split(g.ones(5), [1, 2]), RuntimeError,
     "split_with_sizes expects split_sizes to sum exactly to 5 (input tensor's size at dimension 0), but got "
     "split_sizes=[1, 2]"),
    ("bool minus", lambda g: g.tensor([True]) - g.tensor([True]), RuntimeError,
     "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` operator "
     "instead."),
    ("int pow", lambda g: g.tensor([2]) ** -1, RuntimeError, "Integers to negative integer powers are not allowed."),
    ("gather", lambda g: g.gather(g.ones(2, 3), 1, g.tensor([[5], [0]])), RuntimeError,
     "index 5 is out of bounds for dimension 1 with size 3"),
    ("index_select", lambda g: g.index_select(g.ones(2), 0, g.tensor([5])), IndexError, "index out of range in self"),
    ("embedding", lambda g: g.nn.functional.embedding(g.tensor([5]), g.ones(3, 2)), IndexError,
     "index out of range in self"),
    ("target", lambda g: g.nn.functional.cross_entropy(g.ones(2, 3), g.tensor([0, 3])), IndexError,
     "Target 3 is out of bounds."),
    ("batch", lambda g: g.nn.functional.cross_entropy(g.ones(2, 3), g.tensor([0])), ValueError,
     "Expected input batch_size (2) to match target batch_size (1)."),
    ("bce size", lambda g: g.nn.functional.binary_cross_entropy_with_logits(g.ones(3), g.ones(2)), ValueError,
     "Target size (torch.Size([2])) must be the same as input size (torch.Size([3]))"),
    ("reduction", lambda g: g.nn.functional.mse_loss(g.ones(2), g.ones(2), reduction="max"), ValueError,
     "max is not a valid value for reduction"),
    ("layer_norm", lambda g: g.nn.functional.layer_norm(g.ones(2, 3), (4,)), RuntimeError,
     "Given normalized_shape=[4], expected input with shape [*, 4], but got input of size[2, 3]"),
    ("dropout", lambda g: g.nn.functional.dropout(g.ones(2), 1.5), ValueError,
     "dropout probability has to be between 0 and 1, but got 1.5"),
    ("conv", lambda g: g.nn.functional.conv2d(g.ones(1, 2, 5, 5), g.ones(3, 4, 3, 3)), RuntimeError,
     "Given groups=1, weight of size [3, 4, 3, 3], expected input[1, 2, 5, 5] to have 4 channels, but got 2 channels "
     "instead"),
    ("conv size", lambda g: g.nn.functional.conv2d(g.ones(1, 2, 2, 2), g.ones(3, 2, 3, 3)), RuntimeError,
     "Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3). Kernel size can't be greater than actual "
     "input size"),
    ("einsum", lambda g: g.einsum("ij,jk->ik", g.ones(2, 3), g.ones(4, 5)), RuntimeError,
     "einsum(): subscript j has size 4 for operand 1 which does not broadcast with previously seen size 3"),
    ("clamp", lambda g: g.clamp(g.ones(2)), RuntimeError, "torch.clamp: At least one of 'min' or 'max' must not be None"),
    ("masked_fill", lambda g: g.ones(2).masked_fill(g.ones(2), 0.0), RuntimeError,
     "masked_fill_ only supports boolean masks, but got mask with dtype float"),
    ("chunk", lambda g: g.chunk(g.ones(2), 0), RuntimeError, "chunk expects `chunks` to be greater than 0, got: 0"),
    ("unflatten", lambda g: g.ones(6).unflatten(0, (4, 2)), RuntimeError,
     "unflatten: Provided sizes [4, 2] don't multiply up to the size of dim 0 (6) in the input tensor"),
]


@pytest.mark.parametrize("name, call, kind, text", ERRORS, ids=[e[0] for e in ERRORS])
def test_error(name: str, call: Callable[[Any], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        call(gradgen)
    assert str(caught.value) == text


@pytest.mark.parametrize("name, call, kind, text", ERRORS, ids=[e[0] for e in ERRORS])
def test_pytorch_says_the_same(name: str, call: Callable[[Any], Any], kind: type[Exception], text: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(kind) as caught:
        call(torch)
    assert str(caught.value) == text

"""A tour of autograd, statement for statement as in PyTorch: only the import line differs.

    python examples/notebook.py                 # gradgen
    python examples/notebook.py torch           # the same statements in PyTorch, for comparison
"""
import importlib
import re
import sys

torch = importlib.import_module(sys.argv[1] if len(sys.argv) > 1 else "gradgen")


def show(*args):
    print(*(re.sub(r"0x[0-9A-Fa-f]+", "0x...", str(a)) for a in args))


# [1] a model of one layer
x = torch.ones(5)  # input tensor
y = torch.zeros(3)  # expected output
w = torch.randn(5, 3, requires_grad=True)
b = torch.randn(3, requires_grad=True)
with torch.no_grad():
    w.copy_(torch.linspace(-0.7, 0.9, 15).reshape(5, 3))
    b.copy_(torch.tensor([0.3, -0.2, 0.1]))
z = torch.matmul(x, w) + b
loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)

# [3] the functions that will run backward
show(f"Gradient function for z = {z.grad_fn}")
show(f"Gradient function for loss = {loss.grad_fn}")

# [4] compute the gradients
loss.backward()
show(w.grad)
show(b.grad)

# one backward per graph, unless retain_graph=True
try:
    loss.backward()
except RuntimeError as error:
    show(str(error).split(".")[0])

# [5] tracking switched off
z = torch.matmul(x, w) + b
show(z.requires_grad)
with torch.no_grad():
    z = torch.matmul(x, w) + b
show(z.requires_grad)

# [6] the other way: detach
z = torch.matmul(x, w) + b
z_det = z.detach()
show(z_det.requires_grad)

# [8] gradients accumulate, and are zeroed
inp = torch.eye(5, requires_grad=True)
out = (inp + 1).pow(2)
out.backward(torch.ones_like(inp), retain_graph=True)
show(f"First call\n{inp.grad}")
out.backward(torch.ones_like(inp), retain_graph=True)
show(f"\nSecond call\n{inp.grad}")
inp.grad.zero_()
out.backward(torch.ones_like(inp), retain_graph=True)
show(f"\nCall after zeroing gradients\n{inp.grad}")

# backward() is backward(torch.tensor(1.0)) for a scalar, and an error for anything else
w.grad = None
loss = torch.nn.functional.binary_cross_entropy_with_logits(torch.matmul(x, w) + b, y)
loss.backward(torch.tensor(1.0))
show(w.grad)
try:
    out.backward()
except RuntimeError as error:
    show(error)
for tensor in (w, b, z, z_det, loss, out, inp):
    show(tensor)

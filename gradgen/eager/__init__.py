"""Tensors as PyTorch's users know them: storage and views, history and backward, in place, random numbers, printing."""

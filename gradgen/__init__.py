"""gradgen: a Python function over tensors goes in; C with forward, backward and zero_grad comes out."""

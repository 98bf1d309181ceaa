"""Functions as programs: trace, jit and scan run a function once on symbolic tensors and keep what it recorded."""

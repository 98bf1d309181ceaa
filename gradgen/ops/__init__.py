"""The operation library: one entry an operation, by family.

`registry` has the entries, `table` the functions, methods and samples by the names users know them; `tensors` says what
both ask of the tensors that they are given.
"""

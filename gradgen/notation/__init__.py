"""How mathematics is said: formulas in text and LaTeX, drawings, ordinary SymPy.

`formula` and `latex` print what `naming` and `definitions` decided, in `terms` that `letters` index; `dot` draws;
`sympy_view` gives a Graph back as SymPy.
"""

"""Simplification: named passes over graphs, each on or off; levels none, safe and fast."""

from gradgen.simplify.levels import LEVELS, simplify

__all__ = ["LEVELS", "simplify"]

"""What the scheduler may do: every optimisation is a named pass that can be switched off."""

from __future__ import annotations

from dataclasses import dataclass

from gradgen.schedule.cost import Costs
from gradgen.target import NATIVE, Target

PASSES: dict[str, str] = {
    "packing": "a matrix that every step of a recurrence multiplies by is laid out once for the kernel",
    "sharing": "an expensive function that several nodes apply to the same values is computed once",
    "pairs": "a sum over three or more factors is done two at a time in the cheapest order",
    "digits": "axes of a product that are read by quotient and remainder are split in two; strides become phases",
    "unfold": "operands read through windows and guards are written out as matrices for the kernel",
    "inline": "views and pointwise values with one reader are computed where they are read",
    "fusion": "nodes over the same axes share a loop nest; what never leaves it is a local",
    "strips": "nests over a shared outer axis run strip by strip; memory does not grow with that axis",
    "contraction": "sums of products with separable axes become calls of a matrix kernel",
    "order": "the axis with the smallest stride is innermost; long sums are added up where their terms arise",
    "simd": "innermost loops without carried dependences are marked for vectorisation",
    "pairwise": "float sums add block sums pairwise",
    "stretches": "a loop over rows and columns by one counter is two loops; no element divides",
    "straight": "short loops inside a loop are written out: guards are decided, elements of small arrays are locals",
    "unroll": "loops whose guards single out iterations become one store an element",
    "registers": "a recurrence on a state of a few elements keeps them in locals",
    "peel": "a copy with a guarded border is split where the guard changes; no element is tested",
    "reciprocals": "several divisions by one number are products with its reciprocal",
    "lanes": "a loop over independent items of straight-line code computes a vector of items at a time",
    "flatten": "two loops over one stretch of memory are one; the rows of an image are no sums of their own",
    "loads": "what a branch of a choice reads is read before it where it is there in any case: no load under a mask",
    "merge": "a value made element by element takes over the memory of one that nobody reads any more",
    "outline": "nests that a module repeats, in one function or in several, become functions",
    "threads": "with threads: outer loops and matrix products are cut into chunks that may run side by side",
    "reuse": "buffers whose lifetimes do not meet share memory",
}


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """`passes` names the optimisations that are on (default: all of `PASSES`); `size`: code is dear, time is not."""

    passes: tuple[str, ...] = tuple(PASSES)
    target: Target = NATIVE
    size: bool = False
    threads: int = 0  # chunks of parallel loops; below 2 there are none

    def has(self, name: str) -> bool:
        """The pass is on, and for a machine like the target."""
        if name not in PASSES:
            raise KeyError(name)
        return name in self.passes and name not in self.costs.without()

    @property
    def costs(self) -> Costs:
        return Costs(self.target, self.size)


NO_PASSES = ScheduleOptions(passes=())

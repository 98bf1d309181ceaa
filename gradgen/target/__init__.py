"""What the C is made for: the machine (`Target`) and what may be spent on it (`Budget`).  Records only: nothing is counted
here, and nothing is asked of the machine that generates.
"""

from gradgen.target.budget import OBJECTIVES, Budget
from gradgen.target.known import KNOWN, NATIVE, PORTABLE, target_of
from gradgen.target.machine import Target

__all__ = ["KNOWN", "NATIVE", "OBJECTIVES", "PORTABLE", "Budget", "Target", "target_of"]

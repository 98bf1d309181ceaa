"""Sweeps: many programs, every set of NULLs, small extents, in memory that is checked: by the interpreter of loops after
every pass, and by the sanitizers as compiled C.  `python -m tests.sweep --help` runs more of them than the suite."""

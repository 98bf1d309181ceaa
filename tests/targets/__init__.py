"""Emitted C on other machines: compiled by their compilers, run under emulators, and its cost recorded.  See __main__.py."""

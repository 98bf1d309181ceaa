"""From emitted C to code that runs in this process: compiler discovery, flags, cache, cffi, loading.

``build_shared`` and ``load_shared`` serve eager and jit use, ``build_extension`` and ``load_package`` generated
modules.
``standalone`` is copied into every bundle as ``_build.py``; it imports nothing of gradgen.
"""

from gradgen.build.cache import Cache, CacheWarning, default_cache, digest
from gradgen.build.compiler import Compiler, find_compiler
from gradgen.build.flags import PROFILES, Flags, flags_for
from gradgen.build.library import build_extension, build_shared
from gradgen.build.load import load_package, load_shared

__all__ = [
    "PROFILES",
    "Cache",
    "CacheWarning",
    "Compiler",
    "Flags",
    "build_extension",
    "build_shared",
    "default_cache",
    "digest",
    "find_compiler",
    "flags_for",
    "load_package",
    "load_shared",
]

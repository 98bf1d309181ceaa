"""Names that users choose and C, C++ and Python have to live with: modules, tensors, dimensions.

A name goes unchanged into file names, C symbols, parameter lists and Python signatures, so it is checked once, before
anything is emitted, and refused with a reason; nothing is ever renamed or hashed.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable

from gradgen.codegen.interface import SEEDS, Interface
from gradgen.errors import InvalidNameError
from gradgen.loops.reserved import KEYWORDS, is_identifier, taken_by_c

LONGEST = 200

_KEYWORDS = {**KEYWORDS, **{w: "a keyword of Python" for w in keyword.kwlist}}
_OWN_PARAMETERS = {"saved": "the emitted functions' own parameter", "work": "the emitted functions' own parameter",
                   "flags": "the emitted functions' own parameter"}
# an input is also a parameter of the Python wrapper, one with a gradient an attribute of its Module
_PYTHON_PARAMETERS = {"self", "out", "gradient", "gradients", "retain_graph"}
_MODULE_ATTRIBUTES = {
    "forward", "backward", "zero_grad", "grad", "parameters", "named_parameters", "state_dict", "load_state_dict",
    "tobytes", "frombytes", "train", "eval", "training",
}
# `#include <math.h>` must not find ours, and a package named so would hide the standard library's
_HEADERS = """
assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool
stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
"""
_FILE_NAMES = {
    **{w: "the name of a standard header" for w in _HEADERS.split()},
    **{w: "the name of another file of the bundle" for w in ("example", "selftest", "gradgen_abi", "gradgen")},
    **{w: "a device name on Windows" for w in ("con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt")
                                               for i in range(1, 10)))},
}


def check_module_name(name: str) -> None:
    """Raises InvalidNameError unless `name` can be a file name, a C symbol prefix and a Python module."""
    _check_identifier(name, "module name")
    reason = _KEYWORDS.get(name) or _FILE_NAMES.get(name.lower())
    if reason:
        raise _refused(name, "module name", f"is {reason}", f"choose another name, for example {name}_model")


def check_argument_name(name: str, what: str = "argument name") -> None:
    """Raises InvalidNameError unless `name` can be a parameter of a C, C++ and Python function."""
    _check_identifier(name, what)
    reason = _KEYWORDS.get(name) or taken_by_c(name) or _OWN_PARAMETERS.get(name)
    if reason:
        raise _refused(name, what, f"is {reason}", f"choose another name, for example {name}_")


def check_argument_names(
    dims: Iterable[str],
    inputs: Iterable[str],
    outputs: Iterable[str],
    *,
    gradients: Iterable[str] = (),
    states: Iterable[str] = (),
    cotangents: Iterable[str] = (),
    module: str = "",
    draws: bool = False,
) -> None:
    """Raises InvalidNameError unless all names are possible and no two of the emitted parameters collide.

    `gradients` are the inputs and `cotangents` the outputs for which a parameter `grad_<name>` is emitted, `states` further
    inputs that the Python Module holds; a module that `draws` random numbers has the parameters seed and
    step.
    """
    taken = dict.fromkeys(SEEDS, "the module's random numbers") if draws else {}
    kinds = (("dimension", dims), ("input", inputs), ("output", outputs))
    gradients, cotangents = list(gradients), list(cotangents)
    attributes = {*gradients, *states}
    for kind, names in kinds:
        for name in names:
            check_argument_name(name, f"{kind} name")
            _check_python(name, kind, name in attributes)
            for prefix, own in ((f"{module}_", "functions"), (f"{module.upper()}_", "macros")):
                if module and name.startswith(prefix):
                    raise _refused(name, f"{kind} name", f"begins with {prefix} like the module's {own}", "rename it")
            _take(taken, name, f"the {kind} {name!r}")
    for name in gradients:
        _take(taken, f"grad_{name}", f"the gradient of {name!r}")
    for name in cotangents:
        _take(taken, f"grad_{name}", f"the incoming gradient of {name!r}")


def check_interface(interface: Interface) -> None:
    """Raises InvalidNameError for any name of the module that cannot be emitted."""
    check_module_name(interface.name)
    check_argument_names(
        interface.dims,
        [a.name for a in interface.inputs],
        [a.name for a in interface.outputs],
        gradients=[a.name for a in interface.parameters] if interface.differentiable else (),
        states=[a.name for a in interface.held],
        cotangents=[a.name for a in interface.differentiable_outputs] if interface.differentiable else (),
        module=interface.name,
        draws=interface.draws,
    )
    _check_derivatives(interface)


def _check_derivatives(interface: Interface) -> None:
    """Derivative functions have parameters named after two arguments each: hess_a_b."""
    own = {"jvp": "tangents", "hvp": "directions"}
    for suffix in interface.derivatives:
        taken = {own[suffix]: f"the {own[suffix]} of {suffix}() in Python"} if suffix in own else {}
        for p in interface.functions[suffix]:
            _take(taken, p.name, f"the {p.kind} of {p.of!r} in {interface.name}_{suffix}")
    methods = {s.replace("_values", "_sparse"): "a method of Module" for s in interface.derivatives}
    for a in interface.parameters:
        _take(dict(methods), a.name, f"the parameter {a.name!r}")


def _check_identifier(name: str, what: str) -> None:
    if not isinstance(name, str):
        raise InvalidNameError(f"a {what} must be a str, not {type(name).__name__}")
    if not name:
        raise InvalidNameError(f"the {what} is empty", hint="give a name such as linear_bce")
    shown = name if len(name) <= 60 else f"{name[:57]}..."
    if len(name) > LONGEST:
        raise _refused(shown, what, f"has {len(name)} characters", f"at most {LONGEST} are possible")
    if not is_identifier(name):
        hint = "use ASCII letters, digits and _, and begin with a letter: the name becomes a C and a Python identifier"
        raise _refused(shown, what, "is not an identifier", hint)
    if "__" in name:
        raise _refused(shown, what, "contains __, which C++ keeps for itself", "use single underscores")
    if name.lower().startswith(("gradgen_", "gg_")):
        raise _refused(shown, what, "begins with gradgen_ or gg_, which emitted C uses itself", "choose another prefix")


def _check_python(name: str, kind: str, is_attribute: bool) -> None:
    taken = (kind == "input" and name in _PYTHON_PARAMETERS) or (is_attribute and name in _MODULE_ATTRIBUTES)
    if taken:
        reason = "is a parameter or attribute of the generated Python wrapper"
        raise _refused(name, f"{kind} name", reason, f"choose another name, for example {name}_")


def _take(taken: dict[str, str], name: str, owner: str) -> None:
    if name in taken:
        what = f"two parameters of the emitted functions would be named {name!r}"
        raise InvalidNameError(what, where=f"{taken[name]} and {owner}", hint="rename one of the two")
    taken[name] = owner


def _refused(name: str, what: str, reason: str, hint: str) -> InvalidNameError:
    return InvalidNameError(f"{name!r} cannot be {'an' if what[0] in 'aeiou' else 'a'} {what}: it {reason}", hint=hint)

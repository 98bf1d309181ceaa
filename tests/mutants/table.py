"""The mutations, by kind.  Texts are short and say one thing, so that they stay when the code around them moves."""

from __future__ import annotations

from tests.mutants.running import Mutant

IR, AD, SIMPLIFY, SCHEDULE = "gradgen/ir", "gradgen/autodiff", "gradgen/simplify", "gradgen/schedule"
CODEGEN, MATH = "gradgen/codegen", "templates/kernels/math"


def _ops(which: str, *files: str) -> tuple[str, ...]:
    """Tests of the operation library whose names hold one of these words."""
    return (*(f"tests/ops/test_{f}.py" for f in files or ("gradcheck", "kinks")), "-k", which)


SLOPE = ("gradcheck",)
LIKE_TORCH = ("parity",)

GRADIENTS = (
    Mutant("cos: the sign of its derivative", f"{IR}/functions.py", '"cos", (lambda x, f: -sin(x),)',
           '"cos", (lambda x, f: sin(x),)', _ops("cos", *SLOPE)),
    Mutant("atan2: a denominator", f"{IR}/functions.py", "0, div(x, x**2 + y**2))", "0, div(x, x**2 - y**2))",
           _ops("atan2", *SLOPE)),
    Mutant("logsigmoid: the other side", f"{IR}/functions.py", '"logsigmoid", (lambda x, f: sigmoid(-x),)',
           '"logsigmoid", (lambda x, f: sigmoid(x),)', _ops("logsigmoid", *SLOPE)),
    Mutant("rsqrt: a power", f"{IR}/functions.py", "(lambda x, f: -_HALF * f**3,)", "(lambda x, f: -_HALF * f**2,)",
           _ops("rsqrt", *SLOPE)),
    Mutant("erf: a constant", f"{IR}/functions.py", "(lambda x, f: 2 / sqrt(pi) * exp(-(x**2)),)",
           "(lambda x, f: 1 / sqrt(pi) * exp(-(x**2)),)", _ops("erf", *SLOPE)),
    Mutant("solve: the sign of the matrix' gradient", f"{AD}/kernel_rules.py",
           "[(0, negative(product(*pair, right=True))), (3, b_bar)]", "[(0, product(*pair, right=True)), (3, b_bar)]",
           _ops("solve", *SLOPE)),
    Mutant("triangular solve: a unit diagonal gets a gradient", f"{AD}/kernel_rules.py",
           "[(0, triangle(negative(product(*pair, right=True)), upper, unit)), (1, b_bar)]",
           "[(0, triangle(negative(product(*pair, right=True)), upper, False)), (1, b_bar)]",
           _ops("triangular", *LIKE_TORCH)),
    Mutant("cholesky: the diagonal is not halved", f"{AD}/kernel_rules.py", "on_diagonal(triangle(a, False), A0 / 2)",
           "on_diagonal(triangle(a, False), A0)", _ops("cholesky", *LIKE_TORCH)),
    Mutant("eigenvectors: the order of two eigenvalues", f"{AD}/kernel_rules.py", "div(A0, A2 - A1)", "div(A0, A1 - A2)",
           ("tests/ops/test_kernels.py", "tests/ops/test_parity.py", "-k", "eig")),
    Mutant("qr: the diagonal counts twice", f"{AD}/kernel_rules.py", "Condition(GE, i[-1] - i[-2] - 1),)",
           "Condition(GE, i[-1] - i[-2]),)", _ops("qr", *SLOPE)),
    Mutant("recurrences: backward goes forward", f"{AD}/recurrences.py", "node.length, position, not node.reverse)",
           "node.length, position, node.reverse)", ("tests/unit/test_scan_func.py",)),
    Mutant("recurrences: only the last step's gradient of what is constant", f"{AD}/recurrences.py",
           "*(add(s, g) for s, g in zip(sums.values(), terms", "*(g for s, g in zip(sums.values(), terms",
           ("tests/unit/test_scan_func.py",)),
    Mutant("forward mode: solve forgets the matrix", f"{AD}/kernel_rules.py",
           "moved = negative(product(dot[0], node, left=transposed)) if 0 in dot else None", "moved = None",
           ("tests/ops/test_tangents.py", "-k", "solve")),
    Mutant("stop lets a gradient through", f"{IR}/functions.py", 'stop = _same("stop", 0)', 'stop = _same("stop", 1)',
           ("tests/semantics/test_linear_derivatives.py", "-k", "determinants")),
    Mutant("nan_safe does nothing", f"{AD}/reverse.py", "found = support(body) if self.nan_safe else LIVENESS", "found = LIVENESS",
           ("tests/semantics/test_nan_safe.py",)),
)

KINKS = (
    Mutant("maximum: a tie is not shared", f"{IR}/functions.py",
           "(lambda a, b, f: select(lt(a, b), 0, select(eq(a, b), _HALF, 1)),", "(lambda a, b, f: select(lt(a, b), 0, 1),",
           _ops("maximum", "kinks"), quick=True),
    Mutant("amax: ties are not shared", f"{AD}/reverse.py",
           "div(select(eq(placeholder(0), placeholder(1)), placeholder(2), 0), placeholder(3))",
           "select(eq(placeholder(0), placeholder(1)), placeholder(2), 0)", _ops("amax", "kinks"), quick=True),
    Mutant("scatter_reduce: ties are not shared", f"{AD}/scattered.py", "select(eq(a0, a1), div(1, a2), 0)",
           "select(eq(a0, a1), 1, 0)", ("tests/ops/test_tangents.py", "-k", "ties")),
    Mutant("relu: the derivative at 0", "gradgen/ops/activation.py", "fn.select(fn.le(x, 0), 0, x)",
           "fn.select(fn.lt(x, 0), 0, x)", _ops("relu", "kinks")),
    Mutant("pow: the derivative by the exponent at 0", f"{IR}/functions.py",
           "select(and_(eq(x, 0), ge(p, 0)), 0, f * log(x))", "f * log(x)", _ops("pow", "kinks", "parity")),
)

INDICES = (
    Mutant("ranges: one element too many", f"{IR}/guards.py", "sympy.sympify(extent) - 1 - expr", "sympy.sympify(extent) - expr",
           _ops("pad or conv1d", *LIKE_TORCH)),
    Mutant("inversion: the remainder is not tested", f"{IR}/inversion.py",
           "self.conditions.append(Condition(MOD, difference, modulus))", "pass", _ops("conv1d or conv_transpose or slice or unfold",
                                                                                   *SLOPE)),
    Mutant("inversion: a flip's sign", f"{IR}/inversion.py", "solution = sympy.expand(-difference)",
           "solution = sympy.expand(difference)", _ops("flip", *SLOPE)),
    Mutant("inversion: a diagonal is not tested", f"{IR}/inversion.py",
           "self.conditions.append(Condition(EQ, q.value - self.solved[v]))", "pass", _ops("diag", *SLOPE)),
    Mutant("inversion: roll goes the other way", f"{IR}/inversion.py", "modulo(sympy.expand(coefficient * (q.value - rest))",
           "modulo(sympy.expand(coefficient * (q.value + rest))", _ops("roll", *SLOPE)),
    Mutant("guards: equality is taken for granted", f"{IR}/guards.py", "return e.is_zero", "return True",
           _ops("diag or eye", *SLOPE)),
)

SIMPLIFICATION = (
    Mutant("constants: 1/2^k is wrong by a factor", f"{SIMPLIFY}/constants.py", "sympy.Rational(1, int(n))",
           "sympy.Rational(1, 2 * int(n))", ("tests/unit/test_simplify.py", "tests/unit/test_formula.py"), quick=True),
    Mutant("constants: zeros are numbers", f"{SIMPLIFY}/constants.py", "math.isfinite(value) and value != 0.0",
           "math.isfinite(value)", ("tests/unit/test_simplify.py", "tests/fuzz/test_schedule_fuzz.py")),
    Mutant("views: a guard is lost", f"{SIMPLIFY}/read_through.py",
           "joined = conjunction(*read.guard, *(c.substitute(mapping) for c in inner.guard))", "joined = conjunction(*read.guard)",
           ("tests/unit/test_simplify.py", "tests/fuzz/test_traced_programs.py")),
    Mutant("one-hot: a label out of range picks something", f"{SIMPLIFY}/one_hot.py",
           "select(and_(ge(label, 0), lt(label, extent)), value, 0)", "value", ("tests/unit/test_simplify.py",)),
    Mutant("guards: the end of a range is not looked at", f"{SIMPLIFY}/decided.py",
           "least = least + coefficient * (sympy.sympify(extents[symbols[0]]) - 1)", "pass",
           ("tests/unit/test_simplify.py", "tests/unit/test_windows.py")),
)

PASSES = (
    Mutant("memory: neighbours in time share an address", f"{SCHEDULE}/memory.py",
           "if life[p][0] <= last and first <= life[p][1])", "if life[p][0] < last and first < life[p][1])",
           ("tests/unit/test_memory_plan.py",), quick=True),
    Mutant("memory: a slot that is too small", f"{SCHEDULE}/memory.py", "return bool(difference == 0 or difference.is_nonnegative)", "return True",
           ("tests/unit/test_memory_plan.py",)),
    Mutant("memory: saved scalars on one place", f"{SCHEDULE}/memory.py", "small += size", "small += 0",
           ("tests/unit/test_schedule_passes.py", "tests/fuzz/test_traced_programs.py", "tests/models/test_traced_modules.py")),
    Mutant("unroll: sums of the rest are out of reach", f"{SCHEDULE}/unroll.py",
           "return any((u.defines | u.assigns) & reads for k, u in enumerate(uses) if k not in part)", "return False",
           ("tests/unit/test_unroll.py", "tests/unit/test_scopes.py")),
    Mutant("peel: a stretch is one short", f"{SCHEDULE}/peel.py", "found.append(replace(loop, start=first, stop=last, body=tuple(body)))",
           "found.append(replace(loop, start=first, stop=max(first + 1, last - 1), body=tuple(body)))",
           ("tests/unit/test_windows.py", "tests/unit/test_digits.py")),
    Mutant("flatten: the inner extent", f"{SCHEDULE}/flatten.py", "slope * (extent * outer + inner)",
           "slope * (extent * outer - inner)", ("tests/unit/test_flatten.py",)),
    Mutant("digits: the offset of a phase", f"{SCHEDULE}/digits.py", "(extent - 1 + p.offset) // p.stride + 1",
           "(extent - 1) // p.stride + 1", ("tests/unit/test_digits.py",)),
    Mutant("registers: locals are not written back", f"{SCHEDULE}/registers.py",
           "after += [Store(b, sympy.Integer(k), v)] if outside else []", "pass", ("tests/unit/test_registers.py",)),
    Mutant("reciprocals: small divisors are not lifted", f"{SCHEDULE}/reciprocals.py", "factors.append(inverse.lift)", "pass",
           ("tests/fuzz/test_reciprocals.py",)),
    Mutant("reciprocals: what decides may be off", f"{SCHEDULE}/reciprocals.py",
           "return not e.dtype.is_floating_point or (record is not None and record.continuity == JUMP)", "return False", ("tests/fuzz/test_reciprocals.py",)),
    Mutant("lanes: those behind the last item count", f"{SCHEDULE}/lanes.py", "(Condition(GE, last - 1 - self.lane),)",
           "(Condition(GE, last - self.lane),)", ("tests/fuzz/test_straight_code.py",)),
)

CONTRACT = (
    Mutant("a gradient is added to where it should be set", f"{SCHEDULE}/emit_results.py",
           'value = b.apply("select", (self.wanted.sets(), value, total), target.dtype)', "pass",
           ("tests/embed/test_traced_modules.py", "-k", "names_do_not_collide")),
    Mutant("zero_grad clears one element", f"{CODEGEN}/bundle.py", 'f"{as_size(to_c(count))} * sizeof(*{p.name})"',
           'f"sizeof(*{p.name})"', ("tests/embed/test_emitted_c.py", "-k", "selftest")),
    Mutant("NULL inputs are not looked for", f"{CODEGEN}/checks.py", "elif p.kind in (INPUT, COTANGENT) and not p.optional:",
           "elif p.kind == COTANGENT and not p.optional:", ("tests/embed/test_emitted_c.py", "-k", "selftest")),
    Mutant("negative dimensions pass", f"{CODEGEN}/checks.py", '[f"{d} < 0" for d in dims]', '[f"{d} < -1" for d in dims]',
           ("tests/embed/test_emitted_c.py", "-k", "selftest")),
    Mutant("alignment of SAVED and WORK", f"{CODEGEN}/checks.py", "elif p.kind in (SAVED, WORK):\n            groups",
           "elif p.kind == SAVED:\n            groups", ("tests/embed/test_emitted_c.py", "-k", "selftest")),
    Mutant("SAVED stays ready after a backward", f"{CODEGEN}/bundle.py", "_set_state(saved, {interface.name.upper()}_USED{dims});",
           "_set_state(saved, {interface.name.upper()}_READY{dims});", ("tests/embed/test_emitted_c.py", "-k", "selftest")),
    Mutant("a used SAVED is called empty", "templates/c/module.c.j2", "return GRADGEN_ERR_GRAPH_FREED;", "return GRADGEN_ERR_NO_FORWARD;",
           ("tests/embed/test_emitted_c.py", "-k", "selftest")),
    Mutant("SAVED of other dimensions is taken", "templates/c/module.c.j2", "return GRADGEN_ERR_DIM;", "return GRADGEN_OK;",
           ("tests/embed/test_emitted_c.py",)),
    Mutant("any ABI fits", "templates/c/gradgen_abi.h", "module->abi_version == GRADGEN_ABI_VERSION && module->struct_size",
           "module->struct_size", ("tests/embed",)),
    Mutant("an index error loses its type", "gradgen/_native.py", "if status == BAD_INDEX:", "if False:",
           ("tests/unit/test_runtime.py", "tests/embed/test_traced_modules.py")),
    Mutant("a status is dropped", "gradgen/runtime.py", "        status = self._native.backward(*back, flags)\n        if status:",
           "        status = self._native.backward(*back, flags)\n        if False:", ("tests/unit/test_runtime.py",)),
    Mutant("results may overlap their arguments", "gradgen/_native.py", "if any(np.may_share_memory(value, other) for other in inputs):",
           "if False:", ("tests/unit/test_runtime.py",)),
)

C_TEXT = (
    Mutant("integers: the arithmetic shift", "templates/kernels/small/integers.h",
           "return ({{ T }})(a < 0 ? ~(~a >> n) : a >> n);", "return ({{ T }})(({{ U }})a >> n);", ("tests/embed/test_traced_modules.py", "-k", "shifts")),
    Mutant("sin: a coefficient in the last digits", f"{MATH}/trig_poly.h", "0.008333333333321919", "0.008333333333421919",
           ("tests/kernels/test_math.py", "-k", "sin or cos")),
    Mutant("exp: a coefficient", f"{MATH}/exp.h", "GG_INLINE float gg_exp_poly_f32(float r)\n{\n    float p = 0.0013820946f;",
           "GG_INLINE float gg_exp_poly_f32(float r)\n{\n    float p = 0.0014820946f;", ("tests/kernels/test_math.py", "-k", "exp")),
    Mutant("erf: where the two formulas meet", f"{MATH}/erf.h", "return a < 0.95f ?", "return a < 1.15f ?",
           ("tests/kernels/test_math.py", "-k", "erf")),
    Mutant("cholesky: zeros above the diagonal", "templates/kernels/linalg/cholesky.c",
           "for (int64_t j = i + 1; j < n; ++j) row[j] = 0;", ";", ("tests/kernels/test_named_kernels.py",)),
    Mutant("sort: nan anywhere", "templates/kernels/sort/argsort.c", "return !gg_at_most_{{ s }}(x, y) && gg_at_most_{{ s }}(y, y);",
           "return !gg_at_most_{{ s }}(x, y);", ("tests/kernels/test_named_kernels.py",)),
    Mutant("pairwise sums: a level is left out", "templates/kernels/small/pairwise.h", "for (int b = 0; b < 64; ++b)",
           "for (int b = 1; b < 64; ++b)",
           ("tests/fuzz/test_schedule_compiled.py",)),
)

EAGER = (
    Mutant("promotion: the narrower type", f"{IR}/dtypes.py", "return a if a.itemsize >= b.itemsize else b",
           "return b if a.itemsize >= b.itemsize else a", ("tests/semantics/test_cases.py", "-k", "recorded")),
    Mutant("promotion: integers win", f"{IR}/dtypes.py", "return a if a.category > b.category else b",
           "return b if a.category > b.category else a", ("tests/semantics/test_cases.py", "-k", "recorded")),
    Mutant("broadcasting: sizes that differ", "gradgen/ops/registry.py", "elif not same_extent(result[k], shape[d]):", "elif False:",
           ("tests/ops/test_errors.py",)),
    Mutant("in place: versions are not counted", "gradgen/eager/views.py", "tensor._versions().version += 1", "pass",
           ("tests/semantics/test_cases.py", "-k", "recorded and inplace")),
    Mutant("in place: a leaf may be changed", "gradgen/eager/inplace.py",
           "if (\n        tensor.requires_grad and tensor._fn is None\n    ):", "if (\n        False\n    ):",
           ("tests/semantics/test_cases.py", "-k", "recorded and inplace")),
    Mutant("views: a write is not seen by the others", "gradgen/eager/tensor.py",
           "if self._gen != self._cell.generation or self._cell.owner is not None:", "if self._rec is None:",
           ("tests/semantics/test_cases.py", "-k", "recorded and (inplace or values)")),
    Mutant("backward: a second one is allowed", "gradgen/eager/grad_fn.py", "            if self.freed:\n", "            if False:\n",
           ("tests/semantics/test_cases.py", "-k", "recorded and (graph or accumulation)")),
    Mutant("backward: .grad is replaced", "gradgen/eager/inplace.py",
           "total: Tensor = recording.apply(internal.ADD, (before, gradient))", "total: Tensor = gradient", ("tests/semantics/test_cases.py", "-k", "recorded and (accumulation or higher)")),
    Mutant("gradcheck: nan is like nan", "gradgen/autograd/gradcheck.py", "rtol=rtol, atol=atol):", "rtol=rtol, atol=atol, equal_nan=True):",
           ("tests/semantics/test_cases.py", "-k", "recorded and scalars")),
    Mutant("files: no dimensions become one", "gradgen/serialization/shared_storage.py", "self.flat.reshape(())", "self.flat",
           ("tests/semantics/test_cases.py", "-k", "recorded and scalars")),
    Mutant("check: the report is an object", "gradgen/checking/__init__.py", "    def __bool__(self) -> bool:\n        return self.passed\n",
           "", ("tests/unit/test_checking.py",)),
)

HOUSE = (
    Mutant("cache: boundaries of what is digested", "gradgen/build/cache.py", 'state.update(b"%d:" % len(data))', "pass",
           ("tests/unit/test_build_cache.py",), quick=True),
    Mutant("cache: damaged entries are used", "gradgen/build/cache.py", "return path.stat().st_size == size and (sha is None or _file_digest(path) == sha)",
           "return path.stat().st_size == size", ("tests/faults/test_build_faults.py", "-k", "damaged")),
    Mutant("command line: a failed check ends with 0", "gradgen/cli.py", "return OK if found.passed else FAILED", "return OK",
           ("tests/unit/test_cli.py",)),
)

MUTANTS = (*GRADIENTS, *KINKS, *INDICES, *SIMPLIFICATION, *PASSES, *CONTRACT, *C_TEXT, *EAGER, *HOUSE)

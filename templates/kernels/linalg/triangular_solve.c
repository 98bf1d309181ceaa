//: gg_triangular_solve_{{ s }} < gg_substitute_{{ s }}
/* x[c] with t x[c] = b[c], or t^T x[c] = b[c], where t is one triangle of a[c]; b and x are [count, n, columns]. */
static void gg_triangular_solve_{{ s }}(int64_t count, int64_t n, int64_t columns, const {{ T }} *a, const {{ T }} *b, {{ T }} *x,
    int transposed, int unit, int upper)
{
    for (int64_t k = 0; k < count * n * columns; ++k) x[k] = b[k];
    for (int64_t c = 0; c < count; ++c)
        gg_substitute_{{ s }}(n, columns, a + c * n * n, x + c * n * columns, transposed, unit, upper);
}

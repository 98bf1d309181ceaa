//: gg_solve_{{ s }} < gg_substitute_{{ s }}
/* x[c] with a[c] x[c] = b[c], or a[c]^T x[c] = b[c], from the factors of a[c]; b and x are [count, n, columns].  Of a
 * singular matrix x[c] is nan everywhere. */
static void gg_solve_{{ s }}(int64_t count, int64_t n, int64_t columns, const {{ T }} *lu, const int64_t *rows, const {{ T }} *b,
    {{ T }} *x, int transposed, {{ T }} *work)
{
    const int64_t size = n * columns;
    for (int64_t c = 0; c < count; ++c, lu += n * n, rows += n, b += size, x += size) {
        int singular = 0;
        for (int64_t i = 0; i < n; ++i) singular |= lu[i * n + i] == 0;
        if (singular) {
            for (int64_t k = 0; k < size; ++k) x[k] = ({{ T }})NAN;
        } else if (transposed) {
            for (int64_t k = 0; k < size; ++k) work[k] = b[k];
            gg_substitute_{{ s }}(n, columns, lu, work, 1, 0, 1);
            gg_substitute_{{ s }}(n, columns, lu, work, 1, 1, 0);
            for (int64_t i = 0; i < n; ++i)
                for (int64_t k = 0; k < columns; ++k) x[rows[i] * columns + k] = work[i * columns + k];
        } else {
            for (int64_t i = 0; i < n; ++i)
                for (int64_t k = 0; k < columns; ++k) x[i * columns + k] = b[rows[i] * columns + k];
            gg_substitute_{{ s }}(n, columns, lu, x, 0, 1, 0);
            gg_substitute_{{ s }}(n, columns, lu, x, 0, 0, 1);
        }
    }
}

//: gg_substitute_{{ s }}
/* x <- t^-1 x, or t^-T x, for a triangle t of the n rows of a and x[n, columns]; `unit`: the diagonal counts as ones. */
static void gg_substitute_{{ s }}(int64_t n, int64_t columns, const {{ T }} *a, {{ T }} *x, int transposed, int unit, int upper)
{
    const int forward = upper == transposed;
    for (int64_t step = 0; step < n; ++step) {
        const int64_t i = forward ? step : n - 1 - step;
        {{ T }} *const row = x + i * columns;
        if (!transposed) { /* subtract what is known already */
            const int64_t stop = forward ? i : n;
            for (int64_t j = forward ? 0 : i + 1; j < stop; ++j) {
                const {{ T }} factor = a[i * n + j];
                const {{ T }} *const other = x + j * columns;
                for (int64_t k = 0; k < columns; ++k) row[k] -= factor * other[k];
            }
        }
        if (!unit) {
            const {{ T }} pivot = a[i * n + i];
            for (int64_t k = 0; k < columns; ++k) row[k] /= pivot;
        }
        if (transposed) { /* subtract it from all the others: row i of a is a column of t^T */
            const int64_t stop = forward ? n : i;
            for (int64_t j = forward ? i + 1 : 0; j < stop; ++j) {
                const {{ T }} factor = a[i * n + j];
                {{ T }} *const other = x + j * columns;
                for (int64_t k = 0; k < columns; ++k) other[k] -= factor * row[k];
            }
        }
    }
}

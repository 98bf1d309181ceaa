//: gg_lu_{{ s }}
/* Gaussian elimination with partial pivoting of `count` matrices of n rows: lu[c] holds the factors L (below the diagonal,
 * which is ones) and U of a[c] with its rows in the order rows[c]; exchanges[c] counts how often two were exchanged.
 * Of a singular matrix a pivot is 0. */
static void gg_lu_{{ s }}(int64_t count, int64_t n, const {{ T }} *a, {{ T }} *lu, int64_t *rows, int64_t *exchanges)
{
    for (int64_t k = 0; k < count * n * n; ++k) lu[k] = a[k];
    for (int64_t c = 0; c < count; ++c, lu += n * n, rows += n) {
        exchanges[c] = 0;
        for (int64_t i = 0; i < n; ++i) rows[i] = i;
        for (int64_t k = 0; k < n; ++k) {
            {{ T }} *const top = lu + k * n;
            {{ T }} largest = -1;
            int64_t best = k;
            for (int64_t i = k; i < n; ++i) {
                const {{ T }} size = lu[i * n + k] < 0 ? -lu[i * n + k] : lu[i * n + k];
                if (size > largest) {
                    largest = size;
                    best = i;
                }
            }
            if (best != k) {
                {{ T }} *const other = lu + best * n;
                const int64_t row = rows[k];
                for (int64_t j = 0; j < n; ++j) {
                    const {{ T }} swapped = top[j];
                    top[j] = other[j];
                    other[j] = swapped;
                }
                rows[k] = rows[best];
                rows[best] = row;
                ++exchanges[c];
            }
            if (largest == 0) continue;
            for (int64_t i = k + 1; i < n; ++i) {
                {{ T }} *const below = lu + i * n;
                const {{ T }} factor = below[k] / top[k];
                below[k] = factor;
                for (int64_t j = k + 1; j < n; ++j) below[j] -= factor * top[j];
            }
        }
    }
}

//: gg_cholesky_{{ s }} < gg_dot_{{ s }}, gg_sqrt_{{ s }}
/* l[c] with a[c] = l[c] l[c]^T for `count` symmetric matrices of n rows, whose lower triangles are read; zeros above the
 * diagonal.  A matrix that is not positive definite gives nan everywhere. */
static void gg_cholesky_{{ s }}(int64_t count, int64_t n, const {{ T }} *a, {{ T }} *l)
{
    for (int64_t c = 0; c < count; ++c, a += n * n, l += n * n) {
        int definite = 1;
        for (int64_t i = 0; i < n && definite; ++i) {
            {{ T }} *const row = l + i * n;
            for (int64_t j = 0; j < i; ++j)
                row[j] = (a[i * n + j] - gg_dot_{{ s }}(j, row, l + j * n)) / l[j * n + j];
            row[i] = a[i * n + i] - gg_dot_{{ s }}(i, row, row);
            definite = row[i] > 0;
            row[i] = gg_sqrt_{{ s }}(row[i]);
            for (int64_t j = i + 1; j < n; ++j) row[j] = 0;
        }
        for (int64_t k = 0; k < n * n && !definite; ++k) l[k] = ({{ T }})NAN;
    }
}

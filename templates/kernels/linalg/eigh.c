//: gg_eigh_{{ s }} < gg_sqrt_{{ s }}
/* a[c] = v diag(w) v^T for `count` symmetric matrices of n rows, whose lower triangles are read: eigenvalues w[c]
 * ascending, eigenvectors the columns of v[c].  Cyclic Jacobi rotations on a copy in `work`: each makes one element off
 * the diagonal zero, and the sum of their squares falls until all are below the rounding of the diagonal. */
static void gg_eigh_{{ s }}(int64_t count, int64_t n, const {{ T }} *a, {{ T }} *w, {{ T }} *v, {{ T }} *work)
{
    for (int64_t c = 0; c < count; ++c, a += n * n, w += n, v += n * n) {
        int turned = 1;
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < n; ++j) {
                work[i * n + j] = j < i ? a[i * n + j] : a[j * n + i];
                v[i * n + j] = i == j;
            }
        for (int sweep = 0; sweep < 40 && turned; ++sweep) {
            turned = 0;
            for (int64_t p = 0; p < n; ++p)
                for (int64_t q = p + 1; q < n; ++q) {
                    const {{ T }} off = work[p * n + q], first = work[p * n + p], last = work[q * n + q];
                    const {{ T }} size = off < 0 ? -off : off;
                    const {{ T }} scale = (first < 0 ? -first : first) + (last < 0 ? -last : last);
                    if (!(scale + size > scale)) continue;
                    turned = 1;
                    const {{ T }} half = (last - first) / 2; /* tan of the angle: the smaller root of t^2 + 2 t half/off = 1 */
                    const {{ T }} ratio = half / off;
                    const {{ T }} root = gg_sqrt_{{ s }}(1 + ratio * ratio);
                    const {{ T }} t = ratio < 0 ? -1 / (root - ratio) : 1 / (root + ratio);
                    const {{ T }} cosine = 1 / gg_sqrt_{{ s }}(1 + t * t), sine = t * cosine;
                    for (int64_t k = 0; k < n; ++k) { /* columns, then rows */
                        const {{ T }} x = work[k * n + p], y = work[k * n + q];
                        work[k * n + p] = cosine * x - sine * y;
                        work[k * n + q] = sine * x + cosine * y;
                    }
                    for (int64_t k = 0; k < n; ++k) {
                        const {{ T }} x = work[p * n + k], y = work[q * n + k];
                        work[p * n + k] = cosine * x - sine * y;
                        work[q * n + k] = sine * x + cosine * y;
                    }
                    work[p * n + q] = work[q * n + p] = 0;
                    for (int64_t k = 0; k < n; ++k) { /* rows of v are eigenvectors until the end */
                        const {{ T }} x = v[p * n + k], y = v[q * n + k];
                        v[p * n + k] = cosine * x - sine * y;
                        v[q * n + k] = sine * x + cosine * y;
                    }
                }
        }
        for (int64_t i = 0; i < n; ++i) w[i] = work[i * n + i];
        for (int64_t i = 1; i < n; ++i) /* by insertion, the vectors with them */
            for (int64_t j = i; j > 0 && w[j] < w[j - 1]; --j) {
                const {{ T }} value = w[j];
                w[j] = w[j - 1];
                w[j - 1] = value;
                for (int64_t k = 0; k < n; ++k) {
                    const {{ T }} x = v[j * n + k];
                    v[j * n + k] = v[(j - 1) * n + k];
                    v[(j - 1) * n + k] = x;
                }
            }
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < i; ++j) {
                const {{ T }} x = v[i * n + j];
                v[i * n + j] = v[j * n + i];
                v[j * n + i] = x;
            }
    }
}

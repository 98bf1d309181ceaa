//: gg_svd_{{ s }} < gg_sqrt_{{ s }}
/* a[c] = u diag(w) v^T for `count` matrices of m rows and n <= m columns: singular values w[c] descending, u [m, n] and
 * v [n, n] with orthonormal columns.  One-sided Jacobi rotations (Hestenes, 1958) make the columns of a copy, scaled to a
 * largest element of 1, orthogonal; their lengths are the singular values.  Columns of length 0 become whatever makes
 * the others a basis. */
static void gg_svd_{{ s }}(int64_t count, int64_t m, int64_t n, const {{ T }} *a, {{ T }} *u, {{ T }} *w, {{ T }} *v)
{
    for (int64_t c = 0; c < count; ++c, a += m * n, u += m * n, w += n, v += n * n) {
        {{ T }} largest = 0;
        int turned = 1;
        for (int64_t k = 0; k < m * n; ++k) {
            const {{ T }} size = a[k] < 0 ? -a[k] : a[k];
            if (!(size <= largest)) largest = size;
        }
        if (largest == 0) largest = 1;
        for (int64_t k = 0; k < m * n; ++k) u[k] = a[k] / largest;
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < n; ++j) v[i * n + j] = i == j;
        for (int sweep = 0; sweep < 60 && turned; ++sweep) {
            turned = 0;
            for (int64_t p = 0; p < n; ++p)
                for (int64_t q = p + 1; q < n; ++q) {
                    {{ T }} first = 0, last = 0, off = 0;
                    for (int64_t k = 0; k < m; ++k) {
                        const {{ T }} x = u[k * n + p], y = u[k * n + q];
                        first += x * x;
                        last += y * y;
                        off += x * y;
                    }
                    const {{ T }} size = off < 0 ? -off : off;
                    const {{ T }} scale = gg_sqrt_{{ s }}(first) * gg_sqrt_{{ s }}(last);
                    if (!(scale + size > scale)) continue;
                    turned = 1;
                    const {{ T }} half = (last - first) / 2; /* tan of the angle: the smaller root of t^2 + 2 t half/off = 1 */
                    const {{ T }} ratio = half / off;
                    const {{ T }} root = gg_sqrt_{{ s }}(1 + ratio * ratio);
                    const {{ T }} t = ratio < 0 ? -1 / (root - ratio) : 1 / (root + ratio);
                    const {{ T }} cosine = 1 / gg_sqrt_{{ s }}(1 + t * t), sine = t * cosine;
                    for (int64_t k = 0; k < m; ++k) {
                        const {{ T }} x = u[k * n + p], y = u[k * n + q];
                        u[k * n + p] = cosine * x - sine * y;
                        u[k * n + q] = sine * x + cosine * y;
                    }
                    for (int64_t k = 0; k < n; ++k) {
                        const {{ T }} x = v[k * n + p], y = v[k * n + q];
                        v[k * n + p] = cosine * x - sine * y;
                        v[k * n + q] = sine * x + cosine * y;
                    }
                }
        }
        for (int64_t j = 0; j < n; ++j) {
            {{ T }} sum = 0;
            for (int64_t k = 0; k < m; ++k) sum += u[k * n + j] * u[k * n + j];
            w[j] = gg_sqrt_{{ s }}(sum);
        }
        for (int64_t i = 1; i < n; ++i) /* by insertion, the vectors with them */
            for (int64_t j = i; j > 0 && w[j] > w[j - 1]; --j) {
                const {{ T }} value = w[j];
                w[j] = w[j - 1];
                w[j - 1] = value;
                for (int64_t k = 0; k < m; ++k) {
                    const {{ T }} x = u[k * n + j];
                    u[k * n + j] = u[k * n + j - 1];
                    u[k * n + j - 1] = x;
                }
                for (int64_t k = 0; k < n; ++k) {
                    const {{ T }} x = v[k * n + j];
                    v[k * n + j] = v[k * n + j - 1];
                    v[k * n + j - 1] = x;
                }
            }
        for (int64_t j = 0; j < n; ++j) {
            if (w[j] != 0) {
                for (int64_t k = 0; k < m; ++k) u[k * n + j] /= w[j];
            } else { /* the unit vector that is farthest from the columns before, made orthogonal to them, twice */
                int64_t best = 0;
                {{ T }} least = 2;
                for (int64_t k = 0; k < m; ++k) {
                    {{ T }} inside = 0;
                    for (int64_t i = 0; i < j; ++i) inside += u[k * n + i] * u[k * n + i];
                    if (inside < least) {
                        least = inside;
                        best = k;
                    }
                }
                for (int64_t k = 0; k < m; ++k) u[k * n + j] = k == best;
                for (int round = 0; round < 2; ++round) {
                    {{ T }} sum = 0;
                    for (int64_t i = 0; i < j; ++i) {
                        {{ T }} dot = 0;
                        for (int64_t k = 0; k < m; ++k) dot += u[k * n + i] * u[k * n + j];
                        for (int64_t k = 0; k < m; ++k) u[k * n + j] -= dot * u[k * n + i];
                    }
                    for (int64_t k = 0; k < m; ++k) sum += u[k * n + j] * u[k * n + j];
                    sum = gg_sqrt_{{ s }}(sum);
                    for (int64_t k = 0; k < m; ++k) u[k * n + j] /= sum;
                }
            }
            w[j] *= largest;
        }
    }
}

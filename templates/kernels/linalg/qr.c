//: gg_qr_{{ s }} < gg_sqrt_{{ s }}
/* a[c] = q[c] r[c] for `count` matrices of m rows and n <= m columns: q [m, n] with orthonormal columns, r [n, n] upper.
 * Householder reflections of a copy in `work` [m, n]; `tau` holds their factors.  The signs are those of LAPACK. */
static void gg_qr_{{ s }}(int64_t count, int64_t m, int64_t n, const {{ T }} *a, {{ T }} *q, {{ T }} *r, {{ T }} *work, {{ T }} *tau)
{
    for (int64_t c = 0; c < count; ++c, a += m * n, q += m * n, r += n * n) {
        for (int64_t k = 0; k < m * n; ++k) work[k] = a[k];
        for (int64_t k = 0; k < n; ++k) {
            {{ T }} largest = 0, sum = 0;
            for (int64_t i = k + 1; i < m; ++i) {
                const {{ T }} x = work[i * n + k], size = x < 0 ? -x : x;
                if (!(size <= largest)) largest = size;
            }
            const {{ T }} alpha = work[k * n + k];
            tau[k] = 0;
            if (largest == 0) continue;
            if (alpha > largest || -alpha > largest) largest = alpha < 0 ? -alpha : alpha;
            for (int64_t i = k; i < m; ++i) sum += (work[i * n + k] / largest) * (work[i * n + k] / largest);
            const {{ T }} norm = largest * gg_sqrt_{{ s }}(sum), beta = alpha < 0 ? norm : -norm;
            tau[k] = (beta - alpha) / beta;
            for (int64_t i = k + 1; i < m; ++i) work[i * n + k] /= alpha - beta;
            work[k * n + k] = beta;
            for (int64_t j = k + 1; j < n; ++j) {
                {{ T }} dot = work[k * n + j];
                for (int64_t i = k + 1; i < m; ++i) dot += work[i * n + k] * work[i * n + j];
                dot *= tau[k];
                work[k * n + j] -= dot;
                for (int64_t i = k + 1; i < m; ++i) work[i * n + j] -= dot * work[i * n + k];
            }
        }
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < n; ++j) r[i * n + j] = j < i ? 0 : work[i * n + j];
        for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < n; ++j) q[i * n + j] = i == j;
        for (int64_t k = n; k-- > 0;)
            for (int64_t j = k; j < n; ++j) {
                {{ T }} dot = q[k * n + j];
                for (int64_t i = k + 1; i < m; ++i) dot += work[i * n + k] * q[i * n + j];
                dot *= tau[k];
                q[k * n + j] -= dot;
                for (int64_t i = k + 1; i < m; ++i) q[i * n + j] -= dot * work[i * n + k];
            }
    }
}

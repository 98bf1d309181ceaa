//: gg_logabsdet_{{ s }} < gg_log_{{ s }}
/* log |det| of `count` matrices from their factors: the logarithms of the pivots' sizes, added. */
static void gg_logabsdet_{{ s }}(int64_t count, int64_t n, const {{ T }} *lu, {{ T }} *total)
{
    for (int64_t c = 0; c < count; ++c, lu += n * n) {
        total[c] = 0;
        for (int64_t i = 0; i < n; ++i) {
            const {{ T }} pivot = lu[i * n + i];
            total[c] += gg_log_{{ s }}(pivot < 0 ? -pivot : pivot);
        }
    }
}

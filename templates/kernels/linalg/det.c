//: gg_det_{{ s }}
/* det[c] of `count` matrices from their factors: the product of the pivots, its sign changed by every exchange. */
static void gg_det_{{ s }}(int64_t count, int64_t n, const {{ T }} *lu, const int64_t *exchanges, {{ T }} *det)
{
    for (int64_t c = 0; c < count; ++c, lu += n * n) {
        det[c] = exchanges[c] % 2 ? ({{ T }})-1 : ({{ T }})1;
        for (int64_t i = 0; i < n; ++i) det[c] *= lu[i * n + i];
    }
}

//: gg_log_f32 < GG_INLINE, gg_pair_f32, gg_split_f32, gg_log_sum_f32
/* log(x) = k ln 2 + log(m), x = 2^k m. Measured: at most 0.76 ulp. */
GG_INLINE float gg_log_f32(float x)
{
    gg_pair_f32 q = gg_split_f32(x);
    float y = gg_log_sum_f32(q.lo, q.hi - 1.0f);
    y = x == INFINITY ? x : y;
    y = x == 0.0f ? -INFINITY : y;
    return x >= 0.0f ? y : NAN;
}

//: gg_log_f64 < GG_INLINE, gg_pair_f64, gg_split_f64, gg_log_sum_f64
/* log(x) = k ln 2 + log(m), x = 2^k m. Measured: at most 0.74 ulp. */
GG_INLINE double gg_log_f64(double x)
{
    gg_pair_f64 q = gg_split_f64(x);
    double y = gg_log_sum_f64(q.lo, q.hi - 1.0);
    y = x == HUGE_VAL ? x : y;
    y = x == 0.0 ? -HUGE_VAL : y;
    return x >= 0.0 ? y : (double)NAN;
}

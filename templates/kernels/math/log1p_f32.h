/* log(1 + x + lo), lo a small correction: 1 + x = u + c exactly, u = 2^k m, and f = (m - 1) + 2^-k (c + lo), so
 * that f = x where k = 0 and nothing is lost to the rounding of 1 + x. Right for -1 < x < infinity, but for the
 * sign of -0. Measured: at most 1.34 ulp. */
GG_INLINE float gg_log1p_finite_f32(float x, float lo)
{
    gg_pair_f32 u = gg_two_sum_f32(1.0f, x);
    uint32_t i = gg_bits_f32(u.hi) + (0x3f800000u - 0x3f3504f3u);
    uint32_t e = i >> 23;
    float f = gg_from_bits_f32((i & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float shrink = gg_from_bits_f32(((254u - e) & (((e + 1u) >> 8) - 1u)) << 23); /* e = 255: 0 */
    return gg_log_sum_f32((float)(int32_t)e - 127.0f, f + (u.lo + lo) * shrink);
}

GG_INLINE float gg_log1p_f32(float x)
{
    float y = gg_log1p_finite_f32(x, 0.0f);
    y = x == INFINITY ? x : y;
    y = x == -1.0f ? -INFINITY : y;
    y = x == 0.0f ? x : y;
    return x >= -1.0f ? y : NAN;
}

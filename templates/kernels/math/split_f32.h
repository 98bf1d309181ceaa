/* x = 2^k m with m in [sqrt(1/2), sqrt(2)), for positive finite x, subnormal ones included: hi = m, lo = k. */
GG_INLINE gg_pair_f32 gg_split_f32(float x)
{
    float scaled = x < 1.17549435e-38f ? x * 33554432.0f : x;
    float bias = x < 1.17549435e-38f ? 152.0f : 127.0f;
    uint32_t u = gg_bits_f32(scaled) + (0x3f800000u - 0x3f3504f3u);
    gg_pair_f32 r;
    r.hi = gg_from_bits_f32((u & 0x007fffffu) + 0x3f3504f3u);
    r.lo = (float)(int32_t)(u >> 23) - bias;
    return r;
}

//: gg_split_f32 < GG_INLINE, gg_pair_f32, gg_bits_f32, gg_from_bits_f32
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

//: gg_split_f64 < GG_INLINE, gg_pair_f64, gg_bits_f64, gg_from_bits_f64
/* x = 2^k m with m in [sqrt(1/2), sqrt(2)), for positive finite x, subnormal ones included: hi = m, lo = k. (k
 * reaches double through the bits of 2^52 + k: SSE2 and AVX2 have no packed conversion of 64-bit integers.) */
GG_INLINE gg_pair_f64 gg_split_f64(double x)
{
    double scaled = x < 2.2250738585072014e-308 ? x * 18014398509481984.0 : x;
    double bias = x < 2.2250738585072014e-308 ? 4503599627370496.0 + 1077.0 : 4503599627370496.0 + 1023.0;
    uint64_t u = gg_bits_f64(scaled) + (UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd));
    gg_pair_f64 r;
    r.hi = gg_from_bits_f64((u & UINT64_C(0x000fffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd));
    r.lo = gg_from_bits_f64((u >> 52) | UINT64_C(0x4330000000000000)) - bias;
    return r;
}

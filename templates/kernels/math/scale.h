//: gg_scale_f32 < GG_INLINE, gg_from_bits_f32
/* p * 2^n for p near 1 and -250 < n < 250, rounded once: by two factors, so that neither a subnormal result nor an
 * overflowing one goes wrong on the way. u are the bits of 12583166 + n, whose last ten are n + 254: the factors'
 * biased exponents are half of that, the last bit left off, and the rest. */
GG_INLINE float gg_scale_f32(float p, uint32_t u)
{
    uint32_t first = (u << 22) & 0x7f800000u;
    return p * gg_from_bits_f32(first) * gg_from_bits_f32((u << 23) - first);
}

//: gg_scale_f64 < GG_INLINE, gg_from_bits_f64
/* p * 2^n for p near 1 and -2000 < n < 2000, rounded once: by two factors, so that neither a subnormal result nor an
 * overflowing one goes wrong on the way. u are the bits of 6755399441057790 + n, whose last 13 are n + 2046: the
 * factors' biased exponents are half of that, the last bit left off, and the rest. */
GG_INLINE double gg_scale_f64(double p, uint64_t u)
{
    uint64_t first = (u << 51) & UINT64_C(0x7ff0000000000000);
    return p * gg_from_bits_f64(first) * gg_from_bits_f64((u << 52) - first);
}

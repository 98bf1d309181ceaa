/* p * 2^n for p near 1 and -250 < n < 250, rounded once: by two factors, so that neither a subnormal result nor an
 * overflowing one goes wrong on the way. u are the bits of 12583166 + n, whose last ten are n + 254: the factors'
 * biased exponents are half of that, the last bit left off, and the rest. */
GG_INLINE float gg_scale_f32(float p, uint32_t u)
{
    uint32_t first = (u << 22) & 0x7f800000u;
    return p * gg_from_bits_f32(first) * gg_from_bits_f32((u << 23) - first);
}

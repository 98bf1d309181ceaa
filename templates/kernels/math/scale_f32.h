/* p * 2^k for p near 1 and -300 < k < 300 (two's complement in k), rounded once: in two steps, so that neither a
 * subnormal result nor an overflowing one goes wrong on the way. */
GG_INLINE float gg_scale_f32(float p, uint32_t k)
{
    uint32_t half = ((k + 1024u) >> 1) - 512u;
    return p * gg_from_bits_f32((half + 127u) << 23) * gg_from_bits_f32((k - half + 127u) << 23);
}

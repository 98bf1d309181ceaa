/* p * 2^k for p near 1 and -2100 < k < 2100 (two's complement in k), rounded once: in two steps, so that neither a
 * subnormal result nor an overflowing one goes wrong on the way. */
GG_INLINE double gg_scale_f64(double p, uint64_t k)
{
    uint64_t half = ((k + 8192u) >> 1) - 4096u;
    return p * gg_from_bits_f64((half + 1023u) << 52) * gg_from_bits_f64((k - half + 1023u) << 52);
}

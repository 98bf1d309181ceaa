/* |x|^y = e^(y log|x|), log and product in pairs; then what C99 (F.9.4.4) and IEEE 754 say of zeros, infinities,
 * nan, and negative x: a sign for an odd y, nan for a y that is not an integer. Measured: at most 0.91 ulp. */
GG_INLINE float gg_pow_f32(float x, float y)
{
    float a = fabsf(x), b = fabsf(y), half = b * 0.5f;
    gg_pair_f32 l = gg_log_pair_f32(a), t = gg_two_prod_f32(y, l.hi);
    float up = b + 8388608.0f, whole = up - 8388608.0f, half_up = half + 8388608.0f, half_whole = half_up - 8388608.0f;
    int integer = (b >= 8388608.0f) | (whole == b);
    int odd = integer & (b < 16777216.0f) & (half_whole != half);
    float low = fabsf(t.hi) < 200.0f ? t.lo + y * l.lo : 0.0f;
    float r = gg_exp_ext_f32(t.hi, low, 0u);
    float flat = y < 0.0f ? INFINITY : 0.0f; /* 0^y */
    uint32_t sign = odd ? gg_bits_f32(x) & 0x80000000u : 0u;
    r = a == 0.0f ? flat : r;
    r = a == INFINITY ? (y < 0.0f ? 0.0f : INFINITY) : r;
    r = a == 1.0f ? 1.0f : r;
    r = gg_from_bits_f32(gg_bits_f32(r) | sign);
    r = ((x < 0.0f) & (x > -INFINITY) & (integer == 0)) ? NAN : r;
    r = ((x != x) | (y != y)) ? NAN : r;
    return ((y == 0.0f) | (x == 1.0f)) ? 1.0f : r;
}

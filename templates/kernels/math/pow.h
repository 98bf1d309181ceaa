//= bits: 32 | 64
//: gg_pow_f32 < GG_INLINE, gg_pair_f32, gg_log_pair_f32, gg_two_prod_f32, gg_exp_ext_f32, gg_bits_f32, gg_from_bits_f32
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

//: gg_pow_f64 < GG_INLINE, gg_pair_f64, gg_log_pair_f64, gg_two_prod_f64, gg_exp_ext_f64, gg_bits_f64, gg_from_bits_f64
/* |x|^y = e^(y log|x|), log and product in pairs; then what C99 (F.9.4.4) and IEEE 754 say of zeros, infinities,
 * nan, and negative x: a sign for an odd y, nan for a y that is not an integer. Measured: at most 1.15 ulp. */
GG_INLINE double gg_pow_f64(double x, double y)
{
    double a = fabs(x), b = fabs(y), half = b * 0.5;
    gg_pair_f64 l = gg_log_pair_f64(a), t = gg_two_prod_f64(y, l.hi);
    double up = b + 4503599627370496.0, whole = up - 4503599627370496.0;
    double half_up = half + 4503599627370496.0, half_whole = half_up - 4503599627370496.0;
    int integer = (b >= 4503599627370496.0) | (whole == b);
    int odd = integer & (b < 9007199254740992.0) & (half_whole != half);
    double low = fabs(t.hi) < 2000.0 ? t.lo + y * l.lo : 0.0;
    double r = gg_exp_ext_f64(t.hi, low, 0u);
    double flat = y < 0.0 ? HUGE_VAL : 0.0; /* 0^y */
    uint64_t sign = odd ? gg_bits_f64(x) & UINT64_C(0x8000000000000000) : 0u;
    r = a == 0.0 ? flat : r;
    r = a == HUGE_VAL ? (y < 0.0 ? 0.0 : HUGE_VAL) : r;
    r = a == 1.0 ? 1.0 : r;
    r = gg_from_bits_f64(gg_bits_f64(r) | sign);
    r = ((x < 0.0) & (x > -HUGE_VAL) & (integer == 0)) ? (double)NAN : r;
    r = ((x != x) | (y != y)) ? (double)NAN : r;
    return ((y == 0.0) | (x == 1.0)) ? 1.0 : r;
}

//: gg_pow_{{ i }} < GG_INLINE
/* a^b modulo 2^{{ bits }} by squaring; for negative b, as torch.pow: 1 for a = 1, +-1 for a = -1, else 0. */
GG_INLINE {{ T }} gg_pow_{{ i }}({{ T }} a, {{ T }} b)
{
    {{ U }} result = 1u, power = ({{ U }})a, left = b < 0 ? 0u : ({{ U }})b;
    {{ T }} sign = (b & 1) != 0 ? -1 : 1;
    while (left != 0u) {
        result = (left & 1u) != 0u ? result * power : result;
        power = power * power;
        left >>= 1;
    }
    return b >= 0 ? ({{ T }})result : (a == 1 ? 1 : (a == -1 ? sign : 0));
}

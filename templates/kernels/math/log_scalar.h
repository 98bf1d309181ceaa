//: gg_log_far_scalar_{{ s }} < GG_NOINLINE, gg_log_{{ s }}
/* log(x) as in vector code, for code that is not a vector loop: a predicted branch for normal finite x in place of
 * choosing among results, and the polynomial by Estrin's scheme, which waits less. */
GG_NOINLINE {{ T }} gg_log_far_scalar_{{ s }}({{ T }} x)
{
    return gg_log_{{ s }}(x);
}

//: gg_log_scalar_f32 < GG_INLINE, gg_bits_f32, gg_from_bits_f32, gg_log_far_scalar_f32
GG_INLINE float gg_log_scalar_f32(float x)
{
    uint32_t bits = gg_bits_f32(x);
    if (bits - 0x00800000u < 0x7f000000u) {
        uint32_t u = bits + (0x3f800000u - 0x3f3504f3u);
        float f = gg_from_bits_f32((u & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
        float k = (float)((int32_t)(u >> 23) - 127), s = f / (2.0f + f), half = 0.5f * f * f, z = s * s;
        float p = (0.6666666f + z * 0.4000085f) + z * z * (0.2851014f + z * 0.24029201f);
        return k * 0.693359375f - ((half - (s * (half + z * p) + k * -0.000212194442f)) - f);
    }
    return gg_log_far_scalar_f32(x);
}

//: gg_log_scalar_f64 < GG_INLINE, gg_bits_f64, gg_from_bits_f64, gg_log_far_scalar_f64
GG_INLINE double gg_log_scalar_f64(double x)
{
    uint64_t bits = gg_bits_f64(x);
    if (bits - UINT64_C(0x0010000000000000) < UINT64_C(0x7fe0000000000000)) {
        uint64_t u = bits + (UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd));
        double f = gg_from_bits_f64((u & UINT64_C(0x000fffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd)) - 1.0;
        double k = (double)((int64_t)(u >> 52) - 1023), s = f / (2.0 + f), half = 0.5 * f * f, z = s * s, w = z * z;
        double p = ((0.6666666666666734 + z * 0.39999999999416613) + w * (0.2857142874205724 + z * 0.22222198599141568))
            + w * w * ((0.18183563321191099 + z * 0.15314068602327977) + w * 0.14795837679767765);
        double tail = s * (half + z * p) + k * 1.9082149292705877e-10;
        return k * 0.69314718036912381649017333984375 - ((half - tail) - f);
    }
    return gg_log_far_scalar_f64(x);
}

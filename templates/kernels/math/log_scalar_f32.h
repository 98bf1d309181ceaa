/* log(x) as in vector code, for code that is not a vector loop: a predicted branch for normal finite x in place of
 * choosing among results, and the polynomial by Estrin's scheme, which waits less. */
GG_NOINLINE float gg_log_far_scalar_f32(float x)
{
    return gg_log_f32(x);
}

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

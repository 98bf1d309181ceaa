/* log(1+f) = f - f^2/2 + s (f^2/2 + R(s^2)), s = f/(2+f), for m = 1+f in [sqrt(1/2), sqrt(2)) (the reduction of
 * FDLIBM's e_log.c, Sun Microsystems 1993); s R by a minimax polynomial, relative error 2^-35. log(x) = k ln 2 +
 * log(m). */
GG_INLINE float gg_log_tail_f32(float z)
{
    float p = 0.24029201f;
    p = p * z + 0.2851014f;
    p = p * z + 0.4000085f;
    p = p * z + 0.6666666f;
    return p * z;
}

/* k ln 2 + log(1 + f) */
GG_INLINE float gg_log_sum_f32(float k, float f)
{
    float s = f / (2.0f + f), half = 0.5f * f * f;
    float r = gg_log_tail_f32(s * s);
    return k * 0.693359375f - ((half - (s * (half + r) + k * -0.000212194442f)) - f);
}

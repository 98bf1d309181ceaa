//: gg_log_tail_f32 < GG_INLINE
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

//: gg_log_tail_f64 < GG_INLINE
/* log(1+f) = f - f^2/2 + s (f^2/2 + R(s^2)), s = f/(2+f), for m = 1+f in [sqrt(1/2), sqrt(2)) (the reduction of
 * FDLIBM's e_log.c, Sun Microsystems 1993); s R by a minimax polynomial, relative error 2^-59. log(x) = k ln 2 +
 * log(m). */
GG_INLINE double gg_log_tail_f64(double z)
{
    double p = 0.14795837679767765;
    p = p * z + 0.15314068602327977;
    p = p * z + 0.18183563321191099;
    p = p * z + 0.22222198599141568;
    p = p * z + 0.2857142874205724;
    p = p * z + 0.39999999999416613;
    p = p * z + 0.6666666666666734;
    return p * z;
}

//: gg_log_sum_f32 < GG_INLINE, gg_log_tail_f32
/* k ln 2 + log(1 + f) */
GG_INLINE float gg_log_sum_f32(float k, float f)
{
    float s = f / (2.0f + f), half = 0.5f * f * f;
    float r = gg_log_tail_f32(s * s);
    return k * 0.693359375f - ((half - (s * (half + r) + k * -0.000212194442f)) - f);
}

//: gg_log_sum_f64 < GG_INLINE, gg_log_tail_f64
/* k ln 2 + log(1 + f) */
GG_INLINE double gg_log_sum_f64(double k, double f)
{
    double s = f / (2.0 + f), half = 0.5 * f * f;
    double r = gg_log_tail_f64(s * s);
    return k * 0.69314718036912381649017333984375 - ((half - (s * (half + r) + k * 1.9082149292705877e-10)) - f);
}

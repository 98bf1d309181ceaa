//: gg_sigmoid_scalar_f32 < GG_INLINE, gg_exp_scalar_f32
/* The logistic function as in vector code, by the exponential of one number at a time. */
GG_INLINE float gg_sigmoid_scalar_f32(float x)
{
    float e = gg_exp_scalar_f32(-fabsf(x));
    float d = 1.0f + e, lost = e - (d - 1.0f);
    float y = (x < 0.0f ? e : 1.0f) / d;
    return y - y * lost * (x < 0.0f ? 1.0f - y : y);
}

//: gg_sigmoid_scalar_f64 < GG_INLINE, gg_exp_scalar_f64
/* The logistic function as in vector code, by the exponential of one number at a time. */
GG_INLINE double gg_sigmoid_scalar_f64(double x)
{
    double e = gg_exp_scalar_f64(-fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

//: gg_acosh_f32 < GG_INLINE, gg_pair_f32, gg_two_sum_f32, gg_two_prod_f32, gg_log1p_finite_f32
/* log1p(t + sqrt(t (x + 1))), t = x - 1, product, root and sum in two parts; log(x) + log(2) for large x. Measured:
 * at most 1.46 ulp. Measured: at most 1.46 ulp. */
GG_INLINE float gg_acosh_f32(float x)
{
    float t = x - 1.0f, root, low, y;
    gg_pair_f32 plus = gg_two_sum_f32(x, 1.0f), v = gg_two_prod_f32(t, plus.hi), square, u;
    int large = x > 268435456.0f;
    root = sqrtf(v.hi);
    square = gg_two_prod_f32(root, root);
    low = (((v.hi - square.hi) - square.lo) + (v.lo + t * plus.lo)) / (root + root);
    u = gg_two_sum_f32(t, root);
    y = gg_log1p_finite_f32(large ? x : u.hi, large ? 0.0f : u.lo + low) + (large ? 0.6931472f : 0.0f);
    y = x == INFINITY ? x : y;
    y = x == 1.0f ? 0.0f : y;
    return x >= 1.0f ? y : NAN;
}

//: gg_acosh_f64 < GG_INLINE, gg_pair_f64, gg_two_sum_f64, gg_two_prod_f64, gg_log1p_finite_f64
/* log1p(t + sqrt(t (x + 1))), t = x - 1, product, root and sum in two parts; log(x) + log(2) for large x. Measured:
 * at most 1.38 ulp. Measured: at most 1.38 ulp. */
GG_INLINE double gg_acosh_f64(double x)
{
    double t = x - 1.0, root, low, y;
    gg_pair_f64 plus = gg_two_sum_f64(x, 1.0), v = gg_two_prod_f64(t, plus.hi), square, u;
    int large = x > 36028797018963968.0;
    root = sqrt(v.hi);
    square = gg_two_prod_f64(root, root);
    low = (((v.hi - square.hi) - square.lo) + (v.lo + t * plus.lo)) / (root + root);
    u = gg_two_sum_f64(t, root);
    y = gg_log1p_finite_f64(large ? x : u.hi, large ? 0.0 : u.lo + low) + (large ? 0.6931471805599453 : 0.0);
    y = x == HUGE_VAL ? x : y;
    y = x == 1.0 ? 0.0 : y;
    return x >= 1.0 ? y : (double)NAN;
}

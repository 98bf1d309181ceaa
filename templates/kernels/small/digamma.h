//: gg_digamma_f32
static inline float gg_digamma_f32(float a)
{
    float x = a, shift = 0.0f, y;
    if (a == 0.0f) return -1.0f / a;
    if (a < 0.0f) {
        const float part = a - floorf(a);
        if (part == 0.0f) return NAN;
        shift = -3.14159265358979323846f / tanf(3.14159265358979323846f * part);
        x = 1.0f - a;
    }
    for (; x < 10.0f; x += 1.0f) shift -= 1.0f / x;
    y = 1.0f / (x * x);
    return shift + logf(x) - 0.5f / x
        - y * (1.0f / 12.0f - y * (1.0f / 120.0f - y * (1.0f / 252.0f
        - y * (1.0f / 240.0f
        - y * (1.0f / 132.0f - y * (691.0f / 32760.0f - y / 12.0f))))));
}

//: gg_digamma_f64
static inline double gg_digamma_f64(double a)
{
    double x = a, shift = 0.0, y;
    if (a == 0.0) return -1.0 / a;
    if (a < 0.0) {
        const double part = a - floor(a);
        if (part == 0.0) return (double)NAN;
        shift = -3.14159265358979323846 / tan(3.14159265358979323846 * part);
        x = 1.0 - a;
    }
    for (; x < 10.0; x += 1.0) shift -= 1.0 / x;
    y = 1.0 / (x * x);
    return shift + log(x) - 0.5 / x
        - y * (1.0 / 12.0 - y * (1.0 / 120.0 - y * (1.0 / 252.0
        - y * (1.0 / 240.0
        - y * (1.0 / 132.0 - y * (691.0 / 32760.0 - y / 12.0))))));
}

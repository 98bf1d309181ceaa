//: gg_dot_{{ s }}
/* sum_k a[k] b[k], in eight partial sums. */
static {{ T }} gg_dot_{{ s }}(int64_t n, const {{ T }} *a, const {{ T }} *b)
{
    {{ T }} part[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    int64_t k = 0;
    for (; k + 8 <= n; k += 8)
        for (int j = 0; j < 8; ++j) part[j] += a[k + j] * b[k + j];
    for (int j = 0; k < n; ++k, ++j) part[j] += a[k] * b[k];
    return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

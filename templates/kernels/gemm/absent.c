//= exponent: 0x7f800000u | UINT64_C(0x7ff0000000000000)
//= sign: 0x80000000u | UINT64_C(0x8000000000000000)
//: gg_all_finite_{{ s }}, gg_gemm_absent_{{ s }} < GG_KERNEL
/* Products over windows: what lies outside is -0 in a matrix of windows.  As long as the other matrix is finite that
 * adds nothing; where it is not, 0 * inf would be nan, and terms that are not there are left out one by one. */
GG_KERNEL int gg_all_finite_{{ s }}(ptrdiff_t rows, ptrdiff_t columns, const {{ T }} *x, ptrdiff_t down, ptrdiff_t across)
{
    {{ U }} bad = 0;
    ptrdiff_t i, j;
    if (down == 1) {
        const ptrdiff_t count = rows;
        down = across;
        across = 1;
        rows = columns;
        columns = count;
    }
    for (i = 0; i < rows; ++i, x += down) {
        if (across == 1) /* as vectors */
            for (j = 0; j < columns; ++j) {
                {{ U }} bits;
                memcpy(&bits, x + j, sizeof bits);
                bad |= ({{ U }})((bits & {{ exponent }}) == {{ exponent }});
            }
        else
            for (j = 0; j < columns; ++j) {
                {{ U }} bits;
                memcpy(&bits, x + j * across, sizeof bits);
                bad |= ({{ U }})((bits & {{ exponent }}) == {{ exponent }});
            }
    }
    return bad == 0;
}

GG_KERNEL void gg_gemm_absent_{{ s }}(
    ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const {{ T }} *a, ptrdiff_t as_m, ptrdiff_t as_k, const {{ T }} *b,
    ptrdiff_t bs_k, ptrdiff_t bs_n, {{ T }} *c, ptrdiff_t cs_m, ptrdiff_t cs_n, int accumulate, int of_a, int of_b)
{
    ptrdiff_t i, j, p;
    for (i = 0; i < m; ++i)
        for (j = 0; j < n; ++j) {
            {{ T }} sum = 0;
            for (p = 0; p < k; ++p) {
                const {{ T }} x = a[i * as_m + p * as_k], y = b[p * bs_k + j * bs_n];
                {{ U }} of_x, of_y;
                memcpy(&of_x, &x, sizeof of_x);
                memcpy(&of_y, &y, sizeof of_y);
                if (!((of_a && of_x == {{ sign }}) || (of_b && of_y == {{ sign }}))) sum += x * y;
            }
            if (accumulate)
                c[i * cs_m + j * cs_n] += sum;
            else
                c[i * cs_m + j * cs_n] = sum;
        }
}

/* Towards zero; nan and what does not fit become the smallest integer, as the instruction of x86 has it. */
GG_INLINE int32_t gg_to_i32_f64(double x)
{
    return (int32_t)(((x > -2147483649.0) & (x < 2147483648.0)) ? x : -2147483648.0);
}

/* Towards zero; nan and what does not fit become the smallest integer, as the instruction of x86 has it. */
GG_INLINE int32_t gg_to_i32_f32(float x)
{
    return (int32_t)(((x >= -2147483648.0f) & (x < 2147483648.0f)) ? x : -2147483648.0f);
}

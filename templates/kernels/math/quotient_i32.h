/* a / b towards zero with its remainder, for every a and b: 0 and 0 for b = 0, and the smallest integer over -1
 * wraps to itself, where the machine's instruction would trap. */
typedef struct {
    int32_t quotient, remainder;
} gg_quotient_i32;

GG_INLINE gg_quotient_i32 gg_divide_i32(int32_t a, int32_t b)
{
    int32_t safe = ((b == 0) | (b == -1)) ? 1 : b;
    gg_quotient_i32 r;
    r.quotient = b == -1 ? (int32_t)((uint32_t)0 - (uint32_t)a) : a / safe;
    r.quotient = b == 0 ? 0 : r.quotient;
    r.remainder = a % safe;
    return r;
}

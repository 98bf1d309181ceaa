//: gg_floor_quotient
/* floor(a / b) for b > 0. */
static inline {{ counter }} gg_floor_quotient({{ counter }} a, {{ counter }} b)
{
    return b <= 0 ? 0 : a / b - (a % b < 0);
}

//: gg_floor_modulus
/* a - b * floor(a / b) for b > 0. */
static inline {{ counter }} gg_floor_modulus({{ counter }} a, {{ counter }} b)
{
    return b <= 0 ? 0 : a % b + (a % b < 0 ? b : 0);
}

//: gg_least
static inline {{ counter }} gg_least({{ counter }} a, {{ counter }} b)
{
    return a < b ? a : b;
}

//: gg_greatest
static inline {{ counter }} gg_greatest({{ counter }} a, {{ counter }} b)
{
    return a > b ? a : b;
}

//: gg_at
static inline void *gg_at(void *block, size_t offset)
{
    return (unsigned char *)block + offset;
}

//: gg_at_if
/* NULL in a block that is not there. */
static inline void *gg_at_if(void *block, size_t offset)
{
    return block == NULL ? NULL : (unsigned char *)block + offset;
}

//: gg_floor_quotient_wide
/* floor(a / b) for b > 0, of a position that may be anything. */
static inline int64_t gg_floor_quotient_wide(int64_t a, int64_t b)
{
    return b <= 0 ? 0 : a / b - (a % b < 0);
}

//: gg_floor_modulus_wide
/* a - b * floor(a / b) for b > 0, of a position that may be anything. */
static inline int64_t gg_floor_modulus_wide(int64_t a, int64_t b)
{
    return b <= 0 ? 0 : a % b + (a % b < 0 ? b : 0);
}

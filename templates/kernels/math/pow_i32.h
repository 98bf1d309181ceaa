/* a^b modulo 2^32 by squaring; for negative b, as torch.pow: 1 for a = 1, +-1 for a = -1, else 0. */
GG_INLINE int32_t gg_pow_i32(int32_t a, int32_t b)
{
    uint32_t result = 1u, power = (uint32_t)a, left = b < 0 ? 0u : (uint32_t)b;
    int32_t sign = (b & 1) != 0 ? -1 : 1;
    while (left != 0u) {
        result = (left & 1u) != 0u ? result * power : result;
        power = power * power;
        left >>= 1;
    }
    return b >= 0 ? (int32_t)result : (a == 1 ? 1 : (a == -1 ? sign : 0));
}

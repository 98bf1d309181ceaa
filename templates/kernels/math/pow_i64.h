/* a^b modulo 2^64 by squaring; for negative b, as torch.pow: 1 for a = 1, +-1 for a = -1, else 0. */
GG_INLINE int64_t gg_pow_i64(int64_t a, int64_t b)
{
    uint64_t result = 1u, power = (uint64_t)a, left = b < 0 ? 0u : (uint64_t)b;
    int64_t sign = (b & 1) != 0 ? -1 : 1;
    while (left != 0u) {
        result = (left & 1u) != 0u ? result * power : result;
        power = power * power;
        left >>= 1;
    }
    return b >= 0 ? (int64_t)result : (a == 1 ? 1 : (a == -1 ? sign : 0));
}

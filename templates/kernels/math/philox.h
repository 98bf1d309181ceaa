//: gg_philox_words
/* Random numbers: Philox 4x32 with ten rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011): 128 bits that follow from a counter and a key, low words first.  There is no state. */
typedef struct {
    uint32_t a, b, c, d;
} gg_philox_words;

//: gg_philox_round < GG_INLINE, gg_philox_words
/* Round `k`, whose keys lie k times the golden ratio and k times sqrt(3) - 1 further, as fractions of 2^32. */
GG_INLINE gg_philox_words gg_philox_round(gg_philox_words x, uint32_t key_a, uint32_t key_b, uint32_t k)
{
    const uint64_t p = (uint64_t)x.a * UINT32_C(0xD2511F53);
    const uint64_t q = (uint64_t)x.c * UINT32_C(0xCD9E8D57);
    gg_philox_words y;
    y.a = (uint32_t)(q >> 32) ^ x.b ^ (uint32_t)(key_a + k * UINT32_C(0x9E3779B9));
    y.b = (uint32_t)(q & UINT32_C(0xFFFFFFFF));
    y.c = (uint32_t)(p >> 32) ^ x.d ^ (uint32_t)(key_b + k * UINT32_C(0xBB67AE85));
    y.d = (uint32_t)(p & UINT32_C(0xFFFFFFFF));
    return y;
}

//: gg_philox < GG_INLINE, gg_philox_words, gg_philox_round
GG_INLINE gg_philox_words gg_philox(int64_t key, int64_t high, int64_t low)
{
    const uint32_t key_a = (uint32_t)((uint64_t)key & UINT32_C(0xFFFFFFFF)), key_b = (uint32_t)((uint64_t)key >> 32);
    gg_philox_words x;
    x.a = (uint32_t)((uint64_t)low & UINT32_C(0xFFFFFFFF));
    x.b = (uint32_t)((uint64_t)low >> 32);
    x.c = (uint32_t)((uint64_t)high & UINT32_C(0xFFFFFFFF));
    x.d = (uint32_t)((uint64_t)high >> 32);
    x = gg_philox_round(x, key_a, key_b, 0);
    x = gg_philox_round(x, key_a, key_b, 1);
    x = gg_philox_round(x, key_a, key_b, 2);
    x = gg_philox_round(x, key_a, key_b, 3);
    x = gg_philox_round(x, key_a, key_b, 4);
    x = gg_philox_round(x, key_a, key_b, 5);
    x = gg_philox_round(x, key_a, key_b, 6);
    x = gg_philox_round(x, key_a, key_b, 7);
    x = gg_philox_round(x, key_a, key_b, 8);
    return gg_philox_round(x, key_a, key_b, 9);
}

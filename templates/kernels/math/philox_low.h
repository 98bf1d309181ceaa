//: gg_philox_low_i64 < GG_INLINE, gg_philox_words, gg_philox
/* The first two words of Philox, as one number. */
GG_INLINE int64_t gg_philox_low_i64(int64_t key, int64_t high, int64_t low)
{
    const gg_philox_words x = gg_philox(key, high, low);
    return (int64_t)((uint64_t)x.b << 32 | x.a);
}

//: GG_INLINE
/* Inlining is what lets a loop over a kernel vectorise; a build for size may still share one copy. */
#ifndef GG_INLINE
#if defined(__GNUC__) && !defined(__OPTIMIZE_SIZE__)
#define GG_INLINE static inline __attribute__((always_inline, unused))
#elif defined(__GNUC__)
#define GG_INLINE static inline __attribute__((unused))
#else
#define GG_INLINE static inline
#endif
#endif

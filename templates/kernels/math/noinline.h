//: GG_NOINLINE
/* What straight-line code shares one copy of, and the rare way out of a fast one. */
#ifndef GG_NOINLINE
#if defined(__GNUC__)
#define GG_NOINLINE static __attribute__((noinline, unused))
#else
#define GG_NOINLINE static
#endif
#endif

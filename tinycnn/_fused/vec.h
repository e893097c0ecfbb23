/* Vectors of gcc and clang: L lanes of REAL, as many as one register holds.
 *
 * setup.py says for each build how many bytes a register has and whether REAL is double. */
#ifndef TINYCNN_VEC_H
#define TINYCNN_VEC_H

#ifndef TINYCNN_VECTOR_BYTES
#define TINYCNN_VECTOR_BYTES 16
#endif
#if TINYCNN_DOUBLE
#define REAL double
#define WHOLE long long
#define UNITS 4503599627370496.0 /* 2^52: from here on, neighbours differ by one */
#else
#define REAL float
#define WHOLE int
#define UNITS 8388608.0f /* 2^23 */
#endif
#define LANES ((int) (TINYCNN_VECTOR_BYTES / sizeof(REAL)))
/* Whether there are 32 registers, not 16. And the filters of a tile: with 4 positions each, their
   sums, weights and pixels fill the registers. A multiplication that is no FMA needs one more. */
#if TINYCNN_VECTOR_BYTES == 64 || defined(__aarch64__)
#define MANY_REGISTERS 1
#define FILTERS 4
#define LINEAR_FEATURES 8 /* of a tile of gradients, for 2 outputs */
#else
#define MANY_REGISTERS 0
#define LINEAR_FEATURES 4
#ifdef __FMA__
#define FILTERS 3
#else
#define FILTERS 2
#endif
#endif

#define TINY static inline __attribute__((always_inline, unused))
#define UNROLL _Pragma("GCC unroll 16")
#define AS_VECTOR vector_size(TINYCNN_VECTOR_BYTES)
typedef REAL vec __attribute__((AS_VECTOR));
typedef REAL loose __attribute__((AS_VECTOR, aligned(sizeof(REAL)))); /* from anywhere in memory */
typedef WHOLE mask __attribute__((AS_VECTOR));
typedef unsigned WHOLE bits __attribute__((AS_VECTOR));
typedef WHOLE whole __attribute__((may_alias)); /* in the bits of a REAL */
typedef WHOLE wholes __attribute__((AS_VECTOR, may_alias));
typedef float words __attribute__((AS_VECTOR)); /* what shuffles move: 4 bytes each */

#define prefetch(p) __builtin_prefetch(p, 0, 2) /* to be read, into the second-level cache */
TINY vec splat(REAL x) { return x - (vec) {0}; }

/* Lane by lane, yes where the comparison holds, else no. One or two instructions on x86, of which
   gcc would make three. */
#if TINYCNN_DOUBLE
#define OF_TYPE(intrinsic, rest) intrinsic##pd##rest
#else
#define OF_TYPE(intrinsic, rest) intrinsic##ps##rest
#endif
#if defined(__AVX512F__) && TINYCNN_VECTOR_BYTES == 64
#include <immintrin.h>
#define WHERE(a, b, how, op) \
    OF_TYPE(_mm512_mask_blend_, )(OF_TYPE(_mm512_cmp_, _mask)(a, b, how), no, yes)
#define LARGER OF_TYPE(_mm512_max_, )
#elif defined(__AVX__) && TINYCNN_VECTOR_BYTES == 32
#include <immintrin.h>
#define WHERE(a, b, how, op) OF_TYPE(_mm256_blendv_, )(no, yes, (vec) (op))
#define LARGER OF_TYPE(_mm256_max_, )
#else
#define WHERE(a, b, how, op) (vec) (((mask) yes & (op)) | ((mask) no & ~(op)))
#if defined(__SSE2__)
#include <emmintrin.h>
#define LARGER OF_TYPE(_mm_max_, )
#endif
#endif
TINY vec where_greater(vec a, vec b, vec yes, vec no) { return WHERE(a, b, _CMP_GT_OQ, a > b); }
TINY vec where_equal(vec a, vec b, vec yes, vec no) { return WHERE(a, b, _CMP_EQ_OQ, a == b); }
TINY vec where_nan(vec a, vec b, vec yes, vec no)
{ return WHERE(a, b, _CMP_UNORD_Q, (a != a) | (b != b)); }
#ifdef LARGER
TINY vec larger(vec a, vec b) { return LARGER(a, b); } /* a > b ? a : b */
#else
TINY vec larger(vec a, vec b) { return where_greater(a, b, a, b); }
#endif

/* Lane by lane, the place of a winner where right and down are the steps to the next ones. */
TINY wholes place_of(vec winner, WHOLE start, WHOLE right, WHOLE down)
{
    mask lower = winner > splat(1.5), odd = (winner == splat(1)) | (winner == splat(3));
    return (wholes) (start + (lower & down) + (odd & right));
}

/* Shuffles within each 16 bytes: the neighbours of a and b alternate, first of the lower halves,
   then of the upper ones. And shuffles of whole pieces of 16 bytes. */
#define SHUFFLE(a, b, ...) ((vec) __builtin_shufflevector((words) (a), (words) (b), __VA_ARGS__))
#if TINYCNN_VECTOR_BYTES == 16
#define ZIP32_LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define ZIP32_HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#define ZIP64_LOW(a, b) SHUFFLE(a, b, 0, 1, 4, 5)
#define ZIP64_HIGH(a, b) SHUFFLE(a, b, 2, 3, 6, 7)
#elif TINYCNN_VECTOR_BYTES == 32
#define ZIP32_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define ZIP32_HIGH(a, b) SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define ZIP64_LOW(a, b) SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define ZIP64_HIGH(a, b) SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define EVEN(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define ODD(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#else
#define ZIP32_LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define ZIP32_HIGH(a, b) SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define ZIP64_LOW(a, b) SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define ZIP64_HIGH(a, b) SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define EVEN(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define ODD(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#endif
#define PIECE (LANES * 16 / TINYCNN_VECTOR_BYTES) /* lanes of a piece of 16 bytes */

/* a[0] = the sums over the lanes of a[LANES], in pairs. */
TINY void lane_sums(vec *a)
{
#ifdef EVEN
    for (int n = LANES / 2; n >= PIECE; n /= 2)
        UNROLL for (int i = 0; i < n; i++) {
            int j = i + i / PIECE * PIECE;
            a[i] = EVEN(a[j], a[j + PIECE]) + ODD(a[j], a[j + PIECE]);
        }
#endif
#if !TINYCNN_DOUBLE
    UNROLL for (int i = 0; i < 2; i++)
        a[i] = ZIP32_LOW(a[2 * i], a[2 * i + 1]) + ZIP32_HIGH(a[2 * i], a[2 * i + 1]);
#endif
    a[0] = ZIP64_LOW(a[0], a[1]) + ZIP64_HIGH(a[0], a[1]);
}

/* a[LANES] = its transpose. */
TINY void transpose(vec *a)
{
    vec b[LANES];
    UNROLL for (int i = 0; i < LANES; i += PIECE) {
#if TINYCNN_DOUBLE
        b[i] = ZIP64_LOW(a[i], a[i + 1]);
        b[i + 1] = ZIP64_HIGH(a[i], a[i + 1]);
#else
        vec low = ZIP32_LOW(a[i], a[i + 1]), high = ZIP32_HIGH(a[i], a[i + 1]);
        vec low2 = ZIP32_LOW(a[i + 2], a[i + 3]), high2 = ZIP32_HIGH(a[i + 2], a[i + 3]);
        b[i] = ZIP64_LOW(low, low2);
        b[i + 1] = ZIP64_HIGH(low, low2);
        b[i + 2] = ZIP64_LOW(high, high2);
        b[i + 3] = ZIP64_HIGH(high, high2);
#endif
    }
#ifdef EVEN
    for (int n = 1; n < LANES / PIECE; n *= 2) {
        UNROLL for (int i = 0; i < LANES / 2; i++) {
            int j = i + i / PIECE * PIECE;
            a[i] = EVEN(b[j], b[j + PIECE]);
            a[i + LANES / 2] = ODD(b[j], b[j + PIECE]);
        }
        UNROLL for (int i = 0; i < LANES; i++) b[i] = a[i];
    }
#endif
    UNROLL for (int i = 0; i < LANES; i++) a[i] = b[i];
}

/* Random words of 32 bits, one a lane: `layers.py` has the same in NumPy. */
#define WORD(x) ((x) & 0xffffffff)
#define GOLDEN 0x9e3779b9u

/* Those of images first, first + 1, ... in one half of a key. */
TINY bits image_words(unsigned half, unsigned first)
{
    bits z;
    UNROLL for (int l = 0; l < LANES; l++) z[l] = half + (first + l) * GOLDEN;
    z = WORD((z ^ z >> 16) * 0x85ebca6b);
    z = WORD((z ^ z >> 13) * 0xc2b2ae35);
    return z ^ z >> 16;
}

/* Lane by lane, `kept`, or 0 for a share of threshold / 2^31 of all units. */
TINY vec kept_or_0(bits low, bits high, unsigned unit, WHOLE threshold, REAL kept)
{
    bits z = WORD(low + unit * GOLDEN);
    z = WORD((z ^ z >> 16) * 0x85ebca6b);
    z = WORD((WORD(z + high) ^ WORD(z + high) >> 13) * 0xc2b2ae35);
    return (vec) (((mask) ((z ^ z >> 16) >> 1) >= threshold) & (mask) splat(kept));
}

/* Byte number i of each lane, as a number. */
TINY vec byte_of(vec a, int i)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    i = (int) sizeof(REAL) - 1 - i;
#endif
    bits units = (bits) splat(UNITS);
    return (vec) (((bits) a >> 8 * i & 255) | units) - splat(UNITS);
}

#endif

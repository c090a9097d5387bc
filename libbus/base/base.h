/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.h - the handful of macros that every layer uses. Includes nothing of ours; no state, no
 * functions with a body longer than a line.
 */
#ifndef BUS_BASE_H
#define BUS_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUS_LINE 64 /* what one core takes from another at a time */
#define BUS_LINE_PAIR \
	128 /* adjacent lines are prefetched together: words of different writers keep this apart */

#define bus_likely(x)   __builtin_expect(!!(x), 1)
#define bus_unlikely(x) __builtin_expect(!!(x), 0)

#define BUS_ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define BUS_ALIGN_UP(x, a)                  (((x) + ((a)-1)) & ~((__typeof__(x))(a)-1))
#define BUS_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define BUS_ALIGNED(n)   __attribute__((aligned(n)))
#define BUS_PACKED       __attribute__((packed))
#define BUS_INLINE       static inline __attribute__((always_inline))
#define BUS_COLD         __attribute__((cold, noinline))
#define BUS_PRINTF(f, a) __attribute__((format(printf, f, a)))

/*
 * What only a next version has, made of these sources so that tests can let the two meet
 * (mk/next.mk, tests/integration/versions.sh). Nothing in what is installed.
 */
#ifdef BUS_NEXT_VERSION
#define BUS_NEXT(...) __VA_ARGS__
#else
#define BUS_NEXT(...)
#endif

static inline uint64_t bus_min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t bus_max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline bool bus_is_pow2(uint64_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

/* The least power of two that is >= x; x between 1 and 2^63. */
static inline uint64_t bus_ceil_pow2(uint64_t x)
{
	return x <= 1 ? 1 : UINT64_C(1) << (64 - __builtin_clzll(x - 1));
}

#endif

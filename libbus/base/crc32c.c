/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c.c - CRC32C by SSE 4.2, by ARMv8's CRC instructions, or by tables; chosen at run time.
 *
 * The x86 instruction takes 8 bytes in each cycle, but answers after three: a single chain of them has a
 * third of the speed. So three stretches of equal length are summed side by side, and their sums joined by
 * carry-less multiplication with x^(bits that follow): V. Gopal et al., "Fast CRC Computation for iSCSI
 * Polynomial Using CRC32 Instruction", Intel, 2011. The tables are M. E. Kounavis and F. L. Berry's,
 * "Novel Table Lookup-Based Algorithms for High-Performance CRC Generation", 2008 (slicing by 8).
 */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

#define POLYNOMIAL 0x82f63b78u /* reflected: bit 31 is x^0 */

/* ---- tables ---- */

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_make(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t v = i;

		for (int bit = 0; bit < 8; bit++)
			v = v >> 1 ^ (v & 1 ? POLYNOMIAL : 0);
		table[0][i] = v;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int k = 1; k < 8; k++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

uint32_t crc32c_table_extend(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	pthread_once(&table_once, table_make);
	crc = ~crc;
	for (; len >= 8; len -= 8, p += 8) {
		uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
				      (uint32_t)p[3] << 24);

		crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^
		      table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^ table[3][p[4]] ^
		      table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
	}
	for (; len > 0; len--, p++)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
	return ~crc;
}

/* ---- the processor's instruction ---- */

#if defined(__x86_64__)

BUS_INLINE uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/*
 * Two lengths of a stretch: three of the longer one are all but 16 bytes of a page. FOLD_1 moves a sum
 * over one stretch, FOLD_2 over two: x^(8 L - 33) and x^(16 L - 33), since the product of two reflected
 * words and the instruction that reduces it contribute x^33.
 */
#define LONG_BYTES   1360
#define LONG_FOLD_1  0x3f70cc6fu
#define LONG_FOLD_2  0x5aa1f3cfu
#define SHORT_BYTES  168
#define SHORT_FOLD_1 0x1b3d8f29u
#define SHORT_FOLD_2 0xa60ce07bu

#define SSE42 __attribute__((target("sse4.2,pclmul")))

/* Three stretches of `bytes` each, one after another; a multiple of 8. Sums are not inverted here. */
SSE42 BUS_INLINE uint64_t three(uint64_t crc, const uint8_t *p, size_t bytes, uint32_t fold_1,
				uint32_t fold_2)
{
	uint64_t a = crc, b = 0, c = 0;
	__m128i moved_a, moved_b;

	for (const uint8_t *end = p + bytes; p < end; p += 8) {
		a = _mm_crc32_u64(a, load64(p));
		b = _mm_crc32_u64(b, load64(p + bytes));
		c = _mm_crc32_u64(c, load64(p + 2 * bytes));
	}
	moved_a = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)a),
				       _mm_cvtsi64_si128((int64_t)fold_2), 0);
	moved_b = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)b),
				       _mm_cvtsi64_si128((int64_t)fold_1), 0);
	return c ^ _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(moved_a, moved_b)));
}

SSE42 static uint32_t instruction_extend(uint32_t start, const uint8_t *p, size_t len)
{
	uint64_t crc = ~start;

	for (; len >= 3 * LONG_BYTES; len -= 3 * LONG_BYTES, p += 3 * LONG_BYTES)
		crc = three(crc, p, LONG_BYTES, LONG_FOLD_1, LONG_FOLD_2);
	for (; len >= 3 * SHORT_BYTES; len -= 3 * SHORT_BYTES, p += 3 * SHORT_BYTES)
		crc = three(crc, p, SHORT_BYTES, SHORT_FOLD_1, SHORT_FOLD_2);
	for (; len >= 8; len -= 8, p += 8)
		crc = _mm_crc32_u64(crc, load64(p));
	if (len >= 4) {
		uint32_t v;

		memcpy(&v, p, sizeof(v));
		crc = _mm_crc32_u32((uint32_t)crc, v);
		len -= 4;
		p += 4;
	}
	for (; len > 0; len--, p++)
		crc = _mm_crc32_u8((uint32_t)crc, *p);
	return ~(uint32_t)crc;
}

static inline bool has_instruction(void)
{
	return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

#define INSTRUCTION "sse4.2"

#elif defined(__aarch64__)

__attribute__((target("+crc"))) static uint32_t instruction_extend(uint32_t crc, const uint8_t *p,
								   size_t len)
{
	uint64_t v;

	crc = ~crc;
	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&v, p, sizeof(v));
		crc = __crc32cd(crc, v);
	}
	for (; len > 0; len--, p++)
		crc = __crc32cb(crc, *p);
	return ~crc;
}

static inline bool has_instruction(void)
{
	return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}

#define INSTRUCTION "armv8"

#else

static uint32_t instruction_extend(uint32_t crc, const uint8_t *p, size_t len)
{
	return crc32c_table_extend(crc, p, len);
}

static inline bool has_instruction(void)
{
	return false;
}

#define INSTRUCTION "none"

#endif

uint32_t crc32c_extend(uint32_t crc, const void *data, size_t len)
{
	return bus_likely(has_instruction()) ? instruction_extend(crc, data, len)
					     : crc32c_table_extend(crc, data, len);
}

const char *crc32c_means(void)
{
	return has_instruction() ? INSTRUCTION : "table";
}

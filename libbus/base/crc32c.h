/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c.h - CRC32C (Castagnoli; RFC 3720, appendix B.4), by the processor's instruction where it has one.
 * Pure functions; any thread, any time.
 *
 *	crc = crc32c(a, a_len);                   of a
 *	crc = crc32c_extend(crc, b, b_len);       of a, then b
 *
 * The value of no bytes is 0, so crc32c_extend(0, ...) is crc32c(...).
 */
#ifndef BUS_CRC32C_H
#define BUS_CRC32C_H

#include "base/base.h"

uint32_t crc32c_extend(uint32_t crc, const void *data, size_t len);

static inline uint32_t crc32c(const void *data, size_t len)
{
	return crc32c_extend(0, data, len);
}

/* The same by tables, as where there is no instruction. For tests, which compare the two. */
uint32_t crc32c_table_extend(uint32_t crc, const void *data, size_t len);

/* What crc32c_extend() uses here: "sse4.2", "armv8", "table". For people. */
const char *crc32c_means(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub_put.h - the bytes of a message without key and headers, into the ring: into its slot, a line, or
 * more. Inline, for pub.c only; there is room, and nothing here commits.
 */
#ifndef BUS_PUB_PUT_H
#define BUS_PUB_PUT_H

#include <string.h>

#include "api/pub_internal.h"

static inline uint64_t load_8(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, 8);
	return v;
}

static inline uint32_t load_4(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, 4);
	return v;
}

/* Up to 8 bytes as a word, zeros behind them, reading none but them. */
static inline uint64_t load_up_to_8(const uint8_t *at, uint32_t len)
{
	if (len == 8)
		return load_8(at);
	if (len >= 4)
		return load_4(at) | (uint64_t)load_4(at + len - 4) >> (64 - 8 * len) << 32;
	if (len == 0)
		return 0;
	return at[0] | (uint64_t)at[len / 2] << 8 * (len / 2) |
	       (uint64_t)at[len - 1] << 8 * (len - 1);
}

static inline void put_inline(const struct bus_pub *pub, const uint8_t *data, uint32_t len)
{
	uint64_t in[3] = { 0 };

	if (len > 16) {
		in[0] = load_8(data);
		in[1] = load_8(data + 8);
		in[2] = load_8(data + len - 8) >> (192 - 8 * len);
	} else if (len > 8) {
		in[0] = load_8(data);
		in[1] = load_8(data + len - 8) >> (128 - 8 * len);
	} else {
		in[0] = load_up_to_8(data, len);
	}
	ring_pub_inline(&pub->ring, in);
}

/* From 17 to 64 bytes, in line, by halves that may overlap. */
static inline void put_line(uint8_t *at, const uint8_t *data, uint32_t len)
{
	if (len >= 32) {
		memcpy(at, data, 32);
		memcpy(at + len - 32, data + len - 32, 32);
	} else {
		memcpy(at, data, 16);
		memcpy(at + len - 16, data + len - 16, 16);
	}
}

/* Copies a message without key and headers to where it goes; there is room. */
BUS_INLINE void put_bytes(const struct bus_pub *pub, const void *data, uint32_t len, uint64_t need)
{
	if (need == 0)
		put_inline(pub, data, len);
	else if (need == RING_POS_ALIGN)
		put_line(ring_pub_at(&pub->ring), data, len);
	else
		memcpy(ring_pub_at(&pub->ring), data, len);
}

#endif

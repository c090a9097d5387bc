/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_message.h - the work on each message, the same on the bus and on its limit. Messages made
 * in place: all bytes from a number. Messages that are copied: from a few buffers prepared before,
 * in turn (a word written right before the copy would stall it: the copy's loads are wider than
 * that store). All bytes are read once.
 */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline void bench_message_make(void *to, uint32_t size, uint64_t number)
{
	memset(to, (int)(number & 0xff), size);
	memcpy(to, &number, size < sizeof(number) ? size : sizeof(number));
}

/*
 * What messages are copied from: message n is the same as buffer n & mask, whose first word is that
 * number.
 */
struct bench_source {
	unsigned char *buffers;
	uint64_t mask;
	size_t apart;
};
#define BENCH_SOURCE_BYTES (128u << 10) /* at most, so that they stay in cache */

static inline int bench_source_open(struct bench_source *s, uint32_t size)
{
	uint64_t count = 64;

	s->apart = ((size_t)size + 63) / 64 * 64 + (size == 0) * 64;
	while (count > 1 && count * s->apart > BENCH_SOURCE_BYTES)
		count /= 2;
	s->mask = count - 1;
	if (posix_memalign((void **)&s->buffers, 64, count * s->apart) != 0)
		return -1;
	memset(s->buffers, 0, count * s->apart);
	for (uint64_t i = 0; i < count; i++)
		bench_message_make(s->buffers + i * s->apart, size, i);
	return 0;
}

static inline void *bench_source_of(const struct bench_source *s, uint64_t number)
{
	return s->buffers + (number & s->mask) * s->apart;
}

static inline void bench_source_close(struct bench_source *s)
{
	free(s->buffers);
}

/* Into the first word of a buffer: for messages that tell when they were due. */
static inline void bench_message_number(void *buffer, uint32_t size, uint64_t number)
{
	memcpy(buffer, &number, size < sizeof(number) ? size : sizeof(number));
}

/* The number, or the low bytes of it where the message is shorter. */
static inline uint64_t bench_message_number_of(const void *from, uint32_t size)
{
	uint64_t number = 0;

	memcpy(&number, from, size < sizeof(number) ? size : sizeof(number));
	return number;
}

/* Reads every byte, a vector at a time. */
static inline uint64_t bench_message_read(const void *from, uint32_t size)
{
	typedef uint64_t lanes __attribute__((vector_size(16), aligned(1), may_alias));
	const unsigned char *p = (const unsigned char *)from;
	lanes a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	uint64_t sum = 0;
	uint32_t i = 0;

	for (; i + 64 <= size; i += 64) {
		a += *(const lanes *)(const void *)(p + i);
		b += *(const lanes *)(const void *)(p + i + 16);
		c += *(const lanes *)(const void *)(p + i + 32);
		d += *(const lanes *)(const void *)(p + i + 48);
	}
	a += b + c + d;
	for (; i + 8 <= size; i += 8)
		sum += bench_message_number_of(p + i, 8);
	for (; i < size; i++)
		sum += p[i];
	return sum + a[0] + a[1];
}

#endif

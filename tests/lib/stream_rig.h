/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_rig.h - streams on disk of numbered messages, written and checked to the byte: message `number` of
 * a stream says its number, and its length and bytes follow from that. On the busd of bus_rig.h.
 */
#ifndef TESTS_STREAM_RIG_H
#define TESTS_STREAM_RIG_H

#include "lib/bus_rig.h"

#define STREAM_SEGMENT 16384 /* messages of a segment, with max_messages 2^17 or less */
#define STREAM_MOST    1000  /* bytes of a message */

/* Of this process; stream_run() makes it. */
extern struct bus *stream_bus;

static inline uint32_t stream_length_of(uint64_t number)
{
	return (uint32_t)(sizeof(number) + number * 37 % 100);
}

void stream_make(const char *name, uint32_t stream_slots, uint64_t max_messages, uint32_t sync);
struct bus_pub *stream_publisher(const char *topic);
/* Messages with numbers [from, to). */
void stream_put(struct bus_pub *pub, uint64_t from, uint64_t to);
/* All that was sent has reached the level. */
void stream_settle(struct bus_pub *pub, uint32_t level);
/* The same, by a publisher that comes and goes, until all is durable. */
void stream_publish(const char *topic, uint64_t from, uint64_t to);
/* A process that does, slowed down to `every` messages a millisecond (0: as fast as it goes). */
pid_t stream_beside(const char *topic, uint64_t from, uint64_t to, uint64_t every);

#define STREAM_PATH 600
/* Of a file in the stream's directory. */
const char *stream_file(char path[STREAM_PATH], const char *topic, const char *name);

/* value: of a start at a number, a time, so many before the end. */
struct bus_sub *stream_subscribe(const char *pattern, uint32_t start, uint64_t value);
/* It is message `number`, to the byte. */
void stream_whole(const struct bus_msg *msg, uint64_t number);
/* The next one, alone. */
void stream_expect(struct bus_sub *sub, uint64_t number, uint64_t lost);
void stream_nothing(struct bus_sub *sub);
/* Reads numbers [from, to) in peeks of up to `most`, and nothing is missing, twice or lost. */
void stream_read_all(struct bus_sub *sub, uint64_t from, uint64_t to, int most);

struct stream_part {
	const char *name;
	void (*run)(void);
};
/* Starts busd and runs the parts up to one without a name, or the one that argv names. What main() returns. */
int stream_run(const struct stream_part *parts, int argc, char **argv);

#endif

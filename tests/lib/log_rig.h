/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_rig.h - writes a stream's log without busd: segments of messages, byte for byte the same each time,
 * and what a test needs to spoil them. The plainest writer that format/log_format.h allows; it knows nothing
 * of the reader. Failures end the program; knows nothing of cmocka.
 *
 *	log_rig_begin(&rig, dir, 64, 4096);        segments of 64 slots and 4 KiB of payload
 *	log_rig_put(&rig, "hello", 5);             message 0
 *	log_rig_mark(&rig);
 *	log_rig_roll(&rig, 0);                     the next segment
 *	log_rig_end(&rig);
 */
#ifndef TESTS_LOG_RIG_H
#define TESTS_LOG_RIG_H

#include "format/log_format.h"

#define LOG_RIG_TIME \
	UINT64_C(1700000000000000000) /* of message 0; each next one a microsecond later */

struct log_rig {
	char dir[256];
	uint8_t uuid[LOG_UUID_BYTES];
	uint32_t seed;
	uint64_t slots, bytes;    /* of each segment */
	struct log_header header; /* of the open segment */
	int fd;
	unsigned marks; /* written to it */
	/* of the next message */
	uint64_t seq, pos, time, src_seq;
	uint32_t src;
	uint32_t flags; /* of the next messages */
};

/* A message with all that it may carry; head_len bytes of head, of which the first key_len are the key. */
struct log_rig_message {
	const void *head, *data;
	uint32_t head_len, key_len, len;
};

/* Another number makes another stream: its uuid. */
extern uint8_t log_rig_stream;

/* dir: made where it is not there. The first segment is created at seq 0; log_rig_begin_at(): elsewhere. */
void log_rig_begin(struct log_rig *rig, const char *dir, uint64_t slots, uint64_t bytes);
void log_rig_begin_at(struct log_rig *rig, const char *dir, uint64_t slots, uint64_t bytes,
		      uint64_t seq, uint64_t pos);
void log_rig_end(struct log_rig *rig);

/* Whether the open segment has room for a message of so many bytes, head and payload. */
bool log_rig_room(const struct log_rig *rig, uint64_t bytes);

/* Writes a message, and rolls first where there is no room. Returns its number. */
uint64_t log_rig_put(struct log_rig *rig, const void *data, uint32_t len);
uint64_t log_rig_put_with(struct log_rig *rig, const struct log_rig_message *msg);

void log_rig_mark(struct log_rig *rig);

/* Marks, closes, and begins the next segment `hole` numbers further on. */
void log_rig_roll(struct log_rig *rig, uint64_t hole);

/* The path of the segment that begins with base_seq. Static, four in turn. */
const char *log_rig_path(const struct log_rig *rig, uint64_t base_seq);

/* Where a message's slot and bytes lie in its file. */
uint64_t log_rig_slot_off(const struct log_rig *rig, uint64_t base_seq, uint64_t seq);

/* Puts right checksums into what a test has changed. */
void log_rig_seal_header(struct log_header *header);
void log_rig_seal_slot(const uint8_t *uuid, struct log_slot *slot, const void *bytes);
void log_rig_seal_mark(const uint8_t *uuid, struct log_mark *mark);

/* Bytes of a file, read, written and flipped in place. */
void log_rig_read(const char *path, uint64_t at, void *buf, size_t size);
void log_rig_write(const char *path, uint64_t at, const void *buf, size_t size);
void log_rig_flip(const char *path, uint64_t bit);

/* A directory of its own below $TMPDIR or /tmp, and its end with all in it (one level of subdirectories). */
void log_rig_temporary(char *dir, size_t size);
void log_rig_remove(const char *dir);

#endif

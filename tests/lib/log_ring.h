/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_ring.h - a stream's ring in plain memory, for tests of what writes and reads logs: messages whose bytes follow
 * from their number and the life that gave it, whole slots with checksums, and what is expected of each number.
 */
#ifndef TESTS_LOG_RING_H
#define TESTS_LOG_RING_H

#include "log_file.h"

#define RIG_SEQ_MAX 20000 /* numbers in all lives of one log */
#define RIG_SOURCES 65536

/* What a number stands for. life 0: given to nobody. */
struct rig_message {
	uint32_t life, len, head_len, src;
	uint64_t src_seq;
	enum {
		RIG_THERE = 0,
		RIG_MAYBE,
		RIG_GONE
	} fate; /* of those whose ring was lost: in the log or not */
};

struct log_ring {
	struct log_view view;
	struct log_slot *slots;
	uint8_t *payload; /* twice: each byte is written to both */
	uint8_t uuid[LOG_UUID_BYTES];
	uint64_t head, pos, time;
	uint32_t life;
	uint64_t *src_next;           /* by src */
	struct rig_message *messages; /* by number, for all lives */
	/* so many messages may be in holes: their writer says that it lost them */
	uint64_t may_lose;
	uint64_t seen; /* no number at or above was given */
};

void rig_ring_open(struct log_ring *rig, uint64_t slots, uint64_t bytes);
void rig_ring_close(struct log_ring *rig);
/* A new ring: another life, numbers from seq on. */
void rig_ring_begin(struct log_ring *rig, uint64_t seq, uint64_t pos);
/* Is there room for a message of this size while `gate` is what may be overwritten? */
bool rig_ring_room(const struct log_ring *rig, uint64_t gate, uint32_t head_len, uint32_t len);
void rig_ring_put(struct log_ring *rig, uint32_t src, uint32_t head_len, uint32_t len);
/* Byte i of message seq, of a life; head first. */
uint8_t rig_byte(uint32_t life, uint64_t seq, uint64_t i);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_rig.h - the memory of one topic without busd, for tests of what an observer makes of it: a
 * board, a few rings (ring_rig.h: guarded, mapped as production maps them) and a few cursor
 * segments, and the view of them.
 *
 * One tick of the rig's clock is one nanosecond; the clock runs as fast as the machine's raw
 * counter.
 */
#ifndef TESTS_STAT_RIG_H
#define TESTS_STAT_RIG_H

#include "api/stat_internal.h"
#include "lib/ring_rig.h"

#define STAT_RIG_RINGS   3
#define STAT_RIG_SUBS    3
#define STAT_RIG_ENTRIES 4
#define STAT_RIG_TOPIC   UINT64_C(9)
#define STAT_RIG_SLOTS   64
#define STAT_RIG_BYTES   4096

struct stat_rig {
	uint8_t *board;
	struct ring_rig rings[STAT_RIG_RINGS];
	struct cursor_segment *cursors[STAT_RIG_SUBS];
	uint64_t now; /* counter at which the rig was made */
	struct stat_view view;
};

/* An empty topic "orders.eu". 0 or -errno. */
int stat_rig_make(struct stat_rig *rig);
void stat_rig_free(struct stat_rig *rig);

struct board_head *stat_rig_head(struct stat_rig *rig);
struct board_ring *stat_rig_ring_entry(struct stat_rig *rig, unsigned i);
struct board_sub *stat_rig_sub_entry(struct stat_rig *rig, unsigned i);

/* The ids that the two functions below give. */
uint64_t stat_rig_ring_id(unsigned i); /* 500 + i */
uint64_t stat_rig_pub_id(unsigned i);  /* 600 + i */
uint64_t stat_rig_sub_id(unsigned i);  /* 700 + i */

/* Puts ring i, open, on the board, by publisher "pubI", an hour old. First message first_seq. */
void stat_rig_add_ring(struct stat_rig *rig, unsigned i, uint64_t first_seq);
/* Puts subscription i on the board: "subI", reliable, half an hour old, with no entry in use. */
void stat_rig_add_sub(struct stat_rig *rig, unsigned i);
/* Entry `entry` of subscription i stands at `cursor` of ring `ring`. */
void stat_rig_stand(struct stat_rig *rig, unsigned i, unsigned entry, unsigned ring, uint64_t cursor);

/* Publishes len bytes (rig_fill) stamped age_ns before rig->now; nobody gates. */
void stat_rig_send(struct stat_rig *rig, unsigned ring, uint32_t len, uint64_t age_ns);
/* The same with everything chosen: head (of head_len bytes) and data. */
void stat_rig_send_message(struct stat_rig *rig, unsigned ring, const struct ring_message *m,
			   const void *head, const void *data);

/* Makes rig->view (again) of all that is there. */
void stat_rig_look(struct stat_rig *rig);

#endif

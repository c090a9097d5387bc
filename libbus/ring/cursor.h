/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor.h - a reader of one ring: where it stands, how it tells its publisher, what it does when
 * it was lapped, and how it finds the end.
 */
#ifndef BUS_CURSOR_H
#define BUS_CURSOR_H

#include "ring/ring.h"

struct ring_reader {
	/* the reading path */
	struct ring_view view;
	uint64_t ahead;   /* next message to peek; what lies between cur and it is borrowed */
	uint64_t cur;     /* next message to release */
	uint64_t flushed; /* cursor as published */
	uint64_t flushed_pos;
	uint64_t expect_pos; /* where the next message probably starts */
	uint64_t flush_every, flush_bytes;
	uint64_t first;             /* the ring's first number: below it nothing stands */
	struct cursor_entry *entry; /* ours, in our cursor segment */
	uint64_t ring_id;
	uint32_t woken; /* generation for which the publisher was woken */
	bool drained;
	bool late; /* it may begin later than its first number: ring_reader_skip_hole() */
	bool follows; /* cur is where the ring before it ended: what is missing from there on is lost */
	/* accounts */
	uint64_t lost, delivered;
	uint64_t lost_unsaid; /* lost and not yet told in a message */
	/* the board */
	const _Atomic uint32_t *closed; /* its state word; enum board_ring_state */
	uint32_t closed_value;          /* what it reads when the publisher has gone */
	/* Wakes the blocked publisher. false: there is no bell yet. */
	bool (*wake)(struct ring_reader *rd);
	void *owner;
};

void ring_reader_init(struct ring_reader *rd, const struct ring_view *view, uint64_t ring_id,
		      struct cursor_entry *entry, const _Atomic uint32_t *closed,
		      uint32_t closed_value, uint64_t start);

/*
 * Join, step 1: writes the cursor and tags the entry, so that from its activation on the publisher
 * is gated there.
 */
void ring_reader_tag(struct ring_reader *rd);

/* Join, step 3, after busd's answer: begins at max(head, own cursor) and says so. */
void ring_reader_joined_now(struct ring_reader *rd);

/*
 * Moves a cursor that has delivered nothing yet to the oldest message that cannot be overwritten
 * any more.
 */
void ring_reader_begin_oldest(struct ring_reader *rd);

/*
 * A ring that continues one of a former busd is empty below its publisher's begin_seq. Where nothing
 * is borrowed, and before its end is looked for: moves beyond that hole; true if it did.
 */
bool ring_reader_skip_hole(struct ring_reader *rd);

/* Publishes the cursor and wakes the publisher if it waits. */
void ring_reader_flush(struct ring_reader *rd);

/*
 * After RING_LAPPED: goes on at a message that is still there, counts what lies between as lost.
 * Nothing is borrowed.
 */
void ring_reader_lapped(struct ring_reader *rd);

/* Whether the ring has something to say before its reader may sleep: a message, a lap, its end. */
bool ring_reader_ready(const struct ring_reader *rd);

/*
 * After RING_EMPTY with nothing borrowed: true once the last message of an ended ring has been
 * read.
 */
bool ring_reader_drained(struct ring_reader *rd);

/*
 * The entry no longer gates: bus_sub_close() while busd is away, and a join that was not answered.
 */
void ring_reader_park(struct ring_reader *rd);

#endif

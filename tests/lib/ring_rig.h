/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_rig.h - a ring without busd: its memory as production maps it, one publisher, a few readers,
 * their cursors.
 *
 * The segment is a memfd, mapped once for the publisher and once, read-only, for the readers; the
 * payload lies twice in a row in both. Pages that nobody may touch stand around each mapping, and
 * inside it before and after the slots:
 *
 *   guard | writer page | guard | slots | guard | payload | payload again | guard
 *
 * so a step outside is SIGSEGV. Wakes are counted instead of carried out. Used by tests/unit,
 * tests/hostile/torn.c, tests/tsan and tests/fuzz; knows nothing of cmocka.
 */
#ifndef TESTS_RING_RIG_H
#define TESTS_RING_RIG_H

#include "ring/consume.h"
#include "ring/publish.h"

#define RIG_READERS 4
#define RIG_RING_ID 77
#define RIG_CLOSED  2 /* what the board's state word reads when the publisher has gone */

struct rig_map {
	uint8_t *area; /* with the guards */
	uint64_t span;
	struct ring_view view;
};

struct rig_reader {
	struct ring_reader rd;
	struct cursor_segment *cursors; /* one entry */
	unsigned wakes;                 /* how often the publisher rang this reader's bell */
};

struct ring_rig {
	struct ring_geometry geo;
	struct rig_map writer, reader; /* reader.area NULL: readers share the publisher's mapping */
	struct ring_pub pub;
	struct ring_member members[RIG_READERS];
	struct rig_reader readers[RIG_READERS];
	_Atomic uint64_t epoch;
	_Atomic uint32_t closed;
	unsigned pub_wakes; /* how often a reader rang the publisher's bell */
	unsigned refreshes; /* made by rig_room() */
	bool no_bell;       /* wakes fail, as before a bell is there */
};

enum rig_mappings {
	RIG_TWO_MAPPINGS, /* as between processes */
	RIG_ONE_MAPPING,  /* where the thread sanitizer is to see both sides */
};

/* 0, or -errno with nothing left behind. The rig must stay where it is. */
int rig_make(struct ring_rig *rig, uint32_t slots, uint64_t bytes, enum rig_mappings mappings);
void rig_free(struct ring_rig *rig);

/* Before the first message: it gets this number and this position. */
void rig_start_at(struct ring_rig *rig, uint64_t seq, uint64_t pos);

/*
 * Reader i joins as busd and libbus would have it: cursor, membership, then from max(head, own
 * cursor).
 */
struct ring_reader *rig_join(struct ring_rig *rig, unsigned i, bool gates);

/* ring_pub_room(), with a refresh where there is none. */
enum ring_room rig_room(struct ring_rig *rig, uint64_t need);

/* A message whose bytes follow from its number. RING_ROOM: it was sent. */
enum ring_room rig_send(struct ring_rig *rig, uint32_t len);

/* The bytes of message seq, and whether what lies at `at` are they. */
void rig_fill(void *at, uint64_t seq, uint32_t len);
bool rig_filled(const void *at, uint64_t seq, uint32_t len);

/* Where the payload of a peeked message can be read. */
const uint8_t *rig_payload(const struct ring_reader *rd, const struct ring_peeked *p);

/*
 * Peeks one message, checks its bytes, releases it. What peek said; RING_GARBAGE also where the
 * bytes are not those that rig_send() wrote, RING_LAPPED also where the release says so (then it is
 * counted already).
 */
enum ring_look rig_take(struct ring_reader *rd);

#endif

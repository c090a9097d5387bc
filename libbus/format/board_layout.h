/* SPDX-License-Identifier: Apache-2.0 */
/*
 * board_layout.h - the board of a topic: what busd tells everybody who may see the topic. One
 * writer: busd.
 *
 *   0        BOARD_HEAD           + BOARD_RINGS x 256  + BOARD_SUBS x 256   + BOARD_SOURCES x 256
 *   +--------+--------------------+--------------------+--------------------+
 *   | head   | struct board_ring  | struct board_sub   | of a stream only:  |
 *   |        |                    |                    | struct board_source|
 *   +--------+--------------------+--------------------+--------------------+
 *
 * Publishers look at epoch after each fence of theirs; subscribers look at a ring's state and
 * next_ring and at their own evicted count when they find nothing, before they sleep, and when they
 * are lapped. Everything else is for tools.
 *
 * Descriptive fields of an entry are guarded by its gen (a seqlock: odd while busd writes; readers
 * retry at most BOARD_RETRIES times and then show the entry as changing). Words that protocols use
 * (state, next_ring, evicted) are atomics of their own and need no retry.
 */
#ifndef BUS_BOARD_LAYOUT_H
#define BUS_BOARD_LAYOUT_H

#include "base/atomic.h"
#include "base/base.h"
#include "base/clock.h"

#define BOARD_MAGIC   UINT64_C(0x4452414f42535542) /* "BUSBOARD" */
#define BOARD_VERSION 1
/* the oldest that is still read; what must be understood is a bit of `features` */
#define BOARD_VERSION_MIN 1
/* of a stream: there are sources, and what is on the rings of publishers is read by busd alone */
#define BOARD_FEATURE_STREAM 1u
#define BOARD_FEATURES_KNOWN BOARD_FEATURE_STREAM
#define BOARD_RINGS          1024
#define BOARD_SUBS           1024
#define BOARD_NODES \
	16 /* NUMA nodes shown by number; pages of higher ones are added up in the last */
#define BOARD_NAME_MAX   64 /* of a publisher or subscriber, with the final 0 */
#define BOARD_TOPIC_MAX  256
#define BOARD_SOCKET_MAX 108
#define BOARD_RETRIES    1000

enum board_log_state {
	BOARD_LOG_NONE = 0,    /* it is not on disk */
	BOARD_LOG_OPENING = 1, /* what the directory holds is being read */
	BOARD_LOG_RUNNING = 2,
	BOARD_LOG_FAILING = 3, /* the disk reported an error: a fresh segment is tried */
	BOARD_LOG_FULL = 4,    /* no room on the disk: tried again until there is */
	BOARD_LOG_STOPPED = 5, /* it cannot go on: `why` */
};

/* How long syncs took: place i counts those of 2^i to 2^(i+1) - 1 us, the first one shorter ones too, the last longer ones. */
#define BOARD_SYNC_PLACES 26

/* How a stream is kept, and how that goes; for tools. Written by the stream's writer in busd. */
struct board_log {
	/* as asked: constant */
	uint32_t sync;    /* enum ctl_sync of control_proto.h */
	uint32_t on_full; /* enum ctl_on_full */
	uint64_t interval_ns, max_age_ns, max_bytes, max_messages;
	/* words by themselves, relaxed */
	_Atomic uint32_t state;      /* enum board_log_state */
	_Atomic uint32_t gen;        /* seqlock over the texts */
	_Atomic uint64_t oldest_seq; /* the first message on disk */
	_Atomic uint64_t disk_bytes, segments;
	_Atomic uint64_t lag_bytes; /* in the ring and not spilled yet, when last looked at */
	_Atomic uint64_t errors, full, lost, poisoned, commits, syncs, dropped;
	uint64_t pad1[7];
	char io[16];
	char io_why[160];
	char why[200];
	/* since this worker writes it; relaxed. The time is stored first, so that no sync is without it */
	_Atomic uint64_t sync_ns;
	_Atomic uint64_t sync_us[BOARD_SYNC_PLACES];
};
static_assert(sizeof(struct board_log) % 8 == 0, "no gap behind it");

struct board_head {
	/* number of the last membership change; stored after it was sent, before fence F2 */
	_Atomic uint64_t epoch;
	/*
	 * number of the last of them after which anybody's membership was another: a new worker
	 * moves the epoch without one, so that publishers come back to it
	 */
	_Atomic uint64_t changed;
	uint64_t pad0[14];
	/* calibration of the raw counter: seqlock */
	_Atomic uint32_t cal_gen;
	uint32_t pad1;
	_Atomic uint64_t cal_base_counter, cal_base_ns, cal_mult;
	uint64_t pad2[12];
	/* written once, before anybody is given the board */
	uint64_t magic;
	uint32_t version;
	uint32_t features;
	uint64_t topic_id;
	uint64_t created_ns; /* Unix */
	char topic[BOARD_TOPIC_MAX];
	/* topic settings, for tools */
	uint32_t slots; /* of a new ring */
	int32_t numa;   /* as asked: BUS_NUMA_* of bus.h */
	uint64_t bytes;
	uint64_t max_bytes; /* growth limit of a ring's payload area */
	uint32_t flags;     /* BOARD_TOPIC_* */
	uint32_t pad3;
	/* high-water marks: entries at or above were never used */
	_Atomic uint32_t rings_used;
	_Atomic uint32_t subs_used;
	/* counters of rings that were freed, so that totals never go back */
	_Atomic uint64_t past_messages;
	_Atomic uint64_t past_bytes;
	uint64_t pad4[8];
	/*
	 * Whose it is, for who looks when that busd has gone (api/stat_mapped.c): start and pid tell
	 * one busd from another that listened there. 0 and empty: made by one that did not say.
	 */
	uint64_t busd_started_ns; /* Unix */
	uint32_t busd_pid;        /* its keeper */
	uint32_t pad5;
	char busd_socket[BOARD_SOCKET_MAX]; /* absolute, symbolic links resolved */
	uint32_t pad6;
	/* of a stream */
	uint64_t stream_ring; /* ring_id of the ring that busd writes; 0: none */
	uint32_t stream_slots;
	/* high-water mark of the sources */
	_Atomic uint32_t sources_used;
	uint64_t stream_bytes;
	uint8_t stream_uuid[16]; /* the same for as long as it is kept, at any busd; zeros: not said */
	uint64_t pad7[3];
	/* messages below it are on disk; 0 where BOARD_TOPIC_DISK is not set. Release */
	_Atomic uint64_t durable_seq;
	/*
	 * messages below it are in the log, and may leave the ring: durable, or (sync none) written. Stored
	 * before the ring is overwritten: where the next worker's writer begins. Release
	 */
	_Atomic uint64_t spilled_seq;
	uint64_t pad8[14];
	/* of a stream on disk */
	struct board_log log;
};
static inline bool board_known(uint64_t magic, uint32_t version, uint32_t features)
{
	return magic == BOARD_MAGIC && version >= BOARD_VERSION_MIN && version <= BOARD_VERSION &&
	       (features & ~BOARD_FEATURES_KNOWN) == 0;
}

#define BOARD_TOPIC_EXPLICIT 1u /* made by bus-topic create: stays without clients */
#define BOARD_TOPIC_HUGE     2u /* huge pages asked */
#define BOARD_TOPIC_REMOVED  4u /* its name is free, or another topic's: rings are read to the end */
#define BOARD_TOPIC_STREAM   8u
#define BOARD_TOPIC_DISK     16u /* a stream that is kept on disk, too: `durable` means something */
#define BOARD_HEAD           4096
static_assert(sizeof(struct board_head) <= BOARD_HEAD, "the head has a page of its own");

enum board_ring_state {
	BOARD_RING_FREE = 0,
	BOARD_RING_OPEN = 1, /* its publisher is attached */
	BOARD_RING_CLOSED =
		2, /* no more messages will come; read to the end. next_ring is set before this */
	/*
	 * busd is about to close it under a publisher that lives: who publishes stops, who reads
	 * goes on until it is CLOSED. Stored before an epoch, CLOSED after it and a membarrier:
	 * docs/memory-model.md
	 */
	BOARD_RING_ENDING = 3,
};

struct board_ring {
	_Atomic uint32_t state; /* enum board_ring_state */
	_Atomic uint32_t gen;   /* seqlock over the descriptive fields */
	_Atomic uint64_t ring_id;
	_Atomic uint64_t next_ring; /* the ring that continues this one; 0: none (yet) */
	/* descriptive */
	uint64_t client_id;
	uint64_t pub_id;
	uint64_t segment_id;
	uint64_t first_seq;
	uint64_t opened_ns;
	uint32_t pid, uid;
	uint32_t slots;
	uint32_t page_kib; /* 4, or 2048: huge pages */
	uint64_t bytes;
	/* where the pages are, by move_pages; in units of page_kib */
	uint32_t node_pages[BOARD_NODES];
	char name[BOARD_NAME_MAX];
	/* of its memfd, and the rest of the geometry: for who finds it without busd. 0: not said */
	uint64_t inode;
	uint64_t slots_off, payload_off;
	uint32_t features;
	uint32_t pad0;
	uint64_t pad;
};
static_assert(sizeof(struct board_ring) == 256, "four lines");

enum board_sub_state { BOARD_SUB_FREE = 0, BOARD_SUB_ACTIVE = 1 };
#define BOARD_SUB_LOSSY 1u /* policy flag */

struct board_sub {
	_Atomic uint32_t state; /* enum board_sub_state */
	_Atomic uint32_t gen;   /* seqlock over the descriptive fields */
	_Atomic uint64_t sub_id;
	/* how often this subscription was evicted from this topic; odd never skipped */
	_Atomic uint64_t evicted;
	/* descriptive */
	uint64_t client_id;
	uint64_t segment_id; /* its cursor segment */
	uint64_t opened_ns;
	uint32_t pid, uid;
	uint32_t flags; /* BOARD_SUB_* */
	int32_t node;   /* NUMA node on which it opened; -1 unknown */
	char name[BOARD_NAME_MAX];
	char pattern[96]; /* cut where longer */
	uint64_t inode;   /* of the memfd of its cursors; 0: not said */
	uint32_t entries; /* of them */
	uint32_t pad0;
	uint64_t pad[2];
};
static_assert(sizeof(struct board_sub) == 256, "four lines");

/*
 * A source of a stream: one publisher, or, one after another, those that came under the same name. Its
 * number (src in the stream's slots) is its index here plus BOARD_SOURCES for each time that the entry
 * was somebody else's before: never used again in this stream.
 *
 * | field       | readers                      | ordering |
 * | taken       | its publisher, the next busd | release, after the commits in the stream that it tells of |
 * | durable     | its publisher                | release, after fdatasync and before durable_seq |
 * | the rest    | readers of the stream, tools | gen, a seqlock |
 */
enum board_source_state {
	BOARD_SOURCE_FREE = 0,
	BOARD_SOURCE_OPEN = 1,   /* it has a ring that is not sequenced to its end */
	BOARD_SOURCE_CLOSED = 2, /* all that it published stands in the stream */
};

struct board_source {
	_Atomic uint64_t taken; /* its messages below this number stand in the stream, or were dropped */
	_Atomic uint64_t durable; /* and those below this on disk, where there is one, or were dropped */
	_Atomic uint64_t dropped; /* so many of those that it sent; stored before taken */
	/* the newest run of them: for the writer, which passes durable over it. Seqlock: drop_gen */
	_Atomic uint64_t drop_from, drop_to;
	_Atomic uint32_t drop_gen;
	uint32_t pad0[5];
	_Atomic uint32_t state; /* enum board_source_state */
	_Atomic uint32_t gen;   /* seqlock over what follows */
	uint32_t src;
	uint32_t flags; /* BOARD_SOURCE_* */
	uint32_t pid, uid;
	uint64_t pub_id;
	uint64_t first_seq; /* of the publisher that is described here: earlier ones are of a former one */
	uint64_t opened_ns;
	uint64_t pad1[2];
	char name[BOARD_NAME_MAX];
	uint64_t pad2[8];
};
static_assert(sizeof(struct board_source) == 256, "four lines");
static_assert(offsetof(struct board_source, state) == 64, "what is stored often is by itself");

#define BOARD_SOURCES 1024
#define BOARD_SOURCE_NAMED \
	1u /* who opens it again under this name goes on behind its last message */

#define BOARD_RINGS_OFF   ((size_t)BOARD_HEAD)
#define BOARD_SUBS_OFF    (BOARD_RINGS_OFF + BOARD_RINGS * sizeof(struct board_ring))
#define BOARD_SIZE        (BOARD_SUBS_OFF + BOARD_SUBS * sizeof(struct board_sub))
#define BOARD_SOURCES_OFF BOARD_SIZE
#define BOARD_STREAM_SIZE (BOARD_SOURCES_OFF + BOARD_SOURCES * sizeof(struct board_source))

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.h - topics, the rings on them, publishers, subscriptions, and who reads what.
 *
 *   topic --< ring --< reader >-- member >-- sub
 *     |        |1                   |
 *     |       pub                 topic (a sub has one member for each topic that it matches)
 *
 * Everything belongs to exactly one parent and is undone with it: a client's pubs and subs with
 * the client, a sub's members and readers with the sub, a ring when it is closed, read and no
 * longer kept.
 */
#ifndef BUSD_REGISTRY_H
#define BUSD_REGISTRY_H

#include "board.h"
#include "client.h"

#include "format/log_format.h"

struct stream;
struct feed;
struct hold;

struct topic {
	struct busd *busd;
	uint64_t id;
	char name[CTL_TOPIC_MAX];
	struct ctl_topic_settings settings; /* settled */
	bool explicit_;
	bool removed;     /* off the registry; freed with the last pin and ring */
	bool owed;        /* the epoch is not raised to its number yet (change.h) */
	uint32_t pins;    /* publishers, and requests under way that will need it */
	uint64_t made_by; /* client, and its request: for when it asks again */
	uint32_t made_req;
	uint64_t place; /* in the journal, as in all below */
	uint64_t created_ns;
	struct quota_account *account; /* of who made it */
	struct namespace *space;
	struct board board;
	uint64_t epoch;
	int32_t first_node; /* NUMA node of its first subscriber; -1 nobody said */
	struct list pubs;   /* those whose ring is on the board */
	struct list rings;  /* on the board, in the order they came */
	struct list members;
	uint32_t pub_count, ring_count, member_count;
	/* of a stream (stream.h); bytes 0: it is none */
	struct stream *stream; /* NULL until it is put together */
	uint64_t stream_bytes;
	uint32_t stream_slots;
	struct ctl_log_settings log;
	uint8_t uuid[LOG_UUID_BYTES];
};

struct pub {
	struct list client_link; /* client.pubs */
	struct list topic_link;  /* topic.pubs; points to itself until READY */
	uint64_t id;
	struct client *client;
	struct topic *topic; /* pinned */
	char name[CTL_NAME_MAX];
	struct ctl_topic_settings settings; /* of its rings */
	struct ring *ring;                  /* the one on the board; NULL before the first */
	struct ring *pending;               /* handed out, not READY yet */
	uint32_t req;                       /* the request that opened it */
	uint64_t line;                      /* what it says that it continues, from a former busd */
	uint64_t place;
	uint64_t told;   /* membership number that it was last told */
	uint32_t source; /* of a stream, + 1 */
	BUS_NEXT(uint64_t label;)
};

struct ring {
	struct list link; /* topic.rings */
	uint64_t id;
	struct topic *topic;
	struct pub *pub; /* NULL: closed */
	struct segment *seg;
	uint32_t board_index;
	bool on_board;
	bool succeeds; /* it is not its publisher's first */
	uint32_t req;  /* the request that it answers */
	uint64_t place;
	struct ring *next, *prev; /* succession; NULL where freed */
	struct list readers;
	uint64_t opened_ns; /* Unix */
	uint64_t closed_ns; /* monotonic */
	/* of its publisher, which may have gone */
	uint64_t client_id, pub_id, line;
	uint32_t pid, uid;
	char name[CTL_NAME_MAX];
	uint32_t source;   /* of a stream, + 1 */
	struct feed *feed; /* the sequencer reads it */
	BUS_NEXT(uint64_t label;)
};

struct sub {
	struct list link;        /* busd.subs */
	struct list client_link; /* client.subs */
	uint64_t id;
	struct client *client;
	char pattern[CTL_TOPIC_MAX];
	char name[CTL_NAME_MAX];
	bool wild, active, starved; /* starved: a ring found no entry */
	uint32_t flags;             /* BOARD_SUB_LOSSY */
	uint32_t start;             /* enum ctl_start */
	int32_t node;
	uint64_t opened_ns;
	struct segment *seg;     /* cursors */
	struct namespace *space; /* of its pattern; NULL: that begins with a wildcard */
	uint32_t entries;
	uint32_t entry_hint; /* where to look for a free one */
	struct reader **entry;
	struct list members;
	uint32_t req;  /* the request that opened it */
	uint64_t line; /* what it says that it continues, from a former busd */
	uint64_t place;
	/* a durable one (position.h); "" and NULL: it is none */
	char durable[CTL_NAME_MAX];
	struct hold *hold;
};

/* A subscription's part in one topic. */
struct member {
	struct list topic_link, sub_link;
	struct topic *topic;
	struct sub *sub;
	uint32_t board_index;
	bool has_board; /* its client was given the board */
	uint64_t evictions;
	struct list readers;
	uint64_t place;
};

/* A subscription's place at one ring. */
struct reader {
	struct list ring_link, member_link;
	struct ring *ring;
	struct member *member;
	uint32_t entry;
	bool open;      /* the ring's publisher was there when last looked: peers of each other */
	bool told;      /* the publisher was told of it */
	bool evicted;   /* gates nothing until it joins again; the subscription's other rings do */
	uint32_t flags; /* CTL_RING_*, as announced */
	uint64_t place;
	uint64_t start; /* the publisher counts from here until the entry carries the ring's id */
	uint64_t stuck_at;    /* eviction: where it stood still, */
	uint64_t stuck_since; /* since when (CLOCK_MONOTONIC); 0: not looked at */
};

/* Does its publisher wait for it? */
static inline bool reader_gates(const struct reader *reader)
{
	return !(reader->member->sub->flags & BOARD_SUB_LOSSY) && !reader->evicted &&
	       !(reader->ring->seg->info.geometry.features & RING_FEATURE_STREAM);
}

/* ---- topics (registry.c) */
struct topic *topic_find(struct busd *busd, const char *name);
/* The first one that sorts after `after`. */
size_t topic_index_after(struct busd *busd, const char *after);
/*
 * settings are settled; stream: the sizes of its ring, for stream_make(), or NULL. NULL with *rc and a
 * sentence.
 */
struct topic *topic_make(struct client *client, const char *name,
			 const struct ctl_topic_settings *settings, bool explicit_,
			 const struct job *stream, int *rc, struct why *why);
static inline void topic_pin(struct topic *topic)
{
	topic->pins++;
}
void topic_unpin(struct topic *topic);
/* Restoring: back on the registry, under its name. 0, -ENOMEM. */
int topic_insert(struct topic *topic);
/* Frees a topic, made on demand or removed, that nobody needs any more. */
void topic_release(struct topic *topic);
/* Takes it off the registry and closes its rings; who reads them reads to the end. */
void topic_remove(struct topic *topic);
/* What a former worker had not finished of that, once the epoch has told the publishers. */
void topic_restore_end(struct topic *topic);
uint64_t topic_memory(const struct topic *topic);

/* ---- rings (ring.c) */
/* Takes over the reference to seg where it succeeds. NULL with *rc and a sentence. */
struct ring *ring_new(struct pub *pub, struct segment *seg, int *rc, struct why *why);
/* It is READY: onto the board, in succession of its publisher's present one. */
void ring_put(struct ring *ring);
/*
 * Before it was READY, or after it was closed and nobody reads it: takes it off the board and
 * frees it.
 */
void ring_free(struct ring *ring);
/* Its publisher will write no more (and has gone, where next is NULL). */
void ring_close(struct ring *ring, struct ring *next);
/*
 * Closes the rings of publishers that live, and the publishers are told: of one, or (NULL) of all
 * on the topic. Whatever send had returned 0 before its publisher could know is there for the
 * readers' last look.
 */
void ring_end_open(struct topic *topic, struct pub *only);
/* Those whose publishers have been told by now. */
void ring_end_told(struct topic *topic);
/* A closed ring that lost a reader: kept for late ones, or freed. */
void ring_settle(struct ring *ring);
/* TIMER_KEPT: frees what was kept long enough, sets the next deadline. */
void ring_free_expired(struct busd *busd);
/*
 * quota_charge(), with closed rings freed until it succeeds: first those that nobody reads, then
 * those that were closed long ago; of the same user, or of the namespace whose limit is short.
 */
int ring_charge(struct busd *busd, const struct quota_bill *bill, struct why *why);
/* The publisher's word; 0 <= head. */
uint64_t ring_head(const struct ring *ring);

/* ---- publishers (pub.c), subscriptions (sub.c) */
void pub_free(struct pub *pub);
void sub_free(struct sub *sub);
/* A topic appeared: subscriptions whose pattern matches take part in it. */
void sub_match_topic(struct topic *topic);
/* Rights changed: it takes part in topics that it may read now and is not in yet. */
void sub_match_again(struct sub *sub);
/* A ring went to the board: each subscription of the topic gets a place at it. */
void sub_announce_ring(struct ring *ring);

/* NULL with *rc and a sentence (the board is full). */
struct member *member_new(struct sub *sub, struct topic *topic, int *rc, struct why *why);
void member_free(struct member *member);
/*
 * The ring and what belongs to it are announced to the subscription. NULL: there is no entry left
 * for it.
 */
struct reader *reader_new(struct member *member, struct ring *ring, uint64_t start, uint32_t flags);
/* taken: the subscription did not ask for it, and is told. The ring is not settled. */
void reader_free(struct reader *reader, bool taken);
/* Tells the subscription of it (again). */
void reader_announce(struct reader *reader);
/* The ring's publisher is about to go: they are no longer peers. */
void reader_part(struct reader *reader);

#endif

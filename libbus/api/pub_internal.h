/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub_internal.h - a publisher, as pub.c (the path of a message), pub_room.c (a full ring) and
 * pub_members.c (who is attached) see it.
 */
#ifndef BUS_PUB_INTERNAL_H
#define BUS_PUB_INTERNAL_H

#include "api/bus_internal.h"
#include "api/polling.h"
#include "ring/publish.h"

#define PUB_STAMP_GROUP   16  /* messages of a burst that share a time stamp */
#define PUB_STAMP_MEMBERS 8   /* with more subscribers a stamp is no longer what costs */
#define PUB_BURST_NS      100 /* between two messages, on average, to be a burst */

/* A member's other half: what ring_member.owner points to. */
struct pub_member {
	struct bus__segment *cursors;
	uint64_t client_id;
	uint32_t uid, bell_word;
	bool reported;                     /* busd knows that its cursor cannot be */
	bool stale;                        /* not told again yet, by a new worker of busd's */
	bool dead;                         /* no busd says so, the kernel does */
	uint64_t line;                     /* what it was called first, by whichever busd */
	_Atomic uint32_t *bell;            /* ours; NULL: not here yet */
	const _Atomic uint32_t *peer_bell; /* its, on which we sleep when it gates us */
	struct bus__segment *peer_segment;
};

/* A ring of a former busd after its end, until its readers have read it. */
struct pub_former {
	struct ring_pub ring;
	struct shm_map map;
	struct bus__segment *board_segment;
	uint32_t gen;
	uint64_t since; /* CLOCK_MONOTONIC */
	struct pub_former *next;
};

struct bus_pub {
	uint64_t magic;
	bool go; /* nothing is in the way of the next publish: a child reads it as false, too */
	uint64_t look_at; /* raw counter: look at the connection before that publish */
	struct ring_pub ring;
	/* time stamps */
	uint64_t stamp, stamp_began, burst_ticks;
	uint32_t stamp_left, stamp_count;
	bool burst_time; /* BUS_PUB_BURST_TIME */
	bool broken;     /* a growth failed half way: may only be closed */
	bool removed;    /* the topic is gone, the ring closed under us */
	bool named;      /* by the program: on a stream, for ever */
	uint64_t skip;   /* messages to be dropped: the stream has them (bus_pub_rewind()) */
	/* an open claim */
	bool claimed;
	uint32_t claim_head;              /* bytes of key and headers before the data */
	uint64_t claim_room;              /* payload bytes reserved, without the head */
	uint64_t claim_lens, claim_attrs; /* of the slot, without the length */
	/* set up once */
	struct bus *bus;
	uint64_t id, topic_id;
	struct bus__segment *board_segment;
	const struct board_head *board;
	const struct board_ring *board_ring;
	struct shm_map map;
	struct ring_geometry geometry;
	uint64_t max_bytes;
	const struct board_source *source; /* of a stream; NULL: this is none */
	/* source->dropped when it was opened, and as far as a wait told of it; what former busds' streams dropped */
	uint64_t dropped_at, dropped_told, past_dropped;
	uint32_t full;
	uint64_t full_ns;                      /* UINT64_MAX: for ever */
	struct polling polling, level_polling; /* for room; for bus_pub_wait() */
	/* members */
	uint32_t member_room;
	uint64_t number; /* newest membership applied */
	/* when a membership that did not come was waited for last; 0: it came */
	uint64_t news_waited;
	struct bus__inbox inbox;
	struct wake_crowd *crowd;
	struct bus_pub *next; /* of bus->pubs */
	/* another busd: pub_succeed.c */
	uint32_t gen;         /* of the busd that we are known to */
	uint64_t line;        /* our id at the first of them */
	struct bus_pub *heir; /* opened at the present busd, not in use yet */
	struct pub_former *formers;
	uint64_t tick_mult;  /* ns for a tick of the counter, << 32 */
	uint64_t heir_since; /* CLOCK_MONOTONIC, as the next two */
	uint64_t heir_after, nudged_at, buried_at;
	bool same_pids;    /* busd's pids are ours */
	uint32_t failures; /* to open an heir, in a row */
	int refusal;       /* why a newer busd does not let us */
	/* of a stream: pub_resume.c */
	bool hung_up; /* the connection was lost, at that number */
	uint64_t hung_up_at, held_since;
	bool held;                /* its busd is dead: `stay` gates the ring */
	uint64_t held_at;         /* the next number when that was seen */
	struct cursor_entry stay; /* written by nobody else */
	int32_t numa;             /* as asked when it was opened */
	char topic[CTL_TOPIC_MAX];
	char name[CTL_NAME_MAX];
	char refusal_why[CTL_WHY_MAX];
};

static inline uint64_t bus__pub_ticks(const struct bus_pub *pub, uint64_t ns)
{
	return pub->tick_mult == 0 ? ns : (ns << 32) / pub->tick_mult;
}

/*
 * Whether busd closed the present ring, or is about to: the topic was removed. After an epoch that
 * says so this sees it, since it was stored before that.
 */
static inline bool bus__pub_ring_closed(const struct bus_pub *pub)
{
	return bus_load_acquire(&pub->board_ring->ring_id) != pub->ring.ring_id ||
	       bus_load_acquire(&pub->board_ring->state) != BOARD_RING_OPEN;
}

/* After each change of what it looks at. */
static inline void bus__pub_set_go(struct bus_pub *pub)
{
	pub->go = pub->magic == BUS__PUB_MAGIC && !pub->claimed && !pub->ring.wake_owed &&
		  !pub->broken && !pub->removed && pub->refusal == 0 && pub->skip == 0;
}

/*
 * pub_room.c: makes room for need payload bytes, by waiting, evicting or growing. 0 or the error of
 * bus_pub_send().
 */
int bus__pub_make_room(struct bus_pub *pub, uint64_t need);

/* pub_stream.c: one message less to be dropped. */
void bus__pub_skip(struct bus_pub *pub);
/* What its streams dropped; the next busd's, heir's, begins to count. */
uint64_t bus__pub_dropped(const struct bus_pub *pub);
void bus__pub_move_dropped(struct bus_pub *pub, const struct bus_pub *heir);

/* pub_members.c */
/*
 * Receives memberships without blocking. true: pub->ring.seen is what the board says; false: not
 * there yet.
 */
bool bus__pub_news(struct bus_pub *pub);
/* After ring_pub_wake() said RING_NEWS. */
void bus__pub_wake_news(struct bus_pub *pub);
bool bus__pub_wake(struct ring_pub *ring, struct ring_member *member);
/* Waits (bounded) until all that was sent before the answer with `number` is applied. */
int bus__pub_await_members(struct bus_pub *pub, uint64_t number);
void bus__pub_drop_members(struct bus_pub *pub);
void bus__pub_free_members(struct bus *bus, struct ring_pub *ring); /* under lock */
void bus__pub_receive(struct bus_pub *pub);                         /* applies what has come */
/*
 * The words on which a blocked publisher sleeps. *count may be fewer than members where a bell is
 * missing: *slice then.
 */
int bus__pub_bells(struct bus_pub *pub, struct wake_word **words, int *count, bool *slice);

/* pub.c: maps a ring from a reply and tells busd. */
int bus__pub_take_ring(struct bus_pub *pub, struct ctl_pub_reply *r, int fd, struct shm_map *map);
/* Opens its first ring, or first at that busd: its number may be one that is passed meanwhile. */
int bus__pub_open_ring(struct bus_pub *pub, const struct ctl_topic_settings *settings,
		       uint64_t first_seq);
void bus__pub_discard(struct bus_pub *pub);

/* pub_succeed.c */
/* Looks at the connection when that is due, and follows it to another busd. Nothing is claimed. */
void bus__pub_look(struct bus_pub *pub);
/* The same until it is there: a larger ring is needed. false: it is not, or was all the time. */
bool bus__pub_hurry(struct bus_pub *pub);
/* How far readers of former rings have come: a sum that grows while one of them moves. */
uint64_t bus__pub_former_progress(const struct bus_pub *pub);
void bus__pub_drop_formers(struct bus_pub *pub, bool all);
uint32_t bus__pub_oldest(const struct bus_pub *pub); /* generation that it needs; under lock */
/* pub_resume.c: a stream's publisher. Before it opens an heir, then of that: 0, or why it is refused. */
int bus__pub_may_resume(struct bus_pub *pub);
int bus__pub_check_heir(struct bus_pub *pub, const struct bus_pub *heir);
/* What the log does not have goes from its old ring to the heir's. false: not all of it yet. */
bool bus__pub_bring(struct bus_pub *pub, struct bus_pub *heir);
/* After each look: notes when the connection was lost, and waits a little for it. */
void bus__pub_look_at_stream(struct bus_pub *pub);
/* Before it is closed: what a dead busd had not on disk is brought to the next one, if that comes in time. */
void bus__pub_linger(struct bus_pub *pub);
/* Its busd is dead: nothing is written over that may have to be sent again. */
void bus__pub_hold(struct bus_pub *pub);
/* Members of a dead busd's ring that are dead gate no more. */
void bus__pub_bury(struct bus_pub *pub);

#endif

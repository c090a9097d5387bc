/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_internal.h - a subscription, as sub.c (open, close), sub_rings.c (what busd tells: rings,
 * evictions), sub_begin.c (where it begins), sub_read.c (peek and release), sub_stream.c and sub_disk.c
 * (a stream's ring, and what has left it), and sub_wait.c (sleeping) see it.
 */
#ifndef BUS_SUB_INTERNAL_H
#define BUS_SUB_INTERNAL_H

#include "api/bus_internal.h"
#include "api/polling.h"
#include "ring/consume.h"

#define SUB_BUDGET     256  /* messages from one ring before another one is looked at */
#define SUB_AGAINS     64   /* rings that ended, lapped or evicted us, in one peek */
#define SUB_IDLE_LOOKS 1024 /* empty looks in a row until publishers are told that we are idle */
#define SUB_LOOKS      32 /* empty looks from one at the clock, and perhaps at busd, to the next */

/* One matching topic: its board, and how often we were evicted from it. */
struct sub_topic {
	uint64_t topic_id;
	struct bus__segment *segment;
	const struct board_head *board;
	const struct board_sub *entry; /* ours on the board */
	uint64_t evicted_seen;
	uint32_t rings;
	uint32_t gen; /* of busd */
	uint32_t cal_gen;
	struct bus_calibration cal;
	struct sub_topic *next;
	char name[CTL_TOPIC_MAX];
};

struct sub_ring {
	struct ring_reader rd;
	struct sub_topic *topic;
	uint32_t borrowed;
	bool active;    /* false: a successor whose predecessor is not drained yet */
	bool unbegun;   /* attached, and its cursor not written yet */
	bool stale;     /* not told again yet, by a new worker of busd's */
	bool ignored;   /* wrote what is not a message */
	bool skips;     /* joins again, and has missed something */
	bool chosen;    /* BUS_START_LAST: begins at its last message */
	bool same_pids; /* its busd's pids are ours */
	bool from_disk; /* its next message is read from the stream's log: sub_disk.c */
	bool voided; /* what was borrowed first was overwritten: void up to the last, then read again */
	uint64_t after_ns; /* BUS_START_TIME: older ones are passed over until the first that is not; 0 */
	struct sub_stream *stream; /* it is a stream's: sub_stream.c; else NULL */
	struct sub_disk *disk;     /* of one on disk; else NULL */
	uint32_t gen;              /* of busd */
	uint64_t line;             /* what its publisher was called first, by whichever busd */
	uint64_t prev_ring;
	struct bus_peer peer;
	/* waking its publisher, and being woken */
	uint64_t client_id;
	uint32_t bell_word;
	_Atomic uint32_t *bell;
	const _Atomic uint32_t *peer_bell;
	struct bus__segment *peer_segment;
	struct bus__segment *segment;
	struct bus_sub *sub;
	/* written instead of ours once busd has given that to another ring */
	struct cursor_entry dummy;
	char name[CTL_NAME_MAX];
};

/* Borrowed messages of one ring, one after another. */
struct sub_run {
	struct sub_ring *ring;
	uint32_t count;
	bool disk;     /* they were read from disk */
	uint64_t lost; /* as told with the first of them */
};

/* Cursors in rings of a former busd, until those are read to their ends. */
struct sub_former {
	uint32_t gen;
	struct shm_map map;
	struct cursor_segment *cursors;
	struct sub_former *next;
};

/* How far a stream was read whose ring of a former busd has ended: the next busd's goes on there. */
struct sub_end {
	struct sub_end *next;
	uint64_t seq;
	uint32_t gen;
	char topic[CTL_TOPIC_MAX];
};

/* What a subscription is opened with, at each busd. */
struct sub_like {
	uint64_t line; /* its id at the first of them */
	uint32_t policy, max_rings;
	char pattern[CTL_TOPIC_MAX];
	char name[CTL_NAME_MAX];
	char durable[CTL_NAME_MAX]; /* "": it is none */
};

struct bus_sub {
	uint64_t magic;
	const void *owner; /* token of the thread that used it last */
	struct bus *bus;
	const _Atomic uint32_t *bell; /* busd's, of our generation */
	uint32_t bell_seen;           /* busd's bell when we looked for events last */
	int pending;                  /* an error that the next peek returns */
	/* rings, in the order in which they are looked at */
	struct sub_ring **rings;
	uint32_t ring_count, ring_room;
	uint32_t at;      /* the ring to look at next */
	uint32_t run;     /* messages taken from it in a row */
	uint32_t looks;   /* empty ones in a row */
	bool ungated;     /* evicted while busd was away: nobody waits for us */
	bool inbox_stuck; /* an event waits for its segment */
	bool resuming;    /* a new worker of busd's tells all rings again */
	bool rejoin_owed; /* evicted, but messages of that topic are borrowed still */
	bool look_owed;   /* the connection was not looked at for a while */
	/*
	 * borrowed messages; all arrays are circular, the oldest at [borrow_first] and [run_first]
	 */
	uint32_t borrow_first, borrow_count;
	uint32_t run_first, run_count;
	uint64_t borrow_pos[BUS_BORROW_MAX];
	/* head and payload of those that travelled in their slot */
	uint64_t borrow_in[BUS_BORROW_MAX][3];
	struct sub_run runs[BUS_BORROW_MAX];
	/* set up once */
	uint64_t id;
	struct shm_map map;
	struct cursor_segment *cursors;
	uint32_t entries;
	uint32_t start, policy;
	uint64_t start_seq, start_back, start_time_ns; /* BUS_START_SEQ, BACK, TIME */
	struct polling polling;
	bool joined;
	bool durable;      /* bus__durable_released() is to be called */
	bool acks_apart;   /* BUS_SUB_ACK */
	uint64_t released; /* messages below were released as good, + 1; 0: it has not begun */
	uint64_t acked;    /* and acknowledged */
	struct sub_topic *topics;
	struct bus__inbox inbox;
	/* sleeping */
	uint32_t wait_gen;
	bool announced;         /* waiting is not 0 */
	uint64_t read_at_sleep; /* how far we were in all rings before the last sleep, summed up */
	bool words_stale;
	bool slice; /* a peer has no bell for us yet */
	struct wake_word *words;
	int word_count, word_room;
	struct wake_crowd *crowd;
	struct wake_fd *fd;
	bool fd_thread; /* BUS_SUB_FD_THREAD */
	bool armed;
	/* another busd: sub_succeed.c */
	uint32_t gen;    /* of the busd that we are known to */
	uint64_t serial; /* 0: an heir */
	struct sub_like like;
	struct bus_sub *heirs, *later; /* opened at a newer busd, to be taken over; under bus->lock */
	struct sub_former *formers, *spare_former;
	struct sub_end *ends;
	_Atomic uint32_t heir_there; /* or refusal */
	int refusal;                 /* why a newer busd does not let us; under bus->lock */
	bool refused;                /* the owner knows */
	uint32_t failures;           /* in a row, of those that may be overcome */
	uint64_t heir_after;         /* CLOCK_MONOTONIC: not to be opened before */
	uint64_t buried_at;          /* when we looked for dead publishers last */
	char refusal_why[CTL_WHY_MAX];
	/* accounts of rings that are gone */
	uint64_t past_delivered, past_lost, evictions;
	uint64_t rings_told;                  /* EV_RING events applied */
	struct bus_sub *next;                 /* of bus->subs */
	struct bus_sub *next_any, **prev_any; /* of all subscriptions of this process */
};

/* sub_rings.c. All are called by the owner thread. */
/* busd rang: receive, attach, detach, join again after an eviction */
void bus__sub_news(struct bus_sub *sub);
void bus__sub_finish_ring(struct bus_sub *sub, struct sub_ring *r);
bool bus__sub_evicted(const struct sub_topic *topic);
void bus__sub_drop_rings(struct bus_sub *sub);
void bus__sub_resolve_bells(struct bus_sub *sub, struct sub_ring *r); /* under bus->lock */
bool bus__sub_ring_place(struct bus_sub *sub, uint32_t count);        /* room for so many more */
void bus__sub_ring_ends(struct sub_ring *r); /* nothing more comes there, whatever a board says */

/* sub_begin.c */
void bus__sub_begin(struct bus_sub *sub);  /* join, step 1, of all rings attached so far */
void bus__sub_joined(struct bus_sub *sub); /* join, step 3 */
/* Both of rings that were activated with the rest, but announced after our step 1. Not under bus->lock. */
void bus__sub_begin_late(struct bus_sub *sub);

/* sub_stream.c */
/* A ring that is a stream's gets what its messages need; false: no memory, or a board that is none. */
bool bus__sub_stream_attach(struct sub_ring *r, const struct bus__segment *ring,
			    const struct bus__segment *board);
void bus__sub_stream_begin(struct sub_ring *r, uint64_t seq); /* BUS_START_SEQ, of one in memory */
/* Before the first message of a batch: what those before it pointed to may go, if none of them is borrowed. */
void bus__sub_stream_batch(struct sub_ring *r);
/* Who published, by its number in the stream. Borrowed like a message. */
const struct bus_peer *bus__sub_stream_who(struct sub_ring *r, uint32_t src, uint64_t src_seq);
void bus__sub_stream_free(struct sub_stream *stream); /* NULL is allowed */
/* What a stream's slot says more than another's of a message that was just looked at. */
void bus__sub_stream_mark(struct sub_ring *r, const struct ring_peeked *p, struct bus_msg *msg);

/* sub_disk.c, sub_disk_begin.c: of rings that have one */
/* A stream that is kept on disk gets what its log is read by. false: no memory. */
bool bus__sub_disk_attach(struct sub_ring *r, const struct board_head *board);
void bus__sub_disk_free(struct sub_disk *disk); /* NULL is allowed */
/* Join, step 1: stands where the subscription is to begin. false: where any ring's would. */
bool bus__sub_disk_begin(struct sub_ring *r);
/* At the number behind the last one that a former busd's ring had for us. */
void bus__sub_disk_begin_at(struct sub_ring *r, uint64_t seq);
/* The ring was read until its end: noted for the next busd's. And is there one of a former busd's? */
void bus__sub_disk_ended(struct sub_ring *r, uint64_t seq);
void bus__sub_disk_go_on(struct bus_sub *sub, struct sub_ring *r);
/* Lapped in the ring: goes on from disk. false: there is none, it is lost. Nothing is borrowed. */
bool bus__sub_disk_enter(struct sub_ring *r);
/*
 * While from_disk: fills at most `room` messages and positions, and says how many. 0: none now; with *again: look
 * again, the ring has it perhaps. -errno: nothing is lost by it.
 */
int bus__sub_disk_take(struct sub_ring *r, struct bus_msg *msgs, uint64_t *pos, int room,
		       bool *again);
void bus__sub_disk_untake(struct sub_ring *r); /* the last one */
bool bus__sub_disk_ready(const struct sub_ring *r);
uint64_t bus__sub_disk_due(const struct sub_ring *r); /* CLOCK_MONOTONIC: when it is again; 0: it is */
/* Why its log cannot be read now, and is tried again: with the sentence; 0. */
int bus__sub_disk_error(const struct sub_ring *r, const char **why);
/* Of n messages of one run that are given back, before the run is: are they good? */
bool bus__sub_disk_whole(const struct sub_ring *r, bool disk, uint64_t pos);
/* After it was: they were, or all that is borrowed from them on is void, and read again. */
void bus__sub_disk_pass(struct sub_ring *r, uint32_t n, bool disk, uint64_t pos);
void bus__sub_disk_void(struct sub_ring *r, uint32_t n, bool disk, uint64_t told);

/* sub_durable.c */
int bus__durable_opts(struct bus_sub *sub, const struct bus_sub_opts *o);
/* Before the request: may it be asked? */
int bus__durable_check(const struct bus_sub *sub);
/* busd has said where it stands, + 1; 0: nowhere yet. Before the join. */
void bus__durable_begin(struct bus_sub *sub, uint64_t position);
/* It has joined, by its owner: one that is new stands somewhere from here on. */
int bus__durable_joined(struct bus_sub *sub);
/* It has other cursors now, of another busd. */
void bus__durable_move(struct bus_sub *sub);

static inline void bus__durable_ack(struct bus_sub *sub)
{
	sub->acked = sub->released;
	/* who sees it knows that the messages were used: busd, and through it a later holder */
	bus_store_release(&sub->cursors->acked, sub->acked);
}

/* Messages below seq were released as good. */
static inline void bus__durable_released(struct bus_sub *sub, uint64_t seq)
{
	sub->released = seq + 1;
	if (!sub->acks_apart)
		bus__durable_ack(sub);
}

/* sub.c */
/*
 * A subscription as `like` describes it, at the present busd, joined; it has no owner yet. NULL with
 * *err and the sentence.
 */
struct bus_sub *bus__sub_open_heir(struct bus *bus, const struct sub_like *like, int *err);
void bus__sub_discard(struct bus_sub *sub);

/* sub_succeed.c */
/* Looks at the connection, and takes over what was opened at a newer busd. By the owner. */
void bus__sub_look(struct bus_sub *sub, bool now);
/* A ring that continues one of a former busd waits until that is read to its end. */
void bus__sub_follow(struct bus_sub *sub, struct sub_ring *r);
/* The ring that r was to wait for has been read until `end`. */
void bus__sub_begin_follower(struct bus_sub *sub, struct sub_ring *r, uint64_t end);
void bus__sub_drop_formers(struct bus_sub *sub);     /* those without rings */
uint32_t bus__sub_oldest(const struct bus_sub *sub); /* generation that it needs */
/* Opens at the present busd what it does not know yet. */
void bus__open_heirs(struct bus *bus);

/* sub_wait.c */
void bus__sub_adopt(struct bus_sub *sub);
void bus__sub_register(struct bus_sub *sub);
void bus__sub_unregister(struct bus_sub *sub);
void bus__sub_flush(struct bus_sub *sub);
void bus__sub_arm(struct bus_sub *sub); /* peek found nothing, and there is a descriptor */
void bus__sub_disarm(struct bus_sub *sub);
void bus__sub_idle(struct bus_sub *sub, uint32_t idle);
/* Tells threads apart: the address of a variable that each has. */
extern __thread char bus__thread_mark __attribute__((visibility("hidden")));
static inline const void *bus__thread_token(void)
{
	return &bus__thread_mark;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world.h - what surrounds the ring in a scenario: shared segments, a kernel with sockets, and the
 * loops of libbus/api and busd, as short as they can be with every shared access in the order of
 * the real ones.
 *
 *   world.c       segments, names of words, sockets, bells, the content of messages
 *   world_pub.c   libbus/api/pub*.c: send, wait for room, receive memberships
 *   world_sub.c   libbus/api/sub*.c: peek, release, wait, join, join again
 *   world_busd.c  busd: memberships, epoch, bells, answers, deaths
 *
 * Parties: publishers first, then subscribers, then busd.
 */
#ifndef MODEL_WORLD_H
#define MODEL_WORLD_H

#include "explore.h"
#include "ring/consume.h"
#include "ring/mutants.h"
#include "ring/publish.h"
#include "format/board_layout.h"

#define WORLD_RINGS    2
#define WORLD_SUBS     2
#define WORLD_MESSAGES 8
#define QUEUE_MAX      6
#define BATCH_MAX      2
#define NOBODY         255

/* One line of the scenario's own code weakened. Lines of libbus/ring: ring/mutants.h. */
/* clang-format off */
/* clang-format off */
#define SIM_MUTANTS(X) \
	X(no_w3) X(no_barrier) X(no_second_look) X(bells_read_late) X(same_generation) \
	X(wake_before_bell) X(no_flush_before_sleep) X(flush_per_subscription) X(no_bell_look) \
	X(no_f2) X(answer_before_epoch) X(epoch_before_members) X(unknown_gate_ignored) \
	X(last_from_start) X(busd_does_not_ring) X(answer_before_bell) X(no_park) X(final_early) \
	X(next_means_end) X(rejoin_goes_back) X(count_at_stale) \
	X(slowest_bell_only) X(late_member_not_awaited) X(batch_waits_untold) X(abort_unnoted) \
	X(whole_by_newest) X(busd_no_barrier) X(closed_before_epoch) X(ending_after_epoch) \
	X(ending_no_barrier) X(brief_same_generation)
/* clang-format on */

enum sim_mutant {
	SIM_MUTANT_none,
#define X(name) SIM_MUTANT_##name,
	SIM_MUTANTS(X)
#undef X
};
extern int sim_mutant;
#define SIM_MUTANT(name) (sim_mutant == SIM_MUTANT_##name)

/* ---- what a scenario chooses ---- */

struct world_plan {
	int pubs, subs;
	bool busd;
	uint8_t rings; /* 0: one for each publisher */
	uint32_t slots, bytes;
	uint8_t messages; /* per ring */
	/* bytes of message n; those after the last are like it; none: all inline */
	uint16_t sizes[WORLD_MESSAGES];
	bool any_size;    /* each message is inline, or has 64 or 128 bytes: all combinations */
	bool fences;      /* W1 is a fence, W3 too; otherwise W3 is a membarrier */
	bool wants_fence; /* a subscriber without membarrier: the publisher fences once it knows it */
	bool brief;       /* it sleeps without W3's barrier first, for a while */
	uint8_t flush_every, batch; /* 0: the ring's own, 1 */
	uint8_t send_batch;         /* 0: one at a time */
	bool whole_slots;           /* slots are not torn here: another scenario's question */
	bool ends;                  /* busd notices who dies or returns */
	/*
	 * a membership cannot be sent before the epoch is raised and the joiner answered: sent
	 * later
	 */
	bool socket_full;
	bool lossy[WORLD_SUBS];
};
extern struct world_plan plan;

/* ---- shared memory ---- */

struct world_ring {
	struct ring_writer_page *page;
	struct ring_view view;
};

struct world_board {
	_Atomic uint64_t epoch;
	_Atomic uint64_t evicted[WORLD_SUBS];
	_Atomic uint64_t next_ring[WORLD_RINGS]; /* ring number + 1 */
	_Atomic uint32_t state[WORLD_RINGS];
	_Atomic uint32_t bell[EXPLORE_PARTIES][EXPLORE_PARTIES]; /* [who rings][who sleeps] */
};

extern struct world_board *board;
extern struct cursor_segment *cursors[WORLD_SUBS];
extern struct world_ring rings[WORLD_RINGS];

/* Segments and memories of a plan, in setup. Entries of subscribers are not tagged yet. */
void world_setup(const struct world_plan *p);
/*
 * In setup: this subscriber read this ring before the story begins: see subscriber_knows(),
 * publisher_knows().
 */
void world_reads(int sub, int ring);
const char *world_word_name(const volatile void *word);

static inline int world_pub(int i)
{
	return i;
}

static inline int world_sub(int i)
{
	return plan.pubs + i;
}

static inline int world_busd(void)
{
	return plan.pubs + plan.subs;
}

/* ---- sockets ---- */

enum note_kind {
	NOTE_NONE,
	NOTE_MEMBER, /* busd to a publisher; op says what */
	NOTE_RING,   /* busd to a subscriber: a ring to read */
	NOTE_ANSWER, /* busd to anybody */
	NOTE_JOIN,   /* to busd */
	NOTE_REJOIN,
	NOTE_NEW_RING,
	NOTE_CLOSE,
	NOTE_EVICT,
	NOTE_GONE, /* made up by await(): the other end has died */
};

enum member_op { MEMBER_NONE, MEMBER_ADD, MEMBER_REMOVE };

struct note {
	uint8_t kind, op, number, ring, sub, start, from, gates;
};
static_assert(sizeof(struct note) == 8, "passes through a system call's result");

/* Two sockets to each party: events (never waited for by a publisher) and answers. One to busd. */
static inline int events_of(int party)
{
	return party;
}

static inline int answers_of(int party)
{
	return EXPLORE_PARTIES + party;
}
#define REQUESTS (2 * EXPLORE_PARTIES)
#define QUEUES   (2 * EXPLORE_PARTIES + 1)

void post(int queue, struct note note);
/* The oldest note, or one of kind NOTE_NONE: does not wait. */
struct note receive(int queue);
/* Waits for a note, or for the end of a party of the mask (NOTE_GONE, from: who). Notes first. */
struct note await(int queue, uint32_t mask);

/* Waits until receive() would find something. */
void await_readable(int queue);

void bell_ring(int from, int to);

/* ---- messages ---- */

/* What the oracle knows. Parties do not act on it. */
struct oracle {
	uint8_t begun[WORLD_RINGS],
		committed[WORLD_RINGS]; /* messages; they differ where a publisher was killed */
	/* payload units of 64 bytes, where a size was chosen */
	uint8_t units[WORLD_RINGS][WORLD_MESSAGES];
	uint8_t stopped[WORLD_RINGS]; /* the publisher gave up: closed, or busd gone */
	/* of the committed, those whose send returned 0; where busd ends rings */
	uint8_t returned[WORLD_RINGS];
	uint8_t reported; /* a reader that a publisher took for a liar */
};

struct kernel {
	struct {
		uint8_t count;
		struct note note[QUEUE_MAX];
	} queue[QUEUES];
	uint32_t ends_seen;
};

struct ghost {
	struct kernel kernel;
	struct oracle oracle;
};
extern struct ghost *const ghost;

uint32_t message_size(int ring, uint64_t seq);
uint64_t message_pos(int ring, uint64_t seq);
uint64_t message_tag(int ring, uint64_t seq);

/* ---- a publisher ---- */

struct publisher {
	struct ring_pub ring;
	struct ring_member members[WORLD_SUBS];
	uint8_t me, number, index; /* index: which ring */
	uint8_t slowest_seen;
	bool shut, ask_evict, evict_asked;
};
struct publisher *publisher_of(int me);

void publisher_begin(struct publisher *p, int me, int ring);
/* A subscriber that is active. */
void publisher_knows(struct publisher *p, int sub, uint64_t start);
void publisher_send(struct publisher *p);
void publisher_send_batch(struct publisher *p, int count);
/* All messages of the plan. */
void publisher_send_all(struct publisher *p);
/* Writes the payload of a message of so many bytes and gives it up. */
void publisher_abort(struct publisher *p, uint32_t len);
bool publisher_attach(struct publisher *p);
void publisher_close(struct publisher *p);
bool publisher_grow(struct publisher *p);
void publisher_point(const struct publisher *p, uint64_t id);

/* ---- a subscriber ---- */

struct borrowed {
	uint64_t pos;
	uint8_t ring, whole;
};

struct subscriber {
	struct ring_reader rd[WORLD_RINGS];
	uint32_t gen, bell_seen;
	uint8_t me, index;
	uint8_t evicted_seen;
	bool attached[WORLD_RINGS], active[WORLD_RINGS], finished[WORLD_RINGS], parked, reliable,
		owed;
	uint8_t prev[WORLD_RINGS];   /* ring number + 1 */
	uint8_t first[WORLD_RINGS];  /* where it began to read */
	uint8_t next[WORLD_RINGS];   /* oracle: all messages below were delivered or lost */
	uint8_t unsafe[WORLD_RINGS]; /* messages below this may be lost also to a reliable reader */
	/* what the caller waits for besides messages: it looks before it sleeps */
	bool (*done)(struct subscriber *);
};
struct subscriber *subscriber_of(int me);

void subscriber_begin(struct subscriber *s, int me);
/* A ring that this subscriber read before the story begins, from its first message on. */
void subscriber_knows(struct subscriber *s, int ring);
/* Takes up to plan.batch messages of each ring, and gives them back. false: there was nothing. */
bool subscriber_take(struct subscriber *s);
bool subscriber_something(struct subscriber *s);
void subscriber_wait(struct subscriber *s);
void subscriber_flush(struct subscriber *s);
/* In three steps. s->parked: busd had gone. */
void subscriber_join(struct subscriber *s, int ring, bool tag_first);
void subscriber_join_oldest(struct subscriber *s, int ring);
void subscriber_peruse(struct subscriber *s, int ring);
/* true: it was evicted, and has joined again. */
bool subscriber_news(struct subscriber *s);
void subscriber_point(const struct subscriber *s, uint64_t id);
static inline uint64_t subscriber_at(const struct subscriber *s, int ring)
{
	return s->rd[ring].delivered + s->rd[ring].lost;
}

/* ---- busd ---- */

struct busd {
	uint8_t me, number;
	uint8_t reads[WORLD_RINGS], gates[WORLD_RINGS]; /* masks of subscribers */
	uint8_t owner[WORLD_RINGS];                     /* party, NOBODY: not open */
	uint8_t order_of_ends, gone;                    /* masks of parties */
};
struct busd *busd_of(int me);
void busd_begin(struct busd *b, int me);
/* Ends the rings of publishers that live: the topic is removed by force. */
void busd_remove(struct busd *b);
/* Serves requests and deaths until all other parties have ended. */
void busd_serve(struct busd *b);

/* ---- bodies and ends that several scenarios share ---- */

/*
 * Publishes plan.messages on ring number me to the subscribers that are active from the beginning.
 */
void body_publish(int me);
/* Reads the rings of all publishers from the first message to the last. */
void body_subscribe(int me);
/* busd where all publishers and subscribers know one another from the beginning. */
void body_busd(int me);
/* Setup for them. */
void begin_known(const struct world_plan *p, bool mortal_pubs, bool mortal_subs);

const char *nothing_lost(void);
/* For finish(): nobody sleeps, waits or is left behind. */
const char *all_returned(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notes.h - what the parties of a chaos run write down outside the bus, in mapped files: a note
 * survives the death of its writer at any instruction, and everybody can read everybody's.
 *
 * A publisher notes its intent before each call that publishes and the commit after it. A life is
 * one bus_pub_open() to its end; a slot is the place of a party, which a new process takes when the
 * old one was killed. Messages carry the life's number, so that a reader knows whose notes to
 * compare with.
 */
#ifndef TESTS_CHAOS_NOTES_H
#define TESTS_CHAOS_NOTES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <bus.h>

#define TOPICS       4
#define PUBS         6
#define SUBS         6
#define PUB_LIVES    16384 /* of one slot */
#define SIZE_MAX_    60000 /* of a message: four times what the ring takes before it grows */
#define WORKER_KILLS 65536
#define SLOTS_MAX    256 /* of a ring */
#define FULL_NS      350000000
#define STUCK_NS     UINT64_C(20000000000)
#define WRONG_SHOWN  20

enum life_state {
	LIFE_NONE = 0,
	LIFE_OPENING,
	LIFE_OPEN,
	LIFE_CLOSED, /* it closed by itself */
	LIFE_DEAD,   /* killed, and the director has reaped it */
	LIFE_FAILED, /* could not be opened because busd was killed meanwhile */
};

/* One writer: the publisher; `state` also the director, once the publisher has been reaped. */
struct pub_life {
	_Atomic uint64_t intent;    /* messages begun */
	_Atomic uint64_t committed; /* messages whose call returned */
	_Atomic uint32_t state;
	_Atomic uint32_t gen; /* of busd, if it was the same before and after the opening; else 0 */
	uint32_t topic;
	uint32_t pid;
	uint64_t began_ns;
	uint32_t full;
	uint32_t grown; /* how often its ring was replaced, and at which numbers (the last four) */
	uint64_t grown_at[4];
	uint32_t subscribers, gating; /* as its library saw them last */
	_Atomic bool removed; /* its topic was removed under it: it may be told -ESHUTDOWN */
};

struct pub_notes {
	_Atomic uint32_t lives; /* begun; the last one is life[lives - 1] */
	_Atomic uint32_t progress;
	struct pub_life life[PUB_LIVES];
};

struct sub_totals {
	_Atomic uint64_t delivered, lost, evictions, lives, checked_lives, stale;
};

enum phase {
	PHASE_RUN = 0,
	PHASE_DRAIN, /* publishers close and leave */
	PHASE_END,   /* no publisher is left: subscribers read to the end, check, leave */
};

struct chaos_notes {
	_Atomic uint32_t phase;
	/* even: a busd runs; odd: it was killed and the next one does not answer yet */
	_Atomic uint32_t gen;
	_Atomic uint64_t gen_ns;       /* when it became odd */
	_Atomic uint32_t worker_kills; /* noted before the kill */
	_Atomic uint64_t worker_ns;
	_Atomic uint64_t worker_kill_ns[WORKER_KILLS];
	_Atomic uint64_t removals; /* forced removals of a topic, noted before the call */
	_Atomic uint64_t removals_done;
	_Atomic uint64_t wrong, excused;
	struct sub_totals sub[SUBS];
	uint64_t seed;
	bool verbose;
	char dir[200];
	char socket[220];
};

extern struct chaos_notes *notes;
extern struct pub_notes *pub_notes[PUBS];

void notes_open(const char *dir); /* creates the files and maps them; children inherit the maps */

/* Something that must not happen: counted, and the first ones shown. */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- what a message carries ---- */

struct chaos_head {
	uint32_t who;  /* slot * PUB_LIVES + life */
	uint32_t size; /* of the whole message */
	uint64_t number;
	uint64_t sum; /* over publisher, number, size and all bytes behind this */
};

void message_fill(void *at, uint32_t who, uint64_t number, uint32_t size);
/* NULL, or what is wrong with it. *head is copied first. */
const char *message_check(const void *at, uint32_t len, struct chaos_head *head);

/* ---- chance ---- */

struct chance {
	uint64_t state;
};
uint64_t chance_next(struct chance *c);
static inline uint32_t chance_below(struct chance *c, uint32_t n)
{
	return (uint32_t)((chance_next(c) >> 32) * n >> 32);
}

uint64_t now_ns(void);
void sleep_us(uint64_t us);

extern const char *const topic_names[TOPICS];

/*
 * A connection to the busd of an even generation; *gen says of which. Waits while there is none.
 * NULL: the run is over.
 */
struct bus *party_connect(const char *name, uint32_t *gen);
/* Whether a control call that began in `gen` may have failed: busd was killed since. */
bool party_excused(uint32_t gen, uint32_t worker_kills);

void pub_party(unsigned slot, uint64_t seed) __attribute__((noreturn));
void sub_party(unsigned slot, uint64_t seed) __attribute__((noreturn));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - inside the explorer: the state of one run, the two memories, the search.
 *
 *   search.c   who moves next: depth-first over all orders, snapshots, visited states, sleep sets,
 *              replay
 *   party.c    what parties call: explore_*(); gives control to the search where the order matters
 *   memory.c   what a load sees: store buffers (TSO) and views (C11)
 */
#ifndef MODEL_ENGINE_H
#define MODEL_ENGINE_H

#include <setjmp.h>

#include "explore.h"

#define MAX_WORDS   192 /* words of shared memory in use, a multiple of 32 */
#define BUFFER_MAX  24  /* visible stores in flight per party; a store waits while it is full */
#define STACK_BYTES 16384
#define ARENA_BYTES 65536
#define CANDIDATES  12 /* stores that one load may choose from */
#define MAX_STEPS   (EXPLORE_PARTIES * CANDIDATES + EXPLORE_PARTIES)

enum pending {
	AT_NOTHING,
	AT_LOAD,    /* of a word that somebody else writes */
	AT_ADD,     /* atomic add */
	AT_FENCE,   /* sequentially consistent */
	AT_CALL,    /* system call */
	AT_BARRIER, /* membarrier */
	AT_CHOICE,  /* a branch of the party's own, or whether it is killed here */
	AT_ROOM,    /* TSO: the store buffer is full */
	AT_SLEEP,   /* in futex_waitv */
	AT_END,     /* returned or killed */
};

struct party {
	void *sp;
	/* digest of all that it observed: with its program, its whole private state */
	uint64_t history;
	uint64_t value, result;
	uint64_t (*call)(uint64_t, uint64_t);
	bool (*ready)(uint64_t, uint64_t);
	uint64_t a, b;
	uint8_t pending, word, order, choices;
	int8_t object;
	bool killed, may_die_here, woken, sees_ends;
	uint8_t sleep_count, sleep_on[EXPLORE_FUTEX_MAX];
	uint32_t sleep_value[EXPLORE_FUTEX_MAX];
};

struct buffer {
	uint8_t count, early,
		word[BUFFER_MAX]; /* early: how many of the last it issued since its last step */
	uint64_t value[BUFFER_MAX];
};

/* TSO. Every word's value in memory, and what is not there yet. */
struct tso {
	uint64_t value[MAX_WORDS];
	uint64_t digest; /* of value[], kept up to date */
	struct buffer buffer[EXPLORE_PARTIES];
};

/* per word: the oldest of its stores that may still be seen */
typedef uint8_t word_view[MAX_WORDS];

/*
 * C11. Stores lie in a log that only grows; a party's view says how much of it the party must see.
 */
struct c11 {
	uint16_t log_count, view_count, objects_used;
	uint16_t newest[MAX_WORDS];         /* index in the log, 0: none */
	word_view count;                    /* stores made */
	word_view sees[EXPLORE_PARTIES];    /* what each party must see */
	word_view saw[EXPLORE_PARTIES];     /* what it saw at its last step */
	word_view pending[EXPLORE_PARTIES]; /* what it will once it passes an acquire fence */
	/* the view that its relaxed stores carry, from its last release fence */
	uint16_t released[EXPLORE_PARTIES];
	word_view fence;                   /* what sequentially consistent fences hand on */
	word_view object[EXPLORE_OBJECTS]; /* what locks and queues in the kernel hand on */
};

struct state {
	struct party party[EXPLORE_PARTIES];
	int8_t party_count, crashes_left;
	/* sleep set: bit 2p: party p's next operation, 2p + 1: the drain of its buffer */
	uint16_t asleep;
	union {
		struct tso tso;
		struct c11 c11;
	};
};

extern struct state st;
extern enum explore_memory mode;
extern int running; /* the party whose code runs, -1: setup or the search */
extern char failure[256];
/* a word turned out to be shared: what was explored without that does not count */
extern bool restart;
extern bool telling;      /* replaying: print what happens */
extern bool keep_history; /* explore_point() forgets nothing */
extern jmp_buf search_escape;
extern size_t ghost_bytes, own_bytes;
extern uint8_t explore_stack[EXPLORE_PARTIES][STACK_BYTES];

/* words.c */
extern uint8_t word_readers[MAX_WORDS],
	word_writers[MAX_WORDS]; /* masks of parties, found as they appear */
extern uint8_t word_bytes[MAX_WORDS];
extern bool word_coarse[MAX_WORDS], all_fine; /* see explore_coarse() */
extern int word_count;
int word_of(const volatile void *address, unsigned size);
const volatile void *word_address(int w);
void words_reset(void);
const char *word_name(int w);
uint32_t word_offset(int w);
const volatile void *word_at_offset(uint32_t offset);

static inline bool word_visible_to_others(int w, int p)
{
	return word_readers[w] & ~(1u << p);
}

static inline bool word_written_by_others(int w, int p)
{
	return word_writers[w] & ~(1u << p);
}

/* memory.c */
void memory_reset(void);
void memory_setup_store(int w, uint64_t value);
uint64_t memory_newest(int w);
bool memory_own(int p, int w, uint64_t *value); /* a value that no order of events can change */
void memory_store(int p, int w, uint64_t value, int order);
int memory_candidates(int p, int w);
uint64_t memory_load(int p, int w, int age, int order);
uint64_t memory_add(int p, int w, uint64_t value);
void memory_fence(int p, int order);
void memory_barrier(int p);
void memory_here(int p); /* p has just taken a step */
extern bool barriers;
void memory_object(int p, int object);
void memory_follow(int p, int q);   /* p sees all that q sees */
void memory_coherent(int p, int w); /* p has seen the newest store of w */
int memory_in_flight(int p);        /* stores of p that have not reached memory */
void memory_drain(int p);           /* the oldest of them, and coarse ones after it */
uint64_t memory_digest(void);
size_t memory_bytes(void);

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)(a ^ UINT64_C(0x9e3779b97f4a7c15)) *
			      (b ^ UINT64_C(0xd1b54a32d192ed03));

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* search.c */
struct search_limits {
	uint64_t states; /* stop there: not completed */
	int switches;    /* preemptions in one run; -1: any number */
	bool no_sleep_sets;
	bool no_points; /* explore_point() forgets nothing */
	bool full;      /* every word of a slot may be torn by itself; see explore_coarse() */
};

struct search_result {
	uint64_t states, steps, runs, restarts;
	uint32_t deepest;
	bool completed, failed;
	char failure[256];
	char *schedule; /* of the failure, for search_replay(); to be freed */
};

void search(const struct explore_scenario *sc, enum explore_memory memory,
	    const struct search_limits *limits, struct search_result *ret);
/* Runs one schedule and tells the story. 0: it failed as it did when it was found. */
int search_replay(const struct explore_scenario *sc, enum explore_memory memory,
		  const char *schedule);

uint64_t digest_bytes(uint64_t seed, const void *bytes, size_t len);

/* party.c */
void party_resume(int p);
void party_call(int p);
void tell_of(int p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explore.h - runs 2 to 5 parties over one shared memory in every order that matters, and says
 * which order broke a rule.
 *
 * A party is a function on a stack of its own. Each operation of base/atomic.h, built with
 * -DBUS_EXPLORE, calls the explorer, which decides who goes on and what a load sees. A scenario
 * (struct explore_scenario) makes the parties, checks with explore_fail() as it goes, and judges
 * how it ended.
 *
 * What a party may touch:
 *   shared memory   explore_shared(): addresses only, never dereferenced; all access through
 *                   base/atomic.h
 *   ghost memory    explore_ghost: what the kernel and the oracle know. What the kernel knows is
 *                   read and written inside of explore_syscall() only. What the oracle knows a
 *                   party may write at any time; it must not influence what a party does
 *   own memory      its stack and explore_own[me]; never another party's
 * All three are part of the snapshots. Nothing else may change while a scenario runs.
 */
#ifndef MODEL_EXPLORE_H
#define MODEL_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_PARTIES   5
#define EXPLORE_GHOST     2048
#define EXPLORE_OWN       1536
#define EXPLORE_FUTEX_MAX 6
#define EXPLORE_OBJECTS   12

enum explore_memory {
	EXPLORE_TSO, /* x86: a first-in first-out store buffer per party, drained at any time */
	/*
	 * C11 without load buffering: a load may see any store that coherence and happens-before
	 * allow
	 */
	EXPLORE_C11,
};

struct explore_scenario {
	const char *name;
	const char *what;
	void (*setup)(void); /* initial memory by bus_store_*, explore_party() */
	/* nobody can move any more: NULL, or what is wrong with that */
	const char *(*finish)(void);
	/* optional, of each state: NULL, or what is wrong with it */
	const char *(*invariant)(void);
	const char *(*word_name)(const volatile void *word);
	int crashes;     /* parties that may be killed in one run */
	int preemptions; /* most in one run, in searches that are not long; 0: any number */
	bool c11_only;   /* C11 allows all that TSO does: where both cost too much */
	bool long_only;
};

extern uint8_t explore_ghost[EXPLORE_GHOST];
extern uint8_t explore_own[EXPLORE_PARTIES][EXPLORE_OWN];

/* Shared memory: an address range that faults when touched without base/atomic.h. */
void *explore_shared(size_t bytes);
/*
 * Makes [alias, alias + bytes) the same memory as [base, base + bytes): the second mapping of a
 * payload area.
 */
void explore_alias(const void *alias, const void *base, size_t bytes);

/*
 * A word that need not be torn by itself, because its neighbours, written and read in the same
 * places, are. TSO: it reaches memory with the store before it and is read right after the load
 * before it. C11: a load sees the oldest store that it may. Without effect in a full search.
 */
void explore_coarse(const volatile void *word);

/* In setup: how much of explore_ghost and of each explore_own[] is used. */
void explore_sizes(size_t ghost, size_t own);

/*
 * In setup: the next party. It may be killed before any of its stores and system calls if `mortal`.
 */
int explore_party(const char *name, void (*body)(int me), bool mortal);

/* Stops the run: a rule was broken. Does not return. */
void explore_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define EXPLORE_REQUIRE(cond, ...) ((cond) ? (void)0 : explore_fail(__VA_ARGS__))

/* One of n ways, all of them explored. */
unsigned explore_choose(unsigned n);

/*
 * What the party does from here on depends only on `id`, on the bytes folded right after it, and on
 * what it will observe. Lets different pasts that have become the same be explored once. Forgetting
 * to fold something hides behaviour.
 */
void explore_point(uint64_t id);
void explore_fold(const void *bytes, size_t len);

/* In front of a story that is being replayed. */
void explore_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * A system call: runs call(a, b) atomically once ready(a, b) holds (NULL: at once). Both see and
 * change ghost memory only. The caller's stores have reached memory before. object: a queue or lock
 * in the kernel (0 to EXPLORE_OBJECTS - 1) by which callers see each other's earlier stores, as a
 * socket's lock orders them; EXPLORE_FULL: a full fence.
 */
#define EXPLORE_FULL      (-1)
#define EXPLORE_SEES_ENDS 0x40 /* or-ed to an object: ready() or call() asks explore_ended() */
uint64_t explore_syscall(uint64_t (*call)(uint64_t, uint64_t), bool (*ready)(uint64_t, uint64_t),
			 uint64_t a, uint64_t b, int object);

/* futex_waitv: sleeps if every word still has its value, until one of them is woken. 0: slept; else EAGAIN. Only for
 * words that are written by bus_add_seq_cst(). */
int explore_futex_wait(const volatile _Atomic uint32_t *const *words, const uint32_t *values,
		       unsigned count);
void explore_futex_wake(const volatile _Atomic uint32_t *word);

/* membarrier(): a full fence in this party and, at this moment, in all others. */
void explore_barrier(void);

/*
 * Inside of call(): the caller learns of the end of a party, and with it of all that the party did.
 */
void explore_learn_end(int party);

/*
 * For oracles and ready(): whether a party has ended (and drained); whether it was killed; what
 * memory holds.
 */
bool explore_ended(int party);
bool explore_killed(int party);
bool explore_asleep(int party);
uint64_t explore_memory_of(const volatile void *word, unsigned size);
enum explore_memory explore_mode(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * party.c - what the parties call. An operation whose place in the order matters hands control to
 * the search and goes on when it is chosen; all others are done at once.
 */
#include "engine.h"
#include "fiber.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"

uint8_t explore_ghost[EXPLORE_GHOST];
uint8_t explore_own[EXPLORE_PARTIES][EXPLORE_OWN];
uint8_t explore_stack[EXPLORE_PARTIES][STACK_BYTES] __attribute__((aligned(64)));

struct state st;
enum explore_memory mode;
int running = -1;
char failure[256];
bool restart, telling, keep_history;
jmp_buf search_escape;
size_t ghost_bytes, own_bytes;

static void *search_sp;
static void (*body_of[EXPLORE_PARTIES])(int);
static const char *name_of[EXPLORE_PARTIES];
static bool mortal[EXPLORE_PARTIES];
static int caller; /* of the system call that runs */

/* ---- control ---- */

void party_resume(int p)
{
	running = p;
	/*
	 * A party that had to wait for its own stores is where it would be had they drained before.
	 */
	if (st.party[p].pending != AT_ROOM && (mode == EXPLORE_C11 || st.party[p].pending != AT_FENCE))
		st.party[p].history = mix(st.party[p].history, st.party[p].pending);
	st.party[p].pending = AT_NOTHING;
	bus__fiber_switch(&search_sp, st.party[p].sp);
	running = -1;
}

static uint64_t yield(enum pending what)
{
	struct party *me = &st.party[running];

	me->pending = (uint8_t)what;
	bus__fiber_switch(&me->sp, search_sp);
	return me->result;
}

static void entry(void)
{
	int me = running;

	body_of[me](me);
	if (telling)
		tell("returns");
	running = me;
	yield(AT_END);
	__builtin_trap();
}

void explore_sizes(size_t ghost, size_t own)
{
	if (ghost > EXPLORE_GHOST || own > EXPLORE_OWN) {
		fprintf(stderr, "explore: ghost %zu or own memory %zu too large\n", ghost, own);
		exit(2);
	}
	ghost_bytes = (ghost + 7) & ~(size_t)7;
	own_bytes = own;
}

int explore_party(const char *name, void (*body)(int me), bool is_mortal)
{
	int p = st.party_count++;

	if (p >= EXPLORE_PARTIES)
		__builtin_trap();
	body_of[p] = body;
	name_of[p] = name;
	mortal[p] = is_mortal;
	st.party[p].sp = bus__fiber_make(explore_stack[p] + STACK_BYTES, entry);
	return p;
}

void explore_fail(const char *format, ...)
{
	va_list args;

	if (failure[0] == 0) {
		va_start(args, format);
		vsnprintf(failure, sizeof(failure), format, args);
		va_end(args);
	}
	if (running >= 0)
		yield(AT_NOTHING); /* for ever: the search sees the failure */
	longjmp(search_escape, 1);
}

/* ---- telling a story ---- */

static const char *const colour[] = { "\033[34m", "\033[32m", "\033[35m", "\033[33m", "\033[36m" };

static void vtell(int p, const char *format, va_list args)
{
	char line[512];

	vsnprintf(line, sizeof(line), format, args);
	printf("%s%*s%-6s %s\033[0m\n", p >= 0 ? colour[p] : "", p >= 0 ? 4 * p : 0, "",
	       p >= 0 ? name_of[p] : "search", line);
}

void tell(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vtell(running, format, args);
	va_end(args);
}

void tell_of(int p, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vtell(p, format, args);
	va_end(args);
}

void explore_note(const char *format, ...)
{
	va_list args;

	if (!telling)
		return;
	va_start(args, format);
	vtell(running, format, args);
	va_end(args);
}

/* ---- shared memory ---- */

static void note_reader(int w)
{
	if (word_readers[w] >> running & 1)
		return;
	word_readers[w] |= (uint8_t)(1u << running);
	if (word_writers[w])
		restart = true;
}

static void note_writer(int w, bool adds)
{
	uint8_t bit = (uint8_t)(1u << running);

	if (word_writers[w] & bit)
		return;
	if (word_writers[w] && !adds)
		explore_fail("%s has two writers", word_name(w));
	word_writers[w] |= bit;
	if (word_readers[w])
		restart = true;
}

/*
 * A killed party stops here: before this store, this system call. Elsewhere nobody could tell the
 * difference.
 */
static void may_die(void)
{
	if (!mortal[running] || st.crashes_left == 0)
		return;
	st.party[running].choices = 2;
	st.party[running].may_die_here = true;
	yield(AT_CHOICE);
	st.party[running].may_die_here = false;
}

static void observe(uint64_t value)
{
	st.party[running].history = mix(st.party[running].history, value);
}

uint64_t explore_load(const volatile void *word, unsigned size, int order)
{
	int w = word_of(word, size);
	uint64_t value;

	if (running < 0)
		return memory_newest(w);
	note_reader(w);
	if (memory_own(running, w, &value)) {
		/* nobody else has a say */
	} else if (word_coarse[w]) {
		value = memory_load(running, w, memory_candidates(running, w) - 1, order);
	} else {
		st.party[running].word = (uint8_t)w;
		st.party[running].order = (uint8_t)order;
		value = yield(AT_LOAD);
	}
	observe(value);
	if (telling)
		tell("load  %s = %#llx", word_name(w), (unsigned long long)value);
	return value;
}

void explore_store(volatile void *word, unsigned size, uint64_t value, int order)
{
	int w = word_of(word, size);

	if (running < 0) {
		memory_setup_store(w, value);
		return;
	}
	note_writer(w, false);
	if (word_visible_to_others(w, running)) {
		may_die();
		if (memory_in_flight(running) == BUFFER_MAX)
			yield(AT_ROOM);
	}
	if (telling)
		tell("store %s = %#llx%s", word_name(w), (unsigned long long)value,
		     order == memory_order_release ? " release" : "");
	memory_store(running, w, value, order);
}

uint64_t explore_add(volatile void *word, unsigned size, uint64_t value)
{
	int w = word_of(word, size);
	uint64_t old;

	note_reader(w);
	note_writer(w, true);
	may_die();
	st.party[running].word = (uint8_t)w;
	st.party[running].value = value;
	old = yield(AT_ADD);
	observe(old);
	if (telling)
		tell("add   %s: %#llx + %llu", word_name(w), (unsigned long long)old,
		     (unsigned long long)value);
	return old;
}

void explore_fence(int order)
{
	if (running < 0)
		return;
	if (mode == EXPLORE_TSO) {
		if (order == memory_order_seq_cst)
			observe(AT_FENCE);
		if (order == memory_order_seq_cst && memory_in_flight(running))
			yield(AT_FENCE);
	} else if (order == memory_order_seq_cst) {
		yield(AT_FENCE);
	} else {
		memory_fence(running, order);
	}
	if (telling && order == memory_order_seq_cst)
		tell("fence");
}

void explore_barrier(void)
{
	if (!barriers) {
		barriers = true;
		restart = true;
	}
	yield(AT_BARRIER);
	if (telling)
		tell("membarrier");
}

/* ---- branches, points ---- */

unsigned explore_choose(unsigned n)
{
	unsigned chosen;

	if (n < 2)
		return 0;
	st.party[running].choices = (uint8_t)n;
	chosen = (unsigned)yield(AT_CHOICE);
	observe(chosen);
	if (telling)
		tell("takes way %u of %u", chosen, n);
	return chosen;
}

void explore_point(uint64_t id)
{
	if (running >= 0 && !keep_history)
		st.party[running].history = mix(id, 77);
}

void explore_fold(const void *bytes, size_t len)
{
	if (running >= 0 && !keep_history)
		st.party[running].history = digest_bytes(st.party[running].history, bytes, len);
}

/* ---- the kernel ---- */

static uint64_t system_call(int object)
{
	struct party *me = &st.party[running];
	uint64_t result;

	may_die();
	me->sees_ends = object >= 0 && (object & EXPLORE_SEES_ENDS);
	me->object = (int8_t)(object < 0 ? object : object & ~EXPLORE_SEES_ENDS);
	result = yield(AT_CALL);
	observe(result);
	return result;
}

uint64_t explore_syscall(uint64_t (*call)(uint64_t, uint64_t), bool (*ready)(uint64_t, uint64_t),
			 uint64_t a, uint64_t b, int object)
{
	struct party *me = &st.party[running];

	me->call = call;
	me->ready = ready;
	me->a = a;
	me->b = b;
	return system_call(object);
}

static uint64_t futex_wait_call(uint64_t a, uint64_t b)
{
	struct party *me = &st.party[caller];
	bool same = true;

	(void)a;
	(void)b;
	for (int i = 0; i < me->sleep_count; i++) {
		same &= memory_newest(me->sleep_on[i]) == me->sleep_value[i];
		memory_coherent(caller, me->sleep_on[i]);
	}
	if (same)
		me->pending = AT_SLEEP;
	return same ? 0 : 11 /* EAGAIN */;
}

int explore_futex_wait(const volatile _Atomic uint32_t *const *words, const uint32_t *values,
		       unsigned count)
{
	struct party *me = &st.party[running];
	int error;

	for (unsigned i = 0; i < count; i++) {
		me->sleep_on[i] = (uint8_t)word_of(words[i], 4);
		me->sleep_value[i] = values[i];
		note_reader(me->sleep_on[i]);
	}
	me->sleep_count = (uint8_t)count;
	if (telling)
		tell("futex_waitv on %u words", count);
	error = (int)explore_syscall(futex_wait_call, NULL, 0, 0, EXPLORE_FULL);
	me->sleep_count = 0;
	if (telling)
		tell(error ? "  a word has changed" : "  woken");
	return error;
}

static uint64_t futex_wake_call(uint64_t w, uint64_t b)
{
	(void)b;
	for (int q = 0; q < st.party_count; q++) {
		struct party *other = &st.party[q];

		for (int i = 0;
		     other->pending == AT_SLEEP && !other->woken && i < other->sleep_count; i++) {
			if (other->sleep_on[i] != w)
				continue;
			other->woken = true;
			other->result = 0;
			memory_follow(q, caller);
			if (telling)
				tell_of(caller, "wakes %s", name_of[q]);
		}
	}
	return 0;
}

void explore_futex_wake(const volatile _Atomic uint32_t *word)
{
	if (telling)
		tell("FUTEX_WAKE %s", word_name(word_of(word, 4)));
	explore_syscall(futex_wake_call, NULL, (uint64_t)word_of(word, 4), 0, EXPLORE_FULL);
}

void explore_learn_end(int party)
{
	memory_follow(caller, party);
	if (telling)
		tell_of(caller, "sees the end of %s", name_of[party]);
}

void party_call(int p)
{
	struct party *me = &st.party[p];

	caller = p;
	if (me->object == EXPLORE_FULL)
		memory_fence(p, memory_order_seq_cst);
	else
		memory_object(p, me->object);
	me->result = me->call(me->a, me->b);
}

bool explore_ended(int p)
{
	return st.party[p].pending == AT_END && memory_in_flight(p) == 0;
}

bool explore_killed(int p)
{
	return st.party[p].killed;
}

bool explore_asleep(int p)
{
	return st.party[p].pending == AT_SLEEP;
}

uint64_t explore_memory_of(const volatile void *word, unsigned size)
{
	return memory_newest(word_of(word, size));
}

enum explore_memory explore_mode(void)
{
	return mode;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search.c - depth-first through all orders of the parties' visible operations.
 *
 * A step is: a party executes its pending operation (a load may have several outcomes) and runs to
 * its next one; or the oldest store of a party's buffer drains. What keeps the number of steps
 * small, and why nothing is missed by it:
 *
 *   local operations  A store into the own buffer, a load of a word that only the party itself
 *                     writes, a fence whose buffer is empty: nobody else can tell when they happen,
 *                     so they happen at once.
 *   visited states    Shared memory, buffers or views, ghost memory and each party's history digest
 *                     are the state: a party is deterministic, so that what it has observed fixes
 *                     what it will do. A state whose 54-bit digest was met before is not explored
 *                     again.
 *   sleep sets        After all that follows step a has been explored, a is put to sleep for its
 *                     siblings, and woken by the first step that does not commute with it: a before
 *                     an independent b was seen already. A visited state remembers which steps
 *                     slept; one that is met again with fewer asleep explores the rest (Godefroid
 *                     1996). Steps commute unless: same party; load and drain or add of one word;
 *                     two of {system call, atomic add, fence (C11)}; one is a membarrier or waits
 *                     for the end of a party.
 *
 * With a bound on preemptions sleep sets are off (the two do not combine soundly) and a state is
 * explored again when more of the budget is left.
 */
#include "engine.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum step_kind { STEP_RUN, STEP_DRAIN };

struct step {
	uint8_t party, kind, arg;
};

struct frame {
	size_t snapshot; /* where in the snapshot memory */
	uint32_t path;
	uint16_t asleep;
	uint8_t count, next, last;
	int8_t switches_left;
	struct step steps[MAX_STEPS];
};

#define DEPTH_MAX 20000

static const struct explore_scenario *scenario;
static struct step path[DEPTH_MAX];
static uint32_t path_length;
static struct frame *frames;
static uint32_t frame_count, frame_room;
static uint8_t *snapshots;
static size_t snapshot_used, snapshot_room;
static int switches_left, last_run; /* only with a bound */
static bool bounded, no_sleep_sets;

/* ---- visited states ---- */

#define NOTE_BITS 10
#define NOTE_MASK ((UINT64_C(1) << NOTE_BITS) - 1)
static_assert(2 * EXPLORE_PARTIES <= NOTE_BITS, "a sleep set fits into the note of a visited state");

/* digest in the upper bits; sleep set or budget in the lower NOTE_BITS; 0: free */
static uint64_t *table;
static uint64_t table_mask, table_used;

static void table_reset(void)
{
	free(table);
	table_mask = (1u << 16) - 1;
	table = calloc(table_mask + 1, sizeof(*table));
	table_used = 0;
}

static uint64_t *table_find(uint64_t key)
{
	uint64_t i = mix(key >> NOTE_BITS, 5) & table_mask;

	while (table[i] && (table[i] ^ key) >> NOTE_BITS)
		i = (i + 1) & table_mask;
	return &table[i];
}

static void table_grow(void)
{
	uint64_t *old = table, n = table_mask + 1;

	table_mask = n * 4 - 1;
	table = calloc(table_mask + 1, sizeof(*table));
	if (!table) {
		fprintf(stderr, "explore: out of memory\n");
		exit(2);
	}
	for (uint64_t i = 0; i < n; i++)
		if (old[i])
			*table_find(old[i]) = old[i];
	free(old);
}

static uint64_t *table_enter(uint64_t key, bool *fresh)
{
	uint64_t *at;

	if (table_used * 2 > table_mask)
		table_grow();
	key |= UINT64_C(1) << 63; /* never 0 */
	at = table_find(key);
	*fresh = *at == 0;
	if (*fresh) {
		*at = key & ~NOTE_MASK;
		table_used++;
	}
	return at;
}

static uint64_t state_digest(void)
{
	uint64_t d = memory_digest();

	d = digest_bytes(d, explore_ghost, ghost_bytes);
	for (int p = 0; p < st.party_count; p++) {
		const struct party *q = &st.party[p];

		d = mix(d, q->history);
		d = mix(d, (uint64_t)q->pending | (uint64_t)q->word << 8 | (uint64_t)q->killed << 16);
	}
	return mix(d, (uint64_t)(st.crashes_left + 1) | (uint64_t)(bounded ? last_run + 2 : 0) << 8);
}

/* ---- snapshots ---- */

static void copy(uint8_t **at, void *memory, size_t len, bool restore)
{
	if (restore)
		memcpy(memory, *at, len);
	else
		memcpy(*at, memory, len);
	*at += len;
}

/* The stack pointers are part of the state, so the state comes first in both directions. */
static size_t snapshot(uint8_t *at, bool restore)
{
	uint8_t *start = at;

	copy(&at, &st, offsetof(struct state, tso) + memory_bytes(), restore);
	copy(&at, explore_ghost, ghost_bytes, restore);
	for (int p = 0; p < st.party_count; p++) {
		copy(&at, explore_own[p], own_bytes, restore);
		if (st.party[p].pending != AT_END)
			copy(&at, st.party[p].sp,
			     (size_t)(explore_stack[p] + STACK_BYTES - (uint8_t *)st.party[p].sp),
			     restore);
	}
	return (size_t)(at - start);
}

static void push_snapshot(struct frame *f)
{
	size_t most = sizeof(st) + EXPLORE_GHOST + EXPLORE_PARTIES * (EXPLORE_OWN + STACK_BYTES);

	if (snapshot_room - snapshot_used < most) {
		snapshot_room = snapshot_room * 2 + most;
		snapshots = realloc(snapshots, snapshot_room);
		if (!snapshots) {
			fprintf(stderr, "explore: out of memory\n");
			exit(2);
		}
	}
	f->snapshot = snapshot_used;
	snapshot_used += snapshot(snapshots + snapshot_used, false);
}

/* ---- steps ---- */

/* Runs whoever can go on without anybody noticing. */
static void settle(void)
{
	bool again;

	do {
		again = false;
		for (int p = 0; p < st.party_count && !failure[0]; p++) {
			struct party *q = &st.party[p];

			if ((mode == EXPLORE_TSO && q->pending == AT_FENCE &&
			     memory_in_flight(p) == 0) ||
			    (q->pending == AT_ROOM && memory_in_flight(p) < BUFFER_MAX) ||
			    (q->pending == AT_SLEEP && q->woken)) {
				q->woken = false;
				party_resume(p);
				again = true;
			}
		}
	} while (again && !failure[0]);
}

static bool can_run(int p)
{
	const struct party *q = &st.party[p];

	switch (q->pending) {
	case AT_LOAD:
		return true;
	case AT_FENCE:
		return mode == EXPLORE_C11;
	case AT_ADD:
	case AT_BARRIER:
		return memory_in_flight(p) == 0;
	case AT_CALL:
		return memory_in_flight(p) == 0 && (!q->ready || q->ready(q->a, q->b));
	default:
		return false;
	}
}

/* All steps from here. A party's own branch is nobody else's business: it is taken at once. */
static int list_steps(struct step *steps)
{
	int n = 0;

	for (int p = 0; p < st.party_count; p++) {
		if (st.party[p].pending != AT_CHOICE)
			continue;
		for (int i = 0; i < st.party[p].choices; i++)
			steps[n++] = (struct step){ (uint8_t)p, STEP_RUN, (uint8_t)i };
		return n;
	}
	for (int p = 0; p < st.party_count; p++) {
		if (can_run(p)) {
			int ways = st.party[p].pending == AT_LOAD
					   ? memory_candidates(p, st.party[p].word)
					   : 1;

			for (int i = 0; i < ways; i++)
				steps[n++] = (struct step){ (uint8_t)p, STEP_RUN, (uint8_t)i };
		}
		if (memory_in_flight(p))
			steps[n++] = (struct step){ (uint8_t)p, STEP_DRAIN, 0 };
	}
	return n;
}

static uint16_t bit_of(struct step s)
{
	return (uint16_t)(1u << (2 * s.party + (s.kind == STEP_DRAIN)));
}

static bool orders_kernel(int pending)
{
	return pending == AT_CALL || pending == AT_ADD ||
	       (pending == AT_FENCE && mode == EXPLORE_C11);
}

/*
 * Coarse words drain with this step's: loads of such words, which are no steps, may follow any
 * load.
 */
static bool drains_coarse(int p)
{
	const struct buffer *b = &st.tso.buffer[p];

	return mode == EXPLORE_TSO && b->count > 1 && word_coarse[b->word[1]];
}

/*
 * The sleeping steps that do not commute with s, and wake. (C11: a new store wakes loads of its
 * word in memory.c.)
 */
static uint16_t wakes(struct step s)
{
	const struct party *me = &st.party[s.party];
	uint16_t woken = bit_of(s);
	int w = s.kind == STEP_DRAIN ? st.tso.buffer[s.party].word[0] : me->word;

	if (me->pending == AT_CHOICE)
		return 0;
	if (s.kind == STEP_RUN && me->pending == AT_BARRIER)
		return UINT16_MAX;
	if (s.kind == STEP_RUN && me->pending == AT_CALL && me->sees_ends)
		return UINT16_MAX;
	for (int q = 0; q < st.party_count; q++) {
		const struct party *other = &st.party[q];
		uint16_t its_run = (uint16_t)(1u << 2 * q);

		if (q == s.party)
			continue;
		if (other->pending == AT_BARRIER || (other->pending == AT_CALL && other->sees_ends))
			woken |= its_run;
		if (s.kind == STEP_DRAIN) {
			if (other->pending == AT_LOAD && (other->word == w || drains_coarse(s.party)))
				woken |= its_run;
		} else if (orders_kernel(me->pending)) {
			if (orders_kernel(other->pending))
				woken |= its_run;
			if (me->pending == AT_ADD && other->pending == AT_LOAD && other->word == w)
				woken |= its_run;
		} else if (me->pending == AT_LOAD) {
			if (memory_in_flight(q) && (st.tso.buffer[q].word[0] == w || drains_coarse(q)))
				woken |= (uint16_t)(its_run << 1);
			if (other->pending == AT_ADD && other->word == w)
				woken |= its_run;
		}
	}
	return woken;
}

static void take(struct step s)
{
	struct party *q = &st.party[s.party];
	int p = s.party;

	if (path_length == DEPTH_MAX) {
		snprintf(failure, sizeof(failure), "no end after %d steps", DEPTH_MAX);
		return;
	}
	path[path_length++] = s;
	if (s.kind == STEP_DRAIN) {
		if (telling)
			tell_of(p, "        ... %s = %#llx reaches memory",
				word_name(st.tso.buffer[p].word[0]),
				(unsigned long long)st.tso.buffer[p].value[0]);
		memory_drain(p);
		settle();
		return;
	}
	switch (q->pending) {
	case AT_LOAD:
		if (telling && s.arg)
			tell_of(p, "        ... sees an older store, %d before the newest", s.arg);
		q->result = memory_load(p, q->word, s.arg, q->order);
		break;
	case AT_ADD:
		q->result = memory_add(p, q->word, q->value);
		break;
	case AT_FENCE:
		memory_fence(p, memory_order_seq_cst);
		break;
	case AT_BARRIER:
		memory_barrier(p);
		break;
	case AT_CALL:
		party_call(p);
		break;
	case AT_CHOICE:
		q->result = s.arg;
		if (q->may_die_here && s.arg == 1) {
			q->killed = true;
			q->pending = AT_END;
			q->history = 1;
			st.crashes_left--;
			if (telling)
				tell_of(p, "is killed");
		}
		break;
	default:
		__builtin_trap();
	}
	if (q->pending != AT_CHOICE && !q->killed)
		memory_here(p);
	if (q->pending != AT_SLEEP && q->pending != AT_END)
		party_resume(p);
	settle();
}

/* ---- the search ---- */

static void start(void)
{
	memset(&st, 0, sizeof(st));
	memset(explore_ghost, 0, sizeof(explore_ghost));
	memset(explore_own, 0, sizeof(explore_own));
	memory_reset();
	words_reset();
	failure[0] = 0;
	path_length = 0;
	running = -1;
	scenario->setup();
	st.crashes_left = (int8_t)scenario->crashes;
	for (int p = 0; p < st.party_count && !failure[0]; p++)
		party_resume(p);
	settle();
}

/* Steps to take from here, of those enabled; 0: a leaf. */
static int steps_to_take(struct frame *f, struct search_result *r)
{
	int n = list_steps(f->steps), kept = 0;
	uint16_t asleep = st.asleep, done_before = 0;
	uint64_t *entry;
	bool fresh;

	if (n == 0) {
		const char *why = scenario->finish();

		r->runs++;
		if (why)
			snprintf(failure, sizeof(failure), "%s", why);
		return 0;
	}
	if (n > 1 && st.party[f->steps[0].party].pending != AT_CHOICE) {
		entry = table_enter(state_digest(), &fresh);
		if (bounded) {
			if (!fresh && (int)(*entry & NOTE_MASK) >= switches_left + 1)
				return 0;
			*entry = (*entry & ~NOTE_MASK) | (uint64_t)(switches_left + 1);
		} else if (fresh) {
			*entry |= asleep;
		} else {
			done_before = (uint16_t) ~(*entry & NOTE_MASK);
			*entry &= ~NOTE_MASK | asleep;
		}
	}
	if (bounded) {
		bool last_can = last_run >= 0 && can_run(last_run);

		for (int i = 0; i < n; i++) {
			bool costs = last_can && f->steps[i].kind == STEP_RUN &&
				     f->steps[i].party != last_run;

			if (!costs || switches_left > 0)
				f->steps[kept++] = f->steps[i];
		}
		return kept;
	}
	for (int i = 0; i < n; i++)
		if (st.party[f->steps[i].party].pending == AT_CHOICE ||
		    !((asleep | done_before) & bit_of(f->steps[i])))
			f->steps[kept++] = f->steps[i];
	return kept;
}

/* Takes step i of the frame from the state that the frame stands for. */
static void take_step(struct frame *f, int i)
{
	struct step s = f->steps[i];
	uint16_t asleep = f->asleep;

	if (bounded) {
		if (s.kind == STEP_RUN) {
			if (f->last != 255 && s.party != f->last && can_run(f->last))
				switches_left--;
			last_run = s.party;
		}
	} else if (st.party[s.party].pending != AT_CHOICE) {
		for (int j = 0; j < i; j++)
			asleep |= bit_of(f->steps[j]);
	}
	st.asleep = bounded || no_sleep_sets ? 0 : (uint16_t)(asleep & ~wakes(s));
	take(s);
}

static struct frame *new_frame(void)
{
	struct frame *f;

	if (frame_count == frame_room) {
		frame_room = frame_room ? frame_room * 2 : 1024;
		frames = realloc(frames, frame_room * sizeof(*frames));
		if (!frames) {
			fprintf(stderr, "explore: out of memory\n");
			exit(2);
		}
	}
	f = &frames[frame_count];
	f->path = path_length;
	f->asleep = st.asleep;
	f->next = 1;
	f->last = (uint8_t)last_run;
	f->switches_left = (int8_t)switches_left;
	return f;
}

/* Back to the youngest state with a step left, and takes it. false: there is none. */
static bool backtrack(void)
{
	struct frame *f;

	while (frame_count && frames[frame_count - 1].next == frames[frame_count - 1].count)
		snapshot_used = frames[--frame_count].snapshot;
	if (frame_count == 0)
		return false;
	f = &frames[frame_count - 1];
	snapshot(snapshots + f->snapshot, true);
	path_length = f->path;
	switches_left = f->switches_left;
	last_run = f->last == 255 ? -1 : f->last;
	take_step(f, f->next++);
	return true;
}

static void search_once(const struct search_limits *limits, struct search_result *r)
{
	table_reset();
	frame_count = 0;
	snapshot_used = 0;
	switches_left = limits->switches;
	last_run = -1;
	start();
	while (!failure[0] && !restart) {
		struct frame *f = new_frame();
		int n = steps_to_take(f, r);

		if (path_length > r->deepest)
			r->deepest = path_length;
		if (failure[0])
			return;
		r->states = table_used;
		if (scenario->invariant) {
			const char *why = scenario->invariant();

			if (why) {
				snprintf(failure, sizeof(failure), "%s", why);
				return;
			}
		}
		if (table_used > limits->states) {
			r->completed = false;
			return;
		}
		r->steps++;
		if (n == 0) {
			if (!backtrack())
				return;
			continue;
		}
		if (n > 1) {
			f->count = (uint8_t)n;
			push_snapshot(f);
			frame_count++;
		}
		take_step(f, 0);
	}
}

static char *schedule_text(void)
{
	char *text = malloc(64 + (size_t)word_count * 16 + path_length * 4), *at = text;

	for (int w = 0; w < word_count; w++)
		if (word_readers[w] && word_writers[w] &&
		    (word_readers[w] | word_writers[w]) & ((word_readers[w] | word_writers[w]) - 1))
			at += sprintf(at, "%x.%x.%x.%x%s,", word_offset(w), word_bytes[w],
				      word_readers[w], word_writers[w], word_coarse[w] ? "!" : "");
	*at++ = ':';
	for (uint32_t i = 0; i < path_length; i++) {
		*at++ = (char)((path[i].kind == STEP_DRAIN ? 'A' : 'a') + path[i].party);
		if (path[i].arg)
			at += sprintf(at, "%d", path[i].arg);
	}
	*at = 0;
	return text;
}

void search(const struct explore_scenario *sc, enum explore_memory memory,
	    const struct search_limits *limits, struct search_result *ret)
{
	*ret = (struct search_result){ .completed = true };
	scenario = sc;
	mode = memory;
	bounded = limits->switches >= 0;
	no_sleep_sets = limits->no_sleep_sets;
	keep_history = limits->no_points;
	all_fine = limits->full;
	memset(word_readers, 0, sizeof(word_readers));
	memset(word_writers, 0, sizeof(word_writers));
	barriers = false;
	for (;;) {
		restart = false;
		if (setjmp(search_escape) == 0)
			search_once(limits, ret);
		if (!restart)
			break;
		ret->restarts++;
	}
	ret->failed = failure[0] != 0;
	memcpy(ret->failure, failure, sizeof(failure));
	if (ret->failed)
		ret->schedule = schedule_text();
}

const char *word_name(int w)
{
	return scenario->word_name(word_address(w));
}

int search_replay(const struct explore_scenario *sc, enum explore_memory memory, const char *schedule)
{
	unsigned offset, bytes, readers, writers;
	struct step steps[MAX_STEPS];
	int used;

	scenario = sc;
	mode = memory;
	telling = true;
	explore_shared(0);
	words_reset();
	explore_shared(ARENA_BYTES);
	all_fine = true;
	while (sscanf(schedule, "%x.%x.%x.%x%n", &offset, &bytes, &readers, &writers, &used) == 4) {
		int w = word_of(word_at_offset(offset), bytes);

		word_readers[w] = (uint8_t)readers;
		word_writers[w] = (uint8_t)writers;
		schedule += used;
		all_fine &= *schedule != '!';
		schedule += 1 + (*schedule == '!');
	}
	if (*schedule++ != ':') {
		fprintf(stderr, "explore: this is not a schedule\n");
		return 2;
	}
	if (setjmp(search_escape) == 0) {
		start();
		while (*schedule && !failure[0]) {
			int letter = *schedule++, kind = letter >= 'a' ? STEP_RUN : STEP_DRAIN, i, n;
			struct step s = { (uint8_t)(letter - (kind == STEP_RUN ? 'a' : 'A')),
					  (uint8_t)kind, 0 };

			s.arg = (uint8_t)strtol(schedule, (char **)&schedule, 10);
			n = list_steps(steps);
			for (i = 0; i < n && memcmp(&steps[i], &s, sizeof(s)) != 0; i++)
				;
			if (i == n) {
				fprintf(stderr, "explore: the schedule does not fit this build\n");
				return 2;
			}
			take(s);
		}
		if (!failure[0] && list_steps(steps) == 0) {
			const char *why = scenario->finish();

			if (why)
				snprintf(failure, sizeof(failure), "%s", why);
		}
	}
	printf("\n%s\n", failure[0] ? failure : "no rule was broken");
	return failure[0] ? 0 : 1;
}

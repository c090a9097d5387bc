/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - the two memories.
 *
 * TSO: a store goes into its party's buffer; a drain moves the oldest one to memory; a load takes
 * the newest of the own buffer, else memory. Stores to words that nobody else reads go to memory at
 * once: nobody can tell.
 *
 * C11: each word has the list of its stores, in the order in which they were made (each word has
 * one writer, or only atomic adds). A party has a view: for each word the oldest store that it may
 * still see. A load sees any store from there to the newest. A release store carries its party's
 * view, an acquire load that sees it takes that over; relaxed operations do so by way of release
 * and acquire fences; sequentially consistent fences hand on views to all later ones. This is C11
 * with the one omission that a load never sees a store that its own party's later stores led to
 * (load buffering).
 */
#include "engine.h"

#include <stdatomic.h>
#include <string.h>

#define LOG_MAX  2048
#define VIEW_MAX 2048

bool barriers; /* somebody has called membarrier() */
static uint64_t setup_value[MAX_WORDS];

/* Logs are truncated, not copied, when a snapshot is restored: an entry never changes. */
static struct {
	uint64_t value;
	uint16_t older, view; /* 0: the initial value; no view */
} stores[LOG_MAX];
static word_view views[VIEW_MAX];

void memory_reset(void)
{
	memset(setup_value, 0, sizeof(setup_value));
	if (mode == EXPLORE_TSO) {
		memset(&st.tso, 0, sizeof(st.tso));
	} else {
		memset(&st.c11, 0, sizeof(st.c11));
		st.c11.log_count = 1;
		st.c11.view_count = 1;
	}
}

size_t memory_bytes(void)
{
	return mode == EXPLORE_TSO ? sizeof(st.tso) : sizeof(st.c11);
}

static void tso_write(int w, uint64_t value)
{
	st.tso.digest ^= mix((uint64_t)w + 1, st.tso.value[w]) ^ mix((uint64_t)w + 1, value);
	st.tso.value[w] = value;
}

void memory_setup_store(int w, uint64_t value)
{
	setup_value[w] = value;
	if (mode == EXPLORE_TSO)
		tso_write(w, value);
}

static uint64_t newest_in_log(int w)
{
	return st.c11.newest[w] ? stores[st.c11.newest[w]].value : setup_value[w];
}

uint64_t memory_newest(int w)
{
	return mode == EXPLORE_TSO ? st.tso.value[w] : newest_in_log(w);
}

bool memory_own(int p, int w, uint64_t *value)
{
	if (mode == EXPLORE_TSO) {
		const struct buffer *b = &st.tso.buffer[p];

		for (int i = b->count; i-- > 0;) {
			if (b->word[i] == w) {
				*value = b->value[i];
				return true;
			}
		}
	}
	if (word_written_by_others(w, p))
		return false;
	*value = memory_newest(w);
	return true;
}

/* Of a view only so many bytes are in use. */
static int view_bytes(void)
{
	return (word_count + 31) & ~31;
}

static void join(word_view into, const word_view from)
{
	int n = view_bytes();

	for (int i = 0; i < n; i++)
		into[i] = into[i] > from[i] ? into[i] : from[i];
}

static uint16_t keep_view(const word_view v)
{
	if (st.c11.view_count == VIEW_MAX)
		explore_fail("explore: more than %d views in one run", VIEW_MAX);
	memcpy(views[st.c11.view_count], v, sizeof(word_view));
	return st.c11.view_count++;
}

static void append(int p, int w, uint64_t value, uint16_t carries)
{
	struct c11 *m = &st.c11;

	if (m->log_count == LOG_MAX || m->count[w] == 250)
		explore_fail("explore: too many stores in one run");
	stores[m->log_count].value = value;
	stores[m->log_count].older = m->newest[w];
	stores[m->log_count].view = carries;
	m->newest[w] = m->log_count++;
	m->sees[p][w] = ++m->count[w];
	/* Loads of this word that were put off have something new to choose. */
	for (int q = 0; q < st.party_count; q++)
		if (st.party[q].pending == AT_LOAD && st.party[q].word == w)
			st.asleep &= (uint16_t) ~(1u << 2 * q);
}

void memory_store(int p, int w, uint64_t value, int order)
{
	if (mode == EXPLORE_TSO) {
		struct buffer *b = &st.tso.buffer[p];

		if (!word_visible_to_others(w, p)) {
			tso_write(w, value);
			return;
		}
		b->word[b->count] = (uint8_t)w;
		b->value[b->count++] = value;
		b->early++;
		return;
	}
	if (order == memory_order_relaxed) {
		append(p, w, value, st.c11.released[p]);
	} else {
		st.c11.sees[p][w]++; /* the view that it carries includes the store itself */
		append(p, w, value, keep_view(st.c11.sees[p]));
	}
}

int memory_candidates(int p, int w)
{
	int n;

	if (mode == EXPLORE_TSO)
		return 1;
	n = st.c11.count[w] - st.c11.sees[p][w] + 1;
	if (n > CANDIDATES)
		explore_fail("explore: a load may choose from %d stores", n);
	return n;
}

uint64_t memory_load(int p, int w, int age, int order)
{
	struct c11 *m = &st.c11;
	uint16_t at;

	if (mode == EXPLORE_TSO)
		return st.tso.value[w];
	at = m->newest[w];
	for (int i = 0; i < age; i++)
		at = stores[at].older;
	m->sees[p][w] = (uint8_t)(m->count[w] - age);
	if (at == 0)
		return setup_value[w];
	if (stores[at].view)
		join(order == memory_order_relaxed ? m->pending[p] : m->sees[p],
		     views[stores[at].view]);
	return stores[at].value;
}

uint64_t memory_add(int p, int w, uint64_t value)
{
	struct c11 *m = &st.c11;
	uint64_t old = memory_newest(w);

	value += old;
	if (word_bytes[w] == 4)
		value = (uint32_t)value;
	if (mode == EXPLORE_TSO) {
		tso_write(w, value);
		return old;
	}
	m->sees[p][w] = m->count[w];
	if (m->newest[w] && stores[m->newest[w]].view)
		join(m->sees[p], views[stores[m->newest[w]].view]);
	m->sees[p][w]++;
	append(p, w, value, keep_view(m->sees[p]));
	return old;
}

void memory_fence(int p, int order)
{
	struct c11 *m = &st.c11;

	if (mode == EXPLORE_TSO)
		return;
	if (order != memory_order_release)
		join(m->sees[p], m->pending[p]);
	if (order == memory_order_seq_cst) {
		join(m->sees[p], m->fence);
		memcpy(m->fence, m->sees[p], sizeof(word_view));
	}
	if (order != memory_order_acquire)
		m->released[p] = keep_view(m->sees[p]);
}

/*
 * What p has stored since is issued already, though p might as well not have come so far: see
 * memory_barrier().
 */
void memory_here(int p)
{
	if (mode == EXPLORE_TSO)
		st.tso.buffer[p].early = 0;
	else
		memcpy(st.c11.saw[p], st.c11.sees[p], sizeof(word_view));
}

/*
 * membarrier(): each other party executes a full fence while the caller waits. A party's stores are
 * issued as early as can be, which nobody notices but this fence: so it covers only what the party
 * did up to its last step; more is as if the party had hurried. TSO: that is in memory now. C11:
 * caller and each of the others see what the other one saw; the others do not learn of one another,
 * which is less than the kernel does.
 */
void memory_barrier(int p)
{
	word_view mine;

	if (mode == EXPLORE_TSO) {
		for (int q = 0; q < st.party_count; q++)
			while (st.tso.buffer[q].count > st.tso.buffer[q].early)
				memory_drain(q);
		return;
	}
	memory_fence(p, memory_order_seq_cst);
	memcpy(mine, st.c11.sees[p], sizeof(word_view));
	for (int q = 0; q < st.party_count; q++) {
		if (q == p)
			continue;
		join(st.c11.sees[p], st.c11.saw[q]);
		join(st.c11.sees[q], st.c11.pending[q]);
		join(st.c11.sees[q], mine);
	}
	memory_fence(p, memory_order_seq_cst);
}

/* A lock in the kernel: what its holders before saw is seen, what this one sees is handed on. */
void memory_object(int p, int object)
{
	if (mode == EXPLORE_TSO)
		return;
	join(st.c11.sees[p], st.c11.object[object]);
	memcpy(st.c11.object[object], st.c11.sees[p], sizeof(word_view));
	st.c11.objects_used |= (uint16_t)(1u << object);
}

void memory_follow(int p, int q)
{
	if (mode == EXPLORE_C11)
		join(st.c11.sees[p], st.c11.sees[q]);
}

void memory_coherent(int p, int w)
{
	if (mode == EXPLORE_C11)
		st.c11.sees[p][w] = st.c11.count[w];
}

int memory_in_flight(int p)
{
	return mode == EXPLORE_TSO ? st.tso.buffer[p].count : 0;
}

void memory_drain(int p)
{
	struct buffer *b = &st.tso.buffer[p];
	int n = 0;

	do
		tso_write(b->word[n], b->value[n]);
	while (++n < b->count && word_coarse[b->word[n]]);
	b->count = (uint8_t)(b->count - n);
	if (b->early > b->count)
		b->early = b->count;
	memmove(b->word, b->word + n, b->count);
	memmove(b->value, b->value + n, b->count * sizeof(b->value[0]));
}

static uint64_t tso_digest(void)
{
	uint64_t d = st.tso.digest;

	for (int p = 0; p < st.party_count; p++) {
		const struct buffer *b = &st.tso.buffer[p];

		d = mix(d, b->count | (barriers ? (uint64_t)b->early << 8 : 0));
		for (int i = 0; i < b->count; i++)
			d = mix(mix(d, b->word[i]), b->value[i]);
	}
	return d;
}

/*
 * Per word the oldest store that somebody may still see. Older ones are forgotten, and views count
 * from there.
 */
static void oldest_visible(word_view base)
{
	memset(base, 255, sizeof(word_view));
	for (int w = 0; w < word_count; w++) {
		for (int p = 0; p < st.party_count; p++)
			if (st.party[p].pending != AT_END && (word_readers[w] >> p & 1) &&
			    word_written_by_others(w, p) && st.c11.sees[p][w] < base[w])
				base[w] = st.c11.sees[p][w];
		if (base[w] == 255)
			base[w] = st.c11.count[w];
	}
}

static uint64_t view_digest(const word_view v, const word_view base)
{
	int n = view_bytes();
	word_view rest;

	for (int i = 0; i < n; i++)
		rest[i] = (uint8_t)(v[i] > base[i] ? v[i] - base[i] : 0);
	return digest_bytes(1, rest, (size_t)n);
}

static uint64_t c11_digest(void)
{
	static uint64_t known[VIEW_MAX];
	static uint32_t known_at[VIEW_MAX], now;
	const struct c11 *m = &st.c11;
	uint64_t d = 0;
	word_view base;

	now++;
	known[0] = 0;
	known_at[0] = now;
	oldest_visible(base);
#define KEPT(v) \
	(known_at[v] == now ? known[v] \
			    : (known_at[v] = now, known[v] = view_digest(views[v], base)))
	for (int w = 0; w < word_count; w++) {
		uint16_t at = m->newest[w];
		int n = m->count[w] - base[w];

		if (word_readers[w] == 0 || word_writers[w] == 0)
			continue;
		d = mix(d, (uint64_t)w << 8 | (uint64_t)n);
		for (;; at = stores[at].older) {
			d = mix(d, at ? stores[at].value : setup_value[w]);
			if (at)
				d = mix(d, KEPT(stores[at].view));
			if (n-- == 0 || at == 0)
				break;
		}
	}
	for (int p = 0; p < st.party_count; p++) {
		d = mix(d, view_digest(m->sees[p],
				       base)); /* of a dead one too: who learns of its death takes it over */
		if (st.party[p].pending == AT_END)
			continue;
		d = mix(d, view_digest(m->pending[p], base));
		d = mix(d, KEPT(m->released[p]));
	}
#undef KEPT
	d = mix(d, view_digest(m->fence, base));
	for (int i = 0; i < EXPLORE_OBJECTS; i++)
		if (m->objects_used >> i & 1)
			d = mix(d, view_digest(m->object[i], base));
	return mix(d, m->objects_used);
}

uint64_t memory_digest(void)
{
	return mode == EXPLORE_TSO ? tso_digest() : c11_digest();
}

uint64_t digest_bytes(uint64_t seed, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;
	uint64_t v;

	for (; len >= 8; len -= 8, b += 8) {
		memcpy(&v, b, 8);
		seed = mix(seed, v);
	}
	if (len) {
		v = 0;
		memcpy(&v, b, len);
		seed = mix(seed, v);
	}
	return seed;
}

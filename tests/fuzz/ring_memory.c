/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_memory.c - fuzz target: every word that a peer shares may read as anything, at each load
 * anew.
 *
 * Built with BUS_EXPLORE, so that each access of ring/ to shared memory comes by explore_load() and
 * its kin below. A load of what a peer owns gives what stands there, or what the fuzzer puts in its
 * place: a word read twice may differ, as it may when its owner writes between the two. Two rings:
 *
 *   prey     the publisher is hostile: its segment is scribbled on, its words lie. The reader is
 *            under test: it stays inside its mapping, delivers only what is within the geometry,
 *            always moves forward, its accounts add up.
 *   ours     the publisher is under test: three members have hostile cursor segments, one is honest
 *            and reliable. That one must get each message, in order and whole, whatever the others
 *            say.
 *
 * Whoever stores must store into what it owns. A violation is a trap; a step outside a mapping is
 * SIGSEGV or ASan's.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ring_rig.h"

#define SLOTS     16
#define BYTES     4096
#define STEPS_MAX 2000

#define MUST(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "ring_memory:%d: not so: %s\n", __LINE__, #x); \
			__builtin_trap(); \
		} \
	} while (0)

enum actor {
	HARNESS,       /* sees what stands there */
	PREY_READER,   /* sees the fuzzer's values in the prey's ring */
	OUR_PUBLISHER, /* sees the fuzzer's values in the members' cursor segments */
};

static struct ring_rig prey, ours;
static enum actor actor;
static const uint8_t *input;
static size_t input_left;
static volatile unsigned touched;

int ring_mutant; /* ring/mutants.h: none */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t take(unsigned bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0 && input_left > 0) {
		v = v << 8 | *input++;
		input_left--;
	}
	return v;
}

static bool within(const volatile void *p, const void *from, uint64_t size)
{
	return (uintptr_t)p >= (uintptr_t)from && (uintptr_t)p < (uintptr_t)from + size;
}

static bool in_cursors(const struct ring_rig *rig, const volatile void *p, int first)
{
	for (int i = first; i < RIG_READERS; i++) {
		if (within(p, rig->readers[i].cursors, 2 * BUS_LINE_PAIR))
			return true;
	}
	return false;
}

static uint64_t real_load(const volatile void *word, unsigned size)
{
	return size == 4 ? __atomic_load_n((const volatile uint32_t *)word, __ATOMIC_SEQ_CST)
			 : __atomic_load_n((const volatile uint64_t *)word, __ATOMIC_SEQ_CST);
}

/*
 * What the word says now: the truth, about the truth, near the reader's own position, or anything.
 */
static uint64_t lie(uint64_t truth)
{
	uint8_t kind = (uint8_t)take(1);

	switch (kind >> 4) {
	case 8:
	case 9:
		return truth + (kind & 15) - 8;
	case 10:
	case 11:
		return (actor == PREY_READER ? prey.readers[0].rd.ahead : ours.pub.n) +
		       (kind & 15) - 8;
	case 12:
		return take(2);
	case 13:
		return take(8);
	case 14:
		return UINT64_MAX << (kind & 15) * 4;
	case 15:
		return UINT64_C(1) << ((kind & 15) * 4 + 3);
	default:
		return truth;
	}
}

uint64_t explore_load(const volatile void *word, unsigned size, int order)
{
	uint64_t truth = real_load(word, size);

	(void)order;
	if (actor == PREY_READER && within(word, prey.reader.area, prey.reader.span))
		return lie(truth);
	if (actor == OUR_PUBLISHER && in_cursors(&ours, word, 1))
		return lie(truth);
	return truth;
}

void explore_store(volatile void *word, unsigned size, uint64_t value, int order)
{
	(void)order;
	if (actor == PREY_READER)
		MUST(within(word, prey.readers[0].cursors, 2 * BUS_LINE_PAIR));
	if (actor == OUR_PUBLISHER)
		MUST(within(word, ours.writer.area, ours.writer.span));
	if (size == 4)
		__atomic_store_n((volatile uint32_t *)word, (uint32_t)value, __ATOMIC_SEQ_CST);
	else
		__atomic_store_n((volatile uint64_t *)word, value, __ATOMIC_SEQ_CST);
}

uint64_t explore_add(volatile void *word, unsigned size, uint64_t value)
{
	uint64_t before = real_load(word, size);

	explore_store(word, size, before + value, 0);
	return before;
}

int explore_cas(volatile void *word, unsigned size, uint64_t *expected, uint64_t desired)
{
	uint64_t before = real_load(word, size);

	if (before != *expected) {
		*expected = before;
		return 0;
	}
	explore_store(word, size, desired, 0);
	return 1;
}

void explore_fence(int order)
{
	(void)order;
}

/* The prey's reader */

static void check_message(const struct ring_reader *rd, const struct ring_peeked *p)
{
	uint64_t total = (uint64_t)p->head_len + p->len;
	const uint8_t *at = ring_reader_at(rd, p->pos);

	MUST(p->seq == rd->ahead);
	MUST(p->key_len <= p->head_len);
	MUST((p->flags & RING_FLAG_MUST_MASK) == 0);
	if (p->flags & RING_FLAG_INLINE) {
		MUST(total <= RING_INLINE_MAX);
		return;
	}
	MUST(at >= rd->view.payload && at + total <= rd->view.payload + 2 * rd->view.bytes);
	for (uint64_t i = 0; i < total; i += 64)
		touched += at[i];
	if (total > 0)
		touched += at[total - 1];
}

static void check_accounts(const struct ring_reader *rd, uint64_t start)
{
	MUST(rd->delivered + rd->lost == rd->cur - start);
	MUST(rd->flushed == real_load(&rd->entry->cursor, 8) ||
	     real_load(&rd->entry->cursor, 8) == CURSOR_PARKED);
}

static void read_some(struct ring_reader *rd, unsigned most)
{
	struct ring_peeked p;
	uint64_t first_pos = 0, first = rd->cur;
	unsigned n = 0;

	while (n < most) {
		enum ring_look look = ring_reader_peek(rd, &p);

		MUST(look <= RING_UNSUPPORTED);
		if (look == RING_LAPPED && n == 0) {
			uint64_t lost = rd->lost;

			ring_reader_lapped(rd);
			MUST(rd->cur != first && rd->ahead == rd->cur);
			MUST(rd->lost - lost == rd->cur - first);
			return;
		}
		if (look != RING_MESSAGE)
			break;
		check_message(rd, &p);
		if (n++ == 0)
			first_pos = p.pos;
		rd->ahead++;
	}
	if (n > 0) {
		(void)ring_reader_release(rd, n, first_pos);
		MUST(rd->cur == first + n);
	}
	rd->ahead = rd->cur;
}

/*
 * As libbus reads: slots first, one look at the frontier for all. Until then nothing of them is
 * believed.
 */
static void read_run(struct ring_reader *rd)
{
	struct ring_peeked p[8];
	uint64_t first = rd->cur;
	unsigned n = 0;

	while (n < 8 && ring_reader_slot(rd, rd->ahead, &p[n], p[n].in) == RING_MESSAGE) {
		check_message(rd, &p[n]);
		rd->ahead++;
		n++;
	}
	if (n > 0 && ring_reader_whole(rd, p[0].seq, p[0].pos)) {
		(void)ring_reader_release(rd, n, p[0].pos);
		MUST(rd->cur == first + n);
	}
	rd->ahead = rd->cur;
}

static void begin_again(struct ring_reader *rd, uint64_t *start, bool oldest)
{
	uint64_t was = rd->cur;

	if (oldest) {
		ring_reader_begin_oldest(rd);
		ring_reader_skip_gone(rd);
	} else {
		ring_reader_joined_now(rd);
	}
	MUST(rd->cur >= was || was > UINT64_MAX - SLOTS);
	*start += rd->cur - was;
	ring_reader_tag(rd);
	MUST(rd->entry->ring_id == RIG_RING_ID);
}

static void scribble(void)
{
	uint64_t words = (prey.geo.payload_off - prey.geo.slots_off) / 8;
	uint64_t what = take(1), at = take(2), run = what % 16 + 1;
	uint8_t *base = (uint8_t *)prey.writer.view.page;

	for (uint64_t i = 0; i < run; i++) {
		uint64_t w = what & 16 ? take(8) : prey.readers[0].rd.ahead + take(1) - 8;
		uint64_t off = what & 128 ? (at + i) % 64 * 8
					  : prey.geo.slots_off +
						    (at + i) % bus_min_u64(words, SLOTS * 8) * 8;

		memcpy(base + off, &w, 8);
	}
}

/* A slot that is nearly right, so that the checks behind the first are reached too. */
static void forge_message(const struct ring_reader *rd)
{
	uint64_t kind = take(1), seq = rd->ahead + kind % 4;
	struct ring_slot *slot = ring_slot_of(&prey.writer.view, seq);
	uint32_t len = (uint32_t)take(2);

	slot->pos = take(2) * 64;
	slot->lens =
		ring_pack_lens(kind & 4 ? 0 - len : len, (uint32_t)take(1), (uint32_t)take(1) % 32);
	slot->attrs = take(1);
	slot->commit = seq + 1;
}

static void step_prey(unsigned op, uint64_t *start)
{
	struct ring_reader *rd = &prey.readers[0].rd;

	if (op == 0) {
		scribble();
		return;
	}
	if (op == 1) {
		forge_message(rd);
		return;
	}
	actor = PREY_READER;
	switch (op) {
	case 2:
		read_some(rd, 1 + (unsigned)take(1) % 8);
		break;
	case 3:
		read_run(rd);
		break;
	case 4:
		(void)ring_reader_ready(rd);
		(void)ring_reader_drained(rd);
		rd->drained = false;
		break;
	case 5:
		ring_reader_flush(rd);
		break;
	case 6:
		ring_reader_park(rd);
		begin_again(rd, start, false);
		break;
	default:
		begin_again(rd, start, true);
	}
	actor = HARNESS;
	check_accounts(rd, *start);
}

/* Our publisher */

static void publish_ours(void)
{
	uint64_t limit_seq = ours.pub.limit_seq, limit_pos = ours.pub.limit_pos;
	const struct ring_reader *honest = &ours.readers[0].rd;
	uint32_t len = (uint32_t)take(2) % (BYTES / 4 + 1);
	enum ring_room room;

	actor = OUR_PUBLISHER;
	room = rig_send(&ours, len);
	actor = HARNESS;
	MUST(room == RING_ROOM || room == RING_BLOCKED);
	MUST(ours.pub.limit_seq >= limit_seq && ours.pub.limit_pos >= limit_pos);
	MUST(ours.pub.n - honest->cur <= SLOTS);
	MUST(ours.pub.n <= ours.pub.limit_seq && ours.pub.pos <= ours.pub.limit_pos);
}

static void step_ours(unsigned op)
{
	struct ring_reader *rd = &ours.readers[0].rd;
	enum ring_look look;
	unsigned before = 0;

	switch (op) {
	case 8:
	case 9:
	case 10:
		publish_ours();
		break;
	case 11:
		for (int i = 1; i < RIG_READERS; i++)
			before += ours.readers[i].wakes;
		actor = OUR_PUBLISHER;
		MUST(ring_pub_wake(&ours.pub) == RING_ROOM);
		actor = HARNESS;
		for (int i = 1; i < RIG_READERS; i++)
			before -= ours.readers[i].wakes;
		MUST(0 - before <= RIG_READERS - 1); /* one wake a member at most */
		break;
	case 12:
		ring_pub_wait_begin(&ours.pub, 0);
		ring_reader_flush(rd);
		ring_pub_wait_end(&ours.pub);
		break;
	case 13: /* the others say what honest ones would */
		for (int i = 1; i < RIG_READERS; i++)
			ours.readers[i].cursors->entry[0].cursor = ours.pub.n;
		ours.readers[take(1) % RIG_READERS].cursors->waiting++;
		break;
	default:
		look = rig_take(rd);
		MUST(look == RING_MESSAGE || (look == RING_EMPTY && rd->cur == ours.pub.n));
		MUST(rd->lost == 0);
	}
}

static void reset(struct ring_rig *rig, uint64_t seq, uint64_t pos)
{
	memset(rig->writer.view.page, 0, sizeof(*rig->writer.view.page));
	memset(rig->writer.view.slots, 0, SLOTS * RING_SLOT_BYTES);
	memset(rig->readers[0].cursors, 0, 2 * BUS_LINE_PAIR);
	rig_start_at(rig, seq, pos);
	rig->readers[0].wakes = 0;
	(void)rig_join(rig, 0, true);
}

static uint64_t start_of(unsigned kind)
{
	switch (kind & 3) {
	case 0:
		return 0;
	case 1:
		return (UINT64_C(1) << 32) - 64;
	case 2:
		return (UINT64_C(1) << 63) - 64;
	default:
		return UINT64_MAX - 2 * SLOTS; /* hostile only: no honest ring gets there */
	}
}

static void set_up(uint64_t *start)
{
	unsigned kind = (unsigned)take(1);

	actor = HARNESS;
	if (prey.geo.slots == 0) {
		MUST(rig_make(&prey, SLOTS, BYTES, RIG_TWO_MAPPINGS) == 0);
		MUST(rig_make(&ours, SLOTS, BYTES, RIG_TWO_MAPPINGS) == 0);
	}
	*start = start_of(kind);
	reset(&prey, *start, 0);
	reset(&ours, start_of(kind % 3), start_of((kind >> 2) % 3));
	for (unsigned i = 1; i < RIG_READERS; i++)
		(void)rig_join(&ours, i, i != 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t start;

	input = data;
	input_left = size;
	set_up(&start);
	for (int i = 0; i < STEPS_MAX && input_left > 0; i++) {
		unsigned op = (unsigned)take(1) % 16;

		if (op < 8)
			step_prey(op, &start);
		else
			step_ours(op);
	}
	return 0;
}

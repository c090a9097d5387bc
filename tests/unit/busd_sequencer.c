/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_sequencer.c - the sequencer's algorithm, killed between any two of its steps: each message is in the
 * stream once, in order, checksummed as log_format.h says; and without one of the rules that is seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "base/crc32c.h"
#include "lib/ring_rig.h"

/* compiled here once more, under other names */
#define sequencer_restart mortal_restart
#define sequencer_begin   mortal_begin
#define sequencer_take    mortal_take
#define sequencer_seal    mortal_seal
#include "sequencer.h"

/* ---- the algorithm, with a death between any two of its steps ---- */

static jmp_buf death;
static unsigned steps_left; /* 0: for ever */

static void step(void)
{
	if (steps_left && --steps_left == 0)
		longjmp(death, 1);
}

#define SEQUENCER_MUTANTS
#define ring_pub_inline(...)       (step(), (ring_pub_inline)(__VA_ARGS__))
#define ring_pub_commit_words(...) (step(), (ring_pub_commit_words)(__VA_ARGS__), step())
#define ring_pub_tell(...)         (step(), (ring_pub_tell)(__VA_ARGS__), step())
#define ring_pub_wake(...)         (step(), (ring_pub_wake)(__VA_ARGS__))
#define ring_reader_flush(...)     (step(), (ring_reader_flush)(__VA_ARGS__), step())
#include "../../busd/sequencer.c"

/* ---- what it works on ---- */

#define SOURCES 3
#define SLOTS   16

static const uint8_t uuid[LOG_UUID_BYTES] = "a stream's uuid.";

struct world {
	struct ring_rig out, in[SOURCES];
	struct board_source sources[BOARD_SOURCES];
	struct sequencer seq;
	struct intake intake[SOURCES];
	/* what has been seen in the stream */
	uint64_t seen, next[SOURCES], time, frontier;
	bool wrong; /* a message is missing, or twice, or another */
};

static bool wake_nobody(struct ring_reader *rd)
{
	(void)rd;
	return true;
}

/* A worker begins: all that it has of its own is new. */
static void restart(struct world *w)
{
	static struct ring_member gate;

	memset(&w->seq, 0, sizeof(w->seq));
	mortal_restart(&w->seq, &w->out.writer.view, RIG_RING_ID, w->sources, uuid);
	gate = spill_member(&w->seq.spill);
	w->seq.out.members = &gate;
	w->seq.out.member_count = 1;
	for (uint32_t i = 0; i < SOURCES; i++) {
		struct intake *in = &w->intake[i];

		*in = (struct intake){ .source = i, .src = w->sources[i].src };
		ring_reader_init(&in->rd, &w->in[i].reader.view, RIG_RING_ID,
				 &w->in[i].readers[0].cursors->entry[0], &w->in[i].closed,
				 RIG_CLOSED, 0);
		in->rd.wake = wake_nobody;
		mortal_begin(&w->seq, in);
	}
}

static struct world *make_world(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(rig_make(&w->out, SLOTS, 65536, RIG_TWO_MAPPINGS), 0);
	for (uint32_t i = 0; i < SOURCES; i++) {
		assert_int_equal(rig_make(&w->in[i], 64, 65536, RIG_TWO_MAPPINGS), 0);
		rig_join(&w->in[i], 0, true);
		bus_store_relaxed(&w->sources[i].state, BOARD_SOURCE_OPEN);
		w->sources[i].src =
			i + BOARD_SOURCES * i; /* not all are the first ones of their places */
	}
	restart(w);
	return w;
}

static void free_world(struct world *w)
{
	rig_free(&w->out);
	for (uint32_t i = 0; i < SOURCES; i++)
		rig_free(&w->in[i]);
	free(w);
}

/* ---- what is in the stream ---- */

static bool sums_are_right(const struct log_slot *slot, const uint8_t *payload)
{
	uint32_t body = crc32c(uuid, sizeof(uuid)), head = body;

	body = crc32c_extend(body, &slot->pos, 8);
	body = crc32c_extend(body, payload, (uint32_t)slot->lens);
	head = crc32c_extend(head, slot, 52);
	head = crc32c_extend(head, (const uint8_t *)slot + 56, 8);
	return slot->body_crc == body && slot->head_crc == head;
}

static void look(struct world *w)
{
	const struct ring_view *v = &w->out.reader.view;
	uint64_t frontier = bus_load_relaxed(&v->page->frontier_seq);

	w->wrong = w->wrong || frontier < w->frontier;
	w->frontier = frontier;
	for (;;) {
		struct log_slot slot;
		const uint8_t *payload;
		uint32_t i;

		memcpy(&slot, ring_slot_of(v, w->seen), sizeof(slot));
		if (slot.commit != w->seen + 1)
			return;
		i = slot.src % BOARD_SOURCES;
		payload = v->payload + (slot.pos & v->byte_mask);
		if (i >= SOURCES || slot.src != w->sources[i].src || slot.src_seq != w->next[i] ||
		    !rig_filled(payload, slot.src_seq, (uint32_t)slot.lens) ||
		    !sums_are_right(&slot, payload) || slot.attrs != 0 || slot.time < w->time ||
		    bus_load_relaxed(&w->sources[i].taken) > w->next[i] + SLOTS) {
			w->wrong = true;
			return;
		}
		w->time = slot.time;
		w->next[i]++;
		w->seen++;
	}
}

/* taken is never ahead of what is there. */
static void look_at_taken(struct world *w)
{
	for (uint32_t i = 0; i < SOURCES; i++)
		if (bus_load_relaxed(&w->sources[i].taken) > w->next[i])
			w->wrong = true;
}

/* ---- a life with deaths ---- */

static unsigned number(unsigned *seed, unsigned below)
{
	*seed = *seed * 1103515245u + 12345u;
	return (*seed >> 8) % below;
}

static enum sequencer_look take(struct world *w, uint32_t i, unsigned dies_after)
{
	steps_left = dies_after;
	if (setjmp(death)) {
		steps_left = 0;
		look(w);
		look_at_taken(w);
		restart(w);
		look(w);
		return SEQUENCER_EMPTY;
	}
	return mortal_take(&w->seq, &w->intake[i], 1000 + (uint64_t)(w->seen * 7 % 5));
}

/* Source 0 is a quiet one. True: everything was right. */
static bool live(unsigned seed, unsigned turns)
{
	struct world *w = make_world();
	uint64_t sent[SOURCES] = { 0 };
	bool right;

	for (unsigned turn = 0; turn < turns && !w->wrong; turn++) {
		uint32_t i = number(&seed, 40) == 0 ? 0 : 1 + number(&seed, SOURCES - 1);

		if (number(&seed, 2) == 0 &&
		    rig_send(&w->in[i], number(&seed, 4) ? number(&seed, 90)
							 : number(&seed, 2000)) == RING_ROOM)
			sent[i]++;
		i = number(&seed, SOURCES);
		take(w, i, number(&seed, 4) == 0 ? 1 + number(&seed, 40) : 0);
		look(w);
		look_at_taken(w);
	}
	for (uint32_t i = 0; i < SOURCES; i++)
		while (!w->wrong && take(w, i, 0) == SEQUENCER_TOOK)
			look(w);
	right = !w->wrong;
	for (uint32_t i = 0; i < SOURCES; i++)
		right = right && w->next[i] == sent[i] &&
			bus_load_relaxed(&w->sources[i].taken) == sent[i];
	free_world(w);
	return right;
}

static void deaths_cost_nothing(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 40; seed++)
		assert_true(live(seed, 3000));
}

static bool is_caught(bool *mutant)
{
	bool caught = false;

	*mutant = true;
	for (unsigned seed = 1; seed <= 40 && !caught; seed++)
		caught = !live(seed, 3000);
	*mutant = false;
	return caught;
}

static void each_rule_is_needed(void **state)
{
	(void)state;
	assert_true(is_caught(&sequencer_mutant.no_scan));
	assert_true(is_caught(&sequencer_mutant.scan_all));
	assert_true(is_caught(&sequencer_mutant.head_only));
	assert_true(is_caught(&sequencer_mutant.taken_first));
	assert_true(is_caught(&sequencer_mutant.taken_rarely));
}

/* ---- what a publisher may write ---- */

static void overwriting_is_seen(void **state)
{
	struct world *w = make_world();
	struct ring_writer_page *page = w->in[1].writer.view.page;

	(void)state;
	assert_int_equal(rig_send(&w->in[1], 100), RING_ROOM);
	assert_int_equal(rig_send(&w->in[1], 100), RING_ROOM);
	assert_int_equal(take(w, 1, 0), SEQUENCER_TOOK);
	assert_int_equal(rig_send(&w->in[1], 100), RING_ROOM);
	bus_store_relaxed(&page->frontier_seq, 1000); /* it says that it overwrites what was not taken */
	assert_int_equal(take(w, 1, 0), SEQUENCER_BROKEN);
	look(w);
	assert_int_equal(w->seen, 2);
	sequencer_mutant.no_whole = true;
	assert_int_equal(take(w, 1, 0), SEQUENCER_TOOK);
	sequencer_mutant.no_whole = false;
	free_world(w);
}

static void nonsense_is_seen(void **state)
{
	static const uint64_t lens[] = { (uint64_t)RING_LAYOUT_VERSION << 56 | 65537, 5,
					 (uint64_t)RING_LAYOUT_VERSION << 56 | UINT64_C(9) << 48 | 5 };

	(void)state;
	for (size_t i = 0; i < BUS_ARRAY_LEN(lens); i++) {
		struct world *w = make_world();

		assert_int_equal(rig_send(&w->in[2], 100), RING_ROOM);
		bus_store_relaxed(&ring_slot_of(&w->in[2].writer.view, 0)->lens, lens[i]);
		assert_int_equal(take(w, 2, 0), SEQUENCER_BROKEN);
		look(w);
		assert_int_equal(w->seen, 0);
		free_world(w);
	}
}

/* A head of any length: padded in the stream, as a reader of the log wants it; its bytes and the payload's stay. */
static bool head_arrives(uint32_t head_len, uint32_t len, bool inside)
{
	struct world *w = make_world();
	struct ring_pub *pub = &w->in[1].pub;
	struct ring_message m = { .head_len = head_len, .key_len = head_len, .len = len };
	uint8_t bytes[256], padded[256] = { 0 };
	const struct ring_view *v = &w->out.writer.view;
	struct log_slot slot;
	uint32_t room;
	bool right;

	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i + 1);
	memset(v->payload, 0xee, 256); /* what a message before left there */
	if (inside)
		memcpy(m.in, bytes, head_len + len);
	else
		memcpy(ring_pub_at(pub), bytes, head_len + len);
	assert_int_equal(rig_room(&w->in[1], 256), RING_ROOM);
	if (inside)
		ring_pub_commit(pub, &m);
	else
		ring_pub_commit_words(pub, 0, ring_pack_lens(len, head_len, head_len), 0, 256, len);
	assert_int_equal(take(w, 1, 0), SEQUENCER_TOOK);
	memcpy(&slot, ring_slot_of(v, 0), sizeof(slot));
	room = (uint16_t)(slot.lens >> 32);
	memcpy(padded, bytes, head_len);
	right = slot.commit == 1 && room % RING_HEAD_ALIGN == 0 && room >= head_len &&
		room < head_len + RING_HEAD_ALIGN && (uint8_t)(slot.lens >> 48) == head_len &&
		(uint32_t)slot.lens == len && memcmp(v->payload, padded, room) == 0 &&
		memcmp(v->payload + room, bytes + head_len, len) == 0;
	free_world(w);
	return right;
}

static void heads_are_padded(void **state)
{
	(void)state;
	for (uint32_t head = 0; head <= RING_INLINE_MAX; head++)
		for (uint32_t len = 0; head + len <= RING_INLINE_MAX; len++)
			if (head + len > 0)
				assert_true(head_arrives(head, len, true));
	for (uint32_t head = 0; head <= 64; head++) /* libbus pads these; others need not */
		assert_true(head_arrives(head, 70, false));
	sequencer_mutant.head_as_it_is = true;
	assert_false(head_arrives(5, 5, true));
	assert_false(head_arrives(5, 70, false));
	sequencer_mutant.head_as_it_is = false;
}

/* A stream's log takes no message of more than a quarter of its ring; no sound publisher sends one. */
static enum sequencer_look take_large(uint32_t head_len, uint32_t len)
{
	struct world *w = make_world();
	enum sequencer_look look;

	assert_int_equal(rig_send(&w->in[1], 100), RING_ROOM);
	bus_store_relaxed(&ring_slot_of(&w->in[1].writer.view, 0)->lens,
			  ring_pack_lens(len, head_len, 0));
	look = take(w, 1, 0);
	free_world(w);
	return look;
}

static void too_long_is_seen(void **state)
{
	(void)state;
	assert_int_equal(take_large(0, 65536 / 4), SEQUENCER_TOOK);
	assert_int_equal(take_large(0, 65536 / 4 + 1), SEQUENCER_BROKEN);
	assert_int_equal(take_large(65535, 1), SEQUENCER_BROKEN);
	sequencer_mutant.any_length = true;
	assert_int_equal(take_large(0, 65536 / 4 + 1), SEQUENCER_TOOK);
	sequencer_mutant.any_length = false;
}

static void an_end_is_seen(void **state)
{
	struct world *w = make_world();

	(void)state;
	assert_int_equal(take(w, 0, 0), SEQUENCER_EMPTY);
	assert_int_equal(rig_send(&w->in[0], 10), RING_ROOM);
	bus_store_release(&w->in[0].closed, RIG_CLOSED);
	assert_int_equal(take(w, 0, 0), SEQUENCER_TOOK);
	assert_int_equal(take(w, 0, 0), SEQUENCER_DRAINED);
	assert_int_equal(bus_load_relaxed(&w->in[0].readers[0].cursors->entry[0].cursor), 1);
	free_world(w);
}

/* The gate: nothing is overwritten before it is durable. */
static void the_gate_holds(void **state)
{
	struct world *w = make_world();

	(void)state;
	for (int i = 0; i < 60; i++)
		assert_int_equal(rig_send(&w->in[1], 10), RING_ROOM);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(take(w, 1, 0), SEQUENCER_TOOK);
		spill_open(&w->seq.spill, RIG_RING_ID, 0); /* a disk on which nothing is yet */
	}
	assert_int_equal(take(w, 1, 0), SEQUENCER_FULL);
	look(w);
	assert_int_equal(w->seen, SLOTS);
	spill_committed(&w->seq.spill, 3);
	assert_int_equal(take(w, 1, 0), SEQUENCER_TOOK);
	spill_open(&w->seq.spill, RIG_RING_ID, 3);
	look(w);
	assert_int_equal(w->seen, SLOTS + 3);
	free_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deaths_cost_nothing), cmocka_unit_test(each_rule_is_needed),
		cmocka_unit_test(overwriting_is_seen), cmocka_unit_test(nonsense_is_seen),
		cmocka_unit_test(heads_are_padded),    cmocka_unit_test(too_long_is_seen),
		cmocka_unit_test(an_end_is_seen),      cmocka_unit_test(the_gate_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

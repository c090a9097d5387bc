/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who published, as messages of a stream point to it: what a message of a batch, or one that is borrowed, points to
 * stays, however often the board describes others meanwhile.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/sub_internal.h"

struct rig {
	struct bus__segment ring, board;
	struct sub_ring r;
};

static int make(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->ring.geometry.features = RING_FEATURE_STREAM;
	rig->board.size = BOARD_STREAM_SIZE;
	rig->board.base = calloc(1, BOARD_STREAM_SIZE);
	assert_non_null(rig->board.base);
	assert_true(bus__sub_stream_attach(&rig->r, &rig->ring, &rig->board));
	*state = rig;
	return 0;
}

static int drop(void **state)
{
	struct rig *rig = *state;

	bus__sub_stream_free(rig->r.stream);
	free(rig->board.base);
	free(rig);
	return 0;
}

/* As busd does: the entry describes another process of that source. */
static void describe(struct rig *rig, uint32_t src, const char *name)
{
	struct board_source *entry =
		(struct board_source *)(void *)((uint8_t *)rig->board.base + BOARD_SOURCES_OFF) + src;

	bus_store_relaxed(&entry->gen, bus_load_relaxed(&entry->gen) + 1);
	entry->src = src;
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	bus_store_release(&entry->gen, bus_load_relaxed(&entry->gen) + 1);
}

static const struct bus_peer *look(struct rig *rig, uint32_t src, const char *name)
{
	const struct bus_peer *peer;

	describe(rig, src, name);
	peer = bus__sub_stream_who(&rig->r, src, 0);
	assert_string_equal(peer->name, name);
	return peer;
}

static void who_published_stays_for_a_batch(void **state)
{
	struct rig *rig = *state;
	const struct bus_peer *first, *other;

	bus__sub_stream_batch(&rig->r);
	first = look(rig, 5, "first");
	other = look(rig, 6, "other");
	for (int i = 0; i < 100; i++)
		(void)look(rig, i % 2 ? 5 : 6, "later");
	assert_string_equal(first->name, "first");
	assert_string_equal(other->name, "other");
}

static void who_published_stays_while_borrowed(void **state)
{
	struct rig *rig = *state;
	const struct bus_peer *first;

	bus__sub_stream_batch(&rig->r);
	first = look(rig, 5, "first");
	rig->r.borrowed = 1;
	for (int i = 0; i < 100; i++) {
		bus__sub_stream_batch(&rig->r);
		(void)look(rig, 5, "later");
	}
	assert_string_equal(first->name, "first");
}

static void what_nobody_points_to_is_freed(void **state)
{
	struct rig *rig = *state;
	size_t before;

	before = mallinfo2().uordblks;
	for (int i = 0; i < 10000; i++) {
		bus__sub_stream_batch(&rig->r);
		(void)look(rig, 5, "one");
		(void)look(rig, 5, "another");
	}
	assert_true(mallinfo2().uordblks < before + 65536);
}

/* What is freed is overwritten at once, and not kept back for the next one to take. */
static void be_strict(void)
{
	void *kept[16];

	mallopt(M_PERTURB, 0x55);
	for (size_t size = 16; size < 1024; size += 16) {
		for (size_t i = 0; i < 16; i++)
			kept[i] = malloc(size);
		for (size_t i = 0; i < 16; i++)
			free(kept[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_published_stays_for_a_batch, make, drop),
		cmocka_unit_test_setup_teardown(who_published_stays_while_borrowed, make, drop),
		cmocka_unit_test_setup_teardown(what_nobody_points_to_is_freed, make, drop),
	};

	be_strict();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

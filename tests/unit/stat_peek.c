/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of the newest messages: the right ones, in order, whole, also while their publisher
 * overwrites them.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/stat_rig.h"

#define SECOND UINT64_C(1000000000)

static int set_up(void **state)
{
	struct stat_rig *rig = malloc(sizeof(*rig));

	*state = rig;
	return rig ? stat_rig_make(rig) : -1;
}

static int tear_down(void **state)
{
	stat_rig_free(*state);
	free(*state);
	return 0;
}

static void test_newest_of_two_rings(void **state)
{
	struct stat_rig *rig = *state;
	struct stat_peeked got;

	stat_rig_add_ring(rig, 0, 0);
	stat_rig_add_ring(rig, 2, 50);
	for (uint64_t i = 0; i < 10; i++) {
		stat_rig_send(rig, 0, 16, (100 - 2 * i) * SECOND);
		stat_rig_send(rig, 2, 300, (99 - 2 * i) * SECOND);
	}
	stat_rig_look(rig);
	assert_int_equal(bus__stat_peek(&rig->view, &rig->view.boards[0], 5, &got), 5);
	assert_int_equal(got.count, 5);
	for (int i = 0; i < 5; i++) {
		const struct bus_msg *m = &got.msgs[i];
		bool second = i % 2 == 0;

		assert_int_equal(m->seq, second ? 57 + i / 2 : 8 + i / 2);
		assert_int_equal(m->len, second ? 300 : 16);
		assert_int_equal(m->from->id, stat_rig_pub_id(second ? 2 : 0));
		assert_string_equal(m->from->name, second ? "pub2" : "pub0");
		assert_int_equal(m->from->pid, second ? 1002 : 1000);
		assert_string_equal(m->topic, "orders.eu");
		assert_int_equal(m->time_ns,
				 stat_rig_head(rig)->cal_base_ns - (85 - (uint64_t)i) * SECOND);
		assert_true(rig_filled(m->data, m->seq, m->len));
		assert_null(m->key);
	}
	bus__stat_peeked_free(&got);
}

static void test_fewer_than_asked(void **state)
{
	struct stat_rig *rig = *state;
	struct stat_peeked got;

	stat_rig_look(rig);
	assert_int_equal(bus__stat_peek(&rig->view, &rig->view.boards[0], 5, &got), 0);
	bus__stat_peeked_free(&got);
	stat_rig_add_ring(rig, 0, 7);
	stat_rig_look(rig);
	assert_int_equal(bus__stat_peek(&rig->view, &rig->view.boards[0], 5, &got), 0);
	bus__stat_peeked_free(&got);
	stat_rig_send(rig, 0, 0, 0);
	stat_rig_send(rig, 0, 1, 0);
	assert_int_equal(bus__stat_peek(&rig->view, &rig->view.boards[0], INT32_MAX, &got), 2);
	assert_int_equal(got.msgs[0].seq, 7);
	assert_int_equal(got.msgs[0].len, 0);
	assert_int_equal(got.msgs[1].seq, 8);
	bus__stat_peeked_free(&got);
	assert_int_equal(bus__stat_peek(&rig->view, &rig->view.boards[0], 0, &got), -EINVAL);
	stat_rig_head(rig)->magic = 0;
	assert_int_equal(bus__stat_peek(&rig->view, &rig->view.boards[0], 1, &got), -EPROTO);
}

static void test_key_and_headers(void **state)
{
	struct stat_rig *rig = *state;
	struct stat_peeked got;
	char head[48] = "k1\1\0\3\0hval"; /* key "k1"; header h: val */
	struct ring_message small = {
		.len = 4, .head_len = 10, .key_len = 2, .flags = RING_FLAG_HEADERS, .key_hash = 77
	};
	struct ring_message large = {
		.len = 200, .head_len = 48, .key_len = 2, .flags = RING_FLAG_HEADERS, .key_hash = 77
	};
	uint8_t data[200];

	memset(data, 'd', sizeof(data));
	small.time = large.time = rig->now;
	stat_rig_add_ring(rig, 0, 0);
	stat_rig_send_message(rig, 0, &small, head, data);
	stat_rig_send_message(rig, 0, &large, head, data);
	stat_rig_look(rig);
	assert_int_equal(bus__stat_peek(&rig->view, &rig->view.boards[0], 9, &got), 2);
	for (int i = 0; i < 2; i++) {
		const struct bus_msg *m = &got.msgs[i];

		assert_int_equal(m->len, i ? 200 : 4);
		assert_memory_equal(m->data, data, m->len);
		assert_int_equal(m->key_len, 2);
		assert_memory_equal(m->key, "k1", 2);
		assert_int_equal(m->key_hash, 77);
		assert_int_equal(m->headers_len, i ? 46 : 8);
		assert_memory_equal(m->headers, head + 2, 8);
	}
	bus__stat_peeked_free(&got);
}

/* What the publisher may be overwriting is not delivered, even where its slot still looks good. */
static void test_behind_the_frontier(void **state)
{
	struct stat_rig *rig = *state;
	struct ring_writer_page *page = rig->rings[0].writer.view.page;
	struct stat_peeked got;

	stat_rig_add_ring(rig, 0, 0);
	for (int i = 0; i < 10; i++)
		stat_rig_send(rig, 0, 100, 0);
	stat_rig_look(rig);
	page->frontier_seq = 6 + STAT_RIG_SLOTS;
	assert_int_equal(bus__stat_peek(&rig->view, &rig->view.boards[0], 10, &got), 4);
	assert_int_equal(got.msgs[0].seq, 6);
	bus__stat_peeked_free(&got);
	page->frontier_pos = 8 * 128 + STAT_RIG_BYTES;
	assert_int_equal(bus__stat_peek(&rig->view, &rig->view.boards[0], 10, &got), 2);
	assert_int_equal(got.msgs[0].seq, 8);
	bus__stat_peeked_free(&got);
}

struct writer {
	struct stat_rig *rig;
	_Atomic uint32_t stop;
	uint64_t sent;
};

static void *write_on(void *arg)
{
	struct writer *w = arg;

	while (!bus_load_relaxed(&w->stop)) {
		/* pauses of all lengths: the ring must also be seen half still */
		for (uint64_t i = 0; i < 1 + w->sent % 23; i++)
			stat_rig_send(w->rig, 0, 1000, 0);
		for (uint64_t i = 0; i < w->sent % 1999; i++)
			bus_cpu_relax();
		w->sent++;
	}
	return NULL;
}

static void test_never_torn(void **state)
{
	struct stat_rig *rig = *state;
	struct writer w = { .rig = rig };
	pthread_t thread;
	uint64_t end = bus_monotonic_ns() + 2 * SECOND, looks = 0, seen = 0, torn = 0;

	stat_rig_add_ring(rig, 0, 0);
	stat_rig_look(rig);
	assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
	while (bus_monotonic_ns() < end) {
		struct stat_peeked got;
		uint64_t last = 0;

		assert_true(bus__stat_peek(&rig->view, &rig->view.boards[0], 4, &got) >= 0);
		looks++;
		for (int i = 0; i < got.count; i++) {
			torn += got.msgs[i].len != 1000 ||
				!rig_filled(got.msgs[i].data, got.msgs[i].seq, 1000);
			torn += got.msgs[i].seq < last;
			last = got.msgs[i].seq;
			seen++;
		}
		bus__stat_peeked_free(&got);
	}
	bus_store_relaxed(&w.stop, 1);
	pthread_join(thread, NULL);
	print_message("%llu messages in %llu looks\n", (unsigned long long)seen,
		      (unsigned long long)looks);
	assert_int_equal(torn, 0);
	assert_true(seen > 1000);
}

static void test_scribbled_slots(void **state)
{
	struct stat_rig *rig = *state;

	srandom(20240502);
	for (int round = 0; round < 500; round++) {
		uint64_t *words = (uint64_t *)(void *)rig->rings[0].writer.view.slots;
		struct stat_peeked got;

		stat_rig_add_ring(rig, 0, 0);
		for (int i = 0; i < 100; i++)
			stat_rig_send(rig, 0, 40, 0);
		for (int i = 0; i < 60; i++) {
			uint64_t w = (uint64_t)random() << 33 ^ (uint64_t)random() << 8 ^
				     (uint64_t)random();

			words[random() % STAT_RIG_SLOTS * 8 + 1 + random() % 4] =
				random() % 2 ? w : (uint64_t)(random() % 5000) | UINT64_C(1) << 56;
		}
		rig->rings[0].writer.view.page->frontier_pos = 0;
		stat_rig_look(rig);
		assert_true(bus__stat_peek(&rig->view, &rig->view.boards[0], 64, &got) >= 0);
		for (int i = 0; i < got.count; i++)
			assert_in_range(got.msgs[i].len, 0, STAT_RIG_BYTES);
		bus__stat_peeked_free(&got);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(newest_of_two_rings), TEST(fewer_than_asked), TEST(key_and_headers),
		TEST(behind_the_frontier), TEST(never_torn),       TEST(scribbled_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

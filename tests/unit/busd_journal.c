/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: what stands in the journal is what was committed: a writer killed at any moment leaves
 * whole transactions only, places are used again, it grows, and one that is not ours is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal.h"

#define KIND   3
#define OTHER  4
#define ITEMS  64
#define ROUNDS 150

struct body {
	uint64_t id, value, pad[20];
};

static int new_file(void)
{
	int fd = memfd_create("journal", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static unsigned count(const struct journal *journal, uint32_t kind, uint64_t *sum)
{
	const struct body *body;
	uint64_t at = 0;
	unsigned n = 0;

	*sum = 0;
	while ((body = journal_next(journal, kind, &at))) {
		*sum += body->value;
		n++;
	}
	return n;
}

/* What a worker that dies has in its own memory. */
static void let_go(struct journal *journal)
{
	for (size_t i = 0; i < BUS_ARRAY_LEN(journal->free); i++)
		free(journal->free[i].at);
	free(journal->limbo.at);
	munmap(journal->head, journal->size);
	memset(journal, 0, sizeof(*journal));
}

/* As the next worker finds it. */
static void reopen(struct journal *journal)
{
	int fd = journal->fd;

	let_go(journal);
	assert_int_equal(journal_open(journal, fd), 0);
	assert_false(journal->fresh);
}

static void what_is_not_committed_is_undone(void **state)
{
	struct journal journal = { 0 };
	struct body one = { .id = 1, .value = 10 }, two = { .id = 2, .value = 20 };
	uint64_t place = 0, other = 0, sum;

	(void)state;
	assert_int_equal(journal_open(&journal, new_file()), 0);
	assert_true(journal.fresh);
	journal_put(&journal, &place, KIND, &one, sizeof(one));
	reopen(&journal);
	assert_int_equal(count(&journal, KIND, &sum), 0);
	place = 0;
	journal_put(&journal, &place, KIND, &one, sizeof(one));
	journal_commit(&journal);
	one.value = 11;
	journal_put(&journal, &place, KIND, &one, sizeof(one));
	journal_put(&journal, &other, KIND, &two, sizeof(two));
	reopen(&journal);
	assert_int_equal(count(&journal, KIND, &sum), 1);
	assert_int_equal(sum, 10);
	/* a place that was freed in a transaction is not written before that is over */
	journal_drop(&journal, &place);
	other = 0;
	journal_put(&journal, &other, OTHER, &two, sizeof(two));
	reopen(&journal);
	assert_int_equal(count(&journal, KIND, &sum), 1);
	assert_int_equal(sum, 10);
	assert_int_equal(count(&journal, OTHER, &sum), 0);
	let_go(&journal);
}

static void it_grows_and_uses_places_again(void **state)
{
	struct journal journal = { 0 };
	static uint64_t places[20000];
	struct body body = { .value = 1 };
	uint64_t sum, used;

	(void)state;
	assert_int_equal(journal_open(&journal, new_file()), 0);
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 20000; i++)
			journal_put(&journal, &places[i], KIND, &body, sizeof(body));
		journal_commit(&journal);
		if (round == 0)
			used = bus_load_relaxed(&journal.head->used);
		assert_int_equal(bus_load_relaxed(&journal.head->used), used);
		assert_int_equal(count(&journal, KIND, &sum), 20000);
		assert_int_equal(sum, 20000);
		for (unsigned i = 0; i < 20000; i++)
			journal_drop(&journal, &places[i]);
		journal_commit(&journal);
		assert_int_equal(count(&journal, KIND, &sum), 0);
	}
	journal_note_id(&journal, 77);
	reopen(&journal);
	assert_true(journal_first_id(&journal) > 77);
	let_go(&journal);
}

/* A worker of a later version writes longer records, and one of an earlier version reads them again. */
static void records_grow(void **state)
{
	struct longer {
		struct body body;
		uint64_t more[20];
	} longer = { .body = { .id = 1, .value = 11 }, .more = { [19] = 7 } };
	struct body body = { .id = 1, .value = 10, .pad = { [19] = 3 } }, noise, got;
	struct journal journal = { 0 };
	uint64_t place = 0, other = 0, at = 0, sum, first;

	(void)state;
	memset(&noise, 0xff, sizeof(noise));
	assert_int_equal(journal_open(&journal, new_file()), 0);
	/* a place that was used before: what is behind the end of a record is zero all the same */
	journal_put(&journal, &place, OTHER, &noise, sizeof(noise));
	journal_commit(&journal);
	journal_drop(&journal, &place);
	journal_commit(&journal);
	journal_put(&journal, &place, KIND, &body, 136);
	journal_commit(&journal);
	assert_true(journal_room(&journal, place) >= sizeof(body));
	journal_read(&journal, place, &got, sizeof(got));
	assert_int_equal(got.value, 10);
	assert_memory_equal(&got.pad[15], &(struct body){ 0 }.pad, 5 * 8);
	/* and so is what the place has no room for */
	memset(&longer, 0xff, sizeof(longer));
	journal_read(&journal, place, &longer, sizeof(longer));
	assert_int_equal(longer.body.value, 10);
	assert_int_equal(longer.more[19], 0);
	/* too little room: it moves, in one transaction */
	first = place;
	longer = (struct longer){ .body = { .id = 1, .value = 11 }, .more = { [19] = 7 } };
	journal_put(&journal, &place, KIND, &longer, sizeof(longer));
	assert_true(place != first);
	reopen(&journal);
	assert_int_equal(count(&journal, KIND, &sum), 1);
	assert_int_equal(sum, 10);
	place = first;
	journal_put(&journal, &place, KIND, &longer, sizeof(longer));
	journal_commit(&journal);
	reopen(&journal);
	assert_int_equal(count(&journal, KIND, &sum), 1);
	assert_int_equal(sum, 11);
	assert_non_null(journal_next(&journal, 0, &at));
	assert_int_equal(journal_kind(&journal, at), KIND);
	journal_read(&journal, at, &longer, sizeof(longer));
	assert_int_equal(longer.more[19], 7);
	assert_null(journal_next(&journal, 0, &at));
	/* the earlier version changes what it knows, and no more */
	body.value = 12;
	journal_put(&journal, &place, KIND, &body, sizeof(body));
	journal_put(&journal, &other, KIND, &body, sizeof(body));
	assert_int_equal(other, first); /* its old place */
	journal_read(&journal, place, &longer, sizeof(longer));
	assert_int_equal(longer.body.value, 12);
	assert_int_equal(longer.more[19], 7);
	let_go(&journal);
}

static void another_is_refused(void **state)
{
	struct journal journal = { 0 };
	int fd = new_file();

	(void)state;
	assert_int_equal(journal_open(&journal, fd), 0);
	journal.head->version++;
	let_go(&journal);
	assert_int_equal(journal_open(&journal, fd), -EPROTO);
	let_go(&journal);
}

/* Moves value between items, frees some, makes them anew: the sum and the number stay. */
static void shuffle(struct journal *journal, unsigned seed)
{
	struct body body[ITEMS];
	uint64_t place[ITEMS] = { 0 };
	const struct body *found;
	uint64_t at = 0;

	while ((found = journal_next(journal, KIND, &at))) {
		body[found->id] = *found;
		place[found->id] = at;
	}
	for (;;) {
		unsigned a = (unsigned)rand_r(&seed) % ITEMS, b = (unsigned)rand_r(&seed) % ITEMS;

		body[a].value++;
		body[b].value--;
		journal_put(journal, &place[a], KIND, &body[a], sizeof(body[a]));
		journal_put(journal, &place[b], KIND, &body[b], sizeof(body[b]));
		if (rand_r(&seed) % 4 == 0) {
			journal_drop(journal, &place[b]);
			journal_put(journal, &place[b], KIND, &body[b], sizeof(body[b]));
		}
		journal_commit(journal);
	}
}

static void killed_at_any_moment(void **state)
{
	struct journal journal = { 0 };
	uint64_t sum;

	(void)state;
	assert_int_equal(journal_open(&journal, new_file()), 0);
	for (unsigned i = 0; i < ITEMS; i++) {
		struct body body = { .id = i, .value = 1000 };
		uint64_t place = 0;

		journal_put(&journal, &place, KIND, &body, sizeof(body));
	}
	journal_commit(&journal);
	for (unsigned round = 0; round < ROUNDS; round++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			struct journal own = { 0 };

			if (journal_open(&own, journal.fd) == 0)
				shuffle(&own, round);
			_exit(1);
		}
		usleep(500 + round * 37 % 3000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		reopen(&journal);
		assert_int_equal(count(&journal, KIND, &sum), ITEMS);
		assert_int_equal(sum, ITEMS * 1000);
	}
	let_go(&journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_committed_is_undone),
		cmocka_unit_test(it_grows_and_uses_places_again),
		cmocka_unit_test(records_grow),
		cmocka_unit_test(another_is_refused),
		cmocka_unit_test(killed_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

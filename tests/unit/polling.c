/* SPDX-License-Identifier: Apache-2.0 */
/* Proves: how long a wait polls follows what polling was worth (libbus/api/polling.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/polling.h"

#define AT UINT64_C(1000000)

static uint64_t polls(const struct polling *p)
{
	return polling_until(p, AT, UINT64_MAX) - AT;
}

static void wait_long(struct polling *p, int times)
{
	while (times-- > 0)
		polling_learn(p, AT, AT + POLLING_NS + 1);
}

static void test_a_named_time_stays(void **state)
{
	struct polling named = polling_of(3000), at_once = polling_of(1), never = polling_of(-1);

	(void)state;
	wait_long(&named, 100);
	wait_long(&at_once, 100);
	wait_long(&never, 100);
	assert_int_equal(polls(&named), 3000);
	assert_int_equal(polls(&at_once), 0);
	assert_int_equal(polling_until(&never, AT, 77 * AT), 77 * AT);
}

static void test_a_deadline_is_kept(void **state)
{
	struct polling p = polling_of(0);

	(void)state;
	assert_int_equal(polling_until(&p, AT, AT + 5), AT + 5);
}

static void test_two_long_waits_end_it(void **state)
{
	struct polling p = polling_of(0);

	(void)state;
	wait_long(&p, 1);
	assert_int_equal(polls(&p), POLLING_NS);
	wait_long(&p, 1);
	assert_int_equal(polls(&p), 0);
}

static void test_one_of_sixteen_tries(void **state)
{
	struct polling p = polling_of(0);
	int tries = 0;

	(void)state;
	wait_long(&p, POLLING_VAIN);
	for (int i = 0; i < 10 * POLLING_TRIES; i++) {
		tries += polls(&p) == POLLING_NS;
		wait_long(&p, 1);
	}
	assert_int_equal(tries, 10);
}

static void test_a_short_wait_begins_it_again(void **state)
{
	struct polling p = polling_of(0);

	(void)state;
	wait_long(&p, 50);
	polling_learn(&p, AT, AT + POLLING_NS); /* asleep, and longer polling would have seen it */
	assert_int_equal(polls(&p), POLLING_NS);
	wait_long(&p, 50);
	polling_learn(&p, AT, 0);
	assert_int_equal(polls(&p), POLLING_NS);
}

static uint64_t nap(struct polling *p, uint64_t waited, uint64_t came, uint64_t slots)
{
	polling_learn_nap(p, waited, came, slots);
	return p->nap_ns;
}

/* Half the time in which the ring would be full, where a quarter of it came while a reader got up, again and again. */
static void test_a_crowded_reader_naps(void **state)
{
	struct polling p = polling_of(0), named = polling_of(3000);

	(void)state;
	wait_long(&p, 1);
	assert_int_equal(nap(&p, 100000, 2048, 4096), 0); /* once is chance */
	wait_long(&p, 1);
	assert_int_equal(nap(&p, 100000, 2048, 4096), 100000);
	assert_int_equal(nap(&p, 100000, 4096, 4096), 50000);
	assert_int_equal(nap(&p, 300000, 1024, 4096), POLLING_NAP_MOST_NS);
	assert_int_equal(nap(&p, 100000, 1023, 4096), 0);
	assert_int_equal(nap(&p, 100000, 4097, 4096), 0); /* it is read from elsewhere */
	assert_int_equal(nap(&p, 100000, 255, 256), 0); /* little rings fill as fast as one gets up */
	assert_int_equal(nap(&p, 30000, 4096, 4096), 0);
	assert_int_equal(nap(&p, 100000, 0, 0), 0);
	polling_learn(&p, AT, 0);
	assert_int_equal(nap(&p, 100000, 2048, 4096), 0);
	wait_long(&named, 100);
	assert_int_equal(nap(&named, 100000, 2048, 4096), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_named_time_stays),
		cmocka_unit_test(test_a_deadline_is_kept),
		cmocka_unit_test(test_two_long_waits_end_it),
		cmocka_unit_test(test_one_of_sixteen_tries),
		cmocka_unit_test(test_a_short_wait_begins_it_again),
		cmocka_unit_test(test_a_crowded_reader_naps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

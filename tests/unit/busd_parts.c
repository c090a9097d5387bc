/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_parts.c - what busd is built of: the map of ids, the decoding of messages, the calibration
 * of the raw counter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calibrate.h"
#include "format/control_size.h"
#include "greet.h"
#include "idmap.h"
#include "numa_place.h"
#include "request.h"

#define IDS 2000

static void ids_are_found(void **state)
{
	static char there[IDS + 1];
	struct idmap map = { 0 };
	unsigned long random = 12345;
	size_t expected = 0, at = 0, walked = 0;

	(void)state;
	assert_null(idmap_get(&map, 1));
	idmap_remove(&map, 1);
	/* a long life of puts and removals, against an array */
	for (int i = 0; i < 200000; i++) {
		uint64_t id;

		random = random * 6364136223846793005u + 1442695040888963407u;
		id = (random >> 33) % IDS + 1;
		if ((random >> 20) % 3) {
			assert_int_equal(idmap_put(&map, id, &there[id]), 0);
			expected += !there[id];
			there[id] = 1;
		} else {
			idmap_remove(&map, id);
			expected -= there[id];
			there[id] = 0;
		}
		assert_ptr_equal(idmap_get(&map, id), there[id] ? &there[id] : NULL);
		if (i % 1000 != 0)
			continue;
		for (id = 1; id <= IDS; id++)
			if (idmap_get(&map, id) != (there[id] ? &there[id] : NULL))
				fail_msg("id %llu after %d steps", (unsigned long long)id, i);
	}
	assert_int_equal(map.count, expected);
	while (idmap_next(&map, &at))
		walked++;
	assert_int_equal(walked, expected);
	assert_null(idmap_get(&map, 0));
	idmap_free(&map);
}

static const char *checked(void *bytes, size_t len)
{
	bool more;
	const char *wrong = request_check(bytes, len, &more);

	assert_false(more);
	return wrong;
}

static void messages_are_checked(void **state)
{
	union {
		struct ctl_head head;
		struct ctl_pub_open open;
		struct ctl_topic_next next;
		uint8_t bytes[CTL_MAX];
	} in = { .bytes = { 0 } };

	(void)state;
	assert_non_null(checked(&in, 0));
	assert_non_null(checked(&in, sizeof(in.head) - 1));
	for (unsigned type = 0; type < 0x10000; type++) {
		in.head.type = (uint16_t)type;
		in.head.len = sizeof(in.head);
		if ((checked(&in, sizeof(in.head)) == NULL) !=
		    (type == CTL_ATTACH || type == CTL_UNOBSERVE || type == CTL_INFO ||
		     type == CTL_LEAVE))
			fail_msg("type %#x", type);
	}
	in.head.type = CTL_PUB_OPEN;
	in.head.len = sizeof(in.open);
	assert_null(checked(&in, sizeof(in.open)));
	assert_non_null(checked(&in, sizeof(in.open) - 1));
	assert_non_null(checked(&in, sizeof(in.open) + 1));
	/* without what a later version has grown by, it is whole; with less, it is not */
	in.head.len = ctl_size_of(CTL_PUB_OPEN).least;
	assert_null(checked(&in, in.head.len));
	in.head.len--;
	assert_non_null(checked(&in, in.head.len));
	in.head.len = sizeof(in.open);
	memset(in.open.name, 'x', sizeof(in.open.name));
	assert_non_null(checked(&in, sizeof(in.open)));
	in.open.name[sizeof(in.open.name) - 1] = 0;
	assert_null(checked(&in, sizeof(in.open)));
	in.head.type = CTL_TOPIC_NEXT;
	in.head.len = sizeof(in.next);
	memset(in.next.after, 'x', sizeof(in.next.after));
	assert_non_null(checked(&in, sizeof(in.next)));
}

/* Of another version: a tail of zeros is as good as none, any other says more than is known. */
static void messages_grow_at_their_tail(void **state)
{
	union {
		struct ctl_head head;
		struct ctl_evict evict;
		struct ctl_hello hello;
		uint8_t bytes[CTL_MAX];
	} in = { .bytes = { 0 } };
	bool more;

	(void)state;
	for (size_t len = sizeof(in.evict); len <= sizeof(in); len++) {
		in.head.type = CTL_EVICT;
		in.head.len = (uint32_t)len;
		assert_null(checked(&in, len));
		if (len == sizeof(in.evict))
			continue;
		in.bytes[len - 1] = 1;
		assert_null(request_check(&in, len, &more));
		assert_true(more);
		in.head.type = CTL_HELLO; /* before it is known which version is spoken */
		assert_int_equal(ctl_fit(&in, len), len < sizeof(in.hello) ? -EPROTO : 0);
		in.bytes[len - 1] = 0;
	}
	assert_int_equal(ctl_fit(&in, sizeof(in) + 1), -EPROTO);
	/* what a shorter one lacks is zero, whatever lay there */
	in.head.type = CTL_REPLY | CTL_INFO;
	in.head.len = ctl_size_of(in.head.type).least;
	memset(in.bytes + in.head.len, 0xff, sizeof(in) - in.head.len);
	assert_int_equal(ctl_fit(&in, in.head.len), 0);
	for (size_t i = in.head.len; i < sizeof(struct ctl_info_reply); i++)
		assert_int_equal(in.bytes[i], 0);
	in.head.len--;
	assert_int_equal(ctl_fit(&in, in.head.len), -EPROTO);
}

/* Each message has its length, and nothing else has one. */
static void every_message_has_a_size(void **state)
{
	unsigned count = 0;

	(void)state;
	for (uint32_t type = 0; type < 0x10000; type++) {
		struct ctl_size size = ctl_size_of(type);

		assert_true(size.least <= size.known && size.known <= CTL_MAX);
		assert_true(size.known == 0 || size.least >= sizeof(struct ctl_head));
		count += size.known != 0;
	}
	assert_int_equal(count, (CTL_TYPE_COUNT - 1) * 2 + (CTL_EV_RESUME - CTL_EV_SEGMENT + 1) +
					(CTL_EVC_LYING - CTL_EVC_ACK + 1) + 1);
}

static int greeted(uint16_t version, uint16_t min, size_t len, struct why *why)
{
	struct ctl_hello hello = { .head = { .magic = CTL_MAGIC,
					     .type = CTL_HELLO,
					     .version = version,
					     .len = (uint32_t)len },
				   .min_version = min };
	struct client_versions versions = { 0 };
	int rc = greet_check(&hello, len, &versions, why);

	return rc < 0 ? rc : versions.spoken;
}

static void greetings(void **state)
{
	struct ctl_hello hello = {
		.head = { .magic = CTL_MAGIC, .type = CTL_HELLO, .version = CTL_VERSION, .len = 96 }
	};
	const size_t all = sizeof(hello), head = sizeof(hello.head);
	struct client_versions versions;
	struct why why;

	(void)state;
	assert_int_equal(greet_check(&hello, head, &versions, &why), 0);
	assert_int_equal(greet_check(&hello, head - 1, &versions, &why), -EPROTO);
	hello.head.type = CTL_ATTACH;
	assert_int_equal(greet_check(&hello, all, &versions, &why), -EPROTO);
	hello.head.type = CTL_HELLO;
	hello.head.magic = 0;
	assert_int_equal(greet_check(&hello, all, &versions, &why), -EPROTO);
	/* the highest that both speak; without a range it is the one version */
	assert_int_equal(greeted(CTL_VERSION, 0, all, &why), CTL_VERSION);
	assert_int_equal(greeted(CTL_VERSION, CTL_VERSION, head, &why), CTL_VERSION);
	assert_int_equal(greeted(77, CTL_VERSION, all, &why), CTL_VERSION);
	assert_int_equal(greeted(77, 1, all, &why), CTL_VERSION);
	assert_int_equal(greeted(0, 0, all, &why), -EPROTONOSUPPORT);
	assert_int_equal(greeted(77, 0, all, &why), -EPROTONOSUPPORT);
	assert_non_null(strstr(why.text, "version 3, the client version 77;"));
	assert_non_null(strstr(why.text, "busd is the older one"));
	assert_int_equal(greeted(78, 77, all, &why), -EPROTONOSUPPORT);
	assert_non_null(strstr(why.text, "version 3, the client version 77 to 78;"));
	assert_int_equal(greeted(CTL_VERSION_MIN - 1, 1, all, &why), -EPROTONOSUPPORT);
	assert_non_null(strstr(why.text, "version 3, the client version 1 to 2;"));
	assert_non_null(strstr(why.text, "the library is the older one"));
	/* nonsense: the lowest above the highest */
	assert_int_equal(greeted(CTL_VERSION, CTL_VERSION + 1, all, &why), -EPROTONOSUPPORT);
}

static int64_t error_now(const struct calibrator *calibrator)
{
	uint64_t before = bus_realtime_ns();
	uint64_t said = bus_counter_to_ns(&calibrator->now, bus_counter());
	uint64_t after = bus_realtime_ns();

	return (int64_t)(said - (before + (after - before) / 2));
}

static void time_stamps(void **state)
{
	struct timespec pause = { .tv_nsec = 20000000 };
	struct calibrator calibrator = { .anchor_ns = 0 };
	uint64_t counter, before, rate;
	int64_t error;

	(void)state;
	calibrate_start(&calibrator);
	error = error_now(&calibrator);
	if (error > 1000000 || error < -1000000)
		fail_msg("off by %lld ns", (long long)error);
	/* another look does not make it jump, whatever moment is asked about */
	nanosleep(&pause, NULL);
	counter = bus_counter();
	before = bus_counter_to_ns(&calibrator.now, counter);
	rate = calibrator.now.mult;
	calibrate_again(&calibrator);
	error = (int64_t)(bus_counter_to_ns(&calibrator.now, counter) - before);
	if (error > 20000 || error < -20000)
		fail_msg("jumps by %lld ns", (long long)error);
	error = (int64_t)(calibrator.now.mult - rate);
	if (error > (int64_t)(rate / 500) || error < -(int64_t)(rate / 500))
		fail_msg("rate %llu, then %llu", (unsigned long long)rate,
			 (unsigned long long)calibrator.now.mult);
	/* the clock was set: it follows */
	calibrator.now.base_ns -= UINT64_C(3600000000000);
	nanosleep(&pause, NULL);
	calibrate_again(&calibrator);
	error = error_now(&calibrator);
	if (error > 1000000 || error < -1000000)
		fail_msg("off by %lld ns after the clock was set", (long long)error);
	/* a small deviation is made good slowly: a minute later it is gone */
	calibrator.now.base_ns -= 1000000;
	nanosleep(&pause, NULL);
	calibrate_again(&calibrator);
	error = error_now(&calibrator);
	if (error > -900000 || error < -1100000)
		fail_msg("a millisecond became %lld ns at once", (long long)error);
	rate = (uint64_t)((__int128)CALIBRATE_EVERY_NS * ((__int128)1 << 32) /
			  (__int128)calibrator.now.mult);
	counter = calibrator.now.base_counter + rate;
	before = bus_counter_to_ns(&calibrator.now, counter) - calibrator.now.base_ns;
	assert_true(before >= CALIBRATE_EVERY_NS - 1000 && before <= CALIBRATE_EVERY_NS + 1000);
}

#define AREA (UINT64_C(1) << 20)

/* The policy of the first page, as the kernel has it (MPOL_F_ADDR); -1: this kernel knows none. */
static int policy_of(void *map)
{
	int mode = -1;

	return syscall(SYS_get_mempolicy, &mode, NULL, 0, map, 2) < 0 ? -1 : mode;
}

static void placement_is_set_and_seen(void **state)
{
	static const struct {
		int32_t placement;
		int node;
		int mode; /* MPOL_DEFAULT 0, PREFERRED 1, INTERLEAVE 3; never BIND 2 */
	} cases[] = { { 0, -1, 0 }, { 0, 0, 1 }, { 0, 4711, 0 }, { 1, -1, 1 }, { -1, -1, 3 } };
	uint32_t counts[BOARD_NODES];

	(void)state;
	numa_start();
	for (size_t i = 0; i < BUS_ARRAY_LEN(cases); i++) {
		int fd = memfd_create("test", MFD_CLOEXEC);
		void *map, *other;

		assert_int_equal(ftruncate(fd, AREA), 0);
		map = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		other = mmap(NULL, AREA, PROT_READ, MAP_SHARED, fd, 0);
		assert_true(map != MAP_FAILED && other != MAP_FAILED);
		assert_int_equal(numa_place(map, AREA, cases[i].placement, cases[i].node), 0);
		/* it belongs to the memory, not to the mapping */
		if (policy_of(other) >= 0 && policy_of(other) != cases[i].mode)
			fail_msg("case %zu: policy %d", i, policy_of(other));
		memset(map, 1, AREA);
		assert_int_equal(numa_survey(map, AREA, 4096, counts), 0);
		for (size_t node = 1; node < BOARD_NODES; node++)
			counts[0] += counts[node];
		assert_int_equal(counts[0], AREA / 4096);
		munmap(map, AREA);
		munmap(other, AREA);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_found),
		cmocka_unit_test(messages_are_checked),
		cmocka_unit_test(messages_grow_at_their_tail),
		cmocka_unit_test(every_message_has_a_size),
		cmocka_unit_test(greetings),
		cmocka_unit_test(time_stamps),
		cmocka_unit_test(placement_is_set_and_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

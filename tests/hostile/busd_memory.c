/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_memory.c - the hand-over of memory: what a writer may do to it before busd has sealed it,
 * and that nobody can do anything to it afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/proto_rig.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif
#define F_SEAL_EXEC_ 0x20
#define SEALS_MADE   (F_SEAL_SHRINK | F_SEAL_GROW)
#define SEALS_DONE   (SEALS_MADE | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

static struct proto_busd busd;

static int setup(void **state)
{
	(void)state;
	return proto_busd_start(&busd, NULL, 0);
}

static int teardown(void **state)
{
	(void)state;
	return proto_busd_stop(&busd);
}

static int seals(int fd)
{
	return fcntl(fd, F_GET_SEALS) & ~F_SEAL_EXEC_;
}

/* Nobody who has this descriptor can write, resize, punch, or get a writable one. */
static void is_out_of_reach(int fd, size_t size)
{
	char path[64];
	struct stat st;
	void *map;
	int again;

	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, size);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	assert_true(mprotect(map, size, PROT_READ | PROT_WRITE) < 0);
	munmap(map, size);
	assert_true(ftruncate(fd, 0) < 0);
	/* the same user may reopen it: then the seals speak */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	if (again < 0)
		return;
	assert_true(ftruncate(again, 0) < 0);
	assert_true(ftruncate(again, (off_t)size * 2) < 0);
	if (seals(again) & F_SEAL_FUTURE_WRITE) {
		assert_true(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) ==
			    MAP_FAILED);
		assert_true(fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				      (off_t)size) < 0);
		assert_true(pwrite(again, "x", 1, 0) < 0);
	}
	close(again);
}

static void each_segment_is_sealed(void **state)
{
	struct proto_client publisher, subscriber;
	struct proto_pub pub;
	struct proto_sub sub;
	struct proto_msg msg;
	unsigned seen = 0;

	(void)state;
	assert_int_equal(proto_greet(&publisher, busd.path, "p", false), 0);
	assert_int_equal(seals(publisher.bell_fd), SEALS_MADE);
	assert_int_equal(proto_attach(&publisher), 0);
	assert_int_equal(proto_greet(&subscriber, busd.path, "s", true), 0);
	assert_int_equal(proto_pub_open(&publisher, "seal", 0, true, &pub), 0);
	assert_int_equal(seals(pub.fd), SEALS_MADE);
	assert_int_equal(proto_pub_ready(&publisher, &pub), 0);
	assert_int_equal(proto_sub_open(&subscriber, "seal", 0, CTL_START_NOW, true, &sub), 0);
	assert_int_equal(seals(sub.fd), SEALS_MADE);
	assert_int_equal(proto_sub_join(&subscriber, &sub), 0);
	while (proto_event(&subscriber, CTL_EV_SEGMENT, &msg, 100) == 1) {
		assert_int_equal(msg.fd_count, 1);
		assert_int_equal(seals(msg.fds[0]), msg.segment.kind == CTL_SEG_BOARD
							    ? SEALS_MADE | F_SEAL_SEAL
							    : SEALS_DONE);
		is_out_of_reach(msg.fds[0], msg.segment.size);
		seen |= 1u << msg.segment.kind;
		proto_close_fds(&msg);
	}
	assert_int_equal(seen, 1u << CTL_SEG_BOARD | 1u << CTL_SEG_RING | 1u << CTL_SEG_BELL);
	seen = 0;
	while (proto_event(&publisher, CTL_EV_SEGMENT, &msg, 100) == 1) {
		assert_int_equal(seals(msg.fds[0]), msg.segment.kind == CTL_SEG_BOARD
							    ? SEALS_MADE | F_SEAL_SEAL
							    : SEALS_DONE);
		is_out_of_reach(msg.fds[0], msg.segment.size);
		seen |= 1u << msg.segment.kind;
		proto_close_fds(&msg);
	}
	assert_int_equal(seen, 1u << CTL_SEG_BOARD | 1u << CTL_SEG_CURSOR | 1u << CTL_SEG_BELL);
	proto_leave(&publisher);
	proto_leave(&subscriber);
}

/* The ring's descriptor as a reader gets it, after the publisher said READY. */
static int readers_view(struct proto_client *subscriber, const char *topic, struct proto_msg *msg)
{
	struct proto_sub sub;

	assert_int_equal(proto_sub_open(subscriber, topic, 0, CTL_START_NOW, false, &sub), 0);
	while (proto_event(subscriber, CTL_EV_SEGMENT, msg, 2000) == 1) {
		if (msg->segment.kind == CTL_SEG_RING)
			return msg->fds[0];
		proto_close_fds(msg);
	}
	fail_msg("no ring was announced");
	return -1;
}

static void a_hole_is_filled(void **state)
{
	struct proto_client publisher, subscriber;
	struct proto_pub pub;
	struct proto_msg msg;
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(proto_greet(&publisher, busd.path, "p", true), 0);
	assert_int_equal(proto_greet(&subscriber, busd.path, "s", true), 0);
	assert_int_equal(proto_pub_open(&publisher, "hole", 0, true, &pub), 0);
	assert_int_equal(fallocate(pub.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				   (off_t)pub.reply.geometry.size),
			 0);
	assert_int_equal(fstat(pub.fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(proto_pub_ready(&publisher, &pub), 0);
	fd = readers_view(&subscriber, "hole", &msg);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= pub.reply.geometry.size);
	proto_close_fds(&msg);
	proto_leave(&publisher);
	proto_leave(&subscriber);
}

/*
 * The writer adds a seal of its own before READY: nobody is given that ring, its publisher is told
 * why.
 */
static void tampered(int seal)
{
	struct proto_client publisher, subscriber;
	struct proto_pub pub, other;
	struct proto_sub sub;
	struct proto_msg msg;

	assert_int_equal(proto_greet(&publisher, busd.path, "p", true), 0);
	assert_int_equal(proto_greet(&subscriber, busd.path, "s", true), 0);
	assert_int_equal(proto_sub_open(&subscriber, "tamper", 0, CTL_START_NOW, false, &sub), 0);
	assert_int_equal(proto_pub_open(&publisher, "tamper", 0, true, &pub), 0);
	munmap(pub.page, pub.reply.geometry.slots_off);
	assert_int_equal(fcntl(pub.fd, F_ADD_SEALS, seal), 0);
	assert_int_equal(proto_pub_ready(&publisher, &pub), -EPERM);
	assert_non_null(strstr(publisher.why, "tampered"));
	assert_int_equal(proto_event(&subscriber, CTL_EV_RING, &msg, 100), 0);
	assert_true(proto_busd_logged(&busd, "discarded"));
	/* the connection lives, the publisher does not */
	assert_int_equal(proto_pub_ready(&publisher, &pub), -ENOENT);
	assert_int_equal(proto_pub_open(&publisher, "tamper", 0, false, &other), 0);
	assert_int_equal(proto_event(&subscriber, CTL_EV_RING, &msg, 2000), 1);
	proto_leave(&publisher);
	proto_leave(&subscriber);
}

static void own_seals_are_refused(void **state)
{
	(void)state;
	tampered(F_SEAL_SEAL);
	tampered(F_SEAL_WRITE);
	tampered(F_SEAL_FUTURE_WRITE | F_SEAL_SEAL | F_SEAL_WRITE);
}

static void cursors_and_bells_as_well(void **state)
{
	struct proto_client client;
	struct proto_sub sub;
	struct proto_msg msg;

	(void)state;
	assert_int_equal(proto_greet(&client, busd.path, "b", false), 0);
	assert_int_equal(fcntl(client.bell_fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	assert_int_equal(proto_attach(&client), -EPERM);
	assert_int_equal(proto_take(client.ctl, &msg, 2000), -1);
	proto_leave(&client);
	assert_int_equal(proto_greet(&client, busd.path, "c", true), 0);
	assert_int_equal(proto_sub_open(&client, "x", 0, CTL_START_NOW, true, &sub), 0);
	assert_int_equal(fcntl(sub.fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	assert_int_equal(proto_sub_join(&client, &sub), -EPERM);
	assert_int_equal(proto_sub_close(&client, &sub), -ENOENT);
	proto_leave(&client);
}

/* A ring of 64 MiB that is punched out again and again costs its publisher time, not others. */
static void large_memory_is_nobody_elses_wait(void **state)
{
	struct proto_client greedy, other;
	struct ctl_pub_open open = { .head = PROTO_HEAD(CTL_PUB_OPEN, sizeof(open)), .node = -1 };
	struct ctl_head info = PROTO_HEAD(CTL_INFO, sizeof(info));
	struct proto_msg answer;
	unsigned answers = 0;

	(void)state;
	assert_int_equal(proto_greet(&greedy, busd.path, "greedy", true), 0);
	assert_int_equal(proto_greet(&other, busd.path, "other", true), 0);
	open.settings.bytes = UINT64_C(512) << 20;
	strcpy(open.topic, "large");
	assert_int_equal(proto_send(greedy.ctl, &open, sizeof(open)), 0);
	while (proto_take(greedy.ctl, &answer, 0) == 0) {
		assert_int_equal(proto_ask(&other, &info, &answer), 0);
		answers++;
	}
	/* 0.2 s or more for the one, some 20 us for each of the other's */
	if (answers < 20)
		fail_msg("only %u answers while 512 MiB were allocated", answers);
	assert_int_equal(answer.head.type, CTL_REPLY | CTL_PUB_OPEN);
	assert_true(answer.pub.geometry.size > open.settings.bytes);
	proto_close_fds(&answer);
	/* gone while it is allocated */
	assert_int_equal(proto_send(greedy.ctl, &open, sizeof(open)), 0);
	usleep(20000);
	proto_leave(&greedy);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(proto_ask(&other, &info, &answer), 0);
		if (answer.info.memory_bytes < UINT64_C(1) << 20)
			break;
		usleep(50000);
	}
	assert_true(answer.info.memory_bytes < UINT64_C(1) << 20);
	assert_int_equal(answer.info.topics, 0);
	proto_leave(&other);
}

/* Opens a publisher whose topic wants huge pages. */
static int open_huge(struct proto_client *client, const char *topic, uint32_t flags, uint64_t bytes,
		     struct proto_msg *answer)
{
	struct ctl_pub_open open = { .head = PROTO_HEAD(CTL_PUB_OPEN, sizeof(open)), .node = -1 };

	open.settings.flags = flags;
	open.settings.bytes = bytes;
	strcpy(open.topic, topic);
	return proto_ask(client, &open, answer);
}

static void a_short_pool_of_huge_pages(void **state)
{
	struct proto_client client;
	struct proto_msg answer;

	(void)state;
	assert_int_equal(proto_greet(&client, busd.path, "huge", true), 0);
	assert_int_equal(open_huge(&client, "h", CTL_TOPIC_HUGE, UINT64_C(2) << 30, &answer),
			 -ENOMEM);
	assert_non_null(strstr(client.why, "1025 of 2 MiB wanted"));
	assert_non_null(strstr(client.why, "vm.nr_hugepages"));
	proto_leave(&client);
}

static long huge_pages(const char *what, long set)
{
	FILE *file = fopen(what, set >= 0 ? "we" : "re");
	long n = -1;

	if (file == NULL)
		return -1;
	if (set >= 0)
		fprintf(file, "%ld\n", set);
	else if (fscanf(file, "%ld", &n) != 1)
		n = -1;
	return fclose(file) == 0 ? n : -1;
}

#define POOL "/proc/sys/vm/nr_hugepages"
#define FREE "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

static void huge_pages_or_ordinary_ones(void **state)
{
	struct proto_client client;
	struct proto_msg answer;
	struct proto_pub pub;
	long before = huge_pages(POOL, -1);
	long left;
	bool huge;

	(void)state;
	if (huge_pages(FREE, -1) < 2)
		huge_pages(POOL, before + 2);
	left = huge_pages(FREE, -1);
	huge = left >= 2;
	assert_int_equal(proto_greet(&client, busd.path, "huge", true), 0);
	assert_int_equal(open_huge(&client, "h", CTL_TOPIC_HUGE_OR_NOT, 65536, &answer), 0);
	pub.reply = answer.pub;
	pub.fd = answer.fds[0];
	assert_int_equal(pub.reply.geometry.payload_off % (huge ? 2 << 20 : 4096), 0);
	assert_int_equal(pub.reply.geometry.bytes, huge ? 2 << 20 : 65536);
	assert_int_equal(proto_pub_ready(&client, &pub), 0);
	if (!huge) {
		assert_true(proto_busd_logged(&busd, "the pool of huge pages is short"));
		skip();
	}
	/* taken for good: nobody gets SIGBUS later */
	assert_int_equal(huge_pages(FREE, -1), left - 2);
	while (huge_pages(FREE, -1) > 1)
		assert_int_equal(open_huge(&client, "h", CTL_TOPIC_HUGE, 65536, &answer), 0);
	assert_int_equal(open_huge(&client, "h", CTL_TOPIC_HUGE_OR_NOT, 65536, &answer), 0);
	assert_int_equal(answer.pub.geometry.bytes, 65536);
	assert_true(proto_busd_logged(&busd, "the pool of huge pages is short"));
	proto_close_fds(&answer);
	proto_leave(&client);
	huge_pages(POOL, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_segment_is_sealed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hole_is_filled, setup, teardown),
		cmocka_unit_test_setup_teardown(own_seals_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(cursors_and_bells_as_well, setup, teardown),
		cmocka_unit_test_setup_teardown(a_short_pool_of_huge_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_pages_or_ordinary_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(large_memory_is_nobody_elses_wait, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

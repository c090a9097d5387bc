/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: who reads a stream from its disk, or has come to its end, does not notice a worker's death, nor that of all of
 * busd: reading goes on where it was, over the hole in the numbers. A log that goes from under it takes along what stands in it,
 * and nothing of the ring. Where the next busd cannot open the log, he sleeps, and is told why.
 * timeout: 120
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/stream_rig.h"

/* ---- busd dies ---- */

static void worker_dies(void)
{
	struct bus_sub *sub;
	pid_t pid;

	stream_make("d.killed", 1024, UINT64_C(1) << 17, 0);
	stream_publish("d.killed", 0, 100000);
	pid = stream_beside("d.killed", 100000, 130000, 100);
	sub = stream_subscribe("d.killed", BUS_START_OLDEST, 0);
	for (uint64_t i = 0; i < 100000; i += 20000) {
		stream_read_all(sub, i, i + 20000, 77);
		rig_kill_worker();
	}
	stream_read_all(sub, 100000, 130000, 100);
	EQUAL(rig_wait(pid), 0);
	bus_sub_close(sub);
}

/* There is nobody who would hand the next file over: what it has is read, and then it waits. How far it came. */
static uint64_t without_busd(struct bus_sub *sub, uint64_t next)
{
	static struct bus_msg msgs[100];
	struct bus_sub_info info;

	for (int idle = 0; idle < 3;) {
		int n = OK(bus_sub_peek(sub, msgs, 100));

		for (int i = 0; i < n; i++)
			stream_whole(&msgs[i], next++);
		if (n > 0)
			OK(bus_sub_release(sub, n));
		else
			idle += OK(bus_sub_wait(sub, 50000000)) == 0;
	}
	OK(bus_sub_info(sub, &info));
	EQUAL(info.from_disk, 1);
	return next;
}

/* The second half of what there is in the ring, and what it has borrowed of the first, is read over its death. */
static void all_dies(void)
{
	struct bus_sub *on_disk, *live, *borrows;
	static struct bus_msg msgs[BUS_BORROW_MAX];
	struct bus_msg msg;
	uint64_t first, next;

	stream_make("d.again", 4096, UINT64_C(1) << 17, 0);
	stream_publish("d.again", 0, 50000);
	on_disk = stream_subscribe("d.again", BUS_START_OLDEST, 0);
	live = stream_subscribe("d.again", BUS_START_BACK, 100);
	borrows = stream_subscribe("d.again", BUS_START_SEQ, 1000);
	stream_read_all(on_disk, 0, 20000, 100);
	stream_read_all(live, 49900, 49950, 10);
	EQUAL(OK(bus_sub_peek(borrows, msgs, 500)), 500);
	rig_busd_kill();
	next = without_busd(on_disk, 20000);
	CHECK(next > 20000 && next < 50000 - 4096);
	rig_busd_again(NULL);
	for (int i = 0; i < 500; i++)
		stream_whole(&msgs[i], 1000 + (uint64_t)i);
	OK(bus_sub_release(borrows, 500));
	stream_publish("d.again", 50000, 50001); /* says its own number; the stream's is behind a hole */
	stream_read_all(live, 49950, 50000, 10);
	rig_next(live, &msg);
	first = msg.seq;
	EQUAL(first, 50000 + 4096);
	EQUAL(msg.lost, 0);
	OK(bus_sub_release(live, 1));
	stream_nothing(live);
	stream_read_all(on_disk, next, 50000, 1000);
	rig_next(on_disk, &msg);
	EQUAL(msg.seq, first);
	EQUAL(msg.lost, 0);
	OK(bus_sub_release(on_disk, 1));
	stream_read_all(borrows, 1500, 50000, 1000);
	rig_next(borrows, &msg);
	EQUAL(msg.seq, first);
	bus_sub_close(on_disk);
	bus_sub_close(live);
	bus_sub_close(borrows);
}

static uint64_t used_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/*
 * The next busd cannot open the log, and so the former's ring cannot be read to its end: the next one, which follows it and
 * has no turn, keeps nobody awake.
 */
static void waits_asleep(void)
{
	char sources[STREAM_PATH], aside[STREAM_PATH];
	struct bus_sub_info info;
	struct bus_sub *sub;
	uint64_t used, until;
	struct bus_msg msg;

	stream_make("d.asleep", 1024, UINT64_C(1) << 17, 0);
	stream_publish("d.asleep", 0, 50000);
	sub = stream_subscribe("d.asleep", BUS_START_OLDEST, 0);
	stream_read_all(sub, 0, 5000, 100);
	rig_busd_kill();
	stream_file(sources, "d.asleep", "sources");
	stream_file(aside, "d.asleep", "aside");
	CHECK(rename(sources, aside) == 0 && mkdir(sources, 0700) == 0);
	rig_busd_again(NULL);
	stream_read_all(sub, 5000, STREAM_SEGMENT, 100); /* the file that is open */
	for (info.rings = 0; info.rings < 2;) {          /* it has come there */
		OK(bus_sub_wait(sub, 10000000));
		EQUAL(OK(bus_sub_peek(sub, &msg, 1)), 0);
		OK(bus_sub_info(sub, &info));
	}
	used = used_ns();
	until = rig_now_ns() + 1000000000;
	while (rig_now_ns() < until) {
		OK(bus_sub_wait(sub, 1000000000));
		EQUAL(OK(bus_sub_peek(sub, &msg, 1)), 0);
	}
	used = used_ns() - used;
	fprintf(stderr, "%.3f ms of processor in a second of waiting\n", (double)used / 1e6);
	CHECK(used < 50000000); /* about 2 ms; without end where it does not sleep */
	OK(bus_sub_info(sub, &info));
	EQUAL(info.disk_error, -EAGAIN);
	CHECK(strstr(bus_why(NULL), "not open yet") != NULL);
	CHECK(rmdir(sources) == 0 && rename(aside, sources) == 0);
	stream_read_all(sub, STREAM_SEGMENT, 50000, 100);
	stream_publish("d.asleep", 50000, 50001);
	rig_next(sub, &msg);
	EQUAL(msg.lost, 0);
	CHECK(msg.seq > 50000);
	OK(bus_sub_release(sub, 1));
	bus_sub_close(sub);
}

/* The log goes from under it, and the ring begins later than it stands: what the ring has is read all the same. */
static void removed_by_the_next(void)
{
	struct bus_sub_info info;
	struct bus_sub *sub;
	struct bus_msg msg;

	stream_make("d.gone", 4096, UINT64_C(1) << 17, 0);
	stream_publish("d.gone", 0, 40000);
	rig_busd_kill();
	rig_busd_again(NULL);
	stream_publish("d.gone", 0, 10);
	sub = stream_subscribe("d.gone", BUS_START_OLDEST, 0);
	stream_expect(sub, 0, 0);
	OK(bus_topic_remove(stream_bus, "d.gone", BUS_TOPIC_FORCE));
	stream_read_all(sub, 1, STREAM_SEGMENT, 100); /* what it had open */
	rig_next(sub, &msg);
	EQUAL(msg.seq, 40000 + 4096);
	EQUAL(msg.lost, msg.seq - STREAM_SEGMENT);
	OK(bus_sub_release(sub, 1));
	for (uint64_t i = 1; i < 10; i++) {
		rig_next(sub, &msg);
		EQUAL(msg.seq, 40000 + 4096 + i);
		OK(bus_sub_release(sub, 1));
	}
	OK(bus_sub_info(sub, &info));
	EQUAL(info.delivered, STREAM_SEGMENT + 10);
	bus_sub_close(sub);
}

int main(int argc, char **argv)
{
	static const struct stream_part parts[] = { { "worker_dies", worker_dies },
						    { "all_dies", all_dies },
						    { "waits_asleep", waits_asleep },
						    { "removed_by_the_next", removed_by_the_next },
						    { NULL, NULL } };

	return stream_run(parts, argc, argv);
}

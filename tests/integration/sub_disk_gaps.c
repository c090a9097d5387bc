/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: what a stream's disk does not have (any more) costs its reader that and nothing else: a damaged message is lost
 * and no other; retention takes a segment from under no reader; a stream that is removed is read as far as it was
 * open, and another one of its name is not taken for it.
 * timeout: 120
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/stream_rig.h"

/* ---- damage, retention ---- */

static void flip(const char *topic, uint64_t base, off_t at)
{
	char path[STREAM_PATH], name[32];
	uint8_t byte;
	int fd;

	snprintf(name, sizeof(name), "%020llu.log", (unsigned long long)base);
	fd = open(stream_file(path, topic, name), O_RDWR);
	CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= 1;
	CHECK(pwrite(fd, &byte, 1, at) == 1);
	close(fd);
}

static void damage(void)
{
	struct bus_sub_info info;
	struct bus_sub *sub;

	stream_make("d.hurt", 1024, UINT64_C(1) << 17, 0);
	stream_publish("d.hurt", 0, 40000);
	flip("d.hurt", 0, 12288 + 64 * 100 + 16); /* the time of message 100 */
	flip("d.hurt", STREAM_SEGMENT,
	     12288 + 64 * 0 + 8); /* where the first of the second segment lies */
	sub = stream_subscribe("d.hurt", BUS_START_OLDEST, 0);
	stream_read_all(sub, 0, 100, 64);
	stream_expect(sub, 101, 1);
	stream_read_all(sub, 102, STREAM_SEGMENT, 700);
	stream_expect(sub, STREAM_SEGMENT + 1, 1);
	stream_read_all(sub, STREAM_SEGMENT + 2, 40000, 1000);
	OK(bus_sub_info(sub, &info));
	EQUAL(info.lost, 2);
	bus_sub_close(sub);
}

static uint64_t oldest_of(const char *topic)
{
	struct bus_topic_info info = { .name = "" };

	while (OK(bus_topic_next(stream_bus, topic, &info)) == 1)
		if (strcmp(info.name, topic) == 0)
			return info.oldest_seq;
	return 0;
}

static void retention(void)
{
	struct bus_sub *sub, *old;
	struct bus_msg msg;
	uint64_t oldest;

	stream_make("d.kept", 1024, 60000, 0);
	stream_publish("d.kept", 0, 60000);
	sub = stream_subscribe("d.kept", BUS_START_OLDEST, 0);
	old = stream_subscribe("d.kept", BUS_START_SEQ, 10);
	stream_expect(sub, 0, 0); /* it has the first segment, and the second one */
	stream_publish("d.kept", 60000, 160000);
	for (int i = 0; i < 500 && oldest_of("d.kept") < 6 * STREAM_SEGMENT; i++) /* all that goes */
		rig_sleep_ms(10);
	oldest = oldest_of("d.kept");
	EQUAL(oldest, 6 * STREAM_SEGMENT);
	stream_read_all(sub, 1, 2 * STREAM_SEGMENT, 100);
	rig_next(sub, &msg);
	EQUAL(msg.seq, oldest);
	EQUAL(msg.lost, oldest - 2 * STREAM_SEGMENT);
	OK(bus_sub_release(sub, 1));
	stream_read_all(sub, oldest + 1, 160000, 1000);
	rig_next(old, &msg);
	EQUAL(msg.seq, oldest);
	EQUAL(msg.lost, oldest - 10);
	bus_sub_close(old);
	/* what is older than all there is was never its own */
	old = stream_subscribe("d.kept", BUS_START_OLDEST, 0);
	stream_expect(old, oldest, 0);
	bus_sub_close(old);
	bus_sub_close(sub);
}

/* It stood at the beginning when there was nothing: what has gone since then it had to get. */
static void oldest_of_nothing(void)
{
	struct bus_sub_info info;
	struct bus_sub *sub;
	struct bus_msg msg;

	stream_make("d.early", 1024, 60000, 0);
	sub = stream_subscribe("d.early", BUS_START_OLDEST, 0);
	stream_publish("d.early", 0, 160000);
	for (int i = 0; i < 500 && oldest_of("d.early") < 6 * STREAM_SEGMENT; i++)
		rig_sleep_ms(10);
	rig_next(sub, &msg);
	EQUAL(msg.seq, 6 * STREAM_SEGMENT);
	EQUAL(msg.lost, msg.seq);
	OK(bus_sub_release(sub, 1));
	OK(bus_sub_info(sub, &info));
	EQUAL(info.lost, msg.seq);
	bus_sub_close(sub);
}

/* By force, under one that reads from disk: the segment that it has is read, the rest counted, and the ring to its end. */
static void removed(void)
{
	struct bus_sub_info info;
	struct bus_sub *sub, *late;
	struct bus_pub *pub;
	struct bus_msg msg;
	uint64_t seen = 0;
	int news = 0;

	stream_make("d.removed", 1024, UINT64_C(1) << 17, 0);
	stream_publish("d.removed", 0, 80000);
	sub = stream_subscribe("d.removed", BUS_START_OLDEST, 0);
	late = stream_subscribe("d.removed", BUS_START_SEQ, 10);
	stream_expect(sub, 0, 0);
	OK(bus_topic_remove(stream_bus, "d.removed", BUS_TOPIC_FORCE));
	stream_make("d.removed", 1024, UINT64_C(1) << 17,
		    0); /* another one, whose log is not read for it */
	stream_read_all(sub, 1, STREAM_SEGMENT, 100);
	do {
		rig_next(sub, &msg);
		CHECK(seen == 0 ? msg.lost > 0 : msg.lost == 0);
		seen = msg.seq;
		stream_whole(&msg, seen);
		OK(bus_sub_release(sub, 1));
	} while (seen < 79999);
	OK(bus_sub_info(sub, &info));
	EQUAL(info.delivered + info.lost, 80000);
	bus_sub_close(sub);
	/* it comes to the old one's disk only now: the new one's messages are those of its ring, and no more */
	pub = stream_publisher("d.removed");
	stream_put(pub, 1000001, 1000021);
	stream_settle(pub, BUS_LEVEL_DURABLE);
	for (seen = 0; seen < 79999 || news < 20;) {
		rig_next(late, &msg);
		if (msg.len == stream_length_of(1000001 + msg.seq))
			news++;
		else
			seen = msg.seq;
		OK(bus_sub_release(late, 1));
	}
	EQUAL(news, 20);
	stream_nothing(late);
	bus_sub_close(late);
	bus_pub_close(pub);
}

int main(int argc, char **argv)
{
	static const struct stream_part parts[] = { { "damage", damage },
						    { "retention", retention },
						    { "oldest_of_nothing", oldest_of_nothing },
						    { "removed", removed },
						    { NULL, NULL } };

	return stream_run(parts, argc, argv);
}

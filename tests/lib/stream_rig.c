/* SPDX-License-Identifier: Apache-2.0 */
/* stream_rig.c - see stream_rig.h */
#include "lib/stream_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct bus *stream_bus;

void stream_make(const char *name, uint32_t stream_slots, uint64_t max_messages, uint32_t sync)
{
	OK(bus_topic_create(stream_bus, name,
			    BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM, .stream_slots = stream_slots,
				     .max_messages = max_messages, .sync = sync)));
}

struct bus_pub *stream_publisher(const char *topic)
{
	struct bus_pub *pub;
	int err;

	do /* -EPIPE: it is another busd now */
		err = bus_pub_open(&pub, stream_bus, topic,
				   BUS_OPTS(pub, .full = BUS_FULL_BLOCK, .full_ns = -1));
	while (err == -EPIPE);
	OK(err);
	return pub;
}

void stream_put(struct bus_pub *pub, uint64_t from, uint64_t to)
{
	uint8_t bytes[STREAM_MOST];

	for (uint64_t i = from; i < to; i++) {
		memset(bytes, (int)i, sizeof(bytes));
		memcpy(bytes, &i, sizeof(i));
		OK(bus_pub_send(pub, bytes, stream_length_of(i)));
	}
}

void stream_settle(struct bus_pub *pub, uint32_t level)
{
	struct bus_pub_info info;

	OK(bus_pub_info(pub, &info));
	OK(bus_pub_wait(pub, level, info.seq, 20000000000));
}

void stream_publish(const char *topic, uint64_t from, uint64_t to)
{
	struct bus_pub *pub = stream_publisher(topic);

	stream_put(pub, from, to);
	stream_settle(pub, BUS_LEVEL_DURABLE);
	bus_pub_close(pub);
}

pid_t stream_beside(const char *topic, uint64_t from, uint64_t to, uint64_t every)
{
	pid_t pid = rig_fork();

	if (pid == 0) {
		struct bus_pub *pub;

		stream_bus = rig_connect("beside");
		pub = stream_publisher(topic);
		while (from < to) {
			uint64_t n = every && to - from > every ? every : to - from;

			stream_put(pub, from, from + n);
			from += n;
			if (every)
				rig_sleep_ms(1);
		}
		stream_settle(pub, BUS_LEVEL_STREAM);
		bus_close(stream_bus);
		rig_exit(0);
	}
	return pid;
}

const char *stream_file(char path[STREAM_PATH], const char *topic, const char *name)
{
	const char *state = getenv("STATE_DIRECTORY");

	CHECK(state != NULL);
	snprintf(path, STREAM_PATH, "%s/streams/%s/%s", state, topic, name);
	return path;
}

struct bus_sub *stream_subscribe(const char *pattern, uint32_t start, uint64_t value)
{
	struct bus_sub *sub;

	OK(bus_sub_open(&sub, stream_bus, pattern,
			BUS_OPTS(sub, .start = start, .start_seq = start == BUS_START_SEQ ? value : 0,
				 .start_time_ns = start == BUS_START_TIME ? value : 0,
				 .start_back = start == BUS_START_BACK ? value : 0)));
	return sub;
}

void stream_whole(const struct bus_msg *msg, uint64_t number)
{
	const uint8_t *bytes = msg->data;
	uint64_t said;

	EQUAL(msg->seq, number);
	EQUAL(msg->len, stream_length_of(number));
	memcpy(&said, bytes, sizeof(said));
	EQUAL(said, number);
	for (uint32_t i = sizeof(said); i < msg->len; i++)
		CHECK(bytes[i] == (uint8_t)number);
}

void stream_expect(struct bus_sub *sub, uint64_t number, uint64_t lost)
{
	struct bus_msg msg;

	rig_next(sub, &msg);
	EQUAL(msg.lost, lost);
	stream_whole(&msg, number);
	OK(bus_sub_release(sub, 1));
}

void stream_nothing(struct bus_sub *sub)
{
	struct bus_msg msg;

	for (int i = 0; i < 100; i++)
		EQUAL(OK(bus_sub_peek(sub, &msg, 1)), 0);
	EQUAL(OK(bus_sub_wait(sub, 20000000)), 0);
}

void stream_read_all(struct bus_sub *sub, uint64_t from, uint64_t to, int most)
{
	static struct bus_msg msgs[BUS_BORROW_MAX];
	struct bus_sub_info before, after;

	OK(bus_sub_info(sub, &before));
	for (uint64_t next = from; next < to;) {
		int n = OK(bus_sub_peek(sub, msgs,
					next + (uint64_t)most > to ? (int)(to - next) : most));

		if (n == 0) {
			EQUAL(OK(bus_sub_wait(sub, 20000000000)), 1);
			continue;
		}
		for (int i = 0; i < n; i++) {
			EQUAL(msgs[i].lost, 0);
			stream_whole(&msgs[i], next + (uint64_t)i);
		}
		n = bus_sub_release(sub, n) == 0 ? n : 0; /* else it comes again */
		next += (uint64_t)n;
	}
	OK(bus_sub_info(sub, &after));
	EQUAL(after.delivered - before.delivered, to - from);
	EQUAL(after.lost, before.lost);
}

int stream_run(const struct stream_part *parts, int argc, char **argv)
{
	rig_busd_start(NULL);
	stream_bus = rig_connect("disk");
	for (; parts->name != NULL; parts++) {
		if (argc > 1 && strcmp(argv[1], parts->name) != 0)
			continue;
		fprintf(stderr, "-- %s %.3f\n", parts->name, (double)rig_now_ns() / 1e9);
		parts->run();
	}
	bus_close(stream_bus);
	return rig_done();
}

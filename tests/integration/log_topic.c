/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: bus_log_open_topic() reads all of a stream on disk by its topic's name, over segments, in order and on as
 * it grows, from a number, a time, or so many before the end; a segment that retention removes stays readable to
 * who has come to it, and what went before he came is told as gone; a worker that dies in between is not noticed; who
 * may not subscribe gets the same answer as who asks for what is not there; topics without a log say so.
 * timeout: 120
 */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/bus_rig.h"

#include <bus_log.h>

#define EVE     64103
#define COUNT   100000
#define SEGMENT 16384 /* messages, with the limits below */

static struct bus *bus;
static uint64_t times[COUNT]; /* of the messages of "t.long" */

static void make(const char *name, uint64_t max_messages)
{
	OK(bus_topic_create(bus, name,
			    BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM, .max_messages = max_messages,
				     .stream_slots = 4096)));
}

static struct bus_log *open_log(const char *topic)
{
	struct bus_log *log;

	OK(bus_log_open_topic(&log, bus, topic, NULL));
	return log;
}

static void publish(const char *topic, uint64_t from, uint64_t to)
{
	struct bus_pub_info info;
	struct bus_pub *pub;

	OK(bus_pub_open(&pub, bus, topic, NULL));
	for (uint64_t i = from; i < to; i++)
		OK(bus_pub_send(pub, &i, sizeof(i)));
	OK(bus_pub_info(pub, &info));
	OK(bus_pub_wait(pub, BUS_LEVEL_DURABLE, info.seq, 20000000000));
	bus_pub_close(pub);
}

/* The next one has this number, and says so; what is lost before it is as told. */
static void expect(struct bus_log *log, uint64_t number, uint64_t lost)
{
	struct bus_msg msg;
	uint64_t said;

	EQUAL(OK(bus_log_next(log, &msg, 1)), 1);
	EQUAL(msg.seq, number);
	EQUAL(msg.len, sizeof(said));
	memcpy(&said, msg.data, sizeof(said));
	EQUAL(said, number);
	EQUAL(msg.lost, lost);
}

static void read_to(struct bus_log *log, uint64_t from, uint64_t to)
{
	static struct bus_msg msgs[BUS_LOG_BATCH];

	while (from < to) {
		int n = OK(bus_log_next(log, msgs, BUS_LOG_BATCH));

		CHECK(n > 0);
		for (int i = 0; i < n; i++, from++) {
			uint64_t said;

			memcpy(&said, msgs[i].data, sizeof(said));
			EQUAL(msgs[i].seq, from);
			EQUAL(said, from);
			EQUAL(msgs[i].lost, 0);
			CHECK(strcmp(msgs[i].topic, "t.long") == 0 ||
			      strcmp(msgs[i].topic, "t.short") == 0);
			if (from < COUNT)
				times[from] = msgs[i].time_ns;
		}
	}
	EQUAL(from, to);
	EQUAL(bus_log_next(log, msgs, 1), 0);
}

static uint64_t first_at(uint64_t time)
{
	uint64_t i = 0;

	while (i < COUNT && times[i] < time)
		i++;
	return i;
}

static void all_of_it(void)
{
	struct bus_log_info info;
	struct bus_log *log;

	make("t.long", UINT64_C(1) << 17);
	log = open_log("t.long");
	EQUAL(OK(bus_log_next(log, &(struct bus_msg){ 0 }, 1)), 0);
	publish("t.long", 0, COUNT);
	read_to(log, 0, COUNT);
	OK(bus_log_info(log, &info));
	EQUAL(info.first_seq, 0);
	EQUAL(info.end_seq, COUNT);
	EQUAL(info.messages, COUNT);
	EQUAL(info.segments, COUNT / SEGMENT + 1);
	EQUAL(info.first_time_ns, times[0]);
	EQUAL(info.last_time_ns, times[COUNT - 1]);
	CHECK(strcmp(info.topic, "t.long") == 0);
	bus_log_close(log);
}

static void places(void)
{
	struct bus_log *log = open_log("t.long");

	for (uint64_t seq = 3; seq < COUNT; seq += 7919) {
		OK(bus_log_seek(log, BUS_LOG_SEQ, seq));
		expect(log, seq, 0);
		OK(bus_log_seek(log, BUS_LOG_TIME, times[seq]));
		expect(log, first_at(times[seq]), 0);
		OK(bus_log_seek(log, BUS_LOG_BACK, seq));
		expect(log, COUNT - seq, 0);
	}
	for (uint64_t seq = SEGMENT; seq < COUNT; seq += SEGMENT) {
		OK(bus_log_seek(log, BUS_LOG_SEQ, seq - 1));
		expect(log, seq - 1, 0);
		expect(log, seq, 0);
		OK(bus_log_seek(log, BUS_LOG_TIME, times[seq]));
		expect(log, first_at(times[seq]), 0);
		OK(bus_log_seek(log, BUS_LOG_TIME, times[seq - 1] + 1));
		expect(log, first_at(times[seq - 1] + 1), 0);
	}
	OK(bus_log_seek(log, BUS_LOG_TIME, 0));
	expect(log, 0, 0);
	OK(bus_log_seek(log, BUS_LOG_BACK, COUNT * 2));
	expect(log, 0, 0);
	OK(bus_log_seek(log, BUS_LOG_TIME, times[COUNT - 1] + 1));
	EQUAL(OK(bus_log_next(log, &(struct bus_msg){ 0 }, 1)), 0);
	OK(bus_log_seek(log, BUS_LOG_BACK, 0));
	EQUAL(OK(bus_log_next(log, &(struct bus_msg){ 0 }, 1)), 0);
	rig_kill_worker();
	publish("t.long", COUNT, COUNT + 10);
	read_to(log, COUNT, COUNT + 10);
	OK(bus_log_seek(log, BUS_LOG_OLDEST, 0));
	expect(log, 0, 0);
	bus_log_close(log);
}

/* The segment that it reads, and the next, are open: the rest has gone before it came there. */
static void kept_from_under(void)
{
	struct bus_topic_info info = { .name = "t.shor" };
	struct bus_log_gap gap;
	struct bus_log *log, *waits;
	struct bus_msg msg;
	uint32_t at = 0;
	uint64_t oldest;

	make("t.short", 60000);
	publish("t.short", 0, 60000);
	log = open_log("t.short");
	expect(log, 0, 0);
	waits = open_log("t.short");
	read_to(waits, 0, 60000);
	publish("t.short", 60000, 160000);
	for (int i = 0; i < 500; i++, rig_sleep_ms(10)) {
		strcpy(info.name, "t.shor");
		EQUAL(OK(bus_topic_next(bus, "t.*", &info)), 1);
		if (info.oldest_seq >= 6 * SEGMENT) /* all that goes */
			break;
	}
	oldest = info.oldest_seq;
	EQUAL(oldest, 6 * SEGMENT);
	for (uint64_t i = 1; i < 2 * SEGMENT; i++)
		expect(log, i, 0);
	EQUAL(OK(bus_log_next(log, &msg, 1)), 1);
	EQUAL(msg.seq, oldest);
	EQUAL(msg.lost, oldest - 2 * SEGMENT);
	EQUAL(bus_log_gap_next(log, &at, &gap), 1);
	EQUAL(gap.from, 2 * SEGMENT);
	EQUAL(gap.to, oldest);
	bus_log_close(log);
	/* what came into its file after it had stood at the end is in it */
	for (uint64_t i = 60000; i < 4 * SEGMENT; i++)
		expect(waits, i, 0);
	expect(waits, oldest, oldest - 4 * SEGMENT);
	bus_log_close(waits);
	log = open_log("t.short");
	OK(bus_log_seek(log, BUS_LOG_OLDEST, 0));
	expect(log, oldest, 0);
	OK(bus_log_seek(log, BUS_LOG_SEQ, 5));
	expect(log, oldest, oldest - 5);
	bus_log_close(log);
}

static void without_a_log(void)
{
	struct bus_log *log = NULL;
	struct bus_pub *pub;

	OK(bus_topic_create(bus, "t.memory",
			    BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM, .sync = BUS_SYNC_MEMORY)));
	OK(bus_pub_open(&pub, bus, "t.live", NULL));
	EQUAL(bus_log_open_topic(&log, bus, "t.memory", NULL), -EOPNOTSUPP);
	CHECK(strstr(bus_why(bus), "in memory only") != NULL);
	EQUAL(bus_log_open_topic(&log, bus, "t.live", NULL), -EOPNOTSUPP);
	CHECK(strstr(bus_why(bus), "is no stream") != NULL);
	EQUAL(bus_log_open_topic(&log, bus, "t.none", NULL), -ENOENT);
	EQUAL(bus_log_open_topic(&log, bus, "t.*", NULL), -EINVAL);
	EQUAL(bus_log_open_topic(&log, bus, "t.long", BUS_OPTS(log, .flags = BUS_LOG_REPAIR)),
	      -EINVAL);
	CHECK(log == NULL);
	bus_pub_close(pub);
}

/* Another stream of that name is not taken for this one. */
static void made_anew(void)
{
	struct bus_log *log;
	struct bus_msg msg;

	make("t.again", 0);
	publish("t.again", 0, 10);
	log = open_log("t.again");
	expect(log, 0, 0);
	OK(bus_topic_remove(bus, "t.again", 0));
	expect(log, 1, 0);
	make("t.again", 0);
	publish("t.again", 0, 10);
	for (uint64_t i = 2; i < 10; i++)
		expect(log, i, 0);
	EQUAL(bus_log_next(log, &msg, 1), -ESTALE);
	CHECK(strstr(bus_why(bus), "made anew") != NULL);
	bus_log_close(log);
}

/* As another user: the sentences but for the names are one. */
static void a_stranger(void)
{
	char there[512], not_there[512];
	struct bus_log *log;
	pid_t child;

	if (getuid() != 0) {
		printf("not shown without root: another user\n");
		return;
	}
	rig_let_others_in();
	child = rig_fork();
	if (child == 0) {
		CHECK(setgroups(0, NULL) == 0 && setgid(EVE) == 0 && setuid(EVE) == 0);
		bus = rig_connect("eve");
		EQUAL(bus_log_open_topic(&log, bus, "t.long", NULL), -ENOENT);
		snprintf(there, sizeof(there), "%s", bus_why(bus));
		EQUAL(bus_log_open_topic(&log, bus, "t.lone", NULL), -ENOENT);
		snprintf(not_there, sizeof(not_there), "%s", bus_why(bus));
		CHECK(strstr(there, "t.long") != NULL && strstr(not_there, "t.lone") != NULL);
		memcpy(strstr(not_there, "t.lone"), "t.long", 6);
		CHECK(strcmp(there, not_there) == 0);
		/* to publish is not to read */
		EQUAL(bus_log_open_topic(&log, bus, "t.short", NULL), -ENOENT);
		rig_exit(0);
	}
	EQUAL(rig_wait(child), 0);
}

int main(void)
{
	rig_busd_start("socket_mode: 0666\n"
		       "rules:\n- topics: t.short\n  allow: {publish: [64103]}\n");
	bus = rig_connect("log");
	all_of_it();
	places();
	kept_from_under();
	without_a_log();
	made_anew();
	a_stranger();
	bus_close(bus);
	return rig_done();
}

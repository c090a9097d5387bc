/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: on a stream all subscribers see one order, with numbers from 0, keys and headers, and who
 * published; a wildcard reads streams and live topics together; a number to start from is found; a slow
 * reader is lapped, misses nothing, and never holds a publisher up; an acknowledgement
 * is not before its time, a worker that stands still holds publishers up by their policy and nobody else;
 * a name is one publisher: not twice at a time, and on from where it stood; who has nothing on disk
 * says so; a stream that is removed is read to its end; names and numbers of a thousand publishers.
 * timeout: 120
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lib/bus_rig.h"

static struct bus *bus;

static void make(const char *name, uint32_t stream_slots)
{
	OK(bus_topic_create(
		bus, name, BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM, .stream_slots = stream_slots)));
}

static struct bus_sub *subscribe(const char *pattern, uint32_t start, uint64_t seq)
{
	struct bus_sub *sub;

	OK(bus_sub_open(&sub, bus, pattern, BUS_OPTS(sub, .start = start, .start_seq = seq)));
	return sub;
}

static struct bus_pub *publisher(const char *topic, const char *name)
{
	struct bus_pub *pub;

	OK(bus_pub_open(&pub, bus, topic, BUS_OPTS(pub, .name = name, .full = BUS_FULL_FAIL)));
	return pub;
}

static void send_text(struct bus_pub *pub, const char *text)
{
	OK(bus_pub_send(pub, text, (uint32_t)strlen(text)));
}

static void sent(struct bus_pub *pub)
{
	struct bus_pub_info info;

	OK(bus_pub_info(pub, &info));
	OK(bus_pub_wait(pub, BUS_LEVEL_STREAM, info.seq, 5000000000));
}

static void expect(struct bus_sub *sub, const char *text, uint64_t seq)
{
	struct bus_msg msg;

	rig_next(sub, &msg);
	EQUAL(msg.len, strlen(text));
	CHECK(memcmp(msg.data, text, msg.len) == 0);
	EQUAL(msg.seq, seq);
	EQUAL(msg.lost, 0);
	OK(bus_sub_release(sub, 1));
}

static void one_order(void)
{
	const struct bus_header header = { .name = "h", .value = "v", .value_len = 1 };
	const struct bus_out out = { .data = "long enough not to be inline",
				     .len = 28,
				     .key = "key",
				     .key_len = 3,
				     .headers = &header,
				     .header_count = 1 };
	struct bus_sub *one = subscribe("s.a", BUS_START_NOW, 0), *two;
	struct bus_pub *a = publisher("s.a", NULL), *b = publisher("s.a", "b");
	struct bus_msg msg;
	const void *value;
	uint32_t value_len;

	send_text(a, "first");
	sent(a);
	send_text(b, "second");
	sent(b);
	EQUAL(OK(bus_pub_send_batch(a, &out, 1)), 1);
	sent(a);
	two = subscribe("s.a", BUS_START_OLDEST, 0);
	expect(one, "first", 0);
	expect(two, "first", 0);
	expect(one, "second", 1);
	rig_next(two, &msg);
	CHECK(strcmp(msg.from->name, "b") == 0 && msg.from->pid != 0 && msg.from->id != 0);
	OK(bus_sub_release(two, 1));
	rig_next(one, &msg);
	EQUAL(msg.seq, 2);
	CHECK(msg.key_len == 3 && memcmp(msg.key, "key", 3) == 0);
	EQUAL(bus_msg_header(&msg, "h", &value, &value_len), 1);
	CHECK(value_len == 1 && *(const char *)value == 'v');
	CHECK(strcmp(msg.from->name, "rig") == 0 || msg.from->name[0] != 0);
	OK(bus_sub_release(one, 1));
	bus_pub_close(a);
	bus_pub_close(b);
	bus_sub_close(one);
	bus_sub_close(two);
}

static void a_wildcard(void)
{
	struct bus_sub *sub = subscribe("w.>", BUS_START_NOW, 0);
	struct bus_pub *live = publisher("w.live", NULL), *stream;
	bool streamed = false, lived = false;
	struct bus_msg msg;

	make("w.stream", 0);
	stream = publisher("w.stream", NULL);
	send_text(stream, "s");
	send_text(live, "l");
	for (int i = 0; i < 2; i++) {
		rig_next(sub, &msg);
		streamed = streamed ||
			   (strcmp(msg.topic, "w.stream") == 0 && *(const char *)msg.data == 's');
		lived = lived || (strcmp(msg.topic, "w.live") == 0 && *(const char *)msg.data == 'l');
		OK(bus_sub_release(sub, 1));
	}
	CHECK(streamed && lived);
	bus_pub_close(live);
	bus_pub_close(stream);
	bus_sub_close(sub);
}

static void a_number(void)
{
	struct bus_pub *pub;
	struct bus_sub *sub;
	struct bus_msg msg;

	make("n", 64);
	pub = publisher("n", NULL);
	for (int i = 0; i < 40; i++)
		send_text(pub, "x");
	sent(pub);
	sub = subscribe("n", BUS_START_SEQ, 17);
	expect(sub, "x", 17);
	bus_sub_close(sub);
	sub = subscribe("n", BUS_START_SEQ, 41); /* not there yet */
	EQUAL(OK(bus_sub_peek(sub, &msg, 1)), 0);
	send_text(pub, "y");
	send_text(pub, "z");
	expect(sub, "z", 41);
	bus_sub_close(sub);
	for (int i = 0; i < 500; i++)
		while (bus_pub_send(pub, "x", 1) == -EAGAIN)
			rig_sleep_ms(1);
	sent(pub);
	sub = subscribe("n", BUS_START_SEQ, 17); /* not in the ring any more */
	expect(sub, "x", 17);
	bus_sub_close(sub);
	EQUAL(bus_sub_open(&sub, bus, "w.live", BUS_OPTS(sub, .start = BUS_START_SEQ)), -EINVAL);
	CHECK(strstr(bus_why(bus), "no stream \"w.live\"") != NULL);
	EQUAL(bus_sub_open(&sub, bus, "n.>", BUS_OPTS(sub, .start = BUS_START_SEQ)), -EINVAL);
	bus_pub_close(pub);
}

static void a_slow_reader(void)
{
	struct bus_sub *sub;
	struct bus_pub *pub;
	struct bus_msg msg;
	uint64_t seen = 0;

	make("slow", 64);
	sub = subscribe("slow", BUS_START_NOW, 0);
	OK(bus_pub_open(&pub, bus, "slow",
			BUS_OPTS(pub, .full = BUS_FULL_BLOCK, .full_ns = 2000000000)));
	for (int i = 0; i < 20000; i++)
		OK(bus_pub_send(pub, &i, sizeof(i)));
	sent(pub);
	while (seen < 20000) {
		rig_next(sub, &msg);
		EQUAL(msg.seq, seen);
		EQUAL(*(const int *)msg.data, msg.seq);
		seen = msg.seq + 1;
		OK(bus_sub_release(sub, 1));
	}
	bus_pub_close(pub);
	bus_sub_close(sub);
}

static void levels(void)
{
	struct bus_sub *live_sub = subscribe("w.live", BUS_START_NOW, 0);
	struct bus_pub *pub, *live = publisher("w.live", NULL);
	uint64_t seq, before;
	pid_t worker = rig_worker();

	EQUAL(bus_pub_reached(live, BUS_LEVEL_STREAM, &seq), -EOPNOTSUPP);
	CHECK(strstr(bus_why(bus), "is no stream") != NULL);
	EQUAL(bus_pub_rewind(live, 0), -EOPNOTSUPP);
	OK(bus_pub_reached(live, BUS_LEVEL_RING, &seq));
	OK(bus_topic_create(bus, "l",
			    BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM, .sync = BUS_SYNC_MEMORY)));
	OK(bus_pub_open(&pub, bus, "l", BUS_OPTS(pub, .full = BUS_FULL_FAIL, .slots = 64)));
	EQUAL(bus_pub_wait(pub, BUS_LEVEL_DURABLE, 0, 0), -EOPNOTSUPP);
	CHECK(strstr(bus_why(bus), "kept on disk") != NULL);
	EQUAL(bus_pub_rewind(pub, 0), -EOPNOTSUPP);
	EQUAL(bus_pub_wait(pub, BUS_LEVEL_STREAM, 1, 0), -EINVAL);
	send_text(pub, "a");
	OK(bus_pub_wait(pub, BUS_LEVEL_STREAM, 1, 5000000000));
	rig_kill(worker, SIGSTOP);
	rig_sleep_ms(20);
	send_text(pub, "b");
	rig_sleep_ms(20);
	OK(bus_pub_reached(pub, BUS_LEVEL_RING, &seq));
	EQUAL(seq, 2);
	OK(bus_pub_reached(pub, BUS_LEVEL_STREAM, &seq));
	EQUAL(seq, 1);
	before = rig_now_ns();
	EQUAL(bus_pub_wait(pub, BUS_LEVEL_STREAM, 2, 50000000), -ETIMEDOUT);
	CHECK(rig_now_ns() - before >= 50000000);
	for (int i = 2; i < 65; i++)
		send_text(pub, "c");
	EQUAL(bus_pub_send(pub, "d", 1), -EAGAIN); /* 64 are in its ring, and not taken */
	send_text(live, "live");
	expect(live_sub, "live", 0);
	rig_kill(worker, SIGCONT);
	OK(bus_pub_wait(pub, BUS_LEVEL_STREAM, 65, 5000000000));
	OK(bus_pub_reached(pub, BUS_LEVEL_STREAM, &seq));
	EQUAL(seq, 65);
	OK(bus_pub_send(pub, "d", 1));
	bus_pub_close(pub);
	bus_pub_close(live);
	bus_sub_close(live_sub);
}

static void a_name(void)
{
	struct bus_pub *pub, *other;
	struct bus_pub_info info;
	struct bus_sub *sub;
	struct bus_msg msg;

	make("name", 0);
	sub = subscribe("name", BUS_START_NOW, 0);
	pub = publisher("name", "me");
	send_text(pub, "0");
	send_text(pub, "1");
	EQUAL(bus_pub_open(&other, bus, "name", BUS_OPTS(pub, .name = "me")), -EBUSY);
	CHECK(strstr(bus_why(bus), "is open on stream \"name\"") != NULL);
	bus_pub_close(pub);
	pub = publisher("name", "me"); /* waits until both are in */
	OK(bus_pub_info(pub, &info));
	EQUAL(info.seq, 2);
	EQUAL(bus_pub_rewind(pub, 3), -EINVAL);
	OK(bus_pub_rewind(pub, 1));
	send_text(pub, "1");
	send_text(pub, "2");
	EQUAL(bus_pub_rewind(pub, 0), -EINVAL);
	bus_pub_close(pub);
	expect(sub, "0", 0);
	expect(sub, "1", 1);
	rig_next(sub, &msg);
	CHECK(msg.seq == 2 && msg.len == 1 && *(const char *)msg.data == '2');
	CHECK(strcmp(msg.from->name, "me") == 0);
	OK(bus_sub_release(sub, 1));
	EQUAL(OK(bus_sub_peek(sub, &msg, 1)), 0);
	bus_sub_close(sub);
}

static struct bus_pub *opened_at_once[2];
static int results_at_once[2];

static void *open_at_once(void *arg)
{
	struct bus *own = rig_connect("at once");
	const int i = *(const int *)arg;

	/* a large ring: making it takes busd a while, in which the other one asks for the same name */
	results_at_once[i] = bus_pub_open(&opened_at_once[i], own, "name",
					  BUS_OPTS(pub, .name = "both", .bytes = 16 << 20));
	return own;
}

/* Two open one name at the same time: one has it, the other is told so, and does not wait for ever. */
static void a_name_at_once(void)
{
	static const int which[2] = { 0, 1 };

	for (int round = 0; round < 10; round++) {
		pthread_t threads[2];
		void *own[2];
		int won;

		for (int i = 0; i < 2; i++)
			CHECK(pthread_create(&threads[i], NULL, open_at_once,
					     (void *)(uintptr_t)&which[i]) == 0);
		for (int i = 0; i < 2; i++)
			CHECK(pthread_join(threads[i], &own[i]) == 0);
		won = results_at_once[0] == 0 ? 0 : 1;
		EQUAL(results_at_once[won], 0);
		EQUAL(results_at_once[1 - won], -EBUSY);
		for (int i = 0; i < 2; i++)
			bus_close(own[i]);
	}
}

/* More publishers than a stream has entries for; the name that was there first is still known. */
static void a_thousand(void)
{
	struct bus_pub *named, *pub;
	struct bus_pub_info info;
	struct bus_sub *sub;
	struct bus_msg msg;
	char text[16];

	make("many", 0);
	named = publisher("many", "first");
	send_text(named, "named");
	bus_pub_close(named);
	for (int i = 0; i < 1500; i++) {
		OK(bus_pub_open(&pub, bus, "many", BUS_OPTS(pub, .slots = 16, .bytes = 4096)));
		snprintf(text, sizeof(text), "%d", i);
		send_text(pub, text);
		/* places are free again once what came by them is on disk: else the named one's would be taken */
		if (i % 128 == 0)
			OK(bus_pub_wait(pub, BUS_LEVEL_DURABLE, 1, -1));
		bus_pub_close(pub);
	}
	sub = subscribe("many", BUS_START_OLDEST, 0);
	rig_next(sub, &msg);
	CHECK(strcmp(msg.from->name, "first") == 0);
	OK(bus_sub_release(sub, 1));
	for (int i = 0; i < 1500; i++) {
		rig_next(sub, &msg);
		snprintf(text, sizeof(text), "%d", i);
		CHECK(msg.len == strlen(text) && memcmp(msg.data, text, msg.len) == 0);
		/* the first ones' places are others' now */
		CHECK(i < 1500 - 1023 ? msg.from->name[0] == 0 || i >= 1023 : msg.from->name[0] != 0);
		OK(bus_sub_release(sub, 1));
	}
	named = publisher("many", "first");
	OK(bus_pub_info(named, &info));
	EQUAL(info.seq, 1);
	bus_pub_close(named);
	bus_sub_close(sub);
}

static void an_end(void)
{
	struct bus_pub *pub;
	struct bus_sub *sub;
	char text[8];

	make("end", 0);
	sub = subscribe("end", BUS_START_NOW, 0);
	pub = publisher("end", NULL);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		send_text(pub, text);
	}
	EQUAL(bus_topic_remove(bus, "end", 0), -EBUSY);
	OK(bus_topic_remove(bus, "end", BUS_TOPIC_FORCE));
	for (uint64_t i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "%d", (int)i);
		expect(sub, text, i);
	}
	EQUAL(bus_pub_send(pub, "x", 1), -ESHUTDOWN);
	EQUAL(bus_pub_wait(pub, BUS_LEVEL_STREAM, 1000, 0), 0);
	bus_pub_close(pub);
	bus_sub_close(sub);
	make("end", 0); /* the name is free */
	sub = subscribe("end", BUS_START_OLDEST, 0);
	pub = publisher("end", NULL);
	send_text(pub, "new");
	expect(sub, "new", 0);
	bus_pub_close(pub);
	bus_sub_close(sub);
}

static void a_large_message(void)
{
	static uint8_t large[1 << 20];
	struct bus_pub *pub = publisher("end", NULL);
	struct bus_sub *sub = subscribe("end", BUS_START_NOW, 0);
	struct bus_msg msg;

	memset(large, 7, sizeof(large));
	OK(bus_pub_send(pub, "small", 5));
	OK(bus_pub_send(pub, large, sizeof(large))); /* in a larger ring */
	OK(bus_pub_send(pub, "small", 5));
	sent(pub);
	rig_next(sub, &msg);
	EQUAL(msg.len, 5);
	OK(bus_sub_release(sub, 1));
	rig_next(sub, &msg);
	EQUAL(msg.len, sizeof(large));
	CHECK(memcmp(msg.data, large, sizeof(large)) == 0);
	OK(bus_sub_release(sub, 1));
	rig_next(sub, &msg);
	EQUAL(msg.len, 5);
	OK(bus_sub_release(sub, 1));
	EQUAL(bus_pub_send(pub, large, 8 << 20), -EMSGSIZE);
	bus_pub_close(pub);
	bus_sub_close(sub);
}

int main(void)
{
	rig_busd_start(NULL);
	bus = rig_connect("rig");
	make("s.a", 0);
	one_order();
	a_wildcard();
	a_number();
	a_slow_reader();
	levels();
	a_name();
	a_name_at_once();
	a_thousand();
	an_end();
	a_large_message();
	bus_close(bus);
	return rig_done();
}

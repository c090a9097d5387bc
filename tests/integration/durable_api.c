/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: a stream has 256 durable names at most. A durable name is on disk when bus_sub_open() returns, and what bus_sub_settle() said when it returned: all of
 * busd is killed right behind them. What is released is acknowledged, with BUS_SUB_ACK only what bus_sub_ack() said so
 * of; a close keeps it to the message. One holder at a time, in the same process too. A subscription that comes to
 * another busd holds its name there, at what was released, but not on a stream that was made anew under the former's
 * name. Who dies while it opens holds nothing. A position is moved from where it stands only.
 * timeout: 120
 */
#include <errno.h>
#include <string.h>

#include "lib/bus_rig.h"

static struct bus *bus;

static int try_open(struct bus_sub **sub, const char *name, uint32_t start, uint32_t flags)
{
	return bus_sub_open(sub, bus, "s",
			    BUS_OPTS(sub, .durable = name, .start = start, .flags = flags));
}

static struct bus_sub *subscribe(const char *name, uint32_t start, uint32_t flags)
{
	struct bus_sub *sub;

	OK(try_open(&sub, name, start, flags));
	return sub;
}

static void publish_on(const char *topic, uint64_t count)
{
	struct bus_pub_info info;
	struct bus_pub *pub;

	OK(bus_pub_open(&pub, bus, topic, NULL));
	for (uint64_t i = 0; i < count; i++)
		OK(bus_pub_send(pub, &i, sizeof(i)));
	OK(bus_pub_info(pub, &info));
	OK(bus_pub_wait(pub, BUS_LEVEL_DURABLE, info.seq, 20000000000));
	bus_pub_close(pub);
}

static void publish(uint64_t count)
{
	publish_on("s", count);
}

static void take(struct bus_sub *sub, uint64_t seq, int count)
{
	struct bus_msg msg;

	for (int i = 0; i < count; i++) {
		rig_next(sub, &msg);
		EQUAL(msg.seq, seq + (uint64_t)i);
		OK(bus_sub_release(sub, 1));
	}
}

static struct bus_position position(const char *name)
{
	struct bus_position p = { .name = "" };
	int n;

	/* -EPIPE: once, where busd is another one now */
	while ((n = bus_position_next(bus, "s", &p)) > 0 || n == -EPIPE)
		if (n > 0 && strcmp(p.name, name) == 0)
			return p;
	OK(n);
	p.name[0] = 0;
	return p;
}

static void busd_dies(void)
{
	rig_busd_kill();
	bus_close(bus);
	rig_busd_again(NULL);
	bus = rig_connect("durable");
}

static void acknowledges(void)
{
	struct bus_sub *sub = subscribe("a", BUS_START_OLDEST, 0), *late, *other;
	struct bus_msg msgs[8], msg;
	char buf[64];

	EQUAL(position("a").seq, 0);
	take(sub, 0, 3);
	EQUAL(OK(bus_sub_peek(sub, msgs, 8)), 8);
	EQUAL(position("a").seq, 3);
	OK(bus_sub_release(sub, 5));
	EQUAL(position("a").seq, 8);
	CHECK(position("a").held);
	EQUAL(try_open(&other, "a", BUS_START_NOW, 0), -EBUSY);
	CHECK(strstr(bus_why(bus), "held by \"durable\" (pid ") != NULL);
	bus_sub_close(sub);
	CHECK(!position("a").held);
	sub = subscribe("a", BUS_START_NOW, 0);
	take(sub, 8, 1);
	EQUAL(bus_sub_ack(sub), 0);
	bus_sub_close(sub);
	/* a time that all of them are before is for a new name, too */
	OK(bus_sub_open(&sub, bus, "s",
			BUS_OPTS(sub, .durable = "timed", .start = BUS_START_SEQ, .start_seq = 2)));
	take(sub, 2, 3);
	bus_sub_close(sub);
	OK(bus_sub_open(&sub, bus, "s",
			BUS_OPTS(sub, .durable = "timed", .start = BUS_START_TIME,
				 .start_time_ns = UINT64_MAX / 2)));
	take(sub, 5, 3);
	bus_sub_close(sub);
	EQUAL(position("timed").seq, 8);

	late = subscribe("late", BUS_START_OLDEST, BUS_SUB_ACK);
	EQUAL(OK(bus_sub_recv(late, buf, sizeof(buf), &msg)), 1);
	take(late, 1, 4);
	EQUAL(position("late").seq, 0);
	OK(bus_sub_ack(late));
	EQUAL(position("late").seq, 5);
	take(late, 5, 4);
	bus_sub_close(late);
	EQUAL(position("late").seq, 5);
}

static void refuses(void)
{
	struct bus_sub *sub;

	OK(bus_sub_open(&sub, bus, "s", NULL));
	EQUAL(bus_sub_settle(sub, 0), -EINVAL);
	EQUAL(bus_sub_ack(sub), -EINVAL);
	bus_sub_close(sub);
	EQUAL(bus_sub_open(&sub, bus, "s", BUS_OPTS(sub, .flags = BUS_SUB_ACK)), -EINVAL);
	EQUAL(try_open(&sub, "", BUS_START_NOW, 0), -EINVAL);
	EQUAL(bus_position_set(bus, "s", "a", 8, 2, 0), -ESTALE);
	EQUAL(position("a").seq, 9);
	EQUAL(bus_position_set(bus, "s", "a", 9, 1000000, 0), -EINVAL);
	EQUAL(bus_position_set(bus, "s", "a", 0, 2, BUS_POSITION_NEW), -EEXIST);
	EQUAL(bus_position_set(bus, "s", "nobody", 0, 2, 0), -ENOENT);
	EQUAL(bus_position_set(bus, "none", "a", 0, 2, 0), -ENOENT);
	OK(bus_position_set(bus, "s", "a", 9, 2, 0));
	EQUAL(position("a").kept_seq, 2);
}

static void as_many_as_there_may_be(void)
{
	struct bus_position p = { .name = "" };
	struct bus_sub *sub;
	char name[16];
	int count = 0, made = 0;

	while (OK(bus_position_next(bus, "s", &p)) > 0)
		count++;
	for (; count < 256; count++) {
		snprintf(name, sizeof(name), "many%d", made++);
		OK(bus_position_set(bus, "s", name, 0, 1, BUS_POSITION_NEW));
	}
	EQUAL(bus_position_set(bus, "s", "more", 0, 1, BUS_POSITION_NEW), -EDQUOT);
	EQUAL(try_open(&sub, "more", BUS_START_NOW, 0), -EDQUOT);
	CHECK(strstr(bus_why(bus), "has 256 durable subscriptions") != NULL);
	OK(bus_position_set(bus, "s", "many0", 1, 0, BUS_POSITION_REMOVE));
	bus_sub_close(subscribe("more", BUS_START_NOW, 0));
	while (made > 1) {
		snprintf(name, sizeof(name), "many%d", --made);
		OK(bus_position_set(bus, "s", name, 1, 0, BUS_POSITION_REMOVE));
	}
	EQUAL(position("many0").name[0], 0);
	CHECK(position("more").name[0]);
}

/* What was said to be on disk is there after the death of all of busd. */
static void settles(void)
{
	struct bus_sub *sub;
	uint64_t begun = position("a").head_seq;

	for (int round = 0; round < 3; round++) {
		sub = subscribe("settled", BUS_START_OLDEST, 0);
		if (round == 0) {
			take(sub, 0, 50);
			OK(bus_sub_settle(sub, 5000000000));
			take(sub, 50, 7);
		}
		(void)subscribe(round == 0   ? "new0"
				: round == 1 ? "new1"
					     : "new2",
				BUS_START_NOW, 0);
		busd_dies();
		CHECK(position("settled").seq >= 50 && position("settled").seq <= 57);
		EQUAL(position("late").seq, 5);
		EQUAL(position("new0").seq, begun);
		CHECK(position("new0").moved_ns > 0);
		CHECK(round < 1 || position("new1").name[0]);
		CHECK(round < 2 || position("new2").name[0]);
		publish(10);
	}
}

/* The reader lives, and comes to the next busd by itself. */
static void goes_over(void)
{
	struct bus_sub *sub = subscribe("over", BUS_START_NOW, 0), *other;
	struct bus_position p;
	struct bus_msg msg;
	uint64_t from;

	publish(20);
	rig_next(sub, &msg);
	from = msg.seq;
	OK(bus_sub_release(sub, 1));
	take(sub, from + 1, 9);
	OK(bus_sub_settle(sub, 5000000000));
	take(sub, from + 10, 5);
	rig_busd_kill();
	rig_busd_again(NULL);
	/* it looks, and is there; all that the former ring had is read first */
	for (int i = 0; i < 5 || (i < 400 && !position("over").held); i++) {
		EQUAL(OK(bus_sub_peek(sub, &msg, 1)), i < 5);
		rig_sleep_ms(5);
	}
	p = position("over");
	CHECK(p.held);
	EQUAL(p.seq, from + 15);
	OK(bus_sub_release(sub, 5));
	EQUAL(position("over").seq, from + 20);
	EQUAL(try_open(&other, "over", BUS_START_NOW, 0), -EBUSY);
	bus_sub_close(sub);
	EQUAL(position("over").seq, from + 20);
}

/* Who holds a name on a stream that is removed hears of it, and hurts nobody. */
static void removed(void)
{
	struct bus_sub *sub, *other;
	struct bus_msg msg;

	OK(bus_topic_create(bus, "r", BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM)));
	OK(bus_sub_open(&sub, bus, "r", BUS_OPTS(sub, .durable = "a")));
	OK(bus_topic_remove(bus, "r", BUS_TOPIC_FORCE));
	EQUAL(bus_sub_settle(sub, 2000000000), -ESHUTDOWN);
	EQUAL(OK(bus_sub_peek(sub, &msg, 1)), 0);
	/* another stream of that name is not its own: not now, not after a worker's death, and the name is free there */
	OK(bus_topic_create(bus, "r", BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM)));
	publish_on("r", 5);
	OK(bus_sub_open(&other, bus, "r", BUS_OPTS(sub, .durable = "a", .start = BUS_START_OLDEST)));
	take(other, 0, 2);
	for (int i = 0; i < 2; i++) {
		rig_sleep_ms(50);
		EQUAL(OK(bus_sub_peek(sub, &msg, 1)), 0);
		EQUAL(bus_sub_settle(sub, 2000000000), -ESHUTDOWN);
		rig_kill_worker();
	}
	bus_sub_close(sub);
	take(other, 2, 3);
	OK(bus_sub_settle(other, 2000000000));
	bus_sub_close(other);
}

/* Its process dies while busd allocates: nobody holds the name then. */
static void dead_before_it_was_open(void)
{
	struct bus_sub *sub;

	for (unsigned round = 0; round < 40; round++) {
		pid_t pid = rig_fork();

		if (pid == 0) {
			struct bus *own = rig_connect("dies");

			for (;;) {
				OK(bus_sub_open(&sub, own, "s",
						BUS_OPTS(sub, .durable = "big", .max_rings = 65536)));
				rig_post((int)round);
				bus_sub_close(sub);
			}
		}
		rig_await((int)round, 1);
		rig_sleep_ms(round % 9);
		rig_kill(pid, SIGKILL);
		EQUAL(rig_wait(pid), -SIGKILL);
		OK(try_open(&sub, "big", BUS_START_NOW, 0));
		bus_sub_close(sub);
	}
}

int main(void)
{
	rig_busd_start(NULL);
	bus = rig_connect("durable");
	OK(bus_topic_create(bus, "s", BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM)));
	publish(100);
	acknowledges();
	refuses();
	as_many_as_there_may_be();
	removed();
	dead_before_it_was_open();
	settles();
	goes_over();
	bus_close(bus);
	return rig_done();
}

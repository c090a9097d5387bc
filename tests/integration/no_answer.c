/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: what calls do while busd, or its disk, does not answer. bus_sub_settle() waits as long as it was told: not at
 * all, so long, or for ever. An open that timed out leaves nothing behind: the next one has the name, whether busd went
 * on, or its worker died before it had begun, or with the answer on the way. bus_pub_wait() says why it waits no more.
 * timeout: 60
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/bus_rig.h"

static struct bus *bus, *patient;
static char dir[400];

static void connect_both(void)
{
	OK(bus_connect(&bus, BUS_OPTS(connect, .name = "short", .timeout_ns = 1500000000)));
	patient = rig_connect("patient");
}

static void publish(uint64_t count)
{
	struct bus_pub *pub;

	OK(bus_pub_open(&pub, patient, "s", BUS_OPTS(pub, .name = "source")));
	for (uint64_t i = 0; i < count; i++)
		OK(bus_pub_send(pub, &i, sizeof(i)));
	OK(bus_pub_wait(pub, BUS_LEVEL_DURABLE, count, 10000000000));
	bus_pub_close(pub);
}

static void take(struct bus_sub *sub, int count)
{
	struct bus_msg msg;

	for (int i = 0; i < count; i++) {
		rig_next(sub, &msg);
		OK(bus_sub_release(sub, 1));
	}
}

static struct bus_position position(const char *name)
{
	struct bus_position p = { .name = "" };

	while (OK(bus_position_next(patient, "s", &p)) > 0)
		if (strcmp(p.name, name) == 0)
			return p;
	p.name[0] = 0;
	return p;
}

static int open_durable(struct bus_sub **sub, const char *name)
{
	return bus_sub_open(sub, bus, "s", BUS_OPTS(sub, .durable = name, .start = BUS_START_OLDEST));
}

/* All its threads: some take a moment. */
static void stop(pid_t pid)
{
	rig_kill(pid, SIGSTOP);
	rig_sleep_ms(200);
}

/* How many ms it took. */
static uint64_t settle(struct bus_sub *sub, int64_t timeout_ns, int wanted)
{
	uint64_t began = rig_now_ns();

	EQUAL(bus_sub_settle(sub, timeout_ns), wanted);
	return (rig_now_ns() - began) / 1000000;
}

static pid_t later(unsigned ms, pid_t go_on, const char *remove)
{
	pid_t pid = rig_fork();

	if (pid != 0)
		return pid;
	rig_sleep_ms(ms);
	if (go_on > 0)
		kill(go_on, SIGCONT);
	rig_exit(remove != NULL && rmdir(remove) != 0);
}

static void settles_as_long_as_it_may(void)
{
	struct bus_sub *sub;
	char in_the_way[500];
	uint64_t ms;
	pid_t pid;

	OK(open_durable(&sub, "settled"));
	take(sub, 10);
	OK(bus_sub_settle(sub, -1));
	EQUAL(position("settled").kept_seq, 10);
	EQUAL(bus_sub_settle(sub, 0), 0);

	/* a new worker makes the file anew, and cannot */
	rig_kill_worker();
	EQUAL(position("settled").seq, 10);
	snprintf(in_the_way, sizeof(in_the_way), "%s/streams/s/positions.new", dir);
	CHECK(mkdir(in_the_way, 0700) == 0);
	take(sub, 10);
	CHECK(settle(sub, 0, -ETIMEDOUT) < 900);
	/* it is busd that has looked, and says so at once: it has some 250 ms for that, on a machine that may be busy */
	for (int i = 0; i < 8 && strstr(bus_why(bus), "is not on disk") == NULL; i++)
		settle(sub, 0, -ETIMEDOUT);
	CHECK(strstr(bus_why(bus), "is not on disk") != NULL);
	ms = settle(sub, 1200000000, -ETIMEDOUT);
	CHECK(ms >= 1200 && ms < 1900);
	EQUAL(position("settled").kept_seq, 10);
	pid = later(2000, 0, in_the_way);
	CHECK(settle(sub, -1, 0) >= 1900);
	EQUAL(rig_wait(pid), 0);
	EQUAL(position("settled").kept_seq, 20);

	/* busd stands still, for longer than its answers are waited for */
	pid = rig_worker();
	stop(pid);
	CHECK(settle(sub, 0, -ETIMEDOUT) < 1000);
	CHECK(settle(sub, 300000000, -ETIMEDOUT) < 1000);
	pid = later(2500, pid, NULL);
	CHECK(settle(sub, -1, 0) >= 2400);
	EQUAL(rig_wait(pid), 0);
	bus_sub_close(sub);
}

enum then { GOES_ON, DIES, ANSWERS_AND_DIES };

static void stand_still(enum then then, pid_t worker)
{
	if (then != DIES)
		rig_kill(worker, SIGCONT);
	if (then == ANSWERS_AND_DIES)
		rig_sleep_ms(300);
	if (then != GOES_ON)
		rig_kill_worker();
}

static void the_next_open_has_the_name(enum then then)
{
	struct bus_sub *sub;
	struct bus_pub *pub;
	pid_t worker = rig_worker();

	stop(worker);
	EQUAL(open_durable(&sub, "late"), -ETIMEDOUT);
	stand_still(then, worker);
	OK(open_durable(&sub, "late"));
	CHECK(position("late").held);
	bus_sub_close(sub);
	CHECK(!position("late").held);

	worker = rig_worker();
	stop(worker);
	EQUAL(bus_pub_open(&pub, bus, "s", BUS_OPTS(pub, .name = "late")), -ETIMEDOUT);
	stand_still(then, worker);
	OK(bus_pub_open(&pub, bus, "s", BUS_OPTS(pub, .name = "late")));
	bus_pub_close(pub);
	OK(bus_pub_open(&pub, patient, "s", BUS_OPTS(pub, .name = "late")));
	bus_pub_close(pub);
}

/* Nobody takes the stream up. */
static void waits_for_the_next_busd(void)
{
	struct bus_pub *pub, *lost;

	OK(bus_topic_create(bus, "m",
			    BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM, .sync = BUS_SYNC_MEMORY)));
	OK(bus_pub_open(&pub, bus, "s", BUS_OPTS(pub, .name = "waits")));
	OK(bus_pub_open(&lost, bus, "m", NULL));
	stop(rig_worker());
	OK(bus_pub_send(pub, "x", 1));
	OK(bus_pub_send(lost, "x", 1));
	rig_busd_kill();
	EQUAL(bus_pub_wait(pub, BUS_LEVEL_DURABLE, 1, 10000000000), -EPIPE);
	CHECK(strstr(bus_why(bus), "no other one has taken it up") != NULL);
	EQUAL(bus_pub_wait(lost, BUS_LEVEL_STREAM, 1, 10000000000), -EPIPE);
	CHECK(strstr(bus_why(bus), "lay in the memory of a busd that has gone") != NULL);
}

int main(void)
{
	char config[500];

	snprintf(dir, sizeof(dir), "%s/data", getenv("TMPDIR"));
	snprintf(config, sizeof(config), "data_dir: %s\n", dir);
	rig_busd_start(config);
	connect_both();
	OK(bus_topic_create(bus, "s", BUS_OPTS(topic, .flags = BUS_TOPIC_STREAM)));
	publish(100);
	settles_as_long_as_it_may();
	the_next_open_has_the_name(GOES_ON);
	the_next_open_has_the_name(DIES);
	the_next_open_has_the_name(ANSWERS_AND_DIES);
	waits_for_the_next_busd();
	bus_close(bus);
	bus_close(patient);
	return rig_done();
}

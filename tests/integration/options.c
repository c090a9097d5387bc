/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: what a caller asks for and the library does not know is refused with a sentence, never
 * ignored: flags, members of a newer options struct, values out of range; an older or newer caller
 * that asks for nothing unknown is served. Nothing of a refused call stays, and *ret is untouched.
 */
#include <errno.h>
#include <string.h>

#include <bus_stat.h>

#include "lib/bus_rig.h"

static struct bus *bus;
static struct bus_pub *const no_pub = (struct bus_pub *)8;
static struct bus_sub *const no_sub = (struct bus_sub *)8;

static void refused(int err, int want)
{
	EQUAL(err, want);
	CHECK(strlen(bus_why(bus)) > 10 && strcmp(bus_why(bus), "no failure recorded") != 0);
}

static void pub_refused(const struct bus_pub_opts *opts, int want)
{
	struct bus_pub *pub = no_pub;

	refused(bus_pub_open(&pub, bus, "t", opts), want);
	CHECK(pub == no_pub);
}

static void sub_refused(const struct bus_sub_opts *opts, int want)
{
	struct bus_sub *sub = no_sub;

	refused(bus_sub_open(&sub, bus, "t", opts), want);
	CHECK(sub == no_sub);
}

static void topic_refused(const struct bus_topic_opts *opts, int want)
{
	refused(bus_topic_create(bus, "t", opts), want);
}

static void connect_refused(const struct bus_connect_opts *opts, int want)
{
	struct bus *other = (struct bus *)8;

	refused(bus_connect(&other, opts), want);
	CHECK(other == (struct bus *)8);
}

/* Each bit that means nothing, alone. */
static void unknown_flags(void)
{
	for (int bit = 0; bit < 32; bit++) {
		uint32_t flag = 1u << bit;

		if (flag != BUS_PUB_BURST_TIME)
			pub_refused(BUS_OPTS(pub, .flags = flag), -EINVAL);
		if (flag != BUS_SUB_FD_THREAD)
			sub_refused(BUS_OPTS(sub, .flags = flag), -EINVAL);
		if ((flag & (BUS_TOPIC_HUGE | BUS_TOPIC_HUGE_OR_NOT | BUS_TOPIC_EXCLUSIVE |
			     BUS_TOPIC_STREAM)) == 0)
			topic_refused(BUS_OPTS(topic, .flags = flag), -EINVAL);
		if (flag != BUS_CONNECT_NO_AUTOSTART)
			connect_refused(BUS_OPTS(connect, .flags = flag), -EINVAL);
		if (flag != BUS_TOPIC_FORCE)
			refused(bus_topic_remove(bus, "stays", flag), -EINVAL);
	}
}

static void values_that_cannot_be(void)
{
	pub_refused(BUS_OPTS(pub, .full = BUS_FULL_FAIL + 1), -EINVAL);
	pub_refused(BUS_OPTS(pub, .full_ns = -2), -EINVAL);
	pub_refused(BUS_OPTS(pub, .full_ns = -1), -EINVAL); /* for ever: by BLOCK only */
	pub_refused(BUS_OPTS(pub, .spin_ns = -2), -EINVAL);
	pub_refused(BUS_OPTS(pub, .slots = 15), -EINVAL);
	pub_refused(BUS_OPTS(pub, .slots = (1u << 26) + 1), -EINVAL);
	pub_refused(BUS_OPTS(pub, .bytes = UINT64_MAX), -EINVAL);
	pub_refused(BUS_OPTS(pub, .numa = BUS_NUMA_NODE(4000)), -EINVAL);
	pub_refused(BUS_OPTS(pub, .numa = -2), -EINVAL);
	sub_refused(BUS_OPTS(sub, .start = BUS_START_LAST + 1), -EINVAL);
	sub_refused(BUS_OPTS(sub, .policy = BUS_LOSSY + 1), -EINVAL);
	sub_refused(BUS_OPTS(sub, .spin_ns = -2), -EINVAL);
	sub_refused(BUS_OPTS(sub, .max_rings = 65537), -EINVAL);
	topic_refused(BUS_OPTS(topic, .slots = 15), -EINVAL);
	topic_refused(BUS_OPTS(topic, .bytes = UINT64_MAX), -EINVAL);
	topic_refused(BUS_OPTS(topic, .bytes = 1 << 20, .max_bytes = 1 << 16), -EINVAL);
	topic_refused(BUS_OPTS(topic, .numa = BUS_NUMA_NODE(4000)), -EINVAL);
	connect_refused(BUS_OPTS(connect, .timeout_ns = -1), -EINVAL);
	refused(bus_topic_create(bus, "a..b", NULL), -EINVAL);
	refused(bus_topic_create(bus, "a.*", NULL), -EINVAL);
	refused(bus_topic_remove(bus, "absent", 0), -ENOENT);
}

/* As a program would that was compiled with a later, or an earlier, bus.h. */
static void other_ages(void)
{
	struct {
		struct bus_pub_opts known;
		uint64_t later[4];
	} opts = { .known = { .size = sizeof(opts) } };
	struct bus_pub *pub;
	struct bus_sub *sub;
	size_t only_size = sizeof(only_size);

	opts.later[3] = 1;
	pub_refused(&opts.known, -E2BIG);
	opts.later[3] = 0;
	OK(bus_pub_open(&pub, bus, "later", &opts.known));
	bus_pub_close(pub);
	OK(bus_sub_open(&sub, bus, "earlier", (const struct bus_sub_opts *)&only_size));
	bus_sub_close(sub);
	opts.known.size = sizeof(size_t) - 1;
	pub_refused(&opts.known, -EINVAL);
	opts.known.size = 1 << 20;
	pub_refused(&opts.known, -EINVAL);
}

int main(void)
{
	struct bus_topic_info info = { .name = "" };
	struct bus_stat_daemon daemon;

	rig_busd_start(NULL);
	bus = rig_connect("options");
	OK(bus_topic_create(bus, "stays", NULL));
	unknown_flags();
	values_that_cannot_be();
	other_ages();
	/* of all that was refused nothing is there */
	EQUAL(bus_topic_next(bus, NULL, &info), 1);
	CHECK(strcmp(info.name, "stays") == 0);
	EQUAL(bus_topic_next(bus, NULL, &info), 0);
	OK(bus_stat_daemon(bus, &daemon));
	EQUAL(daemon.clients, 1);
	EQUAL(daemon.rings, 0);
	EQUAL(daemon.subscriptions, 0);
	bus_close(bus);
	return rig_done();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_latency.c - see stat_latency.h
 *
 * A message carries the time at which it was published, on a clock of the topic's own (a raw
 * counter and a calibration); arrival is read from CLOCK_REALTIME. How far the two are apart is
 * measured before and after, taken off, and what it changed in between is the uncertainty that is
 * printed. The subscription is lossy: publishers do not wait for it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <bus_stat.h>

#include "bench_histogram.h"
#include "stat_latency.h"
#include "tool.h"

#define BATCH 16

struct listener {
	struct bus *bus;
	struct bus_sub *sub;
	struct bench_histogram *latencies;
	int64_t clock_ahead_ns; /* of the topic's clock before CLOCK_REALTIME */
	uint64_t void_messages; /* overwritten while they were looked at */
	uint64_t too_early;     /* arrived before they were sent, by these clocks */
};

/* false: the topic is not there (yet). */
static bool clock_ahead(struct bus *bus, const char *topic, int64_t *ret)
{
	const struct bus_stat_topic *topics;
	struct bus_stat *stat;
	uint64_t now_ns;
	bool found;
	int n = bus_stat_open(&stat, bus, topic);

	if (n < 0)
		tool_fail_bus(bus, n, "look at topic \"%s\"", topic);
	n = bus_stat_refresh(stat, &topics, &now_ns);
	if (n < 0)
		tool_fail_bus(bus, n, "look at topic \"%s\"", topic);
	found = n > 0;
	if (found)
		*ret = topics[0].clock_ahead_ns;
	bus_stat_close(stat);
	return found;
}

static int take_batch(struct listener *l)
{
	struct bus_msg msgs[BATCH];
	uint64_t sent_ns[BATCH];
	int64_t now_ns;
	int n = bus_sub_peek(l->sub, msgs, BATCH), err;

	if (n <= 0)
		return n;
	now_ns = (int64_t)tool_unix_time_ns() + l->clock_ahead_ns;
	for (int i = 0; i < n; i++)
		sent_ns[i] = msgs[i].time_ns;
	err = bus_sub_release(l->sub, n);
	if (err == -ESTALE) {
		l->void_messages += (uint64_t)n;
		return n;
	}
	if (err < 0)
		return err;
	for (int i = 0; i < n; i++) {
		int64_t took_ns = now_ns - (int64_t)sent_ns[i];

		l->too_early += took_ns < 0;
		bench_histogram_record(l->latencies, took_ns < 0 ? 0 : (uint64_t)took_ns);
	}
	return n;
}

static void listen(struct listener *l, int64_t end_ns)
{
	while (!tool_stop_signal) {
		int64_t left_ns = end_ns - tool_clock_ns();
		int n;

		if (left_ns <= 0)
			return;
		n = bus_sub_wait(l->sub, left_ns);
		while (n > 0 && !tool_stop_signal && tool_clock_ns() < end_ns)
			n = take_batch(l);
		/* what cannot be read is skipped, and counted by the subscription */
		if (n < 0 && n != -EINTR && n != -ESTALE && n != -EBADMSG && n != -EPROTONOSUPPORT)
			tool_fail_bus(l->bus, n, "listen");
	}
}

static void show(const struct listener *l, uint64_t lost, int64_t drift_ns, bool json)
{
	struct bench_percentiles p = bench_histogram_percentiles(l->latencies);
	uint64_t n = l->latencies->total, drift = (uint64_t)(drift_ns < 0 ? -drift_ns : drift_ns);

	if (json) {
		tool_json_print(json_pack("{s:I, s:I, s:I, s:I, s:{s:f, s:f, s:f, s:f, s:f}}",
					  "messages", (json_int_t)n, "lost", (json_int_t)lost,
					  "uncertainty_ns", (json_int_t)drift, "too_early",
					  (json_int_t)l->too_early, "latency_ns", "p50", p.p50,
					  "p90", p.p90, "p99", p.p99, "p999", p.p999, "max", p.max));
		return;
	}
	printf("%" PRIu64 " messages, %" PRIu64 " lost\n", n, lost);
	printf("p50 %s  p90 %s  p99 %s  max %s\n", tool_seconds((uint64_t)p.p50).s,
	       tool_seconds((uint64_t)p.p90).s, tool_seconds((uint64_t)p.p99).s,
	       tool_seconds((uint64_t)p.max).s);
	printf("The clocks moved against each other by %s meanwhile", tool_seconds(drift).s);
	if (l->too_early)
		printf("; %" PRIu64 " messages came before they were sent by them", l->too_early);
	printf(".\n");
}

int stat_latency(struct bus *bus, const char *topic, int64_t duration_ns, bool json)
{
	static struct bench_histogram latencies;
	struct listener l = { .bus = bus, .latencies = &latencies };
	struct bus_sub_info info;
	int64_t after = 0;
	uint64_t lost;
	int err;

	bench_histogram_reset(l.latencies);
	err = bus_sub_open(&l.sub, bus, topic,
			   BUS_OPTS(sub, .policy = BUS_LOSSY, .name = "bus-stat"));
	if (err)
		tool_fail_bus(bus, err, "listen to \"%s\"", topic);
	if (!clock_ahead(bus, topic, &l.clock_ahead_ns))
		tool_fail(TOOL_NOBODY, "topic \"%s\" has no publisher: nothing to measure", topic);
	listen(&l, tool_clock_ns() + duration_ns);
	err = bus_sub_info(l.sub, &info);
	lost = err ? l.void_messages : info.lost;
	if (!clock_ahead(bus, topic, &after))
		after = l.clock_ahead_ns;
	bus_sub_close(l.sub);
	if (l.latencies->total)
		show(&l, lost, after - l.clock_ahead_ns, json);
	else
		tool_warn("no message came on \"%s\" in %s", topic,
			  tool_seconds((uint64_t)duration_ns).s);
	return l.latencies->total ? TOOL_DONE : TOOL_NOBODY;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* bench_stream.c - see bench_stream.h */
#include "bench_stream.h"

#include "bench_message.h"
#include "tool.h"

#include <bus.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY 256 /* messages between two looks at the clock */

struct stream_end {
	struct bus *bus;
	struct bus_pub *pub;
	char topic[BUS_TOPIC_MAX + 1];
	void *message;
};

static int open_end(struct stream_end *end, const struct bench_plan *plan, const char **why)
{
	const struct bus_connect_opts connect = { .size = sizeof(connect),
						  .socket = plan->socket,
						  .name = "bus-bench" };
	const struct bus_topic_opts topic = { .size = sizeof(topic), .flags = BUS_TOPIC_STREAM };
	const struct bus_pub_opts pub = { .size = sizeof(pub),
					  .slots = plan->slots,
					  .bytes = plan->bytes };
	int err;

	snprintf(end->topic, sizeof(end->topic), "%.200s.stream", plan->topic);
	end->message = calloc(1, (size_t)plan->size + 1);
	err = end->message ? bus_connect(&end->bus, &connect) : -ENOMEM;
	if (err == 0)
		err = bus_topic_create(end->bus, end->topic, &topic);
	if (err == 0)
		err = bus_pub_open(&end->pub, end->bus, end->topic, &pub);
	if (err < 0)
		*why = bus_why(end->bus);
	return err;
}

static void close_end(struct stream_end *end)
{
	bus_pub_close(end->pub);
	if (end->bus && bus_topic_remove(end->bus, end->topic, BUS_TOPIC_FORCE) < 0 && end->pub)
		tool_warn("cannot remove \"%s\": %s", end->topic, bus_why(end->bus));
	bus_close(end->bus);
	free(end->message);
}

/* About ns of it; messages a second. */
static int stream_round(struct stream_end *end, const struct bench_plan *plan, uint64_t ns,
			uint64_t most, double *rate, const char **why)
{
	int64_t begin = tool_clock_ns(), now;
	uint64_t sent = 0;
	struct bus_pub_info info;
	int err = 0;

	do {
		for (int i = 0; i < LOOK_EVERY && err == 0; i++, sent++)
			err = bus_pub_send(end->pub, end->message, plan->size);
		now = tool_clock_ns();
	} while (err == 0 && (most ? sent < most : (uint64_t)(now - begin) < ns));
	if (err == 0)
		err = bus_pub_info(end->pub, &info);
	if (err == 0)
		err = bus_pub_wait(end->pub, BUS_LEVEL_STREAM, info.seq, 10000000000);
	if (err < 0)
		*why = "publishing into the stream failed";
	*rate = (double)sent / ((double)(tool_clock_ns() - begin) / 1e9);
	return err;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), by_value);
	return values[n / 2];
}

static void conclude(const struct bench_plan *plan, double *stream, double *live, double *ratios,
		     int n, struct bench_flow *ret)
{
	ret->bus.messages_per_second = median(stream, n);
	ret->bus.bytes_per_second = ret->bus.messages_per_second * plan->size;
	ret->deliveries_per_second = ret->bus.messages_per_second;
	ret->calm = n;
	if (!live)
		return;
	ret->limit.messages_per_second = median(live, n);
	ret->limit.bytes_per_second = ret->limit.messages_per_second * plan->size;
	ret->ratio.median = median(ratios, n);
	ret->ratio.min = ratios[0];
	ret->ratio.max = ratios[n - 1];
	ret->ratio.count = n;
}

static int measure(struct stream_end *end, struct bench_team *team, const struct bench_plan *plan,
		   const struct bench_effort *effort, struct bench_flow *ret, const char **why)
{
	static double stream[BENCH_ROUNDS_MAX], live[BENCH_ROUNDS_MAX], ratios[BENCH_ROUNDS_MAX];
	static struct bench_result result;
	/* the first ones find everything cold */
	int err = stream_round(end, plan, effort->round_ns, effort->count, &stream[0], why);

	if (err == 0 && team)
		err = bench_team_round(team, effort->round_ns, effort->count, &result, why);
	for (int i = 0; i < effort->rounds && err == 0; i++) {
		err = stream_round(end, plan, effort->round_ns, effort->count, &stream[i], why);
		if (err < 0 || !team)
			continue;
		err = bench_team_round(team, effort->round_ns, effort->count, &result, why);
		live[i] = (double)result.published / result.seconds;
		ratios[i] = stream[i] / live[i];
	}
	if (err == 0)
		conclude(plan, stream, team ? live : NULL, ratios, effort->rounds, ret);
	return err;
}

int bench_measure_stream(const struct bench_plan *plan, const struct bench_effort *effort,
			 struct bench_flow *ret, const char **why)
{
	struct bench_plan live = *plan;
	struct bench_team *team = NULL;
	struct stream_end end = { .bus = NULL };
	int err = 0;

	memset(ret, 0, sizeof(*ret));
	bench_histogram_reset(&ret->latency);
	live.pubs = live.subs = 1;
	if (!effort->no_limit)
		err = bench_team_start(&team, &live, why);
	if (err < 0)
		return err;
	err = open_end(&end, plan, why);
	if (err == 0)
		err = measure(&end, team, plan, effort, ret, why);
	close_end(&end);
	if (team)
		bench_team_stop(team);
	return err;
}

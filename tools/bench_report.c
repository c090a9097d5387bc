/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_report.c - see bench_report.h.
 */
#include "bench_report.h"

#include "tool.h"

#include <math.h>
#include <string.h>

/* Not more digits than the measurement has. */
static json_t *json_figure(double value)
{
	double scale;

	if (value == 0 || !isfinite(value))
		return json_real(0);
	scale = pow(10, 4 - floor(log10(fabs(value))));
	value = round(value * scale) / scale;
	if (fabs(value) >= 1000)
		return json_integer((json_int_t)llround(value));
	return json_real(value);
}

json_t *bench_json_percentiles(const struct bench_histogram *h)
{
	struct bench_percentiles p = bench_histogram_percentiles(h);

	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "p50", (json_int_t)p.p50, "p90",
			 (json_int_t)p.p90, "p99", (json_int_t)p.p99, "p999", (json_int_t)p.p999,
			 "max", (json_int_t)p.max);
}

static const char *wait_name(enum bench_wait wait)
{
	static const char *const names[] = { "spin", "sleep", "adaptive" };

	return names[wait];
}

/* What both kinds of measurement say about themselves. */
static json_t *json_plan(const char *kind, const struct bench_plan *plan,
			 const struct bench_effort *effort)
{
	return json_pack("{s:s,s:I,s:s,s:i,s:f,s:b,s:b}", "benchmark", kind, "size",
			 (json_int_t)plan->size, "wait", wait_name(plan->wait), "rounds",
			 effort->rounds, "rate", plan->rate, "in_place", plan->in_place,
			 "untouched", plan->untouched);
}

static void set_calm(json_t *object, int calm)
{
	json_object_set_new(object, "undisturbed_rounds", json_integer(calm));
}

static void set_ratio(json_t *object, const struct bench_spread *ratio)
{
	if (!ratio->count)
		return;
	json_object_set_new(object, "ratio", json_figure(ratio->median));
	json_object_set_new(object, "ratio_min", json_figure(ratio->min));
	json_object_set_new(object, "ratio_max", json_figure(ratio->max));
}

json_t *bench_json_trips(const struct bench_plan *plan, const struct bench_effort *effort,
			 const struct bench_trips *trips)
{
	json_t *object = json_plan("pair", plan, effort), *limit;

	json_object_set_new(object, "clients", json_integer(plan->pubs));
	json_object_set_new(object, "messages", json_integer((json_int_t)trips->bus.total));
	json_object_set_new(object, "rtt_ns", bench_json_percentiles(&trips->bus));
	if (trips->ratio.count) {
		limit = json_object();
		json_object_set_new(limit, "rtt_ns", bench_json_percentiles(&trips->limit));
		json_object_set_new(limit, "lines", json_integer(trips->lines));
		json_object_set_new(object, "limit", limit);
	}
	set_ratio(object, &trips->ratio);
	set_calm(object, trips->calm);
	if (plan->rate > 0)
		json_object_set_new(object, "late_ns", json_integer((json_int_t)trips->late_ns));
	return object;
}

static void set_rate(json_t *object, const struct bench_rate *rate)
{
	json_object_set_new(object, "messages_per_second", json_figure(rate->messages_per_second));
	json_object_set_new(object, "bytes_per_second", json_figure(rate->bytes_per_second));
}

static json_t *json_rate(const struct bench_rate *rate)
{
	json_t *object = json_object();

	set_rate(object, rate);
	return object;
}

json_t *bench_json_flow(const char *kind, const struct bench_plan *plan,
			const struct bench_effort *effort, const struct bench_flow *flow)
{
	json_t *object = json_plan(kind, plan, effort);

	json_object_set_new(object, "batch", json_integer(plan->batch));
	json_object_set_new(object, "pubs", json_integer(plan->pubs));
	json_object_set_new(object, "subs", json_integer(plan->subs));
	json_object_set_new(object, "messages", json_integer((json_int_t)flow->published));
	json_object_set_new(object, "deliveries", json_integer((json_int_t)flow->delivered));
	json_object_set_new(object, "lost", json_integer((json_int_t)flow->lost));
	set_rate(object, &flow->bus);
	json_object_set_new(object, "deliveries_per_second",
			    json_figure(flow->deliveries_per_second));
	if (flow->ratio.count) {
		json_object_set_new(object, "limit", json_rate(&flow->limit));
		set_ratio(object, &flow->ratio);
	}
	set_calm(object, flow->calm);
	if (flow->slot_ratio.count) {
		json_object_set_new(object, "slot_limit", json_rate(&flow->slot_limit));
		json_object_set_new(object, "slot_ratio", json_figure(flow->slot_ratio.median));
	}
	if (plan->rate > 0) {
		json_object_set_new(object, "latency_ns", bench_json_percentiles(&flow->latency));
		json_object_set_new(object, "late_ns", json_integer((json_int_t)flow->late_ns));
	}
	return object;
}

int bench_print_json(FILE *out, json_t *object)
{
	if (json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(6)) < 0 ||
	    fputc('\n', out) == EOF)
		return -1;
	return 0;
}

/* ---- CSV ---- */

static void print_names(FILE *out, const char *prefix, json_t *object, bool *first)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		char name[128];

		snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "_" : "", key);
		if (json_is_object(value)) {
			print_names(out, name, value, first);
			continue;
		}
		fprintf(out, "%s%s", *first ? "" : ",", name);
		*first = false;
	}
}

static void print_values(FILE *out, json_t *object, bool *first)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		if (json_is_object(value)) {
			print_values(out, value, first);
			continue;
		}
		fputs(*first ? "" : ",", out);
		*first = false;
		if (json_is_string(value))
			fputs(json_string_value(value), out);
		else
			json_dumpf(value, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
	}
}

void bench_print_csv(FILE *out, json_t *object)
{
	bool first = true;

	print_names(out, "", object, &first);
	fputc('\n', out);
	first = true;
	print_values(out, object, &first);
	fputc('\n', out);
}

/* ---- text ---- */

static void print_percentiles(FILE *out, const char *name, const struct bench_histogram *h)
{
	struct bench_percentiles p = bench_histogram_percentiles(h);

	fprintf(out, "%-26s %11s %11s %11s %11s %11s\n", name, tool_seconds((uint64_t)p.p50).s,
		tool_seconds((uint64_t)p.p90).s, tool_seconds((uint64_t)p.p99).s,
		tool_seconds((uint64_t)p.p999).s, tool_seconds((uint64_t)p.max).s);
}

static void print_percentile_names(FILE *out)
{
	fprintf(out, "%-26s %11s %11s %11s %11s %11s\n", "", "p50", "p90", "p99", "p99.9", "max");
}

static void print_ratio(FILE *out, const char *name, const struct bench_spread *ratio,
			const char *what)
{
	if (ratio->count)
		fprintf(out, "%-26s %11.2f   (%.2f to %.2f in %d rounds; 1 is the limit, %s)\n",
			name, ratio->median, ratio->min, ratio->max, ratio->count, what);
}

/* calm of all rounds were undisturbed. */
static void print_calm(FILE *out, int calm, int all)
{
	if (calm < all)
		fprintf(out,
			"Others used these processors in %d of %d rounds; %s. Repeat it on an idle machine.\n",
			all - calm, all,
			calm >= BENCH_CALM_ENOUGH ? "those were left out" : "the calmest were used");
}

static void print_late(FILE *out, const struct bench_plan *plan, uint64_t late_ns)
{
	if (plan->rate > 0)
		fprintf(out, "%-26s %11s   (counted in the latencies)\n", "latest send",
			tool_seconds(late_ns).s);
}

void bench_print_trips(FILE *out, const struct bench_plan *plan, const struct bench_effort *effort,
		       const struct bench_trips *trips)
{
	char limit[64];

	fprintf(out, "there and back, %s, %d pair%s, %s\n", tool_bytes(plan->size).s, plan->pubs,
		plan->pubs == 1 ? "" : "s", wait_name(plan->wait));
	print_percentile_names(out);
	print_percentiles(out, "round trip", &trips->bus);
	if (trips->lines)
		snprintf(limit, sizeof(limit), "limit: %d cache line%s", trips->lines,
			 trips->lines == 1 ? "" : "s");
	else
		snprintf(limit, sizeof(limit), "limit: futex, both asleep");
	if (trips->ratio.count)
		print_percentiles(out, limit, &trips->limit);
	print_ratio(out, "ratio of p50", &trips->ratio, "more is slower");
	print_late(out, plan, trips->late_ns);
	print_calm(out, trips->calm, effort->rounds);
}

static void print_rate(FILE *out, const char *name, const struct bench_rate *rate)
{
	fprintf(out, "%-26s %11s %13s/s\n", name, tool_count(rate->messages_per_second).s,
		tool_bytes((uint64_t)rate->bytes_per_second).s);
}

static void print_plan(FILE *out, const struct bench_plan *plan)
{
	fprintf(out, "one way, %s, %d publisher%s, %d subscriber%s, batches of %d, %s%s\n",
		tool_bytes(plan->size).s, plan->pubs, plan->pubs == 1 ? "" : "s", plan->subs,
		plan->subs == 1 ? "" : "s", plan->batch, wait_name(plan->wait),
		plan->untouched  ? ", untouched"
		: plan->in_place ? ", in place"
				 : "");
}

static const char *limit_name(const char *what)
{
	return strcmp(what, "streamed") == 0   ? "limit: live ring"
	       : strcmp(what, "replayed") == 0 ? "limit: plain reads"
					       : "limit: ideal ring";
}

void bench_print_flow(FILE *out, const char *what, const struct bench_plan *plan,
		      const struct bench_effort *effort, const struct bench_flow *flow)
{
	if (strcmp(what, "published") == 0)
		print_plan(out, plan);
	fprintf(out, "%-26s %11s %15s\n", "", "messages/s", "payload");
	print_rate(out, what, &flow->bus);
	if (plan->subs > 1)
		fprintf(out, "%-26s %11s\n", "delivered", tool_count(flow->deliveries_per_second).s);
	if (flow->ratio.count)
		print_rate(out, limit_name(what), &flow->limit);
	if (flow->slot_ratio.count)
		fprintf(out, "%-26s %11s\n", "limit: its slots alone",
			tool_count(flow->slot_limit.messages_per_second).s);
	print_ratio(out, "ratio", &flow->ratio, "less is slower");
	if (flow->lost)
		fprintf(out, "%-26s %11s\n", "lost", tool_count((double)flow->lost).s);
	if (plan->rate > 0) {
		print_percentile_names(out);
		print_percentiles(out, "publishing to receipt", &flow->latency);
	}
	print_late(out, plan, flow->late_ns);
	if (strcmp(what, "published") == 0)
		print_calm(out, flow->calm, effort->rounds);
}

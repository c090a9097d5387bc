/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figures.c - what `make bench` prints first: each figure that the bus promises, between two
 * processes, beside the limit that was measured in the same minute. Rounds take turns and are
 * short; docs/benchmarks.md says how to read it.
 *
 *	figures --busd PATH --bench PATH [--json FILE] [--table FILE] [--rounds N]
 */
#include "bench_busd.h"
#include "bench_costs.h"
#include "bench_measure.h"
#include "bench_pair.h"
#include "bench_table.h"

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Shorter than the scheduler's slice: whoever slept before gets a slice of its own, so that most
 * rounds are undisturbed even on a machine that others use.
 */
#define ROUND_NS       UINT64_C(2000000)
#define SLEEP_ROUND_NS UINT64_C(20000000)
#define MANY_ROUND_NS  UINT64_C(150000000) /* more processes than processors: many slices */
#define MANY_ROUNDS    15

static struct bench_busd busd;
static struct bench_table table;
static int rounds = 150;

static struct bench_plan plan_of(uint32_t size)
{
	static int number;
	static char topics[64][32];
	char *topic = topics[number++ % 64];

	snprintf(topic, sizeof(topics[0]), "bench.%d", number);
	return (struct bench_plan){ .socket = busd.socket,
				    .topic = topic,
				    .pubs = 1,
				    .subs = 1,
				    .size = size,
				    .batch = 1,
				    .wait = BENCH_SPIN };
}

static _Noreturn void failed(const char *name, const char *why)
{
	bench_busd_stop(&busd);
	errx(1, "%s: %s", name, why);
}

/* ---- against the limit ---- */

static void trips(const char *name, uint32_t size, enum bench_wait wait, double target)
{
	static struct bench_trips t;
	struct bench_plan plan = plan_of(size);
	struct bench_effort effort = { .rounds = rounds, .round_ns = ROUND_NS };
	struct bench_figure f = {
		.name = name, .unit = UNIT_NS, .kind = TARGET_AT_MOST, .target = target
	};
	const char *why;

	plan.pair = true;
	plan.wait = wait;
	if (wait == BENCH_SLEEP)
		effort = (struct bench_effort){ .rounds = rounds / 8 + 1, .round_ns = SLEEP_ROUND_NS };
	if (bench_measure_trips(&plan, &effort, &t, &why) < 0)
		failed(name, why);
	f.value = (double)bench_histogram_at(&t.bus, 50);
	f.limit = (double)bench_histogram_at(&t.limit, 50);
	f.limit_name = wait == BENCH_SLEEP ? "futex" : t.lines == 1 ? "1 line" : "2 lines";
	f.ratio = t.ratio;
	f.calm = t.calm;
	f.rounds = effort.rounds;
	if (wait == BENCH_SLEEP)
		f.kind = TARGET_NONE;
	bench_table_add(&table, &f);
	f = (struct bench_figure){ .name = "  its p99", .unit = UNIT_NS };
	f.value = (double)bench_histogram_at(&t.bus, 99);
	f.limit = (double)bench_histogram_at(&t.limit, 99);
	bench_table_add(&table, &f);
}

static void flow(const char *name, uint32_t size, bool in_place, double target)
{
	static struct bench_flow r;
	struct bench_plan plan = plan_of(size);
	struct bench_effort effort = { .rounds = rounds, .round_ns = ROUND_NS };
	struct bench_figure f = {
		.name = name, .kind = TARGET_AT_LEAST, .target = target, .limit_name = "ideal ring"
	};
	const char *why;

	plan.in_place = in_place;
	if (bench_measure_flow(&plan, &effort, &r, &why) < 0)
		failed(name, why);
	f.unit = in_place ? UNIT_BYTES_PER_SECOND : UNIT_PER_SECOND;
	f.value = in_place ? r.bus.bytes_per_second : r.bus.messages_per_second;
	f.limit = in_place ? r.limit.bytes_per_second : r.limit.messages_per_second;
	f.ratio = r.ratio;
	f.calm = r.calm;
	f.rounds = effort.rounds;
	if (target <= 0)
		f.kind = TARGET_NONE;
	bench_table_add(&table, &f);
	if (in_place)
		return;
	f.name = "  beside the ring of its slots alone";
	f.limit = r.slot_limit.messages_per_second;
	f.limit_name = "slots alone";
	f.ratio = r.slot_ratio;
	f.kind = TARGET_NONE;
	bench_table_add(&table, &f);
}

/* ---- one plan against another ---- */

/* What is compared of a round; *share falls to what it had of its processors. */
static double measure(struct bench_team *team, const struct bench_plan *plan, const char *name,
		      uint64_t ns, double *share)
{
	static struct bench_result round;
	const char *why;

	if (bench_team_round(team, ns, 0, &round, &why) < 0)
		failed(name, why);
	if (round.share < *share)
		*share = round.share;
	return plan->pair ? (double)bench_histogram_at(&round.h, 50)
			  : (double)round.delivered / round.seconds;
}

struct duel {
	double value[BENCH_ROUNDS_MAX], other[BENCH_ROUNDS_MAX], ratio[BENCH_ROUNDS_MAX];
	double share[BENCH_ROUNDS_MAX];
};

static void conclude(struct bench_figure *f, struct duel *d, int n)
{
	f->rounds = n;
	f->calm = bench_calm_count(d->share, n);
	bench_calm_first(d->value, d->share, n);
	bench_calm_first(d->other, d->share, n);
	n = bench_calm_first(d->ratio, d->share, n);
	f->value = bench_median(d->value, n);
	f->limit = bench_median(d->other, n);
	f->ratio.median = bench_median(d->ratio, n);
	f->ratio.min = d->ratio[0];
	f->ratio.max = d->ratio[n - 1];
	f->ratio.count = n;
	bench_table_add(&table, f);
}

/* plan's figure beside other's, in turn. */
static void versus(struct bench_figure *f, const struct bench_plan *plan,
		   const struct bench_plan *other, uint64_t ns)
{
	static struct duel d;
	struct bench_team *team, *other_team;
	const char *why;

	if (bench_team_start(&team, plan, &why) < 0 || bench_team_start(&other_team, other, &why) < 0)
		failed(f->name, why);
	measure(team, plan, f->name, ns, &d.share[0]);
	measure(other_team, other, f->name, ns, &d.share[0]);
	for (int i = 0; i < rounds; i++) {
		d.share[i] = 1;
		d.other[i] = measure(other_team, other, f->name, ns, &d.share[i]);
		d.value[i] = measure(team, plan, f->name, ns, &d.share[i]);
		d.ratio[i] = d.value[i] / d.other[i];
	}
	bench_team_stop(team);
	bench_team_stop(other_team);
	conclude(f, &d, rounds);
}

static void batches(void)
{
	struct bench_plan single = plan_of(64), batch = plan_of(64);
	struct bench_figure f = { .name = "one way, 64 bytes, batches of 16",
				  .unit = UNIT_PER_SECOND,
				  .limit_name = "single",
				  .kind = TARGET_AT_LEAST,
				  .target = 1.3 };

	batch.batch = 16;
	versus(&f, &batch, &single, ROUND_NS);
}

static void untouched(void)
{
	struct bench_plan large = plan_of(1 << 20), small = plan_of(64);
	struct bench_figure f = { .name = "round trip, 1 MiB handed over untouched",
				  .unit = UNIT_NS,
				  .limit_name = "64 bytes, copied and read",
				  .kind = TARGET_AT_MOST,
				  .target = 1.0 };

	large.pair = small.pair = true;
	large.untouched = large.in_place = true;
	large.bytes = 64 << 20; /* sixty-four messages: a cursor for each eight */
	versus(&f, &large, &small, ROUND_NS);
}

static void subscribers(const char *name, int many)
{
	struct bench_plan one = plan_of(64), more = plan_of(64);
	struct bench_figure f = { .name = name,
				  .unit = UNIT_PER_SECOND,
				  .limit_name = "1 subscriber",
				  .kind = TARGET_AT_LEAST,
				  .target = 1.0 };
	int all = rounds;

	/*
	 * The same way of waiting for both: where there are more processes than processors nobody
	 * can spin.
	 */
	one.wait = more.wait = BENCH_ADAPTIVE;
	more.subs = many;
	rounds = rounds < MANY_ROUNDS ? rounds : MANY_ROUNDS;
	versus(&f, &more, &one, MANY_ROUND_NS);
	rounds = all;
}

/* ---- the whole ---- */

static void memory_speed(void)
{
	struct bench_copy_rate rate;
	struct bench_figure f = { .name = "memcpy in cache (16 KiB)", .unit = UNIT_BYTES_PER_SECOND };

	if (bench_limit_memcpy(200000000, &rate) < 0)
		errx(1, "no memory for memcpy");
	f.value = rate.in_cache;
	bench_table_add(&table, &f);
	f.name = "memcpy to memory (64 MiB)";
	f.value = rate.to_memory;
	bench_table_add(&table, &f);
}

static void measure_all(const char *bench_program)
{
	bench_table_part(&table, "Round trip between two processes, p50");
	trips("round trip, 24 bytes (inline), both awake", 24, BENCH_SPIN, 1.5);
	trips("round trip, 64 bytes, both awake", 64, BENCH_SPIN, 1.5);
	untouched();
	trips("round trip, 64 bytes, both asleep", 64, BENCH_SLEEP, 0);

	bench_table_part(&table, "One way, a publisher and a subscriber");
	flow("one way, 64 bytes, single", 64, false, 0.8);
	flow("one way, 24 bytes (inline), single", 24, false, 0);
	batches();
	flow("one way, 1 KiB, written in place, read once", 1024, true, 0.8);
	flow("one way, 64 KiB, written in place, read once", 65536, true, 0.8);
	memory_speed();

	bench_table_part(&table, "Deliveries per second to several subscribers");
	subscribers("4 subscribers", 4);
	subscribers("16 subscribers", 16);

	bench_table_part(&table, "Costs");
	bench_cost_open(&table, &busd);
	bench_cost_memory(&table, &busd);
	bench_cost_system_calls(&table, &busd, bench_program);
	bench_cost_busd_cpu(&table, &busd, UINT64_C(5000000000));
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "busd", required_argument, NULL, 'd' },
		{ "bench", required_argument, NULL, 'b' },
		{ "json", required_argument, NULL, 'j' },
		{ "table", required_argument, NULL, 't' },
		{ "rounds", required_argument, NULL, 'r' },
		{ 0 },
	};
	const char *program = "build/busd", *bench = "build/bus-bench", *json = NULL, *rows = NULL;
	int opt, a, b, below, disturbed;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			program = optarg;
			break;
		case 'b':
			bench = optarg;
			break;
		case 'j':
			json = optarg;
			break;
		case 't':
			rows = optarg;
			break;
		case 'r':
			rounds = atoi(optarg);
			break;
		default:
			return 2;
		}
	}
	if (rounds < 5 || rounds > BENCH_ROUNDS_MAX)
		errx(2, "--rounds: 5 to %d", BENCH_ROUNDS_MAX);
	if (bench_two_cpus(&a, &b) < 2)
		errx(1, "two processors are needed, this process may use one");
	bench_busd_start(&busd, program);
	bench_table_begin(&table);
	measure_all(bench);
	bench_busd_stop(&busd);
	disturbed = table.disturbed;
	below = bench_table_end(&table, json, rows);
	printf("\n%d figure%s BELOW target", below, below == 1 ? "" : "s");
	if (disturbed)
		printf("; %d measured while others used the processors: repeat them on an idle machine",
		       disturbed);
	printf("\n");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_measure.c - see bench_measure.h.
 */
#include "bench_measure.h"

#include "bench_pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN_SLOT_MAX   24 /* payload that bus.h's ring carries in the slot itself */
#define DEFAULT_BYTES (256u << 10)
#define WARM_UP_NS    20000000u

int bench_lines(uint32_t size)
{
	return size <= IN_SLOT_MAX ? 1 : 1 + (int)((size + BENCH_LINE - 1) / BENCH_LINE);
}

/*
 * A message may take a quarter of the ring at most; a larger one would have the ring replaced while
 * it is measured.
 */
static struct bench_plan with_room(const struct bench_plan *plan)
{
	struct bench_plan with = *plan;

	if (with.bytes == 0 && with.size > DEFAULT_BYTES / 4) {
		with.bytes = DEFAULT_BYTES;
		while (with.bytes < 4 * (uint64_t)with.size)
			with.bytes *= 2;
	}
	return with;
}

static struct bench_spread spread_of(double *values, int n)
{
	struct bench_spread s = { .count = n };

	if (n == 0)
		return s;
	s.median = bench_median(values, n);
	s.min = values[0];
	s.max = values[n - 1];
	return s;
}

static double median_of(double *values, int n)
{
	return n ? bench_median(values, n) : 0;
}

int bench_calm_count(const double *shares, int n)
{
	int calm = 0;

	for (int i = 0; i < n; i++)
		calm += shares[i] >= BENCH_CALM_SHARE;
	return calm;
}

/* The share from which on a round is used. */
static double calm_from(const double *shares, int n)
{
	double sorted[BENCH_ROUNDS_MAX];
	int few = n / 10 > BENCH_CALM_ENOUGH ? n / 10 : BENCH_CALM_ENOUGH;

	if (bench_calm_count(shares, n) >= BENCH_CALM_ENOUGH)
		return BENCH_CALM_SHARE;
	if (n <= few)
		return 0;
	memcpy(sorted, shares, (size_t)n * sizeof(*shares));
	bench_median(sorted, n); /* sorts */
	return sorted[n - few];
}

int bench_calm_first(double *values, const double *shares, int n)
{
	double from = calm_from(shares, n);
	int calm = 0;

	for (int i = 0; i < n; i++) {
		double kept = values[i];

		if (shares[i] < from)
			continue;
		values[i] = values[calm];
		values[calm++] = kept;
	}
	return calm;
}

static int limit_failed(int err, const char **why)
{
	*why = "the limit could not be measured: its second process failed, or memory is short";
	return err;
}

/* Whoever counts messages wants those and no others. */
static int warm_up(struct bench_team *team, const struct bench_effort *effort,
		   struct bench_result *round, const char **why)
{
	return effort->count ? 0 : bench_team_round(team, WARM_UP_NS, 0, round, why);
}

/* Ends it; the words of a failed one are kept. */
static void end_team(struct bench_team *team, int err, const char **why)
{
	static char kept[320];

	if (err) {
		snprintf(kept, sizeof(kept), "%s", *why);
		*why = kept;
	}
	bench_team_stop(team);
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

/* ---- round trips ---- */

struct trip_rounds {
	struct bench_histogram calm_bus, calm_limit; /* of those that nobody disturbed */
	double ratios[BENCH_ROUNDS_MAX], shares[BENCH_ROUNDS_MAX];
	int n;
};

static int trip_round(struct bench_team *team, const struct bench_effort *effort,
		      struct bench_trips *ret, struct trip_rounds *all, const char **why)
{
	static struct bench_result round;
	static struct bench_histogram limit;
	double share = 1;
	int err = 0;

	bench_histogram_reset(&limit);
	if (!effort->no_limit && ret->lines)
		err = bench_limit_round_trip(ret->lines, effort->round_ns, &limit);
	else if (!effort->no_limit)
		err = bench_limit_asleep(effort->round_ns, &limit);
	if (err)
		return limit_failed(err, why);
	if (!effort->no_limit && ret->lines)
		share = bench_two_share();
	err = bench_team_round(team, effort->round_ns, effort->count, &round, why);
	if (err)
		return err;
	share = least(share, round.share);
	bench_histogram_add(&ret->bus, &round.h);
	bench_histogram_add(&ret->limit, &limit);
	if (share >= BENCH_CALM_SHARE) {
		bench_histogram_add(&all->calm_bus, &round.h);
		bench_histogram_add(&all->calm_limit, &limit);
	}
	all->shares[all->n] = share;
	all->ratios[all->n++] =
		(double)bench_histogram_at(&round.h, 50) / (double)bench_histogram_at(&limit, 50);
	if (round.late_ns > ret->late_ns)
		ret->late_ns = round.late_ns;
	return 0;
}

int bench_measure_trips(const struct bench_plan *plan, const struct bench_effort *effort,
			struct bench_trips *ret, const char **why)
{
	static struct bench_result first;
	static struct trip_rounds all;
	struct bench_plan with = with_room(plan);
	struct bench_team *team;
	int err;

	memset(ret, 0, sizeof(*ret));
	bench_histogram_reset(&ret->bus);
	bench_histogram_reset(&ret->limit);
	bench_histogram_reset(&all.calm_bus);
	bench_histogram_reset(&all.calm_limit);
	all.n = 0;
	ret->lines = plan->wait == BENCH_SPIN ? bench_lines(plan->untouched ? 0 : plan->size) : 0;
	err = bench_team_start(&team, &with, why);
	if (err)
		return err;
	err = warm_up(team, effort, &first, why);
	for (int i = 0; i < effort->rounds && !err; i++)
		err = trip_round(team, effort, ret, &all, why);
	end_team(team, err, why);
	ret->calm = bench_calm_count(all.shares, all.n);
	if (ret->calm >= BENCH_CALM_ENOUGH) {
		ret->bus = all.calm_bus;
		ret->limit = all.calm_limit;
	}
	all.n = bench_calm_first(all.ratios, all.shares, all.n);
	ret->ratio = spread_of(all.ratios, effort->no_limit ? 0 : all.n);
	return err;
}

/* ---- one way ---- */

/* Figures of each round, until their medians are taken. */
struct flow_rounds {
	int n;
	double bus[BENCH_ROUNDS_MAX], deliveries[BENCH_ROUNDS_MAX];
	double limit[BENCH_ROUNDS_MAX], slot_limit[BENCH_ROUNDS_MAX];
	double ratio[BENCH_ROUNDS_MAX], slot_ratio[BENCH_ROUNDS_MAX];
	double share[BENCH_ROUNDS_MAX];
};

static int measure_limits(const struct bench_plan *plan, struct bench_team_ring ring, uint64_t ns,
			  struct bench_rate *limit, struct bench_rate *slot_limit, double *share)
{
	struct bench_ring_shape shape = {
		.slots = ring.slots,
		.bytes = ring.bytes,
		.size = plan->size,
		.batch = (uint32_t)plan->batch,
		.in_place = plan->in_place,
		.untouched = plan->untouched,
	};
	int err;

	while (shape.batch > 1 && (uint64_t)(shape.size + BENCH_LINE) * shape.batch > shape.bytes / 2)
		shape.batch /= 2;
	err = bench_limit_ring(&shape, ns, limit);
	if (err)
		return err;
	*share = bench_two_share();
	shape.size = BENCH_RING_IN_SLOT;
	err = bench_limit_ring(&shape, ns, slot_limit);
	*share = least(*share, bench_two_share());
	return err;
}

static int flow_round(struct bench_team *team, const struct bench_plan *plan,
		      const struct bench_effort *effort, struct bench_flow *ret,
		      struct flow_rounds *all, const char **why)
{
	static struct bench_result round;
	struct bench_rate limit = { 0 }, slot_limit = { 0 };
	int err = 0, i = all->n;
	double share = 1;

	if (!effort->no_limit)
		err = measure_limits(plan, ret->ring, effort->round_ns, &limit, &slot_limit, &share);
	if (err)
		return limit_failed(err, why);
	err = bench_team_round(team, effort->round_ns, effort->count, &round, why);
	if (err)
		return err;
	if (round.seconds <= 0) {
		*why = "a round was too short to be measured: give more messages or more time";
		return -ERANGE;
	}
	all->share[i] = least(share, round.share);
	all->bus[i] = (double)round.published / round.seconds;
	all->deliveries[i] = (double)round.delivered / round.seconds;
	all->limit[i] = limit.messages_per_second;
	all->slot_limit[i] = slot_limit.messages_per_second;
	if (!effort->no_limit) {
		all->ratio[i] = all->bus[i] / all->limit[i];
		all->slot_ratio[i] = all->bus[i] / all->slot_limit[i];
	}
	all->n++;
	ret->published += round.published;
	ret->delivered += round.delivered;
	ret->lost += round.lost;
	if (round.late_ns > ret->late_ns)
		ret->late_ns = round.late_ns;
	bench_histogram_add(&ret->latency, &round.h);
	return 0;
}

static void conclude(const struct bench_plan *plan, const struct bench_effort *effort,
		     struct flow_rounds *all, struct bench_flow *ret)
{
	double *const series[] = { all->bus,        all->deliveries, all->limit,
				   all->slot_limit, all->ratio,      all->slot_ratio };
	int n = 0, limits;

	ret->calm = bench_calm_count(all->share, all->n);
	for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++)
		n = bench_calm_first(series[i], all->share, all->n);
	limits = effort->no_limit ? 0 : n;
	ret->bus.messages_per_second = median_of(all->bus, n);
	ret->bus.bytes_per_second = ret->bus.messages_per_second * plan->size;
	ret->deliveries_per_second = median_of(all->deliveries, n);
	ret->limit.messages_per_second = median_of(all->limit, limits);
	ret->limit.bytes_per_second = ret->limit.messages_per_second * plan->size;
	ret->slot_limit.messages_per_second = median_of(all->slot_limit, limits);
	ret->slot_limit.bytes_per_second = ret->slot_limit.messages_per_second * plan->size;
	ret->ratio = spread_of(all->ratio, limits);
	ret->slot_ratio = spread_of(all->slot_ratio, limits);
}

int bench_measure_flow(const struct bench_plan *plan, const struct bench_effort *effort,
		       struct bench_flow *ret, const char **why)
{
	static struct bench_result first;
	static struct flow_rounds all;
	struct bench_plan with = with_room(plan);
	struct bench_team *team;
	int err;

	memset(ret, 0, sizeof(*ret));
	all.n = 0;
	bench_histogram_reset(&ret->latency);
	err = bench_team_start(&team, &with, why);
	if (err)
		return err;
	ret->ring = bench_team_ring(team);
	err = warm_up(team, effort, &first, why);
	for (int i = 0; i < effort->rounds && !err; i++)
		err = flow_round(team, plan, effort, ret, &all, why);
	end_team(team, err, why);
	conclude(plan, effort, &all, ret);
	return err;
}

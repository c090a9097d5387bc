/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_measure.h - a figure of the bus beside its limit: rounds of both take turns, the ratio is
 * the median of the ratios of neighbours. Used by bus-bench and by bench/.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "bench_histogram.h"
#include "bench_limits.h"
#include "bench_team.h"

struct bench_effort {
	int rounds;        /* of each, 1 to BENCH_ROUNDS_MAX */
	uint64_t round_ns; /* of one */
	uint64_t count;    /* messages of each publisher in one, instead; 0: by time */
	bool no_limit;
};
#define BENCH_ROUNDS_MAX 1000

struct bench_spread {
	double median, min, max;
	int count; /* 0: there is no such figure */
};

/* Round trips. The histograms are of all rounds together. */
struct bench_trips {
	struct bench_histogram bus, limit;
	/* p50 of the bus by p50 of the limit: 1 is the limit, more is slower */
	struct bench_spread ratio;
	int calm;  /* rounds that nobody else disturbed */
	int lines; /* handed over raw for the limit; 0: both asleep, one word */
	uint64_t late_ns;
};

/* One way. Medians of the rounds. */
struct bench_flow {
	struct bench_rate bus;        /* published */
	double deliveries_per_second; /* over all subscribers */
	/* ideal ring that moves what the bus moves: a slot, and the payload's lines */
	struct bench_rate limit;
	struct bench_rate slot_limit;          /* ideal ring of the slots alone */
	struct bench_spread ratio, slot_ratio; /* bus by limit: 1 is the limit, less is slower */
	struct bench_histogram latency;        /* with a rate */
	uint64_t published, delivered, lost;
	int calm; /* as above */
	uint64_t late_ns;
	struct bench_team_ring ring;
};

/*
 * Rounds that others disturbed are left out. values[] are those of n rounds, shares[] what each had
 * of its processors: the calm ones are moved to the front, and their number is returned. Where
 * fewer than BENCH_CALM_ENOUGH were undisturbed it is the calmest tenth (at least so many).
 * bench_calm_count(): how many were truly undisturbed.
 */
#define BENCH_CALM_ENOUGH 5
int bench_calm_first(double *values, const double *shares, int n);
int bench_calm_count(const double *shares, int n);

/*
 * Cache lines that a message occupies on the bus: its slot, and its payload unless that fits into
 * the slot.
 */
int bench_lines(uint32_t size);

/* 0 or a negative errno, *why says what failed. The plan's ring is made large enough for its messages where it says
 * nothing else. */
int bench_measure_trips(const struct bench_plan *plan, const struct bench_effort *effort,
			struct bench_trips *ret, const char **why);
int bench_measure_flow(const struct bench_plan *plan, const struct bench_effort *effort,
		       struct bench_flow *ret, const char **why);

#endif

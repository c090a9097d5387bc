/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calibrate.c - see calibrate.h
 *
 * The rate comes from CLOCK_MONOTONIC over the whole interval since the last calibration, so it
 * follows what NTP does to the rate. The new line begins where the old one is now, and is bent so
 * that it meets the real time a minute later: time stamps do not step back. Only where the clock
 * was set (more than 10 ms off) does the line step as well.
 */
#include "calibrate.h"

#include <stdio.h>
#include <string.h>

#define FIRST_NS   UINT64_C(10000000)
#define STEP_NS    INT64_C(10000000)
#define TRIES      8
#define MULT_SHIFT 32

struct instant {
	uint64_t counter, monotonic_ns, unix_ns;
};

/* All three at one moment: the try in which the clocks were read within the fewest ticks counts. */
static struct instant now(void)
{
	struct instant best = { 0 };
	uint64_t least = UINT64_MAX;
	int i;

	for (i = 0; i < TRIES; i++) {
		struct instant at;
		uint64_t before = bus_counter();
		uint64_t after;

		at.monotonic_ns = bus_monotonic_ns();
		at.unix_ns = bus_realtime_ns();
		after = bus_counter();
		at.counter = before + (after - before) / 2;
		if (after - before < least) {
			least = after - before;
			best = at;
		}
	}
	return best;
}

static uint64_t rate(uint64_t ns, uint64_t ticks)
{
	return ticks ? (uint64_t)(((unsigned __int128)ns << MULT_SHIFT) / ticks)
		     : UINT64_C(1) << MULT_SHIFT;
}

void calibrate_start(struct calibrator *calibrator)
{
	struct instant first = now();
	struct timespec pause = { .tv_nsec = FIRST_NS };
	struct instant second;

	nanosleep(&pause, NULL);
	second = now();
	calibrator->now.base_counter = second.counter;
	calibrator->now.base_ns = second.unix_ns;
	calibrator->now.mult =
		rate(second.monotonic_ns - first.monotonic_ns, second.counter - first.counter);
	calibrator->anchor_counter = second.counter;
	calibrator->anchor_ns = second.monotonic_ns;
}

void calibrate_again(struct calibrator *calibrator)
{
	struct bus_calibration *cal = &calibrator->now;
	struct instant at = now();
	uint64_t ticks = at.counter - calibrator->anchor_counter;
	uint64_t ns = at.monotonic_ns - calibrator->anchor_ns;
	uint64_t said_ns = bus_counter_to_ns(cal, at.counter);
	int64_t behind_ns = (int64_t)(at.unix_ns - said_ns);
	uint64_t true_mult;

	if (ticks == 0 || ns < FIRST_NS)
		return;
	true_mult = rate(ns, ticks);
	calibrator->anchor_counter = at.counter;
	calibrator->anchor_ns = at.monotonic_ns;
	cal->base_counter = at.counter;
	if (behind_ns > STEP_NS || behind_ns < -STEP_NS) {
		cal->base_ns = at.unix_ns;
		cal->mult = true_mult;
		return;
	}
	cal->base_ns = said_ns;
	/* at most 10 ms in 60 s: 170 ppm of the rate */
	cal->mult = (uint64_t)((__int128)true_mult +
			       (__int128)true_mult * behind_ns / (__int128)CALIBRATE_EVERY_NS);
}

const char *calibrate_doubt(void)
{
#if defined(__x86_64__)
	char line[4096];
	FILE *file = fopen("/proc/cpuinfo", "re");
	const char *doubt =
		"the kernel does not say that the processor's counter has a constant rate";

	if (!file)
		return doubt;
	while (doubt && fgets(line, sizeof(line), file))
		if (strncmp(line, "flags", 5) == 0 && strstr(line, " constant_tsc"))
			doubt = NULL;
	fclose(file);
	return doubt;
#else
	return NULL;
#endif
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_team.h - the processes that a measurement on the bus is made with. Each connects on its
 * own; they live for many rounds, asleep between them, so that rounds on the bus and rounds of the
 * limit can take turns.
 *
 *	bench_team_start(&team, &plan);           processes started, connected, topics open
 *	bench_team_round(team, ns, 0, &result);   as often as wanted
 *	bench_team_stop(team);
 */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

#include "bench_histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_TEAM_MAX 64 /* processes */

enum bench_wait { BENCH_SPIN, BENCH_SLEEP, BENCH_ADAPTIVE };

struct bench_plan {
	const char *socket; /* NULL: as bus_connect() finds it */
	const char *topic;  /* pair: two topics of each pair begin with it */
	bool pair;          /* there and back; else one way */
	int pubs, subs;     /* one way; pair: pubs pairs, subs unused */
	uint32_t size;      /* of a message */
	int batch;          /* one way: messages of one bus_pub_send_batch(), 1: bus_pub_send() */
	bool in_place;      /* claim, make the bytes there, commit; else copied by the library */
	bool untouched;     /* claim and commit; nobody writes or reads the bytes */
	enum bench_wait wait;
	/* a second for each publisher or pair, at fixed times; 0: as fast as it goes */
	double rate;
	uint32_t slots; /* of each ring; 0: the default */
	uint64_t bytes;
};

struct bench_result {
	uint64_t published, delivered, lost;
	double seconds; /* from the first message's publishing to the last one's release */
	/* pair: round trips; one way with a rate: publishing to receipt; ns */
	struct bench_histogram h;
	double share;     /* the least that a spinning process had of its processor */
	uint64_t late_ns; /* with a rate: the most that a send was behind its time */
};

struct bench_team;

/* What the first publisher's ring is like, for the limit to be of the same shape. */
struct bench_team_ring {
	uint32_t slots;
	uint64_t bytes;
};

/*
 * 0, or a negative errno: *why (as long as the team, or static) says what failed. A failed team is
 * stopped.
 */
int bench_team_start(struct bench_team **ret, const struct bench_plan *plan, const char **why);

/* About ns of it, or count messages of each publisher where count is not 0. Errors as above; the team is then to be
 * stopped. */
int bench_team_round(struct bench_team *team, uint64_t ns, uint64_t count, struct bench_result *ret,
		     const char **why);

struct bench_team_ring bench_team_ring(const struct bench_team *team);
/* Process ids, publishers (or the near ends) first. Returns how many. */
int bench_team_pids(const struct bench_team *team, pid_t *pids, int max);
void bench_team_stop(struct bench_team *team);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_worker.h - one process of a bench_team: what it shares with the others, and what it does in
 * a round.
 */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include "bench_pair.h"
#include "bench_team.h"

#include <bus.h>

enum bench_role { ROLE_PUBLISH, ROLE_SUBSCRIBE, ROLE_NEAR, ROLE_FAR };

/* What one process tells the others; written by it alone. */
struct bench_report {
	/* + 1, once this round's last message has been sent; 0 before */
	uint64_t published, pad0[15];
	uint64_t received, lost;
	uint64_t begin_ns, end_ns;
	uint64_t late_ns;
	double share; /* of its processor, where it spins */
	struct bench_histogram h;
	struct bench_team_ring ring;
	char error[256];
	int status; /* negative errno */
};

/* Shared by all processes of a team. */
struct bench_stage {
	uint64_t ready,
		pad0[15];   /* processes that stand at the start of this round; added to by each */
	uint64_t ns, count; /* of the round, written by the parent between rounds */
	int workers, pubs;
	struct bench_report report[];
};

struct bench_worker {
	struct bench_plan plan;
	struct bench_stage *stage;
	enum bench_role role;
	int index; /* of its report; publishers and near ends come first */
	int cpu;   /* -1: wherever */
	int pipe;  /* commands from the parent, answers to it: a byte each */
};

enum { BENCH_COMMAND_OPEN = 'o', BENCH_COMMAND_RUN = 'r', BENCH_ANSWER_DONE = 'd' };

/* The whole life of the process. */
_Noreturn void bench_worker_live(const struct bench_worker *worker);

/* Opened by bench_worker.c, used by what it calls in a round. */
struct bench_ends {
	const struct bench_worker *worker;
	struct bench_report *mine;
	struct bus *bus;
	struct bus_pub *pub;
	struct bus_sub *sub;
	uint64_t sent, taken; /* since the beginning, over all rounds */
	struct bus_msg *msgs;
	uint64_t sum;
	/* of the plan, for the loops */
	uint32_t size;
	bool touch; /* bytes are read */
	bool check; /* the first word is compared: not where it is a time, or publishers mix */
	bool made;  /* in place, from the message's own number */
};

/* bench_round.c: a round of each role. */
struct bench_source;
void bench_round_publish(struct bench_ends *e, const struct bench_source *source);
void bench_round_subscribe(struct bench_ends *e, const struct bench_source *source);
void bench_round_near(struct bench_ends *e, const struct bench_source *source);
void bench_round_far(struct bench_ends *e, const struct bench_source *source);

#define BENCH_PEEK_MAX 64

/* Ends the process; the parent says why. */
_Noreturn void bench_worker_fail(const struct bench_ends *e, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif

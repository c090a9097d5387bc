/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_team.c - see bench_team.h: starts the processes, opens their ends in order, lets them run a
 * round.
 */
#include "bench_team.h"

#include "bench_pair.h"
#include "bench_worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_WITHIN_MS 30000 /* beyond the length of a round */

struct bench_team {
	struct bench_plan plan;
	struct bench_stage *stage;
	size_t stage_bytes;
	int workers;
	pid_t pid[BENCH_TEAM_MAX];
	int pipe[BENCH_TEAM_MAX];
	char why[320];
};

static int pubs_of(const struct bench_plan *plan)
{
	return plan->pubs;
}

static int workers_of(const struct bench_plan *plan)
{
	return plan->pair ? 2 * plan->pubs : plan->pubs + plan->subs;
}

static enum bench_role role_of(const struct bench_plan *plan, int i)
{
	if (plan->pair)
		return i < plan->pubs ? ROLE_NEAR : ROLE_FAR;
	return i < plan->pubs ? ROLE_PUBLISH : ROLE_SUBSCRIBE;
}

/* One processor each where there are enough of them: the first publisher on the first, the first reader on the second.
 * Otherwise the kernel's scheduler decides, as it does for a user. */
static int cpu_of(const struct bench_plan *plan, int i)
{
	int a, b;

	if (bench_two_cpus(&a, &b) < 2 || workers_of(plan) > 2)
		return -1;
	return i == 0 ? a : b;
}

static int start_worker(struct bench_team *team, int i)
{
	struct bench_worker worker = { .plan = team->plan,
				       .stage = team->stage,
				       .role = role_of(&team->plan, i),
				       .index = i,
				       .cpu = cpu_of(&team->plan, i) };
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	fflush(NULL);
	team->pid[i] = fork();
	if (team->pid[i] < 0) {
		close(ends[0]);
		close(ends[1]);
		return -errno;
	}
	if (team->pid[i] == 0) {
		/* The others' pipes: one that stays open here hides their end from the parent. */
		for (int k = 0; k < i; k++)
			close(team->pipe[k]);
		close(ends[0]);
		worker.pipe = ends[1];
		bench_worker_live(&worker);
	}
	close(ends[1]);
	team->pipe[i] = ends[0];
	team->workers++;
	return 0;
}

/* Why worker i went without an answer. */
static int went_away(struct bench_team *team, int i)
{
	struct bench_report *report = &team->stage->report[i];

	report->error[sizeof(report->error) - 1] = '\0';
	if (report->error[0])
		snprintf(team->why, sizeof(team->why), "%s", report->error);
	else
		snprintf(team->why, sizeof(team->why), "process %d of the measurement died",
			 (int)team->pid[i]);
	return report->status < 0 ? report->status : -ECHILD;
}

/* The answers of workers first to last. One that dies ends it: the others may be waiting for it. */
static int await_answers(struct bench_team *team, int first, int last, int timeout_ms)
{
	struct pollfd p[BENCH_TEAM_MAX];
	int left = last - first + 1;
	char answer;

	for (int i = 0; i < left; i++)
		p[i] = (struct pollfd){ .fd = team->pipe[first + i], .events = POLLIN };
	while (left > 0) {
		int n = poll(p, (nfds_t)(last - first + 1), timeout_ms);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			snprintf(team->why, sizeof(team->why),
				 "%d processes of the measurement did not answer in time", left);
			return -ETIMEDOUT;
		}
		for (int i = 0; i <= last - first; i++) {
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			if (read(p[i].fd, &answer, 1) != 1)
				return went_away(team, first + i);
			p[i].fd = -1; /* poll() passes over it */
			left--;
		}
	}
	return 0;
}

static int command_one(struct bench_team *team, int i, char command)
{
	if (send(team->pipe[i], &command, 1, MSG_NOSIGNAL) == 1)
		return 0;
	return went_away(team, i);
}

/* Subscribers first: what is published from the first message on has somebody to read it. */
static int open_all(struct bench_team *team)
{
	int err = 0;

	for (int i = team->workers - 1; i >= 0 && !err; i--) {
		err = command_one(team, i, BENCH_COMMAND_OPEN);
		if (!err)
			err = await_answers(team, i, i, ANSWER_WITHIN_MS);
	}
	return err;
}

int bench_team_start(struct bench_team **ret, const struct bench_plan *plan, const char **why)
{
	static char last_why[320];
	struct bench_team *team;
	int count = workers_of(plan), err = 0;

	*why = last_why;
	snprintf(last_why, sizeof(last_why), "more than %d processes", BENCH_TEAM_MAX);
	if (count < 1 || count > BENCH_TEAM_MAX)
		return -EINVAL;
	team = calloc(1, sizeof(*team));
	snprintf(last_why, sizeof(last_why), "no memory");
	if (!team)
		return -ENOMEM;
	team->plan = *plan;
	team->stage_bytes = sizeof(*team->stage) + (size_t)count * sizeof(team->stage->report[0]);
	team->stage = bench_shared(team->stage_bytes);
	if (!team->stage) {
		free(team);
		return -ENOMEM;
	}
	team->stage->workers = count;
	team->stage->pubs = pubs_of(plan);
	bench_ns_per_tick();
	for (int i = 0; i < count && !err; i++)
		err = start_worker(team, i);
	if (err)
		snprintf(team->why, sizeof(team->why), "cannot start a process: %s", strerror(-err));
	if (!err)
		err = open_all(team);
	if (err) {
		memcpy(last_why, team->why, sizeof(last_why));
		bench_team_stop(team);
		return err;
	}
	*ret = team;
	return 0;
}

static void gather(const struct bench_team *team, struct bench_result *ret)
{
	uint64_t begin = UINT64_MAX, end = 0;

	memset(ret, 0, sizeof(*ret));
	bench_histogram_reset(&ret->h);
	ret->share = 1;
	for (int i = 0; i < team->workers; i++) {
		const struct bench_report *r = &team->stage->report[i];
		bool sends = i < team->stage->pubs;

		if (sends) {
			ret->published += r->published - 1;
			begin = r->begin_ns < begin ? r->begin_ns : begin;
		}
		/* Nobody receives: it is over when the last was sent. */
		if (!sends || team->workers == team->stage->pubs)
			end = r->end_ns > end ? r->end_ns : end;
		if (!sends)
			ret->delivered += r->received;
		ret->lost += r->lost;
		ret->share = r->share < ret->share ? r->share : ret->share;
		ret->late_ns = r->late_ns > ret->late_ns ? r->late_ns : ret->late_ns;
		if (r->h.total)
			bench_histogram_add(&ret->h, &r->h);
	}
	ret->seconds = end > begin ? (double)(end - begin) / 1e9 : 0;
}

int bench_team_round(struct bench_team *team, uint64_t ns, uint64_t count, struct bench_result *ret,
		     const char **why)
{
	int timeout_ms = ANSWER_WITHIN_MS + (int)(ns / 1000000), err = 0;

	*why = team->why;
	team->stage->ns = ns;
	team->stage->count = count;
	team->stage->ready = 0;
	for (int i = 0; i < team->workers && !err; i++)
		err = command_one(team, i, BENCH_COMMAND_RUN);
	if (!err)
		err = await_answers(team, 0, team->workers - 1, timeout_ms);
	if (!err)
		gather(team, ret);
	return err;
}

struct bench_team_ring bench_team_ring(const struct bench_team *team)
{
	return team->stage->report[0].ring;
}

int bench_team_pids(const struct bench_team *team, pid_t *pids, int max)
{
	int n = team->workers < max ? team->workers : max;

	memcpy(pids, team->pid, (size_t)n * sizeof(*pids));
	return n;
}

void bench_team_stop(struct bench_team *team)
{
	if (!team)
		return;
	/* They leave when their pipe ends; one that is stuck in a round is not waited for. */
	for (int i = 0; i < team->workers; i++) {
		shutdown(team->pipe[i], SHUT_RDWR); /* workers of another team hold it, too */
		close(team->pipe[i]);
	}
	for (int i = 0; i < team->workers; i++) {
		for (int ms = 0; ms < 2000 && waitpid(team->pid[i], NULL, WNOHANG) == 0; ms += 2) {
			if (ms == 1000)
				kill(team->pid[i], SIGKILL);
			usleep(2000);
		}
	}
	bench_shared_free(team->stage, team->stage_bytes);
	free(team);
}

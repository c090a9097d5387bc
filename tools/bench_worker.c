/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_worker.c - see bench_worker.h: the life of one process, rounds excepted (bench_round.c).
 */
#include "bench_worker.h"

#include "bench_message.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

void bench_worker_fail(const struct bench_ends *e, int err, const char *format, ...)
{
	struct bench_report *mine = e->mine;
	va_list args;

	va_start(args, format);
	vsnprintf(mine->error, sizeof(mine->error), format, args);
	va_end(args);
	mine->status = err;
	_exit(1);
}

static void topic_name(char *to, size_t size, const struct bench_worker *w, const char *which)
{
	int number = w->role == ROLE_FAR ? w->index - w->stage->pubs : w->index;

	if (!w->plan.pair)
		snprintf(to, size, "%s", w->plan.topic);
	else
		snprintf(to, size, "%s.%s.%d", w->plan.topic, which, number);
}

static void open_sub(struct bench_ends *e, const char *topic)
{
	static const int64_t spin_ns[] = { [BENCH_SPIN] = -1, [BENCH_SLEEP] = 1, [BENCH_ADAPTIVE] = 0 };
	struct bus_sub_opts opts = { .size = sizeof(opts), .spin_ns = spin_ns[e->worker->plan.wait] };
	int err = bus_sub_open(&e->sub, e->bus, topic, &opts);

	if (err)
		bench_worker_fail(e, err, "cannot subscribe to \"%s\": %s", topic, bus_why(e->bus));
}

static void open_pub(struct bench_ends *e, const char *topic)
{
	struct bus_pub_opts opts = { .size = sizeof(opts),
				     .slots = e->worker->plan.slots,
				     .bytes = e->worker->plan.bytes };
	struct bus_pub_info info;
	int err = bus_pub_open(&e->pub, e->bus, topic, &opts);

	if (err)
		bench_worker_fail(e, err, "cannot publish to \"%s\": %s", topic, bus_why(e->bus));
	err = bus_pub_info(e->pub, &info);
	if (err)
		bench_worker_fail(e, err, "cannot ask for the ring's size: %s", strerror(-err));
	e->mine->ring = (struct bench_team_ring){ info.ring_slots, info.ring_bytes };
}

static void open_ends(struct bench_ends *e)
{
	const struct bench_worker *w = e->worker;
	struct bus_connect_opts opts = { .size = sizeof(opts),
					 .socket = w->plan.socket,
					 .name = "bus-bench" };
	char ping[BUS_TOPIC_MAX + 1], pong[BUS_TOPIC_MAX + 1];
	int err = bus_connect(&e->bus, &opts);

	if (err)
		bench_worker_fail(e, err, "cannot connect to busd: %s", bus_why(NULL));
	topic_name(ping, sizeof(ping), w, "ping");
	topic_name(pong, sizeof(pong), w, "pong");
	if (w->role != ROLE_PUBLISH)
		open_sub(e, w->role == ROLE_NEAR ? pong : ping);
	if (w->role != ROLE_SUBSCRIBE)
		open_pub(e, w->role == ROLE_FAR ? pong : ping);
}

static void run_round(struct bench_ends *e, const struct bench_source *source)
{
	struct bench_report *mine = e->mine;
	struct bench_stage *stage = e->worker->stage;
	struct bench_patience patience = { 0 };
	struct bench_share share;

	bench_histogram_reset(&mine->h);
	mine->received = mine->lost = mine->late_ns = 0;
	__atomic_store_n(&mine->published, 0, __ATOMIC_RELAXED);
	__atomic_fetch_add(&stage->ready, 1, __ATOMIC_ACQ_REL);
	while (bench_load_acquire(&stage->ready) < (uint64_t)stage->workers) {
		if (e->worker->cpu < 0)
			usleep(100); /* more processes than processors */
		bench_patience_look(&patience);
	}
	bench_share_begin(&share);
	switch (e->worker->role) {
	case ROLE_PUBLISH:
		bench_round_publish(e, source);
		break;
	case ROLE_SUBSCRIBE:
		bench_round_subscribe(e, source);
		break;
	case ROLE_NEAR:
		bench_round_near(e, source);
		break;
	case ROLE_FAR:
		bench_round_far(e, source);
		break;
	}
	mine->share = e->worker->plan.wait == BENCH_SPIN && e->worker->cpu >= 0
			      ? bench_share_end(&share)
			      : 1;
}

void bench_worker_live(const struct bench_worker *worker)
{
	struct bench_ends e = { .worker = worker, .mine = &worker->stage->report[worker->index] };
	struct bench_source source;
	char command, answer = BENCH_ANSWER_DONE;

	e.size = worker->plan.size;
	e.touch = !worker->plan.untouched;
	e.made = worker->plan.in_place;
	e.check = worker->plan.rate == 0 && (worker->plan.pair || worker->plan.pubs == 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL); /* not what the parent does on its end */
	if (worker->cpu >= 0 && bench_pin(worker->cpu) < 0)
		bench_worker_fail(&e, -ESRCH, "cannot run on processor %d", worker->cpu);
	e.msgs = calloc(BENCH_PEEK_MAX, sizeof(*e.msgs));
	if (!e.msgs || bench_source_open(&source, worker->plan.size) < 0)
		bench_worker_fail(&e, -ENOMEM, "no memory for messages of %u bytes",
				  worker->plan.size);
	while (read(worker->pipe, &command, 1) == 1) {
		if (command == BENCH_COMMAND_OPEN)
			open_ends(&e);
		else
			run_round(&e, &source);
		if (write(worker->pipe, &answer, 1) != 1)
			break;
	}
	bus_close(e.bus);
	_exit(0);
}

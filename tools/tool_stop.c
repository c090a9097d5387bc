/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_stop.c - ending on a signal, and sleeping until a moment.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tool_own.h"

#define NUDGE_US 20000 /* how often a sleep is interrupted once the end was asked for */

volatile sig_atomic_t tool_stop_signal;

static void nudge(int sig)
{
	(void)sig;
}

static void stop(int sig)
{
	const struct itimerval again = { { 0, NUDGE_US }, { 0, NUDGE_US } };

	if (tool_stop_signal)
		return;
	tool_stop_signal = sig;
	setitimer(ITIMER_REAL, &again, NULL);
}

void tool_catch_stop(void)
{
	struct sigaction action = { .sa_handler = nudge };
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

	sigaction(SIGALRM, &action, NULL);
	action.sa_handler = stop;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction old;

		/* nohup, and background jobs of a script: ignored stays ignored. */
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			continue;
		sigaction(signals[i], &action, NULL);
	}
}

_Noreturn void tool_die_of_signal(int sig)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t set;

	fflush(stdout);
	tool_close_now();
	sigaction(sig, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	_exit(128 + sig);
}

int64_t tool_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

uint64_t tool_unix_time_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int tool_sleep_until(int64_t due_ns)
{
	const struct timespec due = { due_ns / 1000000000, due_ns % 1000000000 };

	for (;;) {
		int err = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);

		if (tool_stop_signal)
			return -EINTR;
		if (err != EINTR)
			return -err;
	}
}

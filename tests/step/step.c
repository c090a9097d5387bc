/* SPDX-License-Identifier: Apache-2.0 */
/*
 * step.c - death at every instruction (step.h): runs the suites and says how much was looked at.
 *
 *	step [--short] [publish | consume | attach]
 */
#include "step/step.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIP 77

/* keep_rings, keep_time: nothing of the dead is kept for late readers, so that all must be gone. */
static const char config[] = "keep_time: 0\n"
			     "log_level: error\n";

static bool may_trace(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void suite(const char *name, void (*run)(bool full), bool full)
{
	struct step_counts before = step_counts;
	uint64_t began = rig_now_ns();

	run(full);
	printf("%-8s %llu instructions, %llu distinct so far, %llu states checked, %llu killed, wrong "
	       "%llu, %.1f s\n",
	       name, (unsigned long long)(step_counts.steps - before.steps),
	       (unsigned long long)step_counts.distinct,
	       (unsigned long long)(step_counts.states - before.states),
	       (unsigned long long)(step_counts.kills - before.kills),
	       (unsigned long long)(step_counts.wrong - before.wrong),
	       (double)(rig_now_ns() - began) / 1e9);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	bool full = true;
	const char *only = NULL;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--short") == 0)
			full = false;
		else
			only = argv[i];
	}
#if !defined(__x86_64__)
	puts("the tracer reads x86-64's registers");
	return SKIP;
#endif
	if (!may_trace()) {
		puts("ptrace is not permitted here");
		return SKIP;
	}
	rig_busd_start(config);
	step_init();
	if (only == NULL || strcmp(only, "publish") == 0)
		suite("publish", step_publisher, full);
	if (only == NULL || strcmp(only, "consume") == 0)
		suite("consume", step_subscriber, full);
	if (only == NULL || strcmp(only, "attach") == 0)
		suite("attach", step_attach, full);
	printf("step: %llu points of death, %llu distinct instructions, %llu states, %llu kills, wrong "
	       "%llu\n",
	       (unsigned long long)step_counts.steps, (unsigned long long)step_counts.distinct,
	       (unsigned long long)step_counts.states, (unsigned long long)step_counts.kills,
	       (unsigned long long)step_counts.wrong);
	rig_done();
	return step_counts.wrong != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_pair.c - see bench_pair.h.
 */
#include "bench_pair.h"

#include <err.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_NS UINT64_C(20000000000)

double bench_ns_per_tick(void)
{
	static double rate;
	uint64_t ticks, ns;

	if (rate > 0)
		return rate;
	ns = bench_now_ns();
	ticks = bench_ticks();
	while (bench_now_ns() - ns < 10000000)
		;
	ticks = bench_ticks() - ticks;
	rate = (double)(bench_now_ns() - ns) / (double)ticks;
	return rate;
}

int bench_two_cpus(int *a, int *b)
{
	cpu_set_t set;
	int found = 0;

	*a = *b = 0;
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 0;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &set))
			continue;
		if (found == 0)
			*a = *b = i;
		else if (found == 1)
			*b = i;
		found++;
	}
	return found;
}

int bench_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

void *bench_shared(size_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

void bench_shared_free(void *mem, size_t bytes)
{
	if (mem)
		munmap(mem, bytes);
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void bench_share_begin(struct bench_share *s)
{
	s->wall_ns = bench_now_ns();
	s->cpu_ns = thread_cpu_ns();
}

double bench_share_end(const struct bench_share *s)
{
	uint64_t wall = bench_now_ns() - s->wall_ns, cpu = thread_cpu_ns() - s->cpu_ns;

	return wall > cpu ? (double)cpu / (double)wall : 1;
}

static double last_share = 1;

double bench_two_share(void)
{
	return last_share;
}

/* The start line, outside of the measured memory. */
struct start_line {
	uint64_t ready[2][BENCH_LINE / sizeof(uint64_t)];
	double share; /* of the far one */
};

static void stand_ready(struct start_line *line, int me, const struct bench_two *two)
{
	struct bench_patience patience = { 0 };
	const volatile char *mem = two->mem;

	for (size_t i = 0; i < two->bytes; i += 4096)
		(void)mem[i];
	bench_store_release(&line->ready[me][0], 1);
	while (!bench_load_acquire(&line->ready[!me][0])) {
		if (two->one_cpu)
			sched_yield();
		bench_patience_look(&patience);
	}
}

static void be_far(const struct bench_two *two, struct start_line *line, int cpu, pid_t parent)
{
	struct bench_share share;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (bench_pin(cpu) < 0)
		_exit(1);
	stand_ready(line, 1, two);
	bench_share_begin(&share);
	two->far(two->arg, two->mem);
	line->share = bench_share_end(&share);
	_exit(0);
}

int bench_two_run(const struct bench_two *two)
{
	struct start_line *line = bench_shared(sizeof(*line));
	pid_t parent = getpid(), child;
	int a, b, status, ret = 0;
	struct bench_share share;
	cpu_set_t before;

	if (!line)
		return -ENOMEM;
	bench_ns_per_tick();
	if (bench_two_cpus(&a, &b) < 1 || sched_getaffinity(0, sizeof(before), &before) < 0) {
		bench_shared_free(line, sizeof(*line));
		return -ESRCH;
	}
	child = fork();
	if (child == 0)
		be_far(two, line, two->one_cpu ? a : b, parent);
	if (child < 0) {
		bench_shared_free(line, sizeof(*line));
		return -errno;
	}
	ret = bench_pin(a);
	stand_ready(line, 0, two);
	bench_share_begin(&share);
	two->near(two->arg, two->mem);
	last_share = bench_share_end(&share);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!ret && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		ret = -ECHILD;
	last_share = line->share < last_share ? line->share : last_share;
	sched_setaffinity(0, sizeof(before), &before);
	bench_shared_free(line, sizeof(*line));
	return ret;
}

void bench_patience_tick(struct bench_patience *p)
{
	uint64_t now = bench_now_ns();

	p->looks = 0;
	if (p->until_ns == 0)
		p->until_ns = now + PATIENCE_NS;
	else if (now > p->until_ns)
		errx(1,
		     "the other process of this measurement did not answer for %d s: it died or "
		     "has no processor",
		     (int)(PATIENCE_NS / 1000000000));
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), compare_double);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

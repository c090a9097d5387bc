/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_costs.c - see bench_costs.h.
 */
#include "bench_costs.h"

#include "bench_pair.h"
#include "bench_team.h"

#include <bus.h>

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- system calls ---- */

#define CALLS_SKIP 200000u
#define CALLS_MORE 1000000u
#define TRIPS_SKIP 200u
#define TRIPS_MORE 2000u

/* The total line of strace -c: "100.00  0.000000  0  1234  5 total", errors or not. */
static long total_of(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[256];
	long total = -1;

	while (f && fgets(line, sizeof(line), f)) {
		size_t n = strcspn(line, "\n");

		line[n] = '\0';
		if (n > 6 && strcmp(line + n - 6, " total") == 0 &&
		    sscanf(line, "%*s %*s %*s %ld", &total) != 1)
			total = -1;
	}
	if (f)
		fclose(f);
	return total;
}

/*
 * All system calls of a run of bus-bench with `count` messages, all its processes together. -1:
 * could not be counted.
 */
static long calls_of(const struct bench_busd *busd, const char *program, const char *kind,
		     const char *wait, uint64_t count)
{
	char out[96], number[32];
	pid_t pid;
	int status;
	long total;

	snprintf(out, sizeof(out), "%s/strace", busd->dir);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)count);
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		err(1, "cannot start a process");
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stdout))
			_exit(126);
		execlp("strace", "strace", "-c", "-f", "-o", out, program, kind, "--socket",
		       busd->socket, "--rounds=1", "--no-limit", "--wait", wait, "--count", number,
		       (char *)NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return -1;
	total = total_of(out);
	unlink(out);
	return total;
}

/*
 * Two runs of different length: what they differ by belongs to messages, the rest to starting and
 * connecting. One process kept off its processor by others makes the second sleep, which is a call
 * too: the least of some tries counts.
 */
static void count_calls(struct bench_table *table, struct bench_figure *f,
			const struct bench_busd *busd, const char *program, const char *kind,
			const char *wait, uint64_t skip, uint64_t more, double per)
{
	long least = -1;

	for (int i = 0; i < 3; i++) {
		long few = calls_of(busd, program, kind, wait, skip),
		     many = calls_of(busd, program, kind, wait, skip + more);

		if (few < 0 || many < 0) {
			f->missing = "strace is not installed, or could not trace";
			break;
		}
		if (many < few)
			many = few;
		if (least < 0 || many - few < least)
			least = many - few;
	}
	f->value = (double)least / per;
	bench_table_add(table, f);
}

void bench_cost_system_calls(struct bench_table *table, const struct bench_busd *busd,
			     const char *bench_program)
{
	struct bench_figure flow = { .name = "system calls for 1 million messages more",
				     .unit = UNIT_COUNT,
				     .kind = TARGET_AT_MOST,
				     .target = 100 };
	struct bench_figure trips = { .name = "system calls in a round trip, both asleep",
				      .unit = UNIT_COUNT,
				      .kind = TARGET_AT_MOST,
				      .target = 8 };

	count_calls(table, &flow, busd, bench_program, "pub", "spin", CALLS_SKIP, CALLS_MORE, 1);
	count_calls(table, &trips, busd, bench_program, "pair", "sleep", TRIPS_SKIP, TRIPS_MORE,
		    TRIPS_MORE);
}

/* ---- busd's processor time ---- */

/* Until what earlier measurements left behind (rings kept for late readers, say) is cleared up. */
static void let_settle(const struct bench_busd *busd)
{
	uint64_t before, now = bench_busd_cpu_ns(busd);
	int tries = 0;

	do {
		before = now;
		usleep(250000);
		now = bench_busd_cpu_ns(busd);
	} while (now - before > 20000 && ++tries < 40);
}

void bench_cost_busd_cpu(struct bench_table *table, const struct bench_busd *busd, uint64_t ns)
{
	struct bench_plan plan = { .socket = busd->socket,
				   .topic = "bench.cpu",
				   .pubs = 1,
				   .subs = 1,
				   .size = 64,
				   .batch = 1 };
	struct bench_figure f = { .unit = UNIT_PERCENT, .kind = TARGET_AT_MOST, .target = 0.049 };
	static struct bench_result round;
	struct bench_team *team;
	const char *why;
	uint64_t cpu, begin;

	if (bench_team_start(&team, &plan, &why) < 0)
		errx(1, "cannot measure busd's processor time: %s", why);
	let_settle(busd);
	begin = bench_now_ns();
	cpu = bench_busd_cpu_ns(busd);
	if (bench_team_round(team, ns, 0, &round, &why) < 0)
		errx(1, "cannot measure busd's processor time: %s", why);
	cpu = bench_busd_cpu_ns(busd) - cpu;
	f.name = "busd's processor time while data flows";
	f.value = (double)cpu * 100 / (double)(bench_now_ns() - begin);
	bench_table_add(table, &f);

	let_settle(busd);
	begin = bench_now_ns();
	cpu = bench_busd_cpu_ns(busd);
	usleep((useconds_t)(ns / 1000));
	cpu = bench_busd_cpu_ns(busd) - cpu;
	f.name = "busd's processor time, clients idle";
	f.value = (double)cpu * 100 / (double)(bench_now_ns() - begin);
	bench_table_add(table, &f);
	bench_team_stop(team);
}

/* ---- opening ---- */

#define OPENS 50

/* A new topic with the default ring, until its first message is published. */
static double open_once(struct bus *bus, int number)
{
	char topic[64];
	struct bus_pub *pub;
	uint64_t begin;
	double took;
	int ret;

	snprintf(topic, sizeof(topic), "bench.open.%d", number);
	begin = bench_now_ns();
	ret = bus_pub_open(&pub, bus, topic, NULL);
	if (!ret)
		ret = bus_pub_send(pub, "first", 5);
	took = (double)(bench_now_ns() - begin);
	if (ret)
		errx(1, "cannot publish to \"%s\": %s (%s)", topic, bus_why(bus), strerror(-ret));
	bus_pub_close(pub);
	return took;
}

static struct bus *connect_to(const struct bench_busd *busd)
{
	struct bus_connect_opts opts = { .size = sizeof(opts),
					 .socket = busd->socket,
					 .name = "bench" };
	struct bus *bus;

	if (bus_connect(&bus, &opts) < 0)
		errx(1, "cannot connect to busd: %s", bus_why(NULL));
	return bus;
}

void bench_cost_open(struct bench_table *table, const struct bench_busd *busd)
{
	struct bus *bus = connect_to(busd);
	struct bench_figure f = { .name = "opening a topic, first message included (median)",
				  .unit = UNIT_NS,
				  .kind = TARGET_AT_MOST,
				  .target = 2e6 };
	double took[OPENS];

	for (int i = 0; i < OPENS; i++)
		took[i] = open_once(bus, i);
	f.value = bench_median(took, OPENS);
	bench_table_add(table, &f);
	f.name = "the same, slowest of 50";
	f.kind = TARGET_NONE;
	f.value = took[OPENS - 1];
	bench_table_add(table, &f);
	bus_close(bus);
}

void bench_cost_memory(struct bench_table *table, const struct bench_busd *busd)
{
	struct bus *bus = connect_to(busd);
	struct bus_topic_info info = { .name = "" };
	struct bench_figure f = { .name = "memory of a publisher's default ring",
				  .unit = UNIT_BYTES,
				  .kind = TARGET_AT_MOST,
				  .target = 1 << 20 };
	struct bus_pub *pub;
	int ret = bus_pub_open(&pub, bus, "bench.memory", NULL);

	if (!ret)
		ret = bus_topic_next(bus, "bench.memory", &info);
	if (ret < 0)
		errx(1, "cannot ask for the topic's memory: %s", bus_why(bus));
	if (ret == 0 || info.rings != 1)
		errx(1, "the topic that was opened is not in the list of topics");
	f.value = (double)info.memory_bytes;
	bench_table_add(table, &f);
	bus_pub_close(pub);
	bus_close(bus);
}

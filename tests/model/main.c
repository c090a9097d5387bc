/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - runs scenarios and mutants, a process each, and says what came out. See README.md.
 *
 *	explore [--long] [--jobs N] [PATTERN...]         everything, or what matches: scenario/memory, or a mutant's name
 *	explore --list                                   what there is
 *	explore [--mutant NAME] --story SCENARIO/MEMORY  one search; the story of what it finds
 *	explore --replay SCHEDULE                        a schedule that was printed
 *	explore --matrix [PATTERN...]                    each mutant in each scenario: which catch it
 */
#include "engine.h"
#include "scenarios.h"
#include "world.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
	const struct explore_scenario *scenario;
	enum explore_memory memory;
	const char *mutant; /* NULL: none */
	bool lives;
};

/* What a child found, in memory shared with it. */
struct outcome {
	struct search_result result;
	double cpu_seconds;
	char schedule[65536];
};

static const char *const memory_names[] = { "tso", "c11" };
static bool long_run;
static int passed, failed;
static double cpu_seconds;

/* ---- names ---- */

static const char *const ring_mutants[] = {
#define X(name) #name,
	RING_MUTANTS(X)
#undef X
};

static const char *const sim_mutants[] = {
#define X(name) #name,
	SIM_MUTANTS(X)
#undef X
};

static bool set_mutant(const char *name)
{
	ring_mutant = sim_mutant = 0;
	if (!name)
		return true;
	for (size_t i = 0; i < BUS_ARRAY_LEN(ring_mutants); i++)
		if (strcmp(name, ring_mutants[i]) == 0)
			ring_mutant = (int)i + 1;
	for (size_t i = 0; i < BUS_ARRAY_LEN(sim_mutants); i++)
		if (strcmp(name, sim_mutants[i]) == 0)
			sim_mutant = (int)i + 1;
	return ring_mutant || sim_mutant;
}

static bool find_scenario(const char *name, struct job *ret)
{
	const char *slash = strchr(name, '/');

	for (int i = 0; slash && i < scenario_count(); i++) {
		const struct explore_scenario *sc = scenario_at(i);

		if (strlen(sc->name) != (size_t)(slash - name) ||
		    strncmp(sc->name, name, (size_t)(slash - name)) != 0)
			continue;
		ret->scenario = sc;
		for (int m = 0; m < 2; m++) {
			if (strncmp(slash + 1, memory_names[m], 3) == 0) {
				ret->memory = (enum explore_memory)m;
				return true;
			}
		}
	}
	return false;
}

/* ---- one job in a process of its own ---- */

static struct search_limits limits_of(const struct job *job)
{
	const char *switches = getenv("EXPLORE_PREEMPTIONS"), *states = getenv("EXPLORE_STATES");
	int most = long_run || job->scenario->preemptions == 0 ? -1 : job->scenario->preemptions;

	return (struct search_limits){
		.states = states     ? strtoull(states, NULL, 10)
			  : long_run ? 300000000
				     : 20000000,
		.switches = switches ? atoi(switches) : most,
		.full = long_run && !job->mutant,
		.no_points = getenv("EXPLORE_NO_POINTS"),
		.no_sleep_sets = getenv("EXPLORE_NO_SLEEP_SETS"),
	};
}

static void run_job(const struct job *job, struct outcome *out)
{
	struct search_limits limits = limits_of(job);
	struct rusage used;

	if (!set_mutant(job->mutant))
		exit(2);
	search(job->scenario, job->memory, &limits, &out->result);
	getrusage(RUSAGE_SELF, &used);
	out->cpu_seconds = (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec / 1e6;
	if (out->result.schedule)
		snprintf(out->schedule, sizeof(out->schedule), "%s/%s/%s/%s", job->scenario->name,
			 memory_names[job->memory], job->mutant ? job->mutant : "-",
			 out->result.schedule);
}

static const char *thousands(uint64_t n)
{
	static char texts[4][32];
	static unsigned turn;
	char plain[24], *at = texts[turn++ % 4];
	int len = snprintf(plain, sizeof(plain), "%llu", (unsigned long long)n), used = 0;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			at[used++] = ',';
		at[used++] = plain[i];
	}
	at[used] = 0;
	return at;
}

static void report(const struct job *job, const struct outcome *out, bool lived)
{
	const struct search_result *r = &out->result;
	bool wants_failure = job->mutant && !job->lives;
	bool good = lived && (wants_failure ? r->failed : !r->failed && r->completed);
	char name[96];

	snprintf(name, sizeof(name), "%s%s%s/%s", job->mutant ? job->mutant : "",
		 job->mutant ? " by " : "", job->scenario->name, memory_names[job->memory]);
	printf("%-6s %-44s %12s states %10s runs %6.1f s%s%s\n",
	       !good         ? "FAIL"
	       : job->lives  ? "lives"
	       : job->mutant ? "caught"
			     : "pass",
	       name, thousands(r->states), thousands(r->runs), out->cpu_seconds,
	       r->failed ? "  " : "", r->failed ? r->failure : "");
	if (!lived)
		printf("       the explorer itself died\n");
	else if (!good && !r->failed)
		printf("       %s\n", wants_failure ? "nobody noticed"
						    : "not completed within the bound on states");
	else if (!good)
		printf("       replay: explore --replay '%s'\n", out->schedule);
	fflush(stdout);
	cpu_seconds += out->cpu_seconds;
	*(good ? &passed : &failed) += 1;
}

/* Runs them, `width` at a time; reports in their order. */
static void run_jobs(const struct job *jobs, int count, int width)
{
	struct outcome *outs = mmap(NULL, (size_t)count * sizeof(*outs) + 1, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pid_t *pids = calloc((size_t)count + 1, sizeof(*pids));
	int *states = calloc((size_t)count + 1, sizeof(*states)); /* 1 ended well, 2 died */
	int started = 0, ended = 0, shown = 0;

	if (outs == MAP_FAILED || !pids || !states) {
		perror("explore");
		exit(2);
	}
	while (ended < count) {
		int status;
		pid_t pid;

		while (started < count && started - ended < width) {
			pids[started] = fork();
			if (pids[started] == 0) {
				run_job(&jobs[started], &outs[started]);
				_exit(0);
			}
			started++;
		}
		pid = wait(&status);
		for (int i = 0; i < started; i++)
			if (pids[i] == pid)
				states[i] = status == 0 ? 1 : 2;
		ended++;
		while (shown < count && states[shown]) {
			report(&jobs[shown], &outs[shown], states[shown] == 1);
			shown++;
		}
	}
	munmap(outs, (size_t)count * sizeof(*outs) + 1);
	free(pids);
	free(states);
}

/* ---- what to run ---- */

static bool wanted(const char *name, char **patterns)
{
	if (!*patterns)
		return true;
	for (; *patterns; patterns++)
		if (strstr(name, *patterns))
			return true;
	return false;
}

static int collect(struct job *jobs, char **patterns)
{
	char name[96];
	int n = 0;

	for (int i = 0; i < scenario_count(); i++) {
		const struct explore_scenario *sc = scenario_at(i);

		for (int m = 0; m < 2; m++) {
			snprintf(name, sizeof(name), "%s/%s", sc->name, memory_names[m]);
			if (wanted(name, patterns) && (long_run || !sc->long_only) &&
			    (m == EXPLORE_C11 || !sc->c11_only))
				jobs[n++] = (struct job){ sc, (enum explore_memory)m, NULL, false };
		}
	}
	for (int i = 0; i < mutant_case_count; i++) {
		const struct mutant_case *mc = &mutant_cases[i];
		struct job job = { .mutant = mc->name, .lives = mc->lives };

		if (!wanted(mc->name, patterns))
			continue;
		if (!find_scenario(mc->caught_by, &job) || !set_mutant(mc->name)) {
			fprintf(stderr, "explore: mutant %s in %s: no such thing\n", mc->name,
				mc->caught_by);
			exit(2);
		}
		jobs[n++] = job;
	}
	return n;
}

/* A mutant that no scenario is known to catch would be a hole that nobody sees. */
static int complain_about_holes(const char *const *names, size_t count)
{
	int holes = 0;

	for (size_t i = 0; i < count; i++) {
		bool known = false;

		for (int j = 0; j < mutant_case_count; j++)
			known |= strcmp(mutant_cases[j].name, names[i]) == 0;
		if (!known) {
			printf("FAIL   %s: no scenario is said to catch it\n", names[i]);
			holes++;
		}
	}
	return holes;
}

static void matrix(char **patterns)
{
	struct outcome *out =
		mmap(NULL, sizeof(*out), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	size_t all = BUS_ARRAY_LEN(ring_mutants) + BUS_ARRAY_LEN(sim_mutants);

	for (size_t i = 0; i < all; i++) {
		const char *name = i < BUS_ARRAY_LEN(ring_mutants)
					   ? ring_mutants[i]
					   : sim_mutants[i - BUS_ARRAY_LEN(ring_mutants)];

		if (!wanted(name, patterns))
			continue;
		printf("%s\n", name);
		for (int s = 0; s < scenario_count() * 2; s++) {
			struct job job = { scenario_at(s / 2), (enum explore_memory)(s % 2), name,
					   false };
			pid_t pid = fork();

			if (pid == 0) {
				run_job(&job, out);
				_exit(0);
			}
			waitpid(pid, NULL, 0);
			if (out->result.failed)
				printf("    %s/%s  %s states  %.1f s  %s\n", job.scenario->name,
				       memory_names[s % 2], thousands(out->result.states),
				       out->cpu_seconds, out->result.failure);
			fflush(stdout);
		}
	}
}

static int story(const char *what, const char *mutant)
{
	struct job job = { .mutant = mutant };
	struct search_limits limits;
	struct search_result result;

	if (!find_scenario(what, &job) || !set_mutant(mutant)) {
		fprintf(stderr, "explore: no scenario %s or no mutant %s; see --list\n", what,
			mutant ? mutant : "");
		return 2;
	}
	limits = limits_of(&job);
	search(job.scenario, job.memory, &limits, &result);
	printf("%s states, %s runs, deepest %u%s\n", thousands(result.states),
	       thousands(result.runs), result.deepest, result.completed ? "" : ", not completed");
	if (!result.failed)
		return 0;
	search_replay(job.scenario, job.memory, result.schedule);
	return 1;
}

/* SCENARIO/MEMORY/MUTANT/WORDS:STEPS */
static int replay(char *schedule)
{
	char *second = strchr(schedule, '/'), *third = second ? strchr(second + 1, '/') : NULL,
	     *fourth = third ? strchr(third + 1, '/') : NULL;
	struct job job;

	if (!fourth) {
		fprintf(stderr, "explore: this is not a schedule\n");
		return 2;
	}
	*third = *fourth = 0;
	if (!find_scenario(schedule, &job) ||
	    !set_mutant(strcmp(third + 1, "-") == 0 ? NULL : third + 1)) {
		fprintf(stderr,
			"explore: the schedule names a scenario or mutant that is not there\n");
		return 2;
	}
	return search_replay(job.scenario, job.memory, fourth + 1);
}

static int list(void)
{
	for (int i = 0; i < scenario_count(); i++)
		printf("%-18s %s\n", scenario_at(i)->name, scenario_at(i)->what);
	printf("\nmutants, and the scenario that must catch each:\n");
	for (int i = 0; i < mutant_case_count; i++)
		printf("%-26s %-22s %s\n", mutant_cases[i].name, mutant_cases[i].caught_by,
		       mutant_cases[i].what);
	return 0;
}

/* Digests cover pointers, so the same addresses each time make the same numbers of states each time. */
static void fix_addresses(char **argv)
{
	int now = personality(0xffffffff);

	if (now >= 0 && !(now & ADDR_NO_RANDOMIZE) &&
	    personality((unsigned long)now | ADDR_NO_RANDOMIZE) >= 0)
		execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "list", no_argument, NULL, 'l' },
		{ "long", no_argument, NULL, 'L' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "mutant", required_argument, NULL, 'm' },
		{ "story", required_argument, NULL, 's' },
		{ "replay", required_argument, NULL, 'r' },
		{ "matrix", no_argument, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};
	static struct job jobs[1000];
	const char *mutant = NULL, *what = NULL;
	bool all = false;
	int c, n, width = 2;

	fix_addresses(argv);
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'l':
			return list();
		case 'L':
			long_run = true;
			break;
		case 'j':
			width = atoi(optarg);
			break;
		case 'm':
			mutant = optarg;
			break;
		case 's':
			what = optarg;
			break;
		case 'r':
			return replay(optarg);
		case 'x':
			all = true;
			break;
		default:
			return 2;
		}
	}
	if (what)
		return story(what, mutant);
	if (all) {
		matrix(argv + optind);
		return 0;
	}
	n = collect(jobs, argv + optind);
	run_jobs(jobs, n, width > 0 ? width : 1);
	if (optind == argc)
		failed += complain_about_holes(ring_mutants, BUS_ARRAY_LEN(ring_mutants)) +
			  complain_about_holes(sim_mutants, BUS_ARRAY_LEN(sim_mutants));
	printf("%.0f s of processor time\n%d passed, %d failed\n", cpu_seconds, passed, failed);
	return failed != 0;
}

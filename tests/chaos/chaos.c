/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chaos.c - SIGKILL, SIGSTOP and SIGCONT of any party at random moments, and nothing wrong by the
 * notes that the publishers keep outside the bus (notes.h, sub.c).
 *
 *	chaos [--seed N] [--seconds S] [--busd PATH] [--quiet] [--verbose]
 *
 * The seed decides the script: whom, what, when, and what each party does. The machine decides the
 * interleaving, so a seed that found something finds it again soon, not at the same instruction.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chaos/director.h"

static const char config[] = "max_ring_bytes: 4M\n";

static void prepare(uint64_t seed, bool verbose)
{
	const char *tmp = getenv("TMPDIR");
	char dir[160];

	snprintf(dir, sizeof(dir), "%s/chaos.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL) {
		perror(dir);
		exit(1);
	}
	notes_open(dir);
	notes->seed = seed;
	notes->verbose = verbose;
	strcpy(notes->dir, dir);
	snprintf(notes->socket, sizeof(notes->socket), "%s/bus.sock", dir);
}

static void run(uint64_t ns)
{
	struct chance c = { notes->seed };
	uint64_t began = now_ns(), next = began + 100000000u;

	while (now_ns() - began < ns && notes->wrong == 0) {
		director_tend();
		if (now_ns() >= next) {
			director_act(&c);
			next += (uint64_t)chance_below(&c, 40000) * 1000u;
		}
		sleep_us(500);
	}
	director_all_run();
	director_all_progress(20000000000u);
	notes->phase = PHASE_DRAIN;
	director_leave(PARTY_PUB, 40000000000u);
	notes->phase = PHASE_END;
	director_leave(PARTY_SUB, 40000000000u);
	director_finish();
}

static uint64_t sum(const uint64_t of[PARTY_KINDS])
{
	return of[PARTY_PUB] + of[PARTY_SUB] + of[PARTY_BUSD] + of[PARTY_WORKER];
}

static void report(void)
{
	uint64_t messages = 0, delivered = 0, lost = 0, evictions = 0, pubs = 0, subs = 0,
		 checked = 0;

	for (int i = 0; i < PUBS; i++) {
		pubs += pub_notes[i]->lives;
		for (uint32_t k = 0; k < pub_notes[i]->lives; k++)
			messages += pub_notes[i]->life[k].committed;
	}
	for (int i = 0; i < SUBS; i++) {
		delivered += notes->sub[i].delivered;
		lost += notes->sub[i].lost;
		evictions += notes->sub[i].evictions;
		subs += notes->sub[i].lives;
		checked += notes->sub[i].checked_lives;
	}
	printf("seed %llu: %llu kills (%llu publishers, %llu subscribers, %llu busd, %llu worker), "
	       "%llu stops (%llu, %llu, %llu, %llu), %llu processes, %llu publishers and %llu "
	       "subscriptions opened (%llu complete to the end), %llu topics removed\n",
	       (unsigned long long)notes->seed, (unsigned long long)sum(deeds.kills),
	       (unsigned long long)deeds.kills[PARTY_PUB], (unsigned long long)deeds.kills[PARTY_SUB],
	       (unsigned long long)deeds.kills[PARTY_BUSD],
	       (unsigned long long)deeds.kills[PARTY_WORKER], (unsigned long long)sum(deeds.stops),
	       (unsigned long long)deeds.stops[PARTY_PUB], (unsigned long long)deeds.stops[PARTY_SUB],
	       (unsigned long long)deeds.stops[PARTY_BUSD],
	       (unsigned long long)deeds.stops[PARTY_WORKER], (unsigned long long)deeds.processes,
	       (unsigned long long)pubs, (unsigned long long)subs, (unsigned long long)checked,
	       (unsigned long long)deeds.removals);
	printf("  messages %llu, delivered %llu, lost (counted) %llu, evictions %llu, wrong %llu\n",
	       (unsigned long long)messages, (unsigned long long)delivered, (unsigned long long)lost,
	       (unsigned long long)evictions, (unsigned long long)notes->wrong);
	if (delivered == 0 || checked == 0)
		wrong("nothing was delivered, or no subscription was followed to its end");
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "seed", required_argument, NULL, 's' },
					       { "seconds", required_argument, NULL, 't' },
					       { "busd", required_argument, NULL, 'b' },
					       { "verbose", no_argument, NULL, 'v' },
					       { NULL, 0, NULL, 0 } };
	const char *build = getenv("BUS_BUILD"), *busd = NULL;
	uint64_t seed = now_ns() / 1000 % 1000000;
	char path[300], command[300];
	double seconds = 120;
	bool verbose = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (opt == 't')
			seconds = strtod(optarg, NULL);
		else if (opt == 'b')
			busd = optarg;
		else if (opt == 'v')
			verbose = true;
		else
			return 2;
	}
	if (busd == NULL) {
		snprintf(path, sizeof(path), "%s/busd", build != NULL ? build : "build");
		busd = path;
	}
	prepare(seed, verbose);
	printf("chaos: seed %llu, %.0f s\n", (unsigned long long)seed, seconds);
	fflush(stdout);
	director_start(busd, config);
	run((uint64_t)(seconds * 1e9));
	report();
	if (notes->wrong != 0) {
		printf("again: chaos --seed %llu --seconds %.0f (notes: %s)\n",
		       (unsigned long long)seed, seconds, notes->dir);
		return 1;
	}
	snprintf(command, sizeof(command), "rm -rf '%s'", notes->dir);
	return system(command) == 0 ? 0 : 1;
}

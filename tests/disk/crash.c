/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash.c - a log is written on a disk that crashes (tests/lib/crash_disk.h): the process dies, all of busd dies, the
 * power fails, at any operation. What a new start finds is compared with what was promised:
 *
 *	all below durable is there, byte for byte      nothing that was not published is
 *	no number stands for two messages              no damage is reported where there is none
 *	the last number of each named publisher is right, its src too
 *	no durable subscription stands where a message would be passed over
 *	a name that was found, and may be given out, is found again
 *
 *	crash [--short] [--seconds N] [--seed N] [--rounds N]
 *
 * First every crash point of a few short runs, with every subset of what was not synced where that is up to 10 writes
 * (random torn, stale and missing sectors beyond); then random runs of several lives.
 */
#include "disk/life.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t crashes;

/* ---- every crash point, every subset ---- */

static void try_state(const struct run *run, uint64_t choice, bool wild)
{
	struct crash_disk *probe = malloc(sizeof(*probe));
	char path[96];

	CHECK(probe, "memory");
	life_path(path, sizeof(path));
	life_choice = choice;
	disk_power_loss((struct crash_disk *)(uintptr_t)&run->disk, path, choice, wild);
	disk_open(probe, path, choice + 1);
	life_check_start(run, probe);
	disk_close(probe);
	free(probe);
}

/* Whether the run was over before that operation. */
static bool crash_point(struct run *run, uint64_t with, uint64_t event, uint64_t messages)
{
	unsigned n;

	life_open(run, with);
	run->reads = with % 2;
	run->disk.crash_at = event;
	life_event = event;
	life_live(run, messages);
	if (!run->disk.crashed) {
		life_close(run);
		return true;
	}
	crashes++;
	n = run->disk.pending_count + run->disk.late_count;
	if (n <= 10) {
		for (uint64_t choice = 0; choice < UINT64_C(1) << n; choice++)
			try_state(run, choice, false);
		for (uint64_t choice = 0; run->disk.name_count && choice < UINT64_C(1) << n;
		     choice += 3)
			try_state(run, choice | UINT64_C(1) << 63, false);
	}
	for (int i = 0; i < 12; i++)
		try_state(run, (uint64_t)i, true);
	life_close(run);
	return false;
}

/* ---- lives ---- */

static void several_lives(struct run *run, uint64_t with)
{
	const uint64_t lives = (life_open(run, with), 2 + disk_random(&run->disk, 5));
	char path[96];

	run->reads = with % 3 != 0;
	for (uint64_t life = 0; life < lives; life++) {
		run->disk.crash_at =
			1 + disk_random(&run->disk, disk_random(&run->disk, 2) ? 40 : 400);
		life_event = run->disk.crash_at;
		life_live(run, 10 + disk_random(&run->disk, 80));
		crashes += run->disk.crashed;
		run->ring_stays = run->ring_lives && disk_random(&run->disk, 3) == 0;
		run->ring_lives = run->ring_stays;
		if (!run->ring_stays && disk_random(&run->disk, 2)) {
			const uint64_t random = run->disk.random;

			life_path(path, sizeof(path));
			disk_power_loss(&run->disk, path, 0, true);
			disk_close(&run->disk);
			disk_open(&run->disk, path, random);
		} else {
			disk_revive(&run->disk);
		}
		/* another policy, other sizes: all of it may be configured anew */
		if (disk_random(&run->disk, 3) == 0 && !run->ring_stays)
			run->opts.policy = (enum log_policy)disk_random(&run->disk, 3);
	}
	run->disk.crash_at = 0;
	life_live(run, 40);
	CHECK(life_log_end(run) == run->rig.head, "the end is not %llu", U(run->rig.head));
	life_check_start(run, &run->disk);
	life_close(run);
}

/* ---- names alone ---- */

static uint32_t src_named(struct crash_disk *disk, const uint8_t *uuid, const char *name)
{
	struct sources s;
	struct why why;
	const struct source *source;
	uint32_t src;

	CHECK(sources_open(&s, &disk->io, disk->dir, uuid, &why) == 0, "%s", why.text);
	source = sources_find(&s, name, strlen(name));
	src = source ? source->src : 0;
	sources_close(&s);
	return src;
}

/* The writer dies at each operation; what its successor found, and may give out, outlives a power loss. */
static void names_found_stay(struct run *run)
{
	static const uint8_t uuid[LOG_UUID_BYTES] = "names alone....";
	bool crashed = true;

	for (uint64_t event = 1; crashed; event++) {
		struct sources s;
		struct source *source;
		struct why why;
		uint32_t src;

		life_open(run, event);
		run->disk.crash_at = event;
		life_event = event;
		if (sources_open(&s, &run->disk.io, run->disk.dir, uuid, &why) == 0) {
			(void)sources_add(&s, "a", 1, &source, &why);
			(void)sources_add(&s, "bb", 2, &source, &why);
			sources_close(&s);
		}
		crashed = run->disk.crashed;
		disk_revive(&run->disk);
		src = src_named(&run->disk, uuid, "bb");
		for (uint64_t choice = 0; src && choice < 8; choice++) {
			struct crash_disk probe;
			char path[96];

			life_choice = choice;
			life_path(path, sizeof(path));
			disk_power_loss(&run->disk, path, choice, false);
			disk_open(&probe, path, 1);
			CHECK(src_named(&probe, uuid, "bb") == src, "bb was %u", src);
			disk_close(&probe);
		}
		life_close(run);
	}
}

int main(int argc, char **argv)
{
	uint64_t seconds = 100, rounds = UINT64_MAX, points = 8, begun = bus_monotonic_ns();
	struct run *run = malloc(sizeof(*run));

	life_seed = 1;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--short") == 0) {
			seconds = 8;
			points = 1;
		} else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
			seconds = strtoull(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
			rounds = strtoull(argv[++i], NULL, 0);
			points = 0;
		} else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			life_seed = strtoull(argv[++i], NULL, 0);
		} else {
			fprintf(stderr, "crash [--short] [--seconds N] [--seed N] [--rounds N]\n");
			return 2;
		}
	}
	snprintf(life_dir, sizeof(life_dir), "/dev/shm/bus-crash.XXXXXX");
	CHECK(run && mkdtemp(life_dir), "%s", life_dir);
	const uint64_t first = life_seed;

	names_found_stay(run);
	for (uint64_t p = 0; p < points; p++, life_seed++) {
		for (uint64_t event = 1; !crash_point(run, life_seed, event, 25) &&
					 bus_monotonic_ns() - begun < seconds * 1000 * MS / 2;
		     event++)
			continue;
	}
	printf("each crash point: seeds %llu to %llu, %llu crashes, %llu states of the disk\n",
	       U(first), U(life_seed - 1), U(crashes), U(life_states));
	const uint64_t lives_from = life_seed;

	for (; rounds-- && bus_monotonic_ns() - begun < seconds * 1000 * MS; life_seed++)
		several_lives(run, life_seed);
	printf("lives: seeds %llu to %llu (one again: --seed N --rounds 1), %llu crashes in all\n",
	       U(lives_from), U(life_seed - 1), U(crashes));
	free(run);
	rmdir(life_dir);
	return 0;
}

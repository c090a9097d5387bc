/* SPDX-License-Identifier: Apache-2.0 */
/*
 * positions.c - how far durable subscriptions are (busd/positions.h), on a disk that crashes (lib/crash_disk.h): the
 * process dies or the power fails at any operation. What a start finds is
 *
 *	never below what was said to be on disk, by this life or as found by an earlier one
 *	never above what was acknowledged
 *	not there, where its removal was said to be on disk
 *
 *	positions [--short] [--seconds N] [--seed N] [--rounds N]
 *
 * First every crash point of a few short runs, with every subset of what was not synced; then random runs of several lives.
 */
#include "disk/life.h"
#include "positions.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POSITION_NAMES 8 /* more than are written in one request */

struct reader {
	uint64_t acked;     /* the highest that it ever was */
	uint64_t promised;  /* that was said to be on disk, + 1; 0: not even that it is there */
	uint64_t added_gen; /* of its pair, when it was made there */
	bool removing, removed;
	/*
	 * found all the same, by a life that has not written a file of its own: the former one's removal may land still, in
	 * the file that was read
	 */
	bool lingers;
};

struct positions_run {
	struct crash_disk disk;
	struct positions p;
	struct reader readers[POSITION_NAMES];
	uint64_t now;
	bool sync;
};

static const uint8_t uuid[LOG_UUID_BYTES] = "positions alone";
static uint64_t crashes;

static const char *name_of(int i)
{
	static char names[POSITION_NAMES][8];

	snprintf(names[i], sizeof(names[i]), "r%d", i);
	return names[i];
}

/* ---- what must hold ---- */

static void check(struct positions_run *run, struct positions *found, bool promises)
{
	const unsigned late = run->disk.late_count; /* of the dead one; they may tear what was read */

	for (int i = 0; i < POSITION_NAMES; i++) {
		struct reader *r = &run->readers[i];
		const struct position *pos = positions_find(found, name_of(i));

		CHECK(!pos || !r->removed, "%s is there again", name_of(i));
		CHECK(pos || !r->promised || r->removing || r->lingers, "%s is not there",
		      name_of(i));
		if (promises && r->removing) { /* the former life did, or did not come to it */
			r->removed = !pos && late == 0;
			r->removing = r->removed;
			r->lingers = !r->removed;
		}
		if (r->lingers && !pos)
			r->promised = 0;
		if (!pos)
			continue;
		CHECK(pos->set && pos->seq <= r->acked, "%s is at %llu, acknowledged was %llu",
		      name_of(i), U(pos->seq), U(r->acked));
		CHECK(pos->seq + 1 >= r->promised, "%s is at %llu, promised was %llu", name_of(i),
		      U(pos->seq), U(r->promised - 1));
		/*
		 * People are told, and a reader begins there. Not while the dead one's last write is under way, which may tear
		 * the record that was read: here it lands at any time; of a real process before its lock of the directory is
		 * free.
		 */
		if (promises && late == 0)
			r->promised = pos->seq + 1;
	}
}

static void try_state(struct positions_run *run, uint64_t choice, bool wild)
{
	struct crash_disk *probe = malloc(sizeof(*probe));
	static struct positions found;
	struct why why = { "" };
	char path[96];

	CHECK(probe, "memory");
	life_path(path, sizeof(path));
	life_choice = choice;
	disk_power_loss(&run->disk, path, choice, wild);
	disk_open(probe, path, choice + 1);
	CHECK(positions_open(&found, &probe->io, probe->dir, uuid, &why) == 0, "%s", why.text);
	life_states++;
	check(run, &found, false);
	positions_close(&found);
	disk_close(probe);
	free(probe);
}

/* ---- a life ---- */

static void note_kept(struct positions_run *run)
{
	/* what was found only may be torn yet, as in check(); what stands in a file of this life's own is there */
	const bool settled = run->p.fd >= 0 || run->disk.late_count == 0;

	for (int i = 0; i < POSITION_NAMES; i++) {
		struct reader *r = &run->readers[i];
		struct position *pos = positions_find(&run->p, name_of(i));

		if (run->p.fd >= 0)
			r->lingers = false;
		if (r->removing)
			r->removed = r->removed || !positions_wait(&run->p, true);
		else if (pos && settled && pos->kept > r->added_gen)
			r->promised = bus_max_u64(r->promised, pos->kept_seq + 1);
	}
}

static void acknowledge(struct positions_run *run)
{
	struct reader *r;
	struct position *pos;
	int i = (int)disk_random(&run->disk, POSITION_NAMES);

	r = &run->readers[i];
	if (r->removing)
		return;
	pos = positions_find(&run->p, name_of(i));
	if (!pos)
		pos = positions_add(&run->p, name_of(i), 7, 1);
	CHECK(pos, "no room");
	if (!pos->set)
		r->added_gen = pos->gen;
	if (i == 3 && pos->set && disk_random(&run->disk, 6) == 0) {
		r->removing = true;
		positions_remove(pos);
		return;
	}
	r->acked = bus_max_u64(r->acked, pos->seq) + disk_random(&run->disk, 5);
	positions_move(pos, r->acked, run->now);
}

static void live(struct positions_run *run, unsigned steps)
{
	struct why why = { "" };
	int error = positions_open(&run->p, &run->disk.io, run->disk.dir, uuid, &why);

	CHECK(error == 0 || run->disk.crashed, "%s", why.text);
	if (error < 0)
		return;
	if (!run->disk.crashed)
		check(run, &run->p, true);
	for (unsigned i = 0; i < steps && !run->disk.crashed; i++) {
		acknowledge(run);
		if (disk_random(&run->disk, 2))
			positions_write(&run->p, run->sync || disk_random(&run->disk, 4) == 0,
					run->now);
		io_poll(&run->disk.io, 0);
		run->now += disk_random(&run->disk, 3) ? MS : 1000 * MS;
		if (!run->disk.crashed)
			note_kept(run);
	}
	if (!run->disk.crashed) {
		error = positions_flush(&run->p, run->now);
		CHECK(error == 0 || run->disk.crashed, "flush: %s", strerror(-error));
	}
	if (!run->disk.crashed)
		note_kept(run);
	positions_close(&run->p);
}

static void begin(struct positions_run *run, uint64_t with)
{
	char path[96];

	memset(run, 0, sizeof(*run));
	life_path(path, sizeof(path));
	disk_open(&run->disk, path, with);
	run->sync = disk_random(&run->disk, 3);
	run->now = 1;
}

/* Lives that found a fault once: a name that was not on disk; a record of a former life that counted for newer. */
static const uint64_t found_by[] = { 1649, 101675 };

/* Whether the run was over before that operation. */
static bool crash_point(struct positions_run *run, uint64_t with, uint64_t event)
{
	unsigned n;

	begin(run, with);
	run->disk.crash_at = event;
	life_event = event;
	live(run, 12);
	if (!run->disk.crashed) {
		disk_close(&run->disk);
		return true;
	}
	crashes++;
	n = run->disk.pending_count + run->disk.late_count;
	for (uint64_t choice = 0; n <= 10 && choice < UINT64_C(1) << n; choice++) {
		try_state(run, choice, false);
		if (run->disk.name_count)
			try_state(run, choice | UINT64_C(1) << 63, false);
	}
	for (uint64_t i = 0; i < 12; i++)
		try_state(run, i, true);
	disk_close(&run->disk);
	return false;
}

static void several_lives(struct positions_run *run, uint64_t with)
{
	char path[96];

	begin(run, with);
	for (uint64_t lives = 2 + disk_random(&run->disk, 6); lives > 0; lives--) {
		run->disk.crash_at = 1 + disk_random(&run->disk, 60);
		life_event = run->disk.crash_at;
		live(run, 40);
		crashes += run->disk.crashed;
		if (disk_random(&run->disk, 2)) {
			const uint64_t random = run->disk.random;

			life_path(path, sizeof(path));
			disk_power_loss(&run->disk, path, 0, true);
			disk_close(&run->disk);
			disk_open(&run->disk, path, random);
		} else {
			disk_revive(&run->disk);
		}
		run->disk.crash_at = 0;
	}
	live(run, 20);
	try_state(run, 0, true);
	disk_close(&run->disk);
}

int main(int argc, char **argv)
{
	uint64_t seconds = 40, rounds = UINT64_MAX, points = 12, begun = bus_monotonic_ns();
	struct positions_run *run = malloc(sizeof(*run));

	life_seed = 1;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--short") == 0) {
			seconds = 4;
			points = 2;
		} else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
			seconds = strtoull(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
			rounds = strtoull(argv[++i], NULL, 0);
			points = 0;
		} else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			life_seed = strtoull(argv[++i], NULL, 0);
		} else {
			fprintf(stderr,
				"positions [--short] [--seconds N] [--seed N] [--rounds N]\n");
			return 2;
		}
	}
	snprintf(life_dir, sizeof(life_dir), "/dev/shm/bus-positions.XXXXXX");
	CHECK(run && mkdtemp(life_dir), "%s", life_dir);
	for (uint64_t p = 0; p < points; p++, life_seed++)
		for (uint64_t event = 1; !crash_point(run, life_seed, event) &&
					 bus_monotonic_ns() - begun < seconds * 1000 * MS / 2;
		     event++)
			continue;
	printf("each crash point: %llu crashes, %llu states of the disk\n", U(crashes),
	       U(life_states));
	for (size_t i = 0; points > 0 && i < BUS_ARRAY_LEN(found_by); i++) {
		const uint64_t next = life_seed;

		life_seed = found_by[i];
		several_lives(run, life_seed);
		life_seed = next;
	}
	for (; rounds-- && bus_monotonic_ns() - begun < seconds * 1000 * MS; life_seed++)
		several_lives(run, life_seed);
	printf("lives: up to seed %llu (one again: --seed N --rounds 1), %llu crashes in all\n",
	       U(life_seed - 1), U(crashes));
	free(run);
	rmdir(life_dir);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * errors.c - a log is written, and operation N of the disk fails, for N = 1, 2, ...: EIO, ENOSPC, a write that does a part
 * or nothing, EINTR, a sync that fails and says nothing the second time; once, and for a while. What is promised then is
 * on the platter, and nothing else is lost: all is published and durable in the end, without a restart.
 *
 *	errors [--short] [--seed N]
 *	errors --full DIR [--threads]     a real file system that DIR fills up (a small tmpfs), then has room again
 */
#include "disk/life.h"

#include "base/clock.h"
#include "os/log_read.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	enum disk_fault fault;
	const char *name;
} faults[] = {
	{ DISK_EIO, "EIO" },     { DISK_ENOSPC, "ENOSPC" },      { DISK_SHORT, "short write" },
	{ DISK_EINTR, "EINTR" }, { DISK_NOTHING, "write of 0" }, { DISK_SYNC_EIO, "sync: EIO" },
};

static uint64_t runs, hits;

/* The worst that a power loss leaves: nothing that was not synced. */
static void check_platter(struct run *run)
{
	struct crash_disk *probe = malloc(sizeof(*probe));
	char path[96];

	CHECK(probe, "memory");
	life_path(path, sizeof(path));
	disk_power_loss(&run->disk, path, UINT64_C(1) << 63, false);
	disk_open(probe, path, 1);
	life_check_start(run, probe);
	disk_close(probe);
	free(probe);
}

static void prepare(struct run *run, enum disk_fault fault, uint64_t at, enum log_policy policy)
{
	life_open(run, life_seed);
	run->opts.policy = policy;
	life_event = at;
	run->disk.fault = fault;
	run->disk.fault_at = at;
}

/* False: there was no operation `at`. */
static bool one_fault(struct run *run, enum disk_fault fault, uint64_t at, enum log_policy policy,
		      bool stays)
{
	bool hit;

	prepare(run, fault, at, policy);
	run->disk.fault_stays = stays;
	run->heals_at = stays ? 300 + at : 0;
	life_live(run, 25);
	hit = run->disk.ops >= at;
	runs++;
	hits += run->disk.fault_hits;
	CHECK(policy == LOG_SYNC_NONE || run->counts.lost == 0, "%llu messages lost",
	      U(run->counts.lost));
	CHECK(run->rig.head > 0 && run->promised == run->rig.head, "%llu of %llu are durable",
	      U(run->promised), U(run->rig.head));
	CHECK(life_log_end(run) == run->rig.head, "the end is not %llu", U(run->rig.head));
	check_platter(run);
	life_close(run);
	return hit;
}

/* It fails for good: nothing is promised that is not there, and the state says so. */
static void for_good(struct run *run, enum disk_fault fault, uint64_t at)
{
	prepare(run, fault, at, LOG_SYNC_BATCH);
	run->disk.fault_stays = true;
	life_live(run, 25);
	runs++;
	/* the others are tried many times before they are errors */
	if (run->disk.fault_hits && run->states && fault != DISK_EINTR && fault != DISK_NOTHING) {
		const unsigned told = fault == DISK_ENOSPC ? 1u << LOG_FULL : 1u << LOG_FAILING;

		CHECK(run->promised == run->rig.head || run->states & told, "the states were %x",
		      run->states);
	}
	run->disk.fault_at = 0;
	check_platter(run);
	life_close(run);
}

/*
 * A sync fails, and then the process dies, soon: memory has what the disk has not, and the next sync says
 * that all is well.
 */
static bool then_death(struct run *run, uint64_t at, uint64_t later)
{
	bool hit;

	prepare(run, DISK_SYNC_EIO, at, later / 2 % 2 ? LOG_SYNC_INTERVAL : LOG_SYNC_BATCH);
	run->disk.crash_at = at + later;
	life_live(run, 25);
	hit = run->disk.ops >= at;
	if (run->disk.crashed) {
		run->disk.fault_at = 0;
		run->disk.fault_hits = 0;
		check_platter(run);
		disk_revive(&run->disk);
		run->ring_stays = later % 2 == 0 && run->ring_lives;
		life_live(run, 10);
		check_platter(run);
	}
	runs++;
	life_close(run);
	return hit;
}

/* The first life ends well, all of busd is lost; operation `at` of the second one fails. */
static bool second_life(struct run *run, enum disk_fault fault, uint64_t at)
{
	bool hit;

	prepare(run, fault, 0, LOG_SYNC_BATCH);
	life_live(run, 10);
	disk_revive(&run->disk);
	life_event = at;
	run->disk.fault_at = at + run->disk.ops;
	life_live(run, 25);
	hit = run->disk.ops >= run->disk.fault_at;
	runs++;
	hits += run->disk.fault_hits;
	CHECK(run->promised == run->rig.head && run->rig.life >= 2, "%llu of %llu are durable",
	      U(run->promised), U(run->rig.head));
	CHECK(life_log_end(run) == run->rig.head, "the end is not %llu", U(run->rig.head));
	check_platter(run);
	life_close(run);
	return hit;
}

static void no_room(struct run *run)
{
	life_open(run, life_seed);
	run->opts.policy = LOG_SYNC_BATCH;
	run->disk.full = true;
	run->heals_at = 500;
	life_live(run, 60);
	CHECK(run->promised == run->rig.head && run->rig.head > 0, "%llu of %llu are durable",
	      U(run->promised), U(run->rig.head));
	check_platter(run);
	life_close(run);

	/* full later on: what is in the ring waits */
	life_open(run, life_seed);
	run->opts.policy = LOG_SYNC_BATCH;
	life_live(run, 20);
	disk_revive(&run->disk);
	run->ring_stays = true;
	run->disk.full = true;
	run->heals_at = 600;
	life_live(run, 60);
	CHECK(run->promised == run->rig.head, "%llu of %llu are durable", U(run->promised),
	      U(run->rig.head));
	check_platter(run);
	life_close(run);
}

static void all_faults(struct run *run, uint64_t stride)
{
	const uint64_t first = stride > 1 ? 1 + life_seed % stride : 1;

	for (unsigned f = 0; f < BUS_ARRAY_LEN(faults); f++) {
		const uint64_t runs_before = runs, hits_before = hits;

		for (int policy = 0; policy < 3; policy++) {
			uint64_t at = first;

			while (one_fault(run, faults[f].fault, at, (enum log_policy)policy, false))
				at += stride;
			at = first;
			while (one_fault(run, faults[f].fault, at, (enum log_policy)policy, true) &&
			       at < 400)
				at += stride * 3;
		}
		for (uint64_t at = first; at < 200; at += stride * 5)
			for_good(run, faults[f].fault, at);
		/* the holes that the first one left are declared again by one place only: more of them */
		for (uint64_t at = first; second_life(run, faults[f].fault, at); at += 1 + stride / 3)
			continue;
		CHECK(hits > hits_before, "%s never happened", faults[f].name);
		printf("%-12s %llu runs, %llu faults\n", faults[f].name, U(runs - runs_before),
		       U(hits - hits_before));
	}
	for (uint64_t later = 1; later <= 20; later++) {
		uint64_t at = 1;

		while (then_death(run, at, later))
			at += stride * 2;
	}
	no_room(run);
}

/* ---- a real file system ---- */

#define FULL_SLOTS 1024
#define FULL_BYTES (64u << 10)

static void fill(int fd)
{
	static char block[4096];

	memset(block, 1, sizeof(block));
	while (write(fd, block, sizeof(block)) > 0)
		continue;
	while (write(fd, block, 1) > 0)
		continue;
}

static void real_full(const char *path, enum io_choice choice)
{
	struct run *run = calloc(1, sizeof(*run));
	struct log_ring rig;
	struct recovered rec;
	struct sources sources;
	struct retention retention;
	struct log_start start;
	struct log_file *log;
	struct io *io;
	struct why why = { "" };
	struct log_file_opts opts = {
		.topic = "full", .slots = 256, .bytes = 128 << 10, .policy = LOG_SYNC_BATCH
	};
	uint64_t until = bus_monotonic_ns() + UINT64_C(20000) * MS, room_at = 0;
	unsigned told = 0;
	int filler;

	CHECK(run, "memory");
	run->disk.dir = open(path, O_RDONLY | O_DIRECTORY);
	CHECK(run->disk.dir >= 0, "%s: %s", path, strerror(errno));
	CHECK(io_open(&io, choice, 8, &why) == 0, "%s", why.text);
	CHECK(recover_open(&rec, io, run->disk.dir, RECOVER_NO_RING, &sources, &retention, &why) == 0,
	      "%s", why.text);
	recover_start(&rec, FULL_SLOTS, &start);
	rig_ring_open(&rig, FULL_SLOTS, FULL_BYTES);
	memcpy(rig.uuid, rec.uuid, sizeof(rig.uuid));
	rig_ring_begin(&rig, start.seq, start.pos);
	opts.view = rig.view;
	opts.dir = run->disk.dir;
	memcpy(opts.uuid, rec.uuid, sizeof(opts.uuid));
	CHECK(log_file_open(&log, io, &opts, &start, &why) == 0, "%s", why.text);
	filler = openat(run->disk.dir, "filler", O_RDWR | O_CREAT, 0600);
	CHECK(filler >= 0, "%s", strerror(errno));
	while (rig.head < 1200 || log_file_durable(log) < rig.head) {
		const uint64_t wait_ns = log_file_run(log, bus_monotonic_ns());

		if (rig.head == 100)
			fill(filler); /* and every byte that a segment leaves */
		if (rig.head < 1200 && rig.head < log_file_limit(log) &&
		    rig_ring_room(&rig, log_file_gate(log), 0, 700)) {
			rig_ring_put(&rig, 1, 0, 700);
			log_file_offer(log, rig.head);
		} else {
			io_poll(io, (int)bus_min_u64(wait_ns / MS + 1, 50));
		}
		if (log_file_state(log) == LOG_FULL && !room_at) {
			told = 1;
			room_at = bus_monotonic_ns() + 300 * MS;
		}
		if (room_at && bus_monotonic_ns() > room_at)
			CHECK(ftruncate(filler, 0) == 0, "%s", strerror(errno));
		CHECK(bus_monotonic_ns() < until, "state %d, %llu of %llu durable: %s",
		      log_file_state(log), U(log_file_durable(log)), U(rig.head), log_file_why(log));
	}
	CHECK(told, "it never said that there is no room");
	CHECK(log_file_counts(log)->lost == 0 && log_file_counts(log)->full > 0, "%s",
	      log_file_why(log));
	log_file_close(log);
	run->rig = rig;
	CHECK(life_log_end(run) == rig.head, "the end is not %llu", U(rig.head));
	printf("%s: full, said so, went on by itself: %llu messages\n", io->table->name, U(rig.head));
	sources_close(&sources);
	retention_free(&retention);
	io_free(io);
	rig_ring_close(&rig);
	close(filler);
	close(run->disk.dir);
	free(run);
}

int main(int argc, char **argv)
{
	struct run *run = malloc(sizeof(*run));
	uint64_t stride = 1;
	const char *full = NULL;
	enum io_choice choice = IO_URING;

	life_seed = 1;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--short") == 0) {
			stride = 7;
		} else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			life_seed = strtoull(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--threads") == 0) {
			choice = IO_THREAD;
		} else if (strcmp(argv[i], "--full") == 0 && i + 1 < argc) {
			full = argv[++i];
		} else {
			fprintf(stderr, "errors [--short] [--seed N] | --full DIR [--threads]\n");
			return 2;
		}
	}
	if (full) {
		real_full(full, choice);
		free(run);
		return 0;
	}
	snprintf(life_dir, sizeof(life_dir), "/dev/shm/bus-errors.XXXXXX");
	CHECK(run && mkdtemp(life_dir), "%s", life_dir);
	printf("seed %llu\n", U(life_seed));
	all_faults(run, stride);
	printf("%llu runs, %llu faults\n", U(runs), U(hits));
	free(run);
	rmdir(life_dir);
	return 0;
}

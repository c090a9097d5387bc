/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/life.h"

#include "os/log_read.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t life_seed, life_states, life_event, life_choice;
char life_dir[64];
static unsigned dirs;
static const char *const names[NAMES] = { "a", "bb", "ccc" };

void life_fail(const char *file, int line, const char *what, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "%s:%d: %s does not hold: ", file, line, what);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n  seed %llu, operation %llu, choice %llx; files are in %s\n",
		U(life_seed), U(life_event), U(life_choice), life_dir);
	va_end(args);
	exit(1);
}

void life_path(char *path, size_t size)
{
	snprintf(path, size, "%s/%u", life_dir, dirs++);
}

/* ---- what a start finds ---- */

static void check_message(const struct log_ring *rig, const struct log_message *m)
{
	const struct rig_message *want = &rig->messages[m->seq];

	CHECK(m->seq < RIG_SEQ_MAX && want->life && want->fate != RIG_GONE,
	      "message %llu was lost or never there", U(m->seq));
	CHECK(m->len == want->len && m->head_len == want->head_len && m->src == want->src &&
		      m->src_seq == want->src_seq,
	      "message %llu is another one", U(m->seq));
	for (uint32_t i = 0; i < m->head_len; i++)
		CHECK(m->head[i] == rig_byte(want->life, m->seq, i), "head of %llu", U(m->seq));
	for (uint32_t i = 0; i < m->len; i++)
		CHECK(m->data[i] == rig_byte(want->life, m->seq, want->head_len + i),
		      "byte %u of message %llu", i, U(m->seq));
}

/* Reads the whole log: its end. */
uint64_t life_check_log(const struct run *run, const struct crash_disk *disk, uint64_t below,
			uint64_t next[NAMES])
{
	const struct log_ring *rig = &run->rig;
	struct log_reader rd;
	struct log_dir ld;
	uint64_t seq = 0, missing = 0;
	int step;

	CHECK(log_dir_open(&ld, disk->dir, NULL, NULL) == 0, "%s", disk->path);
	CHECK(log_reader_open(&rd, &ld) == 0, "%s", disk->path);
	seq = rd.seq;
	while ((step = log_reader_step(&rd, 64)) > 0) {
		if (step == LOG_STEP_GAP) {
			CHECK(rd.gap.why == LOG_HOLE, "messages %llu to %llu: %s", U(rd.gap.from),
			      U(rd.gap.to), log_fault_text(rd.gap.why));
			CHECK(rd.gap.from == seq, "a gap from %llu, at %llu", U(rd.gap.from), U(seq));
			for (; seq < rd.gap.to; seq++) {
				struct rig_message *m = &rig->messages[seq];

				missing += m->life && m->fate == RIG_THERE;
				/* declared, so for ever; but for what is only tried out */
				if (m->fate == RIG_MAYBE && disk == &run->disk)
					m->fate = RIG_GONE;
				CHECK(missing <= rig->may_lose, "message %llu is in a hole", U(seq));
			}
			continue;
		}
		for (int i = 0; i < rd.count; i++) {
			CHECK(rd.msgs[i].seq == seq, "message %llu, at %llu", U(rd.msgs[i].seq),
			      U(seq));
			check_message(rig, &rd.msgs[i]);
			for (int n = 0; n < NAMES; n++) {
				if (seq < below && rd.msgs[i].src == run->src[n])
					next[n] = rd.msgs[i].src_seq + 1;
			}
			seq++;
		}
	}
	CHECK(step == 0, "reading: %s", strerror(-step));
	log_reader_close(&rd);
	log_dir_close(&ld);
	return seq;
}

uint64_t life_log_end(const struct run *run)
{
	uint64_t next[NAMES] = { 0 };

	return life_check_log(run, &run->disk, 0, next);
}

static void check_sources(const struct run *run, const struct sources *s, const uint64_t next[NAMES])
{
	for (int i = 0; i < NAMES; i++) {
		const struct source *source = sources_find(s, names[i], strlen(names[i]));

		if (!run->src[i])
			continue;
		CHECK(source && source->src == run->src[i], "name %s is not known as %u", names[i],
		      run->src[i]);
		/* what was noted, and lost then, was its last number all the same */
		CHECK(source->next == next[i] || (run->rig.may_lose && source->next > next[i]),
		      "%s is to go on with %llu, not %llu", names[i], U(source->next), U(next[i]));
	}
}

/*
 * Whoever goes on where it stands misses nothing: no message gets a number below that. (busd lowers such a one; here the
 * order alone has to do.)
 */
static void check_reader(struct positions *positions, uint64_t next)
{
	const struct position *pos = positions_find(positions, "reader");

	CHECK(!pos || pos->seq <= next, "the reader is at %llu, and the next message is %llu",
	      U(pos->seq), U(next));
}

static void read_all(struct run *run)
{
	struct position *pos = positions_find(&run->positions, "reader");

	if (!pos)
		pos = positions_add(&run->positions, "reader", 1, 1);
	if (!pos || run->rig.head <= run->begin) /* of a log whose first segment never counted */
		return;
	positions_move(pos, run->rig.head, 1);
	positions_write(&run->positions, run->opts.policy != LOG_SYNC_NONE, run->now);
}

/* A start on `disk`, where `run` says what was promised; nothing is changed for the run. */
void life_check_start(const struct run *run, struct crash_disk *disk)
{
	struct recovered rec;
	struct sources sources;
	struct retention retention;
	struct log_start start;
	struct why why = { "" };
	uint64_t end, next[NAMES] = { 0 };
	int error = recover_open(&rec, &disk->io, disk->dir, RECOVER_NO_RING, &sources, &retention,
				 &why);

	life_states++;
	CHECK(error == 0, "%s", why.text);
	CHECK(rec.end_seq >= run->promised, "the log ends at %llu, %llu were promised",
	      U(rec.end_seq), U(run->promised));
	end = life_check_log(run, disk, rec.end_seq, next);
	CHECK(end == rec.end_seq, "read to %llu, recovered %llu", U(end), U(rec.end_seq));
	/* it was on disk before its segment counted */
	CHECK(rec.fresh || rec.sources_from == rec.base_seq, "the snapshot of %llu is not there",
	      U(rec.base_seq));
	recover_start(&rec, RING_SLOTS, &start);
	CHECK(start.seq >= run->rig.seen, "numbers go on at %llu, %llu were given", U(start.seq),
	      U(run->rig.seen));
	check_sources(run, &sources, next);
	if (run->reads) {
		static struct positions found;

		CHECK(positions_open(&found, &disk->io, disk->dir, rec.uuid, &why) == 0, "%s",
		      why.text);
		check_reader(&found, start.seq);
		positions_close(&found);
	}
	sources_close(&sources);
	retention_free(&retention);
}

/* ---- a life ---- */

static bool disk_is_ill(const struct crash_disk *disk)
{
	return disk->crashed || disk->full || disk->fault_hits;
}

static bool give_names(struct run *run)
{
	struct source *source;
	struct why why;

	for (int i = 0; i < NAMES; i++) {
		if (sources_add(&run->sources, names[i], strlen(names[i]), &source, &why) < 0) {
			CHECK(disk_is_ill(&run->disk), "%s", why.text);
			return false;
		}
		CHECK(!run->src[i] || run->src[i] == source->src, "%s is %u, was %u", names[i],
		      source->src, run->src[i]);
		CHECK(run->src[i] || source->src > run->src_seen || run->src_seen == 0 ||
			      source->next == 0,
		      "src %u was given before", source->src);
		run->src[i] = source->src;
		if (source->src > run->src_seen)
			run->src_seen = source->src;
		if (!run->ring_stays)
			run->rig.src_next[source->src] = source->next;
	}
	if (sources_nameless(&run->sources, &run->nameless, &why) < 0) {
		CHECK(disk_is_ill(&run->disk), "%s", why.text);
		return false;
	}
	CHECK(run->nameless > run->src_seen, "src %u was given before", run->nameless);
	run->src_seen = run->nameless;
	return true;
}

static void end_life(struct run *run)
{
	positions_close(&run->positions);
	sources_close(&run->sources);
	retention_free(&run->retention);
}

static void note_made(void *owner, const struct log_made *made)
{
	(void)made;
	((struct run *)owner)->made = true;
}

/* False: it died at it, or the disk failed, as it was told to. */
static bool begin_life(struct run *run)
{
	const uint64_t from = run->ring_stays ? run->gate : RECOVER_NO_RING;
	struct log_start start;
	struct why why = { "" };
	uint64_t next[NAMES] = { 0 };
	int error = recover_open(&run->rec, &run->disk.io, run->disk.dir, from, &run->sources,
				 &run->retention, &why);

	if (error == 0 && run->disk.crashed)
		end_life(run);
	if (run->disk.crashed || (error < 0 && disk_is_ill(&run->disk)))
		return false;
	CHECK(error == 0, "%s", why.text);
	CHECK(run->rec.end_seq >= run->promised, "the log ends at %llu, %llu were promised",
	      U(run->rec.end_seq), U(run->promised));
	CHECK(run->rec.fresh || run->rec.sources_from == run->rec.base_seq,
	      "the snapshot of %llu is not there", U(run->rec.base_seq));
	memcpy(run->rig.uuid, run->rec.uuid, sizeof(run->rig.uuid));
	if (run->ring_stays) {
		const struct log_slot *slot = &run->rig.slots[run->gate & (RING_SLOTS - 1)];

		error = recover_start_at(&run->rec, run->gate,
					 run->gate < run->rig.head ? slot->pos : run->rig.pos,
					 &start, &why);
		CHECK(error == 0, "%s", why.text);
	} else {
		/* Seen no more once the next segment counts; until then late writes may bring them back. */
		for (uint64_t seq = run->rec.end_seq; seq < run->rig.seen; seq++)
			if (run->rig.messages[seq].fate == RIG_THERE)
				run->rig.messages[seq].fate = RIG_MAYBE;
		/* All that is accepted is on disk, so it is promised. */
		run->promised = run->rec.end_seq;
		recover_start(&run->rec, RING_SLOTS, &start);
		CHECK(start.seq >= run->rig.seen, "numbers go on at %llu, %llu were given",
		      U(start.seq), U(run->rig.seen));
		rig_ring_begin(&run->rig, start.seq, start.pos);
		run->ring_lives = true;
		run->gate = start.seq;
		run->begin = start.seq;
	}
	CHECK(life_check_log(run, &run->disk, bus_min_u64(from, run->rec.end_seq), next) >=
		      run->rec.end_seq,
	      "the log ends before %llu", U(run->rec.end_seq));
	check_sources(run, &run->sources, next);
	if (run->reads &&
	    positions_open(&run->positions, &run->disk.io, run->disk.dir, run->rec.uuid, &why) < 0) {
		CHECK(disk_is_ill(&run->disk), "%s", why.text);
		end_life(run);
		return false;
	}
	if (run->reads)
		check_reader(&run->positions, run->ring_stays ? run->rig.head : start.seq);
	if (!give_names(run)) {
		end_life(run);
		return false;
	}
	memcpy(run->opts.uuid, run->rec.uuid, sizeof(run->opts.uuid));
	run->opts.view = run->rig.view;
	run->opts.dir = run->disk.dir;
	run->opts.sources = &run->sources;
	run->opts.made = note_made;
	run->opts.owner = run;
	CHECK(log_file_open(&run->log, &run->disk.io, &run->opts, &start, &why) == 0, "%s", why.text);
	if (run->ring_stays)
		log_file_offer(run->log, run->rig.head);
	run->ring_from = from;
	run->made = run->gave_back = false;
	return true;
}

static void give_back(struct run *run)
{
	int64_t rc;

	if (!run->made || run->gave_back)
		return;
	run->gave_back = true;
	rc = recover_give_back(&run->rec, &run->disk.io, run->disk.dir, run->ring_from);
	CHECK(rc >= 0 || rc == -EOPNOTSUPP || disk_is_ill(&run->disk), "%s", strerror((int)-rc));
}

static void publish_some(struct run *run)
{
	while (disk_random(&run->disk, 3)) {
		const uint32_t len =
			(uint32_t)disk_random(&run->disk, disk_random(&run->disk, 8) ? 150 : 900);
		const uint32_t head = disk_random(&run->disk, 4) ? 0 : 16;
		const uint64_t who = disk_random(&run->disk, NAMES + 1);

		if (run->rig.head >= log_file_limit(run->log) ||
		    !rig_ring_room(&run->rig, log_file_gate(run->log), head, len))
			break;
		rig_ring_put(&run->rig, who < NAMES ? run->src[who] : run->nameless, head, len);
	}
	log_file_offer(run->log, run->rig.head);
}

static void heal(struct run *run, uint64_t steps)
{
	if (run->heals_at && steps >= run->heals_at) {
		run->disk.fault_at = 0;
		run->disk.full = false;
	}
}

void life_live(struct run *run, uint64_t messages)
{
	uint64_t until, steps = 0;

	run->states = 0;
	while (!begin_life(run)) {
		if (run->disk.crashed || ++steps > 200)
			return;
		heal(run, steps * 20);
	}
	until = run->rig.head + messages;
	while (!run->disk.crashed) {
		if (run->rig.head < until)
			publish_some(run);
		else
			log_file_flush(run->log);
		log_file_run(run->log, run->now);
		give_back(run);
		if (run->reads)
			read_all(run);
		run->states |= 1u << log_file_state(run->log);
		/* where a life begins there is nothing to promise yet */
		if (log_file_durable(run->log) > run->begin)
			run->promised = bus_max_u64(run->promised, log_file_durable(run->log));
		run->gate = log_file_gate(run->log);
		if (run->rig.head >= until && log_file_durable(run->log) == run->rig.head)
			break;
		io_poll(&run->disk.io, 0);
		run->now += disk_random(&run->disk, 2) ? 0 : MS;
		heal(run, ++steps);
		if (run->disk.fault_stays && !run->heals_at && steps > 3000)
			break;
		CHECK(steps < 200000, "it gets nowhere: %s", log_file_why(run->log));
	}
	run->counts = *log_file_counts(run->log);
	run->rig.may_lose += run->counts.lost;
	log_file_close(run->log);
	end_life(run);
}

void life_open(struct run *run, uint64_t with)
{
	char path[96];

	memset(run, 0, sizeof(*run));
	life_path(path, sizeof(path));
	disk_open(&run->disk, path, with);
	rig_ring_open(&run->rig, RING_SLOTS, RING_BYTES);
	run->opts = (struct log_file_opts){
		.topic = "crash.test",
		.slots = 6 + disk_random(&run->disk, 30),
		.bytes = 8192 + 4096 * disk_random(&run->disk, 2),
		.policy = disk_random(&run->disk, 2)   ? LOG_SYNC_BATCH
			  : disk_random(&run->disk, 2) ? LOG_SYNC_INTERVAL
						       : LOG_SYNC_NONE,
		.interval_ns = 5 * MS,
		.numbers_step = 6,
		.punch = true,
	};
	run->now = 1;
}

void life_close(struct run *run)
{
	disk_close(&run->disk);
	rig_ring_close(&run->rig);
}

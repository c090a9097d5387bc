/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_disk.c - the loop's side of a stream that is kept on disk (spill_disk.h): made, gone on with by a new
 * worker, found in the data directory by a new busd, asked who its publishers are, ended.
 */
#include "stream_internal.h"

#include "alloc.h"
#include "log.h"
#include "position.h"
#include "record.h"
#include "request.h"
#include "server.h"
#include "user.h"

#include "base/clock.h"
#include "format/topic_name.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SWEEP_TRIES 100 /* of looking whether a former writer has ended */
/* The first time a refused stream is tried again, and the longest time between two. */
#define AGAIN_NS     UINT64_C(100000000)
#define AGAIN_MAX_NS UINT64_C(10000000000)
#define REMOVE_NS    UINT64_C(100000000)   /* for the writer of a stream that is removed */
#define STUCK_NS     UINT64_C(2000000000)  /* of it, for a disk that is full or fails */
#define LEAVE_NS     UINT64_C(20000000000) /* for what is not on disk yet when busd is stopped */

/* A directory of a stream that could not be taken up: nothing else gets its name. */
struct refused {
	struct refused *next;
	char name[SPILL_NAME_MAX];
	bool again; /* it may be that nothing is wrong with it */
	struct why why;
};

/* ---- settings ---- */

int stream_settle_log(struct busd *busd, struct ctl_log_settings *log, struct why *why)
{
	if (log->sync == CTL_SYNC_DEFAULT)
		log->sync = CTL_SYNC_BATCH;
	if (log->sync > CTL_SYNC_MEMORY)
		return because(why, EINVAL, "there is no sync policy %u", log->sync);
	if ((log->sync == CTL_SYNC_INTERVAL) != (log->interval_ns != 0))
		return because(why, EINVAL,
			       "sync policy interval has an interval, and the others none");
	if (log->interval_ns &&
	    (log->interval_ns < 1000000 || log->interval_ns > UINT64_C(3600000000000)))
		return because(why, EINVAL, "an interval between syncs is 1 ms to 1 hour");
	if (log->on_full > CTL_ON_FULL_DROP)
		return because(why, EINVAL,
			       "a stream blocks or drops when it is full: there is no policy %u",
			       log->on_full);
	if (log->sync == CTL_SYNC_MEMORY && log->on_full)
		return because(
			why, EINVAL,
			"a stream in memory waits for no disk: there is nothing that it would drop");
	if (log->sync == CTL_SYNC_MEMORY && (log->max_age_ns || log->max_bytes || log->max_messages))
		return because(
			why, EINVAL,
			"a stream in memory keeps what its ring holds: limits are for those on disk");
	if (log->sync != CTL_SYNC_MEMORY && !busd->data_dir)
		return because(
			why, ENOENT,
			"busd has no data directory (neither HOME nor XDG_STATE_HOME names one that it may use): give it one by --data-dir, or make the stream with --sync=memory");
	return 0;
}

void stream_fill_settings(const struct job *job, struct spill_settings *ret)
{
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->topic, sizeof(ret->topic), "%s", job->pattern);
	memcpy(ret->uuid, job->uuid, sizeof(ret->uuid));
	ret->rings = job->settings;
	ret->stream_slots = job->stream_slots;
	ret->stream_bytes = job->stream_bytes;
	ret->created_ns = bus_realtime_ns();
	ret->log = job->log;
}

static void settings_of(const struct topic *topic, struct spill_settings *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->topic, topic->name, sizeof(ret->topic));
	memcpy(ret->uuid, topic->uuid, sizeof(ret->uuid));
	ret->rings = topic->settings;
	ret->stream_slots = topic->stream_slots;
	ret->stream_bytes = topic->stream_bytes;
	ret->created_ns = topic->created_ns;
	ret->log = topic->log;
}

/* ---- beginning, going on ---- */

static int new_writer(struct stream *stream, int dir, struct why *why)
{
	struct topic *topic = stream->topic;
	struct busd *busd = topic->busd;
	const struct ring_view *view = &stream->work.seq.out.view;
	struct spill_settings settings;
	const struct spill_disk_opts opts = {
		.topic = topic->name,
		.settings = &settings,
		.data_dir = busd->data_dir ? busd->data_dir : "",
		.dir = dir,
		.view = { .slots = (const struct log_slot *)(const void *)ring_slot_of(view, 0),
			  .payload = view->payload,
			  .slot_count = view->slot_count,
			  .bytes = view->bytes },
		.board = topic->board.seg->map,
		.sources = board_sources(&topic->board),
		.spill = &stream->work.seq.spill,
		.loop_fd = thread_event(busd),
		.user = busd->self->user,
		.slot = busd->self->slot,
	};
	int rc;

	settings_of(topic, &settings);
	rc = spill_disk_new(&stream->disk, &opts, why);
	if (rc < 0)
		return rc;
	/* it may write from the ring longer than anything else needs that */
	stream->disk_seg = segment_ref(stream->ring->seg);
	topic_pin(topic);
	return 0;
}

/* What each source has in the log: all it has, but for what is still to be written. */
static void count_kept(struct stream *stream, uint64_t gate)
{
	const struct sequencer *seq = &stream->work.seq;
	uint64_t at;
	uint32_t i;

	for (i = 0; i < BOARD_SOURCES; i++)
		spill_disk_keep(stream->disk, i, bus_load_relaxed(&seq->sources[i].taken));
	for (at = seq->out.n; at > gate; at--) {
		const struct ring_slot *slot = ring_slot_of(&seq->out.view, at - 1);
		const uint32_t src = (uint32_t)bus_load_relaxed(&slot->in[1]);

		if (seq->sources[src % BOARD_SOURCES].src == src)
			spill_disk_keep(stream->disk, src % BOARD_SOURCES,
					bus_load_relaxed(&slot->in[0]));
	}
}

int stream_begin_disk(struct stream *stream, struct stream_place *place, struct why *why)
{
	struct sequencer *seq = &stream->work.seq;
	const struct board_head *head = stream->topic->board.seg->map;
	const uint64_t n = seq->out.n;
	uint64_t gate = bus_load_acquire(&head->spilled_seq), pos = seq->out.pos;
	int rc = new_writer(stream, place->dir, why);

	if (rc < 0)
		return rc;
	place->dir = -1;
	if (place->found) {
		/* the clock may have been set back meanwhile: times in a log never go back */
		seq->time_ns = bus_max_u64(seq->time_ns, place->found->rec.end_time);
		spill_disk_adopt(stream->disk, place->found);
		place->found = NULL;
		gate = n;
	} else {
		if (gate > n || n - gate > seq->out.view.slot_count)
			gate = n; /* a board that says so is no board of ours */
		if (gate < n)
			pos = bus_load_relaxed(&ring_slot_of(&seq->out.view, gate)->pos);
		spill_disk_begin_at(stream->disk, gate, pos);
	}
	count_kept(stream, gate);
	spill_hold(&seq->spill, gate, n, spill_disk_event(stream->disk));
	seq->spill.drops = stream->topic->log.on_full == CTL_ON_FULL_DROP;
	bus_store_relaxed(&seq->spill.dropped, bus_load_relaxed(&head->log.dropped));
	return 0;
}

static void *sweep_main(void *arg)
{
	struct busd *busd = arg;
	struct why why = { "" };
	uint32_t wanted;

	do {
		wanted = bus_load_acquire(&busd->sweeps);
		if (spill_dir_sweep(busd->data_dir, SWEEP_TRIES, &why) < 0)
			log_error("files of a removed stream stay until the next one is removed, or busd starts: %s",
				  why.text);
	} while (!bus_cas_seq_cst(&busd->sweeps, &wanted, 0));
	return NULL;
}

/* Deletes what removed streams left, in a thread of its own: that may take long. */
static void sweep(struct busd *busd)
{
	pthread_attr_t attr;
	pthread_t thread;

	if (!busd->data_dir || bus_add_seq_cst(&busd->sweeps, 1) != 0)
		return; /* who is at it looks once more */
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, sweep_main, busd) != 0) {
		bus_store_release(&busd->sweeps, 0);
		log_error("no thread to delete what removed streams left: at the next start");
	}
	pthread_attr_destroy(&attr);
}

void stream_run_disks(struct busd *busd)
{
	size_t i;

	if (!busd->swept) /* what was removed under a former busd, and not deleted to its end */
		sweep(busd);
	busd->swept = true;
	for (i = 0; i < busd->topic_count; i++) {
		struct stream *stream = busd->topics[i]->stream;
		int rc = stream && stream->disk ? spill_disk_start(stream->disk) : 0;

		if (rc < 0)
			log_error("no thread for stream \"%s\": %s; it stands still",
				  busd->topics[i]->name, strerror(-rc));
	}
}

/* ---- who publishes ---- */

int stream_ask(struct stream *stream, struct job *job, bool named, const uint64_t *taken,
	       struct why *why)
{
	struct spill_ask *ask = spill_ask_new(SPILL_ASK_SOURCE, job);
	uint32_t i;

	if (!ask)
		return because(why, ENOMEM, "busd is out of memory");
	if (named)
		snprintf(ask->name, sizeof(ask->name), "%u:%s", job->client->uid, job->name);
	for (i = 0; i < BOARD_SOURCES / 64; i++)
		ask->free[i] = ~taken[i];
	stream_park(stream, job, ask);
	return -EINPROGRESS;
}

void stream_park(struct stream *stream, struct job *job, struct spill_ask *ask)
{
	job->ask = ask;
	job->parked = true;
	job->client->job = job;
	list_append(&stream->parked, &job->link);
	spill_disk_ask(stream->disk, ask);
}

void stream_take_answers(struct topic *topic)
{
	struct stream *stream = topic->stream;
	struct spill_ask *ask;

	while (stream->disk && (ask = spill_disk_answer(stream->disk))) {
		if (ask->job) {
			ask->job->ask = NULL;
			if (ask->kind == SPILL_ASK_SEGMENT)
				stream_segment_answered(ask->job, ask);
			else
				stream_answered(ask->job, ask);
		}
		spill_ask_free(ask);
	}
	position_take_answers(topic);
}

/* ---- ending ---- */

static bool pass_time(uint64_t until)
{
	usleep(500);
	return bus_monotonic_ns() < until;
}

/* What its publishers' rings hold is numbered and on its way to the disk. True: all of it is there. */
static bool leave_step(struct stream *stream)
{
	struct busd *busd = stream->topic->busd;
	bool over = false, waits;

	thread_lock(busd);
	while (stream_work_round(&stream->work, NULL, &over))
		continue;
	waits = stream_work_waits(&stream->work);
	thread_unlock(busd);
	spill_disk_flush(stream->disk);
	return !waits && spill_disk_is_flushed(stream->disk);
}

/* Whether all that may still get to disk is there. stuck: a disk that is full or fails is waited for no more. */
static bool leave_steps(struct busd *busd, bool stuck)
{
	bool all = true;
	size_t i;

	for (i = 0; i < busd->topic_count; i++) {
		struct topic *topic = busd->topics[i];
		struct stream *stream = topic->stream;
		const struct board_head *board = topic->board.seg->map;

		if (!stream || !stream->ring || !stream->disk || leave_step(stream))
			continue;
		if (!stuck || bus_load_relaxed(&board->log.state) == BOARD_LOG_RUNNING)
			all = false;
	}
	return all;
}

static void say_left(const struct busd *busd)
{
	size_t i;

	for (i = 0; i < busd->topic_count; i++) {
		struct stream *stream = busd->topics[i]->stream;

		if (stream && stream->ring && stream->disk && !leave_step(stream))
			log_error("stream \"%s\": busd leaves before all of it is on disk",
				  stream->topic->name);
	}
}

void stream_leave(struct busd *busd)
{
	const uint64_t began = bus_monotonic_ns();
	size_t i;

	/* one time for all streams, together: the keeper kills who stays */
	busd->leave_until = began + LEAVE_NS;
	for (i = 0; i < busd->topic_count; i++) {
		struct stream *stream = busd->topics[i]->stream;

		if (!stream || !stream->ring || !stream->disk)
			continue;
		/* who goes on publishing does so in vain from here on */
		thread_lock(busd);
		thread_remove(&stream->work);
		stream_work_bound(&stream->work);
		thread_unlock(busd);
	}
	while (!leave_steps(busd, bus_monotonic_ns() - began > STUCK_NS) &&
	       pass_time(busd->leave_until))
		continue;
	say_left(busd);
}

/*
 * Of a stream that is removed the rest need not go to disk, and is numbered for those who read it. Not while its writer
 * reads the ring, nor when busd is stopped: readers might see numbers then that the next busd gives again.
 */
void stream_end_disk(struct stream *stream)
{
	struct busd *busd = stream->topic->busd;
	const uint64_t until = busd->stopping ? busd->leave_until : bus_monotonic_ns() + REMOVE_NS;

	if (!stream->disk)
		return;
	spill_disk_stop(stream->disk, !busd->stopping);
	list_append(&busd->streams_ending, &stream->ending);
	while (!spill_disk_has_ended(stream->disk) && pass_time(until))
		continue;
	if (!busd->stopping && spill_disk_has_ended(stream->disk)) {
		thread_lock(busd);
		spill_release(&stream->work.seq.spill);
		thread_unlock(busd);
	}
	stream_settle_ended(busd);
}

void stream_settle_ended(struct busd *busd)
{
	struct stream *stream;

	for_each(stream, &busd->streams_ending, ending) {
		if (!spill_disk_has_ended(stream->disk))
			continue;
		list_remove(&stream->ending);
		stream_take_answers(stream->topic);
		spill_disk_free(stream->disk);
		stream->disk = NULL;
		segment_unref(stream->disk_seg);
		if (stream->topic->removed && !busd->stopping)
			sweep(busd);
		topic_unpin(stream->topic); /* which may free the stream */
	}
}

/*
 * Its directory says whether it was removed: renamed first, and only then is that noted. A worker that was stopped notes the
 * end of all topics too; one that dies before it notes anything has removed it all the same.
 */
static int find_dir(const struct topic *topic)
{
	struct why why = { "" };
	int rc = SPILL_DIR_GONE;

	if (topic_is_stream(topic) && topic->log.sync != CTL_SYNC_MEMORY && topic->busd->data_dir)
		rc = spill_dir_where(topic->busd->data_dir, topic->name, topic->uuid, &why);
	if (rc < 0)
		log_error("whether stream \"%s\" was removed cannot be made out, so it was not: %s",
			  topic->name, why.text);
	return rc;
}

bool stream_is_aside(const struct topic *topic)
{
	return find_dir(topic) == SPILL_DIR_ASIDE;
}

bool stream_stays(const struct topic *topic)
{
	const int where = find_dir(topic);

	return where == SPILL_DIR_PLACE || where < 0;
}

/* ---- what the data directory holds ---- */

int stream_check_refused(const struct busd *busd, const char *topic, struct why *why)
{
	char name[SPILL_NAME_MAX];
	const struct refused *refused;

	if (busd->unlisted)
		return because(
			why, EAGAIN,
			"whether \"%s\" is a stream on disk is not known yet: %s; it is tried again",
			topic, busd->unlisted->text);
	spill_dir_name(topic, name);
	for (refused = busd->refused; refused; refused = refused->next)
		if (strcmp(refused->name, name) == 0)
			return because(
				why, refused->again ? EAGAIN : EIO,
				"stream \"%s\" lies in the data directory, and cannot be taken up: %s%s",
				topic, refused->why.text,
				refused->again ? "; it is tried again" : "");
	return 0;
}

/* One that was killed has the lock until the kernel has ended what it had under way. */
static bool may_pass(int rc)
{
	return rc == -EBUSY || rc == -EIO || rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE ||
	       rc == -EAGAIN || rc == -EDQUOT;
}

static void try_again(struct busd *busd)
{
	if (!busd->refused_wait_ns)
		busd->refused_wait_ns = AGAIN_NS;
	server_set_deadline(busd, TIMER_REFUSED, bus_monotonic_ns() + busd->refused_wait_ns);
}

static void refuse(struct busd *busd, const char *name, int rc, const struct why *why)
{
	struct refused *refused = calloc(1, sizeof(*refused));

	if (!refused)
		return;
	snprintf(refused->name, sizeof(refused->name), "%s", name);
	refused->again = may_pass(rc);
	refused->why = *why;
	refused->next = busd->refused;
	busd->refused = refused;
	if (refused->again)
		try_again(busd);
}

static int build(struct busd *busd, const struct spill_settings *settings,
		 struct stream_place *place, struct why *why)
{
	struct job job = { .stream_slots = settings->stream_slots,
			   .stream_bytes = settings->stream_bytes,
			   .log = settings->log };
	struct segment_plan plan = { .kind = CTL_SEG_RING,
				     .ring_slots = settings->stream_slots,
				     .ring_bytes = settings->stream_bytes,
				     .ring_first_seq = place->found->start.seq,
				     .ring_features = RING_FEATURE_STREAM,
				     .numa = settings->rings.numa,
				     .node = -1,
				     .pages = SEGMENT_ORDINARY };
	struct quota_bill bill = { .account = &busd->self->user->account,
				   .bytes = segment_plan_bytes(&plan),
				   .files = 1 };
	struct segment *seg = segment_new(busd_new_id(busd));
	struct topic *topic;
	int rc = namespace_find(busd, settings->topic, &bill.space, why);

	memcpy(job.uuid, settings->uuid, sizeof(job.uuid));
	if (!seg)
		return because(why, ENOMEM, "busd is out of memory");
	if (rc == 0)
		rc = ring_charge(busd, &bill, why);
	if (rc == 0) {
		seg->bill = bill;
		rc = segment_build(seg, &plan, why);
	}
	topic = rc < 0 ? NULL
		       : topic_make(busd->self, settings->topic, &settings->rings, true, &job, &rc,
				    why);
	if (topic) {
		topic->created_ns = settings->created_ns;
		record_topic(topic);
		rc = stream_make(topic, seg, place, why);
		if (rc < 0)
			topic_remove(topic);
	}
	segment_unref(seg);
	return rc;
}

static int take_up(struct busd *busd, const char *name, int dir, struct why *why)
{
	struct spill_settings settings;
	struct stream_place place = { .dir = dir };
	struct spill_found found;
	char expected[SPILL_NAME_MAX];
	int rc = spill_dir_read(dir, &settings, why);

	if (rc == 0 && topic_name_check(settings.topic))
		rc = because(why, EBADMSG, "its topic's name is none");
	if (rc == 0) {
		spill_dir_name(settings.topic, expected);
		if (strcmp(expected, name) != 0)
			rc = because(why, EBADMSG, "it is that of stream \"%s\", under another name",
				     settings.topic);
	}
	if (rc == 0 && topic_find(busd, settings.topic)) {
		close(dir);
		return 0;
	}
	if (rc == 0)
		rc = stream_self(busd, -1, why);
	if (rc == 0)
		rc = spill_find(&found, dir, &settings, why);
	if (rc == 0) {
		place.found = &found;
		rc = build(busd, &settings, &place, why);
		if (rc == 0)
			log_info("stream \"%s\": on disk are messages from %llu on, below %llu; the next one is %llu",
				 settings.topic, (unsigned long long)found.rec.oldest_seq,
				 (unsigned long long)found.rec.end_seq,
				 (unsigned long long)found.start.seq);
		if (place.found)
			spill_found_free(&found);
	}
	if (place.dir >= 0)
		close(place.dir);
	return rc;
}

/* By an attempt to list them that failed later on. */
static bool is_refused(const struct busd *busd, const char *name)
{
	const struct refused *refused;

	for (refused = busd->refused; refused; refused = refused->next)
		if (strcmp(refused->name, name) == 0)
			return true;
	return false;
}

static void found_dir(void *owner, const char *name, int dir)
{
	struct why why = { "" };
	int rc;

	if (is_refused(owner, name)) {
		if (dir >= 0)
			close(dir);
		return;
	}
	rc = dir < 0 ? because(&why, -dir, "it cannot be opened: %s", strerror(-dir))
		     : take_up(owner, name, dir, &why);
	if (rc >= 0)
		return;
	log_error("the stream in %s/" SPILL_STREAMS_NAME
		  "/%s cannot be taken up, and is left as it is: %s%s",
		  ((struct busd *)owner)->data_dir, name, why.text,
		  may_pass(rc) ? "; tried again until it can" : "");
	refuse(owner, name, rc, &why);
}

static void load_again(struct busd *busd, const char *name)
{
	struct why why = { "" };
	int dir = spill_dir_of(busd->data_dir, name), rc;

	if (dir == -ENOENT) /* moved away */
		return;
	rc = dir < 0 ? because(&why, -dir, "it cannot be opened: %s", strerror(-dir))
		     : take_up(busd, name, dir, &why);
	if (rc < 0)
		refuse(busd, name, rc, &why);
	else
		log_info("the stream in %s/" SPILL_STREAMS_NAME "/%s is taken up now",
			 busd->data_dir, name);
}

static void refused_again(struct busd *busd)
{
	struct refused *refused = busd->refused, *next;

	for (busd->refused = NULL; refused; refused = next) {
		next = refused->next;
		if (refused->again) {
			load_again(busd, refused->name);
			free(refused);
		} else {
			refused->next = busd->refused;
			busd->refused = refused;
		}
	}
}

void stream_load_again(struct busd *busd)
{
	busd->refused_wait_ns = bus_min_u64(busd->refused_wait_ns * 2, AGAIN_MAX_NS);
	if (busd->unlisted)
		stream_load(busd);
	if (!busd->unlisted)
		refused_again(busd);
	stream_run(busd);
}

/* Until that is known any name may be a stream's: who got a live topic by it would publish to nobody. */
void stream_load(struct busd *busd)
{
	static struct why unlisted;
	const bool again = busd->unlisted;
	struct why why = { "" };

	busd->unlisted = NULL;
	if (!busd->data_dir)
		return;
	if (spill_dir_each(busd->data_dir, found_dir, busd, &why) == 0) {
		if (again)
			log_info("what %s holds is known now", busd->data_dir);
		return;
	}
	if (!again)
		log_error("streams on disk are not there, and no topic is made, until that is over: %s",
			  why.text);
	unlisted = why;
	busd->unlisted = &unlisted;
	try_again(busd);
}

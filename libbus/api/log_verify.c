/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_verify.c - bus_log_verify(): everything in a log's directory read once, and what is wrong told one by
 * one. bus_log_remedy(): what can be done about it, which is renaming.
 */
#include "api/log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Files that are no segments; then for each segment what is before it, its flaws, its messages, its end. */
enum { CHECK_NOT = 0, CHECK_FILES, CHECK_BEFORE, CHECK_FLAWS, CHECK_READ, CHECK_TAIL, CHECK_DONE };

/* What a step comes to. */
enum { STEP_ON = 0, STEP_FINDING = 1, STEP_END = 2 };

void bus__log_check_end(struct bus_log *log)
{
	struct bus__log_check *c = &log->check;

	if (c->open)
		log_segment_close(&c->seg);
	log_buffer_free(&c->buf);
	free(c->msgs);
	*c = (struct bus__log_check){ .buf = { .fd = -1 } };
}

static int found(struct bus__log_check *c, struct bus_log_finding *ret, uint32_t kind,
		 const char *file)
{
	snprintf(c->file, sizeof(c->file), "%s", file);
	*ret = (struct bus_log_finding){ .kind = kind, .file = c->file, .what = c->what };
	return STEP_FINDING;
}

BUS_PRINTF(2, 3) static void say(struct bus__log_check *c, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(c->what, sizeof(c->what), format, ap);
	va_end(ap);
}

/* ---- files that are not used ---- */

static int check_file(struct bus_log *log, struct bus_log_finding *ret)
{
	struct bus__log_check *c = &log->check;
	const struct log_entry *e;

	if (c->at == log->dir.count) {
		c->phase = CHECK_BEFORE;
		c->at = 0;
		return STEP_ON;
	}
	e = &log->dir.entries[c->at++];
	switch (e->kind) {
	case LOG_KIND_BROKEN:
	case LOG_KIND_STRANGER:
	case LOG_KIND_DOUBLE:
		say(c, "%s", bus__log_kind_text(e));
		found(c, ret, BUS_LOG_FILE, e->name);
		ret->remedy = BUS_LOG_REMEDY_QUARANTINE;
		return STEP_FINDING;
	case LOG_KIND_TOO_NEW:
		say(c, "%s than this program (%s) reads", bus__log_kind_text(e), bus_version());
		return found(c, ret, BUS_LOG_FILE, e->name);
	case LOG_KIND_UNREADABLE:
		say(c, "%s: %s", bus__log_kind_text(e), strerror(e->err));
		return found(c, ret, BUS_LOG_FILE, e->name);
	case LOG_KIND_TEMPORARY:
	case LOG_KIND_QUARANTINED:
		say(c, "%s", bus__log_kind_text(e));
		return found(c, ret, BUS_LOG_NOTE, e->name);
	case LOG_KIND_SEGMENT:
	case LOG_KIND_OTHER:
		break;
	}
	return STEP_ON;
}

/* ---- between two segments ---- */

static int absent(struct bus__log_check *c, struct bus_log_finding *ret, uint64_t from, uint64_t to,
		  enum log_fault why, uint64_t file)
{
	char name[64];

	snprintf(name, sizeof(name), LOG_SEGMENT_NAME, (unsigned long long)file);
	say(c, "%s", log_fault_text(why));
	found(c, ret, BUS_LOG_ABSENT, name);
	ret->fault = why;
	ret->from = from;
	ret->to = to;
	c->seq = to;
	return STEP_FINDING;
}

static int check_before(struct bus_log *log, struct bus_log_finding *ret)
{
	struct bus__log_check *c = &log->check;
	const struct log_entry *e = &log->dir.entries[c->at];
	uint64_t from, named;
	bool broken;

	if (c->at == log->dir.segments)
		return STEP_END;
	from = c->at == 0 ? 0 : e[-1].base_seq + 1;
	broken = log_dir_broken_between(&log->dir, from, e->base_seq, &named);
	if (c->at == 0 && broken && c->seq < named)
		c->seq = named;
	if ((c->at > 0 || broken) && c->seq < e->prev_end)
		return absent(c, ret, c->seq, e->prev_end, broken ? LOG_BROKEN : LOG_MISSING,
			      broken ? named : c->seq);
	if (c->at > 0 && c->seq < e->base_seq && e->prev_end < e->base_seq) {
		say(c, "%s", log_fault_text(LOG_HOLE));
		found(c, ret, BUS_LOG_NOTE, e->name);
		ret->fault = LOG_HOLE;
		ret->from = e->prev_end;
		ret->to = c->seq = e->base_seq;
		return STEP_FINDING;
	}
	c->seq = e->base_seq;
	c->told = 0;
	c->phase = CHECK_FLAWS;
	return STEP_ON;
}

/* ---- one segment ---- */

static const struct flaw {
	uint32_t bit;
	const char *what;
} flaws[] = {
	{ LOG_FLAW_HEADER, "its header is damaged; the copy serves" },
	{ LOG_FLAW_COPY, "the copy of its header is damaged" },
	{ LOG_FLAW_MARK, "a sync mark is damaged" },
	{ LOG_FLAW_SIZE, "its size is not what its header says" },
	{ LOG_FLAW_NAME, "it is named after another number than that of its first message" },
	{ LOG_FLAW_ORDER, "its header does not go on from the segment before it" },
};

/* Segment i went since the directory was listed: with all before it, since the oldest goes first. */
static bool retention_took(const struct bus_log *log, size_t i)
{
	while (i-- > 0)
		if (faccessat(log->dir.fd, log->dir.entries[i].name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return false;
	return true;
}

/* Opens it as well. */
static int check_flaws(struct bus_log *log, struct bus_log_finding *ret)
{
	struct bus__log_check *c = &log->check;
	const struct log_entry *e = &log->dir.entries[c->at];
	int err;

	for (size_t i = 0; i < BUS_ARRAY_LEN(flaws); i++) {
		if (!(e->flaws & ~c->told & flaws[i].bit))
			continue;
		c->told |= flaws[i].bit;
		say(c, "%s", flaws[i].what);
		found(c, ret, BUS_LOG_FLAW, e->name);
		if (flaws[i].bit == LOG_FLAW_NAME) {
			ret->remedy = BUS_LOG_REMEDY_RENAME;
			ret->renamed = e->base_seq;
		}
		return STEP_FINDING;
	}
	err = log_dir_segment(&log->dir, c->at, &c->seg);
	if (err == -ENOENT) {
		/* What it had is older than what is kept; a file that went alone is missing. */
		if (retention_took(log, c->at) && c->at + 1 < log->dir.segments)
			c->seq = e[1].prev_end;
		c->at++;
		c->phase = CHECK_BEFORE;
		return STEP_ON;
	}
	if (err)
		return err;
	c->open = true;
	c->end = c->seg.header.base_pos;
	c->time = c->good = c->bytes = 0;
	c->count = c->next = 0;
	c->stop = LOG_SOUND;
	c->phase = CHECK_READ;
	return STEP_ON;
}

/* Messages that are whole are held against the one before. */
static int check_order(struct bus_log *log, struct bus_log_finding *ret)
{
	struct bus__log_check *c = &log->check;

	while (c->next < c->count) {
		const struct log_message *m = &c->msgs[c->next++];
		bool back = m->pos < c->end, early = m->time < c->time;

		c->good++;
		c->bytes += (uint64_t)m->head_len + m->len;
		c->end = log_message_end(m);
		c->time = m->time;
		if (!back && !early)
			continue;
		say(c, "message %" PRIu64 " is whole, but %s the one before it", m->seq,
		    back ? "lies before the end of" : "is older than");
		found(c, ret, BUS_LOG_FLAW, log->dir.entries[c->at].name);
		ret->from = m->seq;
		ret->to = m->seq + 1;
		return STEP_FINDING;
	}
	return STEP_ON;
}

static int check_read(struct bus_log *log, struct bus_log_finding *ret)
{
	struct bus__log_check *c = &log->check;
	uint64_t from;

	if (check_order(log, ret) == STEP_FINDING)
		return STEP_FINDING;
	c->count = log_segment_read(&c->seg, &c->buf, c->seq, c->msgs, LOG_BATCH, &c->stop);
	c->next = 0;
	if (c->count < 0)
		return c->count;
	if (c->count > 0) {
		c->seq += (uint64_t)c->count;
		return STEP_ON;
	}
	if (c->stop != LOG_UNSUPPORTED && (c->stop == LOG_LIMIT || c->seq >= c->seg.attested)) {
		/* where busd has synced it by now it is read again */
		if (c->stop == LOG_LIMIT || log_segment_refresh(&c->seg) != 1)
			c->phase = CHECK_TAIL;
		return STEP_ON;
	}
	from = c->seq;
	c->seq = c->stop == LOG_UNSUPPORTED
			 ? from + 1
			 : log_segment_skip(&c->seg, &c->buf, from, c->seg.attested, c->stop);
	say(c, "%s", log_fault_text(c->stop));
	found(c, ret, BUS_LOG_DAMAGE, log->dir.entries[c->at].name);
	ret->fault = c->stop;
	ret->from = from;
	ret->to = c->seq;
	return STEP_FINDING;
}

/* How many whole messages lie behind the first that is not, where none should be; *last: the last of them. */
static uint64_t behind_tail(struct bus__log_check *c, uint64_t *last)
{
	uint64_t count = 0, at = c->seq;
	enum log_fault stop = c->stop;
	int n = 0;

	while (n >= 0 && at < c->seg.limit) {
		if (n == 0)
			at = log_segment_skip(&c->seg, &c->buf, at, c->seg.limit, stop);
		n = log_segment_read(&c->seg, &c->buf, at, c->msgs, LOG_BATCH, &stop);
		if (n > 0) {
			count += (uint64_t)n;
			at += (uint64_t)n;
			*last = at - 1;
		}
	}
	return count;
}

static int check_tail(struct bus_log *log, struct bus_log_finding *ret)
{
	struct bus__log_check *c = &log->check;
	uint64_t behind, last = 0;

	c->phase = CHECK_DONE;
	if (c->stop == LOG_LIMIT || c->seq >= c->seg.limit)
		return STEP_ON;
	behind = behind_tail(c, &last);
	if (c->stop == LOG_UNWRITTEN && behind == 0)
		return STEP_ON;
	say(c, "the log ends here, with a message that was not synced: %s", log_fault_text(c->stop));
	if (behind > 0)
		snprintf(c->what + strlen(c->what), sizeof(c->what) - strlen(c->what),
			 "; %" PRIu64 " whole ones lie behind it, up to %" PRIu64, behind, last);
	found(c, ret, BUS_LOG_NOTE, log->dir.entries[c->at].name);
	ret->fault = c->stop;
	ret->from = c->seq;
	ret->to = behind > 0 ? last + 1 : c->seq + 1;
	return STEP_FINDING;
}

static int check_done(struct bus_log *log, struct bus_log_finding *ret)
{
	struct bus__log_check *c = &log->check;

	say(c, "checked");
	found(c, ret, BUS_LOG_CHECKED, log->dir.entries[c->at].name);
	ret->from = c->seg.header.base_seq;
	ret->to = c->seq;
	ret->messages = c->good;
	ret->bytes = c->bytes;
	log_segment_close(&c->seg);
	c->open = false;
	c->at++;
	c->phase = CHECK_BEFORE;
	return STEP_FINDING;
}

static int check_begin(struct bus_log *log)
{
	struct bus__log_check *c = &log->check;
	int err = log_dir_refresh(&log->dir);

	if (err < 0)
		return err;
	c->msgs = malloc(LOG_BATCH * sizeof(*c->msgs));
	if (c->msgs == NULL)
		return -ENOMEM;
	c->phase = CHECK_FILES;
	c->at = log->dir.segments;
	return STEP_ON;
}

int bus_log_verify(struct bus_log *log, struct bus_log_finding *ret)
{
	static int (*const steps[])(struct bus_log *, struct bus_log_finding *) = {
		[CHECK_FILES] = check_file,  [CHECK_BEFORE] = check_before,
		[CHECK_FLAWS] = check_flaws, [CHECK_READ] = check_read,
		[CHECK_TAIL] = check_tail,   [CHECK_DONE] = check_done,
	};
	int r = STEP_ON;

	bus__why_clear();
	if (log->origin != NULL)
		return bus__fail(-EOPNOTSUPP,
				 "the files of \"%s\" are checked where they lie: bus-fsck DIRECTORY",
				 log->path);
	if (log->check.phase == CHECK_NOT)
		r = check_begin(log);
	while (r == STEP_ON)
		r = steps[log->check.phase](log, ret);
	if (r == STEP_FINDING)
		return 1;
	bus__log_check_end(log);
	return r == STEP_END ? 0 : bus__fail(r, "cannot check \"%s\": %s", log->path, strerror(-r));
}

/* ---- remedies ---- */

/* NAME.bad, NAME.bad.1, ...: the first that is free. */
static int quarantine(struct bus_log *log, const char *file, char *to, size_t size)
{
	for (int i = 0; i < 1000; i++) {
		int n = i == 0 ? snprintf(to, size, "%s%s", file, LOG_BAD_SUFFIX)
			       : snprintf(to, size, "%s%s.%d", file, LOG_BAD_SUFFIX, i);

		if (n >= (int)size)
			return -ENAMETOOLONG;
		if (renameat2(log->dir.fd, file, log->dir.fd, to, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

/* Whether the file begins with this number, now: of two that had each other's name one is right already. */
static bool begins_with(struct bus_log *log, const char *file, uint64_t number)
{
	struct log_segment seg;
	int fd = openat(log->dir.fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool does;

	if (fd < 0)
		return false;
	if (log_segment_open(&seg, fd, NULL, NULL) < 0) {
		close(fd);
		return false;
	}
	does = seg.header.base_seq == number;
	log_segment_close(&seg);
	return does;
}

/* Where another file has that name the two change names: neither is lost. */
static int rename_right(struct bus_log *log, const char *file, uint64_t number, char *to, size_t size)
{
	if (!begins_with(log, file, number))
		return -ESTALE;
	snprintf(to, size, LOG_SEGMENT_NAME, (unsigned long long)number);
	if (renameat2(log->dir.fd, file, log->dir.fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	return renameat2(log->dir.fd, file, log->dir.fd, to, RENAME_EXCHANGE) == 0 ? 0 : -errno;
}

int bus_log_remedy(struct bus_log *log, const struct bus_log_finding *finding, char *to, size_t size)
{
	char name[300];
	int err;

	bus__why_clear();
	if (!(log->flags & BUS_LOG_REPAIR))
		return bus__fail(-EPERM, "bus_log_remedy: the log was opened for reading only");
	if (strchr(finding->file, '/') != NULL)
		return bus__fail(-EINVAL, "bus_log_remedy: not a file of this log");
	if (finding->remedy == BUS_LOG_REMEDY_QUARANTINE)
		err = quarantine(log, finding->file, name, sizeof(name));
	else if (finding->remedy == BUS_LOG_REMEDY_RENAME)
		err = rename_right(log, finding->file, finding->renamed, name, sizeof(name));
	else
		return bus__fail(-EINVAL, "bus_log_remedy: there is none for this finding");
	if (!err && fsync(log->dir.fd) < 0)
		err = -errno;
	if (err)
		return bus__fail(err, "cannot rename \"%s/%s\": %s", log->path, finding->file,
				 strerror(-err));
	if (to != NULL && size > 0)
		snprintf(to, size, "%s", name);
	return 0;
}

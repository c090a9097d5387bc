/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_log.h - reading a stream's log: for tools, archives and whoever wants to know what is on disk.
 *
 * A stream keeps its messages in a directory of segment files (docs/log-format.md). These functions find
 * them, give the messages one after another from any place, go on as the log grows, and say what is wrong.
 * A log is opened in two ways:
 *   bus_log_open()        its directory: needs the right to read the files and nothing else. busd need not run;
 *                         where it writes the same log, it is not disturbed
 *   bus_log_open_topic()  its topic's name: needs busd, which hands the files over one by one, and the right to
 *                         subscribe to the topic
 *
 *	struct bus_log *log;
 *	struct bus_msg m;
 *
 *	if (bus_log_open(&log, "/var/lib/busd/streams/orders", NULL) < 0)
 *		errx(1, "%s", bus_why(NULL));
 *	while (bus_log_next(log, &m, 1) > 0) {
 *		if (m.lost > 0)
 *			warnx("%llu messages are missing here", (unsigned long long)m.lost);
 *		fwrite(m.data, 1, m.len, stdout);
 *	}
 *	bus_log_close(log);
 *
 * LOSS. Every number from where reading began is either given as a message or part of a gap; a message is
 * given only where both its checksums hold. The first message behind a gap has the count of what is missing in
 * `lost`; bus_log_gap_next() tells the bounds and the reason of each gap. A file that cannot be read, by an
 * error of the disk too, is a gap, and never a signal: files are read, not mapped.
 *
 * Errors, options, ownership as in bus.h; bus_why(NULL) has the sentence. A struct bus_log belongs to one
 * thread at a time. A forked child has it as it has other files: parent and child may both read on.
 */
#ifndef BUS_LOG_H
#define BUS_LOG_H

#include <bus.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bus_log;

#define BUS_LOG_UUID_BYTES 16
#define BUS_LOG_BATCH      512 /* messages that bus_log_next() gives at once */
#define BUS_LOG_UNKNOWN    UINT64_MAX

/* Why messages cannot be had. Values do not change; there may be more of them one day. */
enum bus_log_fault {
	BUS_LOG_UNWRITTEN = 2,   /* their slots are zeros, where messages should be */
	BUS_LOG_UNREADABLE = 3,  /* the disk cannot read them */
	BUS_LOG_CUT = 4,         /* the file ends before them */
	BUS_LOG_BAD_SLOT = 5,    /* the slot, or key and headers, fail the checksum */
	BUS_LOG_BAD_BODY = 6,    /* the payload fails the checksum */
	BUS_LOG_UNSUPPORTED = 7, /* whole, but a newer library is needed to read them */
	BUS_LOG_HOLE = 8,        /* no messages of this log: numbers passed over after a crash */
	BUS_LOG_MISSING = 9,     /* the file with them is not there */
	BUS_LOG_BROKEN = 10, /* the file with them is no segment of this log, or cannot be opened */
	BUS_LOG_GONE = 11,   /* older than what is kept */
	BUS_LOG_SEVERAL = 12, /* gaps for several reasons, told as one */
};

/* "the payload fails the checksum" and so on. Static, never NULL. */
const char *bus_log_fault_text(uint32_t fault);

#define BUS_LOG_ANY_VERSION \
	1u /* open although a file is of a newer format; its messages are a gap */
#define BUS_LOG_REPAIR \
	2u /* for bus_log_remedy(): no busd, and nobody else with this flag, has the directory */

struct bus_log_opts {
	size_t size;
	uint32_t flags; /* BUS_LOG_* */
	uint32_t pad;
};

/*
 * Opens the log in a directory, at its oldest message. A directory without segments is an empty log.
 *  -ENOENT, -ENOTDIR, -EACCES  the directory
 *  -EPROTONOSUPPORT  a file is of a newer format than this library reads; bus_why() names it
 *  -EBUSY            BUS_LOG_REPAIR: busd, or another repair, has it
 *  -EFBIG            more than a million files
 *  -EMFILE, -ENOMEM, -EIO, -E2BIG, -EINVAL
 */
int bus_log_open(struct bus_log **ret, const char *directory,
		 const struct bus_log_opts *opts) BUS_MUST_CHECK;

/*
 * Opens the log of a stream by its topic's name, at its oldest message: busd hands each segment over when
 * it is come to, so that the right to subscribe to the topic is enough, and busd is asked once for each. A
 * segment that is open stays readable while retention removes it. Only what busd has written is there; what
 * is in the stream's ring only, bus_sub_open() gives. Memory and descriptors do not grow with the log.
 *
 * The log belongs to the connection: close it before bus_close(). A forked child reads what is open, and gets
 * -ECHILD where it would have to ask. Where busd's worker is away calls take longer; where all of busd is, they
 * return -EPIPE, and go on with the next busd. opts->flags: BUS_LOG_ANY_VERSION only.
 *  -ENOENT      no such stream, or no right to subscribe to it
 *  -EOPNOTSUPP  the topic is no stream, or in memory only; or busd is older than this library
 *  -EAGAIN      busd cannot open the log at this moment; bus_why() says why
 *  -EPROTONOSUPPORT, -EPIPE, -ETIMEDOUT, -EMFILE, -ENOMEM, -E2BIG, -EINVAL, -ECHILD
 */
int bus_log_open_topic(struct bus_log **ret, struct bus *bus, const char *topic,
		       const struct bus_log_opts *opts) BUS_MUST_CHECK;

/* Closes. Borrowed pointers end here. NULL is allowed. */
void bus_log_close(struct bus_log *log);

struct bus_log_info {
	char topic[BUS_TOPIC_MAX + 1]; /* "" where no segment can be read */
	uint8_t uuid[BUS_LOG_UUID_BYTES];
	uint64_t first_seq;  /* of the oldest message; where nothing is there end_seq */
	uint64_t end_seq;    /* behind the newest message */
	uint64_t synced_seq; /* messages below it were on disk when busd last said so there */
	uint64_t messages;   /* numbers that the segments hold; damaged ones count */
	uint64_t first_time_ns, last_time_ns; /* of the oldest and newest good message, 0: none */
	/* of the segments: of a directory, how long the files are; of a topic, what busd counts them as on disk */
	uint64_t bytes;
	uint32_t segments;
	uint32_t others; /* files that do not count */
};

/*
 * What is there now: lists the directory again, and reads from the newest sync mark to the end. Of a topic:
 * what busd says; messages are then all numbers from first_seq to end_seq, those of holes among them, end_seq is
 * where the files end, and others 0.
 */
int bus_log_info(struct bus_log *log, struct bus_log_info *ret) BUS_MUST_CHECK;

enum bus_log_place {
	BUS_LOG_OLDEST = 0,
	BUS_LOG_SEQ = 1,  /* at this number */
	BUS_LOG_TIME = 2, /* at the first message of this Unix time (ns) or later */
	BUS_LOG_BACK = 3, /* so many messages before the end; 0: the end */
};

/*
 * Goes to a place. A number that the log does not have (any more) is not an error: bus_log_next() gives the
 * next one that is there and says what is missing. What was borrowed ends.
 */
int bus_log_seek(struct bus_log *log, uint32_t place, uint64_t value) BUS_MUST_CHECK;

/*
 * The next messages: fills at most max (at most BUS_LOG_BATCH) and returns how many; 0: there is nothing
 * more, for now: call again later, and what was written since is given. Pointers in msgs are good until the
 * next call with this log. A message's `from` has its publisher's number within the stream (id), and no more.
 * Of the messages of one call only the first may have something `lost` before it.
 *
 * What busd has written and not yet synced is given, too: it would be lost with the power. bus_log_info()
 * says where that begins.
 *
 *  -EPROTONOSUPPORT  a file of a newer format appeared
 *  -ESTALE           (a topic's) the stream was removed and made anew: this is another one's log
 *  -ENOMEM, -EMFILE, ...  nothing was passed over; call again
 */
int bus_log_next(struct bus_log *log, struct bus_msg *msgs, int max) BUS_MUST_CHECK;

struct bus_log_gap {
	uint64_t from, to; /* numbers [from, to); to BUS_LOG_UNKNOWN: to the end, nobody knows where */
	uint32_t why;      /* enum bus_log_fault */
	uint32_t pad;
	uint64_t file; /* number in the name of the file in question */
};

/*
 * The gaps that the last bus_log_next() passed over, before its first message or before the end. Set *at to 0
 * to begin; 1: *ret is filled, 0: no more.
 */
int bus_log_gap_next(struct bus_log *log, uint32_t *at, struct bus_log_gap *ret);

/* ---- checking ---- */

enum bus_log_kind {
	BUS_LOG_DAMAGE = 1,  /* messages of a file cannot be had */
	BUS_LOG_ABSENT = 2,  /* messages whose file is missing or unusable */
	BUS_LOG_FILE = 3,    /* a file that should be a segment is not usable */
	BUS_LOG_FLAW = 4,    /* something is not as it was written; no message is lost by it */
	BUS_LOG_NOTE = 5,    /* as it may be after a crash: torn tail, hole, leftovers */
	BUS_LOG_CHECKED = 6, /* a segment was read to its end: good ones of [from, to) in messages */
};

enum bus_log_remedy {
	BUS_LOG_REMEDY_NONE = 0,
	BUS_LOG_REMEDY_QUARANTINE = 1, /* rename it to NAME.bad, so that nobody takes it for a segment */
	BUS_LOG_REMEDY_RENAME = 2, /* rename it to the number that its header has */
};

struct bus_log_finding {
	uint32_t kind;   /* enum bus_log_kind */
	uint32_t fault;  /* enum bus_log_fault, 0: none */
	uint32_t remedy; /* enum bus_log_remedy */
	uint32_t pad;
	uint64_t from, to; /* numbers; 0, 0: none in particular */
	uint64_t messages; /* BUS_LOG_CHECKED */
	uint64_t bytes;    /* BUS_LOG_CHECKED: of payload and heads */
	uint64_t renamed;  /* BUS_LOG_REMEDY_RENAME: the number it gets */
	const char *file; /* its name within the directory; "" where it is missing. Borrowed: next call */
	const char *what; /* a sentence. Borrowed likewise */
};

/*
 * Reads everything there is and tells what is wrong, one finding after another, files in order: 1: *ret is
 * filled; 0: all was read; the next call begins again. Each segment ends with a BUS_LOG_CHECKED. The place of
 * bus_log_next() is not touched. What busd is writing at this moment is at most a BUS_LOG_NOTE.
 * Errors as bus_log_next(); -EOPNOTSUPP of a topic: files are checked where they lie.
 */
int bus_log_verify(struct bus_log *log, struct bus_log_finding *ret) BUS_MUST_CHECK;

/*
 * Carries out what `remedy` says, with BUS_LOG_REPAIR only. Files are renamed, never changed, never deleted;
 * *to (at least 64 bytes, may be NULL) gets the new name. Damaged messages need no remedy: readers pass over
 * them and say so.
 *  -EPERM   the log was not opened with BUS_LOG_REPAIR     -EINVAL  no remedy
 *  -ESTALE  the file is not what it was when it was found: it has its right name already
 *  others   of renaming; bus_why() tells
 */
int bus_log_remedy(struct bus_log *log, const struct bus_log_finding *finding, char *to,
		   size_t size) BUS_MUST_CHECK;

/* ---- files ---- */

struct bus_log_file {
	char name[64];  /* "" to begin; longer names are cut */
	char what[96];  /* why it is not used; "" where it is a segment in use */
	uint32_t flags; /* BUS_LOG_FILE_* */
	uint32_t pad;
	uint64_t index, base_seq, prev_end, slots, payload_bytes, created_ns; /* of its header */
	uint64_t bytes;
};

#define BUS_LOG_FILE_SEGMENT 1u /* in use */
#define BUS_LOG_FILE_FLAWED  2u /* its header, copy, a mark, size or name is not as it was written */

/*
 * Walks the directory's files as they were when the log was opened or bus_log_info() was called, segments first;
 * of a topic there are none.
 * Set *at to 0 to begin; 1: *ret is filled, 0: no more.
 */
int bus_log_file_next(struct bus_log *log, uint32_t *at, struct bus_log_file *ret);

#ifdef __cplusplus
}
#endif
#endif

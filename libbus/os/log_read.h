/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_read.h - reading a stream's log: the segments of a directory, one segment, its messages one after
 * another. What libbus/api/log.c (replay, bus-fsck) and busd's recovery stand on; format/log_format.h says
 * how the bytes lie.
 *
 * Everything read here is hostile: each number is checked before it is used, and a message counts only with
 * both its checksums. Files are read by pread into private memory, never mapped: what the disk cannot read
 * is a fault with bounds, not a SIGBUS. Nothing is ever written here.
 *
 * Functions return 0 or more, or a negative errno; -ENOMEM everywhere. No object here is safe for two
 * threads at once.
 *
 *	log_dir_open(&dir, fd, NULL, NULL);
 *	log_dir_segment(&dir, dir.segments - 1, &seg);        the newest one
 *	log_segment_tail(&seg, &buf, &tail);                   where its messages end
 */
#ifndef BUS_LOG_READ_H
#define BUS_LOG_READ_H

#include <sys/types.h>

#include "format/log_format.h"

/* Why a message, or a range of them, cannot be had. */
enum log_fault {
	LOG_SOUND = 0,
	LOG_LIMIT,       /* not the segment's: at or beyond its limit */
	LOG_UNWRITTEN,   /* its slot is zeros */
	LOG_UNREADABLE,  /* the disk: EIO or another error of read */
	LOG_CUT,         /* the file ends before it */
	LOG_BAD_SLOT,    /* its slot fails the checksum, or says what cannot be */
	LOG_BAD_BODY,    /* its payload fails the checksum */
	LOG_UNSUPPORTED, /* whole, but of a kind that needs a newer library */
	/* of ranges only */
	LOG_HOLE,    /* declared by a header: numbers that no message of this log has */
	LOG_MISSING, /* the file with them is not there */
	LOG_BROKEN, /* the file with them is there, but is no segment of this log, or cannot be read */
	LOG_GONE, /* older than what is kept */
};

/* "its slot fails the checksum" and so on. Static. */
const char *log_fault_text(enum log_fault fault);

/* As pread(2). NULL: that. A test, or who reads another disk, has its own. */
typedef ssize_t log_pread_fn(int fd, void *buf, size_t size, off_t at);

/* ---- one segment ---- */

/* What is not as it was written, without harm to its messages. */
#define LOG_FLAW_HEADER 1u  /* the header; its copy serves */
#define LOG_FLAW_COPY   2u  /* the header's copy */
#define LOG_FLAW_MARK   4u  /* a sync mark is neither good nor zeros; an older one serves */
#define LOG_FLAW_SIZE   8u  /* the file is shorter or longer than its header says */
#define LOG_FLAW_NAME   16u /* it is named after another number than its first message's */
#define LOG_FLAW_ORDER  32u /* index, position or prev_end do not go on from the segment before */

struct log_segment {
	int fd; /* owned; -1: closed */
	uint32_t flaws;
	log_pread_fn *pread;
	struct log_header header; /* checked: every number is within its bounds */
	struct log_mark mark; /* the newest good one; without one: base_seq, base_pos and time 0 */
	/*
	 * messages from `limit` on are not this segment's; those below `attested` were all on disk, so that a
	 * fault there is damage. From `attested` on a fault is the end.
	 */
	uint64_t limit, attested;
	uint64_t file_bytes; /* when last looked at */
	uint64_t disk_bytes; /* what it took of the disk when it was opened */
	uint32_t seed;       /* CRC32C of the uuid */
};

/*
 * Opens the segment behind a descriptor, which it owns from then on where it returns 0: checks the header,
 * finds the best mark. limit is base_seq + slots, attested the mark's seq: log_dir_segment() knows better.
 *  -EBADMSG          no segment: neither header nor copy is good (*why, if not NULL: in what)
 *  -EPROTONOSUPPORT  of a newer format
 *  others            of fstat and pread where neither header could be read
 */
int log_segment_open(struct log_segment *ret, int fd, log_pread_fn *read, const char **why);
void log_segment_close(struct log_segment *seg);

/* Looks at the marks (and the file's size) again. 1: attested rose; 0: nothing new; -errno: of pread. */
int log_segment_refresh(struct log_segment *seg);

struct log_message {
	uint64_t seq, pos, time;
	uint64_t src_seq;
	uint32_t src;
	uint32_t len;
	uint32_t flags, key_hash;
	uint16_t head_len;
	uint8_t key_len;
	const uint8_t *head; /* key and headers, padded; the payload follows */
	const uint8_t *data;
};

/* Where the next message's bytes begin, or will. */
static inline uint64_t log_message_end(const struct log_message *msg)
{
	return msg->pos + BUS_ALIGN_UP((uint64_t)msg->head_len + msg->len, RING_POS_ALIGN);
}

/*
 * Private memory that messages are read into, with what of it is still good. One per reader; zeros to begin
 * with; grows to the largest message.
 */
struct log_buffer {
	struct log_slot *slots;
	uint8_t *faults; /* of each slot: LOG_SOUND, LOG_UNREADABLE or LOG_CUT */
	uint8_t *bytes;
	size_t room; /* of bytes */
	/*
	 * slots [from, to) are held, of the segment with this seed, base and descriptor; those below `sure` were
	 * attested when they were read, so that they need not be read again
	 */
	uint64_t from, to, sure, base;
	uint32_t seed;
	int fd;
};
void log_buffer_free(struct log_buffer *buf);

#define LOG_BATCH 512 /* log_segment_read() gives at most so many at once */

/*
 * Reads and checks messages from seq on: fills msgs (their bytes lie in buf, until its next use) and
 * returns how many, at most max. *stop says what comes behind them: LOG_SOUND where the next one was not
 * looked at, else why it cannot be had. So 0 means that message seq is at fault, or not there: *stop. (Of one
 * that is LOG_UNSUPPORTED msgs[n] tells place and size.)
 * What was read of the region below `attested` is not read again; beyond it each call looks anew.
 */
int log_segment_read(const struct log_segment *seg, struct log_buffer *buf, uint64_t seq,
		     struct log_message *msgs, int max, enum log_fault *stop);

/*
 * Message seq is at fault, as `fault` says: the first number behind it that is not at fault for the same reason,
 * at most `end`. One call passes over any stretch, and quickly over one of nothing.
 */
uint64_t log_segment_skip(const struct log_segment *seg, struct log_buffer *buf, uint64_t seq,
			  uint64_t end, enum log_fault fault);

struct log_tail {
	uint64_t seq;   /* behind the last message that counts */
	uint64_t pos;   /* behind its bytes, on a multiple of RING_POS_ALIGN */
	uint64_t time;  /* of the last good message that was looked at, or of the mark; 0: none */
	uint64_t found; /* messages beyond the mark that count */
	/* why it ends there; LOG_UNWRITTEN: nothing more was written, LOG_LIMIT: it is full, else torn */
	enum log_fault stop;
};

/*
 * Where a segment's messages end: the mark, and all good ones that follow it without a break. Reads from
 * the mark on only. Damage below the mark is not looked for. 0, -ENOMEM.
 */
int log_segment_tail(const struct log_segment *seg, struct log_buffer *buf, struct log_tail *ret);

/*
 * The first number in [base_seq, end) behind all good messages with a time below `time`, by binary search; end
 * where there is none. Whether a message at fault is that old nobody can know: those right before the first
 * good one that is not are included. Payload is not looked at.
 */
uint64_t log_segment_find_time(const struct log_segment *seg, uint64_t time, uint64_t end);

/* The time of the first good message in [seq, end): its number, or end where there is none. */
uint64_t log_segment_time(const struct log_segment *seg, uint64_t seq, uint64_t end, uint64_t *time);

/* ---- a directory ---- */

enum log_kind {
	LOG_KIND_SEGMENT = 0, /* counts */
	LOG_KIND_BROKEN,      /* named as a segment, is none: `why` */
	LOG_KIND_STRANGER,    /* of another stream */
	LOG_KIND_DOUBLE,      /* another file has its place */
	LOG_KIND_TOO_NEW,     /* of a newer format */
	LOG_KIND_UNREADABLE,  /* could not be opened or read: `err` */
	LOG_KIND_TEMPORARY,   /* a segment that is being made, or was when its writer died */
	LOG_KIND_QUARANTINED,
	LOG_KIND_OTHER,
};

struct log_entry {
	char *name;
	int fd;            /* of an origin: owned; else -1 */
	uint64_t next_seq; /* of an origin: where the one behind it begins; 0: there was none */
	enum log_kind kind;
	int err;         /* positive errno of LOG_KIND_UNREADABLE */
	const char *why; /* static; of LOG_KIND_BROKEN */
	uint32_t flaws;
	uint64_t named; /* the number in its name, where it has one */
	uint64_t file_bytes;
	uint64_t disk_bytes; /* less, where blocks were given back; of a segment */
	/* of a header that was good, else 0 */
	uint64_t index, base_seq, base_pos, prev_end, slots, bytes, created_ns;
	uint8_t uuid[LOG_UUID_BYTES];
};

#define LOG_DIR_MAX (1u << 20) /* files */

/* What an origin says: a segment, and how far the log has come. */
struct log_place {
	int fd; /* of the segment, O_RDONLY: the receiver's; -1: it cannot be opened, or there is none */
	uint32_t segments;           /* in all; 0: none yet */
	uint64_t base_seq, next_seq; /* its first number; that of the segment behind it, 0: none */
	uint64_t oldest_seq;         /* of the log's first segment */
	uint64_t written_seq;        /* messages below it are in the segments */
	uint64_t durable_seq, head_seq, disk_bytes;
	uint8_t uuid[LOG_UUID_BYTES];
};

/* Who hands segments over one by one to a reader that may not list their directory: busd. */
struct log_origin {
	/* The last segment that begins at or below seq, else the first one. 0, -errno. */
	int (*get)(struct log_origin *origin, uint64_t seq, struct log_place *ret);
};

/*
 * entries[0 .. segments) are the segments in order of base_seq; the others follow in order of their names. Of an
 * origin only those around one number: the segment with it, and the next (log_dir_aim).
 */
struct log_dir {
	int fd;                    /* owned; -1: an origin */
	struct log_origin *origin; /* NULL: the directory is listed */
	struct log_place known;    /* as the origin said last; the descriptor is an entry's */
	uint64_t around;           /* the number */
	bool at_first, at_last;    /* the log's first segment is among the entries; its last one */
	log_pread_fn *pread;
	bool uuid_known, any_version;
	uint8_t uuid[LOG_UUID_BYTES]; /* given, or that of most segments */
	char topic[LOG_TOPIC_MAX];    /* of the newest segment; "" without one */
	struct log_entry *entries;
	size_t count, segments;
};

/*
 * The uuid of the stream that a directory is of, by the file of its settings.
 *  -ENOENT   there is none; -EBADMSG  it is damaged; others of opening and reading it
 */
int log_settings_uuid(int dirfd, uint8_t uuid[LOG_UUID_BYTES]);

/*
 * Lists a directory and checks the header of each segment in it. dirfd stays the caller's. uuid: of the
 * stream, where it is known, else NULL: that of most segments.
 *  -EPROTONOSUPPORT  a segment is of a newer format: what this library makes of the rest may be wrong
 *  -EFBIG            more files than LOG_DIR_MAX
 *  others            of opening and reading the directory. Files that cannot be read are entries.
 */
int log_dir_open(struct log_dir *ret, int dirfd, const uint8_t *uuid, log_pread_fn *read);
/* The same with what is of a newer format among the entries (any_version): for who only tells what there is. */
int log_dir_list(struct log_dir *ret, int dirfd, const uint8_t *uuid, log_pread_fn *read);
void log_dir_close(struct log_dir *dir);

/*
 * Of an origin, which stays the caller's, and remains; aimed at a number. Errors are the origin's, and those of
 * log_dir_aim().
 */
int log_dir_open_origin(struct log_dir *ret, struct log_origin *origin, uint64_t around,
			bool any_version);

/*
 * Of an origin: makes the entries those around seq, so that log_dir_find(dir, seq) and the segment behind that one
 * are right. Asks for one segment at a time, and for none that is there. Otherwise: nothing.
 * -ESTALE: it is another stream's log by now; -EPROTONOSUPPORT: of a newer format, where that is not wanted.
 */
int log_dir_aim(struct log_dir *dir, uint64_t seq);

/* Lists it again; what has not changed its name is not opened again. 1: the segments changed; 0; -errno. */
int log_dir_refresh(struct log_dir *dir);

/*
 * Opens segment i, with limit and attested as the next one's header has them:
 *  the next one follows it (index + 1)   both are that one's prev_end
 *  there is a next one, not the next     limit is at most its prev_end, and the name of a broken file between
 *  there is none                         base_seq + slots, and the mark's seq
 * -ENOENT: it is no longer there; others as log_segment_open().
 */
int log_dir_segment(const struct log_dir *dir, size_t i, struct log_segment *ret);

/* The last segment with base_seq <= seq; -1: all are above it. */
ssize_t log_dir_find(const struct log_dir *dir, uint64_t seq);

/* Whether a file that is named as a segment with a number in [from, to) is none. Its number in *named. */
bool log_dir_broken_between(const struct log_dir *dir, uint64_t from, uint64_t to, uint64_t *named);

/* ---- a directory's messages, one after another ---- */

struct log_gap {
	uint64_t from, to; /* [from, to) */
	enum log_fault why;
	uint64_t file; /* base_seq of the file in which they are missed; of HOLE, GONE, ...: the next one's */
};

/* A gap up to here ends nobody knows where: its file is the last one. */
#define LOG_OPEN_END UINT64_MAX

enum log_step {
	LOG_STEP_END = 0, /* nothing more now; ask again later, the log may grow */
	LOG_STEP_MESSAGES = 1,
	LOG_STEP_GAP = 2,
};

/* Goes from message to message over segments, and on as the log grows. */
struct log_reader {
	struct log_dir *dir; /* the caller's; refreshed by the reader */
	struct log_segment seg;
	struct log_buffer buf;
	uint64_t seq;             /* the next number */
	bool open;                /* seg is */
	bool told;                /* of the gap without an end */
	bool ended;               /* there is a segment behind seg, and seg was read again since */
	struct log_message *msgs; /* of the last LOG_STEP_MESSAGES */
	int count;
	struct log_gap gap; /* of the last LOG_STEP_GAP */
	enum log_fault tail; /* of the last LOG_STEP_END: why there is nothing; LOG_UNWRITTEN: the usual end */
};

/* At the oldest message. */
int log_reader_open(struct log_reader *ret, struct log_dir *dir);
void log_reader_close(struct log_reader *rd);

/* The next message is seq, or the first behind it. Never fails: what is not there shows in the next step. */
void log_reader_seek(struct log_reader *rd, uint64_t seq);

/* To the oldest message there is. */
void log_reader_seek_oldest(struct log_reader *rd);

/* To the first message with time >= `time`. */
int log_reader_seek_time(struct log_reader *rd, uint64_t time);

/* Behind the last message there is now. */
int log_reader_seek_end(struct log_reader *rd);

/* To n messages before the end: numbers in declared holes do not count, damaged messages do. */
int log_reader_seek_back(struct log_reader *rd, uint64_t n);
/* The same as if the log ended before number `from`. */
int log_reader_seek_back_from(struct log_reader *rd, uint64_t from, uint64_t n);

/*
 * The next batch or the next gap; two gaps that touch and have one reason and file are one. Messages are
 * good until the next call.
 *  LOG_STEP_...      as above
 *  -EPROTONOSUPPORT  a newer format appeared
 *  -ENOMEM; others   of reading the directory
 */
int log_reader_step(struct log_reader *rd, int max);

#endif

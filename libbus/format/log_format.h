/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_format.h - the bytes of a stream on disk: segment files. docs/log-format.md tells it to who writes
 * another reader.
 *
 * Layout only: no algorithm lives here. All numbers are little-endian. A stream's directory holds
 * segments, each named by the number of its first message (LOG_SEGMENT_NAME), and nothing else that counts.
 * Who writes there holds flock(LOCK_EX) on the directory.
 *
 *   0        LOG_MARKS_OFF  LOG_COPY_OFF     LOG_SLOTS_OFF      payload_off                    size
 *   +--------+--------------+----------------+------------------+------------------------------+
 *   | header | sync marks   | header's copy  | slots x 64 bytes | payload                      |
 *   +--------+--------------+----------------+------------------+------------------------------+
 *
 * The header stands there twice, in pages of their own: a bad one would hide all the messages behind it.
 *
 * Slots and payload are those of the stream's ring (ring_layout.h), of a ring that never wraps: message
 * seq has slot seq - base_seq, its bytes lie at payload_off + (pos - base_pos). What was never written is
 * zeros. A bad slot or a bad message does not hide the next one, and nothing needs an index.
 *
 * A segment is valid only below the base_seq of the next one: a late write of a former writer beyond
 * it does not count. No file is ever deleted, cut or overwritten because it could not be read.
 */
#ifndef BUS_LOG_FORMAT_H
#define BUS_LOG_FORMAT_H

#include "base/base.h"
#include "format/ring_layout.h"

#define LOG_MAGIC      UINT64_C(0x30474f4c53554221) /* "!BUSLOG0" */
#define LOG_MARK_MAGIC UINT64_C(0x304b52414d535542) /* "BUSMARK0" */
#define LOG_VERSION    1
/* the oldest that is still read */
#define LOG_VERSION_MIN 1
/* what must be understood to read a segment; chosen by its writer */
#define LOG_FEATURES_KNOWN 0u

#define LOG_SEGMENT_NAME   "%020llu.log" /* base_seq, so that names sort as numbers do */
#define LOG_TEMPORARY_NAME "%020llu.new" /* until its header is on disk; then it is renamed */
#define LOG_BAD_SUFFIX     ".bad"        /* a quarantined file's name goes on so */
#define LOG_SETTINGS_NAME \
	"settings" /* of the stream: text, its uuid among it; a log may be without */
#define LOG_UUID_BYTES 16
#define LOG_TOPIC_MAX  256

#define LOG_HEADER_BYTES 4096
#define LOG_MARKS_OFF    4096
#define LOG_MARK_BYTES   512  /* a sector: written whole or not at all */
#define LOG_MARKS        8    /* used in turn */
#define LOG_COPY_OFF     8192 /* the header's copy, byte for byte */
#define LOG_SLOTS_OFF    12288
#define LOG_AREA_ALIGN   4096

/* Written and synced under a temporary name before any message of it counts; constant from then on. */
struct log_header {
	uint64_t magic;
	uint32_t version;
	uint32_t features;
	uint8_t uuid[LOG_UUID_BYTES]; /* of the stream; the same in all its segments */
	uint64_t index;               /* of the segment, one more than in the one before */
	uint64_t base_seq;            /* number of the first message */
	uint64_t base_pos;            /* position of its first byte, a multiple of LOG_AREA_ALIGN */
	/*
	 * first number that no earlier segment holds: base_seq, or less where numbers were passed over
	 * because a reader may have seen messages under them that are lost. At index 0: base_seq.
	 */
	uint64_t prev_end;
	uint64_t slots;       /* messages that it may hold */
	uint64_t bytes;       /* of its payload area, a multiple of LOG_AREA_ALIGN */
	uint64_t payload_off; /* LOG_SLOTS_OFF + slots x 64, rounded up to LOG_AREA_ALIGN */
	uint64_t size;        /* of the file: payload_off + bytes */
	uint64_t created_ns;  /* Unix; no message before is younger */
	char topic[LOG_TOPIC_MAX];
	uint32_t pad;
	uint32_t crc; /* CRC32C of all the header before it */
};
static_assert(offsetof(struct log_header, index) == 32, "no gaps");
static_assert(offsetof(struct log_header, topic) == 104, "no gaps");
static_assert(sizeof(struct log_header) == 368, "no gaps");

/*
 * A sync mark says that all messages below `seq` were on disk when it was written: damage below it is
 * corruption, beyond the newest one it is a torn tail. Of the LOG_MARKS places the good one with the
 * highest seq counts. The rest of its LOG_MARK_BYTES is zeros, as is one that was never written.
 */
struct log_mark {
	uint64_t magic;
	uint64_t base_seq; /* of its segment */
	uint64_t seq;      /* base_seq <= seq <= base_seq + slots */
	uint64_t pos;      /* where the message `seq` begins, or will */
	uint64_t time_ns;  /* Unix, of the mark */
	uint32_t pad;
	uint32_t crc; /* CRC32C of the uuid, then of all the mark before it */
};
static_assert(sizeof(struct log_mark) == 48, "no gaps");

/*
 * A slot of a stream's ring and of its log: a ring_slot whose last 24 bytes say where the message came from
 * and whether it is whole. Nothing travels inline. `time` is Unix ns, and never less than the one before.
 *
 *  0 u64 commit    seq + 1; 0: never written        40 u64 src_seq   its number in its publisher's ring
 *  8 u64 pos                                        48 u32 src       its publisher, for ever in this stream
 * 16 u64 time                                       52 u32 head_crc
 * 24 u64 lens                                       56 u32 body_crc
 * 32 u64 attrs                                      60 u32 0
 *
 * body_crc: CRC32C of uuid, pos (8 bytes), payload. head_crc: CRC32C of uuid, bytes 0 to 51 of the slot, its
 * bytes 56 to 63, and the message's head. Either is the plain CRC32C (RFC 3720) of those bytes one after
 * another; a block of another stream, or of another place in this one, never passes.
 */
struct log_slot {
	uint64_t commit, pos, time, lens, attrs;
	uint64_t src_seq;
	uint32_t src;
	uint32_t head_crc;
	uint32_t body_crc;
	uint32_t zero;
};
static_assert(sizeof(struct log_slot) == RING_SLOT_BYTES, "a slot is one line");
static_assert(offsetof(struct log_slot, head_crc) == 52, "after what it covers");

/*
 * Beside the segments: which publisher is which (LOG_SOURCES_NAME: records, appended, never changed), and the last
 * number of each named one where a segment begins (LOG_SNAPSHOT_NAME, written with that segment, before it counts).
 * A log is read without either; who writes needs them to drop what is published again.
 */
#define LOG_SOURCES_NAME  "sources"
#define LOG_SNAPSHOT_NAME "%020llu.src" /* base_seq of its segment */
#define LOG_NUMBERS_NAME  "numbers"     /* one struct log_numbers: policy none only */

#define LOG_SOURCE_MAGIC   UINT64_C(0x304352534d535542) /* "BUSMSRC0" */
#define LOG_SNAPSHOT_MAGIC UINT64_C(0x30504e534d535542) /* "BUSMSNP0" */
#define LOG_NUMBERS_MAGIC  UINT64_C(0x304d554e4d535542) /* "BUSMNUM0" */
#define LOG_SOURCE_BYTES   512                          /* a sector: written whole or not at all */
#define LOG_NAME_MAX       255                          /* of a publisher */

/* With a name: `src` is that publisher's, for ever. Without: no src below it is given again, to anybody. */
struct log_source {
	uint64_t magic;
	uint8_t uuid[LOG_UUID_BYTES];
	uint32_t src;
	uint32_t name_len;
	char name[LOG_NAME_MAX + 1];
	uint32_t pad;
	uint32_t crc; /* CRC32C of all before it */
};
static_assert(sizeof(struct log_source) == 296, "no gaps");

struct log_snapshot_entry {
	uint32_t src, pad;
	uint64_t next; /* its last number below base_seq, + 1; 0: it has no message there */
};

struct log_snapshot {
	uint64_t magic;
	uint8_t uuid[LOG_UUID_BYTES];
	uint64_t base_seq;
	uint32_t src_limit; /* no src below it is given again */
	uint32_t count;
	uint32_t pad;
	uint32_t crc; /* CRC32C of all before it, then of the entries */
	struct log_snapshot_entry entries[];
};
static_assert(sizeof(struct log_snapshot) == 48, "no gaps");
static_assert(sizeof(struct log_snapshot_entry) == 16, "no gaps");

/* No number at or above `limit` was given to a message when this was on disk. */
struct log_numbers {
	uint64_t magic;
	uint8_t uuid[LOG_UUID_BYTES];
	uint64_t limit;
	uint32_t pad;
	uint32_t crc; /* CRC32C of all before it */
};
static_assert(sizeof(struct log_numbers) == 40, "no gaps");

/*
 * How far each durable subscription has come (LOG_POSITIONS_NAME): pairs of records, each record in a sector of its
 * own, pair i at i x 2 x LOG_POSITION_BYTES. Of the good ones of a pair the one with the higher `gen` counts; what
 * follows on it is written over the other one, so that a torn write leaves the former position. A log is read without it.
 */
#define LOG_POSITIONS_NAME   "positions"
#define LOG_POSITION_MAGIC   UINT64_C(0x30534f504d535542) /* "BUSMPOS0" */
#define LOG_POSITION_BYTES   512 /* a sector: written whole or not at all */
#define LOG_POSITIONS_MAX    256 /* pairs */
#define LOG_POSITION_NAME    63  /* bytes of a name */
#define LOG_POSITION_REMOVED 1u  /* the pair is free; its numbers say nothing */

struct log_position {
	uint64_t magic;
	uint8_t uuid[LOG_UUID_BYTES];
	uint64_t gen;        /* of the pair, from 1 */
	uint64_t seq;        /* all messages below are acknowledged */
	uint64_t moved_ns;   /* Unix: when seq last changed */
	uint64_t created_ns; /* Unix */
	uint32_t pair;       /* where it belongs: one that lies elsewhere does not count */
	uint32_t uid;        /* whose name it is */
	uint32_t flags;      /* LOG_POSITION_* */
	uint32_t name_len;
	char name[LOG_POSITION_NAME + 1];
	uint32_t pad;
	uint32_t crc; /* CRC32C of all before it */
};
static_assert(sizeof(struct log_position) == 144, "no gaps");
static_assert(sizeof(struct log_position) <= LOG_POSITION_BYTES, "a record is a sector");

#define LOG_DEFAULT_SLOTS (UINT64_C(1) << 19) /* 32 MiB of slots */
#define LOG_DEFAULT_BYTES (UINT64_C(96) << 20)
#define LOG_MAX_SLOTS     (UINT64_C(1) << 26)
#define LOG_MAX_BYTES     (UINT64_C(1) << 36)

#endif

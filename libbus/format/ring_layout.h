/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_layout.h - the bytes of a ring segment, a cursor segment and a bell page, as all processes
 * see them.
 *
 * Layout only: no algorithm lives here. A segment's geometry is never read from the segment (its
 * writer could change it); it travels in busd's control messages as struct ring_geometry.
 *
 *   ring segment (one writer: the publisher)
 *   0            slots_off                 payload_off                                  size
 *   +------------+-------------------------+--------------------------------------------+
 *   | writer page| slots x 64 bytes        | payload, mapped twice in a row by each user |
 *   +------------+-------------------------+--------------------------------------------+
 *
 * Sequence numbers (seq) count messages, positions (pos) count payload bytes; both are full 64-bit
 * numbers that never wrap, and are masked only where they become an address.
 */
#ifndef BUS_RING_LAYOUT_H
#define BUS_RING_LAYOUT_H

#include "base/atomic.h"
#include "base/base.h"

#define RING_LAYOUT_VERSION 1
#define RING_SLOT_BYTES     64
#define RING_POS_ALIGN      64 /* each message starts on a line of its own */
#define RING_INLINE_MAX     24 /* head + payload up to this travel inside the slot */
#define RING_MIN_SLOTS      16
#define RING_MAX_SLOTS      (1u << 26)
#define RING_MIN_BYTES      4096
#define RING_MAX_BYTES      (UINT64_C(1) << 36)
#define RING_DEFAULT_SLOTS  4096 /* as many of 64 bytes as the payload area holds */
#define RING_DEFAULT_BYTES  (256 * 1024)
#define RING_KEY_MAX        255   /* bytes */
#define RING_HEAD_MAX       65520 /* key + headers, padded to RING_HEAD_ALIGN */
#define RING_HEAD_ALIGN     16    /* so that the payload keeps the message's alignment to 16 */

/* What a ring may have that must be understood by who reads or writes it. */
#define RING_FEATURE_STREAM 2u /* a stream's: its slots are struct log_slot (log_format.h) */
#define RING_FEATURES_KNOWN (BUS_NEXT(1u |) RING_FEATURE_STREAM)

struct ring_geometry {
	uint32_t slots;     /* power of two */
	uint32_t features;  /* chosen by busd; one that is not in RING_FEATURES_KNOWN is refused */
	uint64_t bytes;     /* payload area, power of two, a multiple of the page size in use */
	uint64_t slots_off; /* from the start of the segment */
	uint64_t payload_off; /* a multiple of the page size in use */
	uint64_t size;        /* of the segment: payload_off + bytes */
	uint64_t first_seq;   /* number of the first message in this ring */
};

/*
 * The writer page. Lines are grouped by who reads them how often; each group has a pair of lines of
 * its own.
 *
 * | field             | writer    | readers                      | ordering |
 * | frontier_seq/_pos | publisher | every peek and release       | then full fence R1; read after A1 |
 * | head              | publisher | joiners, tools               | release after commit; lags the commit words |
 * | bytes, ...        | publisher | tools                        | relaxed, for show |
 * | waiting           | publisher | gating readers after W2      | generation; 0: awake; release after wake_at |
 * | wake_at           | publisher | who saw waiting              | relaxed; constant for a generation |
 * | final_seq         | publisher | readers that found nothing   | release; next seq + 1, 0: unset |
 * | begin_seq         | publisher | readers that found nothing, busd | release, before final_seq of the ring before; + 1, 0: unset |
 * | blocked_*, ...    | publisher | tools                        | relaxed, for show |
 */
struct ring_writer_page {
	/* pair 0: what the publisher may be overwriting; changes about 8 times per lap */
	_Atomic uint64_t frontier_seq; /* messages below this minus slots may be gone */
	_Atomic uint64_t frontier_pos; /* payload below this minus bytes may be gone */
	uint64_t pad0[14];
	/* pair 1: changes with each message; nobody reads it on the live path */
	_Atomic uint64_t head;  /* next sequence number */
	_Atomic uint64_t bytes; /* payload bytes published, headers excluded */
	uint64_t pad1[14];
	/* pair 2: rarely written; readers look at it when they flush or find nothing */
	_Atomic uint32_t waiting; /* generation while blocked on a full ring; 0 awake */
	uint32_t pad2;
	/* next seq + 1 once the publisher ended this ring itself; 0: it did not */
	_Atomic uint64_t final_seq;
	/*
	 * the first message of this ring, where that is a later one than the geometry's first_seq:
	 * what comes before it stands in the ring of a former busd; + 1, 0: not said
	 */
	_Atomic uint64_t begin_seq;
	/* a reader wakes the waiting publisher once its cursor is here, not before */
	_Atomic uint64_t wake_at;
	uint64_t pad3[12];
	/* pair 3: counters for people */
	_Atomic uint64_t blocked_ns; /* time spent blocked, finished blocks only */
	/* counter at which the present block began; 0 not blocked */
	_Atomic uint64_t blocked_since;
	_Atomic uint64_t blocked_by; /* sub_id of the slowest gating reader at that time */
	_Atomic uint64_t refused;    /* publishes that ended with -EAGAIN or a deadline */
	_Atomic uint64_t wakes;      /* FUTEX_WAKE calls made for readers */
	_Atomic uint64_t evictions;  /* readers evicted at this publisher's request */
	uint64_t pad4[10];
};
static_assert(sizeof(struct ring_writer_page) == 512, "writer page is four pairs of lines");
static_assert(offsetof(struct ring_writer_page, head) == 128, "head on the second pair");
static_assert(offsetof(struct ring_writer_page, waiting) == 256, "waiting on the third pair");
static_assert(offsetof(struct ring_writer_page, blocked_ns) == 384, "counters on the fourth pair");

/*
 * A slot: one line. Written by the publisher before commit, read by anybody after it, word by word.
 *
 *  0 u64 commit    seq + 1; anything smaller: not yet
 *  8 u64 pos       where the message starts (its head first), aligned to 64
 * 16 u64 time      raw counter on a live ring
 * 24 u32 len       payload bytes
 * 28 u16 head_len  key + headers, before the payload, a multiple of 16 (or, inline, as it is)
 * 30 u8  key_len
 * 31 u8  version   RING_LAYOUT_VERSION
 * 32 u32 flags     high 16 bits: a reader that does not know one must not deliver the message
 * 36 u32 key_hash
 * 40 u8  inline[24] head and payload where together they fit
 *
 * The words are named by the packing functions below so that publisher and reader cannot differ.
 */
struct ring_slot {
	_Atomic uint64_t commit;
	_Atomic uint64_t pos;
	_Atomic uint64_t time;
	_Atomic uint64_t lens;  /* len | head_len << 32 | key_len << 48 | version << 56 */
	_Atomic uint64_t attrs; /* flags | key_hash << 32 */
	_Atomic uint64_t in[3];
};
static_assert(sizeof(struct ring_slot) == RING_SLOT_BYTES, "a slot is one line");

/* Slot flags. High 16 bits: must understand. */
#define RING_FLAG_INLINE    (1u << 0)
#define RING_FLAG_HEADERS   (1u << 1) /* headers follow the key */
#define RING_FLAG_MUST_MASK 0xffff0000u
#define RING_FLAG_KNOWN     (RING_FLAG_INLINE | RING_FLAG_HEADERS)

static inline uint64_t ring_pack_lens(uint32_t len, uint32_t head_len, uint32_t key_len)
{
	return (uint64_t)len | (uint64_t)head_len << 32 | (uint64_t)key_len << 48 |
	       (uint64_t)RING_LAYOUT_VERSION << 56;
}

/* The upper half of lens of a message without head. */
#define RING_PLAIN ((uint64_t)RING_LAYOUT_VERSION << 24)

static inline uint64_t ring_pack_attrs(uint32_t flags, uint32_t key_hash)
{
	return (uint64_t)flags | (uint64_t)key_hash << 32;
}

/*
 * Headers inside the head, after the key: { u8 name_len, u8 0, u16 value_len, name, value } one
 * after another, no padding between them; a name_len of 0 ends the list early (the padding is
 * zeros).
 */
#define RING_HEADER_FIXED 4

/*
 * A cursor segment (one writer: the subscriber's process), one per subscription. Entry i belongs to
 * one ring at a time; busd assigns it. A publisher trusts an entry only while it carries its own
 * ring's id.
 *
 * | field     | writer     | readers                    | ordering |
 * | waiting   | subscriber | every publisher after W1   | generation; 0 awake; stored before fence W3 |
 * | idle      | subscriber | publishers, before a commit | relaxed: whether a time stamp may be shared |
 * | wants_fence | subscriber | publishers, at attach    | written before the join |
 * | ring_id   | subscriber | that ring's publisher      | release after the cursor it tags |
 * | cursor    | subscriber | that ring's publisher, busd | release, then fence W2 |
 * | lost, ... | subscriber | tools                      | relaxed, for show |
 * | acked     | subscriber | busd, of a durable subscription | release, after the messages were used |
 */
struct cursor_entry {
	_Atomic uint64_t ring_id;   /* 0: free */
	_Atomic uint64_t cursor;    /* next sequence number to read; CURSOR_PARKED: does not gate */
	_Atomic uint64_t lost;      /* messages lost to this reader of this ring */
	_Atomic uint64_t delivered; /* released as good; updated with the cursor */
	uint64_t pad[4];
};
static_assert(sizeof(struct cursor_entry) == BUS_LINE, "an entry is one line");
#define CURSOR_PARKED UINT64_MAX

struct cursor_segment {
	_Atomic uint32_t waiting; /* generation while asleep or armed; 0 awake */
	/* 1 while polling and finding nothing for long: nobody is in a burst */
	_Atomic uint32_t idle;
	/* this subscriber cannot make publishers' stores visible by itself (membarrier) */
	_Atomic uint32_t wants_fence;
	/* 1: its process knows that it has it; what busd tells of it before may be all that ever comes of it */
	_Atomic uint32_t taken;
	_Atomic uint64_t sleeps; /* for show */
	/* for show: of rings that were read to their end, so that no loss is forgotten */
	_Atomic uint64_t past_lost, past_delivered;
	_Atomic uint64_t acked; /* durable: messages below are acknowledged; + 1, 0: it has not begun */
	uint64_t pad1[10];
	struct cursor_entry entry[];
};
static_assert(offsetof(struct cursor_segment, entry) == BUS_LINE_PAIR,
	      "entries after the waiting pair");
#define CURSOR_DEFAULT_ENTRIES 1024
#define CURSOR_MAX_ENTRIES     65536

/*
 * A bell page (one writer: the process that wakes; one page per waking process and sleeping user).
 * Word i belongs to the i-th client of that user: the waker increments it and calls FUTEX_WAKE on
 * it, the sleeper waits on it read-only.
 */
#define BELL_WORDS 1024
struct bell_page {
	_Atomic uint32_t word[BELL_WORDS];
};
static_assert(sizeof(struct bell_page) == 4096, "one page");

#endif

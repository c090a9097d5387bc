/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_segment.c - opening one segment of a log: its header or the header's copy, its sync marks. Nothing of
 * it is believed before it was checked here; from then on its numbers are within their bounds.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "os/log_own.h"

ssize_t log_pread_whole(log_pread_fn *read, int fd, void *buf, size_t size, uint64_t at)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, (uint8_t *)buf + done, size - done, (off_t)(at + done));

		if (n == 0)
			break;
		if (n > 0)
			done += (size_t)n;
		else if (errno != EINTR)
			return -errno;
	}
	return (ssize_t)done;
}

const char *log_fault_text(enum log_fault fault)
{
	static const char *const texts[] = {
		[LOG_SOUND] = "nothing is wrong with it",
		[LOG_LIMIT] = "it is not in this segment",
		[LOG_UNWRITTEN] = "it was not written: its slot is zeros",
		[LOG_UNREADABLE] = "the disk cannot read it",
		[LOG_CUT] = "the file ends before it",
		[LOG_BAD_SLOT] = "its slot fails the checksum",
		[LOG_BAD_BODY] = "its payload fails the checksum",
		[LOG_UNSUPPORTED] = "it needs a newer version of this program",
		[LOG_HOLE] = "no message has these numbers: passed over after a crash",
		[LOG_MISSING] = "the file is missing",
		[LOG_BROKEN] = "the file cannot be used",
		[LOG_GONE] = "older than what is kept",
	};

	return (size_t)fault < BUS_ARRAY_LEN(texts) ? texts[fault] : "unknown";
}

/* ---- header ---- */

/* What is wrong with it; NULL: nothing. */
static const char *header_numbers(const struct log_header *h)
{
	uint64_t areas;

	if (h->slots == 0 || h->slots > LOG_MAX_SLOTS)
		return "its number of slots is out of bounds";
	if (h->bytes == 0 || h->bytes > LOG_MAX_BYTES || h->bytes % LOG_AREA_ALIGN != 0)
		return "its payload's size is out of bounds";
	areas = BUS_ALIGN_UP(LOG_SLOTS_OFF + h->slots * RING_SLOT_BYTES, (uint64_t)LOG_AREA_ALIGN);
	if (h->payload_off != areas || h->size != areas + h->bytes)
		return "its areas do not lie where their sizes put them";
	if (h->base_seq > UINT64_MAX - 1 - h->slots || h->base_pos > UINT64_MAX - h->bytes ||
	    h->base_pos % LOG_AREA_ALIGN != 0)
		return "its first number or position is out of bounds";
	if (h->prev_end > h->base_seq || (h->index == 0 && h->prev_end != h->base_seq))
		return "the segment before it ends behind its first message";
	if (memchr(h->topic, 0, sizeof(h->topic)) == NULL)
		return "its topic has no end";
	return NULL;
}

static const char *header_wrong(const struct log_header *h)
{
	if (h->magic != LOG_MAGIC)
		return "it does not begin as a segment does";
	if (crc32c(h, offsetof(struct log_header, crc)) != h->crc)
		return "its header fails the checksum";
	return header_numbers(h);
}

/* Of a version that has yet to come, or with a feature that has: only a header that is whole says so. */
static bool header_too_new(const struct log_header *h)
{
	return h->magic == LOG_MAGIC && crc32c(h, offsetof(struct log_header, crc)) == h->crc &&
	       (h->version > LOG_VERSION || (h->features & ~LOG_FEATURES_KNOWN) != 0);
}

/* How well a header fits what is known of the file otherwise. */
static int header_fits(const struct log_header *h, const struct log_hints *hints)
{
	int fits = 0;

	if (hints != NULL && hints->uuid != NULL)
		fits += 2 * (memcmp(h->uuid, hints->uuid, sizeof(h->uuid)) == 0);
	if (hints != NULL)
		fits += h->base_seq == hints->named;
	return fits;
}

/*
 * Where both are whole and differ, one of them is another segment's, which came there by a misdirected write: the
 * one that fits better counts.
 */
static int header_choose(struct log_segment *seg, const struct log_header *first, int first_err,
			 const struct log_header *copy, int copy_err, const struct log_hints *hints,
			 const char **why)
{
	const char *wrong = first_err ? NULL : header_wrong(first);
	const char *copy_wrong = copy_err ? NULL : header_wrong(copy);

	if ((!first_err && header_too_new(first)) || (!copy_err && header_too_new(copy)))
		return -EPROTONOSUPPORT;
	if (first_err && copy_err)
		return first_err;
	if (!first_err && wrong == NULL &&
	    (copy_err || copy_wrong != NULL || header_fits(first, hints) >= header_fits(copy, hints))) {
		seg->header = *first;
		if (copy_err || memcmp(first, copy, sizeof(*first)) != 0)
			seg->flaws |= LOG_FLAW_COPY;
	} else if (!copy_err && copy_wrong == NULL) {
		seg->header = *copy;
		seg->flaws |= LOG_FLAW_HEADER;
	} else {
		if (why != NULL)
			*why = wrong != NULL ? wrong : copy_wrong;
		return -EBADMSG;
	}
	if (seg->header.version < LOG_VERSION_MIN) {
		if (why != NULL)
			*why = "its format is older than any that is still read";
		return -EBADMSG;
	}
	return 0;
}

/* 0; -errno: it cannot be read. Where the file ends before it, it is zeros. */
static int header_read(const struct log_segment *seg, struct log_header *ret, uint64_t at)
{
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	n = log_pread_whole(seg->pread, seg->fd, ret, sizeof(*ret), at);
	return n < 0 ? (int)n : 0;
}

static int header_load(struct log_segment *seg, const struct log_hints *hints, const char **why)
{
	struct log_header first, copy;
	int first_err = header_read(seg, &first, 0);
	int copy_err = header_read(seg, &copy, LOG_COPY_OFF);

	return header_choose(seg, &first, first_err, &copy, copy_err, hints, why);
}

/* ---- marks ---- */

static bool mark_good(const struct log_segment *seg, const struct log_mark *m)
{
	const struct log_header *h = &seg->header;

	return m->magic == LOG_MARK_MAGIC && m->base_seq == h->base_seq && m->seq >= h->base_seq &&
	       m->seq - h->base_seq <= h->slots && m->pos >= h->base_pos &&
	       m->pos - h->base_pos <= h->bytes && m->pos % RING_POS_ALIGN == 0 &&
	       crc32c_extend(seg->seed, m, offsetof(struct log_mark, crc)) == m->crc;
}

static bool all_zeros(const void *data, size_t size)
{
	const uint8_t *p = data;

	return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

/* Each mark by itself: an unreadable one does not take the others with it. */
static int marks_load(struct log_segment *seg)
{
	uint8_t area[LOG_MARKS * LOG_MARK_BYTES];
	ssize_t n = log_pread_whole(seg->pread, seg->fd, area, sizeof(area), LOG_MARKS_OFF);
	struct log_mark mark;
	int err = n < 0 ? (int)n : 0;

	seg->flaws &= ~LOG_FLAW_MARK;
	for (size_t i = 0; i < LOG_MARKS; i++) {
		uint8_t *at = area + i * LOG_MARK_BYTES;

		if (n != (ssize_t)sizeof(area)) {
			memset(at, 0, LOG_MARK_BYTES);
			if (log_pread_whole(seg->pread, seg->fd, at, LOG_MARK_BYTES,
					    LOG_MARKS_OFF + i * LOG_MARK_BYTES) < 0) {
				seg->flaws |= LOG_FLAW_MARK;
				continue;
			}
		}
		memcpy(&mark, at, sizeof(mark));
		if (!mark_good(seg, &mark)) {
			if (!all_zeros(at, LOG_MARK_BYTES))
				seg->flaws |= LOG_FLAW_MARK;
			continue;
		}
		if (!all_zeros(at + sizeof(mark), LOG_MARK_BYTES - sizeof(mark)))
			seg->flaws |= LOG_FLAW_MARK;
		if (mark.seq > seg->mark.seq || (mark.seq == seg->mark.seq && seg->mark.magic == 0))
			seg->mark = mark;
	}
	return err;
}

/* ---- open, look again, close ---- */

int log_segment_open(struct log_segment *ret, int fd, log_pread_fn *read, const char **why)
{
	return log_segment_open_as(ret, fd, read, NULL, why);
}

int log_segment_open_as(struct log_segment *ret, int fd, log_pread_fn *read,
			const struct log_hints *hints, const char **why)
{
	struct log_segment seg = { .fd = fd, .pread = read ? read : pread };
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		if (why != NULL)
			*why = "it is not a file";
		return -EBADMSG;
	}
	seg.file_bytes = (uint64_t)st.st_size;
	seg.disk_bytes = (uint64_t)st.st_blocks * 512;
	err = header_load(&seg, hints, why);
	if (err)
		return err;
	if (seg.file_bytes != seg.header.size)
		seg.flaws |= LOG_FLAW_SIZE;
	seg.seed = crc32c(seg.header.uuid, sizeof(seg.header.uuid));
	seg.mark.seq = seg.header.base_seq;
	seg.mark.pos = seg.header.base_pos;
	marks_load(&seg);
	seg.limit = seg.header.base_seq + seg.header.slots;
	seg.attested = seg.mark.seq;
	*ret = seg;
	return 0;
}

void log_segment_close(struct log_segment *seg)
{
	if (seg->fd >= 0)
		close(seg->fd);
	seg->fd = -1;
}

int log_segment_refresh(struct log_segment *seg)
{
	struct stat st;
	int err = marks_load(seg);

	if (fstat(seg->fd, &st) == 0)
		seg->file_bytes = (uint64_t)st.st_size;
	if (seg->mark.seq > seg->attested && seg->attested < seg->limit) {
		seg->attested = bus_min_u64(seg->mark.seq, seg->limit);
		return 1;
	}
	return err;
}

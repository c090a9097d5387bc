/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment.c - see segment.h. segment_build() and segment_refill() may run in an allocation thread.
 */
#include "segment.h"

#include "keep.h"
#include "memory.h"
#include "numa_place.h"
#include "quota.h"

#include "os/shm_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define WATCHED_BYTES (UINT64_C(64) << 10)

#define SEALS_SIZE   (F_SEAL_SHRINK | F_SEAL_GROW)
#define SEALS_HANDED (SEALS_SIZE | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

static const char *kind_text(const struct segment *seg)
{
	switch (seg->info.kind) {
	case CTL_SEG_BOARD:
		return "board";
	case CTL_SEG_RING:
		return "ring";
	case CTL_SEG_CURSOR:
		return "cursor segment";
	default:
		return "bell page";
	}
}

static const char *kind_word(const struct segment *seg)
{
	switch (seg->info.kind) {
	case CTL_SEG_BOARD:
		return "board";
	case CTL_SEG_RING:
		return "ring";
	case CTL_SEG_CURSOR:
		return "cursors";
	default:
		return "bell";
	}
}

static uint32_t named_after;

void segment_name_after(uint32_t busd_pid)
{
	named_after = busd_pid;
}

uint64_t segment_inode(const struct segment *seg)
{
	struct stat st;

	return fstat(seg->ro_fd >= 0 ? seg->ro_fd : seg->rw_fd, &st) == 0 ? st.st_ino : 0;
}

struct segment *segment_new(uint64_t id)
{
	struct segment *seg = calloc(1, sizeof(*seg));

	if (!seg)
		return NULL;
	seg->refs = 1;
	seg->rw_fd = seg->ro_fd = -1;
	seg->info.head.type = CTL_EV_SEGMENT;
	seg->info.head.version = CTL_VERSION;
	seg->info.head.len = sizeof(seg->info);
	seg->info.segment_id = id;
	return seg;
}

void segment_unref(struct segment *seg)
{
	if (!seg || --seg->refs > 0)
		return;
	if (seg->map)
		munmap(seg->map, seg->map_size);
	if (seg->rw_fd >= 0)
		close(seg->rw_fd);
	if (seg->ro_fd >= 0)
		close(seg->ro_fd);
	if (seg->held)
		keep_drop(seg->info.segment_id);
	if (seg->bill.account)
		quota_refund(&seg->bill);
	free(seg);
}

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static void ring_geometry(struct ring_geometry *geo, const struct segment_plan *plan, size_t page)
{
	size_t alignment = page > page_bytes() ? page : page_bytes();

	memset(geo, 0, sizeof(*geo));
	geo->slots = plan->ring_slots;
	geo->bytes = bus_max_u64(plan->ring_bytes, alignment);
	geo->slots_off = bus_max_u64(page_bytes(), 4096);
	geo->payload_off =
		BUS_ALIGN_UP(geo->slots_off + (uint64_t)geo->slots * RING_SLOT_BYTES, alignment);
	geo->size = geo->payload_off + geo->bytes;
	geo->first_seq = plan->ring_first_seq;
	geo->features = plan->ring_features;
}

uint64_t segment_plan_bytes(const struct segment_plan *plan)
{
	struct ring_geometry geo;

	if (plan->kind != CTL_SEG_RING)
		return BUS_ALIGN_UP(plan->size, page_bytes());
	ring_geometry(&geo, plan,
		      plan->pages == SEGMENT_ORDINARY ? page_bytes() : SEGMENT_HUGE_BYTES);
	return geo.size;
}

static int make_memfd(struct segment *seg, unsigned extra, struct why *why)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), SHM_NAME "%u.%s.%llu", named_after, kind_word(seg),
		 (unsigned long long)seg->info.segment_id);
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | extra);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | extra);
	if (fd < 0)
		return because(why, errno, "cannot create a %s: %s", kind_text(seg), strerror(errno));
	seg->rw_fd = fd;
	seg->made_seals = (unsigned)fcntl(fd, F_GET_SEALS);
	/* made 0777 or 0666: whoever holds a descriptor of any kind could reopen it writable */
	if (fchmod(fd, 0600) < 0 || ftruncate(fd, (off_t)seg->info.size) < 0)
		return because(why, errno, "cannot size a %s of %llu bytes: %s", kind_text(seg),
			       (unsigned long long)seg->info.size, strerror(errno));
	return 0;
}

static int allocate(struct segment *seg, off_t from, off_t len, struct why *why)
{
	int rc;

	do
		rc = fallocate(seg->rw_fd, 0, from, len);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return 0;
	return because(why, errno == ENOSPC ? ENOMEM : errno,
		       "cannot allocate a %s of %llu bytes: %s; free memory, or ask for less",
		       kind_text(seg), (unsigned long long)seg->info.size, strerror(errno));
}

static void discard_memfd(struct segment *seg)
{
	if (seg->rw_fd >= 0)
		close(seg->rw_fd);
	seg->rw_fd = -1;
}

/*
 * fallocate reserves pages, and leaves it to their first user to clear them, at the price of an
 * exception each: here it costs a thirtieth, and the kernel says where memory is bad. Before Linux
 * 5.14 (EINVAL) the first user pays.
 */
static int fill(struct segment *seg, void *map, struct why *why)
{
	int rc = allocate(seg, 0, (off_t)seg->info.size, why);

	if (rc == 0 && madvise(map, seg->info.size, MADV_POPULATE_WRITE) < 0 && errno != EINVAL)
		rc = because(why, ENOMEM, "cannot fill a %s of %llu bytes: %s", kind_text(seg),
			     (unsigned long long)seg->info.size, strerror(errno));
	return rc;
}

/* Where the mapping's pages are becomes known only once they are there. */
static int place_and_fill(struct segment *seg, const struct segment_plan *plan, bool huge,
			  struct why *why)
{
	void *map = mmap(NULL, seg->info.size, PROT_READ | PROT_WRITE, MAP_SHARED, seg->rw_fd, 0);
	int rc;

	if (map == MAP_FAILED)
		return because(why, ENOMEM, "cannot map a %s of %llu bytes: %s", kind_text(seg),
			       (unsigned long long)seg->info.size, strerror(errno));
	rc = numa_place(map, seg->info.size, plan->numa, plan->node);
	seg->place_error = rc;
	/*
	 * fallocate would ignore the placement of huge pages; a short pool is EFAULT here, not
	 * SIGBUS later
	 */
	if (!huge)
		rc = fill(seg, map, why);
	else if (madvise(map, seg->info.size, MADV_POPULATE_WRITE) < 0)
		rc = because(why, ENOMEM, "the pool of huge pages is short");
	else
		rc = 0;
	if (rc == 0 && plan->kind == CTL_SEG_RING &&
	    numa_survey(map, seg->info.size, seg->page, seg->node_pages) < 0)
		memset(seg->node_pages, 0, sizeof(seg->node_pages)); /* shown as unknown */
	munmap(map, seg->info.size);
	return rc;
}

static long free_huge_pages(void)
{
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	long n = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%ld", &n) != 1)
		n = 0;
	fclose(file);
	return n;
}

static int build_huge(struct segment *seg, const struct segment_plan *plan, struct why *why)
{
	int rc;

	seg->page = SEGMENT_HUGE_BYTES;
	ring_geometry(&seg->info.geometry, plan, seg->page);
	seg->info.size = seg->info.geometry.size;
	rc = make_memfd(seg, MFD_HUGETLB | MFD_HUGE_2MB, why);
	if (rc == 0)
		rc = place_and_fill(seg, plan, true, why);
	if (rc == 0)
		return 0;
	discard_memfd(seg);
	return because(why, ENOMEM,
		       "not enough huge pages: %llu of 2 MiB wanted, %ld free; raise vm.nr_hugepages (sysctl), or let the "
		       "topic use ordinary pages",
		       (unsigned long long)(seg->info.size / SEGMENT_HUGE_BYTES), free_huge_pages());
}

/*
 * Beyond what is free the kernel would kill somebody rather than refuse. Small things are not worth
 * the look, and memory_limit keeps them few.
 */
static int begin_fill(const struct segment *seg, struct why *why)
{
	struct memory_room room;
	char want[32], free[32];

	if (seg->info.size < WATCHED_BYTES || memory_begin(seg->info.size, &room))
		return 0;
	return because(
		why, ENOMEM,
		"cannot allocate a %s of %s: of the memory of %s %s are free; free memory, or ask for less",
		kind_text(seg), quota_bytes_text(seg->info.size, want),
		room.by_group ? "busd's control group" : "this machine",
		quota_bytes_text(room.free, free));
}

static void end_fill(const struct segment *seg)
{
	if (seg->info.size >= WATCHED_BYTES)
		memory_end(seg->info.size);
}

static int build_ordinary(struct segment *seg, const struct segment_plan *plan, struct why *why)
{
	int rc;

	seg->page = page_bytes();
	seg->info.size = BUS_ALIGN_UP(plan->size, seg->page);
	if (plan->kind == CTL_SEG_RING) {
		ring_geometry(&seg->info.geometry, plan, seg->page);
		seg->info.size = seg->info.geometry.size;
	}
	rc = begin_fill(seg, why);
	if (rc < 0)
		return rc;
	rc = make_memfd(seg, 0, why);
	if (rc == 0)
		rc = plan->kind == CTL_SEG_RING ? place_and_fill(seg, plan, false, why)
						: allocate(seg, 0, (off_t)seg->info.size, why);
	end_fill(seg);
	if (rc < 0)
		discard_memfd(seg);
	return rc;
}

int segment_build(struct segment *seg, const struct segment_plan *plan, struct why *why)
{
	int rc = -ENOMEM;

	seg->info.kind = plan->kind;
	if (plan->pages != SEGMENT_ORDINARY)
		rc = build_huge(seg, plan, why);
	if (rc < 0 && plan->pages != SEGMENT_HUGE) {
		seg->huge_refused = plan->pages == SEGMENT_HUGE_OR_NOT;
		rc = build_ordinary(seg, plan, why);
	}
	if (rc < 0)
		return rc;
	if (fcntl(seg->rw_fd, F_ADD_SEALS, SEALS_SIZE) < 0) {
		rc = because(why, errno, "cannot seal a %s: %s", kind_text(seg), strerror(errno));
		discard_memfd(seg);
	}
	return rc;
}

int segment_seal(struct segment *seg, struct why *why)
{
	unsigned expected = SEALS_HANDED | seg->made_seals;
	struct stat st;
	int seals;

	/* EPERM is no answer: the writer may have sealed first, with seals of its own choice */
	if (fcntl(seg->rw_fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0 && errno != EPERM)
		return because(why, errno, "cannot seal a %s: %s", kind_text(seg), strerror(errno));
	seals = fcntl(seg->rw_fd, F_GET_SEALS);
	if (seals < 0 || (unsigned)seals != expected)
		return because(why, EPERM,
			       "the %s carries seals %#x instead of %#x: its writer tampered with it",
			       kind_text(seg), (unsigned)seals, expected);
	if (fstat(seg->rw_fd, &st) < 0 || (uint64_t)st.st_size != seg->info.size)
		return because(why, EPERM,
			       "the %s has %lld bytes instead of %llu: its writer tampered with it",
			       kind_text(seg), (long long)st.st_size,
			       (unsigned long long)seg->info.size);
	return 0;
}

int segment_refill(struct segment *seg, struct why *why)
{
	return allocate(seg, 0, (off_t)seg->info.size, why);
}

int segment_publish(struct segment *seg, struct why *why)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", seg->rw_fd);
	seg->ro_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (seg->ro_fd < 0)
		return because(why, errno, "cannot open a %s read-only: %s%s", kind_text(seg),
			       strerror(errno), errno == ENOENT ? " (busd needs /proc)" : "");
	if (seg->info.kind != CTL_SEG_BOARD)
		discard_memfd(seg);
	return 0;
}

int segment_build_own(struct segment *seg, enum ctl_segment_kind kind, size_t size, struct why *why)
{
	int rc;

	seg->info.kind = kind;
	seg->page = page_bytes();
	seg->info.size = BUS_ALIGN_UP(size, seg->page);
	rc = make_memfd(seg, 0, why);
	if (rc < 0)
		return rc;
	seg->map = mmap(NULL, seg->info.size, PROT_READ | PROT_WRITE, MAP_SHARED, seg->rw_fd, 0);
	if (seg->map == MAP_FAILED) {
		seg->map = NULL;
		return because(why, ENOMEM, "cannot map a %s: %s", kind_text(seg), strerror(errno));
	}
	seg->map_size = seg->info.size;
	/* no FUTURE_WRITE: a later busd process must be able to map it writable */
	if (fcntl(seg->rw_fd, F_ADD_SEALS, SEALS_SIZE | F_SEAL_SEAL) < 0)
		return because(why, errno, "cannot seal a %s: %s", kind_text(seg), strerror(errno));
	return 0;
}

static int map_own_ring(struct segment *seg, struct why *why)
{
	struct shm_map map;
	/* the loop waits for this, and the first laps are another thread's */
	int rc = shm_map_ring_lazily(&map, seg->rw_fd, &seg->info.geometry, true);

	if (rc < 0)
		return because(why, ENOMEM, "cannot map a %s: %s", kind_text(seg), strerror(-rc));
	seg->map = map.base;
	seg->map_size = map.size;
	seg->own = true;
	return segment_publish(seg, why);
}

int segment_own_ring(struct segment *seg, struct why *why)
{
	if (fcntl(seg->rw_fd, F_ADD_SEALS, F_SEAL_SEAL) < 0)
		return because(why, errno, "cannot seal a %s: %s", kind_text(seg), strerror(errno));
	return map_own_ring(seg, why);
}

int segment_extend(struct segment *seg, size_t from, size_t len, struct why *why)
{
	size_t begin = from & ~(seg->page - 1);

	return allocate(seg, (off_t)begin, (off_t)(BUS_ALIGN_UP(from + len, seg->page) - begin), why);
}

int segment_map_readonly(struct segment *seg, size_t size, struct why *why)
{
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, seg->ro_fd, 0);

	if (map == MAP_FAILED)
		return because(why, ENOMEM, "cannot map a %s: %s", kind_text(seg), strerror(errno));
	seg->map = map;
	seg->map_size =
		BUS_ALIGN_UP(size, seg->page); /* of huge pages less is not unmapped, but refused */
	return 0;
}

void segment_hold(struct segment *seg)
{
	keep_hold(seg->info.segment_id, seg->rw_fd);
	seg->held = true;
}

/* Of busd's own: nobody else could have changed it. */
static int restore_own(struct segment *seg, struct why *why)
{
	seg->map = mmap(NULL, seg->info.size, PROT_READ | PROT_WRITE, MAP_SHARED, seg->rw_fd, 0);
	if (seg->map == MAP_FAILED) {
		seg->map = NULL;
		return because(why, ENOMEM, "cannot map a %s: %s", kind_text(seg), strerror(errno));
	}
	seg->map_size = seg->info.size;
	return segment_publish(seg, why);
}

/* Seals, size and allocation anew: the former worker may have died before any of them. */
int segment_restore(struct segment *seg, bool published, struct why *why)
{
	int rc;

	if (seg->own && seg->info.kind == CTL_SEG_RING)
		return map_own_ring(seg, why);
	if (seg->own || seg->info.kind == CTL_SEG_BOARD ||
	    (seg->info.kind == CTL_SEG_BELL && seg->info.owner_id == 0))
		return restore_own(seg, why);
	if (!published)
		return 0;
	rc = segment_seal(seg, why);
	if (rc == 0)
		rc = segment_refill(seg, why);
	if (rc == 0)
		rc = segment_publish(seg, why);
	if (rc < 0 || seg->info.kind == CTL_SEG_BELL)
		return rc;
	return segment_map_readonly(seg,
				    seg->info.kind == CTL_SEG_RING ? sizeof(struct ring_writer_page)
								   : seg->info.size,
				    why);
}

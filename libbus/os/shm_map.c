/* SPDX-License-Identifier: Apache-2.0 */
#include "os/shm_map.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

size_t shm_page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int shm_map_segment(struct shm_map *ret, int fd, size_t size, bool writable)
{
	void *p = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	madvise(p, size, MADV_DONTFORK);
	ret->base = p;
	ret->size = size;
	return 0;
}

#define PREPARED_BYTES      ((size_t)64 << 20)
#define PREPARED_READ_BYTES ((size_t)2 << 20)

/*
 * A page's first touch is an exception, which costs a virtual machine up to 10 us, in the first lap of
 * whoever publishes or reads: they are taken all at once here, at less than 0.5 us each. Of a larger
 * ring too many would be unused for long; and a reader, to whom rings come while it reads others, is not
 * held up for longer than a message may take. Kernels before 5.14 do not know it; the first lap pays then.
 */
static void prepare_pages(void *p, size_t size, bool writable)
{
	if (size <= (writable ? PREPARED_BYTES : PREPARED_READ_BYTES))
		(void)madvise(p, size, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

/*
 * Reserves the whole range first, then maps over it, so that nothing else can land between the two
 * copies. For huge pages the reservation is aligned to the offset's own alignment, which the kernel
 * wants of a fixed mapping.
 */
int shm_map_ring_lazily(struct shm_map *ret, int fd, const struct ring_geometry *geo, bool writable)
{
	const size_t huge = (size_t)2 << 20;
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	size_t total = geo->payload_off + 2 * geo->bytes;
	size_t slack = geo->payload_off % huge == 0 ? huge : 0;
	uint8_t *range, *base;
	int err;

	range = mmap(NULL, total + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	if (range == MAP_FAILED)
		return -errno;
	base = range;
	if (slack != 0) {
		base = (uint8_t *)BUS_ALIGN_UP((uintptr_t)range, huge);
		if (base != range)
			munmap(range, (size_t)(base - range));
		if (base + total != range + total + slack)
			munmap(base + total, (size_t)(range + slack - base));
	}
	if (mmap(base, geo->size, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mmap(base + geo->size, geo->bytes, prot, MAP_SHARED | MAP_FIXED, fd,
		 (off_t)geo->payload_off) == MAP_FAILED) {
		err = -errno;
		munmap(base, total);
		return err;
	}
	madvise(base, geo->size, MADV_DONTFORK);
	madvise(base + geo->size, geo->bytes, MADV_DONTFORK);
	ret->base = base;
	ret->size = total;
	return 0;
}

int shm_map_ring(struct shm_map *ret, int fd, const struct ring_geometry *geo, bool writable)
{
	int err = shm_map_ring_lazily(ret, fd, geo, writable);

	if (err == 0)
		prepare_pages(ret->base, ret->size, writable);
	return err;
}

void shm_unmap(struct shm_map *map)
{
	if (map->base != NULL)
		munmap(map->base, map->size);
	map->base = NULL;
	map->size = 0;
}

/* The leak checker does not look into mappings by itself. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#define FIND_POINTERS_IN(p, bytes)   __lsan_register_root_region((p), (bytes))
#define FORGET_POINTERS_IN(p, bytes) __lsan_unregister_root_region((p), (bytes))
#else
#define FIND_POINTERS_IN(p, bytes)   ((void)0)
#define FORGET_POINTERS_IN(p, bytes) ((void)0)
#endif

void *shm_private_alloc(size_t size)
{
	size_t bytes = BUS_ALIGN_UP(size, shm_page_bytes());
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, bytes, MADV_WIPEONFORK) != 0) {
		munmap(p, bytes);
		return NULL;
	}
	FIND_POINTERS_IN(p, bytes);
	return p;
}

void shm_private_free(void *ptr, size_t size)
{
	size_t bytes = BUS_ALIGN_UP(size, shm_page_bytes());

	if (ptr == NULL)
		return;
	FORGET_POINTERS_IN(ptr, bytes);
	munmap(ptr, bytes);
}

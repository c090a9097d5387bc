/* SPDX-License-Identifier: Apache-2.0 */
#include "os/proc_maps.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "format/control_proto.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif

#define MAPPED_NAME "/memfd:" SHM_NAME

/* The kernel's own filesystems that memfds lie on; nobody else can mount them. */
struct devices {
	dev_t ordinary, huge; /* huge 0: there are none */
};

static dev_t device_of_memfds(unsigned flags)
{
	int fd = memfd_create("bus-stat", MFD_CLOEXEC | flags);
	struct stat st;
	dev_t device = fd >= 0 && fstat(fd, &st) == 0 ? st.st_dev : 0;

	if (fd >= 0)
		close(fd);
	return device;
}

/* The kernel asks the same of any of these links, whatever it leads to. */
int proc_may_open(void)
{
	int fd = memfd_create("bus-stat", MFD_CLOEXEC), err = 0, own;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char path[96];
	void *map;

	if (fd < 0)
		return -errno;
	map = ftruncate(fd, (off_t)page) == 0 ? mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0)
					      : MAP_FAILED;
	close(fd);
	if (map == MAP_FAILED)
		return -ENOMEM;
	snprintf(path, sizeof(path), "/proc/self/map_files/%llx-%llx",
		 (unsigned long long)(uintptr_t)map, (unsigned long long)((uintptr_t)map + page));
	own = open(path, O_RDONLY | O_CLOEXEC);
	if (own < 0)
		err = errno == EACCES ? -EPERM : -errno;
	else
		close(own);
	munmap(map, page);
	return err;
}

static int append(struct proc_segments *segments, const struct proc_segment *segment)
{
	if (segments->count == segments->room) {
		size_t room = segments->room ? segments->room * 2 : 256;
		void *larger = realloc(segments->at, room * sizeof(*segments->at));

		if (!larger)
			return -ENOMEM;
		segments->at = larger;
		segments->room = room;
	}
	segments->at[segments->count++] = *segment;
	return 0;
}

/* false: a line about something else. */
static bool parse(const char *line, const struct devices *devices, struct proc_segment *ret)
{
	unsigned long long from, to, inode;
	unsigned int major_id, minor_id;
	const char *name;
	char rights[5];
	int at = 0;
	dev_t device;

	if (sscanf(line, "%llx-%llx %4s %*x %x:%x %llu %n", &from, &to, rights, &major_id,
		   &minor_id, &inode, &at) < 6 ||
	    at == 0)
		return false;
	name = line + at;
	device = makedev(major_id, minor_id);
	if (strncmp(name, MAPPED_NAME, strlen(MAPPED_NAME)) != 0 ||
	    (device != devices->ordinary && (devices->huge == 0 || device != devices->huge)))
		return false;
	*ret = (struct proc_segment){
		.inode = inode,
		.from = from,
		.to = to,
		.writable = rights[1] == 'w' && rights[3] == 's',
		.board = strstr(name, ".board.") != NULL,
		.huge = device != devices->ordinary,
		.device = device,
	};
	return true;
}

static int by_inode(const void *a, const void *b)
{
	const struct proc_segment *x = a, *y = b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* One of each: what a process has mapped a thousand times counts once. */
static void merge(struct proc_segments *segments, size_t first)
{
	struct proc_segment *at = segments->at;
	size_t kept = first;

	if (segments->count == first)
		return;
	qsort(at + first, segments->count - first, sizeof(*at), by_inode);
	for (size_t i = first; i < segments->count; i++) {
		if (kept > first && at[kept - 1].inode == at[i].inode)
			at[kept - 1].writable |= at[i].writable;
		else
			at[kept++] = at[i];
	}
	segments->count = kept;
	segments->processes++;
}

/* One that has gone, or is not for our eyes, has nothing. */
static int look_at(struct proc_segments *segments, const struct devices *devices, uint32_t pid)
{
	struct proc_segment found;
	size_t first = segments->count, size = 0;
	char path[64], *line = NULL;
	FILE *file;
	int err = 0;

	snprintf(path, sizeof(path), "/proc/%u/maps", pid);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOMEM || errno == EMFILE || errno == ENFILE ? -errno : 0;
	while (err == 0 && getline(&line, &size, file) > 0) {
		if (!parse(line, devices, &found))
			continue;
		found.pid = pid;
		err = append(segments, &found);
	}
	free(line);
	fclose(file);
	merge(segments, first);
	return err;
}

int proc_find_segments(struct proc_segments *ret)
{
	struct devices devices = { device_of_memfds(0), device_of_memfds(MFD_HUGETLB | MFD_HUGE_2MB) };
	const struct dirent *entry;
	DIR *dir;
	int err = 0;

	*ret = (struct proc_segments){ 0 };
	if (devices.ordinary == 0)
		return -ENOMEM;
	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while (err == 0 && (entry = readdir(dir)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]))
			err = look_at(ret, &devices, (uint32_t)strtoul(entry->d_name, NULL, 10));
	closedir(dir);
	if (err < 0) {
		proc_segments_free(ret);
		return err;
	}
	if (ret->count)
		qsort(ret->at, ret->count, sizeof(*ret->at), by_inode);
	return 0;
}

void proc_segments_free(struct proc_segments *segments)
{
	free(segments->at);
	*segments = (struct proc_segments){ 0 };
}

const struct proc_segment *proc_segment_of(const struct proc_segments *segments, uint64_t inode)
{
	size_t low = 0, high = segments->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (segments->at[middle].inode < inode)
			low = middle + 1;
		else
			high = middle;
	}
	return low < segments->count && segments->at[low].inode == inode ? &segments->at[low] : NULL;
}

/* Whether it is still the file that was found, asked without asking the filesystem that it is on. */
static bool is_that(int fd, const struct proc_segment *segment)
{
	struct statx st;

	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &st) == 0 &&
	       makedev(st.stx_dev_major, st.stx_dev_minor) == segment->device &&
	       st.stx_ino == segment->inode;
}

/*
 * Its process may have mapped something else there meanwhile, a file of a filesystem of its own, the
 * opening of which never ends. So it is taken hold of first, which opens nothing.
 */
int proc_open_segment(const struct proc_segment *segment)
{
	char path[96];
	int held, fd;

	snprintf(path, sizeof(path), "/proc/%u/map_files/%llx-%llx", segment->pid,
		 (unsigned long long)segment->from, (unsigned long long)segment->to);
	held = open(path, O_PATH | O_CLOEXEC);
	if (held < 0)
		return -errno;
	if (!is_that(held, segment)) {
		close(held);
		return -ESTALE;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(held);
	return fd;
}

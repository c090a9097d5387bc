/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_mapped.c - what is left of a busd that does not answer: the boards that living processes
 * still map, and what stands on them. Called by stat.c.
 *
 * The kernel says which processes map what (os/proc_maps.h); a name is no proof. What is believed,
 * and why:
 *
 *	a board            a memfd of root's or of the socket's owner, with the seals that busd puts on
 *	                   it. Only busd ever had it writable, so what stands on it was written by busd,
 *	                   the inode numbers of rings and cursors included.
 *	a ring, a cursor   the memfd with the inode that a board names, with the seals that busd puts on
 *	segment            it and of the size that follows from the board: nobody can truncate it, or punch
 *	                   a hole into it, while it is looked at. All its words are hostile, as ever.
 *	who lives          whoever maps a ring or cursor segment writable is its publisher or subscriber:
 *	                   the kernel's word, where a pid may have been given to another by now.
 *
 * A process of the socket's owner could forge a board: processes of one user are no boundary.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/stat_internal.h"
#include "format/control_proto.h"
#include "format/topic_name.h"
#include "os/proc_maps.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif

#define BOARD_SEALS   (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define CLIENTS_SEALS (BOARD_SEALS | F_SEAL_FUTURE_WRITE)

/* What is asked for, and what came of it so far. */
struct search {
	struct stat_mapped *found;
	struct proc_segments all;
	const char *pattern;
	char socket[PATH_MAX];  /* with symbolic links resolved, as busd writes it on its boards */
	uint32_t owner;         /* of the socket, or of its directory */
	struct stat_left *left; /* whose board is being looked at */
};

/* ---- whose ---- */

static void resolve_socket(struct search *s, const char *socket)
{
	const char *name = strrchr(socket, '/');
	char dir[PATH_MAX], real[PATH_MAX - 256];
	struct stat st;

	snprintf(s->socket, sizeof(s->socket), "%s", socket);
	snprintf(dir, sizeof(dir), "%.*s", name ? (int)(name - socket) + 1 : 1, name ? socket : ".");
	name = name ? name + 1 : socket;
	if (realpath(dir, real) && strlen(name) < 256)
		snprintf(s->socket, sizeof(s->socket), "%s/%s", strcmp(real, "/") == 0 ? "" : real,
			 name);
	if ((lstat(s->socket, &st) == 0 && S_ISSOCK(st.st_mode)) || stat(dir, &st) == 0)
		s->owner = st.st_uid;
	else
		s->owner = 0;
}

/* -ENOENT: it is another busd's. *wanted: by this observer. */
static int check_board(const struct search *s, const struct stat_board *board, bool *wanted)
{
	const struct board_head *head = board->base;
	char name[BUS_TOPIC_MAX + 1], socket[BOARD_SOCKET_MAX];

	if (bus__stat_board_name(board, name) < 0)
		return -EPROTO;
	*wanted = !(head->flags & BOARD_TOPIC_REMOVED) && topic_matches(s->pattern, name);
	memcpy(socket, head->busd_socket, sizeof(socket));
	socket[sizeof(socket) - 1] = 0;
	return socket[0] && strcmp(socket, s->socket) != 0 ? -ENOENT : 0;
}

/* ---- taking a segment ---- */

/* The file with that inode, from any process that has it, if it is what busd would have made. */
static int open_checked(const struct search *s, const struct proc_segment *first, unsigned seals,
			struct stat *st)
{
	const struct proc_segment *end = s->all.at + s->all.count;
	int fd = -ENOENT, has;

	for (const struct proc_segment *at = first;
	     fd < 0 && at < end && at->inode == first->inode && at->device == first->device; at++)
		fd = proc_open_segment(at);
	if (fd < 0)
		return fd;
	has = fcntl(fd, F_GET_SEALS);
	if (fstat(fd, st) == 0 && has >= 0 && ((unsigned)has & ~(unsigned)F_SEAL_EXEC) == seals)
		return fd;
	close(fd);
	return -EPROTO;
}

static bool is_written(const struct search *s, const struct proc_segment *first)
{
	const struct proc_segment *end = s->all.at + s->all.count;

	for (const struct proc_segment *at = first; at < end && at->inode == first->inode; at++)
		if (at->writable)
			return true;
	return false;
}

static void *grow(void *array, size_t count, size_t size)
{
	/* at powers of two */
	return count & (count - 1) ? array : realloc(array, (count ? 2 * count : 1) * size);
}

#define GROW(array, count) \
	({ \
		void *larger_ = grow((array), (count), sizeof(*(array))); \
		if (larger_) \
			(array) = larger_; \
		larger_ != NULL; \
	})

static int keep_map(struct search *s, const struct shm_map *map, const struct proc_segment *first)
{
	struct stat_mapped *f = s->found;
	const struct proc_segment *end = s->all.at + s->all.count;

	if (!GROW(f->maps, f->map_count))
		return -ENOMEM;
	f->maps[f->map_count++] = *map;
	for (const struct proc_segment *at = first; at < end && at->inode == first->inode; at++) {
		if (!GROW(f->pids, f->pid_count))
			return -ENOMEM;
		f->pids[f->pid_count++] = at->pid;
	}
	return 0;
}

/* Unmapped where it cannot be kept. */
static int keep_or_unmap(struct search *s, struct shm_map *map, const struct proc_segment *first)
{
	int err = keep_map(s, map, first);

	if (err < 0)
		shm_unmap(map);
	return err;
}

/* ---- boards ---- */

/* The busd of a board, one more where it is its first. */
static struct stat_left *left_of(struct search *s, const struct board_head *head, uint32_t uid)
{
	struct stat_mapped *f = s->found;
	uint64_t started_ns = head->busd_started_ns;
	uint32_t pid = head->busd_pid;

	for (size_t i = 0; i < f->left_count; i++)
		if (f->left[i].started_ns == started_ns && f->left[i].pid == pid &&
		    f->left[i].uid == uid)
			return &f->left[i];
	if (!GROW(f->left, f->left_count))
		return NULL;
	f->left[f->left_count] = (struct stat_left){
		.started_ns = started_ns, .pid = pid, .uid = uid, .view = { .mapped = true }
	};
	return &f->left[f->left_count++];
}

/* It is believed: one more of its busd. */
static int keep_board(struct search *s, struct shm_map *map, const struct proc_segment *first,
		      uint32_t uid, bool wanted)
{
	int err = keep_or_unmap(s, map, first);
	struct stat_left *left = err == 0 ? left_of(s, map->base, uid) : NULL;

	if (!left)
		return -ENOMEM;
	left->alive |= is_written(s, first);
	if (!wanted)
		return 0;
	if (!GROW(left->view.boards, left->view.board_count))
		return -ENOMEM;
	left->view.boards[left->view.board_count++] =
		(struct stat_board){ .base = map->base,
				     .topic_id = ((const struct board_head *)map->base)->topic_id };
	return 0;
}

static int take_board(struct search *s, const struct proc_segment *first)
{
	struct stat_board board = { 0 };
	struct shm_map map;
	struct stat st;
	int fd = open_checked(s, first, BOARD_SEALS, &st), err;
	size_t size;
	bool wanted;

	if (fd < 0)
		return fd;
	size = st.st_size < (off_t)BOARD_STREAM_SIZE ? BOARD_SIZE : BOARD_STREAM_SIZE;
	err = st.st_size < (off_t)BOARD_SIZE || (st.st_uid != 0 && st.st_uid != s->owner)
		      ? -EPROTO
		      : shm_map_segment(&map, fd, size, false);
	close(fd);
	if (err < 0)
		return err;
	board.base = map.base;
	err = check_board(s, &board, &wanted);
	if (err == 0 && bus__stat_board_stream(&board) != 0 && size < BOARD_STREAM_SIZE)
		err = -EPROTO;
	if (err < 0) {
		shm_unmap(&map);
		return err;
	}
	return keep_board(s, &map, first, st.st_uid, wanted);
}

/* ---- what stands on them ---- */

static bool is_full(const struct stat *st)
{
	return (uint64_t)st->st_blocks * 512 >= (uint64_t)st->st_size;
}

static int take_ring(struct search *s, const struct stat_board *board, const struct board_ring *entry)
{
	const struct ring_geometry geo = { .slots = entry->slots,
					   .features = entry->features,
					   .bytes = entry->bytes,
					   .slots_off = entry->slots_off,
					   .payload_off = entry->payload_off,
					   .size = entry->payload_off + entry->bytes,
					   .first_seq = entry->first_seq };
	const struct proc_segment *first = proc_segment_of(&s->all, entry->inode);
	struct stat_view *view = &s->left->view;
	struct shm_map map;
	struct stat st;
	int fd, err;

	if (!first || !ring_geometry_ok(&geo, shm_page_bytes()))
		return -ENOENT;
	fd = open_checked(s, first,
			  geo.features & RING_FEATURE_STREAM ? BOARD_SEALS : CLIENTS_SEALS, &st);
	if (fd < 0)
		return fd;
	err = (uint64_t)st.st_size != geo.size || !is_full(&st)
		      ? -EPROTO
		      : shm_map_ring(&map, fd, &geo, false);
	close(fd);
	if (err == 0)
		err = keep_or_unmap(s, &map, first);
	if (err < 0)
		return err;
	if (!GROW(view->rings, view->ring_count))
		return -ENOMEM;
	view->rings[view->ring_count] =
		(struct stat_ring){ .ring_id = entry->ring_id,
				    .topic_id = board->topic_id,
				    .first_seq = geo.first_seq,
				    .stream = (geo.features & RING_FEATURE_STREAM) != 0,
				    .size = geo.size,
				    .written = is_written(s, first) };
	ring_view_init(&view->rings[view->ring_count++].view, map.base, &geo);
	return 0;
}

/* A subscription to several topics stands on the board of each. */
static bool has_cursors(const struct stat_view *view, uint64_t sub_id)
{
	for (size_t i = view->cursors_count; i > 0; i--)
		if (view->cursors[i - 1].sub_id == sub_id)
			return true;
	return false;
}

static int take_cursors(struct search *s, const struct board_sub *entry)
{
	const struct proc_segment *first = proc_segment_of(&s->all, entry->inode);
	struct stat_view *view = &s->left->view;
	uint64_t size = sizeof(struct cursor_segment) +
			(uint64_t)entry->entries * sizeof(struct cursor_entry);
	struct shm_map map;
	struct stat st;
	int fd, err;

	if (!first || entry->entries > CURSOR_MAX_ENTRIES || has_cursors(view, entry->sub_id))
		return -ENOENT;
	/* a stream's cursors at its publishers are busd's own */
	fd = open_checked(s, first,
			  entry->client_id == CTL_CLIENT_BUSD ? BOARD_SEALS : CLIENTS_SEALS, &st);
	if (fd < 0)
		return fd;
	err = (uint64_t)st.st_size < size || !is_full(&st) ? -EPROTO
							   : shm_map_segment(&map, fd, size, false);
	close(fd);
	if (err == 0)
		err = keep_or_unmap(s, &map, first);
	if (err < 0)
		return err;
	if (!GROW(view->cursors, view->cursors_count))
		return -ENOMEM;
	view->cursors[view->cursors_count++] =
		(struct stat_cursors){ .sub_id = entry->sub_id,
				       .base = map.base,
				       .entries = entry->entries,
				       .written = is_written(s, first) };
	return 0;
}

/* What cannot be had is shown without figures; only a lack of memory ends the look. */
static int take_entries(struct search *s, const struct stat_board *board)
{
	uint32_t rings = bus__stat_board_rings(board), subs = bus__stat_board_subs(board);
	struct board_ring ring;
	struct board_sub sub;

	for (uint32_t i = 0; i < rings; i++)
		if (bus__stat_board_ring(board, i, &ring) == 0 &&
		    take_ring(s, board, &ring) == -ENOMEM)
			return -ENOMEM;
	for (uint32_t i = 0; i < subs; i++)
		if (bus__stat_board_sub(board, i, &sub) == 0 && take_cursors(s, &sub) == -ENOMEM)
			return -ENOMEM;
	return 0;
}

/* ---- all of it ---- */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void count_processes(struct stat_mapped *f)
{
	uint32_t self = (uint32_t)getpid();

	if (f->pid_count)
		qsort(f->pids, f->pid_count, sizeof(*f->pids), by_number);
	for (size_t i = 0; i < f->pid_count; i++)
		f->processes += f->pids[i] != self && (i == 0 || f->pids[i] != f->pids[i - 1]);
}

static int youngest_first(const void *a, const void *b)
{
	const struct stat_left *x = a, *y = b;

	return x->started_ns > y->started_ns ? -1 : x->started_ns < y->started_ns;
}

static int take_all(struct search *s)
{
	struct stat_mapped *f = s->found;
	int err;

	for (size_t i = 0; i < s->all.count; i++) {
		const struct proc_segment *at = &s->all.at[i];

		if (!at->board || at->huge || (i > 0 && at[-1].inode == at->inode))
			continue;
		err = take_board(s, at);
		if (err == -ENOMEM)
			return err;
		f->ignored += err == -EPROTO;
	}
	for (size_t i = 0; i < f->left_count; i++) {
		s->left = &f->left[i];
		for (size_t k = 0; k < s->left->view.board_count; k++)
			if (take_entries(s, &s->left->view.boards[k]) == -ENOMEM)
				return -ENOMEM;
		if (bus__stat_view_index(&s->left->view) < 0)
			return -ENOMEM;
	}
	if (f->left_count)
		qsort(f->left, f->left_count, sizeof(*f->left), youngest_first);
	count_processes(f);
	return 0;
}

int bus__stat_mapped_take(struct stat_mapped *ret, const char *socket, const char *pattern)
{
	struct search s = { .found = ret, .pattern = pattern };
	int err;

	*ret = (struct stat_mapped){ 0 };
	resolve_socket(&s, socket);
	err = proc_find_segments(&s.all);
	if (err < 0)
		return err;
	err = take_all(&s);
	proc_segments_free(&s.all);
	if (err < 0)
		bus__stat_mapped_free(ret);
	return err;
}

void bus__stat_mapped_free(struct stat_mapped *mapped)
{
	for (size_t i = 0; i < mapped->left_count; i++)
		bus__stat_view_free(&mapped->left[i].view);
	for (size_t i = 0; i < mapped->map_count; i++)
		shm_unmap(&mapped->maps[i]);
	free(mapped->left);
	free(mapped->maps);
	free(mapped->pids);
	*mapped = (struct stat_mapped){ 0 };
}

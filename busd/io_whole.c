/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_whole.c - small files that are read and written as a whole: publishers' names (sources.c), positions of durable
 * subscriptions (positions.c). Both wait.
 */
#include "io.h"

int io_write_anew(struct io *io, int dir, const char *tmp, const char *name, const void *data,
		  uint64_t len)
{
	const struct io_table *t = io->table;
	struct io_request req;
	int fd, error;

	t->remove(io, dir, tmp); /* of one that did not get through */
	fd = t->create(io, dir, tmp);
	if (fd < 0)
		return fd;
	io_begin(&req, NULL, NULL);
	io_add(&req, IO_WRITE, fd, data, 0, len);
	io_add(&req, IO_SYNC, fd, NULL, 0, 0);
	error = io_run(io, &req);
	if (error == 0)
		error = t->rename(io, dir, tmp, name, true);
	if (error == 0) {
		io_begin(&req, NULL, NULL);
		io_add(&req, IO_SYNC, dir, NULL, 0, 0);
		error = io_run(io, &req);
	}
	if (error == 0)
		return fd;
	t->close(io, fd);
	return error;
}

int io_sync_and_forget(struct io *io, int dir, int fd)
{
	struct io_request req;
	int error;

	io_begin(&req, NULL, NULL);
	io_add(&req, IO_SYNC, dir, NULL, 0, 0);
	io_add(&req, IO_DATASYNC, fd, NULL, 0, 0); /* the last before it is read */
	error = io_run(io, &req);
	if (error == 0)
		(void)io->table->forget(io, fd, 0, 0);
	return error;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_numbers.c - policy none: which numbers may be given. What is on disk says nothing of how far readers were, so a
 * file says it, that is written long before.
 */
#include "log_file_internal.h"

#include "base/crc32c.h"

#include <string.h>

#define NUMBERS_NEW LOG_NUMBERS_NAME ".new"

static void numbers_done(struct io_request *req)
{
	((struct log_file *)req->owner)->numbers_busy = false;
}

static void numbers_failed(struct log_file *log, int error)
{
	log->number_error = error;
	log->number_retry_at = log->now + FULL_RETRY_NS;
	log_file_complain(log, error, "writing down which numbers may be given");
}

static void numbers_end(struct log_file *log, int error)
{
	if (error < 0) {
		numbers_failed(log, error);
	} else {
		log->number_limit = log->numbers.limit;
		log->number_error = 0;
	}
	log->io->table->close(log->io, log->numbers_fd);
	log->numbers_fd = -1;
}

static void numbers_begin(struct log_file *log)
{
	const struct io_table *t = log->io->table;
	int fd;

	t->remove(log->io, log->opts.dir, NUMBERS_NEW);
	fd = t->create(log->io, log->opts.dir, NUMBERS_NEW);
	if (fd < 0) {
		numbers_failed(log, fd);
		return;
	}
	log->numbers_fd = fd;
	log->numbers_named = false;
	log->numbers = (struct log_numbers){ .magic = LOG_NUMBERS_MAGIC,
					     .limit = log->offered + log->opts.numbers_step };
	memcpy(log->numbers.uuid, log->opts.uuid, sizeof(log->numbers.uuid));
	log->numbers.crc = crc32c(&log->numbers, offsetof(struct log_numbers, crc));
	io_begin(&log->numbers_req, numbers_done, log);
	io_add(&log->numbers_req, IO_WRITE, fd, &log->numbers, 0, sizeof(log->numbers));
	io_add(&log->numbers_req, IO_SYNC, fd, NULL, 0, 0);
	log->numbers_busy = true;
	io_submit(log->io, &log->numbers_req);
}

/* A new limit, long before the old one is reached: written, synced, named, and then it holds. */
void log_numbers_run(struct log_file *log)
{
	int error;

	if (log->opts.policy != LOG_SYNC_NONE || log->numbers_busy)
		return;
	if (log->numbers_fd < 0) {
		if (log->offered + log->opts.numbers_step / 2 >= log->number_limit &&
		    log->now >= log->number_retry_at)
			numbers_begin(log);
		return;
	}
	error = log->numbers_req.error;
	if (error == 0 && !log->numbers_named) {
		error = log->io->table->rename(log->io, log->opts.dir, NUMBERS_NEW,
					       LOG_NUMBERS_NAME, true);
		if (error == 0) {
			log->numbers_named = true;
			io_begin(&log->numbers_req, numbers_done, log);
			io_add(&log->numbers_req, IO_SYNC, log->opts.dir, NULL, 0, 0);
			log->numbers_busy = true;
			io_submit(log->io, &log->numbers_req);
			return;
		}
	}
	numbers_end(log, error);
}

int log_numbers_error(const struct log_file *log)
{
	if (log->opts.policy != LOG_SYNC_NONE || !log->begun || log->offered < log->number_limit)
		return 0;
	return log->number_error;
}

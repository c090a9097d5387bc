/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_writer.h - a log's writer over real files, as busd has it: a start, messages from a ring in plain memory, an end
 * without a word, so that the next start finds what a death leaves. For unit tests (cmocka) of busd.
 */
#ifndef TESTS_LOG_WRITER_H
#define TESTS_LOG_WRITER_H

#include "lib/log_ring.h"
#include "recover.h"

#define WRITER_SLOTS 64 /* of the ring; a segment has 100, and 32 KiB */

struct writer {
	struct io *io;
	int dir; /* the caller's */
	struct log_ring rig;
	struct log_file *log;
	struct recovered rec;
	struct sources sources;
	struct retention retention;
	struct log_start start;
	struct log_file_opts opts;
	uint32_t src; /* who publishes */
};

/* Starts as well. */
void open_writer(struct writer *w, int dir);
/* All of busd was lost, or there was none. */
void start_writer(struct writer *w);
/* The worker was lost: the ring is there, from the gate on. */
void start_writer_at_ring(struct writer *w);
/* Until they are durable. */
void write_messages(struct writer *w, unsigned n);
void stop_writer(struct writer *w);
/* Of one that is stopped. */
void close_writer(struct writer *w);

#endif

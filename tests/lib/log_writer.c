/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/log_writer.h"

#include "base/clock.h"

#include <string.h>

#define WAIT_NS UINT64_C(20000000000)

static void start(struct writer *w)
{
	struct why why = { "" };

	memcpy(w->rig.uuid, w->rec.uuid, LOG_UUID_BYTES);
	memcpy(w->opts.uuid, w->rec.uuid, LOG_UUID_BYTES);
	w->opts.view = w->rig.view;
	w->opts.dir = w->dir;
	w->opts.topic = "t";
	w->opts.sources = &w->sources;
	assert_int_equal(log_file_open(&w->log, w->io, &w->opts, &w->start, &why), 0);
}

void start_writer(struct writer *w)
{
	struct why why = { "" };

	assert_int_equal(recover_open(&w->rec, w->io, w->dir, RECOVER_NO_RING, &w->sources,
				      &w->retention, &why),
			 0);
	recover_start(&w->rec, WRITER_SLOTS, &w->start);
	rig_ring_begin(&w->rig, w->start.seq, w->start.pos);
	start(w);
}

void start_writer_at_ring(struct writer *w)
{
	struct why why = { "" };

	assert_int_equal(recover_open(&w->rec, w->io, w->dir, w->rig.head, &w->sources,
				      &w->retention, &why),
			 0);
	assert_int_equal(recover_start_at(&w->rec, w->rig.head, w->rig.pos, &w->start, &why), 0);
	start(w);
}

void write_messages(struct writer *w, unsigned n)
{
	const uint64_t end = w->rig.head + n;
	const uint64_t begun = bus_monotonic_ns();

	while (log_file_durable(w->log) < end) {
		while (w->rig.head < end && w->rig.head < log_file_limit(w->log) &&
		       rig_ring_room(&w->rig, log_file_gate(w->log), 0, 200))
			rig_ring_put(&w->rig, w->src, 0, 200);
		log_file_offer(w->log, w->rig.head);
		log_file_run(w->log, bus_monotonic_ns());
		io_poll(w->io, 1);
		if (bus_monotonic_ns() - begun >= WAIT_NS)
			fail_msg("nothing more is durable: %s", log_file_why(w->log));
	}
}

void stop_writer(struct writer *w)
{
	log_file_close(w->log);
	sources_close(&w->sources);
	retention_free(&w->retention);
}

void open_writer(struct writer *w, int dir)
{
	struct why why = { "" };

	memset(w, 0, sizeof(*w));
	w->dir = dir;
	w->src = 1;
	assert_int_equal(io_open(&w->io, IO_BEST, 4, &why), 0);
	rig_ring_open(&w->rig, WRITER_SLOTS, 16384);
	w->opts.slots = 100;
	w->opts.bytes = 32768;
	w->opts.policy = LOG_SYNC_BATCH;
	start_writer(w);
}

void close_writer(struct writer *w)
{
	rig_ring_close(&w->rig);
	io_free(w->io);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: a header in which any number is out of its bounds makes no segment, right checksum or not; one of a
 * version or with a feature that has yet to come says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/log_rig.h"
#include "os/log_read.h"

static char where[256];
static struct log_rig rig;

static int begin(void **state)
{
	(void)state;
	log_rig_temporary(where, sizeof(where));
	log_rig_begin(&rig, where, 128, 32768);
	log_rig_put(&rig, "x", 1);
	log_rig_end(&rig);
	return 0;
}

static int end(void **state)
{
	(void)state;
	log_rig_remove(where);
	return 0;
}

static void headers(void **state)
{
	struct log_header good, h;
	struct log_segment seg;
	const char *path, *why = NULL;
	int fd;

	(void)state;
	path = log_rig_path(&rig, 0);
	good = rig.header;
	fd = open(path, O_RDWR);
#define TRY(field, value) \
	do { \
		h = good; \
		h.field = (value); \
		log_rig_seal_header(&h); \
		log_rig_write(path, 0, &h, sizeof(h)); \
		log_rig_write(path, LOG_COPY_OFF, &h, sizeof(h)); \
		why = NULL; \
		assert_int_equal(log_segment_open(&seg, fd, NULL, &why), -EBADMSG); \
		assert_non_null(why); \
	} while (0)
	TRY(magic, 1);
	TRY(version, 0);
	TRY(slots, 0);
	TRY(slots, LOG_MAX_SLOTS + 1);
	TRY(slots, UINT64_MAX);
	TRY(slots, good.slots + 1024);
	TRY(bytes, 0);
	TRY(bytes, LOG_MAX_BYTES + 4096);
	TRY(bytes, UINT64_MAX - 4095);
	TRY(bytes, good.bytes + 1);
	TRY(bytes, good.bytes + 4096);
	TRY(payload_off, good.payload_off - 4096);
	TRY(size, good.size - 1);
	TRY(base_seq, UINT64_MAX);
	TRY(base_seq, UINT64_MAX - good.slots);
	TRY(base_pos, 64);
	TRY(base_pos, UINT64_MAX - 4095);
	TRY(prev_end, 1);
#undef TRY
	h = good;
	memset(h.topic, 'x', sizeof(h.topic));
	log_rig_seal_header(&h);
	log_rig_write(path, 0, &h, sizeof(h));
	log_rig_write(path, LOG_COPY_OFF, &h, sizeof(h));
	assert_int_equal(log_segment_open(&seg, fd, NULL, &why), -EBADMSG);
	/* of a version to come; of one with a feature to come */
	h = good;
	h.version = LOG_VERSION + 1;
	log_rig_seal_header(&h);
	log_rig_write(path, 0, &h, sizeof(h));
	assert_int_equal(log_segment_open(&seg, fd, NULL, &why), -EPROTONOSUPPORT);
	h = good;
	h.features = 1u << 31;
	log_rig_seal_header(&h);
	log_rig_write(path, 0, &h, sizeof(h));
	assert_int_equal(log_segment_open(&seg, fd, NULL, &why), -EPROTONOSUPPORT);
	log_rig_write(path, 0, &good, sizeof(good));
	assert_int_equal(log_segment_open(&seg, fd, NULL, &why), 0);
	assert_int_equal(seg.flaws, LOG_FLAW_COPY);
	log_segment_close(&seg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(headers, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

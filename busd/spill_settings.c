/* SPDX-License-Identifier: Apache-2.0 */
/* spill_settings.c - the file that says what a stream is; see spill_dir.h */
#include "spill_dir.h"

#include "base/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SETTINGS_MAX 2048
#define FIRST_LINE   "busd-stream 1\n"

static const char *const sync_names[] = {
	[CTL_SYNC_DEFAULT] = "default",   [CTL_SYNC_NONE] = "none",
	[CTL_SYNC_INTERVAL] = "interval", [CTL_SYNC_BATCH] = "batch",
	[CTL_SYNC_MEMORY] = "memory",
};

const char *spill_sync_text(uint32_t sync)
{
	return sync < BUS_ARRAY_LEN(sync_names) ? sync_names[sync] : "?";
}

static int print(const struct spill_settings *s, char *buf, size_t size)
{
	char uuid[2 * LOG_UUID_BYTES + 1];
	int i, len;

	for (i = 0; i < LOG_UUID_BYTES; i++)
		snprintf(uuid + (size_t)i * 2, 3, "%02x", s->uuid[i]);
	len = snprintf(
		buf, size,
		FIRST_LINE
		"topic %s\nuuid %s\ncreated_ns %llu\n"
		"ring_slots %u\nring_bytes %llu\nring_max_bytes %llu\nring_numa %d\nring_flags %u\n"
		"stream_slots %u\nstream_bytes %llu\n"
		"sync %s\ninterval_ns %llu\nmax_age_ns %llu\nmax_bytes %llu\nmax_messages %llu\n"
		"on_full %s\n",
		s->topic, uuid, (unsigned long long)s->created_ns, s->rings.slots,
		(unsigned long long)s->rings.bytes, (unsigned long long)s->rings.max_bytes,
		s->rings.numa, s->rings.flags, s->stream_slots, (unsigned long long)s->stream_bytes,
		spill_sync_text(s->log.sync), (unsigned long long)s->log.interval_ns,
		(unsigned long long)s->log.max_age_ns, (unsigned long long)s->log.max_bytes,
		(unsigned long long)s->log.max_messages,
		s->log.on_full == CTL_ON_FULL_DROP ? "drop" : "block");
	len += snprintf(buf + len, size - (size_t)len, "crc32c %08x\n", crc32c(buf, (size_t)len));
	return len;
}

static bool parse_uuid(const char *text, uint8_t *uuid)
{
	unsigned byte;
	int i;

	for (i = 0; i < LOG_UUID_BYTES; i++) {
		if (sscanf(text + (size_t)i * 2, "%2x", &byte) != 1)
			return false;
		uuid[i] = (uint8_t)byte;
	}
	return true;
}

static uint32_t parse_sync(const char *text)
{
	uint32_t i;

	for (i = CTL_SYNC_NONE; i < CTL_SYNC_MEMORY; i++)
		if (strcmp(text, sync_names[i]) == 0)
			return i;
	return CTL_SYNC_DEFAULT;
}

static bool parse(const char *text, struct spill_settings *s)
{
	unsigned long long created, bytes, max_bytes, stream_bytes, interval, age, kept, messages;
	char uuid[2 * LOG_UUID_BYTES + 1], sync[16], on_full[8] = "block"; /* older ones do not say */
	int got = sscanf(
		text,
		FIRST_LINE
		"topic %255[^\n]\nuuid %32s\ncreated_ns %llu\n"
		"ring_slots %u\nring_bytes %llu\nring_max_bytes %llu\nring_numa %d\nring_flags %u\n"
		"stream_slots %u\nstream_bytes %llu\n"
		"sync %15s\ninterval_ns %llu\nmax_age_ns %llu\nmax_bytes %llu\nmax_messages %llu\n"
		"on_full %7s\n",
		s->topic, uuid, &created, &s->rings.slots, &bytes, &max_bytes, &s->rings.numa,
		&s->rings.flags, &s->stream_slots, &stream_bytes, sync, &interval, &age, &kept,
		&messages, on_full);

	if (got < 15 || strlen(uuid) != 2 * LOG_UUID_BYTES || !parse_uuid(uuid, s->uuid))
		return false;
	s->created_ns = created;
	s->rings.bytes = bytes;
	s->rings.max_bytes = max_bytes;
	s->stream_bytes = stream_bytes;
	s->log = (struct ctl_log_settings){ .sync = parse_sync(sync),
					    .on_full = strcmp(on_full, "drop") == 0
							       ? CTL_ON_FULL_DROP
							       : CTL_ON_FULL_BLOCK,
					    .interval_ns = interval,
					    .max_age_ns = age,
					    .max_bytes = kept,
					    .max_messages = messages };
	return s->log.sync != CTL_SYNC_DEFAULT && bus_is_pow2(s->stream_slots) &&
	       bus_is_pow2(stream_bytes) && s->stream_slots >= RING_MIN_SLOTS &&
	       s->stream_slots <= RING_MAX_SLOTS && stream_bytes <= RING_MAX_BYTES;
}

int spill_dir_read(int dir, struct spill_settings *ret, struct why *why)
{
	char text[SETTINGS_MAX + 1];
	const char *last;
	unsigned crc;
	ssize_t len;
	int fd = openat(dir, SPILL_SETTINGS_NAME,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	memset(ret, 0, sizeof(*ret));
	if (fd < 0)
		return because(why, errno, "its file " SPILL_SETTINGS_NAME " cannot be opened: %s",
			       strerror(errno));
	len = read(fd, text, SETTINGS_MAX);
	if (len < 0)
		because(why, errno, "its file " SPILL_SETTINGS_NAME " cannot be read: %s",
			strerror(errno));
	close(fd);
	if (len < 0)
		return -EIO;
	text[len] = 0;
	last = strstr(text, "\ncrc32c ");
	if (last && sscanf(last, "\ncrc32c %x", &crc) == 1 &&
	    crc == crc32c(text, (size_t)(last + 1 - text)) && parse(text, ret))
		return 0;
	return because(why, EBADMSG,
		       "its file " SPILL_SETTINGS_NAME
		       " is damaged, or of another version of busd: nothing of the stream is touched");
}

int spill_settings_write(int dir, const struct spill_settings *settings, struct why *why)
{
	char text[SETTINGS_MAX];
	const int len = print(settings, text, sizeof(text));
	ssize_t written;
	int fd, rc = 0;

	unlinkat(dir, SPILL_SETTINGS_NAME, 0); /* of one that was never put in place */
	fd = openat(dir, SPILL_SETTINGS_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		rc = -errno;
	} else {
		written = write(fd, text, (size_t)len);
		if (written != len) /* less: what is left of the room */
			rc = written < 0 ? -errno : -ENOSPC;
	}
	if (rc == 0 && (fsync(fd) < 0 || fsync(dir) < 0))
		rc = -errno;
	if (fd >= 0)
		close(fd);
	if (rc < 0)
		return because(why, -rc, "cannot write the stream's settings: %s", strerror(-rc));
	return 0;
}

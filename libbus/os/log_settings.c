/* SPDX-License-Identifier: Apache-2.0 */
/* log_settings.c - which stream a directory is of, as its owner wrote down when it was made. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "os/log_own.h"

#define TEXT_MAX 4096

/* The last line is the checksum of all before it. */
static bool is_whole(const char *text)
{
	const char *last = strstr(text, "\ncrc32c ");
	unsigned crc;

	return last != NULL && sscanf(last, "\ncrc32c %8x", &crc) == 1 &&
	       crc == crc32c(text, (size_t)(last + 1 - text));
}

static bool parse(const char *text, uint8_t *uuid)
{
	const char *at = strstr(text, "\nuuid ");

	if (at == NULL || !is_whole(text))
		return false;
	at += strlen("\nuuid ");
	for (size_t i = 0; i < LOG_UUID_BYTES; i++, at += 2) {
		unsigned byte;

		if (strspn(at, "0123456789abcdef") < 2 || sscanf(at, "%2x", &byte) != 1)
			return false;
		uuid[i] = (uint8_t)byte;
	}
	return *at == '\n';
}

int log_settings_uuid(int dirfd, uint8_t uuid[LOG_UUID_BYTES])
{
	char text[TEXT_MAX + 1];
	struct stat st;
	ssize_t len = -1;
	int err = 0, fd = openat(dirfd, LOG_SETTINGS_NAME,
				 O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EBADMSG;
	else
		len = log_pread_whole(pread, fd, text, TEXT_MAX, 0);
	close(fd);
	if (err == 0 && len < 0)
		err = (int)len;
	if (err)
		return err;
	text[len] = 0;
	return parse(text, uuid) ? 0 : -EBADMSG;
}

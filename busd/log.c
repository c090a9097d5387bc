/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - see log.h. Called by the one thread of busd only; lines are written whole by one write.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static int file_fd = STDERR_FILENO;
static bool to_syslog;
static char *file_path;
static enum log_level threshold = LOG_LEVEL_INFO;

static const char *const level_names[] = { "error", "warning", "info", "debug" };

int log_level_parse(const char *text)
{
	int i;

	for (i = 0; i < (int)BUS_ARRAY_LEN(level_names); i++)
		if (strcmp(text, level_names[i]) == 0)
			return i;
	return -1;
}

static void set_file(int fd, char *path)
{
	if (file_path)
		close(file_fd);
	free(file_path);
	file_path = path;
	file_fd = fd;
}

int log_open(const char *target)
{
	char *path;
	int fd;

	if (strcmp(target, "syslog") == 0) {
		openlog("busd", LOG_PID, LOG_DAEMON);
		to_syslog = true;
		return 0;
	}
	if (strcmp(target, "stderr") == 0) {
		set_file(STDERR_FILENO, NULL);
		to_syslog = false;
		return 0;
	}
	path = strdup(target);
	if (!path)
		return -ENOMEM;
	fd = open(target, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0) {
		int error = errno;

		free(path);
		return -error;
	}
	set_file(fd, path);
	to_syslog = false;
	return 0;
}

void log_set_level(enum log_level level)
{
	threshold = level;
}

void log_reopen(void)
{
	int fd;

	if (!file_path || to_syslog)
		return;
	fd = open(file_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0)
		return; /* the old file goes on */
	/* the same number: another thread may be writing to it, and a free number is soon another file's */
	dup3(fd, file_fd, O_CLOEXEC);
	close(fd);
}

/* Names and texts of clients end up here: a control character must not reach a terminal. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static void write_line(enum log_level level, const char *format, va_list args)
{
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	char text[1024];
	char line[1200];
	char stamp[32] = "";
	int len;

	if (level > threshold)
		return;
	vsnprintf(text, sizeof(text), format, args);
	make_printable(text);
	if (to_syslog) {
		syslog(priorities[level], "%s", text);
		return;
	}
	if (file_path) {
		time_t now = time(NULL);
		struct tm tm;

		if (localtime_r(&now, &tm))
			strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S%z ", &tm);
	}
	len = snprintf(line, sizeof(line), "%sbusd[%d]: %s: %s\n", stamp, (int)getpid(),
		       level_names[level], text);
	if (len > (int)sizeof(line) - 1)
		len = sizeof(line) - 1;
	if (write(file_fd, line, (size_t)len) < 0)
		return; /* there is nowhere left to say it */
}

#define LOG_FUNCTION(name, level) \
	void name(const char *format, ...) \
	{ \
		va_list args; \
		va_start(args, format); \
		write_line(level, format, args); \
		va_end(args); \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

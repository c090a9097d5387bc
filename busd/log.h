/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - what busd has to say, one line each, to stderr, syslog or a file. A line is written
 * where the matter is handled, once.
 */
#ifndef BUSD_LOG_H
#define BUSD_LOG_H

#include "base/base.h"

enum log_level { LOG_LEVEL_ERROR = 0, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* "stderr", "syslog" or the path of a file to append to; 0 or -errno (the old target stays). */
int log_open(const char *target);
void log_set_level(enum log_level level);
/* Opens the file again (log rotation). */
void log_reopen(void);

void log_error(const char *format, ...) BUS_PRINTF(1, 2);
void log_warning(const char *format, ...) BUS_PRINTF(1, 2);
void log_info(const char *format, ...) BUS_PRINTF(1, 2);
void log_debug(const char *format, ...) BUS_PRINTF(1, 2);

/* "stderr", "error", ...: by name; -1: no such level */
int log_level_parse(const char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * why.h - the sentence that goes with an error: what failed, why, what to do. Filled where the
 * error is found, sent or logged once, where it is handled.
 */
#ifndef BUSD_WHY_H
#define BUSD_WHY_H

#include "format/control_proto.h"

#include <stdarg.h>
#include <stdio.h>

struct why {
	char text[CTL_WHY_MAX];
};

/*
 * Sets the sentence and returns -error, so that a failing function can end with it. error is a
 * positive errno.
 */
static inline BUS_PRINTF(3, 4) int because(struct why *why, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return -error;
}

#endif

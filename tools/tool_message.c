/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_message.c - what tools say on stderr when something fails, and the exit codes.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool_own.h"

int tool_exit_code(int err)
{
	switch (-err) {
	case 0:
		return TOOL_DONE;
	case EACCES:
	case EPERM:
	case EDQUOT:
	case ENOMEM: /* of busd, mostly: it has no more to give */
		return TOOL_REFUSED;
	case ETIMEDOUT:
	case ECONNREFUSED:
		return TOOL_NOBODY;
	case EINVAL: /* names and settings are checked by the library: they came from the command line */
		return TOOL_USAGE;
	default:
		return TOOL_FAILED;
	}
}

/* One write for the whole line: several tools may share a terminal. */
static void say(const char *text, const char *format, va_list args, const char *why)
{
	char *what = NULL;

	if (format && vasprintf(&what, format, args) < 0)
		what = NULL;
	/* What was printed so far belongs before the message. */
	fflush(stdout);
	fprintf(stderr, "%s: %s%s%s%s\n", tool_name(), text, what ? what : "", why ? ": " : "",
		why ? why : "");
	free(what);
}

void tool_warn(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say("", format, args, NULL);
	va_end(args);
}

_Noreturn void tool_fail(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say("", format, args, NULL);
	va_end(args);
	exit(code);
}

_Noreturn void tool_fail_usage(const char *format, ...)
{
	va_list args;
	char hint[64];

	snprintf(hint, sizeof(hint), "see %s -h", tool_name());
	va_start(args, format);
	say("", format, args, NULL);
	va_end(args);
	fprintf(stderr, "%*s  %s\n", (int)strlen(tool_name()), "", hint);
	exit(TOOL_USAGE);
}

_Noreturn void tool_fail_bus(struct bus *bus, int err, const char *format, ...)
{
	const char *why = bus_why(bus);
	va_list args;

	va_start(args, format);
	if (!*why)
		say("cannot ", format, args, strerror(-err));
	else if (!strncmp(why, "cannot ", 7)) /* it names what was tried itself */
		say(why, NULL, args, NULL);
	else
		say("cannot ", format, args, why);
	va_end(args);
	exit(tool_exit_code(err));
}

_Noreturn void tool_fail_errno(int err, const char *format, ...)
{
	const char *why;
	va_list args;

	switch (-err) {
	case EAGAIN:
		why = "no room: the slowest subscriber has not read what was sent before";
		break;
	case EPIPE:
		why = "busd has gone";
		break;
	case ESHUTDOWN:
		why = "the topic was removed, or busd ended";
		break;
	default:
		why = strerror(-err);
	}
	va_start(args, format);
	say("cannot ", format, args, why);
	va_end(args);
	exit(tool_exit_code(err));
}

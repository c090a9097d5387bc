/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_options.c - the command line: one table for each tool, from which getopt_long() and -h are
 * served, and the connection, which every tool makes alike.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool_own.h"

#define MAX_OPTIONS 64

enum { OPTION_SOCKET = TOOL_LONG + 1000, OPTION_VERSION };

static const struct tool_option every_tool[] = {
	{ OPTION_SOCKET, "socket", "PATH",
	  "busd's socket, instead of $BUS_SOCKET and the usual places" },
	{ 'h', "help", NULL, "this text" },
	{ OPTION_VERSION, "version", NULL, "the version" },
	{ 0 },
};

const char *tool_socket_path;

static const struct tool *this_tool;
static struct option long_options[MAX_OPTIONS + 4];
static char short_options[2 * MAX_OPTIONS + 4];

const char *tool_name(void)
{
	return this_tool ? this_tool->name : "bus";
}

static bool takes_optional(const struct tool_option *o)
{
	return o->arg && o->arg[0] == '[';
}

static void add_options(const struct tool_option *o, int *count)
{
	char *s = short_options + strlen(short_options);

	for (; o->letter; o++) {
		int has_arg = !o->arg             ? no_argument
			      : takes_optional(o) ? optional_argument
						  : required_argument;

		if (o->name && *count < MAX_OPTIONS + 3)
			long_options[(*count)++] =
				(struct option){ o->name, has_arg, NULL, o->letter };
		if (o->letter >= TOOL_LONG)
			continue;
		*s++ = (char)o->letter;
		if (o->arg)
			*s++ = ':';
	}
	*s = '\0';
}

void tool_begin(const struct tool *tool)
{
	int count = 0;

	this_tool = tool;
	short_options[0] = ':'; /* messages are ours */
	short_options[1] = '\0';
	add_options(tool->options, &count);
	add_options(every_tool, &count);
	opterr = 0;
}

static void show_option(const struct tool_option *o)
{
	char left[64] = "";
	const char *line = o->help, *end;

	if (o->letter < TOOL_LONG)
		snprintf(left, sizeof(left), "-%c%s", o->letter, o->name ? ", " : "");
	else
		snprintf(left, sizeof(left), "    ");
	if (o->name)
		snprintf(left + strlen(left), sizeof(left) - strlen(left), "--%s", o->name);
	if (o->arg)
		snprintf(left + strlen(left), sizeof(left) - strlen(left), "%s%s",
			 takes_optional(o) ? ""
			 : o->name         ? "="
					   : " ",
			 o->arg);
	printf("  %-26s", left);
	if (strlen(left) > 25)
		printf("\n%28s", "");
	for (; (end = strchr(line, '\n')); line = end + 1)
		printf(" %.*s\n%28s", (int)(end - line), line, "");
	printf(" %s\n", line);
}

static void show_help(void)
{
	const char *line = this_tool->shape, *end;
	const char *lead = "usage:";

	for (; (end = strchr(line, '\n')); line = end + 1, lead = "      ")
		printf("%s %s %.*s\n", lead, this_tool->name, (int)(end - line), line);
	printf("%s %s %s\n\n%s\n\n", lead, this_tool->name, line, this_tool->about);
	for (const struct tool_option *o = this_tool->options; o->letter; o++)
		show_option(o);
	for (const struct tool_option *o = every_tool; o->letter; o++)
		show_option(o);
}

/* The argument that getopt_long() objected to, as it was typed. */
static _Noreturn void refuse_option(char **argv, int opt)
{
	const char *typed = argv[optind - 1];
	char letter[3] = { '-', (char)optopt, '\0' };

	if (optopt > 0 && optopt < TOOL_LONG && strncmp(typed, "--", 2) != 0)
		typed = letter;
	if (opt == ':')
		tool_fail_usage("option %s needs a value", typed);
	if (optopt && strncmp(typed, "--", 2) == 0) /* known, and given a value that it does not take */
		tool_fail_usage("option %.*s takes no value", (int)strcspn(typed, "="), typed);
	tool_fail_usage("unknown option %s", typed);
}

int tool_next_option(int argc, char **argv)
{
	for (;;) {
		int opt = getopt_long(argc, argv, short_options, long_options, NULL);

		switch (opt) {
		case 'h':
			show_help();
			exit(tool_end(TOOL_DONE));
		case OPTION_VERSION:
			printf("%s %s\n", this_tool->name, BUS_VERSION);
			if (strcmp(bus_version(), BUS_VERSION) != 0)
				printf("libbus %s\n", bus_version());
			exit(tool_end(TOOL_DONE));
		case OPTION_SOCKET:
			if (!*optarg)
				tool_fail_usage("--socket: the path is empty");
			tool_socket_path = optarg;
			break;
		case '?':
		case ':':
			refuse_option(argv, opt);
		default:
			return opt;
		}
	}
}

struct bus *tool_connect(void)
{
	struct bus *bus;
	int err;

	err = bus_connect(&bus, BUS_OPTS(connect, .socket = tool_socket_path, .name = tool_name()));
	if (!err)
		return bus;
	/* Nobody listens: for a script the same as nobody who answers. */
	if (err == -ENOENT || err == -ENOTDIR)
		err = -ECONNREFUSED;
	tool_fail_bus(NULL, err, "connect to busd");
}

static struct bus *open_until_exit;

void tool_close_now(void)
{
	bus_close(open_until_exit);
	open_until_exit = NULL;
}

void tool_close_at_exit(struct bus *bus)
{
	open_until_exit = bus;
	atexit(tool_close_now);
}

void tool_check_topic(const char *name)
{
	if (bus_topic_check(name) < 0)
		tool_fail_usage("%s", bus_why(NULL));
}

int tool_end(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	if (errno == EPIPE)
		return code ? code : TOOL_FAILED;
	tool_warn("cannot write the output: %s", strerror(errno));
	return code ? code : TOOL_FAILED;
}

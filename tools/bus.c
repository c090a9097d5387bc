/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.c - `bus pub ...` runs bus-pub, as `git log` runs git-log: from beside itself first, then
 * from $PATH.
 *
 * A tool of anybody's that is called bus-NAME is thereby a command too.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

#define TOOLS_MAX 256

static const struct tool_option options[] = { { 0 } };

static const struct tool tool = {
	"bus",
	"[--socket=PATH] COMMAND [ARGUMENT...]\nhelp [COMMAND]",
	"Runs bus-COMMAND.",
	options,
};

static const struct known {
	const char *name, *about;
} known[] = {
	{ "bench", "measure the bus on this machine" },
	{ "fsck", "check the log segments of streams" },
	{ "http", "serve the bus over HTTP" },
	{ "pub", "publish messages" },
	{ "replay", "print a stream's past, or publish it again" },
	{ "req", "call a service" },
	{ "serve", "be a service" },
	{ "stat", "see topics, publishers, subscribers, who holds up whom" },
	{ "sub", "print messages" },
	{ "topic", "create, remove, list topics" },
};

struct tool_list {
	char *names[TOOLS_MAX];
	int count;
};

/* The directory that this program lies in, "" where that cannot be found out. */
static void own_directory(char *dir, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", dir, size - 1);
	char *slash;

	dir[n > 0 ? n : 0] = '\0';
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
}

/* ---- listing ---- */

static bool is_program(const char *dir, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return false;
	return access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static void add_tool(struct tool_list *list, const char *name)
{
	for (int i = 0; i < list->count; i++)
		if (strcmp(list->names[i], name) == 0)
			return;
	if (list->count == TOOLS_MAX)
		return;
	list->names[list->count] = strdup(name);
	list->count += list->names[list->count] != NULL;
}

static void add_directory(struct tool_list *list, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (strncmp(entry->d_name, "bus-", 4) == 0 && is_program(path, entry->d_name))
			add_tool(list, entry->d_name + 4);
	closedir(dir);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void find_tools(struct tool_list *list)
{
	const char *path = getenv("PATH");
	char dir[PATH_MAX];
	char *copy, *at, *next;

	own_directory(dir, sizeof(dir));
	add_directory(list, dir);
	copy = at = strdup(path ? path : "");
	while (copy && (next = strsep(&at, ":")))
		if (*next)
			add_directory(list, next);
	free(copy);
	qsort(list->names, (size_t)list->count, sizeof(list->names[0]), by_name);
}

static const char *about(const char *name)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].about;
	return "";
}

static void list_tools(FILE *to)
{
	struct tool_list list = { .count = 0 };

	find_tools(&list);
	fprintf(to, "usage: bus [--socket=PATH] COMMAND [ARGUMENT...]\n\n");
	for (int i = 0; i < list.count; i++) {
		fprintf(to, "  %-8s %s\n", list.names[i], about(list.names[i]));
		free(list.names[i]);
	}
	if (list.count == 0)
		fprintf(to, "  (no bus-* program lies beside bus or on $PATH)\n");
	fprintf(to, "\nbus help COMMAND, or man bus-COMMAND, tells more. busd is found by itself.\n");
}

/* ---- running ---- */

/* argv[0] is the command's name without "bus-". Returns only where it cannot be run. */
static _Noreturn void run(char **argv)
{
	char dir[PATH_MAX], name[NAME_MAX + 1], path[PATH_MAX + NAME_MAX + 2];
	char *command = argv[0];

	if (!*command || strchr(command, '/') || strlen(command) > NAME_MAX - 4)
		tool_fail_usage("\"%s\" is not the name of a command", command);
	snprintf(name, sizeof(name), "bus-%s", command);
	own_directory(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	argv[0] = name;
	execv(path, argv);
	if (errno == ENOENT)
		execvp(name, argv);
	if (errno == ENOENT)
		tool_fail(TOOL_USAGE, "there is no command \"%s\"; bus help lists them", command);
	tool_fail(TOOL_FAILED, "cannot run %s: %s", name, strerror(errno));
}

/* `bus help x` is `bus-x -h`. */
static _Noreturn void help(char *command)
{
	static char flag[] = "-h";
	char *argv[] = { command, flag, NULL };

	if (command)
		run(argv);
	list_tools(stdout);
	exit(tool_end(TOOL_DONE));
}

int main(int argc, char **argv)
{
	tool_begin(&tool);
	/* What stands behind the command is the command's. */
	setenv("POSIXLY_CORRECT", "1", 1);
	if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))
		help(NULL);
	while (tool_next_option(argc, argv) != -1)
		continue;
	unsetenv("POSIXLY_CORRECT");
	if (tool_socket_path)
		setenv("BUS_SOCKET", tool_socket_path, 1);
	if (optind == argc) {
		list_tools(stderr);
		return TOOL_USAGE;
	}
	if (strcmp(argv[optind], "help") == 0)
		help(argv[optind + 1]);
	run(argv + optind);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool.h - what all bus-* tools share: options, errors and exit codes, values as people write and
 * read them, JSON.
 *
 *	static const struct tool_option options[] = {
 *		{ 'n', "lines", "N", "print N lines" },
 *		{ 0 },
 *	};
 *	static const struct tool tool = { "bus-x", "[-n N] TOPIC", "Prints ...", options };
 *
 *	tool_begin(&tool);
 *	while ((opt = tool_next_option(argc, argv)) != -1) ...		-h, --version, --socket: done here
 *	bus = tool_connect();
 *	...
 *	return tool_end(TOOL_DONE);
 *
 * Messages go to stderr as `bus-x: cannot do this to "that": why; what to do`.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>

#include <jansson.h>

#include <bus.h>

/* ---- exit codes ---- */

enum tool_exit {
	TOOL_DONE = 0,
	TOOL_FAILED = 1,
	TOOL_USAGE = 2,
	TOOL_NOBODY = 3,  /* no busd, no responders, nothing in time */
	TOOL_REFUSED = 4, /* rights, quota */
};

/* The exit code for a negative errno of libbus. */
int tool_exit_code(int err);

/* ---- what a tool is ---- */

#define TOOL_LONG 256 /* options without a letter have this number and up */

struct tool_option {
	int letter;       /* or TOOL_LONG + n; 0 ends the table */
	const char *name; /* without "--"; NULL: letter only */
	const char *arg;  /* NULL: takes none; "[WHAT]": optional; else what to call it in -h */
	const char *help; /* may have several lines */
};

struct tool {
	const char *name;  /* "bus-pub" */
	const char *shape; /* "TOPIC [MESSAGE]", several lines for several shapes */
	const char *about; /* a sentence or two */
	const struct tool_option *options;
};

/* First of all in main(). The tool must live as long as the program. */
void tool_begin(const struct tool *tool);

/*
 * The next option's letter or number, its argument in optarg; -1: none left, arguments start at
 * argv[optind]. Options may stand behind arguments. -h, --version and --socket are dealt with here;
 * an unknown one ends the program (TOOL_USAGE).
 */
int tool_next_option(int argc, char **argv);

/* What --socket gave, NULL: nothing. */
extern const char *tool_socket_path;

/* Connects as --socket and the environment say, or ends the program with a message. */
struct bus *tool_connect(void);

/*
 * Closes it when the program ends, however it does, by a failure or a signal too. The caller must
 * not close it then.
 */
void tool_close_at_exit(struct bus *bus);

/* Ends the program with a message where this is no topic name (TOOL_USAGE). Needs no connection. */
void tool_check_topic(const char *name);

/*
 * Flushes stdout. Returns code, or TOOL_FAILED with a message where what was printed could not be
 * written.
 */
int tool_end(int code) BUS_MUST_CHECK;

/* ---- messages ---- */

#define TOOL_PRINTF(f, a) __attribute__((format(printf, f, a)))

void tool_warn(const char *format, ...) TOOL_PRINTF(1, 2);
_Noreturn void tool_fail(int code, const char *format, ...) TOOL_PRINTF(2, 3);
/* The same with TOOL_USAGE and where to read more. */
_Noreturn void tool_fail_usage(const char *format, ...) TOOL_PRINTF(1, 2);
/*
 * After a failed control call of libbus: says bus_why() behind what was tried (`cannot publish to
 * "x"`), exits as err demands. bus may be NULL.
 */
_Noreturn void tool_fail_bus(struct bus *bus, int err, const char *format, ...) TOOL_PRINTF(3, 4);
/* After any other call: err in words, with what it means on a bus. */
_Noreturn void tool_fail_errno(int err, const char *format, ...) TOOL_PRINTF(2, 3);

/* ---- values of options: a bad one ends the program (TOOL_USAGE), naming the option ---- */

uint64_t tool_number(const char *option, const char *text, uint64_t min, uint64_t max);
/* 4096, 64K, 1M, 2GiB: powers of 1024 */
uint64_t tool_size(const char *option, const char *text, uint64_t min, uint64_t max);
/* 500ms, 2s, 1.5h, 250us, 10ns, 3m, 1d; a plain number is seconds. In ns. */
int64_t tool_duration(const char *option, const char *text);
/* Per second: 1000, 2.5k, 10M (powers of 1000); more than 0. */
double tool_rate(const char *option, const char *text);
/* Which of "evict|block|fail" it is, from 0. */
int tool_choice(const char *option, const char *text, const char *choices);

/* ---- values for people: `printf("%s", tool_bytes(n).s)` ---- */

struct tool_text {
	char s[48];
};

struct tool_text tool_bytes(uint64_t bytes); /* 256 KiB, 1.5 MiB */
struct tool_text tool_count(double count);   /* 950, 12.3k, 4.56M: powers of 1000 */
struct tool_text tool_seconds(uint64_t ns);  /* 850 ns, 12.5 us, 3.4 ms, 2.10 s, 3m20s, 5h07m */
/* "batch", "interval:100", ... of enum bus_sync */
struct tool_text tool_sync(uint32_t sync, uint64_t interval_ns);
const char *tool_log_state(uint32_t state);   /* of enum bus_log_state */
struct tool_text tool_time(uint64_t unix_ns); /* 2024-05-01T12:00:00.123456789Z */
struct tool_text tool_user(uint32_t uid);     /* root, or the number where there is no name */

/* Columns: true where stdout is a terminal (colour only then, and not with NO_COLOR). */
bool tool_colour(void);

/* ---- JSON ---- */

/* Prints it on one line to stdout and drops it. */
void tool_json_print(json_t *json);
/* Sets key to the bytes as a string where they are UTF-8, else KEY_base64 to their base64. */
void tool_json_set_bytes(json_t *object, const char *key, const void *data, size_t len);
/* As tool_time(), null for 0. */
json_t *tool_json_time(uint64_t unix_ns);

/* ---- stopping ---- */

/* The signal that asked for an end (SIGINT, SIGTERM, SIGHUP), 0: none yet. */
extern volatile sig_atomic_t tool_stop_signal;

/*
 * From here on these signals set tool_stop_signal instead of killing, and interrupt what sleeps
 * (-EINTR) again and again until the program ends, so that a signal between a look at the variable
 * and a sleep is not slept over.
 */
void tool_catch_stop(void);
/*
 * Dies of the signal that was caught, as a filter does (128 + n for the shell), after flushing
 * stdout.
 */
_Noreturn void tool_die_of_signal(int sig);

/* ---- time ---- */

int64_t tool_clock_ns(void);      /* monotonic */
uint64_t tool_unix_time_ns(void); /* since 1970 */
/* Sleeps until tool_clock_ns() is due_ns. 0, or -EINTR where tool_stop_signal was set. */
int tool_sleep_until(int64_t due_ns);

/* ---- progress ---- */

/* Of work that takes seconds, on stderr where that is a terminal. */
struct tool_progress {
	bool wanted;
	int64_t start_ns, next_ns;
};

void tool_progress_start(struct tool_progress *p, bool wanted);
/* After each batch: a look at the clock. */
void tool_progress_show(struct tool_progress *p, uint64_t messages, uint64_t bytes);
/* Before anything else is written to the terminal. */
void tool_progress_clear(const struct tool_progress *p);

#endif

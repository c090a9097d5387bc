/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: places and times are read as the manual pages say, to the nanosecond, and what is no date, no
 * clock time and no number is refused with exit code 2, naming the option.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool.h"
#include "tool_place.h"

#define S UINT64_C(1000000000)

static void times_are_read(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} rows[] = {
		{ "1970-01-01", 0 },
		{ "@0", 0 },
		{ "@1714564800", 1714564800 * S },
		{ "@1714564800.5", 1714564800 * S + S / 2 },
		{ "@1714564800.0000000019", 1714564800 * S + 1 },
		{ "2024-05-01", 1714521600 * S },
		{ "2024-05-01T12:00", 1714564800 * S },
		{ "2024-05-01 12:00", 1714564800 * S },
		{ "2024-05-01t12:00:00z", 1714564800 * S },
		{ "2024-05-01T12:00:00.123456789Z", 1714564800 * S + 123456789 },
		{ "2024-05-01T14:00:00+02:00", 1714564800 * S },
		{ "2024-05-01T06:30:00.25-0530", 1714564800 * S + S / 4 },
		{ "2024-02-29", 1709164800 * S },
		/* a leap second is the next day's first */
		{ "2016-12-31T23:59:60Z", 1483228800 * S },
		{ "2261-12-31", 9214560000 * S },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(tool_time_value("x", rows[i].text), rows[i].ns);
	/* what is shown is read */
	assert_int_equal(tool_time_value("x", tool_time(1714564800123456789).s), 1714564800123456789);
}

static void places_are_read(void **state)
{
	struct tool_place p = { .value = 77 };
	uint64_t now = tool_unix_time_ns();

	(void)state;
	assert_true(tool_place("x", "oldest", &p) && p.kind == TOOL_PLACE_OLDEST);
	assert_true(tool_place("x", "end", &p) && p.kind == TOOL_PLACE_END);
	assert_true(tool_place("x", "seq:42", &p) && p.kind == TOOL_PLACE_SEQ && p.value == 42);
	assert_true(tool_place("x", "time:@5", &p) && p.kind == TOOL_PLACE_TIME && p.value == 5 * S);
	assert_true(tool_place("x", "-17", &p) && p.kind == TOOL_PLACE_BACK && p.value == 17);
	assert_true(tool_place("x", "-1h", &p) && p.kind == TOOL_PLACE_TIME);
	assert_true(p.value >= now - 3600 * S && p.value <= tool_unix_time_ns() - 3600 * S);
	assert_true(tool_place("x", "-100000d", &p) && p.kind == TOOL_PLACE_TIME && p.value == 0);
	p.value = 77;
	assert_false(tool_place("x", "now", &p));
	assert_false(tool_place("x", "", &p));
	assert_false(tool_place("x", "-", &p));
	assert_false(tool_place("x", "oldest ", &p));
	assert_int_equal(p.value, 77);
}

/* What tool_place() says before it ends the program. */
static void refused(const char *text, char *said, size_t size)
{
	struct tool_place place;
	int pipe_ends[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(pipe_ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pipe_ends[1], STDERR_FILENO);
		close(pipe_ends[1]);
		(void)tool_place("--from", text, &place);
		_exit(0);
	}
	close(pipe_ends[1]);
	n = read(pipe_ends[0], said, size - 1);
	said[n > 0 ? n : 0] = '\0';
	close(pipe_ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != TOOL_USAGE)
		fail_msg("\"%s\" was taken, or ended with another code", text);
}

static void nonsense_is_refused(void **state)
{
	static const char *const rows[] = {
		"seq:",
		"seq:x",
		"seq:-1",
		"seq:9223372036854775808",
		"time:",
		"time:now",
		"time:10:00",
		"time:2024",
		"time:2024-13-01",
		"time:2024-00-01",
		"time:2023-02-29",
		"time:2024-04-31",
		"time:1969-12-31",
		"time:2262-01-01",
		"time:2024-05-01T",
		"time:2024-05-01T24:00",
		"time:2024-05-01T12",
		"time:2024-05-01T12:60",
		"time:2024-05-01T12:00:61",
		"time:2024-05-01T12:00:00.",
		"time:2024-05-01T12:00:00+2",
		"time:2024-05-01T12:00:00 UTC",
		"time:1970-01-01T00:00+01:00",
		"time:@",
		"time:@-1",
		"time:@1e9",
		"time:@9999999999999",
		"-5x",
		"-1.5",
		"-1h30",
	};
	char said[512];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		refused(rows[i], said, sizeof(said));
		if (!strstr(said, "--from"))
			fail_msg("\"%s\": said \"%s\"", rows[i], said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_read),
		cmocka_unit_test(places_are_read),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: what bus-pub reads from a pipe becomes the messages that were meant, however the bytes
 * arrive; a complete message never waits for the next one; one that is too long is refused before
 * it fills memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"
#include "tool_input.h"

#define LIMIT 3000000

static int ends[2];
static struct tool_input in;
static struct bus_out msgs[64];

static void feed(const void *data, size_t len)
{
	assert_int_equal(write(ends[1], data, len), (ssize_t)len);
}

static void open_input(enum tool_framing framing, uint64_t limit, size_t chunk)
{
	assert_int_equal(pipe(ends), 0);
	tool_input_open(&in, ends[0], framing, limit, chunk);
}

static void end_of_input(void)
{
	close(ends[1]);
	ends[1] = -1;
}

static void close_input(void)
{
	tool_input_close(&in);
	close(ends[0]);
	if (ends[1] >= 0)
		close(ends[1]);
}

static void assert_message(const struct bus_out *msg, const char *text)
{
	assert_int_equal(msg->len, strlen(text));
	assert_memory_equal(msg->data, text, strlen(text));
}

static void lines_there_come_at_once(void **state)
{
	(void)state;
	open_input(TOOL_LINES, LIMIT, 0);
	feed("one\n\nthree\nfo", 13);
	/* The pipe is open and "fo" unfinished: the three before it are not held back. */
	assert_int_equal(tool_input_next(&in, msgs, 64), 3);
	assert_message(&msgs[0], "one");
	assert_message(&msgs[1], "");
	assert_message(&msgs[2], "three");
	assert_int_equal(tool_input_unfinished(&in), 2);
	feed("ur\nlast", 7);
	assert_int_equal(tool_input_next(&in, msgs, 64), 1);
	assert_message(&msgs[0], "four");
	end_of_input();
	assert_int_equal(tool_input_next(&in, msgs, 64), 1);
	assert_message(&msgs[0], "last");
	assert_int_equal(in.number, 5);
	assert_int_equal(tool_input_next(&in, msgs, 64), 0);
	close_input();
}

static void no_more_than_asked_for(void **state)
{
	(void)state;
	open_input(TOOL_LINES, LIMIT, 0);
	feed("a\nb\nc\n", 6);
	assert_int_equal(tool_input_next(&in, msgs, 2), 2);
	assert_int_equal(tool_input_next(&in, msgs, 2), 1);
	assert_message(&msgs[0], "c");
	close_input();
}

/* Far beyond the first buffer and a pipe's capacity, from another process, in odd pieces. */
static void a_long_line_grows_the_buffer(void **state)
{
	enum { LEN = 2500001 };
	char *line = malloc(LEN + 1);
	pid_t pid;
	int n;

	(void)state;
	for (size_t i = 0; i < LEN; i++)
		line[i] = (char)('a' + i % 23);
	line[LEN] = '\n';
	open_input(TOOL_LINES, LIMIT, 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		for (size_t at = 0; at < LEN + 1; at += 7777)
			if (write(ends[1], line + at, at + 7777 < LEN + 1 ? 7777 : LEN + 1 - at) < 0)
				_exit(1);
		_exit(0);
	}
	end_of_input();
	n = tool_input_next(&in, msgs, 64);
	assert_int_equal(n, 1);
	assert_int_equal(msgs[0].len, LEN);
	assert_memory_equal(msgs[0].data, line, LEN);
	assert_int_equal(tool_input_next(&in, msgs, 64), 0);
	close_input();
	free(line);
}

static void memory_does_not_grow_with_the_input(void **state)
{
	static char lines[60000];
	size_t size;

	(void)state;
	memset(lines, 'x', sizeof(lines));
	for (size_t i = 99; i < sizeof(lines); i += 100)
		lines[i] = '\n';
	open_input(TOOL_LINES, LIMIT, 0);
	size = in.size;
	for (int i = 0; i < 100; i++) {
		int lines_cut = 0, n;

		feed(lines, sizeof(lines));
		while (lines_cut < 600) {
			n = tool_input_next(&in, msgs, 64);
			assert_true(n > 0);
			lines_cut += n;
		}
	}
	assert_int_equal(in.number, 60000);
	assert_int_equal(in.size, size);
	close_input();
}

static void a_line_too_long_is_refused(void **state)
{
	(void)state;
	open_input(TOOL_LINES, 5, 0);
	feed("12345\n123456", 12); /* no newline yet: it cannot become shorter */
	assert_int_equal(tool_input_next(&in, msgs, 64), 1);
	assert_message(&msgs[0], "12345");
	assert_int_equal(tool_input_next(&in, msgs, 64), -EMSGSIZE);
	assert_int_equal(in.number, 1); /* so it is line 2 */
	close_input();
	open_input(TOOL_LINES, 5, 0);
	feed("123456\n", 7);
	assert_int_equal(tool_input_next(&in, msgs, 64), -EMSGSIZE);
	close_input();
}

static void chunks_have_their_size(void **state)
{
	(void)state;
	open_input(TOOL_CHUNKS, LIMIT, 4);
	feed("aaaabbbbcc", 10);
	assert_int_equal(tool_input_next(&in, msgs, 64), 2);
	assert_message(&msgs[1], "bbbb");
	feed("ccd", 3);
	assert_int_equal(tool_input_next(&in, msgs, 64), 1);
	assert_message(&msgs[0], "cccc");
	end_of_input();
	assert_int_equal(tool_input_next(&in, msgs, 64), 1);
	assert_message(&msgs[0], "d");
	assert_int_equal(tool_input_next(&in, msgs, 64), 0);
	close_input();
}

static void whole_is_one_even_if_empty(void **state)
{
	(void)state;
	open_input(TOOL_WHOLE, LIMIT, 0);
	feed("a\nb\0c", 5);
	end_of_input();
	assert_int_equal(tool_input_next(&in, msgs, 64), 1);
	assert_int_equal(msgs[0].len, 5);
	assert_memory_equal(msgs[0].data, "a\nb\0c", 5);
	assert_int_equal(tool_input_next(&in, msgs, 64), 0);
	close_input();
	open_input(TOOL_WHOLE, LIMIT, 0);
	end_of_input();
	assert_int_equal(tool_input_next(&in, msgs, 64), 1);
	assert_int_equal(msgs[0].len, 0);
	assert_int_equal(tool_input_next(&in, msgs, 64), 0);
	close_input();
}

static void lengths_are_believed_up_to_the_limit(void **state)
{
	(void)state;
	open_input(TOOL_LENGTH, 10, 0);
	feed("\3\0\0\0abc\0\0\0\0\2\0\0\0x", 16);
	assert_int_equal(tool_input_next(&in, msgs, 64), 2);
	assert_message(&msgs[0], "abc");
	assert_message(&msgs[1], "");
	feed("y\13\0\0\0", 5);
	assert_int_equal(tool_input_next(&in, msgs, 64), 1);
	assert_message(&msgs[0], "xy");
	assert_int_equal(tool_input_next(&in, msgs, 64), -EMSGSIZE);
	close_input();
	open_input(TOOL_LENGTH, 10, 0);
	feed("\3\0\0\0ab", 6);
	end_of_input();
	assert_int_equal(tool_input_next(&in, msgs, 64), -EBADMSG);
	close_input();
}

static void on_signal(int sig)
{
	(void)sig;
}

static void a_signal_interrupts_and_loses_nothing(void **state)
{
	const struct sigaction action = { .sa_handler = on_signal };

	(void)state;
	sigaction(SIGALRM, &action, NULL);
	open_input(TOOL_LINES, LIMIT, 0);
	feed("half", 4);
	ualarm(50000, 0);
	assert_int_equal(tool_input_next(&in, msgs, 64), -EINTR);
	feed(" done\n", 6);
	assert_int_equal(tool_input_next(&in, msgs, 64), 1);
	assert_message(&msgs[0], "half done");
	close_input();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_there_come_at_once),
		cmocka_unit_test(no_more_than_asked_for),
		cmocka_unit_test(a_long_line_grows_the_buffer),
		cmocka_unit_test(memory_does_not_grow_with_the_input),
		cmocka_unit_test(a_line_too_long_is_refused),
		cmocka_unit_test(chunks_have_their_size),
		cmocka_unit_test(whole_is_one_even_if_empty),
		cmocka_unit_test(lengths_are_believed_up_to_the_limit),
		cmocka_unit_test(a_signal_interrupts_and_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_top.c - see stat_top.h. The only user of curses.
 */
#include <curses.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stat_json.h"
#include "stat_top.h"
#include "tool.h"

#define FIRST_NS    500000000 /* before rates can be shown */
#define BLOCKED_MAX 4         /* lines about who is held back */

static const char *const list_names[] = {
	[STAT_TOPICS] = "topics",
	[STAT_PUBLISHERS] = "publishers",
	[STAT_SUBSCRIBERS] = "subscribers",
};

static void make_table(struct stat_table *table, const struct stat_top *top,
		       const struct stat_take *take)
{
	stat_table_init(table, stat_list_columns(top->list));
	stat_list_fill(table, top->list, take);
	if (top->sort >= 0)
		stat_table_sort(table, top->sort, top->reversed);
}

/* ---- batch ---- */

static void print_screen(const struct stat_source *source, const struct stat_top *top,
			 const struct stat_take *take)
{
	struct stat_table table;
	char line[1024];
	int at = 0;

	if (top->json) {
		tool_json_print(stat_source_mark(
			source, top->list == STAT_TOPICS       ? stat_json_topics(take)
				: top->list == STAT_PUBLISHERS ? stat_json_publishers(take)
							       : stat_json_subscribers(take)));
		return;
	}
	stat_source_line(source, take, line, sizeof(line));
	printf("%s\n%s\n\n", tool_time(take->now_ns).s, line);
	make_table(&table, top, take);
	stat_print_table(&table);
	stat_table_free(&table);
	for (int first = 1; stat_blocked_line(take, &at, line, sizeof(line)); first = 0)
		printf("%s%s\n", first ? "\n" : "", line);
	putchar('\n');
}

int stat_top_batch(const struct stat_source *source, const struct stat_top *top)
{
	struct bus_stat *stat = source->stat;
	struct bus *bus = source->bus;
	struct stat_take *take =
		stat_take_twice(bus, stat, top->interval_ns < FIRST_NS ? top->interval_ns : FIRST_NS);
	int64_t due_ns = tool_clock_ns();

	for (uint64_t i = 0; !tool_stop_signal; i++) {
		struct stat_take *next;
		int code;

		print_screen(source, top, take);
		code = tool_end(TOOL_DONE); /* whoever reads along sees it now */
		if (code != TOOL_DONE || i + 1 == top->count) {
			stat_take_free(take);
			return code;
		}
		due_ns += top->interval_ns;
		if (tool_sleep_until(due_ns) < 0)
			break;
		next = stat_take(bus, stat, take);
		stat_take_free(take);
		take = next;
	}
	stat_take_free(take);
	return TOOL_DONE;
}

/* ---- live ---- */

static void end_curses(void)
{
	if (!isendwin())
		endwin();
}

static void begin_curses(void)
{
	if (!newterm(NULL, stdout, stdin))
		tool_fail(TOOL_FAILED,
			  "cannot use this terminal (TERM is \"%s\"); --batch needs none",
			  getenv("TERM") ? getenv("TERM") : "");
	atexit(end_curses);
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	if (tool_colour() && has_colors()) {
		start_color();
		use_default_colors();
		init_pair(STAT_WARN, COLOR_YELLOW, -1);
		init_pair(STAT_BAD, COLOR_RED, -1);
	}
}

static attr_t look_of(enum stat_mark mark)
{
	switch (mark) {
	case STAT_QUIET:
		return A_DIM;
	case STAT_WARN:
	case STAT_BAD:
		/* without colour, trouble still stands out */
		return has_colors() && tool_colour() ? (attr_t)COLOR_PAIR(mark) : A_BOLD;
	default:
		return A_NORMAL;
	}
}

static void draw_line(int y, attr_t look, const char *text)
{
	if (y < 0 || y >= LINES)
		return;
	attrset(look);
	mvaddnstr(y, 0, text, COLS);
	attrset(A_NORMAL);
}

/* The titles, the one that is sorted by turned round. */
static void draw_titles(int y, const struct stat_table *table, int sort)
{
	char line[1024];
	int x = 0;

	stat_table_line(table, -1, line, sizeof(line));
	draw_line(y, A_BOLD, line);
	for (int k = 0; k < sort; k++)
		x += (int)table->widths[k] + 1;
	if (sort >= 0 && x < COLS && y < LINES)
		mvchgat(y, x, (int)table->widths[sort], A_BOLD | A_REVERSE, 0, NULL);
}

static int draw_blocked(const struct stat_take *take)
{
	char lines[BLOCKED_MAX][256];
	int n = 0, at = 0;

	while (n < BLOCKED_MAX && n < LINES / 4 &&
	       stat_blocked_line(take, &at, lines[n], sizeof(lines[n])))
		n++;
	for (int i = 0; i < n; i++)
		draw_line(LINES - 1 - n + i, look_of(STAT_BAD), lines[i]);
	return n;
}

/* Draws; keeps *first, the row at the top, inside the table. */
static void draw(const struct stat_source *source, const struct stat_top *top,
		 const struct stat_take *take, int *first)
{
	struct stat_table table;
	char line[1024];
	int room, rows, below;

	make_table(&table, top, take);
	stat_table_fit(&table, (unsigned)COLS);
	erase();
	stat_source_line(source, take, line, sizeof(line));
	draw_line(0, A_NORMAL, line);
	below = draw_blocked(take);
	room = LINES - 4 - below;
	rows = table.row_count;
	if (*first > rows - room)
		*first = rows - room;
	if (*first < 0)
		*first = 0;
	draw_titles(2, &table, top->sort);
	for (int i = 0; i < room && *first + i < rows; i++) {
		stat_table_line(&table, *first + i, line, sizeof(line));
		draw_line(3 + i, look_of(table.rows[*first + i].mark), line);
	}
	if (rows == 0)
		draw_line(3, A_DIM, "none");
	snprintf(line, sizeof(line),
		 "%s %d-%d of %d, every %s%s  q quit  t p s lists  < > sort  r reverse  + - pace",
		 list_names[top->list], rows ? *first + 1 : 0,
		 *first + room < rows ? *first + room : rows, rows,
		 tool_seconds((uint64_t)top->interval_ns).s, top->reversed ? ", reversed" : "");
	draw_line(LINES - 1, A_REVERSE, line);
	refresh();
	stat_table_free(&table);
}

static void choose_list(struct stat_top *top, enum stat_list list, int *first)
{
	top->list = list;
	top->sort = -1;
	top->reversed = false;
	*first = 0;
}

static void move_sort(struct stat_top *top, int by)
{
	const struct stat_column *columns = stat_list_columns(top->list);
	int n = 0;

	while (columns[n].title)
		n++;
	top->sort += by;
	if (top->sort >= n)
		top->sort = -1;
	if (top->sort < -1)
		top->sort = n - 1;
}

/* false: it is time to go */
static bool obey(int key, struct stat_top *top, int *first)
{
	switch (key) {
	case 'q':
	case 'Q':
		return false;
	case 't':
	case '1':
		choose_list(top, STAT_TOPICS, first);
		break;
	case 'p':
	case '2':
		choose_list(top, STAT_PUBLISHERS, first);
		break;
	case 's':
	case '3':
		choose_list(top, STAT_SUBSCRIBERS, first);
		break;
	case '\t':
		choose_list(top, (enum stat_list)((top->list + 1) % STAT_LISTS), first);
		break;
	case '<':
	case ',':
	case KEY_LEFT:
		move_sort(top, -1);
		break;
	case '>':
	case '.':
	case KEY_RIGHT:
		move_sort(top, 1);
		break;
	case 'r':
	case 'R':
		top->reversed = !top->reversed;
		break;
	case '+':
		top->interval_ns = top->interval_ns > 200000000 ? top->interval_ns / 2 : 100000000;
		break;
	case '-':
		top->interval_ns = top->interval_ns < 30000000000 ? top->interval_ns * 2
								  : 60000000000;
		break;
	case KEY_DOWN:
		++*first;
		break;
	case KEY_UP:
		--*first;
		break;
	case KEY_NPAGE:
		*first += LINES - 5;
		break;
	case KEY_PPAGE:
		*first -= LINES - 5;
		break;
	case KEY_HOME:
		*first = 0;
		break;
	}
	return true;
}

/* Until due_ns, or a key says so. false: it is time to go. */
static bool wait_for_keys(const struct stat_source *source, struct stat_top *top,
			  const struct stat_take *take, int64_t due_ns, int *first)
{
	while (!tool_stop_signal) {
		int64_t left_ms = (due_ns - tool_clock_ns() + 999999) / 1000000;
		int key;

		if (left_ms <= 0)
			return true;
		timeout(left_ms > 60000 ? 60000 : (int)left_ms);
		key = getch();
		if (key == ERR)
			continue;
		if (!obey(key, top, first))
			return false;
		if (key == ' ' || key == '+' || key == '-')
			return true;
		draw(source, top, take, first);
	}
	return false;
}

int stat_top_live(const struct stat_source *source, struct stat_top *top)
{
	struct bus_stat *stat = source->stat;
	struct bus *bus = source->bus;
	struct stat_take *take = stat_take(bus, stat, NULL);
	int64_t wait_ns = top->interval_ns < FIRST_NS ? top->interval_ns : FIRST_NS;
	int first = 0;

	setlocale(LC_CTYPE, "");
	begin_curses();
	for (uint64_t i = 0;; i++) {
		struct stat_take *next;

		draw(source, top, take, &first);
		if (top->count && i == top->count)
			break;
		if (!wait_for_keys(source, top, take, tool_clock_ns() + wait_ns, &first))
			break;
		wait_ns = top->interval_ns;
		next = stat_take(bus, stat, take);
		stat_take_free(take);
		take = next;
	}
	end_curses();
	stat_take_free(take);
	return TOOL_DONE;
}

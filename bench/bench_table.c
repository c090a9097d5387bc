/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_table.c - see bench_table.h.
 */
#include "bench_table.h"

#include "tool.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

struct machine {
	char cpu[128];
	char kernel[2 * sizeof(((struct utsname *)0)->release)];
	char date[32];
	int cpus;
};

static struct machine describe_machine(void)
{
	struct machine m = { .cpu = "unknown", .cpus = (int)sysconf(_SC_NPROCESSORS_ONLN) };
	char line[256];
	struct utsname u;
	struct tm tm;
	time_t now = time(NULL);
	FILE *f = fopen("/proc/cpuinfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "model name : %127[^\n]", m.cpu) == 1)
			break;
	if (f)
		fclose(f);
	if (uname(&u) == 0)
		snprintf(m.kernel, sizeof(m.kernel), "%s %s", u.sysname, u.release);
	gmtime_r(&now, &tm);
	strftime(m.date, sizeof(m.date), "%Y-%m-%d %H:%M UTC", &tm);
	return m;
}

static struct tool_text show_value(enum bench_unit unit, double value)
{
	struct tool_text t;

	switch (unit) {
	case UNIT_NS:
		return tool_seconds((uint64_t)(value + 0.5));
	case UNIT_PER_SECOND:
		t = tool_count(value);
		strcat(t.s, "/s");
		return t;
	case UNIT_BYTES_PER_SECOND:
		t = tool_bytes((uint64_t)value);
		strcat(t.s, "/s");
		return t;
	case UNIT_BYTES:
		return tool_bytes((uint64_t)value);
	case UNIT_COUNT:
		snprintf(t.s, sizeof(t.s), "%.6g", value);
		return t;
	case UNIT_PERCENT:
		snprintf(t.s, sizeof(t.s), "%.3f %%", value);
		return t;
	}
	t.s[0] = '\0';
	return t;
}

static struct tool_text show_target(const struct bench_figure *f)
{
	struct tool_text t = { "-" };
	const char *sign = f->kind == TARGET_AT_MOST ? "<=" : ">=";

	if (f->kind != TARGET_NONE && f->ratio.count)
		snprintf(t.s, sizeof(t.s), "%s %.2f", sign, f->target);
	else if (f->kind != TARGET_NONE)
		snprintf(t.s, sizeof(t.s), "%s %.40s", sign, show_value(f->unit, f->target).s);
	return t;
}

static const char *verdict(const struct bench_figure *f)
{
	double judged = f->ratio.count ? f->ratio.median : f->value;

	if (f->missing)
		return "NOT MEASURED";
	if (f->kind == TARGET_NONE)
		return "";
	return (f->kind == TARGET_AT_MOST ? judged <= f->target : judged >= f->target) ? "ok"
										       : "BELOW";
}

void bench_table_begin(struct bench_table *table)
{
	struct machine m = describe_machine();

	memset(table, 0, sizeof(*table));
	table->figures = json_array();
	table->rows = open_memstream(&table->text, &table->text_bytes);
	if (!table->figures || !table->rows)
		errx(1, "no memory");
	fprintf(table->rows, "Machine: %s, %d processors, %s. Date: %s. Command: `make bench`.\n",
		m.cpu, m.cpus, m.kernel, m.date);
	printf("%s, %d processors, %s, %s\n", m.cpu, m.cpus, m.kernel, m.date);
	printf("ratio: median of interleaved rounds (lowest to highest); a limit is measured in the same run\n");
}

void bench_table_part(struct bench_table *table, const char *title)
{
	printf("\n%s\n%-50s %13s %13s  %-22s %-12s\n", title, "", "value", "limit", "ratio",
	       "target");
	fprintf(table->rows,
		"\n%s\n\n| | value | limit | ratio | target | |\n| --- | --- | --- | --- | --- | --- |\n",
		title);
	fflush(stdout);
}

static json_t *to_json(const struct bench_figure *f)
{
	static const char *const units[] = { "ns",    "per_second", "bytes_per_second",
					     "bytes", "count",      "percent" };
	json_t *object = json_pack("{s:s, s:s}", "name", f->name, "unit", units[f->unit]);
	const char *v = verdict(f);

	if (f->missing) {
		json_object_set_new(object, "missing", json_string(f->missing));
		return object;
	}
	json_object_set_new(object, "value", json_real(f->value));
	if (f->limit > 0)
		json_object_set_new(object, "limit", json_real(f->limit));
	if (f->limit_name)
		json_object_set_new(object, "limit_name", json_string(f->limit_name));
	if (f->ratio.count) {
		json_object_set_new(object, "ratio", json_real(f->ratio.median));
		json_object_set_new(object, "ratio_min", json_real(f->ratio.min));
		json_object_set_new(object, "ratio_max", json_real(f->ratio.max));
	}
	if (f->rounds) {
		json_object_set_new(object, "rounds", json_integer(f->rounds));
		json_object_set_new(object, "undisturbed_rounds", json_integer(f->calm));
	}
	if (f->kind != TARGET_NONE) {
		json_object_set_new(object, "target", json_string(show_target(f).s));
		json_object_set_new(object, "ok", json_boolean(strcmp(v, "ok") == 0));
	}
	return object;
}

void bench_table_add(struct bench_table *table, const struct bench_figure *f)
{
	struct tool_text value = show_value(f->unit, f->value), limit = { "-" }, ratio = { "-" },
			 target = show_target(f);
	const char *v = verdict(f);
	char calm[48] = "";

	if (f->limit > 0)
		limit = show_value(f->unit, f->limit);
	if (f->ratio.count)
		snprintf(ratio.s, sizeof(ratio.s), "%.2f (%.2f to %.2f)", f->ratio.median,
			 f->ratio.min, f->ratio.max);
	if (f->missing)
		snprintf(value.s, sizeof(value.s), "-");
	if (f->calm < f->rounds)
		snprintf(calm, sizeof(calm), "  %d of %d rounds undisturbed", f->calm, f->rounds);
	printf("%-50s %13s %13s  %-22s %-12s %s%s%s%s\n", f->name, value.s, limit.s, ratio.s,
	       target.s, v, f->missing ? ": " : "", f->missing ? f->missing : "", calm);
	fflush(stdout);
	fprintf(table->rows, "| %s | %s | %s%s%s%s | %s | %s | %s |\n", f->name, value.s, limit.s,
		f->limit_name ? " (" : "", f->limit_name ? f->limit_name : "",
		f->limit_name ? ")" : "", ratio.s, target.s, v);
	json_array_append_new(table->figures, to_json(f));
	if (f->calm < f->rounds && f->calm < BENCH_CALM_ENOUGH)
		table->disturbed++;
	if (f->missing)
		table->missing++;
	else if (strcmp(v, "BELOW") == 0)
		table->below++;
}

static void write_json(struct bench_table *table, const char *path)
{
	struct machine m = describe_machine();
	json_t *all = json_pack("{s:{s:s,s:i,s:s}, s:s, s:O}", "machine", "cpu", m.cpu,
				"processors", m.cpus, "kernel", m.kernel, "date", m.date, "figures",
				table->figures);

	if (!all || json_dump_file(all, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) < 0)
		errx(1, "cannot write %s", path);
	json_decref(all);
}

int bench_table_end(struct bench_table *table, const char *json_path, const char *rows_path)
{
	FILE *f;

	if (fclose(table->rows) != 0)
		errx(1, "no memory");
	if (json_path)
		write_json(table, json_path);
	if (rows_path) {
		f = fopen(rows_path, "w");
		if (!f || fwrite(table->text, 1, table->text_bytes, f) != table->text_bytes ||
		    fclose(f) != 0)
			err(1, "cannot write %s", rows_path);
	}
	json_decref(table->figures);
	free(table->text);
	return table->below;
}

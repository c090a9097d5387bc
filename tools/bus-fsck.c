/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus-fsck.c - checks the logs of streams: reads every message there is, names each that is damaged, and
 * with --repair takes files out of the way that are no segments. Needs no busd.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bus_log.h>

#include "tool.h"

#define DEPTH_MAX 4 /* directories below DIR */

enum {
	OPT_REPAIR = TOOL_LONG,
	OPT_JSON,
};

static const struct tool_option options[] = {
	{ OPT_REPAIR, "repair", NULL,
	  "rename what is no segment to NAME.bad, and segments with a\n"
	  "wrong name to their right one; nothing is deleted or changed" },
	{ 'q', "quiet", NULL, "the summary only" },
	{ OPT_JSON, "json", NULL, "as JSON" },
	{ 0 },
};

static const struct tool tool = {
	"bus-fsck",
	"[--repair] [-q] [--json] DIR...",
	"Checks the logs of streams: DIR is the directory of one, or holds such directories.\n"
	"Exits with 0 where everything is sound, 1 where something is not.",
	options,
};

struct job {
	bool repair, quiet;
	json_t *json; /* array, NULL: text */
	unsigned logs;
	bool unsound, failed, refused;
};

/* Of one log. */
struct sums {
	uint64_t messages, bytes, damaged, missing;
	unsigned segments, files, flaws, notes, renamed;
};

/* A remedy, kept until all was read: it changes what the findings are about. */
struct remedies {
	struct bus_log_finding *at;
	size_t count;
};

/* ---- progress ---- */

/* On a terminal, over one line that is wiped. */
static void progress(const char *directory, const struct sums *sums)
{
	static int64_t last;
	int64_t now = tool_clock_ns();

	if (!isatty(STDERR_FILENO) || now - last < 200000000)
		return;
	last = now;
	fprintf(stderr, "\r\033[K%s: %s messages", directory, tool_count((double)sums->messages).s);
}

static void progress_end(void)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
}

/* ---- findings ---- */

static const char *kind_name(uint32_t kind)
{
	static const char *const names[] = {
		[BUS_LOG_DAMAGE] = "damage", [BUS_LOG_ABSENT] = "missing",
		[BUS_LOG_FILE] = "file",     [BUS_LOG_FLAW] = "flaw",
		[BUS_LOG_NOTE] = "note",     [BUS_LOG_CHECKED] = "checked",
	};

	return kind < sizeof(names) / sizeof(names[0]) && names[kind] ? names[kind] : "unknown";
}

static void add(struct sums *sums, const struct bus_log_finding *f)
{
	switch (f->kind) {
	case BUS_LOG_DAMAGE:
		sums->damaged += f->to - f->from;
		break;
	case BUS_LOG_ABSENT:
		sums->missing += f->to - f->from;
		break;
	case BUS_LOG_FILE:
		sums->files++;
		break;
	case BUS_LOG_FLAW:
		sums->flaws++;
		break;
	case BUS_LOG_CHECKED:
		sums->segments++;
		sums->messages += f->messages;
		sums->bytes += f->bytes;
		break;
	default:
		sums->notes++;
	}
}

/* As it is shown: what files call themselves is not to command the terminal. Of the newest four texts. */
static const char *shown(const char *text)
{
	static char room[4][PATH_MAX];
	static unsigned at;
	char *to = room[at++ % 4];

	snprintf(to, PATH_MAX, "%s", text);
	for (char *c = to; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return to;
}

static void show(const char *directory, const struct bus_log_finding *f)
{
	printf("%s/%s: ", shown(directory), shown(f->file));
	if (f->to > f->from + 1)
		printf("messages %" PRIu64 " to %" PRIu64 ": ", f->from, f->to - 1);
	else if (f->to > f->from)
		printf("message %" PRIu64 ": ", f->from);
	printf("%s%s\n", f->kind == BUS_LOG_NOTE ? "(note) " : "", f->what);
}

static json_t *finding_json(const struct bus_log_finding *f)
{
	json_t *object = json_pack("{s:s}", "kind", kind_name(f->kind));

	tool_json_set_bytes(object, "file", f->file, strlen(f->file));
	tool_json_set_bytes(object, "what", f->what, strlen(f->what));
	if (f->to > f->from) {
		json_object_set_new(object, "from", json_integer((json_int_t)f->from));
		json_object_set_new(object, "to", json_integer((json_int_t)(f->to - 1)));
	}
	if (f->remedy == BUS_LOG_REMEDY_QUARANTINE)
		json_object_set_new(object, "remedy", json_string("quarantine"));
	if (f->remedy == BUS_LOG_REMEDY_RENAME)
		json_object_set_new(object, "remedy", json_string("rename"));
	return object;
}

/* ---- repair ---- */

static void keep_remedy(struct remedies *list, const struct bus_log_finding *f)
{
	struct bus_log_finding *more = realloc(list->at, (list->count + 1) * sizeof(*more));

	if (more)
		list->at = more;
	if (!more || !(list->at[list->count] = *f).file ||
	    !(list->at[list->count].file = strdup(f->file)))
		tool_fail(TOOL_FAILED, "out of memory");
	list->count++;
}

static json_t *renamed_json(const char *file, const char *to)
{
	json_t *object = json_object();

	tool_json_set_bytes(object, "file", file, strlen(file));
	tool_json_set_bytes(object, "to", to, strlen(to));
	return object;
}

/* Quarantine first: a name may be in the way of the segment that it belongs to. */
static void repair(struct job *job, struct bus_log *log, const char *directory,
		   struct remedies *list, struct sums *sums, json_t *done)
{
	for (uint32_t what = BUS_LOG_REMEDY_QUARANTINE; what <= BUS_LOG_REMEDY_RENAME; what++)
		for (size_t i = 0; i < list->count; i++) {
			const struct bus_log_finding *f = &list->at[i];
			char to[NAME_MAX + 1];
			int err;

			if (f->remedy != what)
				continue;
			err = bus_log_remedy(log, f, to, sizeof(to));
			/* two that had each other's name are right with the first */
			if (err == -ESTALE)
				continue;
			if (err) {
				tool_warn("%s", bus_why(NULL));
				job->failed = true;
				continue;
			}
			sums->renamed++;
			if (done)
				json_array_append_new(done, renamed_json(f->file, to));
			else
				printf("%s/%s: renamed to %s\n", shown(directory), shown(f->file),
				       shown(to));
		}
	for (size_t i = 0; i < list->count; i++)
		free((char *)(uintptr_t)list->at[i].file);
	free(list->at);
}

/* ---- one log ---- */

static void summary(const char *directory, const struct bus_log_info *info, const struct sums *sums)
{
	printf("%s: %s%s%s%" PRIu64 " messages (%s) in %u segment%s: ", shown(directory),
	       info->topic[0] ? "topic " : "", shown(info->topic), info->topic[0] ? ", " : "",
	       sums->messages, tool_bytes(sums->bytes).s, sums->segments,
	       sums->segments == 1 ? "" : "s");
	if (sums->damaged + sums->missing + sums->files + sums->flaws == 0) {
		printf("sound\n");
		return;
	}
	printf("%" PRIu64 " damaged, %" PRIu64 " missing, %u unusable file%s, %u flaw%s",
	       sums->damaged, sums->missing, sums->files, sums->files == 1 ? "" : "s", sums->flaws,
	       sums->flaws == 1 ? "" : "s");
	if (sums->renamed > 0)
		printf(", %u renamed", sums->renamed);
	printf("\n");
}

static void add_json(struct job *job, const char *directory, const struct bus_log_info *info,
		     const struct sums *sums, json_t *findings, json_t *done)
{
	json_t *object = json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "first_seq",
		(json_int_t)info->first_seq, "end_seq", (json_int_t)info->end_seq, "segments",
		(json_int_t)sums->segments, "messages", (json_int_t)sums->messages, "damaged",
		(json_int_t)sums->damaged, "missing", (json_int_t)sums->missing, "files",
		(json_int_t)sums->files, "flaws", (json_int_t)sums->flaws, "sound",
		sums->damaged + sums->missing + sums->files + sums->flaws == 0, "findings",
		findings, "renamed", done);

	if (!object)
		tool_fail(TOOL_FAILED, "cannot write JSON: out of memory");
	tool_json_set_bytes(object, "directory", directory, strlen(directory));
	tool_json_set_bytes(object, "topic", info->topic, strlen(info->topic));
	json_array_append_new(job->json, object);
}

static struct bus_log *open_log(struct job *job, const char *directory)
{
	uint32_t flags = BUS_LOG_ANY_VERSION | (job->repair ? BUS_LOG_REPAIR : 0);
	struct bus_log *log;
	int err = bus_log_open(&log, directory, BUS_OPTS(log, .flags = flags));

	if (!err)
		return log;
	tool_warn("%s", bus_why(NULL));
	if (tool_exit_code(err) == TOOL_REFUSED)
		job->refused = true;
	job->failed = true;
	return NULL;
}

static void check(struct job *job, const char *directory)
{
	struct bus_log *log = open_log(job, directory);
	struct bus_log_info info = { .topic = "" };
	struct bus_log_finding f;
	struct remedies remedies = { .count = 0 };
	struct sums sums = { .messages = 0 };
	json_t *findings = job->json ? json_array() : NULL, *done = job->json ? json_array() : NULL;
	int n;

	if (!log)
		return;
	job->logs++;
	while ((n = bus_log_verify(log, &f)) > 0) {
		add(&sums, &f);
		if (f.kind == BUS_LOG_CHECKED) {
			progress(directory, &sums);
			continue;
		}
		progress_end();
		if (findings)
			json_array_append_new(findings, finding_json(&f));
		else if (!job->quiet)
			show(directory, &f);
		if (job->repair && f.remedy != BUS_LOG_REMEDY_NONE)
			keep_remedy(&remedies, &f);
	}
	progress_end();
	if (n < 0 || bus_log_info(log, &info) < 0) {
		tool_warn("%s", bus_why(NULL));
		job->failed = true;
	}
	repair(job, log, directory, &remedies, &sums, done);
	if (job->json)
		add_json(job, directory, &info, &sums, findings, done);
	else
		summary(directory, &info, &sums);
	if (sums.damaged + sums.missing + sums.files + sums.flaws > 0)
		job->unsound = true;
	bus_log_close(log);
}

/* ---- which directories ---- */

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n > k && strcmp(name + n - k, end) == 0;
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void look(struct job *job, const char *directory, int depth)
{
	struct dirent **names;
	int n = scandir(directory, &names, not_hidden, alphasort);
	bool is_log = false;

	if (n < 0) {
		tool_warn("cannot list \"%s\": %s", directory, strerror(errno));
		job->refused |= errno == EACCES;
		job->failed = true;
		return;
	}
	for (int i = 0; i < n; i++)
		is_log |= ends_in(names[i]->d_name, ".log");
	if (is_log)
		check(job, directory);
	for (int i = 0; i < n; i++) {
		char path[PATH_MAX];
		struct stat st;

		if (depth < DEPTH_MAX &&
		    snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name) <
			    (int)sizeof(path) &&
		    lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
			look(job, path, depth + 1);
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	struct job job = { .logs = 0 };
	bool json = false;
	int opt;

	tool_begin(&tool);
	while ((opt = tool_next_option(argc, argv)) != -1) {
		job.repair |= opt == OPT_REPAIR;
		job.quiet |= opt == 'q';
		json |= opt == OPT_JSON;
	}
	if (optind == argc)
		tool_fail_usage("no DIR given");
	job.json = json ? json_array() : NULL;
	for (; optind < argc; optind++) {
		unsigned before = job.logs;
		bool failed = job.failed;

		look(&job, argv[optind], 0);
		if (job.logs == before && job.failed == failed) {
			tool_warn("\"%s\": there is no log, nor in the directories below",
				  argv[optind]);
			job.failed = true;
		}
	}
	if (job.json)
		tool_json_print(job.json);
	return tool_end(job.refused                 ? TOOL_REFUSED
			: job.failed || job.unsound ? TOOL_FAILED
						    : TOOL_DONE);
}

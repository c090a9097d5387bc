/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - busd: options, becoming a daemon; then the keeper, or a worker that it started.
 *
 * Exit codes: 0 done (or: another busd has the path, with --private); 1 cannot run; 2 usage or
 * configuration.
 */
#include "busd.h"

#include "calibrate.h"
#include "keep.h"
#include "keeper.h"
#include "listener.h"
#include "log.h"
#include "notify.h"
#include "record.h"
#include "reload.h"
#include "restore.h"
#include "sandbox.h"
#include "segment.h"
#include "server.h"
#include "spill_dir.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
	const char *socket, *config, *data_dir;
	bool foreground, check, private_, upgrade;
	int table_fd; /* of a worker; -1: this is the keeper */
};

static const char usage_text[] =
	"Usage: busd [--socket PATH] [--config FILE] [--data-dir DIR] [--foreground] [--check-config]\n"
	"       busd --upgrade [--socket PATH]\n"
	"\n"
	"The daemon of the bus: makes the shared memory of topics, decides who may see it, notices deaths.\n"
	"\n"
	"  --socket PATH     where clients connect (default: /run/busd/bus.sock for root,\n"
	"                    else $XDG_RUNTIME_DIR/busd/bus.sock)\n"
	"  --config FILE     YAML; none is needed\n"
	"  --data-dir DIR    where lasting data lie\n"
	"  --foreground      stay in the foreground, log to stderr\n"
	"  --check-config    check the configuration and exit (0: good, 2: not)\n"
	"  --upgrade         have the busd at the socket go on as the program that lies at its path now\n"
	"  --private         for one user, started by libbus: leaves when idle\n"
	"  --version         print the version\n"
	"  -h, --help        this text\n";

static int parse_options(int argc, char **argv, struct options *ret)
{
	enum {
		OPT_SOCKET = 256,
		OPT_CONFIG,
		OPT_DATA,
		OPT_FOREGROUND,
		OPT_CHECK,
		OPT_PRIVATE,
		OPT_UPGRADE,
		OPT_WORKER,
		OPT_VERSION
	};
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, OPT_SOCKET },
		{ "config", required_argument, NULL, OPT_CONFIG },
		{ "data-dir", required_argument, NULL, OPT_DATA },
		{ "foreground", no_argument, NULL, OPT_FOREGROUND },
		{ "check-config", no_argument, NULL, OPT_CHECK },
		{ "private", no_argument, NULL, OPT_PRIVATE },
		{ "upgrade", no_argument, NULL, OPT_UPGRADE },
		{ "worker", required_argument, NULL, OPT_WORKER }, /* by the keeper */
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (opt) {
		case OPT_SOCKET:
			ret->socket = optarg;
			break;
		case OPT_CONFIG:
			ret->config = optarg;
			break;
		case OPT_DATA:
			ret->data_dir = optarg;
			break;
		case OPT_FOREGROUND:
			ret->foreground = true;
			break;
		case OPT_CHECK:
			ret->check = true;
			break;
		case OPT_PRIVATE:
			ret->private_ = true;
			break;
		case OPT_UPGRADE:
			ret->upgrade = true;
			break;
		case OPT_WORKER:
			ret->table_fd = atoi(optarg);
			break;
		case OPT_VERSION:
			printf("busd %s\n", BUSD_VERSION);
			exit(0);
		case 'h':
			fputs(usage_text, stdout);
			exit(0);
		default:
			fputs("Try 'busd --help'.\n", stderr);
			return 2;
		}
	}
	if (ret->socket && !*ret->socket) {
		fputs("busd: --socket: the path is empty\nTry 'busd --help'.\n", stderr);
		return 2;
	}
	if (optind < argc) {
		fprintf(stderr, "busd: unexpected argument \"%s\"\nTry 'busd --help'.\n",
			argv[optind]);
		return 2;
	}
	return 0;
}

/* As many files as we may: each client and each segment costs some. */
static void raise_file_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		log_warning("cannot raise the limit of open files: %s", strerror(errno));
}

/*
 * Forks. The parent returns the exit code it is to leave with, once the child is ready or has
 * failed; the child gets -1 and a descriptor to say so.
 */
static int fork_daemon(int *ready_fd)
{
	int pipe_fds[2];
	int status = 0;
	ssize_t len;
	pid_t pid;
	char byte;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
		fprintf(stderr, "busd: cannot make a pipe: %s\n", strerror(errno));
		return 1;
	}
	pid = fork();
	if (pid < 0) {
		fprintf(stderr, "busd: cannot fork: %s\n", strerror(errno));
		return 1;
	}
	if (pid == 0) {
		close(pipe_fds[0]);
		*ready_fd = pipe_fds[1];
		setsid();
		return -1;
	}
	close(pipe_fds[1]);
	do
		len = read(pipe_fds[0], &byte, 1);
	while (len < 0 && errno == EINTR);
	if (len == 1)
		return 0;
	/* the pipe ended without a byte: the child ends */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int i;

	if (chdir("/") < 0 || fd < 0)
		return;
	for (i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

/* With a relative path, the place from where busd was started. */
static char *absolute_path(const char *path)
{
	char cwd[4096];
	char *result;

	if (path[0] == '/')
		return strdup(path);
	if (!getcwd(cwd, sizeof(cwd)) || asprintf(&result, "%s/%s", cwd, path) < 0)
		return NULL;
	return result;
}

/* from: the configuration file, or the keeper's copy of it; NULL: none. */
static int read_config(struct busd *busd, const struct options *options, const char *from,
		       struct why *why)
{
	const char *idle = getenv("BUS_PRIVATE_IDLE_MS");

	busd->config = config_new();
	if (!busd->config)
		return because(why, ENOMEM, "out of memory");
	if (options->config)
		busd->config_path = absolute_path(options->config);
	if (from && config_read(busd->config, from, why) < 0)
		return -EINVAL;
	if (options->private_ && idle && *idle >= '0' && *idle <= '9')
		busd->config->idle_exit_ns = strtoull(idle, NULL, 10) * 1000000;
	return 0;
}

static const char *log_target(const struct busd *busd, const struct options *options)
{
	return busd->config->log ? busd->config->log : options->foreground ? "stderr" : "syslog";
}

/* ---- the worker ---- */

/* The keeper's copy of what is in force: the file may be half edited, or not for our eyes. */
static int read_worker_config(struct busd *busd, const struct options *options, struct why *why)
{
	char kept[64];
	int fd = keep_take(KEEP_CONFIG);

	if (fd < 0)
		return read_config(busd, options, NULL, why);
	snprintf(kept, sizeof(kept), "/proc/self/fd/%d", fd);
	/* the copy stays with the keeper */
	if (read_config(busd, options, kept, why) < 0) {
		log_error("%s", why->text);
		log_error("the configuration that was in force cannot be read: defaults hold");
		config_free(busd->config);
		busd->config = config_new();
	}
	close(fd);
	return busd->config ? 0 : because(why, ENOMEM, "out of memory");
}

/*
 * Clients of a former busd come to this one with the numbers that they had there, and take both for
 * one name space: so none begins where another did. 52 bits are whole numbers in JSON, too.
 */
#define FIRST_ID_MASK ((UINT64_C(1) << 52) - 1)

static int be_somebody_else(struct busd *busd, struct why *why)
{
	uint64_t random[2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return because(why, errno, "no random numbers: %s", strerror(errno));
	busd->next_id = (random[0] & FIRST_ID_MASK) + 1;
	busd->instance = (uint32_t)random[1] | 1;
	return 0;
}

/* What a worker of another version wrote is taken over if all of it is known here, else left alone. */
static int open_journal(struct busd *busd, struct why *why)
{
	int rc = journal_open(&busd->journal, keep_take(KEEP_JOURNAL));

	if (rc == -EPROTO)
		return because(why, EPROTO,
			       "the former worker's journal is of version %u, busd %s reads version %u",
			       busd->journal.head->version, BUSD_VERSION, JOURNAL_VERSION);
	if (rc < 0)
		return because(why, -rc, "the journal cannot be opened: %s", strerror(-rc));
	rc = record_check(busd, why);
	if (rc == 0)
		snprintf(busd->journal.head->writer, sizeof(busd->journal.head->writer), "%s",
			 BUSD_VERSION);
	return rc;
}

static int open_worker(struct busd *busd, const struct options *options, struct why *why)
{
	const char *log = log_target(busd, options);
	int listener_fd = keep_take(KEEP_LISTENER);
	int unlogged = log_open(log); /* first: why this worker does not take over must be heard */
	bool again;
	int rc = open_journal(busd, why);

	again = rc == 0 && restore_clocks(busd);
	if (rc == 0 && !again && be_somebody_else(busd, why) < 0)
		return -EIO;
	if (unlogged < 0 && (again || rc < 0))
		log_open("syslog"); /* who is attached shall not suffer for a directory that went */
	else if (unlogged < 0)
		return because(why, -unlogged, "cannot open the log %s: %s", log,
			       strerror(-unlogged));
	if (rc < 0)
		return rc;
	rc = server_open(busd, why);
	if (rc == 0 && again)
		rc = restore_all(busd, why);
	if (rc < 0)
		return rc;
	stream_load(busd);
	record_busd(busd);
	record_commit(busd);
	rc = listener_serve(busd, listener_fd, why);
	return rc < 0 ? rc : sandbox_enter(busd->config, why);
}

/*
 * For who looks for what is left of this busd, by whatever name he knows its socket. Where the way to
 * it cannot be resolved, or is longer than a socket's path may be: as it was given.
 */
static void resolve_socket(struct busd *busd)
{
	const char *name = strrchr(busd->socket_path, '/');
	char real[PATH_MAX], dir[PATH_MAX];
	size_t len;

	snprintf(busd->socket_real, sizeof(busd->socket_real), "%s", busd->socket_path);
	if (!name)
		return;
	snprintf(dir, sizeof(dir), "%.*s/", (int)(name - busd->socket_path), busd->socket_path);
	if (!realpath(dir, real))
		return;
	len = strcmp(real, "/") == 0 ? 0 : strlen(real);
	if (len + strlen(name) >= sizeof(busd->socket_real))
		return;
	memcpy(busd->socket_real, real, len);
	strcpy(busd->socket_real + len, name);
}

static int run_worker(struct busd *busd, const struct options *options)
{
	struct why why = { "" };
	int rc = keep_open(options->table_fd);

	if (rc < 0) {
		fprintf(stderr, "busd: --worker is for the keeper only: %s\n", strerror(-rc));
		return 2;
	}
	busd->pid = (uint32_t)getppid();
	busd->socket_path = strdup(options->socket);
	if (!busd->socket_path || read_worker_config(busd, options, &why) < 0) {
		fprintf(stderr, "busd: %s\n", why.text);
		return 2;
	}
	busd->data_dir = options->data_dir;
	resolve_socket(busd);
	segment_name_after(busd->pid);
	rc = reload_apply(busd);
	if (rc < 0)
		because(&why, ENOMEM, "out of memory");
	else
		rc = open_worker(busd, options, &why);
	if (rc < 0) {
		log_error("%s", why.text);
		return 1;
	}
	if (!options->foreground)
		leave_terminal();
	keep_ready();
	return server_run(busd);
}

/* ---- the keeper ---- */

static struct busd busd;
static int ready_fd = -1;

/* The first worker serves. */
static void ready(void)
{
	const char *doubt = calibrate_doubt();

	log_info("busd %s listens at %s", BUSD_VERSION, busd.socket_path);
	if (doubt)
		log_warning("%s: time stamps may be wrong", doubt);
	notify_ready();
	if (ready_fd < 0)
		return;
	leave_terminal();
	if (write(ready_fd, "", 1) < 0)
		log_debug("whoever started busd has gone");
	close(ready_fd);
}

static int find_socket(const struct options *options, struct why *why)
{
	const char *path = options->socket ? options->socket : busd.config->socket;

	busd.socket_path = path ? absolute_path(path) : listener_default_path(why);
	return busd.socket_path ? 0 : -ENOENT;
}

/* The keeper of the busd at the socket is told; its pid stands in the lock file. */
static int upgrade(void)
{
	struct why why = { "" };
	int rc = listener_lock(&busd, &why);
	int pid = listener_owner(&busd);

	if (rc == 0 || pid <= 0) {
		fprintf(stderr, "busd: no busd runs at %s\n", busd.socket_path);
		return 3;
	}
	if (rc != -EEXIST) {
		fprintf(stderr, "busd: %s\n", why.text);
		return 1;
	}
	if (kill(pid, SIGUSR2) < 0) {
		fprintf(stderr, "busd: cannot tell busd (pid %d): %s\n", pid, strerror(errno));
		return 1;
	}
	printf("busd: pid %d replaces its worker\n", pid);
	return 0;
}

/* Made by who may, for whom busd will be. */
static int give_data_dir(const char *data_dir, struct why *why)
{
	if (!busd.config->user || !data_dir || geteuid() != 0)
		return 0;
	if (spill_make_dirs(data_dir, why) < 0)
		return -EIO;
	if (chown(data_dir, busd.config->user_uid, busd.config->user_gid) < 0)
		return because(why, errno, "cannot give %s to user %s: %s", data_dir,
			       busd.config->user, strerror(errno));
	return 0;
}

/*
 * The environment is another user's, of whom we have it (su, sudo): nothing in his data directory is ours. One that was given
 * is, by the service manager too; then the worker makes no topic until it can be listed.
 */
static void leave_to_others(struct keeper_setup *setup)
{
	if (!setup->data_dir || !spill_dir_is_closed(setup->data_dir))
		return;
	log_warning("the data directory %s, by XDG_STATE_HOME or HOME, is another user's: no stream is kept on disk (--data-dir "
		    "names another one)",
		    setup->data_dir);
	free((char *)(uintptr_t)setup->data_dir);
	setup->data_dir = NULL;
}

static int run_keeper(const struct options *options)
{
	const char *data_dir = options->data_dir ? options->data_dir : busd.config->data_dir;
	bool users = false;
	struct keeper_setup setup = { .socket_path = busd.socket_path,
				      .config_path = busd.config_path,
				      /* here, where the environment and root's rights are still there */
				      .data_dir = data_dir ? absolute_path(data_dir)
							   : spill_default_dir(&users),
				      .foreground = options->foreground,
				      .private_ = options->private_,
				      .config_fd = -1,
				      .ready = ready };
	const char *log = log_target(&busd, options);
	struct why why = { "" };
	int rc;

	log_set_level((enum log_level)busd.config->log_level);
	rc = listener_lock(&busd, &why);
	if (rc == 0)
		rc = setup.listener_fd = listener_make(&busd, &why);
	if (rc == -EEXIST && options->private_) {
		free((char *)(uintptr_t)setup.data_dir);
		return 0;
	}
	if (rc < 0) {
		fprintf(stderr, "busd: %s\n", why.text);
		return 1;
	}
	rc = log_open(log);
	if (rc < 0) {
		fprintf(stderr, "busd: cannot open the log %s: %s\n", log, strerror(-rc));
		return 1;
	}
	if (options->config)
		setup.config_fd = keep_copy(options->config);
	if (give_data_dir(setup.data_dir, &why) < 0 ||
	    sandbox_become_user(busd.config, busd.socket_path, &why) < 0) {
		fprintf(stderr, "busd: %s\n", why.text);
		return 1;
	}
	if (users)
		leave_to_others(&setup);
	rc = keeper_run(&setup);
	free((char *)setup.data_dir);
	return rc;
}

int main(int argc, char **argv)
{
	struct options options = { .table_fd = -1 };
	struct why why = { "" };
	int rc = parse_options(argc, argv, &options);

	if (rc)
		return rc;
	server_init(&busd);
	busd.private_ = options.private_;
	if (options.table_fd >= 0)
		return run_worker(&busd, &options);
	if (read_config(&busd, &options, options.config, &why) < 0) {
		fprintf(stderr, "busd: %s\n", why.text);
		return 2;
	}
	if (options.check) {
		printf("busd: %s: good\n", options.config ? options.config : "no configuration file");
		return 0;
	}
	if (options.upgrade) {
		rc = find_socket(&options, &why);
		if (rc == 0)
			return upgrade();
		fprintf(stderr, "busd: %s\n", why.text);
		return 1;
	}
	if (!options.foreground) {
		rc = fork_daemon(&ready_fd);
		if (rc >= 0)
			return rc;
	}
	raise_file_limit();
	if (find_socket(&options, &why) < 0) {
		fprintf(stderr, "busd: %s\n", why.text);
		return 1;
	}
	return run_keeper(&options);
}

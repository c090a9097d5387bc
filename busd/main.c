/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - busd: options, becoming a daemon, one run.
 *
 * Exit codes: 0 done (or: another busd has the path, with --private); 1 cannot run; 2 usage or
 * configuration.
 */
#include "busd.h"

#include "calibrate.h"
#include "listener.h"
#include "log.h"
#include "notify.h"
#include "reload.h"
#include "sandbox.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
	const char *socket, *config, *data_dir;
	bool foreground, check, private_;
};

static const char usage_text[] =
	"Usage: busd [--socket PATH] [--config FILE] [--data-dir DIR] [--foreground] [--check-config]\n"
	"\n"
	"The daemon of the bus: makes the shared memory of topics, decides who may see it, notices deaths.\n"
	"\n"
	"  --socket PATH     where clients connect (default: /run/busd/bus.sock for root,\n"
	"                    else $XDG_RUNTIME_DIR/busd/bus.sock)\n"
	"  --config FILE     YAML; none is needed\n"
	"  --data-dir DIR    where lasting data lie\n"
	"  --foreground      stay in the foreground, log to stderr\n"
	"  --check-config    check the configuration and exit (0: good, 2: not)\n"
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
		OPT_VERSION
	};
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, OPT_SOCKET },
		{ "config", required_argument, NULL, OPT_CONFIG },
		{ "data-dir", required_argument, NULL, OPT_DATA },
		{ "foreground", no_argument, NULL, OPT_FOREGROUND },
		{ "check-config", no_argument, NULL, OPT_CHECK },
		{ "private", no_argument, NULL, OPT_PRIVATE },
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

static int read_config(struct busd *busd, const struct options *options, struct why *why)
{
	const char *idle = getenv("BUS_PRIVATE_IDLE_MS");

	busd->config = config_new();
	if (!busd->config)
		return because(why, ENOMEM, "out of memory");
	if (options->config) {
		busd->config_path = absolute_path(options->config);
		if (config_read(busd->config, options->config, why) < 0)
			return -EINVAL;
	}
	if (options->private_ && idle && *idle >= '0' && *idle <= '9')
		busd->config->idle_exit_ns = strtoull(idle, NULL, 10) * 1000000;
	return 0;
}

static int start(struct busd *busd, const struct options *options, struct why *why)
{
	const char *path = options->socket ? options->socket : busd->config->socket;
	const char *log = busd->config->log     ? busd->config->log
			  : options->foreground ? "stderr"
						: "syslog";
	const char *doubt;
	int rc;

	busd->socket_path = path ? absolute_path(path) : listener_default_path(why);
	if (!busd->socket_path)
		return -ENOENT;
	rc = listener_lock(busd, why);
	if (rc == 0)
		rc = server_open(busd, why);
	if (rc == 0)
		rc = listener_open(busd, why);
	if (rc < 0)
		return rc;
	rc = log_open(log);
	if (rc < 0)
		return because(why, -rc, "cannot open the log %s: %s", log, strerror(-rc));
	rc = sandbox_become_user(busd->config, busd->socket_path, why);
	if (rc < 0)
		return rc;
	busd->uid = geteuid();
	log_info("busd %s listens at %s", BUSD_VERSION, busd->socket_path);
	doubt = calibrate_doubt();
	if (doubt)
		log_warning("%s: time stamps may be wrong", doubt);
	return 0;
}

int main(int argc, char **argv)
{
	static struct busd busd;
	struct options options = { 0 };
	struct why why = { "" };
	int ready_fd = -1;
	int rc = parse_options(argc, argv, &options);

	if (rc)
		return rc;
	server_init(&busd);
	busd.private_ = options.private_;
	if (read_config(&busd, &options, &why) < 0) {
		fprintf(stderr, "busd: %s\n", why.text);
		return 2;
	}
	if (options.check) {
		printf("busd: %s: good\n", options.config ? options.config : "no configuration file");
		return 0;
	}
	if (!options.foreground) {
		rc = fork_daemon(&ready_fd);
		if (rc >= 0)
			return rc;
	}
	raise_file_limit();
	rc = reload_apply(&busd);
	if (rc == 0)
		rc = start(&busd, &options, &why);
	else
		because(&why, ENOMEM, "out of memory");
	if (rc == -EEXIST && options.private_)
		return 0;
	if (rc < 0) {
		fprintf(stderr, "busd: %s\n", why.text);
		return 1;
	}
	rc = sandbox_enter(busd.config, &why);
	if (rc < 0) {
		fprintf(stderr, "busd: %s\n", why.text);
		return 1;
	}
	notify_ready();
	if (ready_fd >= 0) {
		leave_terminal();
		if (write(ready_fd, "", 1) < 0)
			log_debug("whoever started busd has gone");
		close(ready_fd);
	}
	return server_run(&busd);
}

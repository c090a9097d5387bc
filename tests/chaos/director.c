/* SPDX-License-Identifier: Apache-2.0 */
/* director.c - see director.h */
#include "chaos/director.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARTIES (PUBS + SUBS + 1)

struct deeds deeds;
static struct party parties[PARTIES];
static struct party *const busd = &parties[PARTIES - 1];
static const char *busd_path;
static char config_path[240];
static pid_t stopped_worker;
static uint64_t worker_cont_at;
static bool ending; /* parties may leave by themselves */

static const char *const kind_names[PARTY_KINDS] = { "publisher", "subscriber", "busd", "worker" };

/* ---- starting ---- */

static void start_busd(void)
{
	struct bus *bus;
	int err = -1;

	busd->pid = fork();
	if (busd->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execl(busd_path, "busd", "--foreground", "--socket", notes->socket, "--config",
		      config_path, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000 && err < 0; i++) {
		err = bus_connect(&bus, BUS_OPTS(connect, .socket = notes->socket, .name = "chaos",
						 .timeout_ns = 5000000000));
		if (err < 0)
			sleep_us(5000);
	}
	if (err < 0) {
		wrong("busd does not answer: %s", bus_why(NULL));
		exit(1);
	}
	bus_close(bus);
}

static void start_party(struct party *p)
{
	uint64_t seed = notes->seed * 1000003 + (uint64_t)p->kind * 1009 + p->slot * 31 +
			(uint64_t)p->incarnation++ * UINT64_C(0x9e3779b97f4a7c15);

	deeds.processes++;
	if (p->kind == PARTY_BUSD) {
		start_busd();
		notes->gen++; /* even again */
		return;
	}
	p->pid = fork();
	if (p->pid < 0) {
		fprintf(stderr, "chaos: fork: %s\n", strerror(errno));
		exit(1);
	}
	if (p->pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (p->kind == PARTY_PUB)
		pub_party(p->slot, seed);
	sub_party(p->slot, seed);
}

void director_start(const char *path, const char *config)
{
	FILE *f;

	busd_path = path;
	snprintf(config_path, sizeof(config_path), "%s/busd.yaml", notes->dir);
	f = fopen(config_path, "w");
	if (f == NULL || fputs(config, f) < 0 || fclose(f) != 0) {
		fprintf(stderr, "chaos: cannot write %s\n", config_path);
		exit(1);
	}
	notes->gen = 1;
	for (unsigned i = 0; i < PUBS; i++)
		parties[i] = (struct party){ .kind = PARTY_PUB, .slot = i };
	for (unsigned i = 0; i < SUBS; i++)
		parties[PUBS + i] = (struct party){ .kind = PARTY_SUB, .slot = i };
	busd->kind = PARTY_BUSD;
	start_party(busd);
	for (unsigned i = 0; i < PARTIES - 1; i++)
		start_party(&parties[i]);
}

/* The first child of busd, where it has one. */
static pid_t worker_pid(void)
{
	char path[64];
	int pid = 0;
	FILE *f;

	if (busd->pid == 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)busd->pid, (int)busd->pid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return (pid_t)pid;
}

/* With --verbose: what was done, and when, for whoever looks into a finding. */
static void tell(const char *what, const char *whom, unsigned slot, pid_t pid)
{
	if (notes->verbose)
		fprintf(stderr, "%.6f %s %s %u (pid %d)\n", (double)now_ns() / 1e9, what, whom,
			slot, (int)pid);
}

/* ---- killing ---- */

/* The notes of a publisher that was reaped: what was open is dead now. */
static void bury(const struct party *p)
{
	struct pub_notes *n = pub_notes[p->slot];
	uint32_t lives = n->lives, state;

	if (p->kind != PARTY_PUB || lives == 0)
		return;
	state = n->life[lives - 1].state;
	if (state == LIFE_OPENING || state == LIFE_OPEN)
		n->life[lives - 1].state = state == LIFE_OPEN ? LIFE_DEAD : LIFE_FAILED;
}

/* Reaps what died by itself, which is right only at the end. */
static void reap(struct party *p, bool wait)
{
	int status;

	if (p->pid == 0 || waitpid(p->pid, &status, wait ? 0 : WNOHANG) != p->pid)
		return;
	if (!(ending && p->kind != PARTY_BUSD && WIFEXITED(status) && WEXITSTATUS(status) == 0) &&
	    !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && wait))
		wrong("%s %u (pid %d) ended by itself, status %#x", kind_names[p->kind], p->slot,
		      (int)p->pid, (unsigned)status);
	p->pid = 0;
	p->stopped = false;
	p->return_at = 0;
	bury(p);
}

static void kill_party(struct party *p, uint64_t away_ns)
{
	if (p->pid == 0)
		return;
	if (p->kind == PARTY_BUSD) {
		notes->gen_ns = now_ns();
		notes->gen++; /* odd: before anybody can notice */
		stopped_worker = 0;
	}
	tell("kill", kind_names[p->kind], p->slot, p->pid);
	kill(p->pid, SIGKILL);
	reap(p, true);
	p->return_at = now_ns() + away_ns;
	deeds.kills[p->kind]++;
}

static void stop_party(struct party *p, uint64_t ns, bool kill_then)
{
	if (p->pid == 0 || p->stopped)
		return;
	tell("stop", kind_names[p->kind], p->slot, p->pid);
	kill(p->pid, SIGSTOP);
	p->stopped = true;
	p->kill_then = kill_then;
	p->cont_at = now_ns() + ns;
	deeds.stops[p->kind]++;
}

static void continue_party(struct party *p)
{
	if (!p->stopped)
		return;
	p->stopped = false;
	if (p->kill_then) {
		kill_party(p, 1000000);
		return;
	}
	tell("continue", kind_names[p->kind], p->slot, p->pid);
	kill(p->pid, SIGCONT);
	deeds.conts[p->kind]++;
}

static void continue_worker(void)
{
	if (stopped_worker != 0 && worker_pid() == stopped_worker) {
		kill(stopped_worker, SIGCONT);
		deeds.conts[PARTY_WORKER]++;
	}
	stopped_worker = 0;
}

static void kill_worker(void)
{
	pid_t pid = worker_pid();

	if (pid == 0) {
		deeds.skipped++;
		return;
	}
	notes->worker_ns = now_ns();
	notes->worker_kill_ns[notes->worker_kills % WORKER_KILLS] = notes->worker_ns;
	notes->worker_kills++;
	tell("kill", kind_names[PARTY_WORKER], 0, pid);
	kill(pid, SIGKILL);
	if (pid == stopped_worker)
		stopped_worker = 0;
	deeds.kills[PARTY_WORKER]++;
}

static void stop_worker(uint64_t ns)
{
	pid_t pid = worker_pid();

	if (pid == 0 || stopped_worker != 0) {
		deeds.skipped++;
		return;
	}
	tell("stop", kind_names[PARTY_WORKER], 0, pid);
	kill(pid, SIGSTOP);
	stopped_worker = pid;
	worker_cont_at = now_ns() + ns;
	deeds.stops[PARTY_WORKER]++;
}

static void remove_topic(unsigned topic)
{
	uint32_t gen = notes->gen, kills = notes->worker_kills;
	struct bus *bus;
	int err;

	if (busd->pid == 0 || busd->stopped || stopped_worker != 0)
		return;
	notes->removals++;
	for (unsigned i = 0; i < PUBS; i++) {
		uint32_t lives = pub_notes[i]->lives;

		if (lives > 0 && pub_notes[i]->life[lives - 1].topic == topic)
			pub_notes[i]->life[lives - 1].removed = true;
	}
	err = bus_connect(&bus, BUS_OPTS(connect, .socket = notes->socket, .name = "remover"));
	if (err == 0) {
		err = bus_topic_remove(bus, topic_names[topic], BUS_TOPIC_FORCE);
		bus_close(bus);
	}
	notes->removals_done++;
	if (err == 0)
		deeds.removals++;
	else if (err != -ENOENT && !party_excused(gen, kills))
		wrong("cannot remove topic %s: %s", topic_names[topic], bus_why(NULL));
}

/* ---- the script ---- */

/* Short, or long enough for an eviction. */
static uint64_t stop_ns(struct chance *c)
{
	uint64_t ms = chance_below(c, 5) == 0 ? 300 + chance_below(c, 600) : chance_below(c, 60);

	return ms * 1000000u + chance_below(c, 1000000);
}

void director_act(struct chance *c)
{
	/* all chances are taken, whatever the state of the parties: the script depends on the seed */
	uint32_t what = chance_below(c, 1000), who = chance_below(c, 1000);
	uint64_t stop = stop_ns(c), away = (uint64_t)chance_below(c, 40000) * 1000u;
	bool kill_then = chance_below(c, 4) == 0;
	struct party *pub = &parties[who % PUBS], *sub = &parties[PUBS + who % SUBS];

	if (what < 300)
		kill_party(pub, away);
	else if (what < 560)
		kill_party(sub, away);
	else if (what < 680)
		stop_party(pub, stop, kill_then);
	else if (what < 860)
		stop_party(sub, stop, kill_then);
	else if (what < 900)
		stop_party(busd, stop / 2, false);
	else if (what < 930)
		stop_worker(stop / 2);
	else if (what < 970)
		kill_worker();
	else if (what < 990 && getenv("NO_REMOVE") == NULL)
		remove_topic(who % TOPICS);
	else if (!busd->stopped)
		kill_party(busd, away * 4);
}

void director_tend(void)
{
	uint64_t now = now_ns();

	for (int i = 0; i < PARTIES; i++) {
		struct party *p = &parties[i];

		reap(p, false);
		if (p->stopped && now >= p->cont_at)
			continue_party(p);
		if (p->pid == 0 && now >= p->return_at && !ending)
			start_party(p);
	}
	if (stopped_worker != 0 && now >= worker_cont_at)
		continue_worker();
}

/* ---- the end ---- */

void director_all_run(void)
{
	continue_worker();
	for (int i = PARTIES - 1; i >= 0; i--) {
		parties[i].kill_then = false;
		continue_party(&parties[i]);
		if (parties[i].pid == 0)
			start_party(&parties[i]);
	}
}

static uint64_t progress_of(unsigned slot)
{
	uint32_t lives = pub_notes[slot]->lives;

	return ((uint64_t)lives << 40) +
	       (lives == 0 ? 0 : pub_notes[slot]->life[lives - 1].committed);
}

/* Nobody is dead or stopped any more: every publisher must go on. */
void director_all_progress(uint64_t limit_ns)
{
	uint64_t at[PUBS], until = now_ns() + limit_ns;

	for (unsigned i = 0; i < PUBS; i++)
		at[i] = progress_of(i);
	for (unsigned i = 0; i < PUBS; i++) {
		while (progress_of(i) == at[i] && now_ns() < until) {
			director_tend();
			sleep_us(1000);
		}
		if (progress_of(i) == at[i])
			wrong("publisher %u stands still (%llu messages of its last life)", i,
			      (unsigned long long)(at[i] & ((UINT64_C(1) << 40) - 1)));
	}
}

void director_leave(enum party_kind kind, uint64_t limit_ns)
{
	uint64_t until = now_ns() + limit_ns;

	ending = true;
	for (int i = 0; i < PARTIES; i++) {
		if (parties[i].kind != kind)
			continue;
		while (parties[i].pid != 0 && now_ns() < until) {
			reap(&parties[i], false);
			sleep_us(1000);
		}
		if (parties[i].pid == 0)
			continue;
		wrong("%s %u (pid %d) does not come to its end", kind_names[kind], parties[i].slot,
		      (int)parties[i].pid);
		if (getenv("CHAOS_HOLD") != NULL)
			pause();
		kill_party(&parties[i], 0);
	}
}

/* Everybody has gone: busd must have let go of all they had, and end in order. */
void director_finish(void)
{
	struct bus_topic_info info = { .name = "" };
	struct bus *bus;
	int status;

	if (bus_connect(&bus, BUS_OPTS(connect, .socket = notes->socket, .name = "end")) < 0) {
		wrong("busd does not answer at the end: %s", bus_why(NULL));
	} else {
		while (bus_topic_next(bus, NULL, &info) == 1)
			if (info.publishers != 0 || info.subscribers != 0)
				wrong("topic %s still has %u publishers and %u subscribers",
				      info.name, info.publishers, info.subscribers);
		bus_close(bus);
	}
	kill(busd->pid, SIGTERM);
	if (waitpid(busd->pid, &status, 0) != busd->pid || status != 0)
		wrong("busd ended with status %#x", (unsigned)status);
	busd->pid = 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Hostile input for every file of the module: questions, page frames and
 * addresses of all kinds, odd system calls, values of the parameters. What comes
 * back is an errno that the input explains and an answer that is well-formed.
 *
 * What is random follows from a seed, which is printed; SEED= in the environment
 * (for the guest: on the kernel's command line) gives it again.
 */

#include <fcntl.h>
#include <linux/mman.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kselftest_harness.h"

#include "avl.h"
#include "kmsg.h"

#define FUZZERS		4
#define QUESTIONS	1000	/* of each */
#define OLD_PIDS	64
#define RMAP_WALK	AVL_DEBUGFS "rmap_walk"
#define VMAS		AVL_DEBUGFS "vmas"
#define CONTEXTS	AVL_DEBUGFS "contexts"
#define POLICY		AVL_DEBUGFS "policy"
#define DRAIN		AVL_DEBUGFS "drain"
#define ANSWER		65536

#define BAD_QUESTION	"error: write \"PID ADDRESS\" or \"pfn N\"\n"

/* What there may be at an address. */
struct place {
	const char *name;
	unsigned long address;
	int error;	/* that a question about it gets */
	int other;	/* or this one */
};

#define PLACES		40

/* Seen by all processes of a test. */
struct shared {
	unsigned long seed;
	struct place places[PLACES];
	int nr_places;
	pid_t pids[OLD_PIDS];	/* of processes that live, end, or have ended */
	atomic_int results[256];	/* how often each errno came */
	atomic_int nr_vmas;	/* address spaces described */
	atomic_int nr_dead;	/* lists with dead contexts */
	bool stop;
};

FIXTURE(fuzz)
{
	struct shared *s;
	bool lazy;
	long log;
};

/* xorshift64* */
static unsigned long below(unsigned long *random, unsigned long n)
{
	*random ^= *random >> 12;
	*random ^= *random << 25;
	*random ^= *random >> 27;
	return (*random * 0x2545f4914f6cdd1dUL >> 16) % n;
}

static void add(struct shared *s, const char *name, const void *p, int error,
		int other)
{
	if (s->nr_places == PLACES)
		ksft_exit_fail_msg("more than %d places\n", PLACES);
	s->places[s->nr_places++] = (struct place){ name, (unsigned long)p, error, other };
}

static char *page_of(unsigned long page)
{
	char *p = avl_map(page, 1);

	if (p == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	avl_fill(p, psize(), page);
	return p;
}

/* Maps some of everything. */
static void make_places(struct shared *s)
{
	const unsigned long huge = read_pmd_pagesize();
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char *p;

	static const unsigned long nowhere[] = {
		0, 1, (1UL << 47) - 1, 1UL << 47, 1UL << 56, 1UL << 63, 0xffff800000000000,
		0xffff888000000000, 0xffffea0000000000, 0xffffffff81000000,
		0xffffffffff600000 /* vsyscall */, -1UL,
	};

	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++)
		add(s, "nowhere", (void *)nowhere[i], EFAULT, EFAULT);
	add(s, "hole", avl_addr(1), EFAULT, EFAULT);
	add(s, "vdso", (void *)getauxval(AT_SYSINFO_EHDR), EFAULT, EFAULT);
	add(s, "anonymous", page_of(2), 0, 0);
	add(s, "last byte", page_of(4) + psize() - 1, 0, 0);
	add(s, "unfaulted", avl_map(6, 1), EFAULT, EFAULT);

	p = avl_map(8, 1);
	FORCE_READ(*p);
	add(s, "zero page", p, EFAULT, EFAULT);

	p = page_of(10);
	mprotect(p, psize(), PROT_NONE);
	add(s, "PROT_NONE", p, 0, 0);

	p = page_of(12);
	if (madvise(p, psize(), MADV_GUARD_INSTALL))
		ksft_exit_fail_msg("MADV_GUARD_INSTALL: %s\n", strerror(errno));
	add(s, "guard", p, EFAULT, EFAULT);

	p = mremap(page_of(14), psize(), psize(), MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(16));
	add(s, "displaced", p, 0, 0);

	/* In the swap cache or not. */
	p = page_of(18);
	madvise(p, psize(), MADV_PAGEOUT);
	add(s, "swapped", p, 0, EFAULT);

	p = mmap(NULL, psize(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	FORCE_READ(*p);
	add(s, "file", p, EFAULT, EFAULT);
	p = mmap(NULL, psize(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	*p = 1;
	add(s, "copy of a file's page", p, 0, 0);

	p = mmap(NULL, psize(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*p = 1;
	add(s, "shared memory", p, EFAULT, EFAULT);

	p = mmap(avl_addr(1024), huge, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	madvise(p, huge, MADV_HUGEPAGE);
	*p = 1;
	add(s, "huge page", p, 0, 0);

	avl_write("/proc/sys/vm/nr_hugepages", "2");
	p = mmap(NULL, huge, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED)
		ksft_exit_fail_msg("MAP_HUGETLB: %s\n", strerror(errno));
	*p = 1;
	add(s, "hugetlb", p, EFAULT, EFAULT);
	add(s, "hugetlb, middle", p + huge / 2, EFAULT, EFAULT);
	close(fd);
}

FIXTURE_SETUP(fuzz)
{
	const char *seed = getenv("SEED");
	char hit[1024];

	self->lazy = avl_setup();
	self->s = mmap(NULL, sizeof(*self->s), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->s);
	if (seed)
		self->s->seed = strtoul(seed, NULL, 0);
	else
		ASSERT_EQ(sizeof(self->s->seed),
			  getrandom(&self->s->seed, sizeof(self->s->seed), 0));
	TH_LOG("SEED=%#lx", self->s->seed);
	/* The generator has one fixed point. */
	self->s->seed |= 1;
	make_places(self->s);
	self->log = kmsg_scan(0, hit, sizeof(hit));
	ASSERT_LE(0, self->log);
}

FIXTURE_TEARDOWN(fuzz)
{
	char hit[1024];

	avl_write("/proc/sys/vm/nr_hugepages", "0");
	avl_set_parameter("enabled", self->lazy ? "1" : "0");
	avl_set_parameter("hide_address", "0");
	EXPECT_EQ(0, avl_write(POLICY, "all"));
	EXPECT_LE(0, kmsg_scan(self->log, hit, sizeof(hit)));
	EXPECT_STREQ("", hit);
}

/* What the module must take a text for. */
struct question {
	enum { BAD, PID, PFN } what;
	long pid;
	unsigned long number;
};

static bool is_space(char c)
{
	/* As the kernel has it: Latin-1. */
	return c == ' ' || (c >= '\t' && c <= '\r') || c == '\xa0';
}

/* The digits of a whole word, as kstrtoull() wants them. */
static bool number(const char *word, unsigned int base, unsigned long *value)
{
	word += *word == '+';
	if (!base) {
		base = *word != '0' ? 10 : 8;
		if (*word == '0' && (word[1] | ' ') == 'x' && isxdigit(word[2]))
			base = 16;
		word += base == 16 ? 2 : 0;
	}
	*value = 0;
	if (!isxdigit(*word))
		return false;
	for (; isxdigit(*word); word++) {
		const unsigned int digit = isdigit(*word) ? *word - '0' : (*word | ' ') - 'a' + 10;

		if (digit >= base || __builtin_mul_overflow(*value, base, value) ||
		    __builtin_add_overflow(*value, digit, value))
			return false;
	}
	return !strcmp(word, "") || !strcmp(word, "\n");
}

static struct question parse(const char *text, size_t len)
{
	const struct question bad = { .what = BAD };
	struct question q = { .what = PID };
	unsigned long pid;
	char buf[64], *first = buf, *second, *end;

	if (len >= sizeof(buf) || memchr(text, '\0', len))
		return bad;
	memcpy(buf, text, len);
	for (end = buf + len; end > buf && is_space(end[-1]); end--)
		;
	*end = '\0';
	while (is_space(*first))
		first++;
	second = strpbrk(first, " \t");
	if (!second)
		return bad;
	*second++ = '\0';
	while (is_space(*second))
		second++;
	if (!number(second, 0, &q.number))
		return bad;
	if (!strcmp(first, "pfn")) {
		q.what = PFN;
		return q;
	}
	if (!number(first + (*first == '-'), 10, &pid) || pid > (*first == '-') + 0x7fffffffUL)
		return bad;
	if (*first == '-' && first[1] == '+')
		return bad;
	q.pid = *first == '-' ? -pid : pid;
	return q;
}

/* Text that looks like a question, nearly one, or not at all. Returns its length. */
static size_t make_question(const struct shared *s, unsigned long *random, char *text, size_t size)
{
	static const char * const formats[] = {
		"%ld %#lx", "%ld %lu", "%ld 0%lo", " %ld\t%#lx\n", "%ld  %#lX", "+%ld +%lu",
		"%ld -%lu", "%lx %lx", "%ld:%#lx", "%ld\n%#lx", "%ld %#lx %1$ld", "%ld\n %#lx\n\n",
		"%ld 0x%lx99999999", "00%ld 0x%lx", "pid %ld %lx", "%ld \xa0%#lx\xa0", "%ld %#lxg",
	};
	unsigned long value = 0, kind = below(random, 10);
	size_t len = 0;
	long pid = getpid();

	if (!kind) {	/* anything */
		len = below(random, below(random, 8) ? 80 : size);
		for (size_t i = 0; i < len; i++)
			text[i] = below(random, 256);
		return len;
	}

	switch (below(random, 8)) {
	case 0:
		pid = (long)below(random, 1UL << 33) - (1L << 32);
		break;
	case 1:
		pid = below(random, 200);	/* kernel threads, init */
		break;
	case 2:
		pid = getppid();
		break;
	case 3 ... 4:
		pid = s->pids[below(random, OLD_PIDS)];
		break;
	}
	switch (below(random, 4)) {
	case 0:
		value = 1UL << below(random, 64);
		value -= below(random, 2);
		break;
	case 1:
		value = below(random, 1UL << 47);
		break;
	default:
		value = s->places[below(random, s->nr_places)].address + below(random, 2);
	}

	if (kind < 3) {
		if (below(random, 4))
			value = below(random, below(random, 8) ? 1UL << 19 : 1UL << 40);
		len = snprintf(text, size, below(random, 4) ? "pfn %lu" : " pfn\t%#lx\n", value);
	} else {
		len = snprintf(text, size,
			       formats[kind < 8 ? 0 : below(random, ARRAY_SIZE(formats))],
			       pid, value);
	}
	/* Now and then a byte is another one, or the length is. */
	if (!below(random, 8) && len)
		text[below(random, len)] = below(random, 256);
	if (!below(random, 16))
		len = below(random, len + 3);
	if (!below(random, 16)) {
		memset(text + len, ' ', 80);
		len += below(random, 80);
	}
	return len;
}

/* Is there "name 123" or "name 0xabc" at the start? Skips it and what separates it. */
static bool field(const char **text, const char *name, unsigned long max)
{
	const size_t len = strlen(name);
	unsigned long value;
	char *end;

	if (strncmp(*text, name, len) || (*text)[len] != ' ' || !isxdigit((*text)[len + 1]))
		return false;
	errno = 0;
	value = strtoul(*text + len + 1, &end, max > 1UL << 32 ? 16 : 10);
	if (errno || value > max || (*end != ' ' && *end != '\n'))
		return false;
	*text = end + 1;
	return true;
}

static bool word(const char **text, const char * const *words, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		const size_t len = strlen(words[i]);

		if (!strncmp(*text, words[i], len) && isspace((*text)[len])) {
			*text += len + 1;
			return true;
		}
	}
	return false;
}

#define WORD(text, ...)								\
({										\
	static const char * const __words[] = { __VA_ARGS__ };			\
										\
	word(text, __words, ARRAY_SIZE(__words));				\
})

/* Addresses and indices of user space only: none of the kernel's. */
#define USER_MAX	((1UL << 56) - 1)

/* What describes a folio: one line about it, one for each mapping, one with sums. */
static bool is_description(const char *text)
{
	unsigned long mappings = 0, visits, said, vma_end;

	if (!WORD(&text, "folio") || !WORD(&text, "anon", "ksm") || !field(&text, "order", 64) ||
	    !field(&text, "index", USER_MAX) || !WORD(&text, "anchor") ||
	    !WORD(&text, "lazy", "eager", "none", "ksm") || !field(&text, "mapcount", 1UL << 32) ||
	    text[-1] != '\n')
		return false;
	while (!strncmp(text, "pid ", 4)) {
		const char *end = strchr(text, '\n'), *vma = NULL, *p;

		if (!end || !field(&text, "pid", 1UL << 22) || !WORD(&text, "comm"))
			return false;
		/* Whatever the process is called. */
		for (p = text; (p = strstr(p, "vma ")) && p < end; p++)
			vma = p;
		if (!vma || vma < text || vma > text + 4 * 16)
			return false;
		for (p = text; p < vma; p++)
			if (!isprint(*p))
				return false;
		text = strchr(vma, '-');
		if (!text || text > end)
			return false;
		vma_end = strtoul(text + 1, NULL, 16);
		if (strtoul(vma + 4, NULL, 16) >= vma_end || vma_end > USER_MAX)
			return false;
		text = strchr(text, ' ');
		if (!text++ || !field(&text, "address", USER_MAX) || !WORD(&text, "state") ||
		    !WORD(&text, "present", "migration", "swap", "hwpoison") || text != end + 1)
			return false;
		mappings++;
	}
	return sscanf(text, "mappings %lu visits %lu\n", &said, &visits) == 2 && said == mappings &&
		visits >= mappings && strchr(text, '\n') && !strchr(text, '\n')[1];
}

static bool is_error(const char *text)
{
	const char *end = strchr(text, '\n');

	for (const char *p = text; p < end; p++)
		if (!isprint(*p))
			return false;
	return !strncmp(text, "error: ", 7) && end && !end[1];
}

/* Can a question have had this result? */
static bool explained(const struct question *q, int err, const char *answer)
{
	if (err ? !is_error(answer) : !is_description(answer))
		return false;
	switch (q->what) {
	case BAD:
		return err == EINVAL && !strcmp(answer, BAD_QUESTION);
	case PFN:
		return !err || err == ENXIO || (err == EINVAL && strcmp(answer, BAD_QUESTION));
	default:
		if (q->pid <= 0 || q->pid > 1L << 22)
			return err == ESRCH;
		if (q->number >= 1UL << 56)
			return err == ESRCH || err == EFAULT;
		return !err || err == ESRCH || err == EFAULT || err == EHWPOISON;
	}
}

/* Reads the answer in pieces, at odd offsets, backwards. */
static bool read_oddly(int fd, unsigned long *random, const char *answer, ssize_t len)
{
	static char piece[ANSWER];

	for (int i = 0; i < 4; i++) {
		const size_t size = below(random, 2) ? below(random, 16) : below(random, ANSWER);
		const off_t at = below(random, below(random, 8) ? len + 2 : 1UL << 47);
		const ssize_t left = at < len ? len - at : 0;
		const ssize_t want = (ssize_t)size < left ? (ssize_t)size : left;
		ssize_t got;

		if (below(random, 2)) {
			got = pread(fd, piece, size, at);
		} else {
			if (lseek(fd, at, SEEK_SET) != at)
				return false;
			got = read(fd, piece, size);
		}
		if (got != want || (got > 0 && memcmp(piece, answer + at, got)))
			return false;
	}
	return lseek(fd, -1 - (off_t)below(random, 1UL << 40), SEEK_SET) == -1 && errno == EINVAL;
}

/* Asks one question by one of several system calls, and once more. */
static bool ask(struct shared *s, unsigned long *random)
{
	static char text[8 * 4096], answer[ANSWER];
	const size_t len = make_question(s, random, text, sizeof(text) - 160);
	int fd = open(RMAP_WALK, O_RDWR | O_CLOEXEC), err;
	struct question q = parse(text, len);
	struct iovec iov[2] = {
		{ .iov_base = text, .iov_len = len }, { .iov_base = text, .iov_len = 1 },
	};
	ssize_t put, got;

	if (fd < 0 || read(fd, answer, 1) != 0)
		return false;
	/* Nothing is asked by what cannot be read. */
	if (!below(random, 8) && (write(fd, (void *)(1UL << 46), below(random, 99) + 1) != -1 ||
				  errno != EFAULT))
		return false;
	errno = 0;
	switch (below(random, 4)) {
	case 0:
		put = pwrite(fd, text, len, below(random, 1UL << 40));
		break;
	case 1:
		/* Each part is a question: the second comes too late. */
		put = len ? writev(fd, iov, 2) : write(fd, text, 0);
		break;
	default:
		put = write(fd, text, len);
	}
	err = put < 0 ? errno : 0;
	s->results[err & 255]++;
	lseek(fd, 0, SEEK_SET);
	got = read(fd, answer, sizeof(answer) - 1);
	answer[got > 0 ? got : 0] = '\0';
	if (got <= 0 || (err ? 0 : put != (ssize_t)len) || (ssize_t)strlen(answer) != got ||
	    !explained(&q, err, answer)) {
		ksft_print_msg("question \"%.64s\" of %zu bytes: %s, answer:\n%s", text, len,
			       strerror(err), answer);
		return false;
	}
	for (int i = below(random, 4); i; i--)
		if (write(fd, text, len) != -1 || errno != EBUSY)
			return false;
	if (!read_oddly(fd, random, answer, got)) {
		ksft_print_msg("another answer to \"%.64s\" when read again\n", text);
		return false;
	}
	close(fd);
	return true;
}

/* Is there "name" and a word of printable characters up to the end of the line? Skips it. */
static bool last_field(const char **text, const char *name)
{
	const char *end = strchr(*text, '\n');

	if (!end || strncmp(*text, name, strlen(name)))
		return false;
	for (const char *p = *text; p < end; p++)
		if (!isprint(*p))
			return false;
	*text = end + 1;
	return true;
}

static const char * const kinds[] = { "natural", "displaced", "eager", "unfaulted" };

/* What the file "vmas" says of a process. */
static bool is_vmas(const char *text)
{
	unsigned long last = 0, start, end, number, sums[4] = {}, said[4];
	int pid, n;

	if (sscanf(text, "process %d context %lu %n", &pid, &start, &n) != 2)
		return false;
	text += n;
	if (!last_field(&text, "comm "))
		return false;
	for (number = 0; sscanf(text, "vma %lx-%lx flags %n", &start, &end, &n) == 2; number++) {
		text += n;
		if (start < last || end <= start || end > USER_MAX + 1)
			return false;
		last = end;
		if (strspn(text, "rwxs-") != 4 || text[4] != ' ')
			return false;
		text += 5;
		if (strncmp(text, "pgoff ", 6))
			return false;
		strtoul(text + 6, (char **)&text, 16);
		if (strncmp(text, " kind ", 6))
			return false;
		text += 6;
		for (n = 0; n < 4; n++)
			if (!strncmp(text, kinds[n], strlen(kinds[n])))
				break;
		if (n == 4)
			return false;
		sums[n]++;
		text += strlen(kinds[n]) + 1;
		if (n == 2 ? !WORD(&text, "why hugetlb", "why pfnmap", "why mixedmap", "why io",
				   "why moved", "why forked", "why neighbour", "why stock") :
			     !WORD(&text, "why -"))
			return false;
	}
	if (sscanf(text, "vmas %lu natural %lu displaced %lu eager %lu unfaulted %lu\n%n", &start,
		   &said[0], &said[1], &said[2], &said[3], &n) != 5 || text[n])
		return false;
	return start == number && !memcmp(sums, said, sizeof(sums));
}

/* What the file "contexts" says. */
static bool is_contexts(const char *text)
{
	unsigned long last = 0, id, parent, holder;
	int n;

	while (sscanf(text,
		      "context %lu parent %lu anchor %*12[0-9a-f] holder %lu used %*u spare %*u natural %*u displaced %*u eager %*u unfaulted %*u state %n",
		      &id, &parent, &holder, &n) == 3) {
		text += n;
		if (id <= last || parent >= id || !holder || holder > id)
			return false;
		last = id;
		if (!WORD(&text, "live", "dead") || strncmp(text, "pid ", 4))
			return false;
		text = strchr(text + 4, ' ');
		if (!text++ || !last_field(&text, "comm "))
			return false;
	}
	return !*text;
}

/* Reads a whole file. */
static bool read_all(int fd, char *text, size_t size)
{
	ssize_t got;

	while ((got = read(fd, text, size - 1)) > 0) {
		text += got;
		size -= got;
	}
	*text = '\0';
	return !got && size > 1;
}

/* The VMAs of some process. */
static bool ask_vmas(struct shared *s, unsigned long *random)
{
	static char text[8 * 4096], answer[4 * ANSWER];
	size_t len = below(random, 16) ? 0 : make_question(s, random, text, sizeof(text) - 160);
	int fd = open(VMAS, O_RDWR | O_CLOEXEC), err;
	bool good;

	if (!len)
		len = sprintf(text, "%d\n", s->pids[below(random, OLD_PIDS)]);
	err = write(fd, text, len) < 0 ? errno : 0;
	good = read_all(fd, answer, sizeof(answer)) && (err ? is_error(answer) : is_vmas(answer)) &&
		(!err || err == EINVAL || err == ESRCH) &&
		write(fd, text, len) == -1 && errno == EBUSY;
	if (!good)
		ksft_print_msg("vmas \"%.64s\" of %zu bytes: %s, answer:\n%s", text, len,
			       strerror(err), answer);
	if (!err)
		s->nr_vmas++;
	close(fd);
	return good;
}

static bool list_contexts(struct shared *s)
{
	static char answer[4 * ANSWER];
	int fd = open(CONTEXTS, O_RDONLY | O_CLOEXEC);
	bool good = fd >= 0 && read_all(fd, answer, sizeof(answer)) && is_contexts(answer);

	if (!good)
		ksft_print_msg("contexts: %s\n%s", strerror(errno), answer);
	if (strstr(answer, " state dead "))
		s->nr_dead++;
	close(fd);
	return good;
}

/* What the file "drain" says. */
static bool is_drain(const char *text)
{
	unsigned long alone, related, number = 0;
	int n = 0;

	if (sscanf(text, "drained %*u\nvmas %*u\nalone %lu\nrelated %lu\nothers %*u\n%n",
		   &alone, &related, &n) != 2 || !n)
		return false;
	text += n;
	for (; *text; number++) {
		unsigned long id;

		if (sscanf(text, "process %*u context %lu %n", &id, &n) != 1)
			return false;
		text += n;
		if (!WORD(&text, "alone", "related") || !last_field(&text, "comm "))
			return false;
	}
	return number == alone + related;
}

/* "1", with space around it. */
static bool is_one(const char *text, size_t len)
{
	if (len >= 64)
		return false;
	for (; len && is_space(text[len - 1]); len--)
		;
	for (; len && is_space(*text); len--)
		text++;
	return len == 1 && *text == '1';
}

static bool ask_drain(struct shared *s, unsigned long *random)
{
	static const char * const texts[] = { "1", "1\n", " 1", "01", "1 1", "1\n1", "0" };
	static char text[8 * 4096], answer[4 * ANSWER];
	const size_t nth = below(random, 2 * ARRAY_SIZE(texts));
	int fd = open(DRAIN, O_RDWR | O_CLOEXEC), err;
	size_t len;
	bool good;

	if (nth < ARRAY_SIZE(texts))
		len = sprintf(text, "%s", texts[nth]);
	else
		len = make_question(s, random, text, sizeof(text) - 160);
	err = write(fd, text, len) < 0 ? errno : 0;
	good = read_all(fd, answer, sizeof(answer)) &&
		(is_one(text, len) ? err == (avl_enabled() ? EBUSY : 0) : err == EINVAL) &&
		(err ? is_error(answer) : is_drain(answer));
	close(fd);
	fd = open(DRAIN, O_RDONLY | O_CLOEXEC);
	good = good && read_all(fd, answer, sizeof(answer)) && is_drain(answer);
	if (!good)
		ksft_print_msg("drain \"%.64s\" of %zu bytes: %s, answer:\n%s", text, len,
			       strerror(err), answer);
	close(fd);
	return good;
}

/* Random questions. Returns an exit status. */
static int fuzz(struct shared *s, int number)
{
	unsigned long random = s->seed + number * 0x9e3779b97f4a7c15UL;

	for (int i = 0; i < QUESTIONS; i++) {
		if (!ask(s, &random) || (i % 4 == 0 && !ask_vmas(s, &random)) ||
		    (i % 16 == 0 && (!list_contexts(s) || !ask_drain(s, &random)))) {
			ksft_print_msg("fuzzer %d, question %d: errno %d\n", number, i, errno);
			return 1;
		}
	}
	return 0;
}

/* A process to be asked about while it does one thing or another, and ends. */
static void live(unsigned long random)
{
	char name[16];

	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = below(&random, 4) ? below(&random, 256) : "v\nma 1-2 "[below(&random, 9)];
	prctl(PR_SET_NAME, name);
	for (int i = 0; i < 4; i++) {
		const unsigned long page = 3000 + 2 * below(&random, 50);
		char *p = avl_map(page, 1);

		if (p != MAP_FAILED)
			avl_fill(p, psize(), page);
		mremap(p, psize(), psize(), MREMAP_MAYMOVE | MREMAP_FIXED, avl_addr(page + 200));
	}
	/* A child of the same number in another name space, where there are any. */
	if (!below(&random, 8))
		unshare(CLONE_NEWPID);
	/* A dead context stays as long as it has two children. */
	if (!below(&random, 4) && (!fork() || !fork())) {
		usleep(below(&random, 20000));
		_exit(0);
	}
	if (!below(&random, 3))
		execl("/bin/true", "true", NULL);
	_exit(below(&random, 2));
}

/* Processes that come and go, some of them zombies for a while. */
static int churn(struct shared *s, unsigned long random)
{
	for (unsigned int i = 0; !s->stop; i++) {
		pid_t *slot = &s->pids[i % OLD_PIDS], pid;

		/* Those that have ended stay in the table: they may be asked about, too. */
		if (*slot)
			waitpid(*slot, NULL, 0);
		pid = fork();
		if (!pid)
			live(random + i);
		if (pid < 0)
			return 1;
		*slot = pid;
	}
	while (wait(NULL) > 0)
		;
	return 0;
}

/* Makes migration and swap entries, and verifies. */
static int disturb(struct shared *s, pid_t pid)
{
	static struct avl_verify v;

	for (int i = 0; !s->stop; i++) {
		avl_move(pid, avl_addr(2), 32 * psize(), i % avl_nodes());
		avl_write("/sys/fs/cgroup/anon_vma_lazy/memory.reclaim", "128K swappiness=max");
		if (i % 64 == 0 && (avl_verify(&v) || v.missed)) {
			ksft_print_msg("verify:\n%s", v.text);
			return 1;
		}
	}
	return 0;
}

/* By several processes at once, about all that there is and is not. */
TEST_F_TIMEOUT(fuzz, questions, 900)
{
	static const int results[] = { 0, EINVAL, ESRCH, EFAULT, ENXIO };
	pid_t fuzzer[FUZZERS], other[2], test = getpid();
	int status;

	ASSERT_EQ(0, avl_memcg_enter());
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	for (int i = 0; i < 2; i++) {
		other[i] = fork();
		ASSERT_LE(0, other[i]);
		if (!other[i])
			_exit(i ? disturb(self->s, test) : churn(self->s, self->s->seed));
	}
	for (int i = 0; i < FUZZERS; i++) {
		fuzzer[i] = fork();
		ASSERT_LE(0, fuzzer[i]);
		if (!fuzzer[i])
			_exit(fuzz(self->s, i));
	}
	for (int i = 0; i < FUZZERS; i++) {
		ASSERT_EQ(fuzzer[i], waitpid(fuzzer[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	self->s->stop = true;
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(other[i], waitpid(other[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	avl_memcg_leave();
	for (int i = 0; i < 256; i++)
		if (self->s->results[i])
			TH_LOG("%d times %s", atomic_load(&self->s->results[i]), strerror(i));
	TH_LOG("%d times the VMAs of a process, %d times dead contexts",
	       atomic_load(&self->s->nr_vmas), atomic_load(&self->s->nr_dead));
	EXPECT_LT(0, atomic_load(&self->s->nr_vmas));
	if (!self->lazy)
		EXPECT_EQ(0, atomic_load(&self->s->nr_dead));
	/* All that random questions can be answered with. */
	for (size_t i = 0; i < ARRAY_SIZE(results); i++)
		EXPECT_LT(0, atomic_load(&self->s->results[results[i]]));
	ASSERT_VERIFIED();
}

/* Asks in a file of its own. Returns an errno. */
static int ask_text(const char *text, char *answer, size_t size)
{
	int fd = open(RMAP_WALK, O_RDWR | O_CLOEXEC);
	int err = write(fd, text, strlen(text)) < 0 ? errno : 0;
	ssize_t len = read(fd, answer, size - 1);

	answer[len > 0 ? len : 0] = '\0';
	close(fd);
	return err;
}

/* What is at an address decides what the answer is. */
TEST_F(fuzz, places)
{
	char text[64], answer[4096];

	/* Whatever the process is called. */
	ASSERT_EQ(0, prctl(PR_SET_NAME, "x\nmappings 1\n"));
	for (int i = 0; i < self->s->nr_places; i++) {
		const struct place *place = &self->s->places[i];
		int err;

		snprintf(text, sizeof(text), "%d %#lx", getpid(), place->address);
		err = ask_text(text, answer, sizeof(answer));
		ASSERT_TRUE(err == place->error || err == place->other) {
			TH_LOG("%s, %#lx: %d, %s", place->name, place->address, err, answer);
		}
		ASSERT_TRUE(err ? is_error(answer) : is_description(answer)) {
			TH_LOG("%s, %#lx: %s", place->name, place->address, answer);
		}
	}
}

/* Bits of linux/kernel-page-flags.h, some of which vm_util.h defines otherwise. */
enum {
	SLAB = 7, BUDDY = 10, MMAP, ANON, SWAPBACKED = 14, TAIL = 16, HUGE, NOPAGE = 20,
	THP = 22, OFFLINE, ZERO_PAGE, PGTABLE = 26, RESERVED = 32,
};

/* What is in use, but not as pages that could be mapped. */
static const int no_folios[] = { SLAB, BUDDY, OFFLINE, PGTABLE, NOPAGE };

static bool is_no_folio(unsigned long flags)
{
	for (size_t i = 0; i < ARRAY_SIZE(no_folios); i++)
		if (flags & 1UL << no_folios[i])
			return true;
	return false;
}

static unsigned long page_flags(int fd, unsigned long pfn)
{
	unsigned long flags = 0;

	return pread(fd, &flags, sizeof(flags), pfn * sizeof(flags)) == sizeof(flags) ? flags : 0;
}

/* Frames of every type that the kernel tells apart, and numbers without one. */
TEST_F(fuzz, frames)
{
	static const unsigned long out_of_range[] = {
		1UL << 24, 1UL << 30, 1UL << 40, (1UL << 46) - 1, 1UL << 51, 1UL << 52,
		(1UL << 52) - 1, 1UL << 63, -1UL,
	};
	static const char * const names[] = {
		[BUDDY] = "free", [SLAB] = "slab", [PGTABLE] = "page table", [ANON] = "anonymous",
		[TAIL] = "compound tail", [HUGE] = "hugetlb", [MMAP] = "mapped", [THP] = "THP",
		[ZERO_PAGE] = "zero page", [SWAPBACKED] = "swap-backed", [RESERVED] = "reserved",
	};
	static int seen[64];
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	char text[64], answer[4096];

	ASSERT_LE(0, fd);
	for (size_t i = 0; i < ARRAY_SIZE(out_of_range); i++) {
		snprintf(text, sizeof(text), "pfn %#lx", out_of_range[i]);
		ASSERT_EQ(ENXIO, ask_text(text, answer, sizeof(answer)));
		ASSERT_TRUE(is_error(answer));
	}

	/* 4 GB: the machine's memory, with the holes in it. */
	for (unsigned long pfn = 0; pfn < 1UL << 20; pfn++) {
		const unsigned long flags = page_flags(fd, pfn);
		bool rare = pfn % 4096 == 0, allowed;
		int err;

		for (int bit = 0; bit < 64; bit++)
			if (flags & 1UL << bit && seen[bit]++ < 32)
				rare = true;
		if (!rare)
			continue;
		snprintf(text, sizeof(text), "pfn %lu", pfn);
		err = ask_text(text, answer, sizeof(answer));
		ASSERT_TRUE(err ? is_error(answer) : is_description(answer)) {
			TH_LOG("frame %lu, flags %#lx: %s", pfn, flags, answer);
		}
		/* Unless it became something else meanwhile. */
		if (page_flags(fd, pfn) != flags)
			continue;
		if (is_no_folio(flags))
			allowed = err == ENXIO;
		else if (flags & 1UL << ANON)
			allowed = !err || err == ENXIO;
		else
			allowed = err == EINVAL || err == ENXIO;
		ASSERT_TRUE(allowed) {
			TH_LOG("frame %lu, flags %#lx: %s", pfn, flags, answer);
		}
	}
	/* Each type has been asked about. */
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i])
			EXPECT_LT(0, seen[i]) {
				TH_LOG("no frame is %s", names[i]);
			}
	}
	close(fd);
}

/* Bad input changes nothing. */
TEST_F(fuzz, unchanged)
{
	static const char * const names[] = {
		"contexts", "contexts_dead", "families", "anon_vmas", "vmas_lazy",
		"vmas_lazy_total", "vmas_eager_total", "vmas_displaced", "vmas_detached_total",
		"forks", "anchors_donated", "anchors_borrowed",
	};
	static char text[4 * 4096], answer[256];
	unsigned long random = self->s->seed;
	int refused = 0;

	avl_mark();
	for (int i = 0; i < 1000; i++) {
		const size_t len = make_question(self->s, &random, text, sizeof(text) - 160);
		int fd;

		if (parse(text, len).what != BAD)
			continue;
		fd = open(RMAP_WALK, O_RDWR | O_CLOEXEC);
		ASSERT_EQ(-1, write(fd, text, len));
		ASSERT_EQ(EINVAL, errno);
		ASSERT_EQ(strlen(BAD_QUESTION), read(fd, answer, sizeof(answer)));
		close(fd);
		refused++;
	}
	ASSERT_LT(100, refused);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(0, avl_since(names[i])) {
			TH_LOG("%s", names[i]);
		}
	}
}

/* System calls that the files do not have, and writes to those that are not to be written. */
TEST_F(fuzz, calls)
{
	static const char * const files[] = {
		"stats", "verify", "contexts", "rmap_walk", "vmas", "policy", "drain"
	};
	char path[128], buf[16];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct pollfd poll_fd = { .events = POLLIN | POLLOUT };
		int fd;

		snprintf(path, sizeof(path), AVL_DEBUGFS "%s", files[i]);
		fd = open(path, O_RDWR | O_TRUNC | O_APPEND | O_NONBLOCK | O_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(MAP_FAILED, mmap(NULL, psize(), PROT_READ, MAP_SHARED, fd, 0));
		ASSERT_EQ(ENODEV, errno);
		ASSERT_EQ(-1, ioctl(fd, TCGETS, buf));
		ASSERT_EQ(ENOTTY, errno);
		ASSERT_EQ(-1, fallocate(fd, 0, 0, psize()));
		ASSERT_TRUE(errno == EOPNOTSUPP || errno == ENODEV);
		ASSERT_EQ(-1, lseek(fd, -1, SEEK_SET));
		ASSERT_EQ(EINVAL, errno);
		poll_fd.fd = fd;
		ASSERT_LE(0, poll(&poll_fd, 1, 0));
		ASSERT_EQ(0, poll_fd.revents & POLLNVAL);
		if (i < 3) {
			ASSERT_EQ(-1, write(fd, "1", 1));
			ASSERT_EQ(EINVAL, errno);
			/* There may be no context. */
			ASSERT_LE(self->lazy || i < 2, pread(fd, buf, sizeof(buf), 3));
			ASSERT_EQ(0, pread(fd, buf, sizeof(buf), 1UL << 40));
		}
		/* No memory to write to, if there is something to write. */
		ASSERT_EQ(i < 2 + self->lazy || i == 5 ? -1 : 0,
			  read(fd, (void *)(1UL << 46), 10));
		ASSERT_EQ(0, close(fd));
	}
	/* Not for writing, or not for reading: then not. */
	for (int flags = O_RDONLY; flags <= O_WRONLY; flags++) {
		int fd = open(RMAP_WALK, flags | O_CLOEXEC);

		ASSERT_LE(0, fd);
		ASSERT_EQ(-1, flags == O_RDONLY ? write(fd, "1 1", 3) : read(fd, buf, 1));
		ASSERT_EQ(EBADF, errno);
		ASSERT_EQ(0, close(fd));
	}
}

static long unreclaimable(void)
{
	static char buf[8192];
	const char *line;

	if (avl_read("/proc/meminfo", buf, sizeof(buf)) < 0)
		return -1;
	line = strstr(buf, "SUnreclaim:");
	return line ? strtol(line + strlen("SUnreclaim:"), NULL, 10) : -1;
}

/* Several processes have one open file: one of them gets to ask. */
TEST_F_TIMEOUT(fuzz, one_answer, 300)
{
	const int rounds = 25, busy = 500;
	char answer[2][4096], text[64];
	pid_t pids[FUZZERS];
	long before = 0;

	snprintf(text, sizeof(text), "%d %p", getpid(), avl_addr(2));
	for (int round = 0; round < rounds; round++) {
		int fd = open(RMAP_WALK, O_RDWR | O_CLOEXEC), start[2], status, asked = 0;
		ssize_t len[2];

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, pipe(start));
		for (int i = 0; i < FUZZERS; i++) {
			pids[i] = fork();
			ASSERT_LE(0, pids[i]);
			if (pids[i])
				continue;
			close(start[1]);
			/* All at once, with a file descriptor of each one's own. */
			fd = dup(fd);
			if (read(start[0], answer[0], 1))
				_exit(3);
			if (write(fd, text, i % 2 ? strlen(text) : 1) < 0)
				asked = errno;
			for (int j = 0; j < busy; j++)
				if (write(fd, "?", 1) != -1 || errno != EBUSY)
					_exit(2);
			_exit(asked != EBUSY);
		}
		close(start[0]);
		close(start[1]);
		for (int i = 0; i < FUZZERS; i++) {
			ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
			ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) < 2);
			asked += WEXITSTATUS(status);
		}
		ASSERT_EQ(1, asked);
		for (int i = 0; i < 2; i++) {
			len[i] = pread(fd, answer[i], sizeof(answer[i]) - 1, 0);
			ASSERT_LT(0, len[i]);
			answer[i][len[i]] = '\0';
		}
		ASSERT_STREQ(answer[0], answer[1]);
		ASSERT_TRUE(is_error(answer[0]) || is_description(answer[0]));
		ASSERT_EQ(0, close(fd));
		if (!round)
			before = unreclaimable();
	}
	/* An answer that comes too late is freed: 4 KB each would be 200 MB. */
	ASSERT_LE(0, before);
	ASSERT_GT(100 * 1024, unreclaimable() - before);
}

/* Cgroups that are there, and what is like them. */
static const char * const paths[] = {
	"/", "/avl_fuzz", "/avl_fuzz/\x01\xff", "/avl_fuzz/none", "/avl_fuzz/", "avl_fuzz", "//",
	"/..", "/cgroup.procs", "/cgroup.procs/x", "/avl_fuzz/cgroup.procs", "all", "only",
};

#define NR_CGROUPS	3

/* Text that looks like a policy, nearly one, or not at all. Returns its length. */
static size_t make_policy(unsigned long *random, char *text, size_t size)
{
	static const char * const verbs[] = { "only", "except", "all", "ALL", "none", "" };
	static const char * const blanks[] = { " ", "\t", "  ", "\n", "\v", "\xa0" };
	const unsigned long max = below(random, 2) ? NR_CGROUPS : ARRAY_SIZE(paths);
	size_t len;

	if (!below(random, 8)) {	/* anything */
		len = below(random, below(random, 8) ? 80 : size);
		for (size_t i = 0; i < len; i++)
			text[i] = below(random, 256);
		return len;
	}
	len = sprintf(text, "%s", verbs[below(random, below(random, 4) ? 3 : ARRAY_SIZE(verbs))]);
	for (int i = below(random, below(random, 4) ? 4 : 12); i; i--)
		len += sprintf(text + len, "%s%s", blanks[below(random, ARRAY_SIZE(blanks))],
			       paths[below(random, max)]);
	if (!below(random, 16) && len)
		text[below(random, len)] = below(random, 256);
	/* About as long as there may be. */
	if (!below(random, 16)) {
		const size_t until = 4090 + below(random, 12);

		memset(text + len, ' ', until - len);
		len = until;
	}
	return len;
}

/* What a policy must be taken for: -errno, or 0 and what is read then. */
static int judge_policy(const char *text, size_t len, char *is)
{
	static char buf[4096], *words[4096];
	char *pos = buf;
	int nr = 0;

	if (len >= sizeof(buf))
		return -E2BIG;
	if (memchr(text, '\0', len))
		return -EINVAL;
	memcpy(buf, text, len);
	for (buf[len] = '\0'; *pos; nr++) {
		while (is_space(*pos))
			*pos++ = '\0';
		if (!*pos)
			break;
		for (words[nr] = pos; *pos && !is_space(*pos); pos++)
			;
	}
	if (nr == 1 && !strcmp(words[0], "all")) {
		sprintf(is, "all\n");
		return 0;
	}
	if (nr < 2 || (strcmp(words[0], "only") && strcmp(words[0], "except")))
		return -EINVAL;
	if (nr > 9)
		return -E2BIG;
	for (int i = 1; i < nr; i++) {
		int known = 0;

		while (known < NR_CGROUPS && strcmp(words[i], paths[known]))
			known++;
		if (known == NR_CGROUPS)
			return *words[i] == '/' ? -ENOENT : -EINVAL;
	}
	is += sprintf(is, "%s", words[0]);
	for (int i = 1; i < nr; i++)
		is += sprintf(is, " %s", words[i]);
	sprintf(is, "\n");
	return 0;
}

/* A policy is taken as it is documented, or refused, and then the last one is kept. */
TEST_F(fuzz, policy)
{
	static char text[3 * 4096], is[8192], want[8192] = "all\n";
	int fd = open(POLICY, O_RDWR | O_CLOEXEC), file, results[256] = {};
	static const int all[] = { 0, EINVAL, E2BIG, ENOENT };
	unsigned long random = self->s->seed;

	ASSERT_LE(0, fd);
	for (int i = 1; i < NR_CGROUPS; i++) {
		snprintf(is, sizeof(is), "/sys/fs/cgroup%s", paths[i]);
		ASSERT_EQ(0, mkdir(is, 0700));
	}
	/* Open, as what must not be taken for a directory. */
	file = open("/sys/fs/cgroup/cgroup.procs", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, file);
	for (int i = 0; i < 600; i++) {
		const size_t len = make_policy(&random, text, sizeof(text));
		const int error = -judge_policy(text, len, want);
		const ssize_t put = write(fd, text, len);

		ASSERT_EQ(error ? -1 : (ssize_t)len, put) {
			TH_LOG("\"%.*s\": %zd", len < 80 ? (int)len : 80, text, put);
		}
		if (error)
			ASSERT_EQ(error, errno);
		results[error]++;
		/* There is nothing in the middle of a policy. */
		ASSERT_EQ(-1, pwrite(fd, text, len, below(&random, 1UL << 40)));
		ASSERT_EQ(ESPIPE, errno);
		ASSERT_LT(0, avl_read(POLICY, is, sizeof(is)));
		ASSERT_STREQ(want, is);
		page_of(5000 + 2 * i);
	}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		TH_LOG("%d times %s", results[all[i]], strerror(all[i]));
		EXPECT_LT(0, results[all[i]]);
	}
	ASSERT_EQ(0, avl_write(POLICY, "all"));
	for (int i = NR_CGROUPS; --i;) {
		snprintf(is, sizeof(is), "/sys/fs/cgroup%s", paths[i]);
		ASSERT_EQ(0, rmdir(is));
	}
	close(file);
	close(fd);
	ASSERT_VERIFIED();
}

/* As kstrtobool() has it. 1, 0, or -1 for what it does not take. */
static int truth(const char *text)
{
	if (*text && strchr("eEyYtT1", *text))
		return 1;
	if (*text && strchr("dDnNfF0", *text))
		return 0;
	if (*text != 'o' && *text != 'O')
		return -1;
	return text[1] && strchr("nN", text[1]) ? 1 : text[1] && strchr("fF", text[1]) ? 0 : -1;
}

/* The parameters take what they are documented to take, and keep their value otherwise. */
TEST_F(fuzz, parameters)
{
	unsigned long random = self->s->seed, value, hidden = 0;
	static char text[3 * 4096], path[128];
	int fd[2], enabled = self->lazy;
	char is[32], want[32];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), AVL_PARAMETERS "%s", i ? "hide_address" : "enabled");
		fd[i] = open(path, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd[i]);
	}
	for (int i = 0; i < 2000; i++) {
		const bool hide = below(&random, 2);
		size_t len = make_question(self->s, &random, text, sizeof(text) - 160);
		ssize_t put;

		/* Words that may be right. */
		if (below(&random, 2))
			len = snprintf(text, sizeof(text), hide ? "%lu\n" : "%lX\n",
				       below(&random, 1UL << 47));
		/* One that no VMA covers, or VMAs are overlooked as asked. */
		if (hide && below(&random, 2))
			len = snprintf(text, sizeof(text), "%#lx",
				       1UL << 63 | below(&random, 1UL << 40));
		text[len] = '\0';
		if (hide && number(text, 0, &value) && value && !(value >> 63))
			continue;
		put = pwrite(fd[hide], text, len, 0);
		/* sysfs writes nothing if there is nothing, and a page at most. */
		if (!len) {
			ASSERT_EQ(0, put);
		} else if (hide && number(text, 0, &value)) {
			ASSERT_EQ(len, put);
			hidden = value;
		} else if (!hide && truth(text) >= 0) {
			ASSERT_LT(0, put);
			enabled = truth(text);
		} else {
			ASSERT_EQ(-1, put) {
				TH_LOG("hide_address %d takes \"%.64s\"", hide, text);
			}
			ASSERT_TRUE(errno == EINVAL || (hide && errno == ERANGE));
		}
		memset(is, 0, sizeof(is));
		ASSERT_LT(0, pread(fd[0], is, sizeof(is) - 1, 0));
		ASSERT_STREQ(enabled ? "Y\n" : "N\n", is);
		memset(is, 0, sizeof(is));
		ASSERT_LT(0, pread(fd[1], is, sizeof(is) - 1, 0));
		snprintf(want, sizeof(want), "%lu\n", hidden);
		ASSERT_STREQ(want, is);
	}
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(-1, pwrite(fd[i], (void *)(1UL << 46), 1, 0));
		ASSERT_EQ(EFAULT, errno);
		close(fd[i]);
	}
	ASSERT_EQ(0, avl_set_parameter("hide_address", "0"));
	ASSERT_VERIFIED();
}

TEST_HARNESS_MAIN

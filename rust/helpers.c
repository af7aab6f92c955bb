// SPDX-License-Identifier: GPL-2.0
/*
 * What the Rust part cannot do without C: module parameters that can be written
 * at run time, debugfs files that pin the module while they are open, and
 * inline functions of the kernel. For page tables see pagetable.c, for the
 * parameter "enabled" policy.c.
 */

#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/once.h>
#include <linux/random.h>
#include <linux/rmap.h>
#include <linux/seq_file.h>
#include <linux/siphash.h>
#include <linux/slab.h>

#include "helpers.h"

module_param_named_unsafe(hide_address, anon_vma_lazy_hide_address, ulong, 0600);
MODULE_PARM_DESC(hide_address,
		 "Break the look-up, for tests: overlook VMAs that cover this address");

static DEFINE_PER_CPU(unsigned long [AVL_NR_EVENTS], events);
static struct kmem_cache *ctx_cache;
static struct dentry *debugfs_dir;
static siphash_key_t hash_key;

DEFINE_SHOW_ATTRIBUTE(anon_vma_lazy_stats);

static int anon_vma_lazy_verify_open(struct inode *inode, struct file *file)
{
	/* Large enough that seq_file never calls the function twice. */
	return single_open_size(file, anon_vma_lazy_verify_show, NULL, SZ_16K);
}

static const struct file_operations anon_vma_lazy_verify_fops = {
	.owner = THIS_MODULE,
	.open = anon_vma_lazy_verify_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

/* What a file says to whoever has opened it. */
struct answer {
	size_t len;
	char text[];
};

/*
 * Answers a question. @len is the room for the answer and becomes its length,
 * which is larger if it did not fit. Returns an error or 0.
 */
typedef int ask_fn(char *question, char *text, size_t *len);

#define QUESTION	64	/* bytes, more than any has */

/* Returns the answer and whether it is an error; NULL if out of memory. */
static struct answer *ask(ask_fn *fn, const char *question, int *err)
{
	struct answer *answer;
	char buf[QUESTION];
	size_t room = SZ_4K;

	for (;;) {
		answer = kvmalloc_flex(*answer, text, room, GFP_KERNEL | __GFP_NOWARN);
		if (!answer)
			return NULL;
		strscpy(buf, question);
		answer->len = room;
		*err = fn(strim(buf), answer->text, &answer->len);
		if (answer->len <= room)
			return answer;
		/* It was cut off, and nothing can be allocated under the locks. */
		room = 2 * answer->len;
		kvfree(answer);
	}
}

/* selftests/nomem.c looks for it in stack traces. */
static noinline ssize_t ask_write(struct file *file, const char __user *ubuf,
				  size_t size, ask_fn *fn)
{
	char question[QUESTION] = "";
	struct answer *answer;
	int err;

	if (copy_from_user(question, ubuf, min(size, sizeof(question) - 1)))
		return -EFAULT;
	/* Too long, or not a string: no question. */
	if (strlen(question) != size)
		question[0] = '\0';

	answer = ask(fn, question, &err);
	if (!answer)
		return -ENOMEM;
	/* One question per open file. */
	if (cmpxchg(&file->private_data, NULL, answer)) {
		kvfree(answer);
		return -EBUSY;
	}
	return err ?: size;
}

static ssize_t answer_read(struct file *file, char __user *ubuf, size_t size,
			   loff_t *ppos)
{
	struct answer *answer = READ_ONCE(file->private_data);

	if (!answer)
		return 0;
	return simple_read_from_buffer(ubuf, size, ppos, answer->text, answer->len);
}

static int answer_release(struct inode *inode, struct file *file)
{
	kvfree(file->private_data);
	return 0;
}

/* "PID ADDRESS" or "pfn N" */
static int rmap_walk_ask(char *question, char *text, size_t *len)
{
	char *second = question;
	char *first = strsep(&second, " \t");
	unsigned long number;
	pid_t pid = 0;

	second = second ? skip_spaces(second) : "";
	if ((strcmp(first, "pfn") && kstrtoint(first, 10, &pid)) ||
	    kstrtoul(second, 0, &number)) {
		*len = strscpy(text, "error: write \"PID ADDRESS\" or \"pfn N\"\n", *len);
		return -EINVAL;
	}
	if (!strcmp(first, "pfn"))
		return anon_vma_lazy_walk_pfn(number, text, len);
	return anon_vma_lazy_walk_address(pid, number, text, len);
}

static ssize_t rmap_walk_write(struct file *file, const char __user *ubuf,
			       size_t size, loff_t *ppos)
{
	return ask_write(file, ubuf, size, rmap_walk_ask);
}

static const struct file_operations rmap_walk_fops = {
	.owner = THIS_MODULE,
	.write = rmap_walk_write,
	.read = answer_read,
	.release = answer_release,
	.llseek = default_llseek,
};

/* "PID" */
static int vmas_ask(char *question, char *text, size_t *len)
{
	pid_t pid;

	if (kstrtoint(question, 10, &pid)) {
		*len = strscpy(text, "error: write \"PID\"\n", *len);
		return -EINVAL;
	}
	return anon_vma_lazy_vmas(pid, text, len);
}

static ssize_t vmas_write(struct file *file, const char __user *ubuf, size_t size,
			  loff_t *ppos)
{
	return ask_write(file, ubuf, size, vmas_ask);
}

static const struct file_operations vmas_fops = {
	.owner = THIS_MODULE,
	.write = vmas_write,
	.read = answer_read,
	.release = answer_release,
	.llseek = default_llseek,
};

/* What there is to say without a question is said when the file is opened. */
static int answer_open(struct file *file, ask_fn *fn)
{
	int err;

	file->private_data = ask(fn, "", &err);
	if (!file->private_data)
		return -ENOMEM;
	if (err)
		kvfree(file->private_data);
	return err;
}

static int contexts_ask(char *question, char *text, size_t *len)
{
	return anon_vma_lazy_contexts(text, len);
}

static int contexts_open(struct inode *inode, struct file *file)
{
	return answer_open(file, contexts_ask);
}

static const struct file_operations contexts_fops = {
	.owner = THIS_MODULE,
	.open = contexts_open,
	.read = answer_read,
	.release = answer_release,
	.llseek = default_llseek,
};

/* "1" */
static int drain_ask(char *question, char *text, size_t *len)
{
	if (strcmp(question, "1")) {
		*len = strscpy(text, "error: write \"1\"\n", *len);
		return -EINVAL;
	}
	if (READ_ONCE(avl_mode) != AVL_NOBODY) {
		*len = strscpy(text, "error: first write \"N\" to the parameter enabled\n", *len);
		return -EBUSY;
	}
	return anon_vma_lazy_drain_all(text, len);
}

static ssize_t drain_write(struct file *file, const char __user *ubuf, size_t size,
			   loff_t *ppos)
{
	return ask_write(file, ubuf, size, drain_ask);
}

static int drain_left(char *question, char *text, size_t *len)
{
	return anon_vma_lazy_drain_left(text, len);
}

static int drain_open(struct inode *inode, struct file *file)
{
	return file->f_mode & FMODE_WRITE ? 0 : answer_open(file, drain_left);
}

static const struct file_operations drain_fops = {
	.owner = THIS_MODULE,
	.open = drain_open,
	.write = drain_write,
	.read = answer_read,
	.release = answer_release,
	.llseek = default_llseek,
};

/**
 * avl_init() - Make the slab cache and the debugfs files
 * @ctx_size: Bytes of a context.
 *
 * Return: 0 or -ENOMEM.
 */
int avl_init(unsigned int ctx_size)
{
	ctx_cache = kmem_cache_create("anon_vma_lazy", ctx_size, 0,
				      SLAB_ACCOUNT, NULL);
	if (!ctx_cache)
		return -ENOMEM;
	if (avl_learn_init()) {
		kmem_cache_destroy(ctx_cache);
		return -ENOMEM;
	}
	get_random_bytes(&hash_key, sizeof(hash_key));
	debugfs_dir = debugfs_create_dir("anon_vma_lazy", NULL);
	debugfs_create_file("stats", 0400, debugfs_dir, NULL,
			    &anon_vma_lazy_stats_fops);
	debugfs_create_file("verify", 0400, debugfs_dir, NULL,
			    &anon_vma_lazy_verify_fops);
	debugfs_create_file("rmap_walk", 0600, debugfs_dir, NULL,
			    &rmap_walk_fops);
	debugfs_create_file("contexts", 0400, debugfs_dir, NULL,
			    &contexts_fops);
	debugfs_create_file("vmas", 0600, debugfs_dir, NULL, &vmas_fops);
	avl_policy_init(debugfs_dir);
	debugfs_create_file("drain", 0600, debugfs_dir, NULL, &drain_fops);
	return 0;
}

/** avl_exit() - Undo avl_init() */
void avl_exit(void)
{
	debugfs_remove(debugfs_dir);
	avl_policy_exit();
	avl_learn_exit();
	kmem_cache_destroy(ctx_cache);
}

/** avl_count() - Count an event @nr times */
void avl_count(unsigned int event, unsigned int nr)
{
	this_cpu_add(events[event], nr);
}

/** avl_count_walk() - Count a walk */
void avl_count_walk(unsigned int contexts, unsigned int vmas)
{
	this_cpu_inc(events[AVL_WALK]);
	this_cpu_add(events[AVL_WALK_CONTEXT], contexts);
	this_cpu_add(events[AVL_WALK_VMA], vmas);
}

static unsigned long sum(unsigned long __percpu *counter)
{
	unsigned long total = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		total += *per_cpu_ptr(counter, cpu);
	return total;
}

/** avl_sum() - How often was an event counted? */
unsigned long avl_sum(unsigned int event)
{
	return sum(&events[event]);
}

/** avl_kernel_sum() - How often did the kernel count an event? */
unsigned long avl_kernel_sum(unsigned int event)
{
	return sum(&anon_vma_lazy_events[event]);
}

/** avl_get_module() - Pin the module, which is pinned already */
void avl_get_module(void)
{
	__module_get(THIS_MODULE);
}

/** avl_put_module() - Undo avl_get_module(), with the module still pinned */
void avl_put_module(void)
{
	module_put(THIS_MODULE);
}

/** avl_ctx_alloc() - Allocate a context; NULL if out of memory */
void *avl_ctx_alloc(void)
{
	return kmem_cache_alloc(ctx_cache, GFP_KERNEL);
}

/** avl_ctx_free() - Free a context */
void avl_ctx_free(void *ctx)
{
	kmem_cache_free(ctx_cache, ctx);
}

/** avl_anon_vma_get() - get_anon_vma(), which is private to mm */
void avl_anon_vma_get(struct anon_vma *anon_vma)
{
	atomic_inc(&anon_vma->refcount);
}

/** avl_anon_vma_put() - put_anon_vma(), which is private to mm */
void avl_anon_vma_put(struct anon_vma *anon_vma)
{
	if (atomic_dec_and_test(&anon_vma->refcount))
		__put_anon_vma(anon_vma);
}

/** avl_anon_pages() - Anonymous pages that an address space maps */
unsigned long avl_anon_pages(struct mm_struct *mm)
{
	return get_mm_counter_sum(mm, MM_ANONPAGES);
}

/** avl_cond_resched() - cond_resched() */
void avl_cond_resched(void)
{
	cond_resched();
}

/** avl_hash() - A number for an object that does not tell where it is */
u64 avl_hash(const void *ptr)
{
	/* 48 bits are enough to tell some thousands apart. */
	return siphash_1u64((unsigned long)ptr, &hash_key) >> 16;
}
